//! The batch of a client that is on its way.

use std::sync::Arc;

use tokio::time::Instant;

use crate::doc::{Change, Mode, Refusal};
use crate::edge::refusal;
use crate::edge::session::Session;
use crate::text::Operation;
use crate::types::{Revision, Seq};

/// A batch that is not acknowledged yet.
pub(in crate::edge::session) struct Flight {
    pub(in crate::edge::session) seq: Seq,
    pub(in crate::edge::session) base: Revision,
    pub(in crate::edge::session) op: Operation,
    pub(in crate::edge::session) bytes: usize,
    pub(in crate::edge::session) received: Instant,
    /// Whether its acknowledgement is among the frames.
    pub(in crate::edge::session) acknowledged: bool,
}

impl Session {
    /// Notes that nothing is waited for any more.
    pub(in crate::edge::session) fn settled(&mut self) {
        self.waits.end();
        self.share = None;
    }

    /// Notes where the batch on its way is among changes that the client is told.
    pub(in crate::edge::session) fn acknowledge(&mut self, changes: &[Arc<Change>]) {
        let Some(flight) = &mut self.in_flight else { return };
        let session = self.to.session;
        let own = |one: &Arc<Change>| one.session == session && one.seq == flight.seq;
        if changes.iter().any(own) {
            flight.acknowledged = true;
            self.settled();
        }
    }

    /// Tells the client changes that it lacks, which it has from then on.
    pub(in crate::edge::session) fn tell_changes(&mut self, changes: &[Arc<Change>]) {
        self.acknowledge(changes);
        match self.mode {
            Mode::Edit => self.to.changes(changes, &mut self.frames),
            Mode::View => self.frames.extend(self.to.composed(changes)),
        }
        if let Some(last) = changes.last() {
            self.stands_at = last.rev;
        }
    }

    /// Has the client send its batch again later.
    pub(in crate::edge::session) fn put_off(&mut self, refusal: &Refusal, seq: Seq) {
        self.settled();
        self.tell(&refusal::message(refusal, Some(seq)));
    }
}
