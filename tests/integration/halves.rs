//! Requests whose sender has no right any more once their body has come: nothing of them is done,
//! by what it was withdrawn and whichever node is asked.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quire::clock::Clock;
use quire::config::{Config, Engine};
use quire::node::Node;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::doors::{Browser, hour, token};
use crate::inner::id;
use crate::operators::Cluster;
use crate::plain::{denied, rest, say, statuses, until};
use crate::raw::Listens;
use crate::revoking::token_id;
use crate::signout::sign_out;
use crate::tickets::tokens;

/// A document that one of the nodes owns.
const DOC: &str = "/v1/docs/notes";

const ALL: &[(&str, &str)] = &[("notes", "write,history,admin")];

/// What is changed in every way that takes a body: an address, and the body.
fn writes() -> [(Method, String, Value); 5] {
    let rights = json!({ "owner": "anna", "public": true, "members": { "anna": ["admin"] } });
    [
        (Method::PUT, DOC.to_owned(), json!({ "text": "late" })),
        (Method::PUT, format!("{DOC}/rights"), rights),
        (Method::POST, format!("{DOC}/ops"), json!({ "base": 1, "op": ["late"] })),
        (Method::POST, format!("{DOC}/cut"), json!({ "before": 1 })),
        (Method::DELETE, DOC.to_owned(), json!({ "author": "anna" })),
    ]
}

/// A request of which the head and half of the body were sent.
struct Half {
    stream: TcpStream,
    rest: String,
    what: String,
}

impl Half {
    /// Sends them, and waits until the body is read.
    async fn begin(node: &impl Listens, who: &str, write: &(Method, String, Value)) -> Self {
        let (method, path, body) = write;
        let what = format!("{method} {path}");
        let body = body.to_string();
        let head = format!(
            "{what} HTTP/1.1\r\nhost: localhost\r\n{who}content-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\nexpect: 100-continue\r\n\r\n",
            body.len()
        );
        let mut stream = say(node.address(), head.as_bytes()).await;
        until(&mut stream, "100 Continue").await;
        let (half, rest) = body.split_at(body.len() / 2);
        stream.write_all(half.as_bytes()).await.expect("it is open");
        Self { stream, rest: rest.to_owned(), what }
    }

    /// Checks that it is refused as whoever comes now is.
    async fn is_refused(&mut self, who: &str) {
        let answer = rest(&mut self.stream).await;
        assert_eq!(statuses(&answer), [401], "{}: {answer}", self.what);
        assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
        let peer = self.stream.peer_addr().expect("it was connected");
        let again =
            format!("GET {DOC} HTTP/1.1\r\nhost: localhost\r\n{who}connection: close\r\n\r\n");
        let again = rest(&mut say(peer, again.as_bytes()).await).await;
        let problem = |answer: &str| answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        assert_eq!(problem(&answer), problem(&again), "{}", self.what);
    }
}

async fn ask(node: &Node, path: &str, token: &str) -> Value {
    let url = format!("http://{}{path}", node.address);
    let answer = Client::new().get(url).bearer_auth(token).send().await.expect("it answers");
    answer.json().await.expect("JSON")
}

/// Writes the document and its rights, and returns how it is seen then.
async fn written(node: &Node, ben: &str) -> [Value; 2] {
    let url = format!("http://{}{DOC}", node.address);
    let put = Client::new().put(url).bearer_auth(ben).json(&json!({ "text": "early" })).send();
    assert!(put.await.expect("it answers").status().is_success());
    seen(node, ben).await
}

async fn seen(node: &Node, ben: &str) -> [Value; 2] {
    [ask(node, DOC, ben).await, ask(node, &format!("{DOC}/rights"), ben).await]
}

