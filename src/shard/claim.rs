//! Taking ownership of a shard: read to the end, append a claim, read up to it.
//!
//! After that every record of earlier owners is either before the claim, and judged, or void.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;
use tracing::warn;

use crate::log::{Claim, Fence, Log, Marks, ReadError, Record, Stored, fence_at};
use crate::shard::{StartError, Tail};
use crate::types::{DocId, Epoch, NodeId, Offset, ShardId};

/// An owned shard, as far as its log tells.
#[derive(Debug)]
pub struct Claimed {
    /// The ownership.
    pub epoch: Epoch,
    /// What was read up to the claim.
    pub fence: Fence,
    /// Every ownership there was since the reading began, this one last.
    pub epochs: Vec<Epoch>,
    /// The offset that the next record gets if nobody else writes.
    pub next: Offset,
    /// The records that no checkpoint covers.
    pub tail: Tail,
    /// How many records since the claim before could not be read and were skipped: those from
    /// before that were counted with it.
    pub unreadable: u64,
    /// How many of these did not count.
    pub void: u64,
}

/// How long reads may find nothing before the end that the log has told: a new leader may have to
/// learn of it. And the pause between two of them.
const IDLE_MAX: Duration = Duration::from_secs(30);
const IDLE_PAUSE: Duration = Duration::from_millis(20);

/// How many late claims of our own one claim puts up with.
const ATTEMPTS_MAX: usize = 8;

/// Who claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimant {
    /// The node.
    pub node: NodeId,
    /// Tells this start of the node from others.
    pub boot: u64,
}

/// Whose ownership a claim may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claiming {
    /// Anybody's: the node starts.
    First,
    /// Only that of this start of the node, a claim of which may come late. To any other the shard
    /// is lost.
    Again,
    /// Only the one that was released with the record at this offset: whoever claims on top of it
    /// first has the shard.
    Released(Offset),
}

/// Claims a shard whose records from `from` on have not been read, with `fence` as it stood there.
///
/// # Errors
/// Where the log cannot be read or written, or another claim came first.
pub async fn claim(
    log: Arc<dyn Log>,
    shard: ShardId,
    (claimant, claiming): (&Claimant, Claiming),
    (from, fence): (Offset, Fence),
    bytes_max: usize,
) -> Result<Claimed, StartError> {
    Reader::new(log, shard, (from, fence), bytes_max).claim(claimant, claiming).await
}

/// Reads what is left of a shard whose log has lost records, without claiming it.
///
/// # Errors
/// Where the log cannot be read.
pub(crate) async fn index(
    log: Arc<dyn Log>,
    shard: ShardId,
    marks: Marks,
    bytes_max: usize,
) -> Result<Tail, StartError> {
    let fence = fence_at(&*log, shard, marks).await;
    let fence = fence.map_err(|source| StartError::Read { shard, source })?;
    let mut reader = Reader::new(log, shard, (marks.low, fence), bytes_max);
    reader.read_to_end().await?;
    Ok(reader.tail)
}

/// Reads the records that are left below the low-water mark and returns, for each document, the
/// offset that its newest checkpoint must at least stand at.
///
/// # Errors
/// Where the log cannot be read.
pub(crate) async fn stored_below(
    log: &dyn Log,
    shard: ShardId,
    (low, low_water): (Offset, Offset),
    bytes_max: usize,
) -> Result<FxHashMap<DocId, Offset>, StartError> {
    let unread = |source| StartError::Read { shard, source };
    let marks = Marks { low, high: low_water };
    let mut fence = fence_at(log, shard, marks).await.map_err(unread)?;
    let (mut stored, mut next) = (FxHashMap::default(), low);
    while next < low_water {
        let batch = log.read(shard, next, bytes_max).await.map_err(unread)?;
        if batch.records.is_empty() {
            break;
        }
        for one in batch.records.iter().filter(|one| one.offset < low_water) {
            let Some(record) = decode(shard, one) else { continue };
            let counts = fence.observe(one.offset, &record).is_ok();
            if let Some(doc) = record.doc().filter(|_| counts) {
                stored.insert(doc.clone(), one.offset.next());
            }
        }
        next = batch.next;
    }
    Ok(stored)
}

/// Reads a shard's log, from an offset on, and judges it.
pub(crate) struct Reader {
    log: Arc<dyn Log>,
    shard: ShardId,
    bytes_max: usize,
    next: Offset,
    fence: Fence,
    epochs: Vec<Epoch>,
    tail: Tail,
    /// Who made the last claim that counts.
    owner: Option<Claimant>,
    /// How many records since the last claim that counts could not be read, and did not count.
    since: (u64, u64),
    /// The same of the time between that claim and the one before.
    before: (u64, u64),
}

