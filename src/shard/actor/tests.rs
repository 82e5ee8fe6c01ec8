//! What is told late.

use prometheus::Registry;

use super::*;
use crate::clock::Clock;
use crate::shard::{Claimant, Metrics, Room, WhenFenced, start};
use crate::task::{Fatal, Tasks};
use crate::types::{LogId, NodeId};
use crate::{checkpoint, log};

fn ports() -> Ports {
    let registry = Registry::new();
    Ports {
        log: Arc::new(log::Memory::new(LogId(1), 1)),
        store: Arc::new(checkpoint::Memory::new()),
        claimant: Claimant { node: NodeId("a".parse().unwrap()), boot: 1 },
        clock: Clock::wall(),
        config: Arc::default(),
        doc_config: Arc::default(),
        metrics: Metrics::register(&registry).unwrap(),
        doc_metrics: doc::Metrics::register(&registry).unwrap(),
        tasks: Tasks::new(),
        budget: doc::Budget::new(64 << 20),
        room: Arc::new(Room::new(u64::MAX)),
        when_fenced: WhenFenced::EndsTheProcess,
        fatal: Fatal::default(),
    }
}

#[tokio::test]
async fn what_is_told_late_of_a_document_changes_nothing() {
    let ports = ports();
    let shard = start(ShardId(0), ports.clone()).await.unwrap();
    let doc: DocId = "doc".parse().unwrap();
    let (reply, opened) = oneshot::channel();
    // An actor before this one was not idle after all.
    for message in [Message::Open(doc.clone(), reply), Message::Busy(doc.clone())] {
        shard.actor.send_message(message).unwrap();
    }
    opened.await.expect("it is answered").expect("it opens");
    let late = Message::Hydrated(doc.clone(), Box::new(Err(stopping())));
    shard.actor.send_message(late).unwrap();
    shard.open(doc).await.expect("it is open");
    assert_eq!(ports.doc_metrics.open.get(), 1, "one actor has it");
    ports.tasks.stop().await;
}