/// Begins with all that can be written, at every node.
async fn begin_all(nodes: &[Node], who: &str) -> Vec<Half> {
    let owns = |node: &&Node| node.router().elsewhere(&id("notes")).is_none();
    assert_eq!(nodes.iter().filter(owns).count(), 1, "owners and others are met");
    let mut halves = Vec::new();
    for node in nodes {
        for write in &writes() {
            halves.push(Half::begin(node, who, write).await);
        }
    }
    halves
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}\r\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whose_token_is_revoked_while_a_body_comes_is_answered_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::with(&["a", "b", "c"], tokens(folder.path())).await;
    let [anna, cleo, ben] = ["anna", "cleo", "ben"].map(|name| hour(name, ALL));
    let before = written(&cluster.nodes[0], &ben).await;
    for (token, by, with) in [(&anna, "--jti", &*token_id(&anna)), (&cleo, "--subject", "cleo")] {
        let mut halves = begin_all(&cluster.nodes, &bearer(token)).await;
        cluster.done(1, &["revoke", by, with]).await;
        for half in &mut halves {
            half.is_refused(&bearer(token)).await;
        }
        assert_eq!(seen(&cluster.nodes[2], &ben).await, before, "{by}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_out_while_a_body_comes_is_answered_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::with(&["a", "b", "c"], tokens(folder.path())).await;
    let (anna, ben) = (hour("anna", ALL), hour("ben", ALL));
    let before = written(&cluster.nodes[0], &ben).await;
    let browser = Browser::sign_in(&cluster.nodes[0], &anna).await;
    let who = format!("cookie: {}\r\nx-csrf-token: {}\r\n", browser.cookies(), browser.csrf);
    let mut halves = begin_all(&cluster.nodes, &who).await;
    sign_out(&browser, &cluster.nodes[1]).await;
    for half in &mut halves {
        half.is_refused(&who).await;
    }
    assert_eq!(seen(&cluster.nodes[2], &ben).await, before);
}

#[tokio::test]
async fn what_comes_when_its_token_has_expired_is_not_applied() {
    const HOUR: u64 = 3_600_000;
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        checkpoints: Engine::Memory,
        ..tokens(folder.path())
    };
    let zero = Arc::new(AtomicU64::new(Clock::wall().now().0));
    let node = Node::start(&config, Clock::jumping(zero.clone())).await.expect("it starts");
    let (anna, ben) = (hour("anna", ALL), token("ben", ALL, Duration::from_millis(3 * HOUR)));
    let before = written(&node, &ben).await;
    let mut halves = begin_all(std::slice::from_ref(&node), &bearer(&anna)).await;
    // No timer knows of it.
    zero.fetch_add(2 * HOUR, Ordering::Relaxed);
    for half in &mut halves {
        let rest = half.rest.clone();
        half.stream.write_all(rest.as_bytes()).await.expect("it is open");
        half.is_refused(&bearer(&anna)).await;
    }
    assert_eq!(seen(&node, &ben).await, before);
    // Each of them, and as many that came afterwards.
    assert_eq!(denied(&node, "expired").await, 2 * writes().len() as u64);
    // Whose right lasts is served.
    for write in &writes() {
        let Half { mut stream, rest: late, .. } = Half::begin(&node, &bearer(&ben), write).await;
        stream.write_all(late.as_bytes()).await.expect("it is open");
        assert_eq!(statuses(&rest(&mut stream).await), [200], "{} {}", write.0, write.1);
    }
    node.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_shows_nothing_is_answered_before_a_body_comes() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Cluster::with(&["a", "b", "c"], tokens(folder.path())).await;
    for node in &cluster.nodes {
        for (method, path) in [
            ("PUT", DOC),
            ("POST", DOC),
            ("DELETE", DOC),
            ("PATCH", DOC),
            ("PUT", "/v1/docs/notes/rights"),
            ("POST", "/v1/docs/notes/ops"),
            ("POST", "/v1/docs/notes/undelete"),
            // What only asks has no body.
            ("GET", DOC),
        ] {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\n\
                 content-length: 33554432\r\n\r\n"
            );
            let answer = rest(&mut say(node.address, head.as_bytes()).await).await;
            assert_eq!(statuses(&answer), [401], "{method} {path}: {answer}");
            assert!(answer.contains("www-authenticate: Bearer\r\n"), "{answer}");
            assert!(answer.contains(r#""code":"unauthenticated""#), "{answer}");
        }
        assert_eq!(denied(node, "nobody").await, 7);
    }
}
