//! Tickets in a cluster: one opens one socket, whichever node has issued it and whichever is asked.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use prometheus::Registry;
use quire::auth::{
    self, Csrf, Holder, Key, KeySet, Keys, Logins, Policy, Repeats, Secret, Tickets, Verifier,
};
use quire::clock::Clock;
use quire::config::{Config, Engine};
use quire::edge::doors::{Doors, Endings, Guard, Origins};
use quire::node::Node;
use quire::relay;
use quire::types::NodeId;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::doors::{SECRET, closed, hour, knock};
use crate::inner::PATIENCE;
use crate::nodes::{Nodes, Settings, name};
use crate::operators::{Cluster, nodes};
use crate::raw::Raw;
use crate::revoking::{claims, refused};

/// What seals the logins of all nodes.
const SEAL: &str = "another secret, of all nodes' logins";

/// Three nodes that take tokens.
pub(crate) async fn cluster() -> Cluster {
    cluster_in(tempfile::tempdir().expect("a folder").path()).await
}

/// The same, of which more can be started as long as the folder is there.
pub(crate) async fn cluster_in(folder: &Path) -> Cluster {
    Cluster::with(&["a", "b", "c"], tokens(folder)).await
}

/// Returns what a node of a cluster takes tokens with, and puts it into a folder.
pub(crate) fn tokens(folder: &Path) -> Config {
    let (key, secret) = (folder.join("key"), folder.join("secret"));
    std::fs::write(&key, SECRET).expect("it is written");
    std::fs::write(&secret, SEAL).expect("it is written");
    // Nothing of it is written down: what one node knows of another it has been told.
    let mut config = Config { log: Engine::Memory, ..Config::default() };
    config.auth.keys = key.display().to_string();
    config.auth.secret_file = secret.display().to_string();
    config
}

/// Asks a node for a ticket.
async fn ticket(node: &Node, subject: &str) -> String {
    let asked = reqwest::Client::new().post(format!("http://{}/auth/ticket", node.address));
    let asked = asked.bearer_auth(hour(subject, &[("**", "write")])).send();
    let answer: Value = asked.await.expect("it answers").json().await.expect("JSON");
    answer["ticket"].as_str().expect("text").to_owned()
}

