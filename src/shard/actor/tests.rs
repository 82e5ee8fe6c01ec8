//! What is told late.

use super::*;
use crate::shard::start;
use crate::types::LogId;
use crate::{checkpoint, log, testing};

#[tokio::test]
async fn what_is_told_late_of_a_document_changes_nothing() {
    let (log, store) = (log::Memory::new(LogId(1), 1), checkpoint::Memory::new());
    let ports = testing::ports(Arc::new(log), Arc::new(store), "a");
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
