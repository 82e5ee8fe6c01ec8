//! Revocations by the real command line: on a node that is alone, before and after a restart, and
//! in a cluster of three.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quire::auth::{Claims, Refusal, Revocations};
use quire::clock::Clock;
use quire::config::{Config, Engine};
use quire::log::Log;
use quire::node::Node;
use quire::testing::Faults;
use quire::types::{Author, ShardId, Timestamp};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::doors::{self, hour};
use crate::inner::{PATIENCE, id};
use crate::operators::{Cluster, command, text};
use crate::raw::Raw;
use crate::tickets::tokens;

/// Within so many control records a revocation is in force at all nodes: in the 2 s that it may
/// take, three nodes write 20 heartbeats, and they write them later where the machine is busy.
const RECORDS_MAX: u64 = 60;

type Told = watch::Receiver<Arc<Revocations>>;

/// What a token says of whom it is, which it is, and since when.
pub(crate) fn claims(subject: &str, id: &str, issued: Timestamp) -> Claims {
    Claims {
        subject: subject.parse().expect("a subject"),
        name: Author::anonymous(),
        expires: Timestamp(u64::MAX),
        issued: Some(issued),
        id: Some(id.parse().expect("an id")),
        grants: Vec::new(),
        key: None,
    }
}

/// Waits until a token is refused, without asking again and again.
pub(crate) async fn refused(told: &mut Told, claims: &Claims) {
    let stopped = told.wait_for(|revoked| revoked.check(claims) == Err(Refusal::Revoked));
    timeout(PATIENCE, stopped).await.expect("it is told").expect("the node is there");
}

/// A node that is alone, with a port for operators.
async fn alone(config: &Config) -> Node {
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen, admin_listen: any, shards: 2, ..config.clone() };
    Node::start(&config, Clock::wall()).await.expect("it starts")
}

async fn run(node: &Node, args: &[&str]) -> (Option<i32>, String, String) {
    let admin = format!("http://{}", node.admin.expect("operators are served"));
    let mut command = command(&admin, args);
    let ended = tokio::task::spawn_blocking(move || command.output());
    let Output { status, stdout, stderr } = ended.await.expect("no panic").expect("it runs");
    (status.code(), text(stdout), text(stderr))
}

