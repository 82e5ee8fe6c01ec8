//! Joins that wait or come late: a session stays with the connection where its client is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use quire::access::{Asker, Denied, Right, Rights};
use quire::doc::{Event, Handle, Join, Listen, Mode, Refusal};
use quire::types::SessionId;
use serde_json::json;
use tokio::time::timeout;

use crate::inner::{PATIENCE, Told, Under, id, join_as, router};
use crate::nodes::{Nodes, Settings, name};
use crate::proxy::{Line, Proxy};
use crate::raw::{Raw, hello};
use crate::relay::until;

/// Starts an owner and two other nodes; what the first of these says to the owner can be held.
async fn nodes() -> (Nodes, Proxy) {
    let mut settings = Settings::default();
    settings.relay.silence_max = Duration::from_secs(60);
    let nodes = Nodes::start(2, settings).await;
    let direct = nodes.owner_at.lock().clone();
    let proxy = Proxy::to(nodes.all[0].peer, Line::Open).await;
    *nodes.owner_at.lock() = Some(proxy.address().to_owned());
    let (_warm, _) = Raw::join(&nodes.all[1], "a", '9', "").await;
    *nodes.owner_at.lock() = direct;
    (nodes, proxy)
}

#[tokio::test]
async fn a_join_that_comes_late_takes_nothing_unless_its_client_is_there() {
    let (nodes, proxy) = nodes().await;
    proxy.set(Line::Held);
    let mut late = Raw::say(&nodes.all[1], "a", &hello('1', "")).await;
    let (mut live, _) = Raw::join(&nodes.all[2], "a", '1', "").await;
    proxy.set(Line::Open);
    late.asked().await;
    live.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    assert_eq!(live.hear("ack").await["rev"], 1, "it has its session");
    // Who answers is there now, whatever came before.
    let welcome = late.hear("welcome").await;
    assert_eq!((&welcome["seq"], &welcome["text"]), (&json!(1), &json!("x")));
    let (error, code) = live.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("replaced"), 4410));
}

#[tokio::test]
async fn a_client_that_spoke_early_is_missed_when_it_goes_before_its_welcome() {
    let (nodes, proxy) = nodes().await;
    let sessions = &nodes.all[1].edge.sessions;
    until(|| sessions.get() == 0).await;
    proxy.set(Line::Held);
    let mut raw = Raw::say(&nodes.all[1], "a", &hello('1', "")).await;
    raw.send(r#"{"t":"ping","n":1}"#).await;
    until(|| sessions.get() == 1).await;
    drop(raw);
    until(|| sessions.get() == 0).await;
    // What has waited is nobody's.
    proxy.set(Line::Open);
    let (mut live, _) = Raw::join(&nodes.all[1], "a", '1', "").await;
    live.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    assert_eq!(live.hear("ack").await["rev"], 1);
}

#[tokio::test]
async fn a_join_whose_asker_has_gone_is_none() {
    let handle = router(Under::default()).await.open(&id("a")).await.expect("it opens");
    let live = Arc::new(Told::default());
    let join = |told: &Arc<Told>| handle.join(Join::new(SessionId([1; 16]), told.clone()));
    join(&live).await.expect("it is open").expect("it is taken");
    let late = Arc::new(Told::default());
    // Asked once, and gone.
    assert!(join(&late).now_or_never().is_none());
    assert_eq!(handle.clients().await, Ok(1));
    let closed = live.events.lock().iter().any(|event| matches!(event, Event::Closed(_)));
    assert!(!closed, "it has its session");
}

fn nobody() -> Asker {
    Asker { subject: None, granted: Rights::NONE }
}

const UNKNOWN: Refusal = Refusal::Denied(Denied::Unknown(Right::Read));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_document_comes_to_a_node_for_somebody_who_may_not_read_it() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let (owner, node) = (&nodes.all[0], &nodes.all[1]);
    let (mut writer, _) = Raw::join(owner, "a", '1', "").await;
    writer.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    writer.hear("ack").await;
    let (owned, doc) = (name(0), id("a"));
    let enter = |asker: Asker| {
        let join = move || {
            let session = SessionId(rand::random());
            Join { asker: asker.clone(), ..Join::new(session, Arc::new(Told::default())) }
        };
        let entering = async { node.peers.join(&owned, &doc, join).await };
        async { timeout(PATIENCE, entering).await.expect("in time").map(drop) }
    };
    let texts = node.relay.subscribed.with_label_values(&["text"]);
    for _ in 0..3 {
        assert_eq!(enter(nobody()).await, Err(UNKNOWN));
    }
    assert_eq!((texts.get(), node.relay.copies.get(), owner.relay.subscriptions.get()), (0, 0, 0));
    // Who comes together is judged one by one.
    let crowd = (0..9).map(|n| if n % 3 == 1 { Asker::anything() } else { nobody() });
    for (n, entered) in join_all(crowd.map(enter)).await.into_iter().enumerate() {
        assert_eq!(entered, if n % 3 == 1 { Ok(()) } else { Err(UNKNOWN) }, "{n}");
    }
    assert_eq!((texts.get(), node.relay.copies.get()), (1, 1));
}

/// Waits until a document is closed.
async fn closed(handle: &Handle) {
    let looking = async {
        while handle.clients().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, looking).await.expect("it is let go of");
}

#[tokio::test]
async fn a_name_that_nobody_has_written_is_let_go_of_where_whoever_asks_is_turned_away() {
    let router = router(Under::default()).await;
    let handle = router.open(&id("a")).await.expect("it opens");
    assert_eq!(join_as(&handle, nobody(), Mode::Edit).await.0.err(), Some(UNKNOWN));
    closed(&handle).await;
    let handle = router.open(&id("a")).await.expect("it opens");
    let (asker, outbox) = (nobody(), Arc::new(Told::default()));
    let listen = Listen { asker, mode: Mode::View, from: None, outbox };
    let heard = handle.listen(listen).await.expect("it is open");
    assert_eq!(heard.err(), Some(UNKNOWN));
    closed(&handle).await;
    // Nobody is disturbed by it who is there.
    let handle = router.open(&id("a")).await.expect("it opens");
    let (welcome, _told) = join_as(&handle, Asker::anything(), Mode::Edit).await;
    welcome.expect("it is taken");
    let visit = handle.visit().await.expect("it is open");
    assert_eq!(join_as(&handle, nobody(), Mode::Edit).await.0.err(), Some(UNKNOWN));
    drop(visit);
    for _ in 0..100 {
        assert_eq!(handle.clients().await, Ok(1));
        tokio::task::yield_now().await;
    }
}
