//! A log that remembers what was trimmed, so that the oracle can replay everything, and so that it
//! can come back: a broker that leads anew may have missed the last removals.

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
    /// Where shards begin that have moved back.
    back: Arc<Mutex<BTreeMap<ShardId, Offset>>>,
}

impl Archive {
    pub(crate) fn new(inner: Memory) -> Self {
        Self { inner, trimmed: Arc::default(), back: Arc::default() }
    }

    /// Returns the same records, as after a restart.
    pub(crate) fn reopen(&self) -> Self {
        let (trimmed, back) = (self.trimmed.clone(), self.back.clone());
        Self { inner: self.inner.reopen(), trimmed, back }
    }

    /// Has a shard begin at an earlier offset; tells whether that is another one.
    pub(crate) async fn move_back(&self, shard: ShardId, to: Offset) -> bool {
        let moves = to < self.marks(shard).await.expect("it is in memory").low;
        if moves {
            self.back.lock().expect("nobody panicked").insert(shard, to);
        }
        moves
    }

    /// Removes what had come back below an offset.
    fn trim_again(&self, shard: ShardId, before: Offset, inner_low: Offset) {
        let mut back = self.back.lock().expect("nobody panicked");
        match back.get_mut(&shard) {
            Some(low) if before < inner_low => *low = before.max(*low),
            Some(_) => drop(back.remove(&shard)),
            None => {}
        }
    }

    /// Returns the records from an offset on that have come back.
    fn returned(&self, shard: ShardId, from: Offset) -> Vec<Stored> {
        let trimmed = self.trimmed.lock().expect("nobody panicked");
        let range = trimmed.range((shard, from)..(shard, Offset(u64::MAX)));
        range.map(|((_, offset), bytes)| Stored { offset: *offset, bytes: bytes.clone() }).collect()
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
        let marks = self.inner.marks(shard).await?;
        let back = self.back.lock().expect("nobody panicked").get(&shard).copied();
        Ok(Marks { low: back.unwrap_or(marks.low).min(marks.low), ..marks })
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        let low = self.marks(shard).await?.low;
        if from < low {
            return Err(ReadError::Trimmed { low });
        }
        let returned = self.returned(shard, from);
        if returned.is_empty() {
            return self.inner.read(shard, from, bytes_max).await;
        }
        let mut bytes = 0;
        let fits = |stored: &Stored| {
            let first = bytes == 0;
            bytes += stored.bytes.len();
            first || bytes <= bytes_max
        };
        let records: Vec<_> = returned.into_iter().take_while(fits).collect();
        let next = records.last().expect("the first one fits").offset.next();
        Ok(Batch { records, next })
    }

    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        let mut found = Vec::new();
        for offset in offsets {
            let batch = self.read(shard, *offset, 1).await?;
            let next = batch
                .records
                .into_iter()
                .next()
                .ok_or(ReadError::Beyond { offset: *offset, high: batch.next })?;
            found.push(next);
        }
        Ok(found)
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
        self.trim_again(shard, before, marks.low);
        self.inner.trim(shard, before).await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
