//! Joins that wait or come late: a session stays with the connection where its client is.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use quire::doc::{Event, Join};
use quire::types::SessionId;
use serde_json::json;

use crate::inner::{Told, Under, id, router};
use crate::nodes::{Nodes, Settings};
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
    let through = proxy.url.strip_prefix("http://").expect("an address").to_owned();
    *nodes.owner_at.lock() = Some(through);
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
