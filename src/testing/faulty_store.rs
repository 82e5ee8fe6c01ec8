//! A checkpoint store that fails by a seeded plan: writes that are lost or done but reported as
//! failed, reads that fail, chunks that come back damaged or not at all.

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::checkpoint::{BlobId, CheckpointId, Progress, Store, StoreError, StoredManifest};
use crate::types::{DocId, LogId, ShardId};

/// Tells how often each fault happens, from 0 (never) to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoreFaults {
    /// A write is not done, and reported as failed.
    pub lost: f64,
    /// A write is done, and reported as failed.
    pub unknown: f64,
    /// A chunk or manifest is written with a byte changed, and reported as done.
    pub torn: f64,
    /// A read fails.
    pub unread: f64,
    /// A call comes to the store only after up to 20 turns of the other tasks.
    pub slow: f64,
}

/// Is a store with faults; one seed gives one sequence of them.
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: S,
    dice: Mutex<(StoreFaults, ChaCha8Rng)>,
}

enum Fate {
    Done,
    Lost,
    Unknown,
}

impl<S: Store> FaultyStore<S> {
    /// Wraps a store.
    pub fn new(inner: S, faults: StoreFaults, seed: u64) -> Self {
        Self { inner, dice: Mutex::new((faults, ChaCha8Rng::seed_from_u64(seed))) }
    }

    /// Changes the plan from here on; the default ends all faults.
    pub fn set_faults(&self, faults: StoreFaults) {
        self.dice.lock().0 = faults;
    }

    /// Returns the store without its faults.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    fn write_fate(&self) -> Fate {
        let (faults, rng) = &mut *self.dice.lock();
        let dice: f64 = rng.random();
        if dice < faults.lost {
            Fate::Lost
        } else if dice < faults.lost + faults.unknown {
            Fate::Unknown
        } else {
            Fate::Done
        }
    }

    async fn write(
        &self,
        write: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        self.pause().await;
        match self.write_fate() {
            Fate::Done => write.await,
            Fate::Lost => Err(failed("lost by the plan")),
            Fate::Unknown => write.await.and(Err(failed("done, and failed by the plan"))),
        }
    }

    async fn pause(&self) {
        let turns = {
            let (faults, rng) = &mut *self.dice.lock();
            let dice: f64 = rng.random();
            if dice < faults.slow { rng.random_range(1..=20) } else { 0 }
        };
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
    }

    async fn check_read(&self) -> Result<(), StoreError> {
        self.pause().await;
        let (faults, rng) = &mut *self.dice.lock();
        let dice: f64 = rng.random();
        if dice < faults.unread { Err(failed("not read by the plan")) } else { Ok(()) }
    }

    fn torn(&self, bytes: Bytes) -> Bytes {
        let (faults, rng) = &mut *self.dice.lock();
        let dice: f64 = rng.random();
        if dice >= faults.torn || bytes.is_empty() {
            return bytes;
        }
        let mut torn = bytes.to_vec();
        let at = rng.random_range(0..torn.len());
        torn[at] ^= 0x40;
        torn.into()
    }
}

fn failed(reason: &str) -> StoreError {
    StoreError::Failed { reason: reason.into() }
}

#[async_trait]
impl<S: Store> Store for FaultyStore<S> {
    async fn put_chunk(&self, blob: &BlobId, index: u32, bytes: Bytes) -> Result<(), StoreError> {
        let bytes = self.torn(bytes);
        self.write(self.inner.put_chunk(blob, index, bytes)).await
    }

    async fn chunk(&self, blob: &BlobId, index: u32) -> Result<Option<Bytes>, StoreError> {
        self.check_read().await?;
        self.inner.chunk(blob, index).await
    }

    async fn blobs(&self, doc: &DocId) -> Result<Vec<BlobId>, StoreError> {
        self.check_read().await?;
        self.inner.blobs(doc).await
    }

    async fn remove_blob(&self, blob: &BlobId) -> Result<(), StoreError> {
        self.write(self.inner.remove_blob(blob)).await
    }

    async fn put_manifest(&self, id: &CheckpointId, bytes: Bytes) -> Result<(), StoreError> {
        let bytes = self.torn(bytes);
        self.write(self.inner.put_manifest(id, bytes)).await
    }

