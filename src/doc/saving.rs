//! When the actor takes checkpoints: one at a time, and who waits for them.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, error, warn};

use crate::checkpoint;
use crate::doc::actor::{Message, Running};
use crate::doc::save::Saved;
use crate::doc::{EventKind, Failure};
use crate::task::caught;
use crate::types::{Author, Timestamp};

/// Whoever waits until everything durable is in a checkpoint.
pub(crate) type Waiter = oneshot::Sender<Result<(), Failure>>;

/// Where the document is with its checkpoints.
#[derive(Default)]
pub(in crate::doc) struct Saving {
    /// Those who wait for the one that is being taken.
    running: Option<Vec<Waiter>>,
    /// Whether another one is to follow, and who waits for that.
    again: bool,
    next: Vec<Waiter>,
    /// Whether the last one failed: a document that is to stop leaves the rest to the log.
    pub(in crate::doc) failed: bool,
    /// Whether the store has another text for a revision: nothing can be saved any more.
    pub(in crate::doc) conflict: bool,
    /// How long the next one that is due waits after a failure, and until when.
    pause: Duration,
    not_before: Option<Instant>,
}

/// How long a checkpoint that is due waits after one that failed, at first and at most: a store
/// that is down is not asked at every record.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

impl Saving {
    /// Tells whether a checkpoint that is due may be taken now.
    pub(in crate::doc) fn is_allowed(&self) -> bool {
        self.not_before.is_none_or(|until| Instant::now() >= until)
    }

    /// Tells whether another one is to follow one that has ended: where it failed, only for those
    /// who wait.
    fn is_wanted(&self) -> bool {
        !self.failed || !self.next.is_empty()
    }

    fn note(&mut self, failed: bool) {
        self.failed = failed;
        let pause = self.pause.max(PAUSE.0);
        self.not_before = failed.then(|| Instant::now() + pause);
        self.pause = if failed { (pause * 2).min(PAUSE.1) } else { PAUSE.0 };
    }

    pub(in crate::doc) fn is_running(&self) -> bool {
        self.running.is_some()
    }
}

impl Running {
    pub(in crate::doc) fn save_for(&mut self, reply: Waiter) {
        self.saving.next.push(reply);
        self.save();
    }

    /// Takes a checkpoint; while one is running, another one follows it. One that was verified is
    /// never written again: that could only damage it.
    pub(in crate::doc) fn save(&mut self) {
        if self.saving.is_running() {
            self.saving.again = true;
            return;
        }
        let waiters = std::mem::take(&mut self.saving.next);
        if !self.state.is_unsaved() {
            // Void records may lie above the last one applied: they are covered, too.
            self.ports.shard.covered(self.state.doc(), self.state.offset());
            return answer(waiters, &Ok(()));
        }
        self.expire_sessions();
        let save = self.state.begin_save(self.ports.log, self.ports.clock.now());
        self.saving.running = Some(waiters);
        let (store, me) = (self.ports.store.clone(), self.me.clone());
        let encoders = self.ports.encoders.clone();
        self.ports.tasks.spawn("save", async move {
            let result = caught("saving a document", save.run(&*store, &encoders)).await;
            let result = result.unwrap_or_else(|panicked| Err(panicked.into()));
            // A document that ended meanwhile is covered by the checkpoint all the same.
            let _ = me.send_message(Message::Saved(result));
        });
    }

    fn expire_sessions(&mut self) {
        let now = self.ports.clock.now();
        let age = u64::try_from(self.ports.config.session_expiry.as_millis()).unwrap_or(u64::MAX);
        let before = Timestamp(now.0.saturating_sub(age));
        if self.state.expire(before) {
            self.flush();
        }
    }

    pub(in crate::doc) fn saved(&mut self, result: Result<Saved, checkpoint::Error>) {
        let waiters = self.saving.running.take().unwrap_or_default();
        self.saving.note(result.is_err());
        let told = result.as_ref().map(drop).map_err(|reason| {
            let detail = format!("no checkpoint was taken: {reason}");
            Failure::Store { detail }
        });
        self.note(result);
        answer(waiters, &told);
        if std::mem::take(&mut self.saving.again) && self.saving.is_wanted() {
            self.save();
        }
        self.watch_idle();
    }

    fn note(&mut self, result: Result<Saved, checkpoint::Error>) {
        let outcomes = &self.ports.metrics.checkpoints;
        let doc = self.state.doc().clone();
        match result {
            Ok(saved) => {
                outcomes.with_label_values(&["saved"]).inc();
                self.ports.metrics.checkpoint_bytes.inc_by(saved.bytes);
                debug!(%doc, bytes = saved.bytes, "saved");
                self.state.saved(&saved);
                self.ports.shard.stored(&doc, saved.offset);
            }
            Err(checkpoint::Error::Conflict { .. }) => {
                outcomes.with_label_values(&["conflict"]).inc();
                error!(%doc, "another text is stored for this revision, quarantined");
                // Once is enough: the record makes no revision, and the next save meets the same.
                if self.state.check_life().is_ok() {
                    let reason = "two checkpoints of one revision differ".to_owned();
                    let kind = EventKind::Quarantined { reason };
                    self.state.note_event(Author::anonymous(), None, kind);
                    self.flush();
                }
                self.saving.conflict = true;
            }
            Err(reason) => {
                outcomes.with_label_values(&["failed"]).inc();
                warn!(%doc, %reason, "could not save, the log keeps everything");
            }
        }
    }
}

fn answer(waiters: Vec<Waiter>, result: &Result<(), Failure>) {
    for waiter in waiters {
        // Whoever asked has gone.
        let _ = waiter.send(result.clone());
    }
}