async fn done(node: &Node, args: &[&str]) -> String {
    let (code, out, err) = run(node, args).await;
    assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_alone_has_revoked_is_so_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = Config { data: folder.path().join("data"), ..Config::default() };
    let node = alone(&config).await;
    let (long, now) = ("s".repeat(255), Clock::wall().now());
    let later = Timestamp(now.0 + 3_600_000);
    let mut told = node.revoked();
    assert_eq!(told.borrow().check(&claims(&long, "j1", now)), Ok(()));

    let given = done(&node, &["revoke", "--subject", &long, "--reason", "she has left"]).await;
    assert!(
        given.starts_with(&format!("done: revoke --subject {long} --issued-up-to ")),
        "{given}"
    );
    refused(&mut told, &claims(&long, "j1", now)).await;
    assert_eq!(told.borrow().check(&claims(&long, "j1", later)), Ok(()), "issued afterwards");
    done(&node, &["revoke", "--jti", "j2", "--as", "bo"]).await;
    refused(&mut told, &claims("ann", "j2", later)).await;

    let events = done(&node, &["events", "--json"]).await;
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds: Vec<_> = events.iter().map(|event| (&event["at"], &event["kind"])).collect();
    let (one, two) = (json!(1), json!(2));
    let (gave, became) = (json!("command"), json!("revoked"));
    assert_eq!(kinds, [(&one, &gave), (&one, &became), (&two, &gave), (&two, &became)]);
    assert_eq!((&events[0]["by"], &events[0]["why"]), (&json!("ada"), &json!("she has left")));
    assert_eq!(events[3]["text"], "token j2 is revoked");

    node.stop().await.expect("everything is saved");
    let node = alone(&config).await;
    // Nobody has to wait for it.
    let told = node.revoked();
    for claims in [claims(&long, "j1", now), claims("ann", "j2", later)] {
        assert_eq!(told.borrow().check(&claims), Err(Refusal::Revoked));
    }
    let listed = done(&node, &["revoked", "--limit", "1"]).await;
    let next = "there are more: --after jti:j2";
    assert!(listed.contains("token  j2") && listed.contains(next), "{listed}");
    let listed = done(&node, &["revoked", "--after", "jti:j2"]).await;
    assert!(listed.contains(&long) && listed.contains("2 in all, "), "{listed}");
    node.stop().await.expect("everything is saved");

    let file = config.data.join("revoked.list");
    let bytes = std::fs::read(&file).expect("it is there");
    std::fs::write(&file, &bytes[1..]).expect("it can be written");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { listen: any, ..config };
    let said = Node::start(&config, Clock::wall()).await.err().expect("it is damaged").to_string();
    assert!(
        said.contains("revoked.list, is damaged") && said.contains("put a copy back"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_says_what_needs_a_cluster_and_what_is_no_token() {
    let (log, checkpoints) = (Engine::Memory, Engine::Memory);
    let node = alone(&Config { log, checkpoints, ..Config::default() }).await;
    let needs = "this node is alone, so that there are no other nodes";
    let long = "x".repeat(256);
    for (args, code, part) in [
        (&["status"] as &[&str], 1, needs),
        (&["nodes"], 1, needs),
        (&["shards"], 1, needs),
        (&["where", "notes"], 1, needs),
        (&["explain", "1"], 1, needs),
        (&["plan"], 1, needs),
        (&["limits"], 1, needs),
        (&["pause"], 1, needs),
        (&["move", "1", "--to", "a"], 1, "start this one with --peer-listen"),
        (&["revoke", "--jti", "j", "--as", " "], 1, "the operator's name is too long, empty"),
        (&["revoke", "--jti", "j", "--until", "2999-01-01T00:00:00Z"], 1, "longer than 400 days"),
        (&["revoked", "--limit", "0"], 1, "there is no such place"),
        (&["revoke"], 2, "--jti"),
        (&["revoke", "--jti", "j", "--subject", "s"], 2, "cannot be used with"),
        (&["revoke", "--jti", "a b"], 2, "1 to 128 visible ASCII"),
        (&["revoke", "--subject", &long], 2, "1 to 255 visible ASCII"),
        (&["revoke", "--jti", "j", "--until", "tomorrow"], 2, "--until"),
    ] {
        let (found, out, err) = run(&node, args).await;
        assert_eq!((found, out.as_str()), (Some(code), ""), "{args:?}: {err}");
        assert!(err.contains(part), "{args:?}: {err}");
    }
    // Who does not use the command line is told as well.
    let http = Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{}/v1/commands", node.admin.expect("it is served"));
    for (ask, part) in [
        (r#"{"order":"revoke-token","jti":"a b"}"#, "a token's id is 1 to 128 visible ASCII"),
        (r#"{"order":"revoke-subject","subject":""}"#, "a subject is 1 to 255 visible ASCII"),
        (r#"{"order":"revoke-subject","subject":"s","until":"x"}"#, "\"x\" is no time"),
    ] {
        let body = format!(r#"{{"by":"ada","ask":{ask}}}"#);
        let response = http.post(&url).body(body).send().await.expect("it answers");
        assert_eq!(response.status().as_u16(), 400, "{ask}");
        let problem: Value = response.json().await.expect("JSON");
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(part)), "{problem}");
    }
    let listed = done(&node, &["revoked"]).await;
    assert!(listed.contains("0 in all, 0 of 524288 bytes"), "{listed}");
    assert_eq!(done(&node, &["events"]).await, "");
    node.stop().await.expect("it ends");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_revokes_every_node_refuses() {
    let mut cluster = Cluster::of(&["a", "b", "c"]).await;
    let (long, now) = ("s".repeat(255), Clock::wall().now());
    let later = Timestamp(now.0 + 3_600_000);
    let mut told: Vec<_> = cluster.nodes.iter().map(Node::revoked).collect();
    let (of_subject, alone) = (claims(&long, "j1", now), claims("ann", "j2", now));
    let good = claims(&long, "j1", later);
    cluster.done(0, &["revoke", "--subject", &long, "--why", "she has left"]).await;
    for told in &mut told {
        refused(told, &of_subject).await;
        assert_eq!(told.borrow().check(&good), Ok(()), "issued afterwards");
        assert_eq!(told.borrow().check(&alone), Ok(()));
    }
    cluster.done(2, &["revoke", "--jti", "j2"]).await;
    for told in &mut told {
        refused(told, &alone).await;
    }
    // Another node that comes knows it before it serves.
    cluster.start("d").await;
    let new = cluster.nodes[3].revoked();
    for claims in [&of_subject, &alone] {
        assert_eq!(new.borrow().check(claims), Err(Refusal::Revoked));
    }
    let listed = cluster.json(3, &["revoked"]).await;
    assert_eq!((&listed["count"], &listed["revoked"][0]["jti"]), (&json!(2), &json!("j2")));
    assert_eq!(listed["revoked"][1]["subject"], json!(long));
    let events = cluster.done(1, &["events"]).await;
    assert!(events.contains("token j2 is revoked"), "{events}");
    assert!(events.contains("ada gave the command: revoke --subject sss"), "{events}");
    assert!(events.contains("(she has left)"), "{events}");
}

/// Three nodes that take tokens.
async fn guarded(folder: &Path) -> Cluster {
    let mut config = tokens(folder);
    // Whoever signs in again at once is let in.
    config.auth.leeway = Duration::ZERO;
    Cluster::with(&["a", "b", "c"], config).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_sockets_of_every_node_end_when_one_node_revokes() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = guarded(folder.path()).await;
    // Each node is given both kinds of the command.
    for by in 0..cluster.nodes.len() {
        let (anna, doc) = (format!("anna-{by}"), format!("notes-{by}"));
        let write = [("*", "write")];
        let (one, two, of_ben) = (hour(&anna, &write), hour(&anna, &write), hour("ben", &write));
        let mut first = enter_all(&cluster, &doc, &one, 0).await;
        let mut second = enter_all(&cluster, &doc, &two, 3).await;
        let mut ben = enter_all(&cluster, &doc, &of_ben, 6).await;

        cluster.done(by, &["revoke", "--jti", &token_id(&one)]).await;
        sent_away(&cluster, &mut first, (&doc, &one)).await;
        // With another token of hers she stays, and comes in.
        second[0].send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
        second[0].hear("ack").await;
        for socket in second[1..].iter_mut().chain(&mut ben) {
            socket.hear("op").await;
        }
        for node in &cluster.nodes {
            let answer = ask(node, Method::GET, &format!("/v1/docs/{doc}"), &two).await;
            assert_eq!(answer.status().as_u16(), 200);
        }

        cluster.done(by, &["revoke", "--subject", &anna]).await;
        sent_away(&cluster, &mut second, (&doc, &two)).await;
        // Others stay.
        ben[0].send(r#"{"t":"op","seq":1,"base":1,"op":["y",1]}"#).await;
        ben[0].hear("ack").await;
        for socket in &mut ben[1..] {
            socket.hear("op").await;
        }
    }
}

/// Opens a document at every node with a token; its owner is one of them.
async fn enter_all(cluster: &Cluster, doc: &str, token: &str, session: usize) -> Vec<Raw> {
    let mut sockets = Vec::new();
    for (number, node) in cluster.nodes.iter().enumerate() {
        sockets.push(enter_one(node, doc, token, session + number).await);
    }
    sockets
}

/// Waits until a socket at each node has ended because its token was revoked, and sees that nobody
/// comes in with it any more.
async fn sent_away(cluster: &Cluster, sockets: &mut [Raw], (doc, token): (&str, &str)) {
    for (socket, node) in sockets.iter_mut().zip(&cluster.nodes) {
        let (told, code) = socket.end().await;
        assert_eq!((&told["code"], code), (&json!("unauthenticated"), 4401));
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let late = Raw::upgrade_with(node, &format!("/ws/{doc}"), &headers).await;
        assert_eq!(late.expect("it is told inside").end().await.1, 4401);
    }
}

/// Returns the id that a token has.
pub(crate) fn token_id(token: &str) -> String {
    let payload = token.split('.').nth(1).expect("it has three parts");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("it is encoded");
    let payload: Value = serde_json::from_slice(&payload).expect("JSON");
    payload["jti"].as_str().expect("it has an id").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_once_a_node_takes_a_token_no_more_is_not_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = guarded(folder.path()).await;
    let (anna, ben) = (hour("anna", &[("*", "write")]), hour("ben", &[("*", "write")]));
    let mut of_anna = Vec::new();
    for node in &cluster.nodes {
        of_anna.push(enter(node, &anna, of_anna.len()).await);
    }
    of_anna[0].send(r#"{"t":"op","seq":1,"base":0,"op":["early"]}"#).await;
    of_anna[0].hear("ack").await;
    let marks = async || cluster.control.marks(ShardId(0)).await.expect("it can be read").high;
    cluster.done(1, &["revoke", "--subject", "anna"]).await;
    let revoked = marks().await;
    for (number, socket) in of_anna.iter_mut().enumerate() {
        // By HTTP it is known to be in force there: the socket has to know it as well.
        comes_to(&cluster.nodes[number], &anna, 401, 200).await;
        let seq = if number == 0 { 2 } else { 1 };
        let late = json!({"t": "op", "seq": seq, "base": 1, "op": ["late", 5]});
        socket.try_send(&late.to_string()).await;
        assert_eq!(socket.end().await.1, 4401, "{number}");
    }
    // Nodes are told as soon as it is written, and do not look for it now and then.
    let later = marks().await.0 - revoked.0;
    assert!(later < RECORDS_MAX, "{later} control records later");
    let answer = ask(&cluster.nodes[2], Method::GET, "/v1/docs/notes", &ben).await;
    let told: Value = answer.json().await.expect("JSON");
    assert_eq!((&told["text"], &told["head"]), (&json!("early"), &json!(1)));
}

/// Opens a document at a node with a token.
async fn enter(node: &Node, token: &str, session: usize) -> Raw {
    enter_one(node, "notes", token, session).await
}

async fn enter_one(node: &Node, doc: &str, token: &str, session: usize) -> Raw {
    let bearer = format!("Bearer {token}");
    let digit = char::from_digit(session as u32 + 1, 10).expect("a digit");
    doors::enter(node, &format!("/ws/{doc}"), digit, &[("authorization", &bearer)]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_list_of_a_cluster_is_refused_and_nothing_is_pushed_out() {
    let cluster = Cluster::of(&["a", "b"]).await;
    let now = Clock::wall().now();
    let fit = cluster.fill(now).await;
    let mut told = cluster.nodes[1].revoked();
    let last = claims(&format!("{:0255}", fit - 1), "j", now);
    refused(&mut told, &last).await;
    let more = "x".repeat(255);
    let said = cluster.refused(0, &["revoke", "--subject", &more]).await;
    assert!(said.contains(&format!("{fit} revocations are in force, and no more fit")), "{said}");
    assert!(said.contains("replace the key that tokens are signed with"), "{said}");
    assert_eq!(told.borrow().check(&claims(&more, "j", now)), Ok(()));
    let listed = cluster.json(1, &["revoked", "--limit", "1000"]).await;
    assert_eq!(listed["count"], json!(fit));
    assert_eq!(listed["revoked"].as_array().map(Vec::len), Some(1_000));
    // One that is known can grow.
    let first = format!("{:0255}", 0);
    cluster.done(0, &["revoke", "--subject", &first]).await;
    refused(&mut told, &claims(&first, "j", Timestamp(now.0 + 1))).await;
}

async fn ask(node: &Node, method: Method, path: &str, token: &str) -> Response {
    let url = format!("http://{}{path}", node.address);
    Client::new().request(method, url).bearer_auth(token).send().await.expect("it answers")
}

/// Asks until the answer is what is wanted; before that it may be one other, and no third.
async fn comes_to(node: &Node, token: &str, wanted: u16, before: u16) {
    let asking = async {
        loop {
            let status = ask(node, Method::GET, "/v1/docs/notes", token).await.status().as_u16();
            if status == wanted {
                return;
            }
            assert_eq!(status, before);
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("it never answers {wanted}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_does_not_hear_of_revocations_lets_nobody_in_by_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = guarded(folder.path()).await;
    let (anna, ben) = (hour("anna", &[("*", "write")]), hour("ben", &[("*", "write")]));
    let node = &cluster.nodes[0];
    ask(node, Method::POST, "/v1/docs/notes", &ben).await.error_for_status().expect("it is made");
    // Documents of this node, and of others.
    let mut sockets = Vec::new();
    for session in 0..8 {
        let doc = format!("notes-{session}");
        sockets.push(enter_one(node, &doc, [&anna, &ben][session % 2], session).await);
    }
    let owned = |session| node.router().elsewhere(&id(&format!("notes-{session}"))).is_none();
    assert!((0..8).any(owned) && !(0..8).all(owned), "both are met");

    cluster.controls[0].set(Faults { lost: 1_000, unreadable: 1_000, ..Faults::default() });
    for socket in &mut sockets {
        let (told, code) = timeout(PATIENCE, socket.end()).await.expect("it ends");
        assert_eq!((&told["code"], code), (&json!("unavailable"), 4503), "{told}");
        assert!(told["msg"].as_str().is_some_and(|msg| msg.contains("revoked just now")), "{told}");
        assert!(told["retry_ms"].as_u64().is_some_and(|retry| retry <= 2_000), "{told}");
    }
    cluster.done(1, &["revoke", "--subject", "anna"]).await;
    for token in [&anna, &ben] {
        for (method, path) in [
            (Method::GET, "/v1/docs/notes"),
            (Method::PUT, "/v1/docs/notes"),
            (Method::POST, "/auth/session"),
            (Method::POST, "/auth/ticket"),
        ] {
            let answer = ask(node, method, path, token).await;
            let retry = answer.headers().get("retry-after").cloned();
            assert_eq!(answer.status().as_u16(), 503, "{path}");
            assert!(retry.is_some_and(|retry| retry == "1" || retry == "2"), "{path}");
            let problem: Value = answer.json().await.expect("JSON");
            assert_eq!(problem["code"], json!("unavailable"), "{path}");
        }
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let mut late = Raw::upgrade_with(node, "/ws/notes", &headers).await.expect("told inside");
        let (_, code) = timeout(PATIENCE, late.end()).await.expect("it ends");
        assert_eq!(code, 4503);
    }
    // Whoever shows nothing is asked who they are, as ever.
    let url = format!("http://{}/auth/session", node.address);
    assert_eq!(reqwest::get(url).await.expect("it answers").status().as_u16(), 401);

    cluster.controls[0].set(Faults::default());
    comes_to(node, &anna, 401, 503).await;
    comes_to(node, &ben, 200, 503).await;
    enter(node, &ben, 8).await;
}
