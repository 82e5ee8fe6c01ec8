//! What a writer does where it does not know what became of its records: it claims again.

use std::hash::BuildHasher;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::StreamExt;
use rustc_hash::FxBuildHasher;
use tokio::time::Instant;
use tracing::{error, info, warn};

#[cfg(any(test, feature = "testing"))]
use crate::broken::{Rule, is_broken};
use crate::doc::Outcome;
use crate::log::{AppendError, Log, ReadError, Record, Refusal};
use crate::shard::claim::{Claimed, Claiming, claim};
use crate::shard::handle::WhenFenced;
use crate::shard::writer::{InLog, Writer};
use crate::shard::{HandOverError, StartError};
use crate::types::{Chain, Epoch, Offset};

/// How long the writer waits before it claims again, at first and at most.
const CLAIM_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How long the log may be out of reach before clients are told and sent away.
pub(crate) const STALL_AFTER: Duration = Duration::from_secs(3);

const LOG_STOPPED: &str = "the log has stopped: look at its storage, then start";
const TAKEN_OVER: &str = "another process has taken the log over: run only one of them";

impl Writer {
    /// Claims the shard again, so that the fate of every record handed over is known. Breaks where
    /// it is not, because the shard or the log has ended: nothing is appended or told after that.
    pub(super) async fn reclaim(&mut self) -> ControlFlow<()> {
        self.ports.metrics.reclaims.inc();
        let mut markers = Vec::new();
        while let Some(landed) = self.in_log.next().await {
            match landed {
                InLog::Marker(doc, reply) => markers.push((doc, reply)),
                InLog::Appended {
                    from,
                    result: Err(AppendError::NotWritten { reason: Refusal::TooLarge { .. } }),
                    ..
                } => drop(self.too_long.insert(from.doc().clone())),
                InLog::Appended { result: Ok(offset), .. } if offset < self.next => {
                    return self.shrunk(offset);
                }
                // What becomes of these is read in the log, up to the claim.
                InLog::Appended { .. } => {}
                InLog::Released { reply, .. } => drop(reply.send(Err(HandOverError::Undone))),
            }
        }
        let (mut backoff, began, mut told) = (CLAIM_BACKOFF.0, Instant::now(), false);
        let token = self.ports.tasks.token().clone();
        loop {
            if token.is_cancelled() {
                return ControlFlow::Break(());
            }
            match self.try_claim().await {
                Ok(()) => break,
                Err(StartError::Fenced { epoch, .. }) => {
                    self.step_down(epoch);
                    return ControlFlow::Continue(());
                }
                // Somebody else has owned the shard for long.
                Err(reason) if reason.is_trimmed() => {
                    self.step_down(None);
                    return ControlFlow::Continue(());
                }
                Err(reason) => {
                    if reason.is_final() {
                        return self.ended(&reason);
                    }
                    let chain = Chain(&reason);
                    warn!(shard = %self.shard, reason = %chain, "could not claim, trying again");
                    if !told && began.elapsed() >= STALL_AFTER {
                        told = true;
                        self.open.values().for_each(|handle| handle.settle(Outcome::Stalled));
                    }
                }
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(self.spread(backoff)) => {}
                () = token.cancelled() => {}
            }
            backoff = (backoff * 2).min(CLAIM_BACKOFF.1);
        }
        for (doc, reply) in markers {
            // Whoever asked has gone.
            let _ = reply.send(self.tail.indexed(&doc, self.next));
        }
        info!(shard = %self.shard, epoch = %self.epoch, "claimed again");
        for (doc, handle) in &self.open {
            if self.too_long.remove(doc) {
                handle.settle(Outcome::TooLong);
            } else {
                handle.settle(Outcome::Reclaimed(self.epoch));
            }
        }
        self.too_long.clear();
        ControlFlow::Continue(())
    }

    /// Shortens a pause by up to a half, each shard and each pause by another part: the same for
    /// one run of a node, so that a simulated one can be repeated.
    fn spread(&self, pause: Duration) -> Duration {
        let part = FxBuildHasher.hash_one((self.shard, self.claimant.boot, pause)) % 1_024;
        pause.mul_f64(1.0 - part as f64 / 2_048.0)
    }

    async fn try_claim(&mut self) -> Result<(), StartError> {
        let log: Arc<dyn Log> = self.ports.log.clone();
        match log.confirm().await {
            Ok(()) => {}
            Err(ReadError::Replaced) => return Err(StartError::Replaced { shard: self.shard }),
            Err(source) => return Err(StartError::Read { shard: self.shard, source }),
        }
        let bytes_max = self.ports.config.recovery_read_bytes.as_u64() as usize;
        let from = self.next;
        let fence = self.fence;
        let claimant = (&self.claimant, Claiming::Again);
        let claimed = claim(log, self.shard, claimant, (from, fence), bytes_max).await?;
        self.take_over(from, claimed).await
    }

    /// Tells the documents which of their records were found on the way to the claim.
    async fn take_over(&mut self, from: Offset, claimed: Claimed) -> Result<(), StartError> {
        self.ports.metrics.claimed(&claimed);
        let Claimed { epoch, fence, epochs, next, tail, .. } = claimed;
        let mut offsets = tail.all();
        offsets.retain(|offset| *offset >= from);
        #[cfg(any(test, feature = "testing"))]
        if is_broken(Rule::GapIsRead) {
            offsets.clear();
        }
        let fetched = self.ports.log.fetch(self.shard, &offsets).await;
        let records = fetched.map_err(|source| StartError::Read { shard: self.shard, source })?;
        for stored in records {
            let Ok(record) = Record::decode(&stored.bytes) else { continue };
            let Some(doc) = record.doc().cloned() else { continue };
            self.tail.note(&doc, stored.offset, stored.bytes.len(), Instant::now());
            if let Some(handle) = self.open.get(&doc) {
                handle.settle(Outcome::Recovered(stored.offset, Arc::new(record)));
            }
        }
        self.epoch = epoch;
        self.fence = fence;
        self.epochs.extend(epochs.into_iter().filter(|epoch| epoch.0 >= from.0));
        self.next = next;
        Ok(())
    }

    /// Takes down every document, for good: the shard is another's.
    fn step_down(&mut self, epoch: Option<Epoch>) {
        warn!(shard = %self.shard, ?epoch, "another process claimed the shard, stepping down");
        self.ports.metrics.fenced.inc();
        self.fenced = true;
        for handle in self.open.values() {
            handle.settle(Outcome::Fenced);
        }
        match &self.ports.when_fenced {
            WhenFenced::EndsTheProcess => self.ports.fatal.stop_with(TAKEN_OVER),
            // A keeper that has ended is stopping all the same.
            WhenFenced::IsTold(keeper) => drop(keeper.send((self.shard, self.epoch))),
        }
    }

    /// Ends the process: a record lands where others were, which are gone.
    pub(super) fn shrunk(&self, offset: Offset) -> ControlFlow<()> {
        let (shard, high, known) = (self.shard, offset.next(), self.next);
        self.ended(&StartError::Shrunk { shard, high, known })
    }

    fn ended(&self, reason: &StartError) -> ControlFlow<()> {
        let reason = Chain(reason);
        error!(shard = %self.shard, %reason, "the log has stopped");
        self.ports.fatal.stop_with(&format!("{reason}; {LOG_STOPPED}"));
        ControlFlow::Break(())
    }
}
