//! A log that fails as real ones do, by a seed: around any other, between it and its user.
//!
//! Every fault keeps the contract of [`Log`]; what the user is told is true, just not pleasant.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::log::{AppendError, Appended, Batch, Cause, Log, Marks, ReadError, Refusal, Stored};
use crate::types::{Offset, ShardId};

/// Says how often each fault happens, of 1,000 calls; the sum for appends is at most 1,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// The record is lost, and this is known.
    pub lost: u32,
    /// The record is lost, and this is not known.
    pub lost_unknown: u32,
    /// The record is written, and this is not known.
    pub written_unknown: u32,
    /// The record is written behind later ones, and this is not known.
    pub late: u32,
    /// Damaged bytes are written instead, and this is not known.
    pub torn: u32,
    /// The record is written twice; the first offset is reported.
    pub duplicated: u32,
    /// The record is written and reported after a delay of up to `delay_max`.
    pub slow: u32,
    /// How long a slow answer takes at most, in tokio's time.
    pub delay_max: Duration,
    /// A read fails; the next one may not.
    pub unreadable: u32,
}

impl Faults {
    /// Returns faults of every kind, `often` of 1,000 calls each.
    pub fn all(often: u32) -> Self {
        Self {
            lost: often,
            lost_unknown: often,
            written_unknown: often,
            late: often,
            torn: often,
            duplicated: often,
            slow: often,
            delay_max: Duration::from_millis(50),
            unreadable: often,
        }
    }
}

/// Is a log with faults.
pub struct FaultyLog {
    inner: Arc<dyn Log>,
    state: Mutex<State>,
}

struct State {
    rng: ChaCha8Rng,
    faults: Faults,
    /// Records that are on their way.
    late: Vec<(ShardId, Bytes)>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Lost,
    LostUnknown,
    WrittenUnknown,
    Late,
    Torn,
    Duplicated,
    Slow,
    None,
}

impl FaultyLog {
    /// Puts the faults, drawn from `seed`, before a log.
    pub fn new(inner: Arc<dyn Log>, seed: u64, faults: Faults) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { inner, state: Mutex::new(State { rng, faults, late: Vec::new() }) }
    }

    /// Changes the faults from here on: [`Faults::default`] ends them. What is late stays on its
    /// way.
    pub fn set(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    fn write(&self, shard: ShardId, record: Bytes, fault: Fault) -> Appended {
        let state = &mut *self.state.lock();
        match fault {
            Fault::None => self.inner.append(shard, record),
            Fault::Lost => {
                let reason = Refusal::Lost;
                std::future::ready(Err(AppendError::NotWritten { reason })).boxed()
            }
            Fault::LostUnknown => unknown("lost"),
            Fault::WrittenUnknown => {
                let written = self.inner.append(shard, record);
                async move { written.await.and(unknown("written").await) }.boxed()
            }
            Fault::Late => {
                state.late.push((shard, record));
                unknown("late")
            }
            Fault::Torn => {
                let written = self.inner.append(shard, state.tear(&record));
                async move { written.await.and(unknown("torn").await) }.boxed()
            }
            Fault::Duplicated => {
                let written = self.inner.append(shard, record.clone());
                drop(self.inner.append(shard, record));
                written
            }
            Fault::Slow => {
                let delay = state.delay();
                let written = self.inner.append(shard, record);
                async move {
                    tokio::time::sleep(delay).await;
                    written.await
                }
                .boxed()
            }
        }
    }

    /// Lets some of the records arrive that are on their way.
    fn arrive(&self) {
        let state = &mut *self.state.lock();
        while !state.late.is_empty() && state.rng.random_ratio(1, 4) {
            let at = state.rng.random_range(0..state.late.len());
            let (shard, record) = state.late.remove(at);
            drop(self.inner.append(shard, record));
        }
    }

    fn readable(&self) -> Result<(), ReadError> {
        let state = &mut *self.state.lock();
        if state.happens(state.faults.unreadable) {
            return Err(ReadError::Failed { source: cause("the read failed") });
        }
        Ok(())
    }
}

#[async_trait]
impl crate::testing::Around for FaultyLog {
    fn inner(&self) -> &dyn Log {
        &*self.inner
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        self.arrive();
        let fault = self.state.lock().draw();
        self.write(shard, record, fault)
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        self.readable()?;
        self.inner.marks(shard).await
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        self.readable()?;
        self.inner.read(shard, from, bytes_max).await
    }

    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        self.readable()?;
        self.inner.fetch(shard, offsets).await
    }

    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        self.readable()?;
        self.inner.trim(shard, before).await
    }
}

impl State {
    fn draw(&mut self) -> Fault {
        let faults = self.faults;
        let table = [
            (faults.lost, Fault::Lost),
            (faults.lost_unknown, Fault::LostUnknown),
            (faults.written_unknown, Fault::WrittenUnknown),
            (faults.late, Fault::Late),
            (faults.torn, Fault::Torn),
            (faults.duplicated, Fault::Duplicated),
            (faults.slow, Fault::Slow),
        ];
        let mut drawn = self.rng.random_range(0..1000);
        for (often, fault) in table {
            if drawn < often {
                return fault;
            }
            drawn -= often;
        }
        Fault::None
    }

    fn happens(&mut self, often: u32) -> bool {
        self.rng.random_range(0..1000) < often
    }

    fn delay(&mut self) -> Duration {
        self.faults.delay_max.mul_f64(self.rng.random())
    }

