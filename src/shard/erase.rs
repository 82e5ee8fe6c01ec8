//! Erasing the history of a document before a revision, once it was cut (decision 14).
//!
//! ```text
//! saved ─► checkpoints pruned ─► what holds the low-water mark down saved ─► mark stored
//!       ─► trim-delay ─► log trimmed, without margin ─► log and store scrubbed
//! ```
//! Every step looks at what is there, so that an erasure that was cut off is begun again, here or
//! at the next owner, and ends.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

use crate::doc::{Failure, Refusal};
use crate::log::{EventKind, Marks, ReadError, Record};
use crate::shard::Handle;
use crate::shard::prune::{Pruned, prune};
use crate::shard::writer::Command;
use crate::types::{Chain, DocId, LogId, Offset, Revision, ShardId};

/// How long is waited for the log to be trimmed: who asks through another node has an answer then.
const TRIM_MAX: Duration = Duration::from_secs(10);

/// How long documents are saved that hold the low-water mark.
const SAVE_MAX: Duration = Duration::from_secs(10);

/// When a shard that can only be read may be asked again.
const LOST_RETRY: Duration = Duration::from_secs(30);

/// How much of the log is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// How often a reading begins again because the log was trimmed under it.
const TRIES: usize = 10;

/// What an erasure has come to.
#[derive(Debug, Clone)]
pub struct Erased {
    /// The shard.
    pub shard: ShardId,
    /// The log.
    pub log: LogId,
    /// Where the shard's records begin and end: all of them were read.
    pub marks: Marks,
    /// Where the last cut of the document is, if that is still in the log.
    pub cut: Option<Offset>,
    /// What is left in the store, and what was removed.
    pub checkpoints: Pruned,
    /// Where else bytes of the log may be, and until when.
    pub in_log: Option<&'static str>,
    /// Where else bytes of the store may be, and until when.
    pub in_store: Option<&'static str>,
    /// What it waits for; nothing where the history is erased.
    pub waits: Vec<Wait>,
}

/// What an erasure waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// The log keeps records below this offset until a low-water mark above them is old enough.
    Trim(Offset),
    /// Documents could not be saved whose records lie between.
    Unsaved(Vec<DocId>),
    /// Checkpoints that were cut off, or are being saved.
    Torn,
}

/// What the log tells of a document's history before a revision.
#[derive(Debug, Default)]
struct Seen {
    marks: Marks,
    cut: Option<Offset>,
    /// The last record of it, or that nobody can read.
    last: Option<Offset>,
}

impl Handle {
    /// Erases the history of a document before a revision, which was cut from it.
    ///
    /// # Errors
    /// [`Failure`]; erasing again goes on.
    pub async fn erase(&self, doc: &DocId, before: Revision) -> Result<Erased, Failure> {
        if self.epoch().is_none() {
            let reason = "the log has lost records, restore it first".to_owned();
            return Err(Refusal::Unavailable { reason, retry: LOST_RETRY }.into());
        }
        self.open(doc.clone()).await?.save().await?;
        let log = self.log.id();
        let checkpoints = prune(&*self.store, (doc, log), before).await?;
        let mut waits = Vec::new();
        if !checkpoints.torn.is_empty() {
            waits.push(Wait::Torn);
        }
        let mut seen = self.look(doc, before).await?;
        if let Some(last) = seen.last {
            waits.extend(self.trim_below(last.next()).await?);
            seen = self.look(doc, before).await?;
            // One that came late is above what was trimmed just now.
            waits.extend(seen.last.filter(|_| waits.is_empty()).map(|at| Wait::Trim(at.next())));
        }
        let (mut in_log, mut in_store) = (None, None);
        if waits.is_empty() {
            in_log = self.log.scrub().await.map_err(|error| unread(&error))?;
            in_store = self.store.scrub().await.map_err(|error| {
                let detail = Chain(&error).to_string();
                Failure::Store { detail }
            })?;
        }
        let (shard, Seen { marks, cut, .. }) = (self.shard(), seen);
        Ok(Erased { shard, log, marks, cut, checkpoints, in_log, in_store, waits })
    }

    /// Has the log trimmed below an offset; tells what keeps it from that.
    async fn trim_below(&self, below: Offset) -> Result<Option<Wait>, Failure> {
        // What cannot be saved in this time is told, and saved when it is asked again.
        let _ = timeout(SAVE_MAX, async {
            for doc in self.holding(below).await {
                let saved = match self.open(doc.clone()).await {
                    Ok(handle) => handle.save().await,
                    Err(refusal) => Err(refusal.into()),
                };
                if let Err(reason) = saved {
                    warn!(%doc, %reason, "not saved, it keeps the log from being trimmed");
                }
            }
        })
        .await;
        let unsaved = self.holding(below).await;
        if !unsaved.is_empty() {
            return Ok(Some(Wait::Unsaved(unsaved)));
        }
        let (reply, trimmed) = oneshot::channel();
        self.tell_writer(Command::TrimBelow(below, reply));
        match timeout(TRIM_MAX, trimmed).await {
            Ok(Ok(())) => Ok(None),
            // The shard is another's now, or has ended.
            Ok(Err(_)) => Err(Refusal::Moved.into()),
            Err(_) => Ok(Some(Wait::Trim(below))),
        }
    }

    async fn holding(&self, below: Offset) -> Vec<DocId> {
        let (reply, docs) = oneshot::channel();
        self.tell_writer(Command::Holding(below, reply));
        docs.await.unwrap_or_default()
    }

    /// Reads the whole shard for what it tells of a document's history before a revision.
    async fn look(&self, doc: &DocId, before: Revision) -> Result<Seen, Failure> {
        let mut tries = 1;
        loop {
            match self.try_look(doc, before).await {
                Err(ReadError::Trimmed { .. }) if tries < TRIES => tries += 1,
                seen => return seen.map_err(|error| unread(&error)),
            }
        }
    }

    async fn try_look(&self, doc: &DocId, before: Revision) -> Result<Seen, ReadError> {
        let marks = self.log.marks(self.shard()).await?;
        let mut seen = Seen { marks, ..Seen::default() };
        let mut next = marks.low;
        while next < marks.high {
            let batch = self.log.read(self.shard(), next, READ_BYTES).await?;
            if batch.records.is_empty() {
                return Err(ReadError::Beyond { offset: marks.high, high: next });
            }
            for stored in &batch.records {
                let record = Record::decode(&stored.bytes);
                if record.as_ref().map_or(true, |record| tells(record, doc, before)) {
                    seen.last = Some(stored.offset);
                }
                if record.is_ok_and(|record| is_cut(&record, doc)) {
                    seen.cut = Some(stored.offset);
                }
            }
            next = batch.next;
        }
        Ok(seen)
    }
}

/// Tells whether a record, also one that is void, tells of a document's history before a revision.
fn tells(record: &Record, doc: &DocId, before: Revision) -> bool {
    match record {
        Record::Frame(frame) => frame.doc == *doc && frame.base_rev < before,
        Record::Event(event) => {
            let named = matches!(event.kind, EventKind::VersionNamed { rev, .. } if rev < before);
            event.doc == *doc && named
        }
        Record::Claim(_) | Record::Release(_) => false,
    }
}

fn is_cut(record: &Record, doc: &DocId) -> bool {
    let Record::Event(event) = record else { return false };
    event.doc == *doc && matches!(event.kind, EventKind::HistoryCut { .. })
}

fn unread(error: &ReadError) -> Failure {
    Failure::Store { detail: Chain(error).to_string() }
}
