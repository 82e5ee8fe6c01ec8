//! Follows the control topic: what is read there is taken in, in order, and whoever waits is told.
//!
//! The topic is a log of one shard. A record is appended by anybody and means something once it is
//! read back: [`Topic::write`] returns what became of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::cluster::{Change, Control, DecodeError, Record, Void};
use crate::log::{AppendError, Log, Marks, ReadError};
use crate::types::{Offset, ShardId};

/// The one shard of the topic.
const SHARD: ShardId = ShardId(0);

/// How much is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// How many verdicts are kept for those who wrote the records.
const VERDICTS_KEPT: usize = 4_096;

/// How long is waited after a read that failed, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How often a node says that it cannot read records, for each reason.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// A control topic that is followed.
pub struct Topic {
    log: Arc<dyn Log>,
    seen: Mutex<Seen>,
    moved: Notify,
}

/// What has been read so far.
struct Seen {
    control: Arc<Control>,
    /// What became of the last records, by offset.
    verdicts: VecDeque<(Offset, Result<(), Void>)>,
    next: Offset,
    unreadable: Unreadable,
    ended: bool,
}

/// What could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unread {
    /// How many records were passed over.
    pub records: u64,
    /// How many of them a newer program has written.
    pub newer: u64,
}

/// Counts records that cannot be read, and when that was said last.
#[derive(Default)]
struct Unreadable {
    count: Unread,
    told: BTreeMap<&'static str, (Instant, u64)>,
}

impl Unreadable {
    /// Takes note of a record. The first one for a reason is to be told at once, later ones now and
    /// then, with how many there were meanwhile.
    fn note(&mut self, reason: &DecodeError, now: Instant) -> Option<u64> {
        self.count.records += 1;
        self.count.newer += u64::from(reason.is_newer());
        let untold = match self.told.get_mut(reason.reason()) {
            Some((at, untold)) if now - *at < TELL_EVERY => {
                *untold += 1;
                return None;
            }
            told => told.map_or(0, |(_, untold)| *untold),
        };
        self.told.insert(reason.reason(), (now, 0));
        Some(untold)
    }
}

