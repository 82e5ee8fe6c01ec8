//! From the state to a checkpoint and back, and the sealing of segments.
//!
//! A save is prepared by the actor, which begins a new segment where one is due, run elsewhere, and
//! noted when it is done. What is open (not yet accepted) is never part of it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::checkpoint::{
    self, SealedSegment, SessionRow, Snapshot, Store, WindowRow, load_segment, save, save_segment,
};
use crate::crdt::Segment;
use crate::doc::sessions::RunEnd;
use crate::doc::state::{Intake, State};
use crate::doc::window::Window;
use crate::doc::{Change, Config, Failure};
use crate::task::Tasks;
use crate::types::{LogId, Offset, Revision, Timestamp};

/// The most revisions that a checkpoint carries for clients that resume after a restart.
const WINDOW_ROWS_MAX: usize = 1_000;

/// Encodes what goes into checkpoints, on half of the cores at most: many documents may be due at
/// the same time, and the rest of the cores are for what somebody waits for.
#[derive(Debug, Clone)]
pub struct Encoders {
    free: Arc<Semaphore>,
}

impl Encoders {
    /// Returns the encoders of a node with so many cores, one at least.
    pub fn new(cores: usize) -> Self {
        Self { free: Arc::new(Semaphore::new((cores / 2).max(1))) }
    }

    /// Does a piece of work that only computes, when an encoder is free.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let free = self.free.clone().acquire_owned().await.expect("it is never closed");
        // It is held for as long as the work goes on, whether or not somebody still waits for it.
        Tasks::offload(move || {
            let done = work();
            drop(free);
            done
        })
        .await
    }
}

/// A checkpoint to be taken.
pub(crate) struct Save {
    snapshot: Snapshot,
    live: Arc<Segment>,
    sealing: Option<Arc<Segment>>,
    log_bytes: u64,
    segment_bytes_min: u64,
}

/// A checkpoint that was taken and verified.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) offset: Offset,
    /// What was written, in bytes.
    pub(crate) bytes: u64,
    /// The size of the live segment as stored, in bytes.
    live_bytes: u64,
    sealed: Option<SealedSegment>,
    /// What takes the place of the oldest sealed segment, which began at the revision given.
    rest: Option<(Revision, SealedSegment)>,
    due_to_seal: bool,
    log_bytes: u64,
}

impl State {
    /// Rebuilds the state that a checkpoint describes.
    ///
    /// # Errors
    /// Where the parts of the checkpoint do not agree with each other.
    pub fn restore(snapshot: &Snapshot, config: Arc<Config>) -> Result<Self, Failure> {
        let live = Segment::decode(&snapshot.live)
            .map_err(|error| damaged(format!("live segment: {error}")))?;
        if live.head() != snapshot.revision || live.text_hash() != snapshot.text_hash {
            return Err(damaged(format!("live segment is not revision {}", snapshot.revision)));
        }
        let window = restore_window(snapshot, live.chars())?;
        let live = Arc::new(live);
        let mut state = Self { live, window, ..Self::new(snapshot.doc.clone(), config) };
        state.epoch_at_rest = Some(snapshot.epoch);
        state.life = snapshot.life.clone();
        // What has a checkpoint was created or written.
        state.created = true;
        state.sealed = snapshot.sealed.clone();
        state.versions = snapshot.versions.clone();
        state.cut = snapshot.cut;
        state.access = snapshot.access.clone();
        state.access_ordered = snapshot.access.clone();
        state.offset = snapshot.offset;
        for row in &snapshot.sessions {
            let session = state.sessions.entry(row.session);
            session.note_durable(row.seq, row.rev, row.at);
            session.run = RunEnd::Lost;
        }
        let kept: Vec<_> = state.window.after(Revision(0)).cloned().collect();
        for change in kept {
            state.sessions.entry(change.session).note_insert(&change.op, change.rev);
        }
        Ok(state)
    }

