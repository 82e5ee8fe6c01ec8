//! Why a document does not take something: refusals for clients, failures for operators.

use std::time::Duration;

use crate::access::{Denied, TooManyMembers};
use crate::task::Panicked;
use crate::types::{Revision, Seq};

/// When a client may come back that needs history which could not be read.
const READ_RETRY: Duration = Duration::from_secs(1);

/// When a client may ask again to write where documents can only be read.
const READ_ONLY_RETRY: Duration = Duration::from_secs(30);

/// Tells a client why its request was not taken; nothing of it was applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The operation does not fit the text at its base.
    #[error("op does not fit: {detail}")]
    BadOp {
        /// What does not fit.
        detail: String,
    },
    /// The base is no revision the document can rebase from.
    #[error("base {base} is not between {oldest} and {head}: reconnect without rev")]
    BadBase {
        /// The base as sent.
        base: Revision,
        /// The oldest base that can be had.
        oldest: Revision,
        /// The newest durable revision.
        head: Revision,
    },
    /// A batch was sent before the one before it was acknowledged.
    #[error("batch {pending} is not acknowledged yet: send one batch at a time")]
    Pipelined {
        /// The batch in flight.
        pending: Seq,
    },
    /// A batch number was skipped.
    #[error("seq skipped: the next batch of this session is {expected}")]
    Gap {
        /// The number expected.
        expected: Seq,
    },
    /// The document would grow over its limit.
    #[error("the document would have {chars} characters, the limit is {limit}")]
    TooLarge {
        /// The length it would have.
        chars: u64,
        /// The limit.
        limit: u64,
    },
    /// The change by itself is longer than a record of the log may be.
    #[error("the change takes {bytes} bytes in the log, the limit is {limit}: write it in pieces")]
    TooLong {
        /// The size it would have.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The document has as many named versions as it may have.
    #[error("the document has {limit} named versions already: give one of their names again")]
    TooManyVersions {
        /// The limit.
        limit: usize,
    },
    /// The document has as many members as it may have.
    #[error(transparent)]
    TooManyMembers(TooManyMembers),
    /// Who asks may not do it.
    #[error(transparent)]
    Denied(Denied),
    /// An invariant of ours is broken; nothing of the request was applied.
    #[error("{reason}; try again")]
    Internal {
        /// What failed.
        reason: String,
    },
    /// The connection may only read.
    #[error("this connection is read-only: open it with mode edit to write")]
    ReadOnly,
    /// The document is deleted, or was never created and may not be by this client.
    #[error("there is no such document")]
    NoDocument,
    /// The document that is to be created is there already.
    #[error("the document exists already")]
    Exists,
    /// Another connection presented the same session.
    #[error("another connection took this session over")]
    Replaced,
    /// The session has another connection, which may be the newer one: it is replaced by name only.
    #[error("the session has another connection: connect again")]
    Occupied {
        /// The [`Socket`](crate::doc::Socket) that has it.
        by: u64,
    },
    /// The document's state could not be rebuilt; an operator has to look at it.
    #[error("the document is quarantined, an operator has to repair its stores: {reason}")]
    Quarantined {
        /// What was found.
        reason: String,
    },
    /// Too much waits for the log, or is in it and not covered by checkpoints; the batch was not
    /// taken and may be sent again on the same connection.
    #[error(
        "the log or the checkpoints lag behind, nothing more is taken now: send it again later"
    )]
    Full {
        /// When to try again.
        retry: Duration,
    },
    /// The document goes on somewhere else: open it again. Clients are told only where their node
    /// cannot follow.
    #[error("the document is changing its place: connect again")]
    Moved,
    /// The document cannot be served right now; a later try may succeed.
    #[error("the document is not available right now: {reason}")]
    Unavailable {
        /// What is in the way.
        reason: String,
        /// When to try again.
        retry: Duration,
    },
}

/// Tells why a query or command on a document failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The request itself cannot be fulfilled.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The revision asked for does not exist, or was cut from the history.
    #[error("revision {rev} is not in the history: it holds {oldest} to {head}")]
    NoRevision {
        /// The revision asked for.
        rev: Revision,
        /// The oldest that can be read.
        oldest: Revision,
        /// The newest.
        head: Revision,
    },
    /// What the document grants is not what whoever asks has seen.
    #[error("the document grants other rights by now: read them again, and change those")]
    OtherAccess,
    /// What was read does not agree with itself.
    #[error("the stored history is damaged, restore it from a backup: {detail}")]
    Damaged {
        /// What was found.
        detail: String,
    },
    /// A store did not answer.
    #[error("the history could not be read, try again: {detail}")]
    Store {
        /// What the store said.
        detail: String,
    },
    /// The document's actor ended before it answered; ask again.
    #[error("the document was closed meanwhile: try again")]
    Closed,
}

impl From<Panicked> for Refusal {
    fn from(panicked: Panicked) -> Self {
        Self::Internal { reason: panicked.to_string() }
    }
}

impl Refusal {
    /// Refuses to write where the log has lost records.
    pub(crate) fn only_read() -> Self {
        let reason = "the log has lost records: documents can only be read until an operator has \
                      restored it"
            .to_owned();
        Self::Unavailable { reason, retry: READ_ONLY_RETRY }
    }
}

impl Failure {
    /// Says it to a client, which tries again.
    pub(in crate::doc) fn into_refusal(self) -> Refusal {
        match self {
            Self::Refused(refusal) => refusal,
            other => Refusal::Unavailable { reason: other.to_string(), retry: READ_RETRY },
        }
    }
}
