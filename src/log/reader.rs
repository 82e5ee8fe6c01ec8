//! Reading a log as everybody must: each record with whether it counts, and why not.
//!
//! For outside consumers, auditors and tools. A raw shard holds more than its accepted history:
//! records of owners that were stale, and records written twice. [`Reader`] applies the one rule.

use rustc_hash::FxHashMap;

use crate::log::acceptance::{Fence, Position, Void, check_event, check_frame};
use crate::log::codec::DecodeError;
use crate::log::record::{EventKind, Record};
use crate::log::{Log, Marks, ReadError, Stored};
use crate::types::{DocId, Offset, Revision, Seq, SessionId, ShardId};

/// How much is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// How often a reading begins again because the log was trimmed under it.
const TRIES: usize = 10;

/// A record and what becomes of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Where it is, and its bytes.
    pub stored: Stored,
    /// What it says; one that cannot be read is skipped by every reader.
    pub record: Result<Record, DecodeError>,
    /// Whether it counts; one that cannot be read does not.
    pub verdict: Result<(), Void>,
}

/// Reads a shard from its first record to where it ended when the reading began.
///
/// Where older records were trimmed, what the first ones rest on is found out or taken for granted:
/// the ownership and the revision of each document from all records that are left, the number of a
/// session's last batch from its first record that counts.
pub struct Reader<'a> {
    log: &'a dyn Log,
    shard: ShardId,
    next: Offset,
    end: Offset,
    judge: Judge,
    /// Where the records begin, and what held there.
    begin: (Offset, Fence),
}

/// Knows what the rule needs, from the records so far.
#[derive(Debug, Default)]
struct Judge {
    fence: Fence,
    docs: FxHashMap<DocId, Known>,
    /// The revision that each document begins with, where not all begin with their first one.
    bases: Option<FxHashMap<DocId, Revision>>,
}

/// One document as the records so far tell it.
#[derive(Debug, Default)]
struct Known {
    revision: Revision,
    /// What came before this revision is not known.
    begins_at: Revision,
    sessions: FxHashMap<SessionId, Seq>,
}

impl Position for Known {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn last_seq(&self, session: &SessionId) -> Seq {
        self.sessions.get(session).copied().unwrap_or_default()
    }
}

impl<'a> Reader<'a> {
    /// Begins at the first record of a shard.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn begin(log: &'a dyn Log, shard: ShardId) -> Result<Self, ReadError> {
        let mut tries = 1;
        loop {
            let marks = log.marks(shard).await?;
            let trimmed = marks.low > Offset(0);
            let fence =
                if trimmed { fence_at(log, shard, marks).await } else { Ok(Fence::default()) };
            let fence = match fence {
                // The owner has trimmed it meanwhile.
                Err(ReadError::Trimmed { .. }) if tries < TRIES => {
                    tries += 1;
                    continue;
                }
                fence => fence?,
            };
            let judge = Judge { fence, ..Judge::default() };
            let begin = (marks.low, fence);
            return Ok(Self { log, shard, next: marks.low, end: marks.high, judge, begin });
        }
    }

    /// Returns the next records as [`Reader::next`] does. Where an owner that lives has trimmed
    /// them meanwhile, it begins again where the log does now, and tells where that is.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn next_left(&mut self) -> Result<(Option<Offset>, Option<Vec<Judged>>), ReadError> {
        let (mut from, mut tries) = (None, 1);
        loop {
            match self.next().await {
                Err(ReadError::Trimmed { .. }) if tries < TRIES => {
                    tries += 1;
                    *self = Self::begin(self.log, self.shard).await?;
                    from = Some(self.next);
                }
                next => return Ok((from, next?)),
            }
        }
    }

    /// Passes over the records before an offset, which are judged all the same: what counts
    /// depends on them.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn skip_to(&mut self, from: Offset) -> Result<Vec<Judged>, ReadError> {
        while let Some(batch) = self.next().await? {
            let left: Vec<_> =
                batch.into_iter().filter(|judged| judged.stored.offset >= from).collect();
            if !left.is_empty() {
                return Ok(left);
            }
        }
        Ok(Vec::new())
    }

    /// Finds the lowest revision that a record of the current owner begins with, by document: what
    /// came before was trimmed, or is in a checkpoint that was brought here from another log.
    async fn find_bases(&self) -> Result<FxHashMap<DocId, Revision>, ReadError> {
        let (mut next, mut fence) = self.begin;
        let mut bases: FxHashMap<DocId, Revision> = FxHashMap::default();
        while next < self.end {
            let batch = self.log.read(self.shard, next, READ_BYTES).await?;
            if batch.records.is_empty() {
                break;
            }
            for stored in &batch.records {
                let Ok(record) = Record::decode(&stored.bytes) else { continue };
                let counts = fence.observe(stored.offset, &record).is_ok();
                if let (true, Some(doc), Some(base)) = (counts, record.doc(), record.base_rev()) {
                    let lowest = bases.entry(doc.clone()).or_insert(base);
                    *lowest = base.min(*lowest);
                }
            }
            next = batch.next;
        }
        Ok(bases)
    }

    /// Goes on to where the shard ends now, after [`Reader::next`] has come to an end; waits until
    /// there is something new.
    ///
    /// # Errors
    /// If the log cannot be read, or stops.
    pub async fn follow(&mut self) -> Result<(), ReadError> {
        self.log.wait(self.shard, self.next).await?;
        self.end = self.log.marks(self.shard).await?.high;
        // What is known of the documents so far is in the judge; others may begin here.
        self.begin = (self.next, self.judge.fence);
        if self.judge.bases.is_some() {
            self.judge.bases = Some(self.find_bases().await?);
        }
        Ok(())
    }

    /// Returns the next records, in order; none at the end.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Judged>>, ReadError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let batch = self.log.read(self.shard, self.next, READ_BYTES).await?;
        if batch.records.is_empty() {
            return Err(ReadError::Beyond { offset: self.end, high: self.next });
        }
        if self.judge.bases.is_none() && batch.records.iter().any(begins_later) {
            self.judge.bases = Some(self.find_bases().await?);
        }
        self.next = batch.next;
        Ok(Some(batch.records.into_iter().map(|stored| self.judge.judge(stored)).collect()))
    }
}

