//! A document whose state cannot be rebuilt is set apart; the others of its shard do not notice,
//! and it comes back by itself once the store is repaired.

use std::sync::Arc;

use bytes::Bytes;
use quire::access::{Asker, Right};
use quire::checkpoint::{Memory, Store};
use quire::doc::{Failure, Refusal};
use quire::log::Log;
use quire::types::{LogId, Offset, Revision, SessionId, ShardId};

use crate::inner::{Under, id, router, write};

const SHARD: ShardId = ShardId(0);

fn under(log: &Arc<quire::log::Memory>, store: &Arc<Memory>) -> Under {
    Under { log: log.clone(), store: store.clone(), ..Under::default() }
}

#[tokio::test]
async fn a_document_that_cannot_be_rebuilt_is_set_apart_and_comes_back_when_repaired() {
    let log = Arc::new(quire::log::Memory::new(LogId(1), 1));
    let store = Arc::new(Memory::new());
    let first = router(under(&log, &store)).await;
    let bad = first.open(&id("bad")).await.expect("it is new");
    write(&bad, 0).await;
    bad.save().await.expect("it is in memory");
    first.drain().await;
    let low_water = store.progress(SHARD, log.id()).await.expect("it is in memory");
    let low_water = low_water.expect("it was saved").low_water;
    log.trim(SHARD, low_water).await.expect("it is in memory");
    let stored = store.manifests(&id("bad"), 1).await.expect("it is in memory");
    let newest = stored.into_iter().next().expect("it was saved");
    let put = async |bytes: Bytes| store.put_manifest(&newest.id, bytes).await;
    put(Bytes::from_static(b"no manifest")).await.expect("it is in memory");

    let second = router(under(&log, &store)).await;
    let refused = second.open(&id("bad")).await;
    assert!(matches!(refused, Err(Refusal::Quarantined { .. })), "{refused:?}");
    let good = second.open(&id("good")).await.expect("others are not affected");
    assert_eq!(write(&good, 0).await, Revision(1));
    put(newest.bytes.clone()).await.expect("it is in memory");
    let back = second.open(&id("bad")).await.expect("it comes back");
    assert_eq!(write(&back, 1).await, Revision(2));
    second.drain().await;
}

#[tokio::test]
async fn a_log_that_has_lost_records_is_read_and_not_written() {
    let log = Arc::new(quire::log::Memory::new(LogId(1), 1));
    let store = Arc::new(Memory::new());
    let first = router(under(&log, &store)).await;
    let saved = first.open(&id("saved")).await.expect("it is new");
    write(&saved, 0).await;
    saved.save().await.expect("it is in memory");
    let open = first.open(&id("open")).await.expect("it is new");
    write(&open, 0).await;
    first.kill();
    // What only the log had of one document is gone; the other one has gone on after it.
    let high = log.marks(SHARD).await.expect("it is in memory").high;
    log.trim(SHARD, high).await.expect("it is in memory");
    assert!(high > Offset(2));

    let second = router(under(&log, &store)).await;
    let left = second.open(&id("saved")).await.expect("its checkpoint is whole");
    let past = left.past(&Asker::anything(), Right::History).await.expect("it is open");
    assert_eq!(past.head(), Revision(1));
    let told = crate::inner::join(&left).await;
    assert!(told.events.lock().is_empty(), "whoever reads is welcome");
    let write = quire::doc::Write::Edit {
        author: quire::types::Author::anonymous(),
        base: Revision(1),
        op: quire::text::Operation::builder().insert("x").build(),
    };
    let refused = left.write(SessionId([9; 16]), Asker::anything(), write).await;
    let Err(Failure::Refused(Refusal::Unavailable { reason, .. })) = refused else {
        panic!("nothing is written: {refused:?}");
    };
    assert!(reason.contains("the log has lost records"), "{reason}");
    let after = log.marks(SHARD).await.expect("it is in memory").high;
    assert_eq!(after, high, "the shard is not even claimed");
    second.drain().await;
}
