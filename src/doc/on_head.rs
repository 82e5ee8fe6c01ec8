//! Batches that are taken on top of the newest revision, or not at all: what their author saw is
//! all there is.

use crate::doc::actor::Running;
use crate::doc::state::State;
use crate::doc::{Batch, ConnId, Event, Refusal};

impl State {
    /// Refuses a batch whose base is not the end of the order; not where it comes again.
    ///
    /// # Errors
    /// [`Refusal::BadBase`].
    pub(in crate::doc) fn check_on_head(&self, conn: ConnId, batch: &Batch) -> Result<(), Refusal> {
        let session = self.sessions.of_conn(conn).and_then(|session| self.sessions.get(&session));
        let again =
            session.is_some_and(|row| batch.seq <= row.ordered || row.merging == Some(batch.seq));
        if again || batch.base == self.window.head() {
            return Ok(());
        }
        Err(Refusal::BadBase { base: batch.base, oldest: self.cut, head: self.head() })
    }
}

impl Running {
    pub(in crate::doc) fn submit_on_head(&mut self, conn: ConnId, batch: Batch) {
        match self.state.check_on_head(conn, &batch) {
            Ok(()) => self.submit(conn, batch),
            Err(refusal) => self.audience.tell(conn, Event::Refused { seq: batch.seq, refusal }),
        }
    }
}