/// Tells whether a record is not about the first revision of its document.
fn begins_later(stored: &Stored) -> bool {
    let record = Record::decode(&stored.bytes).ok();
    record.and_then(|record| record.base_rev()).is_some_and(|base| base > Revision(0))
}

/// Finds out who owned a shard at its low mark.
///
/// # Errors
/// If the log cannot be read.
pub async fn fence_at(log: &dyn Log, shard: ShardId, marks: Marks) -> Result<Fence, ReadError> {
    let (mut fence, mut next) = (Fence::default(), marks.low);
    while next < marks.high {
        let batch = log.read(shard, next, READ_BYTES).await?;
        if batch.records.is_empty() {
            break;
        }
        let records: Vec<_> =
            batch.records.iter().filter_map(|stored| Record::decode(&stored.bytes).ok()).collect();
        fence.epoch = fence.epoch.max(Fence::before(marks.low, &records).epoch);
        next = batch.next;
    }
    Ok(fence)
}

impl Judge {
    fn judge(&mut self, stored: Stored) -> Judged {
        let record = Record::decode(&stored.bytes);
        let verdict = match &record {
            Ok(record) => self.apply(stored.offset, record),
            Err(_) => Ok(()),
        };
        Judged { stored, record, verdict }
    }

    /// Fills in what was said of a document before the first of its records that is left: it may
    /// have been trimmed, or be in a checkpoint that was brought here from another log.
    fn take_for_granted(&mut self, record: &Record) {
        let (doc, base_rev, entries) = match record {
            Record::Frame(frame) => (&frame.doc, frame.base_rev, frame.entries.as_slice()),
            Record::Event(event) => (&event.doc, event.base_rev, [].as_slice()),
            Record::Claim(_) | Record::Release(_) => return,
        };
        let base = self.bases.as_ref().and_then(|bases| bases.get(doc)).copied();
        let base = base.unwrap_or_default();
        let fresh = || Known { revision: base, begins_at: base, ..Known::default() };
        let known = self.docs.entry(doc.clone()).or_insert_with(fresh);
        if known.begins_at == Revision(0) || base_rev != known.revision {
            return;
        }
        for entry in entries {
            let before = Seq(entry.seq.0.saturating_sub(1));
            known.sessions.entry(entry.session).or_insert(before);
        }
    }

