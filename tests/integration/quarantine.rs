//! A document whose state cannot be rebuilt is set apart; the others of its shard do not notice,
//! and it comes back by itself once the store is repaired.

use std::sync::Arc;

use bytes::Bytes;
use prometheus::Registry;
use quire::checkpoint::{CheckpointId, Memory, Store};
use quire::clock::Clock;
use quire::doc::{self, Refusal, Write};
use quire::log;
use quire::router::Router;
use quire::shard::{self, Claimant, Ports};
use quire::task::{Fatal, Tasks};
use quire::text::Operation;
use quire::types::{Author, DocId, LogId, NodeId, Offset, Revision, SessionId, ShardId};

async fn router(store: Arc<Memory>) -> Router {
    let registry = Registry::new();
    let ports = Ports {
        log: Arc::new(log::Memory::new(LogId(1), 1)),
        store,
        claimant: Claimant { node: NodeId(id("node")), boot: 1 },
        clock: Clock::wall(),
        config: Arc::default(),
        doc_config: Arc::default(),
        metrics: shard::Metrics::register(&registry).expect("a new registry"),
        doc_metrics: doc::Metrics::register(&registry).expect("a new registry"),
        tasks: Tasks::new(),
        fatal: Fatal::default(),
    };
    Router::new(vec![shard::start(ShardId(0), ports).await.expect("it starts")])
}

fn id(name: &str) -> DocId {
    name.parse().expect("a valid id")
}

async fn write(router: &Router, doc: &DocId) -> Result<Revision, Refusal> {
    let handle = router.open(doc).await?;
    let op = Operation::builder().insert("x").build();
    let edit = Write::Edit { author: Author::anonymous(), base: Revision(0), op };
    Ok(handle.write(SessionId(rand::random()), edit).await.expect("it is taken"))
}

#[tokio::test]
async fn a_document_that_cannot_be_rebuilt_is_set_apart_and_comes_back_when_repaired() {
    let store = Arc::new(Memory::new());
    let bad = CheckpointId { doc: id("bad"), revision: Revision(7), offset: Offset(9) };
    let garbage = Bytes::from_static(b"no manifest");
    store.put_manifest(&bad, garbage).await.expect("it is in memory");
    let router = router(store.clone()).await;
    let refused = write(&router, &id("bad")).await;
    assert!(matches!(refused, Err(Refusal::Quarantined { .. })), "{refused:?}");
    assert_eq!(write(&router, &id("good")).await, Ok(Revision(1)), "others are not affected");
    store.remove_manifest(&bad).await.expect("it is in memory");
    assert_eq!(write(&router, &id("bad")).await, Ok(Revision(1)), "it comes back");
    router.drain().await;
}
