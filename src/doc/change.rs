//! What a document takes in and gives out: batches, revisions, and the events its clients get.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::time::Instant;

use crate::doc::{Merged, Presence, Refusal, Room};
use crate::text::{Component, Operation};
use crate::types::{Author, ParticipantId, Revision, Seq, SessionId};

/// Numbers a client's connection to a document; never used twice while the document is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Tells what a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Sees every revision and may send batches.
    Edit,
    /// Sees revisions composed together, and sends none.
    View,
}

/// Names a participant to the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct User {
    /// The name to show.
    pub name: String,
    /// The color of its caret, `#rrggbb`.
    pub color: String,
}

/// One batch of a client, as it came: an operation on the text at `base`.
#[derive(Debug)]
pub struct Batch {
    /// The batch's number within its session.
    pub seq: Seq,
    /// The revision that the operation applies to.
    pub base: Revision,
    /// The edit.
    pub op: Operation,
    /// When it came off the socket.
    pub received: Instant,
    /// The room the batch takes in the document's queue, given back once it is settled.
    pub permit: Option<Room>,
}

/// One revision: a batch in its place in the document's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub rev: Revision,
    /// The session that wrote it.
    pub session: SessionId,
    /// The number of the batch within the session.
    pub seq: Seq,
    /// Who wrote it.
    pub author: Author,
    /// The revision its author had.
    pub base: Revision,
    /// The operation as accepted: it applies to revision `rev - 1`.
    pub op: Operation,
    /// The connection that submitted it, if that was in this life of the document.
    pub via: Option<ConnId>,
    /// Whether the operation may differ from what its author predicts, so that the
    /// acknowledgement must carry it.
    pub surprising: bool,
}

impl Change {
    /// Returns the id under which others know the author.
    pub fn participant(&self) -> ParticipantId {
        self.session.participant()
    }

    /// Returns about how many bytes of memory the revision takes.
    pub fn weight(&self) -> usize {
        const FIXED: usize = 208;
        let text = |component: &Component| match component {
            Component::Insert(text) => text.len(),
            Component::Retain(_) | Component::Delete(_) => 8,
        };
        FIXED + self.op.components().iter().map(text).sum::<usize>()
    }
}

/// Encodings of what is shared by all who are told, filled in by the first that needs one: 0 and 1
/// are the edge's, 2 is the relay's; what they are is their business.
pub type Encodings = [OnceLock<Bytes>; 3];

/// Consecutive revisions that became durable together; shared by all who are told.
pub struct Update {
    /// The revisions, at least one, rising by one.
    pub changes: Vec<Arc<Change>>,
    /// Encodings of the whole.
    pub encoded: Encodings,
}

impl Update {
    /// Returns an update of these revisions.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(changes: Vec<Arc<Change>>) -> Self {
        assert!(!changes.is_empty(), "an update tells of at least one revision");
        Self { changes, encoded: Encodings::default() }
    }

    /// Returns the first revision told of.
    pub fn first(&self) -> Revision {
        self.changes.first().map(|change| change.rev).expect("an update is never empty")
    }

    /// Returns the last revision told of.
    pub fn last(&self) -> Revision {
        self.changes.last().map(|change| change.rev).expect("an update is never empty")
    }

    /// Returns about how many bytes it takes to keep for a receiver.
    pub fn weight(&self) -> usize {
        self.changes.iter().map(|change| change.weight()).sum()
    }
}

impl fmt::Debug for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Update({}..={})", self.first(), self.last())
    }
}

/// What a connection is told after its welcome, in order.
#[derive(Debug, Clone)]
pub enum Event {
    /// Revisions are durable; the connection's own among them are its acknowledgements.
    Changed(Arc<Update>),
    /// For viewers: several revisions as one operation.
    Merged(Arc<Merged>),
    /// A batch has its place in the order but is not yet durable.
    Ordered {
        /// The batch.
        seq: Seq,
        /// Its revision, if nothing fails.
        rev: Revision,
    },
    /// A batch that came again has been durable for long.
    Repeated {
        /// The batch.
        seq: Seq,
        /// Its revision; 0 where the document no longer knows.
        rev: Revision,
    },
    /// Participants came, went or moved their carets.
    Presence(Arc<Presence>),
    /// A batch was not taken; nothing of it is applied.
    Refused {
        /// The batch.
        seq: Seq,
        /// Why.
        refusal: Refusal,
    },
    /// The connection is over: nothing follows.
    Closed(Refusal),
}
