//! The shard's one writer: appends records in order and proves that they are accepted.
//!
//! The owner knows the log up to `next`. A record that lands exactly there is accepted: nobody
//! else wrote in between. Anything else is read before it is believed, and an outcome that is
//! unknown is made known by a claim on top of the own epoch (decision 1).

mod reclaim;

pub(crate) use reclaim::STALL_AFTER;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{FuturesOrdered, StreamExt};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

#[cfg(any(test, feature = "testing"))]
use crate::broken::{Rule, is_broken};
use crate::checkpoint::Progress;
use crate::doc::{self, Append, Outcome};
use crate::log::{AppendError, Fence, Record, Refusal, Release};
use crate::shard::claim::{Claimant, Claimed};
use crate::shard::handle::Ports;
use crate::shard::mark::advance;
use crate::shard::tail::{Indexed, Oldest};
use crate::shard::{HandOverError, Tail};
use crate::types::{Chain, DocId, Epoch, NodeId, Offset, ShardId};

/// How long the janitor rests between two documents: at least, and at most where none can be
/// saved, so that a failing store is not hammered.
const SWEEP_PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// How long the low-water mark rests after it could not be stored, or the log not be trimmed.
const ADVANCE_PAUSE: Duration = Duration::from_secs(5);

/// How long a document that could not be saved is passed over, so that others get their turn.
const PASSED_OVER: Duration = Duration::from_secs(60);

/// What the writer is told.
pub(crate) enum Command {
    /// A record of a document.
    Append(Append),
    /// A document was opened: it is to be told of the epoch and of what becomes of its records.
    Opened(doc::Handle),
    /// A document has ended.
    Ended(DocId),
    /// Which records of a document are above the checkpoints, once its open ones are settled.
    Offsets(DocId, oneshot::Sender<Indexed>),
    /// Which documents have records above the checkpoints.
    Uncovered(oneshot::Sender<Vec<DocId>>),
    TailBytes(oneshot::Sender<u64>),
    /// Which documents have records below an offset that no checkpoint covers.
    Holding(Offset, oneshot::Sender<Vec<DocId>>),
    /// Nothing is to be kept below an offset that checkpoints do not need; answered when the log
    /// was trimmed.
    TrimBelow(Offset, oneshot::Sender<()>),
    /// A checkpoint of the document stands at an offset.
    Stored(DocId, Offset),
    /// The document needs none of its records below an offset.
    Covered(DocId, Offset),
    /// The low-water mark was stored and the log trimmed, or one of them failed.
    Advanced {
        to: Offset,
        trim: Option<Offset>,
        done: bool,
    },
    /// The shard is given up: nothing is on its way any more.
    Release(Option<NodeId>, oneshot::Sender<Result<Offset, HandOverError>>),
    /// The janitor has seen to a document, and could save it or not.
    Swept {
        doc: DocId,
        well: bool,
    },
}

/// Asks the shard's actor to have a document saved, because it holds the low-water mark.
pub(crate) type Sweep = mpsc::UnboundedSender<DocId>;

/// One shard's writer; a task of its own.
pub(crate) struct Writer {
    ports: Ports,
    shard: ShardId,
    claimant: Claimant,
    commands: mpsc::UnboundedReceiver<Command>,
    own: mpsc::UnboundedSender<Command>,
    sweep: Sweep,
    epoch: Epoch,
    fence: Fence,
    /// The ownerships since the low-water mark, the current one last.
    epochs: Vec<Epoch>,
    next: Offset,
    tail: Tail,
    open: FxHashMap<DocId, doc::Handle>,
    in_log: FuturesOrdered<BoxFuture<'static, InLog>>,
    /// Documents with a record that the log does not take: it would be handed over for ever.
    too_long: FxHashSet<DocId>,
    /// Whether the shard is another's: nothing is written any more.
    fenced: bool,
    advancing: bool,
    sweeping: bool,
    swept: Instant,
    sweep_pause: Duration,
    /// Documents that could not be saved, and until when they are passed over.
    passed_over: FxHashMap<DocId, Instant>,
    /// The mark that was stored last.
    low_water: Offset,
    /// The marks that were stored too lately to trim below them, and when.
    marks: VecDeque<(Instant, Offset)>,
    /// Below which mark the log may be trimmed, and where it was.
    trimmable: Offset,
    trimmed: Offset,
    /// Below which offset no margin is kept, and who waits for that.
    floor: Offset,
    waiting: Vec<(Offset, oneshot::Sender<()>)>,
    /// When the mark that could not be stored, or the log that was not trimmed, is tried again.
    advance_at: Option<Instant>,
    /// What was counted of the tail last, in bytes.
    told_bytes: u64,
}

