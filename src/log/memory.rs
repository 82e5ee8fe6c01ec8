//! A log in memory: for tests, simulations and trials. What it holds ends with the process.
//!
//! Those who wait for a record are told in the order in which they came, so that a simulation is
//! the same every time; a channel of tokio's that many watch tells them in random order.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::log::codec::RECORD_BYTES_MAX;
use crate::log::{AppendError, Appended, Batch, Log, Marks, ReadError, Refusal, Stored};
use crate::types::{LogId, Offset, ShardId};

/// Keeps records in memory; an append is complete when it returns.
#[derive(Debug)]
pub struct Memory {
    id: LogId,
    shards: Arc<[Shard]>,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct Shard {
    records: Mutex<Records>,
    grown: Notify,
}

#[derive(Debug, Default)]
struct Records {
    low: Offset,
    kept: Vec<Bytes>,
}

impl Memory {
    /// Returns an empty log.
    pub fn new(id: LogId, shards: u32) -> Self {
        let shards = (0..shards).map(|_| Shard::default()).collect();
        Self { id, shards, closed: CancellationToken::new() }
    }

    /// Opens the same records again, as after a restart; the one before need not be closed, as a
    /// process that still runs need not.
    #[must_use]
    pub fn reopen(&self) -> Self {
        Self { id: self.id, shards: self.shards.clone(), closed: CancellationToken::new() }
    }

    fn push(&self, shard: ShardId, record: Bytes) -> Result<Offset, Refusal> {
        let Some(found) = self.shard(shard) else {
            return Err(Refusal::NoShard { shard, shards: self.shards() });
        };
        let (bytes, bytes_max) = (record.len(), RECORD_BYTES_MAX);
        if bytes > bytes_max {
            return Err(Refusal::TooLarge { bytes, bytes_max });
        }
        if self.closed.is_cancelled() {
            return Err(Refusal::Stopped);
        }
        let offset = {
            let mut records = found.records.lock();
            let offset = records.marks().high;
            records.kept.push(record);
            offset
        };
        found.grown.notify_waiters();
        Ok(offset)
    }

    fn shard(&self, shard: ShardId) -> Option<&Shard> {
        self.shards.get(usize::try_from(shard.0).ok()?)
    }

    fn open_shard(&self, shard: ShardId) -> Result<&Shard, ReadError> {
        let found = self.shard(shard);
        let found = found.ok_or(ReadError::NoShard { shard, shards: self.shards() })?;
        if self.closed.is_cancelled() { Err(ReadError::Stopped) } else { Ok(found) }
    }
}

#[async_trait]
impl Log for Memory {
    fn id(&self) -> LogId {
        self.id
    }

    fn shards(&self) -> u32 {
        u32::try_from(self.shards.len()).expect("made from a u32")
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        let written = self.push(shard, record);
        let written = written.map_err(|reason| AppendError::NotWritten { reason });
        std::future::ready(written).boxed()
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        Ok(self.open_shard(shard)?.records.lock().marks())
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        let records = self.open_shard(shard)?.records.lock();
        records.marks().check_start(from)?;
        let mut batch = Batch { records: Vec::new(), next: from };
        let mut bytes = 0usize;
        for record in &records.kept[records.index(from)..] {
            bytes = bytes.saturating_add(record.len());
            if bytes > bytes_max && !batch.records.is_empty() {
                break;
            }
            batch.records.push(Stored { offset: batch.next, bytes: record.clone() });
            batch.next = batch.next.next();
        }
        Ok(batch)
    }

    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        let records = self.open_shard(shard)?.records.lock();
        records.marks().check_each(offsets)?;
        let stored = |&offset: &Offset| Stored {
            offset,
            bytes: records.kept[records.index(offset)].clone(),
        };
        Ok(offsets.iter().map(stored).collect())
    }

    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError> {
        let found = self.open_shard(shard)?;
        loop {
            let grown = found.grown.notified();
            if found.records.lock().marks().high > past {
                return Ok(());
            }
            tokio::select! {
                biased;
                () = self.closed.cancelled() => return Err(ReadError::Stopped),
                () = grown => {}
            }
        }
    }

    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        let mut records = self.open_shard(shard)?.records.lock();
        let high = records.marks().high;
        if before > high {
            return Err(ReadError::Beyond { offset: before, high });
        }
        if before > records.low {
            let gone = records.index(before);
            records.kept.drain(..gone);
            records.low = before;
        }
        Ok(())
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}

impl Records {
    fn marks(&self) -> Marks {
        let kept = u64::try_from(self.kept.len()).expect("a length fits a u64");
        Marks { low: self.low, high: Offset(self.low.0 + kept) }
    }

    /// Returns where the record at `offset`, which is not below the low mark, is kept.
    fn index(&self, offset: Offset) -> usize {
        usize::try_from(offset.0 - self.low.0).expect("inside the marks, which span a list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::contract::{self, Subject};

    struct InMemory(Memory);

    #[async_trait]
    impl Subject for InMemory {
        async fn open(&self) -> Arc<dyn Log> {
            Arc::new(self.0.reopen())
        }
    }

    #[tokio::test]
    async fn holds_the_contract() {
        contract::all(&|| Box::new(InMemory(Memory::new(LogId(7), contract::SHARDS)))).await;
    }

    #[tokio::test]
    async fn two_that_are_open_see_one_log() {
        let first = Memory::new(LogId(7), 1);
        let second = first.reopen();
        assert_eq!(first.append(ShardId(0), Bytes::from("a")).await.unwrap(), Offset(0));
        assert_eq!(second.append(ShardId(0), Bytes::from("b")).await.unwrap(), Offset(1));
        first.close().await;
        let batch = second.read(ShardId(0), Offset(0), 100).await.unwrap();
        assert_eq!(batch.next, Offset(2));
    }
}
