//! What one user may take: sockets, requests and bytes, and nothing before they say who they are.

use std::num::NonZero;
use std::thread::available_parallelism;

use futures_util::future::join_all;
use quire::config::Config;
use quire::node::Node;
use reqwest::StatusCode;
use serde_json::json;

use crate::doors::{guarded, hour};
use crate::plain::refused;
use crate::raw::{Raw, hello, node};
use crate::slow::metric;

async fn limited(change: impl FnOnce(&mut Config)) -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), change).await;
    (folder, node)
}

async fn socket(node: &Node, token: &str, digit: char) -> Raw {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("sec-websocket-protocol", "quire.v1")];
    let mut raw = Raw::upgrade_with(node, "/ws/a", &headers).await.expect("it is told inside");
    raw.send(&hello(digit, "")).await;
    raw
}

#[tokio::test]
async fn a_user_has_so_many_sockets_whatever_their_tokens() {
    let (_folder, node) = limited(|config| config.edge.sockets_per_user = 2).await;
    let token = || hour("anna", &[("a", "write")]);
    let mut first = socket(&node, &token(), '1').await;
    let mut second = socket(&node, &token(), '2').await;
    first.hear("welcome").await;
    second.hear("welcome").await;
    let (error, code) = socket(&node, &token(), '3').await.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("rate"), 4529), "{error}");
    assert!(error["msg"].as_str().expect("text").contains("close some"), "{error}");
    assert_eq!(refused(&node, "user").await, 1);
    socket(&node, &hour("eve", &[("a", "write")]), '4').await.hear("welcome").await;
    drop(first);
    // Until the node has noticed that it is gone.
    loop {
        let heard = socket(&node, &token(), '5').await.next().await;
        if heard["t"] == "welcome" {
            break;
        }
        assert_eq!(heard["code"], "rate", "{heard}");
    }
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_user_asks_at_a_rate_and_is_told_when_to_ask_again() {
    let (_folder, node) = limited(|config| config.edge.requests_per_second = 1).await;
    let url = format!("http://{}/v1/docs/a", node.address);
    let client = reqwest::Client::new();
    let ask = async |subject: &str| {
        let token = hour(subject, &[("a", "write")]);
        let answer = client.get(&url).bearer_auth(token).send().await.expect("it answers");
        (answer.status(), answer.headers().contains_key("retry-after"))
    };
    let found = join_all((0..8).map(|_| ask("anna"))).await;
    let late = |answer: &&(StatusCode, bool)| **answer == (StatusCode::TOO_MANY_REQUESTS, true);
    let many = found.iter().filter(late).count();
    // The burst, and what the time has brought meanwhile.
    assert!((1..=6).contains(&many), "{found:?}");
    assert_eq!(refused(&node, "user").await, many as u64);
    assert_eq!(ask("eve").await.0, StatusCode::NOT_FOUND, "others may ask");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn who_sends_too_much_waits_and_loses_nothing() {
    let (_folder, node) = limited(|config| {
        config.edge.user_bytes_per_second = bytesize::ByteSize::kib(256);
    })
    .await;
    let token = hour("anna", &[("a", "write")]);
    let mut raw = socket(&node, &token, '1').await;
    raw.hear("welcome").await;
    let long = "x".repeat(150 << 10);
    for n in 1..=6 {
        // The bucket has 512 KiB: the last ones wait.
        raw.send(&json!({"t": "op", "seq": n, "base": n - 1, "op": [long]}).to_string()).await;
        assert_eq!(raw.hear("ack").await["rev"], n);
    }
    assert!(metric(&node, "quire_edge_held_total").await > 0);
    let other = hour("eve", &[("a", "read")]);
    let mut other = socket(&node, &other, '2').await;
    let text = other.hear("welcome").await["text"].as_str().expect("a text").len();
    assert_eq!(text, 6 * long.len());
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn little_is_read_of_whom_nobody_knows() {
    let node = node(|_| {}).await;
    let mut raw = Raw::upgrade(&node, "/ws/a", "quire.v1").await.expect("it is taken");
    raw.send(&"x".repeat(64 << 10)).await;
    let (error, code) = raw.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("too-large"), 4413), "{error}");
    assert!(error["msg"].as_str().expect("text").contains("only after hello"), "{error}");
    // With a hello before it, as much is taken.
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    let long = "x".repeat(64 << 10);
    raw.send(&json!({"t": "op", "seq": 1, "base": 0, "op": [long]}).to_string()).await;
    raw.hear("ack").await;
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn what_comes_over_http_has_its_turn_too() {
    let (_folder, node) = limited(|_| {}).await;
    let url = format!("http://{}/v1/docs/a", node.address);
    let token = hour("anna", &[("a", "write")]);
    let client = reqwest::Client::new();
    let ask = || client.get(&url).bearer_auth(&token).send();
    assert_eq!(ask().await.expect("it answers").status(), StatusCode::NOT_FOUND);
    assert_eq!(metric(&node, "quire_edge_queued_total").await, 0, "nobody else was there");
    let many = 100 * available_parallelism().map_or(1, NonZero::get);
    for answer in join_all((0..many).map(|_| ask())).await {
        assert_eq!(answer.expect("it answers").status(), StatusCode::NOT_FOUND);
    }
    assert!(metric(&node, "quire_edge_queued_total").await > 0, "{many} came at once");
    node.stop().await.expect("it stops");
}