    /// Tells whether the log since the last checkpoint is long enough for the next one.
    pub(in crate::doc) fn is_due_to_save(&self) -> bool {
        let config = &self.config;
        let least = config.checkpoint_log_bytes_min.as_u64();
        self.unsaved_bytes >= least.max(self.live_bytes * config.checkpoint_log_factor)
    }

    /// Tells whether something is not covered by a checkpoint.
    pub(in crate::doc) fn is_unsaved(&self) -> bool {
        self.unsaved_bytes > 0 && self.intake != Intake::ReadOnly
    }

    /// Prepares a checkpoint of the durable state.
    pub(in crate::doc) fn begin_save(&mut self, log: LogId, now: Timestamp) -> Save {
        if self.due_to_seal && self.unsaved.is_none() {
            let next = Arc::new(Tasks::at_length(|| self.live.successor()));
            self.unsaved = Some(std::mem::replace(&mut self.live, next));
            self.due_to_seal = false;
        }
        let row = |(session, row): (_, &crate::doc::sessions::Session)| SessionRow {
            session,
            seq: row.durable,
            rev: row.rev,
            at: row.at,
        };
        let snapshot = Snapshot {
            doc: self.doc.clone(),
            revision: self.live.head(),
            log,
            offset: self.offset,
            epoch: self.epoch_at_rest.unwrap_or_default(),
            text_hash: 0,
            life: self.life.clone(),
            created: now,
            live: bytes::Bytes::new(),
            sessions: self.sessions.durable().into_iter().map(row).collect(),
            window: self.window_rows(),
            sealed: self.sealed.clone(),
            versions: self.versions.clone(),
            cut: self.cut,
            access: self.access.clone(),
        };
        Save {
            snapshot,
            live: self.live.clone(),
            sealing: self.unsaved.clone(),
            log_bytes: self.unsaved_bytes,
            segment_bytes_min: self.config.segment_bytes_min.as_u64(),
        }
    }

    /// Notes a checkpoint that was taken.
    pub(in crate::doc) fn saved(&mut self, saved: &Saved) {
        if let Some(sealed) = &saved.sealed
            && self.unsaved.as_ref().is_some_and(|segment| segment.base() == sealed.base)
        {
            self.unsaved = None;
            self.sealed.push(sealed.clone());
        }
        if let Some((base, rest)) = &saved.rest
            && let Some(oldest) = self.sealed.first_mut().filter(|oldest| oldest.base == *base)
        {
            *oldest = rest.clone();
        }
        self.due_to_seal = saved.due_to_seal;
        self.live_bytes = saved.live_bytes;
        self.unsaved_bytes = self.unsaved_bytes.saturating_sub(saved.log_bytes);
    }

    fn window_rows(&self) -> Vec<WindowRow> {
        let head = self.live.head();
        let mut rows = VecDeque::new();
        for change in self.window.after(Revision(0)).take_while(|change| change.rev <= head) {
            if rows.len() == WINDOW_ROWS_MAX {
                rows.pop_front();
            }
            rows.push_back(change);
        }
        let row = |change: &Arc<Change>| WindowRow {
            session: change.session,
            seq: change.seq,
            author: change.author.clone(),
            base: change.base,
            op: change.op.clone(),
        };
        rows.into_iter().map(row).collect()
    }
}

