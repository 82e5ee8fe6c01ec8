//! The end of a node: its shards are settled where they are, for others to claim without a move.

use tokio::sync::oneshot;

use crate::cluster::handoff::OwnerStage;
use crate::shard::keeper::STOPPING;
use crate::shard::keeper::run::Run;
use crate::shard::keeper::ward::{Event, Held, Rest, Serving, Ward};
use crate::types::ShardId;

/// Whether the node goes.
pub(crate) enum Parting {
    /// It does not.
    No,
    /// It does; who is told when all is settled.
    Settles(oneshot::Sender<()>),
    /// All is settled.
    Settled,
}

impl Run {
    /// Claims and moves nothing any more, and settles what is served here; `reply` is told when no
    /// document has anything open.
    pub(crate) fn settle(&mut self, reply: oneshot::Sender<()>) {
        self.parting = Parting::Settles(reply);
        for shard in self.all() {
            self.forget(shard, STOPPING);
            if matches!(self.ward(shard), Ward::Starting { .. }) {
                self.end(shard, Rest::default());
            }
        }
        self.stale = true;
    }

    /// Has the documents of all shards settle, as far as no move does so, and tells when they have.
    pub(crate) fn settle_all(&mut self) {
        self.undo_warming();
        let mut open = false;
        for shard in self.all() {
            self.news_for_giving(shard);
            open |= self.is_open(shard);
        }
        if open {
            return;
        }
        if let Parting::Settles(reply) = std::mem::replace(&mut self.parting, Parting::Settled) {
            // Whoever waited may have gone.
            let _ = reply.send(());
        }
    }

    pub(crate) fn is_parting(&self) -> bool {
        match self.parting {
            Parting::No => false,
            Parting::Settles(_) | Parting::Settled => true,
        }
    }

    /// Tells whether documents of a shard may have something open, and has them settle it.
    fn is_open(&mut self, shard: ShardId) -> bool {
        let (events, tasks) = (self.events.clone(), self.keeping.shards.tasks.clone());
        let Ward::Serving(serving) = self.ward(shard) else { return false };
        if let Some(giving) = &serving.giving {
            return match giving.side.stage() {
                OwnerStage::Idle | OwnerStage::Warming { .. } | OwnerStage::Draining { .. } => true,
                OwnerStage::Releasing { .. }
                | OwnerStage::Released { .. }
                | OwnerStage::Done
                | OwnerStage::Undone(_) => false,
            };
        }
        if serving.held == Held::No {
            serving.held = Held::Asked;
            let held = serving.handle.hold();
            tasks.spawn("settle", async move {
                // One that has ended has nothing open either; a keeper that has needs no news.
                let _ = held.await;
                let _ = events.send(Event::Settled { shard });
            });
        }
        serving.held != Held::Done
    }

    pub(crate) fn settled(&mut self, shard: ShardId) {
        if let Ward::Serving(Serving { held: held @ Held::Asked, .. }) = self.ward(shard) {
            *held = Held::Done;
            self.stale = true;
        }
    }

    /// Serves nothing any more; returns how many shards had something open.
    pub(crate) fn end_all(&mut self) -> usize {
        let mut open = 0;
        for shard in self.all() {
            open += usize::from(self.is_open(shard));
            if matches!(self.ward(shard), Ward::Serving(_)) {
                self.end(shard, Rest::default());
            }
        }
        open
    }
}
