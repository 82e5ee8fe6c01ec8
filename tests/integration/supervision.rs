//! A document that fails is rebuilt while the others of its shard do not notice.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use quire::access::{Asker, Right};
use quire::doc::{self, Event, Join, Outcome, Refusal};
use quire::log::{self, Claim, Entry, Frame, Log, Record};
use quire::router::Router;
use quire::shard;
use quire::text::Operation;
use quire::types::{
    Author, Epoch, LogId, NodeId, Offset, Revision, Seq, SessionId, ShardId, Timestamp,
};
use serde_json::json;
use tokio::time::timeout;

use crate::inner::{PATIENCE, Told, Under, id, join, ports, router, write};
use crate::raw::{Raw, node};

#[tokio::test]
async fn a_document_that_fails_tells_its_clients_and_is_rebuilt() {
    let router = router(Under::default()).await;
    let bad = router.open(&id("bad")).await.expect("it opens");
    let good = router.open(&id("good")).await.expect("it opens");
    assert_eq!((write(&bad, 0).await, write(&good, 0).await), (Revision(1), Revision(1)));
    let (left, kept) = (join(&bad).await, join(&good).await);
    // Nothing was handed over that this could be about: an invariant is broken.
    bad.settle(Outcome::Accepted(Offset(77)));
    assert!(matches!(left.closed().await, Refusal::Internal { .. }));
    let again = loop {
        // Until the shard has noticed, it may give out the one that failed.
        let again = router.open(&id("bad")).await.expect("it opens");
        if again.past(&Asker::anything(), Right::History).await.is_ok() {
            break again;
        }
    };
    assert_eq!(write(&again, 1).await, Revision(2), "what was durable is there");
    assert_eq!(write(&good, 1).await, Revision(2), "the other one is the same as before");
    let over = |event: &Event| matches!(event, Event::Closed(_));
    assert!(!kept.events.lock().iter().any(over), "its clients have not noticed");
    router.drain().await;
}

#[tokio::test]
async fn an_accepted_record_that_does_not_fit_sets_its_document_apart() {
    let log = Arc::new(log::Memory::new(LogId(1), 1));
    let claim = Claim { node: NodeId(id("node")), boot: 1, prev: None };
    log.append(ShardId(0), Record::Claim(claim).encode()).await.expect("it is in memory");
    let frame = |doc: &str, op: Operation| {
        let (session, author) = (SessionId([1; 16]), Author::anonymous());
        let entry = Entry { session, seq: Seq(1), author, base: Revision(0), op };
        let (doc, at) = (id(doc), Timestamp(1));
        Record::Frame(Frame {
            epoch: Epoch(0),
            doc,
            base_rev: Revision(0),
            at,
            entries: vec![entry],
        })
    };
    let past_the_end = Operation::builder().retain(5).insert("x").build();
    let fits = Operation::builder().insert("text").build();
    for record in [frame("bad", past_the_end), frame("good", fits)] {
        log.append(ShardId(0), record.encode()).await.expect("it is in memory");
    }
    let router = router(Under { log, ..Under::default() }).await;
    for _ in 0..2 {
        let refused = timeout(PATIENCE, router.open(&id("bad"))).await.expect("it is answered");
        assert!(matches!(refused, Err(Refusal::Quarantined { .. })), "{refused:?}");
    }
    let good = router.open(&id("good")).await.expect("it opens");
    let past = good.past(&Asker::anything(), Right::History).await.expect("it is open");
    assert_eq!(past.text_at(past.head()).await.as_deref(), Ok("text"));
    router.drain().await;
}

#[tokio::test]
async fn a_client_of_a_document_that_fails_is_told_internal_and_finds_it_whole() {
    let node = node(|_| {}).await;
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    raw.send(r#"{"t":"op","seq":1,"base":0,"op":["text"]}"#).await;
    raw.hear("ack").await;
    let handle = node.router().open(&id("a")).await.expect("it is open");
    // Nothing is on its way that could be accepted: an invariant is broken.
    handle.settle(Outcome::Accepted(Offset(0)));
    let (error, code) = raw.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("internal"), 4500));
    let (_, welcome) = Raw::join(&node, "a", '1', "").await;
    assert_eq!((&welcome["text"], &welcome["seq"]), (&json!("text"), &json!(1)));
}

#[tokio::test]
async fn a_client_that_goes_before_it_is_welcomed_is_not_kept() {
    let config = doc::Config { idle_after: Duration::from_millis(50), ..doc::Config::default() };
    let ports = ports(Under { config, ..Under::default() }, "node");
    let open = ports.doc_metrics.open.clone();
    let router = Router::new(vec![shard::start(ShardId(0), ports).await.expect("it starts")]);
    let handle = router.open(&id("a")).await.expect("it opens");
    let join = || Join::new(SessionId([1; 16]), Arc::new(Told::default()));
    // Asked once, and gone.
    let mut joining = Box::pin(handle.join(join()));
    assert!(joining.as_mut().now_or_never().is_none());
    drop(joining);
    // Asked once, and gone when it has been answered.
    let mut joining = Box::pin(handle.join(join()));
    assert!(joining.as_mut().now_or_never().is_none());
    assert_eq!(handle.clients().await, Ok(1));
    drop(joining);
    let closed = async {
        while open.get() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("a document that nobody uses is closed");
}
