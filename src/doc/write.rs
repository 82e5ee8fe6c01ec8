//! The document's way to the log: what it hands to its shard, and the shard's contract.

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::access::{Access, Fingerprint};
use crate::doc::{Failure, Handle};
use crate::log::EventKind;
use crate::text::Operation;
use crate::types::{Author, DocId, Epoch, Offset, Revision};

/// A record on its way to the log.
#[derive(Debug)]
pub struct Append {
    /// The document it belongs to, and who is told what became of it.
    pub from: Handle,
    /// The ownership it was made under: the writer drops it silently under any other, because the
    /// document is told of the new epoch and hands over again what is still open.
    pub epoch: Epoch,
    /// The encoded record.
    pub record: Bytes,
    /// When the document handed it over.
    pub handed: Instant,
}

/// What a document needs of its shard; implemented by the shard's handle.
///
/// For each document, in the order of the calls, the shard answers each [`Append`] through
/// [`Handle::settle`]: with `Accepted` once the record is proven accepted, or not at all and then
/// with `Reclaimed` for everything that was still open.
pub trait Shard: Send + Sync {
    /// Hands a record over to be written.
    fn append(&self, append: Append);

    /// Tells that a verified checkpoint of the document stands at `offset`: it covers every record
    /// below.
    fn stored(&self, doc: &DocId, offset: Offset);

    /// Tells that the document needs no record below `offset`, though its newest checkpoint may
    /// stand lower: what lies between is void.
    fn covered(&self, doc: &DocId, offset: Offset);

    /// Tells whether new writes are taken: not where too much is in the log that no checkpoint
    /// covers.
    fn has_room(&self) -> bool;

    /// Tells that the document has nothing to do; the shard answers with [`Handle::retire`].
    fn idle(&self, doc: &DocId);

    /// Tells that the document has got something to do after all, and was not stopped.
    fn busy(&self, doc: &DocId);
}

/// A change that does not come from a client's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// An edit by the server on somebody's behalf: an import or a restore.
    Edit {
        /// On whose behalf.
        author: Author,
        /// The revision that the operation applies to.
        base: Revision,
        /// The edit.
        op: Operation,
    },
    /// An edit that brings the text of an earlier revision back; the log tells who asked for it.
    Restore {
        /// On whose behalf.
        author: Author,
        /// The revision that the operation applies to.
        base: Revision,
        /// The edit.
        op: Operation,
        /// Which revision's text comes back.
        rev: Revision,
    },
    /// The text of a document that is deleted is to be empty at the next revision, so that the
    /// history before that has all of it.
    Blank {
        /// On whose behalf.
        author: Author,
        /// The newest revision.
        base: Revision,
    },
    /// An event of the document's life.
    Event {
        /// Who caused it.
        author: Author,
        /// What happens.
        kind: EventKind,
    },
    /// What the document grants is to be this, by as many changes as that takes.
    Grant {
        /// Who wants it.
        author: Author,
        /// What is to be granted.
        wanted: Access,
        /// It is taken only if one of these stands for what is granted before it, or what is
        /// wanted is granted already.
        expected: Option<Vec<Fingerprint>>,
    },
}

/// Where the outcome of a [`Write`] goes: the document's head once it is durable.
pub type Done = oneshot::Sender<Result<Revision, Failure>>;
