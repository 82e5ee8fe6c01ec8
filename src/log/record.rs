//! What Quire writes into a log: frames of accepted edits, ownership, and events of a document.
//!
//! These are the domain types; `codec.rs` has the bytes.

use bytes::Bytes;

use crate::access::{AccessChange, Subject};
use crate::log::codec::{self, DecodeError};
use crate::text::{Component, Operation};
use crate::types::{Author, DocId, Epoch, NodeId, Revision, Seq, SessionId, Timestamp};

/// Is one record of a shard's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// Edits of one document.
    Frame(Frame),
    /// A node takes the shard over.
    Claim(Claim),
    /// An owner gives the shard up.
    Release(Release),
    /// Something happened to a document as a whole.
    Event(Event),
}

/// Holds edits of one document, in order; they count all together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The ownership under which it was written.
    pub epoch: Epoch,
    /// The document.
    pub doc: DocId,
    /// The document's revision before the first entry.
    pub base_rev: Revision,
    /// The owner's wall clock: information, never order.
    pub at: Timestamp,
    /// The edits: each makes one revision.
    pub entries: Vec<Entry>,
}

/// Is one accepted batch of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Who sent it.
    pub session: SessionId,
    /// Its number within the session.
    pub seq: Seq,
    /// In whose name.
    pub author: Author,
    /// The revision it was made on.
    pub base: Revision,
    /// The edit, rebased: it applies to the revision before it.
    pub op: Operation,
}

/// Says that a node owns the shard from here on; counts iff `prev` is the current epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The node.
    pub node: NodeId,
    /// The node's start: tells two runs of one node apart.
    pub boot: u64,
    /// The epoch that it ends.
    pub prev: Option<Epoch>,
}

/// Says that the owner writes nothing more under its epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The epoch that ends.
    pub epoch: Epoch,
    /// Who is to claim the shard next.
    pub to: Option<NodeId>,
}

/// Says what happened to a document as a whole; it makes no revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The ownership under which it was written.
    pub epoch: Epoch,
    /// The document.
    pub doc: DocId,
    /// The document's revision.
    pub base_rev: Revision,
    /// The owner's wall clock: information, never order.
    pub at: Timestamp,
    /// In whose name.
    pub author: Author,
    /// Who asked for it, where that is known: the name that others see can be chosen.
    pub by: Option<Subject>,
    /// What happened.
    pub kind: EventKind,
}

/// Is what can happen to a document as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventKind {
    /// It exists from now on.
    Created,
    /// It is gone for readers and writers, but can be brought back.
    Deleted,
    /// It is back.
    Undeleted,
    /// It cannot be rebuilt and takes no edits.
    Quarantined {
        /// Why, for a person.
        reason: String,
    },
    /// The sessions are forgotten, until one comes back.
    SessionsExpired {
        /// Which.
        sessions: Vec<SessionId>,
    },
    /// History before a revision is removed.
    HistoryCut {
        /// The first revision that is kept.
        before: Revision,
    },
    /// A revision has a name.
    VersionNamed {
        /// The name.
        name: String,
        /// The revision.
        rev: Revision,
    },
    /// A session that was forgotten is known again: its owner looked into the history.
    SessionReturned {
        /// Which.
        session: SessionId,
        /// Its last batch.
        seq: Seq,
        /// The revision that the batch became.
        rev: Revision,
    },
    /// Who may do what is changed. The first one of a document makes it exist, so that it has its
    /// owner before anything is in it.
    AccessChanged(AccessChange),
    /// The revision before was made to bring an earlier text back.
    Restored {
        /// Which revision's.
        rev: Revision,
    },
    /// The history was handed out as a whole.
    Exported {
        /// Up to which revision.
        rev: Revision,
    },
}

impl Record {
    /// Returns the record's bytes: format version, body, checksum.
    ///
    /// # Panics
    /// If the record is over a bound that decoding holds: more than [`ENTRIES_MAX`] entries or
    /// sessions, or more than [`RECORD_BYTES_MAX`] bytes. Whoever builds frames keeps to both, by
    /// [`Entry::bytes_max`].
    ///
    /// [`ENTRIES_MAX`]: crate::log::ENTRIES_MAX
    /// [`RECORD_BYTES_MAX`]: crate::log::RECORD_BYTES_MAX
    pub fn encode(&self) -> Bytes {
        codec::encode(self)
    }

    /// Returns the document that the record is about, if it is about one.
    pub fn doc(&self) -> Option<&DocId> {
        match self {
            Self::Frame(frame) => Some(&frame.doc),
            Self::Event(event) => Some(&event.doc),
            Self::Claim(_) | Self::Release(_) => None,
        }
    }

    /// Returns the revision before the record, if it is about a document.
    pub fn base_rev(&self) -> Option<Revision> {
        match self {
            Self::Frame(frame) => Some(frame.base_rev),
            Self::Event(event) => Some(event.base_rev),
            Self::Claim(_) | Self::Release(_) => None,
        }
    }

    /// Returns the ownership under which the record was written; a claim begins one.
    pub fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Frame(frame) => Some(frame.epoch),
            Self::Event(event) => Some(event.epoch),
            Self::Release(release) => Some(release.epoch),
            Self::Claim(_) => None,
        }
    }

    /// Reads a record back from its bytes, whoever wrote them.
    ///
    /// # Errors
    /// If they are not the bytes of a record of this version; the checksum is checked first.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode(bytes)
    }
}

impl Frame {
    /// Returns the revision after the last entry, if a `u64` holds it.
    pub fn head(&self) -> Option<Revision> {
        let entries = u64::try_from(self.entries.len()).ok()?;
        self.base_rev.0.checked_add(entries).map(Revision)
    }
}

impl Entry {
    /// Returns a length that the entry's bytes in a record do not exceed.
    pub fn bytes_max(&self) -> usize {
        entry_bytes_max(&self.author, &self.op)
    }

    /// Returns what the edit itself takes in a record, in bytes: its number, its base and its
    /// operation, without the names of its session and author.
    pub fn payload_bytes(&self) -> usize {
        let varint = |number: u64| (70 - (number | 1).leading_zeros() as usize) / 7;
        let component = |component: &Component| match component {
            Component::Retain(chars) | Component::Delete(chars) => 1 + varint(u64::from(*chars)),
            Component::Insert(text) => 1 + varint(text.len() as u64) + text.len(),
        };
        let components = self.op.components();
        let counted: usize = components.iter().map(component).sum();
        varint(self.seq.0) + varint(self.base.0) + varint(components.len() as u64) + counted
    }
}

/// Returns a length that the bytes of such an entry do not exceed; what is over
/// [`ENTRY_BYTES_MAX`](crate::log::ENTRY_BYTES_MAX) may not fit a record.
pub fn entry_bytes_max(author: &Author, op: &Operation) -> usize {
    // Session 16; seq, base and the three counts as long as they get.
    let fixed = 16 + 10 + 10 + 3 + author.as_str().len();
    let component = |component: &Component| match component {
        Component::Retain(_) | Component::Delete(_) => 6,
        Component::Insert(text) => 6 + text.len(),
    };
    fixed + 3 + op.components().iter().map(component).sum::<usize>()
}