impl Reader {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        shard: ShardId,
        (next, fence): (Offset, Fence),
        bytes_max: usize,
    ) -> Self {
        let epochs = fence.epoch.into_iter().collect();
        let (tail, owner, since, before) = (Tail::default(), None, (0, 0), (0, 0));
        Self { log, shard, bytes_max, next, fence, epochs, tail, owner, since, before }
    }

    /// Reads to the end, appends a claim and reads up to it.
    pub(crate) async fn claim(
        mut self,
        claimant: &Claimant,
        claiming: Claiming,
    ) -> Result<Claimed, StartError> {
        for _ in 0..ATTEMPTS_MAX {
            self.read_to_end().await?;
            let lost = match claiming {
                Claiming::First => false,
                Claiming::Again => self.is_lost_to_another(claimant),
                Claiming::Released(at) => self.fence.epoch.is_some_and(|epoch| epoch.0 > at.0),
            };
            if lost {
                break;
            }
            let epoch = self.append_claim(claimant).await?;
            if self.fence.epoch == Some(epoch) {
                let Self { next, fence, epochs, tail, before: (unreadable, void), .. } = self;
                return Ok(Claimed { epoch, fence, epochs, next, tail, unreadable, void });
            }
            // A claim of this node whose outcome was unknown may come late: go on from there.
        }
        Err(StartError::Fenced { shard: self.shard, epoch: self.fence.epoch })
    }

    /// Waits until there is more to read.
    pub(crate) async fn wait(&self) -> Result<(), StartError> {
        self.log.wait(self.shard, self.next).await.map_err(|error| self.failed(error))
    }

    /// Tells whether another node, or another start of this one, has claimed the shard: that its
    /// claim counts is all there is to know, as no clock numbers the starts well enough.
    fn is_lost_to_another(&self, claimant: &Claimant) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner != claimant)
    }

    /// Appends a claim and reads up to it; returns its epoch, which the fence has if it counts.
    async fn append_claim(&mut self, claimant: &Claimant) -> Result<Epoch, StartError> {
        let Claimant { node, boot } = claimant.clone();
        let record = Record::Claim(Claim { node, boot, prev: self.fence.epoch });
        let bytes = record.encode();
        let appended = self.log.append(self.shard, bytes.clone()).await;
        let offset = appended.map_err(|source| StartError::Claim { shard: self.shard, source })?;
        if offset < self.next {
            return Err(self.shrunk(offset.next()));
        }
        if offset == self.next {
            // Nobody has written in between: it need not be read back.
            self.observe(&Stored { offset, bytes });
            self.next = offset.next();
        } else {
            self.read_up_to(offset.next()).await?;
        }
        Ok(Epoch(offset.0))
    }

    /// Reads to where the log ends now.
    pub(crate) async fn read_to_end(&mut self) -> Result<(), StartError> {
        let high = self.log.marks(self.shard).await.map_err(|error| self.failed(error))?.high;
        if high < self.next {
            return Err(self.shrunk(high));
        }
        self.read_up_to(high).await
    }

    async fn read_up_to(&mut self, end: Offset) -> Result<(), StartError> {
        let mut found = Instant::now();
        while self.next < end {
            let read = self.log.read(self.shard, self.next, self.bytes_max).await;
            let batch = read.map_err(|error| self.failed(error))?;
            if !batch.records.is_empty() {
                found = Instant::now();
            } else if found.elapsed() > IDLE_MAX {
                return Err(self.shrunk(self.next));
            } else {
                tokio::time::sleep(IDLE_PAUSE).await;
            }
            for stored in &batch.records {
                self.observe(stored);
            }
            self.next = batch.next;
        }
        Ok(())
    }

    /// Says that records are gone which were there.
    fn shrunk(&self, high: Offset) -> StartError {
        StartError::Shrunk { shard: self.shard, high, known: self.next }
    }

    fn observe(&mut self, stored: &Stored) {
        let Some(record) = decode(self.shard, stored) else {
            self.since.0 += 1;
            return;
        };
        if self.fence.observe(stored.offset, &record).is_err() {
            self.since.1 += 1;
            return;
        }
        if let Record::Claim(Claim { node, boot, .. }) = &record {
            self.epochs.extend(self.fence.epoch);
            self.before = std::mem::take(&mut self.since);
            self.owner = Some(Claimant { node: node.clone(), boot: *boot });
        }
        if let Some(doc) = record.doc() {
            self.tail.note(doc, stored.offset, stored.bytes.len(), Instant::now());
        }
    }

    fn failed(&self, source: ReadError) -> StartError {
        StartError::Read { shard: self.shard, source }
    }
}

/// Decodes a record; one that cannot be is skipped by every reader, and never stops a shard.
pub(crate) fn decode(shard: ShardId, stored: &Stored) -> Option<Record> {
    match Record::decode(&stored.bytes) {
        Ok(record) => Some(record),
        Err(reason) => {
            warn!(%shard, offset = %stored.offset, %reason, "skipped an undecodable record");
            None
        }
    }
}