    /// Cuts the record, or changes a byte of it.
    fn tear(&mut self, record: &Bytes) -> Bytes {
        if record.is_empty() {
            return Bytes::from_static(&[0]);
        }
        let at = self.rng.random_range(0..record.len());
        if self.rng.random() {
            return record.slice(..at);
        }
        let mut torn = BytesMut::from(&record[..]);
        torn[at] ^= self.rng.random_range(1..=255u8);
        torn.freeze()
    }
}

fn unknown(what: &'static str) -> Appended {
    std::future::ready(Err(AppendError::Unknown { source: cause(what) })).boxed()
}

fn cause(what: &'static str) -> Cause {
    Arc::new(std::io::Error::other(what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::contract::{self, Subject};
    use crate::log::{Memory, Record};
    use crate::testing;
    use crate::types::LogId;

    const SHARD: ShardId = ShardId(0);

    struct Faultless(Memory);

    #[async_trait]
    impl Subject for Faultless {
        async fn open(&self) -> Arc<dyn Log> {
            Arc::new(FaultyLog::new(Arc::new(self.0.reopen()), 1, Faults::default()))
        }
    }

    #[tokio::test]
    async fn without_faults_it_holds_the_contract() {
        let make = || Memory::new(LogId(7), contract::SHARDS);
        contract::all(&|| Box::new(Faultless(make()))).await;
    }

    fn record() -> Bytes {
        testing::every_kind()[0].1.encode()
    }

    /// Appends one record under a fault that is sure and returns the answer and what is there.
    async fn one(faults: Faults) -> (Result<Offset, AppendError>, Vec<Bytes>) {
        let inner = Arc::new(Memory::new(LogId(7), 1));
        let log = FaultyLog::new(inner, 1, faults);
        let answer = log.append(SHARD, record()).await;
        let batch = log.read(SHARD, Offset(0), 1 << 20).await.unwrap();
        (answer, batch.records.into_iter().map(|stored| stored.bytes).collect())
    }

    #[tokio::test(start_paused = true)]
    async fn each_fault_does_what_it_says() {
        let sure = 1000;
        let unknown = |answer: &_| matches!(answer, Err(AppendError::Unknown { .. }));

        let (answer, there) = one(Faults { lost: sure, ..Faults::default() }).await;
        let lost = AppendError::NotWritten { reason: Refusal::Lost };
        assert_eq!(answer.unwrap_err().to_string(), lost.to_string());
        assert!(there.is_empty());

        let (answer, there) = one(Faults { lost_unknown: sure, ..Faults::default() }).await;
        assert!(unknown(&answer) && there.is_empty());

        let (answer, there) = one(Faults { written_unknown: sure, ..Faults::default() }).await;
        assert!(unknown(&answer));
        assert_eq!(there, [record()]);

        let (answer, there) = one(Faults { torn: sure, ..Faults::default() }).await;
        assert!(unknown(&answer));
        assert_eq!(there.len(), 1);
        assert!(Record::decode(&there[0]).is_err());

        let (answer, there) = one(Faults { duplicated: sure, ..Faults::default() }).await;
        assert_eq!((answer.unwrap(), there), (Offset(0), vec![record(), record()]));

        let began = tokio::time::Instant::now();
        let delay_max = Duration::from_secs(60);
        let (answer, there) = one(Faults { slow: sure, delay_max, ..Faults::default() }).await;
        assert_eq!((answer.unwrap(), there), (Offset(0), vec![record()]));
        assert!(!began.elapsed().is_zero() && began.elapsed() <= delay_max);
    }

    #[tokio::test]
    async fn a_late_record_arrives_behind_later_ones() {
        let log = FaultyLog::new(Arc::new(Memory::new(LogId(7), 1)), 1, Faults::default());
        log.set(Faults { late: 1000, ..Faults::default() });
        assert!(log.append(SHARD, Bytes::from("late")).await.is_err());
        log.set(Faults::default());
        for n in 0..50 {
            log.append(SHARD, Bytes::from(format!("{n}"))).await.unwrap();
        }
        let batch = log.read(SHARD, Offset(0), 1 << 20).await.unwrap();
        let at = batch.records.iter().position(|stored| stored.bytes == "late");
        assert!(at.is_some_and(|at| at > 0), "{at:?}");
        assert_eq!(batch.records.len(), 51);
    }

    #[tokio::test]
    async fn reads_fail_and_recover() {
        let log = FaultyLog::new(Arc::new(Memory::new(LogId(7), 1)), 1, Faults::default());
        log.set(Faults { unreadable: 1000, ..Faults::default() });
        let failed = |error| matches!(error, ReadError::Failed { .. });
        assert!(failed(log.marks(SHARD).await.unwrap_err()));
        assert!(failed(log.read(SHARD, Offset(0), 1).await.unwrap_err()));
        assert!(failed(log.fetch(SHARD, &[]).await.unwrap_err()));
        assert!(failed(log.trim(SHARD, Offset(0)).await.unwrap_err()));
        log.set(Faults::default());
        assert_eq!(log.marks(SHARD).await.unwrap(), Marks::default());
    }

    #[tokio::test(start_paused = true)]
    async fn one_seed_gives_one_run() {
        let run = async |seed| {
            let inner = Arc::new(Memory::new(LogId(7), 1));
            let log = FaultyLog::new(inner, seed, Faults { unreadable: 0, ..Faults::all(100) });
            let mut answers = Vec::new();
            for n in 0..100 {
                answers.push(format!("{:?}", log.append(SHARD, Bytes::from(vec![n; 9])).await));
            }
            (answers, log.read(SHARD, Offset(0), 1 << 20).await.unwrap())
        };
        assert_eq!(run(1).await, run(1).await);
        assert_ne!(run(1).await, run(2).await);
    }
}
