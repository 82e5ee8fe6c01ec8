//! Signing out: what a login has opened ends with it, at every node, and nothing else does.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quire::auth::SigningKey;
use quire::config::{Config, Engine};
use quire::log::Memory;
use quire::relay::{Blob, PeerError, Request, Who};
use quire::task::Tasks;
use quire::testing::{Faults, FaultyLog};
use quire::types::LogId;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::doors::{Browser, bearer, closed, enter, guarded, hour, knock, signed};
use crate::inner::PATIENCE;
use crate::nodes::{Nodes, Settings, name};
use crate::operators::Cluster;
use crate::plain::denied;
use crate::proxy::{Line, Proxy};
use crate::raw::{Listens, Raw};
use crate::server::free_port;
use crate::tickets::{self, cluster, cluster_in, tokens};

/// Knocks with the cookies of a browser.
async fn visit(browser: &Browser, node: &impl Listens) -> (String, u16) {
    let (cookies, offer) = (browser.cookies(), browser.offer());
    knock(node, "/ws/a", &[("cookie", &cookies), ("sec-websocket-protocol", &offer)]).await
}

pub(crate) async fn sign_out(browser: &Browser, node: &impl Listens) {
    let csrf = [browser.csrf_header()];
    let answer = browser.ask(node, Method::DELETE, "/auth/session", &csrf).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
}

/// Asks a node for a ticket with a login, and returns the path that it opens.
async fn ticket_of(browser: &Browser, node: &impl Listens) -> String {
    let csrf = [browser.csrf_header()];
    let answer = browser.ask(node, Method::POST, "/auth/ticket", &csrf).await;
    let ticket: Value = answer.json().await.expect("JSON");
    format!("/ws/a?ticket={}", ticket["ticket"].as_str().expect("text"))
}

/// Opens `a` with the cookies of a browser, and is welcomed.
async fn open(browser: &Browser, node: &impl Listens, digit: char) -> Raw {
    let (cookies, offer) = (browser.cookies(), browser.offer());
    enter(node, "/ws/a", digit, &[("cookie", &cookies), ("sec-websocket-protocol", &offer)]).await
}