/// What comes out of the log's end, in order.
enum InLog {
    Appended {
        from: doc::Handle,
        bytes: usize,
        handed: Instant,
        result: Result<Offset, AppendError>,
    },
    Marker(DocId, oneshot::Sender<Indexed>),
    Released {
        reply: oneshot::Sender<Result<Offset, HandOverError>>,
        result: Result<Offset, AppendError>,
    },
}

/// The records of a shard that is given up are the next owner's to cover.
impl Drop for Writer {
    fn drop(&mut self) {
        self.count_tail(0);
        self.ports.metrics.owned.dec();
    }
}

impl Writer {
    pub(crate) fn new(
        ports: Ports,
        shard: ShardId,
        claimed: Claimed,
        (own, commands): (mpsc::UnboundedSender<Command>, mpsc::UnboundedReceiver<Command>),
        sweep: Sweep,
    ) -> Self {
        let claimant = ports.claimant.clone();
        ports.metrics.claimed(&claimed);
        let Claimed { epoch, fence, epochs, next, tail, .. } = claimed;
        ports.metrics.owned.inc();
        let low_water = tail.low_water(next);
        Self {
            ports,
            shard,
            claimant,
            commands,
            own,
            sweep,
            epoch,
            fence,
            epochs,
            next,
            tail,
            open: FxHashMap::default(),
            in_log: FuturesOrdered::new(),
            too_long: FxHashSet::default(),
            fenced: false,
            advancing: false,
            sweeping: false,
            swept: Instant::now(),
            sweep_pause: SWEEP_PAUSE.0,
            passed_over: FxHashMap::default(),
            low_water,
            marks: VecDeque::new(),
            trimmable: Offset(0),
            trimmed: Offset(0),
            floor: Offset(0),
            waiting: Vec::new(),
            advance_at: None,
            told_bytes: 0,
        }
    }

    /// Works until the shard's group of tasks is stopped, or the shard is released. What is on its
    /// way to the log then is found there by the next owner.
    pub(crate) async fn run(mut self) {
        let token = self.ports.tasks.token().clone();
        loop {
            self.count_tail(self.tail.bytes());
            let sweep_at = self.sweep_at();
            let advance_at = self.advance_at.or_else(|| self.trim_at());
            tokio::select! {
                biased;
                Some(landed) = self.in_log.next(), if !self.in_log.is_empty() => {
                    if self.landed(landed).await.is_break() {
                        return;
                    }
                }
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = tokio::time::sleep_until(sweep_at), if !self.sweeping => self.sweep(),
                () = sleep_until(advance_at), if advance_at.is_some() => {
                    self.advance_at = None;
                    self.advance();
                }
                () = token.cancelled() => return,
            }
        }
    }

    fn count_tail(&mut self, bytes: u64) {
        if bytes != self.told_bytes {
            let gauge = &self.ports.metrics.tail_bytes;
            gauge.add(i64::try_from(bytes).unwrap_or(i64::MAX));
            gauge.sub(i64::try_from(self.told_bytes).unwrap_or(i64::MAX));
            self.ports.room.note(bytes, self.told_bytes);
            self.told_bytes = bytes;
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Append(append) => self.append(append),
            Command::Opened(handle) => {
                if self.fenced {
                    handle.settle(Outcome::Fenced);
                } else {
                    handle.settle(Outcome::Reclaimed(self.epoch));
                }
                self.open.insert(handle.doc().clone(), handle);
            }
            Command::Ended(doc) => drop(self.open.remove(&doc)),
            // Whoever asks is told that the shard is stopping.
            Command::Offsets(_, reply) if self.fenced => drop(reply),
            Command::Offsets(doc, reply) => {
                let marker = ready(InLog::Marker(doc, reply));
                self.in_log.push_back(Box::pin(marker));
            }
            // Whoever asked may have gone.
            Command::Uncovered(reply) => drop(reply.send(self.tail.docs())),
            Command::TailBytes(reply) => drop(reply.send(self.tail.bytes())),
            Command::Holding(below, reply) => drop(reply.send(self.tail.holding(below))),
            Command::TrimBelow(below, reply) => self.trim_below(below, reply),
            Command::Stored(doc, at) => {
                self.tail.store(&doc, at);
                self.tail.cover(&doc, at);
                self.advance();
            }
            Command::Covered(doc, below) => {
                self.tail.cover(&doc, below);
                self.advance();
            }
            Command::Release(to, reply) => self.release(to, reply),
            Command::Advanced { to, trim, done } => self.advanced(to, trim, done),
            Command::Swept { doc, well } => {
                self.sweeping = false;
                if well {
                    self.passed_over.remove(&doc);
                } else {
                    self.passed_over.insert(doc, Instant::now() + PASSED_OVER);
                }
                let longer = (self.sweep_pause * 2).min(SWEEP_PAUSE.1);
                self.sweep_pause = if well { SWEEP_PAUSE.0 } else { longer };
            }
        }
    }

