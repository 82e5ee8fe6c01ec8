//! A document whose state cannot be rebuilt is set apart; the others of its shard do not notice,
//! and it comes back by itself once the store is repaired.

use std::sync::Arc;

use bytes::Bytes;
use quire::checkpoint::{CheckpointId, Memory, Store};
use quire::doc::Refusal;
use quire::types::{Offset, Revision};

use crate::inner::{Under, id, router, write};

#[tokio::test]
async fn a_document_that_cannot_be_rebuilt_is_set_apart_and_comes_back_when_repaired() {
    let store = Arc::new(Memory::new());
    let bad = CheckpointId { doc: id("bad"), revision: Revision(7), offset: Offset(9) };
    let garbage = Bytes::from_static(b"no manifest");
    store.put_manifest(&bad, garbage).await.expect("it is in memory");
    let router = router(Under { store: store.clone(), ..Under::default() }).await;
    let refused = router.open(&id("bad")).await;
    assert!(matches!(refused, Err(Refusal::Quarantined { .. })), "{refused:?}");
    let good = router.open(&id("good")).await.expect("others are not affected");
    assert_eq!(write(&good, 0).await, Revision(1));
    store.remove_manifest(&bad).await.expect("it is in memory");
    let back = router.open(&id("bad")).await.expect("it comes back");
    assert_eq!(write(&back, 0).await, Revision(1));
    router.drain().await;
}
