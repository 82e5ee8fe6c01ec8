//! The way to a document of another node, over one subscription: as long as that lasts.

use std::sync::Arc;
use std::time::Duration;

use crate::doc::{Batch, Change, Closed, ConnId, NotTaken, Refusal};
use crate::relay::client::Link;
use crate::relay::copy::Copy;
use crate::relay::message::{Ask, Caret, Op, Told, encode};
use crate::types::Revision;

/// How long a batch waits for room on the link.
const ROOM_MAX: Duration = Duration::from_secs(1);

/// Reaches one document of another node; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(in crate::relay) copy: Arc<Copy>,
    pub(in crate::relay) link: Arc<Link>,
    pub(in crate::relay) sub: u64,
}

impl Handle {
    /// Hands a batch over, once the link has room for it; what becomes of it is told to the
    /// outbox.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing of the batch was taken.
    ///
    /// # Cancel safety
    /// A call that is dropped while it waits for room has not handed the batch over.
    pub async fn submit(&self, conn: ConnId, batch: Batch) -> Result<(), NotTaken> {
        if !self.copy.lasts(self.sub) {
            return Err(NotTaken::Closed);
        }
        let Batch { seq, base, op, .. } = batch;
        let ask = Ask::Submit { sub: self.sub, conn: conn.0, seq, base, op: Op(op) };
        let frame = encode(0, &ask).into();
        let sent = self.link.outgoing.send(&frame, ROOM_MAX).await;
        sent.map_err(|_| NotTaken::Full(Refusal::Full { retry: ROOM_MAX }))
    }

    /// Notes a client's selection, made at a revision; where the link is full it is not told.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn place(
        &self,
        conn: ConnId,
        rev: Revision,
        sel: Option<(u64, u64)>,
    ) -> Result<(), Closed> {
        self.copy.place(self.sub, Caret { conn: conn.0, rev, sel })
    }

    /// Ends a connection.
    pub fn leave(&self, conn: ConnId) {
        if self.copy.forget(self.sub, conn) {
            let ask = Ask::Detach { sub: self.sub, conn: conn.0 };
            self.link.outgoing.force(encode(0, &ask));
        }
    }

    /// Returns the revisions after `from` for a connection, or nothing where the copy no longer has
    /// them: what the owner has may be ahead of what the copy has told.
    ///
    /// # Errors
    /// [`Closed`], also where the connection is over.
    pub fn missed(&self, conn: ConnId, from: Revision) -> Result<Option<Vec<Arc<Change>>>, Closed> {
        self.copy.missed(self.sub, conn, from)
    }

    /// Asks the owner for the revisions after `from`.
    pub(in crate::relay) async fn ask_missed(
        &self,
        from: Revision,
    ) -> Result<Option<Vec<Arc<Change>>>, Closed> {
        match self.link.ask(self.sub, &Ask::Missed { sub: self.sub, from }).await {
            Some(Told::Missed(rows)) => {
                let change = |row| Arc::new(Change::from(row));
                Ok(rows.map(|rows| rows.into_iter().map(change).collect()))
            }
            Some(_) | None => Err(Closed),
        }
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({} at {:?})", self.copy.doc, self.link.node)
    }
}