/// Tells why a control record has not done what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// It was read back and is void: nothing has changed.
    #[error(transparent)]
    Void(#[from] Void),
    /// It was not written, or nobody knows.
    #[error("the control topic could not be written: {0}; look at the brokers, then try again")]
    Append(#[from] AppendError),
    /// It was written, and this node has read too far to know what became of it.
    #[error("what became of the record is not known any more: look at the state")]
    Forgotten,
    /// The node follows the topic no more.
    #[error("this node has stopped following the control topic: ask another one")]
    Ended,
}

/// Is told of every record that is read, right after it was taken in.
pub trait Observer: Send + Sync {
    /// Takes note of a record, and of what it changed or why it is void.
    fn observe(&self, record: &Record, outcome: &Result<Vec<Change>, Void>, control: &Control);
}

impl Topic {
    /// Returns a topic of which nothing is read yet.
    pub fn new(log: Arc<dyn Log>) -> Self {
        let seen = Seen {
            control: Arc::default(),
            verdicts: VecDeque::new(),
            next: Offset(0),
            unreadable: Unreadable::default(),
            ended: false,
        };
        Self { log, seen: Mutex::new(seen), moved: Notify::new() }
    }

    /// Returns the state as of what was read.
    pub fn control(&self) -> Arc<Control> {
        self.seen.lock().control.clone()
    }

    /// Returns what could not be read.
    pub fn unread(&self) -> Unread {
        self.seen.lock().unreadable.count
    }

    /// Returns how many records are not read yet, where the topic says how the cluster is, and not
    /// in words that this program reads: nothing founds one, though records are gone, or only a
    /// newer program can read them. What is not read yet may tell more.
    ///
    /// # Errors
    /// Where the topic does not tell.
    pub async fn obscure(&self) -> Result<Option<u64>, ReadError> {
        if self.control().cluster().is_some() {
            return Ok(None);
        }
        let Marks { low, high } = self.log.marks(SHARD).await?;
        let seen = self.seen.lock();
        let obscure = low > Offset(0) || seen.unreadable.count.newer > 0;
        Ok(obscure.then(|| high.0.saturating_sub(seen.next.0)))
    }

    /// Returns how many records the topic has that are not read yet.
    ///
    /// # Errors
    /// Where the topic does not tell.
    pub async fn behind(&self) -> Result<u64, ReadError> {
        let high = self.log.marks(SHARD).await?.high;
        Ok(high.0.saturating_sub(self.seen.lock().next.0))
    }

    /// Waits until the state is newer than `than`, and returns it; at once where it is.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    ///
    /// # Errors
    /// [`WriteError::Ended`] where the topic is followed no more.
    pub async fn newer(&self, than: Option<Offset>) -> Result<Arc<Control>, WriteError> {
        loop {
            let moved = self.moved.notified();
            {
                let seen = self.seen.lock();
                if seen.control.at() > than {
                    return Ok(seen.control.clone());
                }
                if seen.ended {
                    return Err(WriteError::Ended);
                }
            }
            moved.await;
        }
    }

    /// Appends a record and waits until it is read back.
    ///
    /// # Errors
    /// [`WriteError`]: the record has changed nothing, or nobody knows.
    pub async fn write(&self, record: &Record) -> Result<(), WriteError> {
        let offset = self.log.append(SHARD, record.encode()).await?;
        loop {
            let moved = self.moved.notified();
            {
                let seen = self.seen.lock();
                let at = seen.verdicts.binary_search_by_key(&offset, |(at, _)| *at);
                if let Some((_, verdict)) = at.ok().and_then(|at| seen.verdicts.get(at)) {
                    return Ok(verdict.clone()?);
                }
                if seen.next > offset {
                    return Err(WriteError::Forgotten);
                }
                if seen.ended {
                    return Err(WriteError::Ended);
                }
            }
            moved.await;
        }
    }

    /// Appends a record and does not wait for it.
    ///
    /// # Errors
    /// [`AppendError`].
    pub async fn append(&self, record: &Record) -> Result<Offset, AppendError> {
        self.log.append(SHARD, record.encode()).await
    }

    /// Removes what is before the last snapshot that counts.
    pub async fn trim(&self, before: Offset) {
        if let Err(reason) = self.log.trim(SHARD, before).await {
            warn!(%reason, "control topic was not trimmed");
        }
    }

    /// Reads to where the topic ends now.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub async fn catch_up(&self, observer: &dyn Observer) -> Result<(), ReadError> {
        let marks = self.log.marks(SHARD).await?;
        if self.seen.lock().next < marks.low {
            self.seen.lock().next = marks.low;
        }
        while self.seen.lock().next < marks.high {
            self.read(observer).await?;
        }
        Ok(())
    }

    /// Follows the topic until it is cancelled.
    pub async fn follow(&self, observer: &dyn Observer, token: &CancellationToken) {
        let mut backoff = BACKOFF.0;
        loop {
            let next = self.seen.lock().next;
            let more = async {
                self.log.wait(SHARD, next).await?;
                self.read(observer).await
            };
            let read = tokio::select! {
                biased;
                () = token.cancelled() => break,
                read = more => read,
            };
            match read {
                Ok(()) => backoff = BACKOFF.0,
                Err(ReadError::Stopped) => break,
                Err(reason) => {
                    warn!(%reason, "control topic cannot be read, trying again");
                    tokio::select! {
                        biased;
                        () = token.cancelled() => break,
                        () = sleep(backoff) => {}
                    }
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
        self.seen.lock().ended = true;
        self.moved.notify_waiters();
    }

    /// Forgets everything, as a node that starts: what comes next has a snapshot in it.
    fn begin_again(&self, low: Offset) {
        warn!(%low, "control topic was trimmed before it was read, going on at its last snapshot");
        let mut seen = self.seen.lock();
        seen.control = Arc::default();
        seen.next = low;
    }

    async fn read(&self, observer: &dyn Observer) -> Result<(), ReadError> {
        let next = self.seen.lock().next;
        let batch = match self.log.read(SHARD, next, READ_BYTES).await {
            Err(ReadError::Trimmed { low }) => {
                self.begin_again(low);
                return Ok(());
            }
            read => read?,
        };
        let mut seen = self.seen.lock();
        let mut control = Control::clone(&seen.control);
        for stored in &batch.records {
            let record = match Record::decode(&stored.bytes) {
                Ok(record) => record,
                Err(reason) => {
                    if let Some(untold) = seen.unreadable.note(&reason, Instant::now()) {
                        let offset = stored.offset;
                        error!(%offset, %reason, untold, "a control record cannot be read: void");
                    }
                    continue;
                }
            };
            let outcome = control.apply(stored.offset, &record);
            if let Err(reason) = &outcome {
                debug!(offset = %stored.offset, %reason, "void control record");
            }
            observer.observe(&record, &outcome, &control);
            if seen.verdicts.len() == VERDICTS_KEPT {
                seen.verdicts.pop_front();
            }
            seen.verdicts.push_back((stored.offset, outcome.map(drop)));
        }
        seen.control = Arc::new(control);
        seen.next = batch.next;
        drop(seen);
        self.moved.notify_waiters();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_once_a_minute_for_each_reason() {
        let (mut unreadable, begun) = (Unreadable::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let (newer, torn) = (DecodeError::Version { found: 99 }, DecodeError::Checksum);
        for (seconds, reason, told) in [
            (0, &newer, Some(0)),
            (0, &torn, Some(0)),
            (1, &newer, None),
            (59, &newer, None),
            (60, &newer, Some(2)),
            (61, &newer, None),
            (200, &torn, Some(0)),
            (200, &newer, Some(1)),
        ] {
            assert_eq!(unreadable.note(reason, at(seconds)), told, "{seconds} s: {reason}");
        }
        assert_eq!(unreadable.count, Unread { records: 8, newer: 6 });
    }
}