    async fn manifests(
        &self,
        doc: &DocId,
        limit: usize,
    ) -> Result<Vec<StoredManifest>, StoreError> {
        self.check_read().await?;
        self.inner.manifests(doc, limit).await
    }

    async fn remove_manifest(&self, id: &CheckpointId) -> Result<(), StoreError> {
        self.write(self.inner.remove_manifest(id)).await
    }

    async fn progress(&self, shard: ShardId, log: LogId) -> Result<Option<Progress>, StoreError> {
        self.check_read().await?;
        self.inner.progress(shard, log).await
    }

    async fn advance(&self, shard: ShardId, progress: Progress) -> Result<(), StoreError> {
        self.write(self.inner.advance(shard, progress)).await
    }

    async fn logs(&self) -> Result<Vec<LogId>, StoreError> {
        self.check_read().await?;
        self.inner.logs().await
    }

    async fn docs(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        self.check_read().await?;
        self.inner.docs(after, limit).await
    }

    async fn scrub(&self) -> Result<Option<&'static str>, StoreError> {
        self.inner.scrub().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::checkpoint::contract::{CASES, LOG, doc, snapshot};
    use crate::checkpoint::{Memory, load, save};

    #[tokio::test]
    async fn without_faults_it_is_the_store_it_wraps() {
        for case in CASES {
            case.run(&FaultyStore::new(Memory::new(), StoreFaults::default(), 1)).await;
        }
    }

    /// Whatever fails on the way: once a save has succeeded, that checkpoint or a newer one is
    /// what is loaded, and at the end nothing superfluous is left.
    #[tokio::test]
    async fn a_save_that_succeeded_is_never_lost() {
        let faults = StoreFaults { lost: 0.1, unknown: 0.1, torn: 0.1, unread: 0.1, slow: 0.0 };
        let mut failures = 0;
        let noise = snapshot(&doc("a"), 0, 300_000).live;
        for seed in 0..100 {
            let store = FaultyStore::new(Memory::new(), faults, seed);
            let mut safe = 0;
            for revision in 1..=12 {
                let mut snapshot = snapshot(&doc("a"), revision, 0);
                snapshot.live = noise.clone();
                match save(&store, &Arc::new(snapshot)).await {
                    Ok(_) => safe = revision,
                    Err(_) => failures += 1,
                }
                store.set_faults(StoreFaults::default());
                let loaded = load(&store, &doc("a"), LOG).await;
                let found = loaded.ok().flatten().map_or(0, |loaded| loaded.snapshot.revision.0);
                assert!(found >= safe, "seed {seed}: {safe} was safe, {found} was found");
                store.set_faults(faults);
            }
            store.set_faults(StoreFaults::default());
            save(&store, &Arc::new(snapshot(&doc("a"), 100, 10))).await.unwrap();
            let blobs = store.blobs(&doc("a")).await.unwrap();
            assert!(blobs.len() <= 2, "seed {seed}: {blobs:?}");
        }
        assert!((200..1_150).contains(&failures), "{failures} of 1200 saves failed");
    }

    /// Two saves while a load is reading remove the checkpoint that it reads.
    #[tokio::test]
    async fn a_checkpoint_that_was_replaced_is_not_taken_for_damaged() {
        let mut replaced = 0;
        for seed in 0..100 {
            let faults = StoreFaults { slow: 1.0, ..StoreFaults::default() };
            let store = FaultyStore::new(Memory::new(), faults, seed);
            let first = Arc::new(snapshot(&doc("a"), 1, 10));
            save(store.inner(), &first).await.unwrap();
            let saves = async {
                for revision in 2..=4 {
                    // As many turns as leave the load somewhere between its steps.
                    for _ in 0..(seed % 7) * revision {
                        tokio::task::yield_now().await;
                    }
                    let next = Arc::new(snapshot(&doc("a"), revision, 10));
                    save(store.inner(), &next).await.unwrap();
                }
            };
            let (loaded, ()) =
                futures_util::future::join(load(&store, &doc("a"), LOG), saves).await;
            let loaded = loaded.unwrap().unwrap();
            assert_eq!(loaded.skipped, 0, "seed {seed}");
            replaced += u32::from(loaded.snapshot.revision > first.revision);
        }
        assert!(replaced > 10, "only {replaced} loads found a later one");
    }
}
