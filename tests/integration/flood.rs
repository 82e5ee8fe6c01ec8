//! One user has more of a history read than a node can read: others go on, and what ends a right
//! ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quire::node::Node;
use quire::task::cores;
use quire::types::DocId;
use reqwest::{Client, Method, Response, StatusCode};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::doors::{enter, guarded, hour};
use crate::inner::{PATIENCE, id};
use crate::operators::{Cluster, SHARDS};
use crate::plain::{becomes, metric, reaches, refused_row};
use crate::tickets::cluster;

/// How many ask at once, again and again: more than have a place and wait for one.
const ASKING: u64 = 80;

/// Returns lines in no order: to compare them takes as much work as a comparison may.
fn lines(seed: u64) -> String {
    let mut state = seed;
    let line = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040);
        format!("line {}\n", (state >> 33) % 5_000)
    };
    std::iter::repeat_with(line).take(10_000).collect()
}

async fn ask(node: &Node, (method, path): (Method, &str), token: &str, body: &str) -> Response {
    let asked = Client::new().request(method, format!("http://{}/v1/docs/{path}", node.address));
    let asked = asked.bearer_auth(token).body(body.to_owned());
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain" };
    asked.header("content-type", kind).send().await.expect("it answers")
}

/// Writes two texts.
async fn write(node: &Node, doc: &DocId, token: &str, texts: [&str; 2]) {
    for text in texts {
        let answer = ask(node, (Method::PUT, doc.as_str()), token, text).await;
        assert!(answer.status().is_success(), "{answer:?}");
    }
}

/// Names a document of a node.
async fn of_node(cluster: &Cluster, node: &str, name: &str) -> DocId {
    for number in 0_u32.. {
        let doc = id(&format!("{name}-{number}"));
        if cluster.owner(doc.shard(SHARDS).0).await == node {
            return doc;
        }
    }
    unreachable!("it has some")
}

/// Has a document read again and again; every other time it is not waited for.
async fn flood(urls: [String; 2], token: String, number: u64, answers: Arc<AtomicU64>) {
    let client = Client::new();
    for round in number.. {
        let asked =
            client.get(&urls[usize::from(round.is_multiple_of(3))]).bearer_auth(&token).send();
        if number.is_multiple_of(2) {
            // It has been sent by then, or not: both are good.
            let _ = timeout(Duration::from_millis(round % 20), asked).await;
            continue;
        }
        let answer = asked.await.expect("it answers");
        let (status, headers) = (answer.status(), answer.headers());
        let later = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
        let is_put_off = later.contains(&status) && headers.contains_key("retry-after");
        assert!(status == StatusCode::OK || is_put_off, "{answer:?}");
        answers.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_much_of_a_history_read_holds_up_neither_others_nor_revocations() {
    let cluster = cluster().await;
    let (owner, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let [anna, ben, eve] = ["anna", "ben", "eve"].map(|who| hour(who, &[("*", "admin")]));
    let (large, small) =
        (of_node(&cluster, "a", "large").await, of_node(&cluster, "a", "small").await);
    write(owner, &large, &eve, [&lines(1), &lines(2)]).await;
    write(owner, &small, &anna, ["one", "two"]).await;
    let mut sockets = Vec::new();
    for (node, digit) in [(owner, '1'), (other, '2')] {
        let bearer = format!("Bearer {ben}");
        let headers = [("authorization", bearer.as_str()), ("sec-websocket-protocol", "quire.v1")];
        sockets.push(enter(node, "/ws/b", digit, &headers).await);
    }
    let (mut flooding, answers) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
    for number in 0..ASKING {
        // A third comes in at another node, and is carried to the owner.
        let node = if number.is_multiple_of(3) { other } else { owner };
        let url = |what| format!("http://{}/v1/docs/{large}/{what}", node.address);
        let urls = [url("diff?from=1&to=2&limit=1"), url("verify")];
        flooding.spawn(flood(urls, eve.clone(), number, answers.clone()));
    }
    reaches(owner, &refused_row("user-long-work"), 1).await;
    let mut most = 0;
    for _ in 0..20 {
        most = most.max(metric(owner, "quire_edge_long_work").await);
    }
    let part = cores().max(2) as u64 / 2;
    assert!((1..=part).contains(&most), "{most} at once, of {part}");
    assert_eq!(metric(other, "quire_edge_long_work_total").await, 0, "the owner works");

    for node in [owner, other, owner, other] {
        let path = format!("{small}/diff?from=1&to=2");
        let answer = ask(node, (Method::GET, &path), &anna, "").await;
        assert_eq!(answer.status(), StatusCode::OK, "others find a place");
    }
    cluster.done(2, &["revoke", "--subject", "ben"]).await;
    for socket in &mut sockets {
        assert_eq!(socket.end().await.1, 4401);
    }
    let before = answers.load(Ordering::Relaxed);
    let goes_on = async {
        while answers.load(Ordering::Relaxed) == before {
            assert!(flooding.try_join_next().is_none(), "it ends by itself");
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, goes_on).await.expect("all that was while she asked");
    flooding.shutdown().await;
    // All places are given back.
    becomes(owner, "quire_edge_long_work", 0).await;
}

#[tokio::test]
async fn whatever_reads_a_history_or_compares_texts_has_a_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let token = hour("anna", &[("*", "admin")]);
    write(&node, &id("a"), &token, ["one", "two"]).await;
    for (method, path, body, long) in [
        (Method::GET, "a", "", 0),
        (Method::GET, "a/versions", "", 0),
        (Method::GET, "a?rev=1", "", 1),
        (Method::GET, "a/history", "", 1),
        (Method::GET, "a/blame", "", 1),
        (Method::GET, "a/diff?from=1", "", 1),
        (Method::GET, "a/verify", "", 1),
        (Method::GET, "a/export", "", 1),
        (Method::GET, "a/export?format=json", "", 1),
        (Method::POST, "a/restore", r#"{"rev":1}"#, 1),
        (Method::PUT, "a", "three", 1),
    ] {
        let before = metric(&node, "quire_edge_long_work_total").await;
        let answer = ask(&node, (method, path), &token, body).await;
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        let after = metric(&node, "quire_edge_long_work_total").await;
        assert_eq!(after - before, long, "{path}");
    }
    node.stop().await.expect("it stops");
}