/// Presents a ticket for a document.
async fn present(node: &Node, ticket: &str, doc: &str) -> (String, u16) {
    let path = format!("/ws/{doc}?ticket={ticket}");
    timeout(PATIENCE, knock(node, &path, &[])).await.expect("it is told")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_any_node_opens_one_socket_at_any_node() {
    let cluster = cluster().await;
    for (from, issuer) in cluster.nodes.iter().enumerate() {
        for (at, opener) in cluster.nodes.iter().enumerate() {
            let (ticket, doc) = (ticket(issuer, "anna").await, format!("doc-{from}-{at}"));
            let opened = present(opener, &ticket, &doc).await;
            assert_eq!(opened, closed("welcome", 0), "of {from} at {at}");
            for (again, node) in cluster.nodes.iter().enumerate() {
                let spent = present(node, &ticket, &doc).await;
                let expected = closed("unauthenticated", 4401);
                assert_eq!(spent, expected, "of {from}, used at {at}, at {again}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_all_nodes_are_shown_at_once_opens_one_socket() {
    let cluster = cluster().await;
    for round in 0..20 {
        let ticket = ticket(&cluster.nodes[round % 3], "anna").await;
        let doc = format!("doc-{round}");
        let shown = cluster.nodes.iter().map(|node| present(node, &ticket, &doc));
        let mut told = join_all(shown).await;
        told.sort();
        let spent = closed("unauthenticated", 4401);
        assert_eq!(told, [spent.clone(), spent, closed("welcome", 0)], "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_whom_is_revoked_meanwhile_opens_nothing_at_another_node() {
    let cluster = cluster().await;
    let (anna, ben) =
        (ticket(&cluster.nodes[0], "anna").await, ticket(&cluster.nodes[0], "ben").await);
    let now = Clock::wall().now();
    cluster.done(0, &["revoke", "--subject", "anna"]).await;
    let mut told = cluster.nodes[1].revoked();
    refused(&mut told, &claims("anna", "j", now)).await;
    let shown = present(&cluster.nodes[1], &anna, "notes").await;
    assert_eq!(shown, closed("unauthenticated", 4401));
    assert_eq!(present(&cluster.nodes[1], &ben, "notes").await, closed("welcome", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_a_node_that_has_left_is_not_good_any_more() {
    let mut cluster = cluster().await;
    let last = cluster.nodes.pop().expect("there are three");
    let ticket = ticket(&last, "anna").await;
    last.stop().await.expect("the others take its shards");
    let left = |status: &Value| nodes(status).all(|n| n["node"] != "c" || n["status"] != "up");
    cluster.until(1, left).await;
    let shown = present(&cluster.nodes[1], &ticket, "notes").await;
    assert_eq!(shown, closed("unauthenticated", 4401));
}

/// Returns what lets in whoever has a token or a ticket, at a node of the cluster with [`SEAL`].
pub(crate) fn guarded(node: NodeId) -> Doors {
    let key = Key::read(None, SECRET.as_bytes()).expect("a key");
    let metrics = auth::Metrics::register(&Registry::new()).expect("a new registry");
    let keys = Keys::Own(KeySet::new(vec![key]).expect("one key").into());
    let (policy, seal) = (Policy::default(), Secret::read(SEAL.as_bytes()).expect("a secret"));
    Doors::Guarded(Box::new(Guard {
        verifier: Verifier { keys, policy, clock: Clock::wall(), metrics },
        logins: Logins::new(&seal, None, Duration::from_hours(1)),
        csrf: Csrf::new(&seal, None),
        tickets: Mutex::new(Tickets::new(node, (&seal, None), 10)),
        repeats: Repeats::new(&seal, None),
        revoked: watch::channel(Arc::default()).1,
        endings: Endings::default(),
        origins: Origins::default(),
    }))
}

/// Returns a ticket as a node of a cluster with this secret issues it.
fn forged(node: NodeId, seal: &str) -> String {
    let seal = Secret::read(seal.as_bytes()).expect("a secret");
    let mut tickets = Tickets::new(node, (&seal, None), 1);
    let claims = claims("anna", "j", Clock::wall().now());
    let holder = Holder { claims, login: None };
    let ticket = tickets.issue(holder, rand::random(), Instant::now()).expect("it is the first");
    ticket.expose_secret().to_owned()
}

/// Shows a ticket to the other node than the owner, and returns what is told: the error, and how
/// the socket is closed.
async fn shown(nodes: &Nodes, ticket: &str) -> (Value, u16) {
    let path = format!("/ws/a?ticket={ticket}");
    let telling = async {
        let mut raw = Raw::upgrade_with(&nodes.all[1], &path, &[]).await.expect("it is taken");
        raw.end().await
    };
    timeout(PATIENCE, telling).await.expect("it does not wait for ever")
}

#[tokio::test]
async fn who_shows_a_ticket_of_a_node_that_does_not_answer_is_told_to_come_again() {
    // Nothing but the bound on the question itself is in the way of waiting for ever.
    let long = Duration::from_hours(1);
    let relay =
        relay::Config { hello_timeout: long, request_timeout: long, ..relay::Config::default() };
    let nodes = Nodes::start(1, Settings { relay, doors: Some(guarded), ..Settings::default() });
    let nodes = nodes.await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    *nodes.owner_at.lock() = Some(silent.local_addr().expect("it is bound").to_string());
    let (told, code) = shown(&nodes, &forged(name(0), SEAL)).await;
    assert_eq!((&told["code"], code), (&json!("unavailable"), 4503), "{told}");
    assert_eq!(told["retry_ms"], 1_000, "{told}");
    let msg = told["msg"].as_str().expect("it is told why");
    assert!(msg.contains("does not answer: ask for a new one"), "{msg}");
}

#[tokio::test]
async fn nobody_has_a_node_asked_who_was_given_no_ticket_of_it() {
    let nodes = Nodes::start(1, Settings { doors: Some(guarded), ..Settings::default() }).await;
    let asked = || nodes.all[1].relay.carried.get();
    let bad = |(told, code): &(Value, u16)| told["code"] == "unauthenticated" && *code == 4401;
    for ticket in [
        forged(name(0), "a secret that somebody else has made up"),
        // It was restarted: it takes its own tickets, and has not this one.
        forged(name(1), SEAL),
        "A".repeat(300),
        String::new(),
        "open".to_owned(),
    ] {
        let told = shown(&nodes, &ticket).await;
        assert!(bad(&told), "{ticket}: {told:?}");
    }
    // No member bears the name.
    let at = nodes.owner_at.lock().take();
    let told = shown(&nodes, &forged(name(7), SEAL)).await;
    assert!(bad(&told), "{told:?}");
    assert_eq!((asked(), nodes.all[1].relay.links_out.get()), (0, 0));
    // One that was issued, as far as can be told, is asked for, and the issuer has the last word.
    *nodes.owner_at.lock() = at;
    let told = shown(&nodes, &forged(name(0), SEAL)).await;
    assert!(bad(&told), "{told:?}");
    assert_eq!(asked(), 1);
}