    fn apply(&mut self, offset: Offset, record: &Record) -> Result<(), Void> {
        self.fence.observe(offset, record)?;
        self.take_for_granted(record);
        match record {
            Record::Frame(frame) => {
                let known = self.docs.entry(frame.doc.clone()).or_default();
                check_frame(known, frame)?;
                for entry in &frame.entries {
                    known.revision = known.revision.next();
                    known.sessions.insert(entry.session, entry.seq);
                }
            }
            Record::Event(event) => {
                let known = self.docs.entry(event.doc.clone()).or_default();
                check_event(known, event)?;
                match &event.kind {
                    EventKind::SessionsExpired { sessions } => {
                        known.sessions.retain(|session, _| !sessions.contains(session));
                    }
                    EventKind::SessionReturned { session, seq, .. } => {
                        known.sessions.insert(*session, *seq);
                    }
                    EventKind::Created
                    | EventKind::Deleted
                    | EventKind::Undeleted
                    | EventKind::Quarantined { .. }
                    | EventKind::HistoryCut { .. }
                    | EventKind::VersionNamed { .. }
                    | EventKind::AccessChanged(_)
                    | EventKind::Restored { .. }
                    | EventKind::Exported { .. } => {}
                }
            }
            Record::Claim(_) | Record::Release(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::record::{Claim, Entry, Frame};
    use crate::log::{Memory, Void};
    use crate::text::Operation;
    use crate::types::{Author, Epoch, LogId, NodeId, Timestamp};

    const SHARD: ShardId = ShardId(0);

    fn claim(boot: u64, prev: Option<u64>) -> Record {
        let node = NodeId("n".parse().unwrap());
        Record::Claim(Claim { node, boot, prev: prev.map(Epoch) })
    }

    fn frame(epoch: u64, base_rev: u64, seq: u64) -> Record {
        let op = Operation::builder().insert("x").build();
        let (session, author) = (SessionId([1; 16]), Author::anonymous());
        let base = Revision(base_rev);
        let entries = vec![Entry { session, seq: Seq(seq), author, base, op }];
        let (epoch, doc, at) = (Epoch(epoch), "d".parse().unwrap(), Timestamp(1));
        Record::Frame(Frame { epoch, doc, base_rev: base, at, entries })
    }

    #[tokio::test]
    async fn a_reader_skips_and_follows() {
        let log = Memory::new(LogId(1), 1);
        for record in [claim(1, None), frame(0, 0, 1), frame(0, 1, 2)] {
            log.append(SHARD, record.encode()).await.unwrap();
        }
        let mut reader = Reader::begin(&log, SHARD).await.unwrap();
        let offsets = |batch: Vec<Judged>| -> Vec<u64> {
            batch.into_iter().map(|judged| judged.stored.offset.0).collect()
        };
        assert_eq!(offsets(reader.skip_to(Offset(2)).await.unwrap()), [2]);
        assert!(reader.next().await.unwrap().is_none());
        let more = async {
            tokio::task::yield_now().await;
            log.append(SHARD, frame(0, 2, 3).encode()).await.unwrap();
        };
        let (followed, ()) = futures_util::future::join(reader.follow(), more).await;
        followed.unwrap();
        assert_eq!(offsets(reader.next().await.unwrap().unwrap()), [3]);
    }

    fn about(doc: &str, record: Record) -> Record {
        let Record::Frame(frame) = record else { panic!("a frame") };
        Record::Frame(Frame { doc: doc.parse().unwrap(), ..frame })
    }

    #[tokio::test]
    async fn a_document_that_is_met_later_begins_where_its_records_do() {
        let log = Memory::new(LogId(1), 1);
        for record in [claim(1, None), frame(0, 0, 1), frame(0, 1, 2)] {
            log.append(SHARD, record.encode()).await.unwrap();
        }
        log.trim(SHARD, Offset(2)).await.unwrap();
        let mut reader = Reader::begin(&log, SHARD).await.unwrap();
        while let Some(batch) = reader.next().await.unwrap() {
            assert!(batch.iter().all(|judged| judged.verdict.is_ok()));
        }
        for record in [about("e", frame(0, 5, 3)), about("e", frame(0, 6, 4)), frame(0, 2, 3)] {
            log.append(SHARD, record.encode()).await.unwrap();
        }
        reader.follow().await.unwrap();
        let batch = reader.next().await.unwrap().unwrap();
        let verdicts: Vec<_> = batch.into_iter().map(|judged| judged.verdict).collect();
        assert_eq!(verdicts, [Ok(()), Ok(()), Ok(())]);
    }

    #[tokio::test]
    async fn a_reader_goes_on_where_the_log_was_trimmed_under_it() {
        let log = Memory::new(LogId(1), 1);
        for record in [claim(1, None), frame(0, 0, 1), frame(0, 1, 2), frame(0, 2, 3)] {
            log.append(SHARD, record.encode()).await.unwrap();
        }
        let mut reader = Reader::begin(&log, SHARD).await.unwrap();
        log.trim(SHARD, Offset(3)).await.unwrap();
        assert!(matches!(reader.next().await, Err(ReadError::Trimmed { .. })));
        let (from, batch) = reader.next_left().await.unwrap();
        assert_eq!((from, batch.map(|batch| batch.len())), (Some(Offset(3)), Some(1)));
        assert!(matches!(reader.next_left().await, Ok((None, None))));
    }

    async fn verdicts(log: &Memory) -> Vec<Result<(), Void>> {
        let mut reader = Reader::begin(log, SHARD).await.unwrap();
        let mut all = Vec::new();
        while let Some(batch) = reader.next().await.unwrap() {
            all.extend(batch.into_iter().map(|judged| judged.verdict));
        }
        all
    }

    #[tokio::test]
    async fn what_is_void_is_named_also_after_a_trim() {
        let log = Memory::new(LogId(1), 1);
        let records = [
            claim(1, None),
            frame(0, 0, 1),
            frame(0, 0, 1),
            claim(2, Some(0)),
            frame(0, 1, 2),
            frame(3, 1, 2),
            frame(3, 2, 4),
            frame(3, 2, 3),
        ];
        for record in &records {
            log.append(SHARD, record.encode()).await.unwrap();
        }
        let (revision, stale, seq) = (Err(Void::Revision), Err(Void::StaleEpoch), Err(Void::Seq));
        let wanted = [Ok(()), Ok(()), revision, Ok(()), stale, Ok(()), seq, Ok(())];
        assert_eq!(verdicts(&log).await, wanted);
        log.trim(SHARD, Offset(4)).await.unwrap();
        // The stale frame is now the first that is left, and still void.
        assert_eq!(verdicts(&log).await, wanted[4..]);
        log.trim(SHARD, Offset(5)).await.unwrap();
        assert_eq!(verdicts(&log).await, wanted[5..]);
    }
}
