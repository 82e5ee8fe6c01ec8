//! The way of one life of the node to its log and its store: slow, and shut by a power cut.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use quire::checkpoint::{BlobId, CheckpointId, Progress, Store, StoreError, StoredManifest};
use quire::log::{Appended, Batch, Log, Marks, ReadError, Stored};
use quire::task::Ice;
use quire::types::{DocId, LogId, Offset, ShardId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Lets calls pass, some time later, until the power is cut: none after that ever returns.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) cut: CancellationToken,
    rng: Arc<Mutex<ChaCha8Rng>>,
    latency_max: Duration,
    /// What stands in the way for a while.
    wall: Ice,
}

impl Gate {
    pub(crate) fn new(seed: u64, latency_max: Duration) -> Self {
        let rng = Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed)));
        Self { cut: CancellationToken::new(), rng, latency_max, wall: Ice::default() }
    }

    /// Returns the same gate with another wall before it.
    pub(crate) fn behind(self, wall: Ice) -> Self {
        Self { wall, ..self }
    }

    /// Cuts the power: what has not passed yet is not done.
    pub(crate) fn shut(&self) {
        self.cut.cancel();
    }

    pub(crate) async fn pass(&self) {
        let latency = {
            let mut rng = self.rng.lock().expect("nobody panicked");
            let slow = !self.latency_max.is_zero() && rng.random_ratio(1, 4);
            slow.then(|| rng.random_range(Duration::ZERO..self.latency_max))
        };
        if let Some(latency) = latency {
            sleep(latency).await;
        }
        self.wall.thawed().await;
        if self.cut.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
}

/// The log behind a gate. Appends reach it at once, as those handed to a disk do.
pub(crate) struct GatedLog {
    pub(crate) gate: Gate,
    pub(crate) inner: Arc<dyn Log>,
}

#[async_trait]
impl Log for GatedLog {
    fn id(&self) -> LogId {
        self.inner.id()
    }

    fn shards(&self) -> u32 {
        self.inner.shards()
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        if self.gate.cut.is_cancelled() {
            return std::future::pending().boxed();
        }
        let (cut, appended) = (self.gate.cut.clone(), self.inner.append(shard, record));
        async move {
            let outcome = appended.await;
            if cut.is_cancelled() { std::future::pending().await } else { outcome }
        }
        .boxed()
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        self.gate.pass().await;
        self.inner.marks(shard).await
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        self.gate.pass().await;
        self.inner.read(shard, from, bytes_max).await
    }

    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        self.gate.pass().await;
        self.inner.fetch(shard, offsets).await
    }

    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError> {
        self.gate.pass().await;
        self.inner.wait(shard, past).await
    }

    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        self.gate.pass().await;
        self.inner.trim(shard, before).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

/// The checkpoint store behind a gate.
pub(crate) struct GatedStore {
    pub(crate) gate: Gate,
    pub(crate) inner: Arc<dyn Store>,
}

#[async_trait]
impl Store for GatedStore {
    async fn put_chunk(&self, blob: &BlobId, index: u32, bytes: Bytes) -> Result<(), StoreError> {
        self.gate.pass().await;
        self.inner.put_chunk(blob, index, bytes).await
    }

    async fn chunk(&self, blob: &BlobId, index: u32) -> Result<Option<Bytes>, StoreError> {
        self.gate.pass().await;
        self.inner.chunk(blob, index).await
    }

    async fn blobs(&self, doc: &DocId) -> Result<Vec<BlobId>, StoreError> {
        self.gate.pass().await;
        self.inner.blobs(doc).await
    }

    async fn remove_blob(&self, blob: &BlobId) -> Result<(), StoreError> {
        self.gate.pass().await;
        self.inner.remove_blob(blob).await
    }

    async fn put_manifest(&self, id: &CheckpointId, bytes: Bytes) -> Result<(), StoreError> {
        self.gate.pass().await;
        self.inner.put_manifest(id, bytes).await
    }

    async fn manifests(
        &self,
        doc: &DocId,
        limit: usize,
    ) -> Result<Vec<StoredManifest>, StoreError> {
        self.gate.pass().await;
        self.inner.manifests(doc, limit).await
    }

    async fn remove_manifest(&self, id: &CheckpointId) -> Result<(), StoreError> {
        self.gate.pass().await;
        self.inner.remove_manifest(id).await
    }

    async fn progress(&self, shard: ShardId, log: LogId) -> Result<Option<Progress>, StoreError> {
        self.gate.pass().await;
        self.inner.progress(shard, log).await
    }

    async fn advance(&self, shard: ShardId, progress: Progress) -> Result<(), StoreError> {
        self.gate.pass().await;
        self.inner.advance(shard, progress).await
    }

    async fn logs(&self) -> Result<Vec<LogId>, StoreError> {
        self.inner.logs().await
    }

    async fn docs(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        self.gate.pass().await;
        self.inner.docs(after, limit).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