#[tokio::test]
async fn who_signs_out_leaves_nothing_open_at_the_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let token = hour("anna", &[("a", "write")]);
    let browser = Browser::sign_in(&node, &token).await;
    // The same token, in another browser and in a program.
    let other = Browser::sign_in(&node, &token).await;
    let program = format!("Bearer {token}");
    let (cookies, offer) = (browser.cookies(), browser.offer());
    let page = [("cookie", &*cookies), ("sec-websocket-protocol", &*offer)];
    let tickets = [ticket_of(&browser, &node).await, ticket_of(&browser, &node).await];
    let mut goes = [
        open(&browser, &node, '1').await,
        open(&browser, &node, '2').await,
        enter(&node, &tickets[0], '3', &[]).await,
        // One that has not said hello.
        Raw::upgrade_with(&node, "/ws/a", &page).await.expect("it is taken"),
    ];
    let mut stays = [
        open(&other, &node, '4').await,
        enter(&node, "/ws/a", '5', &[("authorization", &program)]).await,
    ];
    sign_out(&browser, &node).await;
    for raw in &mut goes {
        let (told, code) = raw.end().await;
        assert_eq!((&told["code"], code), (&"unauthenticated".into(), 4401));
    }
    // What was copied, or asked for before, opens nothing.
    assert_eq!(visit(&browser, &node).await, closed("unauthenticated", 4401));
    assert_eq!(knock(&node, &tickets[1], &[]).await, closed("unauthenticated", 4401));
    for (method, path) in [(Method::GET, "/v1/docs/a"), (Method::GET, "/auth/session")] {
        let answer = browser.ask(&node, method, path, &[]).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    // A newer token begins another login.
    let answer = browser.ask(&node, Method::POST, "/auth/session", &[bearer(&token)]).await;
    let mut again = Browser::default();
    again.keep(&answer);
    assert_eq!(visit(&again, &node).await, closed("welcome", 0));
    stays[0].send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    stays[0].hear("ack").await;
    stays[1].hear("op").await;
    node.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_signs_out_at_one_node_is_signed_out_at_all() {
    let cluster = cluster().await;
    let token = hour("anna", &[("a", "write")]);
    let browser = Browser::sign_in(&cluster.nodes[0], &token).await;
    let other = Browser::sign_in(&cluster.nodes[0], &token).await;
    let (mut goes, mut stays, mut tickets) = (Vec::new(), Vec::new(), Vec::new());
    for (number, digit) in ('1'..='3').enumerate() {
        let node = &cluster.nodes[number];
        // A ticket of one node opens a socket of the next, and ends with its login there.
        let ticket = ticket_of(&browser, node).await;
        let next = &cluster.nodes[(number + 1) % 3];
        goes.push(open(&browser, node, digit).await);
        goes.push(enter(next, &ticket, char::from(digit as u8 + 3), &[]).await);
        stays.push(open(&other, node, char::from(digit as u8 + 6)).await);
        tickets.push(ticket_of(&browser, node).await);
    }
    sign_out(&browser, &cluster.nodes[1]).await;
    // Who is answered has been told: a copy of the cookie is good for nothing from now on.
    for (number, node) in cluster.nodes.iter().enumerate() {
        let out = closed("unauthenticated", 4401);
        assert_eq!(visit(&browser, node).await, out, "node {number}");
        let spent = knock(node, &tickets[(number + 1) % 3], &[]).await;
        assert_eq!(spent, out, "a ticket at node {number}");
    }
    for raw in &mut goes {
        let (told, code) = raw.end().await;
        assert_eq!((&told["code"], code), (&"unauthenticated".into(), 4401));
    }
    for raw in &mut stays {
        raw.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
        while raw.next().await["t"] != "ack" {}
    }
}

#[tokio::test]
async fn who_has_signed_out_has_so_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = || {
        guarded(folder.path(), |config| {
            config.log = Engine::Embedded;
            config.checkpoints = Engine::Embedded;
            config.data = folder.path().join("data");
        })
    };
    let node = start().await;
    let token = hour("anna", &[("a", "write")]);
    let goes = Browser::sign_in(&node, &token).await;
    let stays = Browser::sign_in(&node, &token).await;
    sign_out(&goes, &node).await;
    node.stop().await.expect("it stops");
    let node = start().await;
    assert_eq!(visit(&goes, &node).await, closed("unauthenticated", 4401));
    assert_eq!(visit(&stays, &node).await, closed("welcome", 0));
    node.stop().await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_signed_out_is_known_to_a_node_that_was_not_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut cluster = cluster_in(folder.path()).await;
    let token = hour("anna", &[("a", "write")]);
    let goes = Browser::sign_in(&cluster.nodes[0], &token).await;
    let stays = Browser::sign_in(&cluster.nodes[0], &token).await;
    sign_out(&goes, &cluster.nodes[1]).await;
    cluster.start("d").await;
    assert_eq!(visit(&goes, &cluster.nodes[3]).await, closed("unauthenticated", 4401));
    assert_eq!(visit(&stays, &cluster.nodes[3]).await, closed("welcome", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_could_not_say_who_has_signed_out_is_asked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut config = tokens(folder.path());
    let line = line_to(&mut config).await;
    let mut cluster = Cluster::with(&["a"], config).await;
    let token = hour("anna", &[("a", "write")]);
    let goes = Browser::sign_in(&cluster.nodes[0], &token).await;
    let stays = Browser::sign_in(&cluster.nodes[0], &token).await;
    sign_out(&goes, &cluster.nodes[0]).await;
    cluster.config = tokens(folder.path());
    line.set(Line::Cut);
    cluster.start("b").await;
    let shown = async |browser: &Browser| {
        let answer = browser.ask(&cluster.nodes[1], Method::GET, "/auth/session", &[]).await;
        answer.status()
    };
    assert_eq!(shown(&goes).await, StatusCode::OK, "it has not heard of it");
    line.set(Line::Open);
    let heard = async {
        while shown(&goes).await == StatusCode::OK {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, heard).await.expect("it asks again");
    assert_eq!(shown(&goes).await, StatusCode::UNAUTHORIZED);
    assert_eq!(shown(&stays).await, StatusCode::OK);
}

/// Has a node that is started with this reached by a line only.
async fn line_to(config: &mut Config) -> Proxy {
    let peer = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let line = Proxy::to(peer, Line::Open).await;
    config.peer_listen = Some(peer);
    config.cluster.advertise_peer = line.address().to_owned();
    line
}

/// Starts two nodes, of which the first reaches the second by a line only.
async fn two_with_a_line(folder: &Path) -> (Cluster, Proxy) {
    let mut cluster = Cluster::with(&["a"], tokens(folder)).await;
    let line = line_to(&mut cluster.config).await;
    cluster.start("b").await;
    cluster.settled().await;
    (cluster, line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_not_told_of_a_sign_out_is_told_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, line) = two_with_a_line(folder.path()).await;
    let token = hour("anna", &[("a", "write")]);
    let [one, other] = [0, 1].map(|number| &cluster.nodes[number]);
    let (goes, stays) = (Browser::sign_in(one, &token).await, Browser::sign_in(one, &token).await);
    let mut sockets = [open(&goes, other, '2').await, open(&stays, other, '3').await];
    line.set(Line::Cut);
    sign_out(&goes, one).await;
    assert_eq!(visit(&goes, other).await, closed("welcome", 0), "it has not heard of it");
    line.set(Line::Open);
    // Both were up all the time: nobody comes who would be asked.
    let (told, code) = sockets[0].end().await;
    assert_eq!((&told["code"], code), (&"unauthenticated".into(), 4401));
    assert_eq!(visit(&goes, other).await, closed("unauthenticated", 4401));
    sockets[1].send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    sockets[1].hear("ack").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_a_login_that_has_ended_is_not_given_out_by_who_knows() {
    let folder = tempfile::tempdir().expect("a folder");
    let (cluster, line) = two_with_a_line(folder.path()).await;
    let token = hour("anna", &[("a", "write")]);
    let [one, other] = [0, 1].map(|number| &cluster.nodes[number]);
    let (goes, stays) = (Browser::sign_in(one, &token).await, Browser::sign_in(one, &token).await);
    let tickets = [ticket_of(&goes, one).await, ticket_of(&stays, one).await];
    line.set(Line::Cut);
    sign_out(&goes, one).await;
    // The other node has not heard of it, and asks the one that has issued the ticket.
    assert_eq!(visit(&goes, other).await, closed("welcome", 0));
    assert_eq!(knock(other, &tickets[0], &[]).await, closed("unauthenticated", 4401));
    assert_eq!(knock(other, &tickets[1], &[]).await, closed("welcome", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_carried_keep_no_sign_out_from_being_told() {
    let log = Arc::new(Memory::new(LogId(1), 1));
    let log = Arc::new(FaultyLog::new(log, 0, Faults::default()));
    let doors = Some(tickets::guarded as fn(_) -> _);
    let nodes = Nodes::start(1, Settings { log: Some(log.clone()), doors, ..Settings::default() });
    let nodes = nodes.await;
    let [owner, other] = [&nodes.all[0], &nodes.all[1]];
    let token = hour("anna", &[("a", "write")]);
    let (goes, stays) =
        (Browser::sign_in(other, &token).await, Browser::sign_in(other, &token).await);
    assert_eq!(visit(&goes, owner).await, closed("welcome", 0));
    let ticket = ticket_of(&stays, owner).await;
    // What is written now becomes durable when nobody waits any more.
    let delay_max = Duration::from_hours(24 * 365);
    log.set(Faults { slow: 1_000, delay_max, ..Faults::default() });
    let mut carried = JoinSet::new();
    let refused = async {
        loop {
            let peers = other.peers.clone();
            let put = Request {
                method: "PUT".to_owned(),
                target: format!("/v1/docs/doc-{}", carried.len()),
                content_type: Some("application/json".to_owned()),
                headers: Vec::new(),
                who: Who::anything(),
                body: Blob(r#"{"text":"x"}"#.into()),
            };
            carried.spawn(async move { peers.carry(&name(0), put).await });
            match timeout(Duration::from_millis(5), carried.join_next()).await {
                Ok(Some(Ok(Err(PeerError::Refused(why))))) => return why,
                Ok(ended) => panic!("{ended:?}"),
                Err(_) => {}
            }
        }
    };
    let why = timeout(PATIENCE, refused).await.expect("there is no room at last");
    assert!(why.contains("too many requests"), "{why}");
    sign_out(&goes, other).await;
    assert_eq!(visit(&goes, owner).await, closed("unauthenticated", 4401));
    assert_eq!(knock(other, &ticket, &[]).await, closed("welcome", 0));
}

/// Whoever has stolen a key has signed in with it as well.
#[tokio::test]
async fn a_login_is_good_as_long_as_the_key_behind_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let seal = folder.path().join("seal");
    std::fs::write(&seal, "a third secret, of the logins of this test").expect("it is written");
    let at = |key: &str| folder.path().join(key);
    let start = async |key: &str| {
        std::fs::write(at(key), key.repeat(32)).expect("it is written");
        let change = |config: &mut Config| {
            config.auth.keys = format!("same={}", at(key).display());
            config.auth.secret_file = seal.display().to_string();
        };
        guarded(folder.path(), change).await
    };
    let node = start("x").await;
    let key = SigningKey::read("same".parse().ok(), "x".repeat(32).as_bytes()).expect("a key");
    let token = signed(&key, "anna", &[("a", "write")], Duration::from_hours(1));
    let browser = Browser::sign_in(&node, &token).await;
    node.stop().await.expect("it stops");
    for (key, expected) in [("y", closed("unauthenticated", 4401)), ("x", closed("welcome", 0))] {
        let node = start(key).await;
        assert_eq!(visit(&browser, &node).await, expected, "with {key}");
        node.stop().await.expect("it stops");
    }
}

/// Returns an issuer that answers with what it publishes, or with an error where that is nothing.
async fn issuer(tasks: &Tasks) -> (watch::Sender<Option<String>>, String) {
    let (publish, published) = watch::channel(None);
    let answer = async move || {
        let keys: Option<String> = published.borrow().clone();
        keys.ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    };
    let routes = axum::Router::new().route("/keys", axum::routing::get(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tasks.spawn("issuer", async { axum::serve(listener, routes).await.expect("it serves") });
    (publish, format!("http://{address}/keys"))
}

#[tokio::test]
async fn a_login_is_not_good_while_nobody_knows_of_the_key_behind_it() {
    let (folder, tasks) = (tempfile::tempdir().expect("a folder"), Tasks::new());
    let (publish, address) = issuer(&tasks).await;
    let seal = folder.path().join("seal");
    std::fs::write(&seal, "a fourth secret, of the logins of this test").expect("it is written");
    let start = || {
        guarded(folder.path(), |config: &mut Config| {
            config.auth.jwks_url = address.clone();
            config.auth.secret_file = seal.display().to_string();
        })
    };
    let auth = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/auth");
    let all = std::fs::read_to_string(auth.join("jwks.json")).expect("it is there");
    let mut less: Value = serde_json::from_str(&all).expect("JSON");
    less["keys"].as_array_mut().expect("a list").retain(|key| key["kid"] != "ed25519");
    let pem = std::fs::read(auth.join("ed25519.pem")).expect("it is there");
    let key = SigningKey::read("ed25519".parse().ok(), &pem).expect("a key");
    let token = signed(&key, "anna", &[("a", "write")], Duration::from_hours(1));
    publish.send_replace(Some(all.clone()));
    let node = start().await;
    let theirs = Browser::sign_in(&node, &token).await;
    let leaving = Browser::sign_in(&node, &token).await;
    let own = Browser::sign_in(&node, &hour("ben", &[("a", "write")])).await;
    node.stop().await.expect("it stops");

    // The issuer is down, and may have taken the key back meanwhile.
    publish.send_replace(None);
    let node = start().await;
    let unavailable = closed("unavailable", 4503);
    assert_eq!(visit(&theirs, &node).await, unavailable);
    let program = format!("Bearer {token}");
    assert_eq!(knock(&node, "/ws/a", &[("authorization", &program)]).await, unavailable);
    let csrf = [theirs.csrf_header()];
    for (method, path) in [
        (Method::GET, "/auth/session"),
        (Method::GET, "/v1/docs/a"),
        (Method::PUT, "/v1/docs/a/rights"),
        (Method::POST, "/auth/ticket"),
    ] {
        let answer = theirs.ask(&node, method, path, &csrf).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(answer.headers().contains_key("retry-after"), "{path}");
    }
    assert_eq!(visit(&own, &node).await, closed("welcome", 0), "by a key of a file");
    // To go, nobody needs to be known.
    let (csrf, before) = ([leaving.csrf_header()], denied(&node, "keys-stale").await);
    for (csrf, status) in [(&[][..], StatusCode::FORBIDDEN), (&csrf, StatusCode::NO_CONTENT)] {
        let answer = leaving.ask(&node, Method::DELETE, "/auth/session", csrf).await;
        assert_eq!(answer.status(), status);
    }
    assert_eq!(denied(&node, "keys-stale").await, before, "nor is anything refused for it");
    node.stop().await.expect("it stops");

    let withdrawn = (less.to_string(), closed("unauthenticated", 4401));
    for (published, expected) in [withdrawn, (all, closed("welcome", 0))] {
        publish.send_replace(Some(published));
        let node = start().await;
        assert_eq!(visit(&theirs, &node).await, expected, "it waits for the first keys");
        node.stop().await.expect("it stops");
    }
    tasks.token().cancel();
}
