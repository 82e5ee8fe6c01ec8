//! What is too much over HTTP: it is refused as a whole, and what was there before goes on.

use serde_json::{Value, json};

use crate::api::{Api, NONE};
use crate::plain::refused;
use crate::raw::{Raw, node};

/// How many named versions a document may have.
const VERSIONS_MAX: u64 = 1_000;

#[tokio::test]
async fn what_would_be_too_long_is_refused_and_nothing_of_it_is_applied() {
    let node = node(|config| {
        config.document.doc_chars_max = 10;
        config.edge.op_bytes_max = bytesize::ByteSize::b(30);
        config.edge.body_bytes_max = bytesize::ByteSize::kib(64);
    })
    .await;
    let api = Api::of(&node);
    // As long as may be, in each way: characters count, and not bytes.
    let whole = "\u{1f600}".repeat(10);
    api.json("POST", "/v1/docs/a", NONE, json!({ "text": whole })).await.is(201);
    let eleven = "x".repeat(11);
    let op = |base: u64, op: Value| json!({ "base": base, "op": op });
    // Not too many characters, but too many bytes for one operation.
    let long = "\u{1f600}".repeat(8);
    for (method, path, body) in [
        ("POST", "/v1/docs/a/ops", op(1, json!(["x", 10]))),
        ("POST", "/v1/docs/a/ops", op(0, json!(["x"]))),
        ("POST", "/v1/docs/a/ops", op(1, json!([long, {"d": 10}]))),
        ("POST", "/v1/docs/never/ops", op(0, json!([eleven]))),
        ("PUT", "/v1/docs/a", json!({ "text": eleven })),
        ("PUT", "/v1/docs/never", json!({ "text": eleven })),
        ("POST", "/v1/docs/never", json!({ "text": eleven })),
        ("PUT", "/v1/docs/a", json!({ "text": "x".repeat(70_000) })),
    ] {
        let told = api.json(method, path, NONE, body).await;
        told.problem(413, "too-large");
    }
    // Seven of them for what they would write, one for its body alone.
    assert_eq!((refused(&node, "too-large").await, refused(&node, "long-body").await), (7, 1));
    let told = api.get("/v1/docs/a").await.is(200).value();
    assert_eq!(told, json!({ "doc": "a", "rev": 1, "head": 1, "text": whole }));
    api.get("/v1/docs/never").await.problem(404, "no-document");
    // Less of it is taken.
    api.op("a", NONE, 1, json!([{"d": 1}, 9])).await.is(200);
    api.op("a", NONE, 2, json!(["x", 9])).await.is(200);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn what_would_be_one_named_version_too_many_is_refused_and_the_others_stay() {
    let node = node(|_| {}).await;
    let (api, versions) = (Api::of(&node), "/v1/docs/a/versions");
    api.op("a", NONE, 0, json!(["x"])).await.is(200);
    let name = async |name: u64, rev: u64| {
        let body = json!({ "name": format!("v{name}"), "rev": rev });
        api.json("POST", versions, NONE, body).await
    };
    for number in 0..VERSIONS_MAX {
        name(number, 0).await.is(200);
    }
    let told = name(VERSIONS_MAX, 0).await;
    let detail = told.value()["detail"].as_str().expect("text").to_owned();
    assert!(detail.contains("1000 named versions") && detail.contains("again"), "{detail}");
    told.problem(409, "too-large");
    let listed = api.get(&format!("{versions}?limit=1000")).await.is(200).value();
    let rows = listed["versions"].as_array().expect("a list");
    let mut names: Vec<_> = rows.iter().map(|row| row["name"].as_str().expect("text")).collect();
    names.sort_unstable();
    let mut all: Vec<_> = (0..VERSIONS_MAX).map(|number| format!("v{number}")).collect();
    all.sort_unstable();
    assert_eq!(names, all);
    // One of them may stand for another revision, and people go on writing.
    name(7, 1).await.is(200);
    let (mut raw, welcome) = Raw::join(&node, "a", '1', "").await;
    assert_eq!(welcome["text"], "x");
    raw.send(r#"{"t":"op","seq":1,"base":1,"op":[1,"y"]}"#).await;
    raw.hear("ack").await;
    assert_eq!(api.text("a").await, "xy");
    node.stop().await.expect("it stops");
}