    fn append(&mut self, append: Append) {
        let Append { from, epoch, record, handed } = append;
        if self.fenced || epoch != self.epoch {
            return;
        }
        let bytes = record.len();
        let appended = self.ports.log.append(self.shard, record);
        self.ports.metrics.appended_bytes.inc_by(bytes as u64);
        let landing =
            async move { InLog::Appended { from, bytes, handed, result: appended.await } };
        self.in_log.push_back(Box::pin(landing));
    }

    fn release(
        &mut self,
        to: Option<NodeId>,
        reply: oneshot::Sender<Result<Offset, HandOverError>>,
    ) {
        if self.fenced {
            // Whoever asked may have gone, here and below.
            let _ = reply.send(Err(HandOverError::Fenced));
            return;
        }
        let record = Record::Release(Release { epoch: self.epoch, to });
        let appended = self.ports.log.append(self.shard, record.encode());
        let landing = async move { InLog::Released { reply, result: appended.await } };
        self.in_log.push_back(Box::pin(landing));
    }

    /// Takes note of what became of a record; breaks where the writer has ended.
    async fn landed(&mut self, landed: InLog) -> ControlFlow<()> {
        match landed {
            InLog::Released { reply, result: Ok(offset) } if offset == self.next => {
                info!(shard = %self.shard, epoch = %self.epoch, "released");
                // Whoever asked may have gone.
                let _ = reply.send(Ok(offset));
                return ControlFlow::Break(());
            }
            InLog::Released { reply, result } => {
                warn!(shard = %self.shard, ?result, "outcome of a release is not known");
                let known = self.reclaim().await;
                let undone = match known {
                    ControlFlow::Break(()) => HandOverError::Ended,
                    ControlFlow::Continue(()) if self.fenced => HandOverError::Fenced,
                    ControlFlow::Continue(()) => HandOverError::Undone,
                };
                let _ = reply.send(Err(undone));
                return known;
            }
            InLog::Marker(doc, reply) => {
                // Whoever asked has gone.
                let _ = reply.send(self.tail.indexed(&doc, self.next));
            }
            InLog::Appended { from, bytes, handed, result: Ok(offset) } if self.proves(offset) => {
                self.ports.doc_metrics.ack_logged.observe(handed.elapsed().as_secs_f64());
                self.next = offset.next();
                self.tail.note(from.doc(), offset, bytes, Instant::now());
                self.ports.metrics.accepted.inc();
                from.settle(Outcome::Accepted(offset));
            }
            InLog::Appended { result: Ok(offset), .. } if offset < self.next => {
                return self.shrunk(offset);
            }
            InLog::Appended { from, result, .. } => {
                match result {
                    Ok(offset) => {
                        warn!(shard = %self.shard, %offset, next = %self.next, "gap in the log");
                    }
                    Err(AppendError::NotWritten { reason: reason @ Refusal::TooLarge { .. } }) => {
                        warn!(shard = %self.shard, doc = %from.doc(), %reason, "not written");
                        self.too_long.insert(from.doc().clone());
                    }
                    Err(reason @ AppendError::NotWritten { .. }) => {
                        warn!(shard = %self.shard, %reason, "handed over again after a claim");
                    }
                    Err(reason) => {
                        let reason = Chain(&reason);
                        warn!(shard = %self.shard, %reason, "outcome of an append is not known");
                    }
                }
                return self.reclaim().await;
            }
        }
        ControlFlow::Continue(())
    }

    /// Tells whether a record that was put at an offset is accepted: nobody wrote in between.
    fn proves(&self, offset: Offset) -> bool {
        #[cfg(any(test, feature = "testing"))]
        if is_broken(Rule::Proof) {
            return true;
        }
        offset == self.next
    }

