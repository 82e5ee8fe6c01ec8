//! Edits by request: rebased, expected, repeated, also by a server that was killed meanwhile.

use futures_util::future::join_all;
use serde_json::json;

use crate::api::{Api, NONE};
use crate::raw::{Raw, node};
use crate::server::{Server, free_port};

#[tokio::test]
async fn an_edit_is_rebased_over_what_was_written_since_its_base() {
    let node = node(|config| config.document.window_revisions = 2).await;
    let api = Api::of(&node);
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    let told = api.op("a", NONE, 0, json!(["abc"])).await.is(200);
    assert_eq!((told.value(), told.header("etag")), (json!({"rev": 1}), "\"rev-1\""));
    assert_eq!(raw.hear("op").await["op"], json!(["abc"]), "who is there sees it");
    api.op("a", NONE, 1, json!([{"d": 1}])).await.is(200);
    api.op("a", NONE, 1, json!([3, "d"])).await.is(200);
    assert_eq!(api.text("a").await, "bcd");
    for n in 0..6 {
        api.op("a", NONE, 3 + n, json!(["x"])).await.is(200);
    }
    // Its base is no longer among the revisions that are kept for this.
    let merged = api.op("a", NONE, 1, json!([3, "e"])).await.is(200);
    assert_eq!(merged.value()["rev"], 10);
    assert_eq!(api.text("a").await.matches('e').count(), 1);
    // Some write whole numbers like this.
    api.op("a", NONE, 10, json!([2.0, {"d": 1.0}])).await.is(200);
    api.op("a", NONE, 99, json!(["x"])).await.problem(422, "bad-base");
    api.op("a", NONE, 10, json!([500, "x"])).await.problem(422, "bad-op");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn an_edit_that_expects_a_revision_is_taken_on_top_of_it_or_not_at_all() {
    let node = node(|_| {}).await;
    let api = Api::of(&node);
    api.op("a", &[("if-match", "*")], 0, json!(["x"])).await.problem(412, "precondition-failed");
    api.op("a", &[("if-match", "\"rev-0\"")], 0, json!(["x"])).await.is(200);
    for (tag, base) in [("\"rev-0\"", 0), ("\"rev-2\"", 1), ("\"x\"", 1), ("W/\"rev-1\"", 1)] {
        let told = api.op("a", &[("if-match", tag)], base, json!(["y"])).await;
        told.problem(412, "precondition-failed");
    }
    api.op("a", &[("if-match", "*")], 0, json!(["y"])).await.is(200);
    api.op("a", &[("if-match", "\"x\", \"rev-2.text\"")], 2, json!(["z"])).await.is(200);
    // Of many at once that expect the same one, one is taken.
    let all = (0..8).map(|_| api.op("a", &[("if-match", "\"rev-3\"")], 3, json!(["w"])));
    let mut all: Vec<_> = join_all(all).await.into_iter().map(|told| told.status).collect();
    all.sort_unstable();
    assert_eq!(all, [200, 412, 412, 412, 412, 412, 412, 412]);
    assert_eq!(api.text("a").await.matches('w').count(), 1);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_request_that_is_made_again_counts_once() {
    let node = node(|_| {}).await;
    let api = Api::of(&node);
    let key = [("idempotency-key", "a-key")];
    let all = (0..8).map(|_| api.op("a", &key, 0, json!(["x"])));
    for told in join_all(all).await {
        match told.status {
            200 => assert_eq!(told.value(), json!({"rev": 1})),
            _ => drop(told.problem(409, "under-way")),
        }
    }
    api.op("a", NONE, 1, json!(["y"])).await.is(200);
    let again = api.op("a", &key, 0, json!(["x"])).await.is(200);
    assert_eq!((again.value(), again.header("etag")), (json!({"rev": 1}), "\"rev-1\""));
    // What it expected was so when it was made.
    let both = [("idempotency-key", "other"), ("if-match", "\"rev-2\"")];
    for _ in 0..2 {
        let told = api.op("a", &both, 2, json!(["z"])).await.is(200);
        assert_eq!(told.value(), json!({"rev": 3}));
    }
    let elsewhere = api.op("b", &key, 0, json!(["x"])).await.is(200);
    assert_eq!(elsewhere.value(), json!({"rev": 1}), "a key is one document's");
    assert_eq!(api.text("a").await.len(), 3);
    for bad in ["", "a b", "é", &"x".repeat(129)] {
        let told = api.op("a", &[("idempotency-key", bad)], 3, json!(["x"])).await;
        told.problem(400, "bad-idempotency-key");
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "b")];
    api.op("a", &twice, 3, json!(["x"])).await.problem(400, "bad-idempotency-key");
    api.op("a", &[("idempotency-key", &"x".repeat(128))], 3, json!(["x"])).await.is(200);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_request_that_is_made_again_counts_once_though_the_server_was_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let start = || Server::start(folder.path(), port, &["telemetry.log-level=warn"]);
    let mut server = start();
    for n in 0..4 {
        let key = format!("key-{n}");
        let edit = async |server: &Server| {
            let key = [("idempotency-key", &*key)];
            let told = Api::at(&server.url).op("a", &key, n, json!(["x"])).await.is(200);
            assert_eq!(told.value(), json!({"rev": n + 1}));
        };
        edit(&server).await;
        if n == 2 {
            // From a checkpoint.
            server.stop();
        } else {
            server.kill();
        }
        server = start();
        edit(&server).await;
    }
    assert_eq!(Api::at(&server.url).text("a").await, "xxxx");
    server.stop();
}