impl Save {
    /// Encodes and stores everything; the manifest comes last, and is verified by reading back.
    ///
    /// # Errors
    /// Where the store fails; what was stored before it is still valid.
    pub(crate) async fn run(
        self,
        store: &dyn Store,
        encoders: &Encoders,
    ) -> Result<Saved, checkpoint::Error> {
        let Self { mut snapshot, live, sealing, log_bytes, segment_bytes_min } = self;
        let mut bytes = 0;
        let rest = keep_rest(store, encoders, &snapshot).await?;
        if let Some((_, stored)) = &rest {
            bytes += stored.bytes;
            snapshot.sealed[0] = stored.clone();
        }
        let mut sealed = None;
        if let Some(segment) = sealing {
            let (base, head) = (segment.base(), segment.head());
            let encoded = encoders.run(move || segment.encode()).await;
            let revisions = (base, head);
            let stored = save_segment(store, &snapshot.doc, revisions, &encoded.bytes).await?;
            bytes += stored.bytes;
            snapshot.sealed.push(stored.clone());
            sealed = Some(stored);
        }
        let (encoded, text_hash) = encoders.run(move || (live.encode(), live.text_hash())).await;
        let due_to_seal = encoded.is_due_to_seal(segment_bytes_min);
        let live_bytes = encoded.bytes.len() as u64;
        snapshot.live = encoded.bytes;
        snapshot.text_hash = text_hash;
        let offset = snapshot.offset;
        bytes += save(store, &Arc::new(snapshot)).await?.bytes;
        Ok(Saved { offset, bytes, live_bytes, sealed, rest, due_to_seal, log_bytes })
    }
}

/// Stores what a history cut leaves of the sealed segment that it goes through.
async fn keep_rest(
    store: &dyn Store,
    encoders: &Encoders,
    snapshot: &Snapshot,
) -> Result<Option<(Revision, SealedSegment)>, checkpoint::Error> {
    let (doc, cut) = (&snapshot.doc, snapshot.cut);
    let Some(oldest) = snapshot.sealed.first().filter(|oldest| oldest.base < cut) else {
        return Ok(None);
    };
    let bytes = match load_segment(store, doc, oldest).await {
        Ok(bytes) => bytes,
        // It is lost already; nothing of it can be kept or removed.
        Err(checkpoint::Error::Segment { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let encode = move || Segment::decode(&bytes).map(|segment| segment.without(cut).encode());
    let Ok(encoded) = encoders.run(encode).await else { return Ok(None) };
    let rest = save_segment(store, doc, (cut, oldest.head), &encoded.bytes).await?;
    Ok(Some((oldest.base, rest)))
}

/// Rebuilds the window from the rows of a checkpoint, whose last one is its revision.
fn restore_window(snapshot: &Snapshot, chars: u64) -> Result<Window, Failure> {
    let rows = snapshot.window.len() as u64;
    let first = snapshot.revision.0.checked_sub(rows);
    let base = Revision(first.ok_or_else(|| damaged("more rows than revisions".to_owned()))?);
    let mut before = i128::from(chars);
    for row in &snapshot.window {
        before -= i128::from(row.op.inserted_chars()) - i128::from(row.op.deleted_chars());
    }
    let base_chars = u64::try_from(before)
        .map_err(|_| damaged("the window deletes more than there is".to_owned()))?;
    let mut window = Window::new(base, base_chars);
    for row in &snapshot.window {
        let rev = window.head().next();
        let chars = row
            .op
            .chars_after(window.chars())
            .map_err(|error| damaged(format!("window at revision {rev}: {error}")))?;
        let change = Change {
            rev,
            session: row.session,
            seq: row.seq,
            author: row.author.clone(),
            base: row.base,
            op: row.op.clone(),
            via: None,
            surprising: false,
        };
        window.push(Arc::new(change), chars);
    }
    Ok(window)
}

fn damaged(detail: String) -> Failure {
    Failure::Damaged { detail }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn half_of_the_cores_are_left_to_what_is_waited_for() {
        for (cores, at_once) in [(1, 1), (2, 1), (7, 3)] {
            let encoders = Encoders::new(cores);
            let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
            let work = |_| {
                let (now, most) = (now.clone(), most.clone());
                encoders.run(move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    (0..1_000).for_each(|_| std::thread::yield_now());
                    now.fetch_sub(1, Ordering::SeqCst);
                })
            };
            join_all((0..50).map(work)).await;
            let most = most.load(Ordering::SeqCst);
            assert!((1..=at_once).contains(&most), "{most} at once on {cores} cores");
        }
    }
}