    /// Keeps no margin below an offset from now on. The mark that it waits for may be stored by an
    /// owner before this one, of which nobody knows when: it is stored once more.
    fn trim_below(&mut self, below: Offset, reply: oneshot::Sender<()>) {
        self.floor = self.floor.max(below);
        self.waiting.push((below, reply));
        let known = self.marks.back().map_or(self.trimmable, |(_, mark)| *mark);
        if known < below {
            self.low_water = Offset(0);
        }
        self.advance();
    }

    /// Stores the low-water mark where it has moved, then trims the log below it.
    fn advance(&mut self) {
        if self.advancing || self.advance_at.is_some() {
            return;
        }
        let (low_water, delay) = (self.tail.low_water(self.next), self.ports.config.trim_delay);
        let mark = (low_water > self.low_water).then(|| Progress {
            log: self.ports.log.id(),
            low_water,
            epoch: self.epoch_at(low_water),
            released: false,
        });
        let now = Instant::now();
        while let Some((_, old)) = self.marks.pop_front_if(|(stored, _)| *stored + delay <= now) {
            self.trimmable = old;
        }
        // What the store does not know yet, it is told before the log is trimmed.
        let at_once = mark.is_some() && delay.is_zero();
        let trimmable = if at_once { low_water } else { self.trimmable };
        let margin = self.ports.config.trim_margin;
        let kept = Offset(trimmable.0.saturating_sub(margin)).max(self.floor.min(trimmable));
        let trim = (kept > self.trimmed).then_some(kept);
        if mark.is_none() && trim.is_none() {
            return;
        }
        self.advancing = true;
        let (ports, shard, own) = (self.ports.clone(), self.shard, self.own.clone());
        self.ports.spawn_vital("advance", async move {
            let done = advance(&ports, shard, mark, trim).await;
            // A writer that has ended does not need to know.
            let _ = own.send(Command::Advanced { to: low_water, trim, done });
        });
    }

    /// Tells when a mark is old enough to trim below it.
    fn trim_at(&self) -> Option<Instant> {
        let first = self.marks.front().filter(|_| !self.advancing && self.advance_at.is_none());
        first.map(|(stored, _)| *stored + self.ports.config.trim_delay)
    }

    fn advanced(&mut self, to: Offset, trim: Option<Offset>, done: bool) {
        self.advancing = false;
        if !done {
            self.advance_at = Some(Instant::now() + ADVANCE_PAUSE);
            return;
        }
        if to > self.low_water {
            self.low_water = to;
            self.marks.push_back((Instant::now(), to));
        }
        if let Some(trimmed) = trim {
            self.trimmed = trimmed;
            self.tail.trimmed(trimmed);
            for (_, reply) in self.waiting.extract_if(.., |(below, _)| *below <= trimmed) {
                // Whoever waited may have gone.
                let _ = reply.send(());
            }
        }
        self.advance();
    }

    /// Returns the ownership that a reader has to begin with at an offset, and forgets older ones.
    fn epoch_at(&mut self, offset: Offset) -> Option<Epoch> {
        let older = self.epochs.partition_point(|epoch| epoch.0 < offset.0);
        self.epochs.drain(..older.saturating_sub(1));
        self.epochs.first().copied().filter(|epoch| epoch.0 < offset.0)
    }

    /// Tells when the document that holds the low-water mark has to be saved.
    fn sweep_at(&self) -> Instant {
        let config = &self.ports.config;
        let Some(oldest) = self.oldest() else {
            return Instant::now() + config.tail_age_max.min(PASSED_OVER);
        };
        let earliest = self.swept + self.sweep_pause;
        if self.tail.bytes() > config.tail_bytes_max.as_u64() {
            return earliest;
        }
        earliest.max(oldest.since + config.tail_age_max)
    }

    fn oldest(&self) -> Option<Oldest> {
        let now = Instant::now();
        self.tail.oldest(|doc| self.passed_over.get(doc).is_some_and(|until| *until > now))
    }

    fn sweep(&mut self) {
        self.swept = Instant::now();
        let Some(oldest) = self.oldest() else { return };
        self.passed_over.retain(|_, until| *until > self.swept);
        self.sweeping = true;
        // A shard whose actor has ended is stopping.
        let _ = self.sweep.send(oldest.doc);
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
