//! A table of requests that are wrong, and what each is told.

use serde_json::json;

use crate::api::{Api, NONE};
use crate::raw::node;

type Row = (&'static str, &'static str, &'static str, u16, &'static str);

/// Method, path, JSON body, status, code.
const TABLE: &[Row] = &[
    ("GET", "/v1/docs/a%2fb", "", 404, "bad-document-id"),
    ("GET", "/v1/docs/..%2f..%2fetc", "", 404, "bad-document-id"),
    ("GET", "/v1/docs/%2e%2e%2fx", "", 404, "bad-document-id"),
    ("GET", "/v1/docs/a%00", "", 404, "bad-document-id"),
    ("GET", "/v1/docs/%ff", "", 404, "bad-document-id"),
    ("GET", "/v1/docs/a%0d%0ax:y", "", 404, "bad-document-id"),
    ("GET", "/v1/docs/%C3%A9", "", 404, "bad-document-id"),
    ("GET", "/v1/docs/never", "", 404, "no-document"),
    ("GET", "/v1/docs/never/history", "", 404, "no-document"),
    ("GET", "/v1/docs/never/blame", "", 404, "no-document"),
    ("GET", "/v1/docs/never/diff?from=0", "", 404, "no-document"),
    ("GET", "/v1/docs/never/verify", "", 404, "no-document"),
    ("GET", "/v1/docs/never/versions", "", 404, "no-document"),
    ("GET", "/v1/docs/never/export", "", 404, "no-document"),
    ("POST", "/v1/docs/never/versions", r#"{"name":"x"}"#, 404, "no-document"),
    ("POST", "/v1/docs/never/restore", r#"{"rev":0}"#, 404, "no-document"),
    ("POST", "/v1/docs/never/cut", r#"{"before":0}"#, 404, "no-document"),
    ("DELETE", "/v1/docs/never", "", 404, "no-document"),
    ("GET", "/v1/docs/a?rev=x", "", 400, "bad-query"),
    ("GET", "/v1/docs/a?rev=-1", "", 400, "bad-query"),
    ("GET", "/v1/docs/a?rev=1.5", "", 400, "bad-query"),
    ("GET", "/v1/docs/a?rev=", "", 400, "bad-query"),
    ("GET", "/v1/docs/a?rev=1&rev=1", "", 400, "bad-query"),
    ("GET", "/v1/docs/a?rve=1", "", 400, "bad-query"),
    ("GET", "/v1/docs/a?rev=9007199254740992", "", 400, "bad-query"),
    ("GET", "/v1/docs/a?rev=99999999999999999999", "", 400, "bad-query"),
    ("GET", "/v1/docs/a?rev=9007199254740991", "", 404, "no-revision"),
    ("GET", "/v1/docs/a/history?limit=-1", "", 400, "bad-query"),
    ("GET", "/v1/docs/a/history?limit=99999999999", "", 400, "bad-query"),
    ("GET", "/v1/docs/a/diff", "", 400, "bad-query"),
    ("GET", "/v1/docs/a/diff?from=9", "", 404, "no-revision"),
    ("GET", "/v1/docs/a/blame?rev=9", "", 404, "no-revision"),
    ("GET", "/v1/docs/a/export?format=pdf", "", 400, "bad-query"),
    ("GET", "/v1/docs/a/export?from=1", "", 422, "bad-query"),
    ("GET", "/v1/docs/a/verify?x", "", 400, "bad-query"),
    ("POST", "/v1/docs/a/ops", "", 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", "nonsense", 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", "[]", 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", "null", 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[],"x":1}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"base":0,"op":[]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":-1,"op":[]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":9007199254740992,"op":[]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":["x"]} x"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[-1]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[1.5]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[4294967296]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[null]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[{"d":1,"e":1}]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":["\ud800"]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[0]}"#, 400, "bad-op"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[""]}"#, 400, "bad-op"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[{"d":0}]}"#, 400, "bad-op"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[4294967295,4294967295]}"#, 422, "bad-op"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[2,"x"]}"#, 422, "bad-op"),
    ("POST", "/v1/docs/a/ops", r#"{"base":9,"op":["x"]}"#, 422, "bad-base"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":["x"],"author":"a\nb"}"#, 422, "bad-author"),
    ("POST", "/v1/docs/a/versions", r#"{"name":""}"#, 422, "bad-name"),
    ("POST", "/v1/docs/a/versions", r#"{"name":"a\u0000"}"#, 422, "bad-name"),
    ("POST", "/v1/docs/a/versions", r#"{"name":"x","rev":9}"#, 422, "no-revision"),
    ("POST", "/v1/docs/b", r#"{"text":1}"#, 400, "bad-body"),
    ("POST", "/v1/docs/b?x=1", "{}", 400, "bad-query"),
    ("PUT", "/v1/docs/b", "{}", 400, "bad-body"),
    ("POST", "/v1/docs/a/restore", "{}", 400, "bad-body"),
    ("POST", "/v1/docs/a/cut", r#"{"before":"1"}"#, 400, "bad-body"),
    ("DELETE", "/v1/docs/a", r#"{"x":1}"#, 400, "bad-body"),
    ("PUT", "/v1/docs/a/rights", "{}", 400, "bad-body"),
    ("POST", "/v1/docs/a/undelete", "[]", 400, "bad-body"),
    ("POST", "/v1/docs/b", r#"["text","ann"]"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[[1]]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/ops", r#"{"base":0,"op":[{"d":1,"d":1}]}"#, 400, "bad-body"),
    ("POST", "/v1/docs/a/erase", r#"{"before":9}"#, 422, "no-revision"),
    ("POST", "/v1/docs/never/erase", r#"{"before":0}"#, 404, "no-document"),
    ("GET", "/v1/docs/never/rights", "", 404, "no-document"),
];

#[tokio::test]
async fn bad_requests_are_told_what_is_wrong_and_change_nothing() {
    let node = node(|config| config.edge.body_bytes_max = bytesize::ByteSize::kib(64)).await;
    let api = Api::of(&node);
    api.op("a", NONE, 0, json!(["x"])).await.is(200);
    let kind = ("content-type", "application/json");
    for (method, path, body, status, code) in TABLE {
        let told = api.send(method, path, &[kind], *body).await;
        assert_eq!((told.status, path, body), (*status, path, body), "{told:?}");
        told.problem(*status, code);
    }
    let long = format!("/v1/docs/{}", "x".repeat(129));
    api.get(&long).await.problem(404, "bad-document-id");
    let ops = "/v1/docs/a/ops";
    for (body, status, code) in [
        (b"{\"base\":0,\"op\":[\"\xff\"]}".to_vec(), 400, "bad-body"),
        (b"{\"base\":0,\"op\":".repeat(3_000), 400, "bad-body"),
        ([b"{\"base\":0,\"op\":".to_vec(), b"[".repeat(50_000)].concat(), 400, "bad-body"),
        (b"{\"a\":".repeat(10_000), 400, "bad-body"),
        (vec![b' '; 70_000], 413, "too-large"),
        (vec![0; 1_000], 400, "bad-body"),
    ] {
        let shown = String::from_utf8_lossy(&body).chars().take(40).collect::<String>();
        let told = api.send("POST", ops, &[kind], body).await;
        assert_eq!((told.status, &*shown), (status, &*shown), "{told:?}");
        told.problem(status, code);
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "x", ""]
    {
        for path in [ops, "/v1/docs/a/undelete", "/v1/docs/a/cut"] {
            let told = api.send("POST", path, &[("content-type", kind)], "{}").await;
            told.problem(415, "unsupported-media-type");
        }
        let told = api.send("DELETE", "/v1/docs/a", &[("content-type", kind)], "").await;
        told.problem(415, "unsupported-media-type");
    }
    let twice = [kind, kind];
    api.send("POST", ops, &twice, "{}").await.problem(415, "unsupported-media-type");
    assert_eq!(api.text("a").await, "x");
    api.get("/v1/docs/b").await.problem(404, "no-document");
    node.stop().await.expect("it stops");
}
