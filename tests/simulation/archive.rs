//! A log that remembers what was trimmed, so that the oracle can replay everything.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use quire::log::{Appended, Batch, Log, Marks, Memory, ReadError, Stored};
use quire::types::{LogId, Offset, ShardId};

/// Keeps what the log below it gives up.
pub(crate) struct Archive {
    inner: Memory,
    trimmed: Arc<Mutex<BTreeMap<(ShardId, Offset), Bytes>>>,
}

impl Archive {
    pub(crate) fn new(inner: Memory) -> Self {
        Self { inner, trimmed: Arc::default() }
    }

    /// Returns the same records, as after a restart.
    pub(crate) fn reopen(&self) -> Self {
        Self { inner: self.inner.reopen(), trimmed: self.trimmed.clone() }
    }

    /// Returns every record that was ever written to a shard.
    pub(crate) async fn all(&self, shard: ShardId) -> Vec<Stored> {
        let mut all: Vec<_> = {
            let trimmed = self.trimmed.lock().expect("nobody panicked");
            let stored = |(&(_, offset), bytes): (&(ShardId, Offset), &Bytes)| Stored {
                offset,
                bytes: bytes.clone(),
            };
            trimmed.iter().filter(|((one, _), _)| *one == shard).map(stored).collect()
        };
        let marks = self.inner.marks(shard).await.expect("it is in memory");
        let rest = self.inner.read(shard, marks.low, usize::MAX).await.expect("it is in memory");
        all.extend(rest.records);
        for (index, stored) in (0..).zip(&all) {
            assert_eq!(stored.offset, Offset(index), "the archive has no holes");
        }
        all
    }
}

#[async_trait]
impl Log for Archive {
    fn id(&self) -> LogId {
        self.inner.id()
    }

    fn shards(&self) -> u32 {
        self.inner.shards()
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        self.inner.append(shard, record)
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        self.inner.marks(shard).await
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        self.inner.read(shard, from, bytes_max).await
    }

    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        self.inner.fetch(shard, offsets).await
    }

    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError> {
        self.inner.wait(shard, past).await
    }

    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        let marks = self.inner.marks(shard).await?;
        if marks.low < before {
            let batch = self.inner.read(shard, marks.low, usize::MAX).await?;
            let mut trimmed = self.trimmed.lock().expect("nobody panicked");
            for stored in batch.records.into_iter().filter(|stored| stored.offset < before) {
                trimmed.insert((shard, stored.offset), stored.bytes);
            }
        }
        self.inner.trim(shard, before).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
