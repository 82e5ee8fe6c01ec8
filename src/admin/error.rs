//! Why an operator is refused; each message is a reason, a colon, and the next step.

use axum::http::StatusCode;

use crate::cluster::{Refusal, Void, WriteError};
use crate::types::{DocId, ShardId};

/// Tells why what an operator asks for is not done; nothing has changed but where it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The cluster would not take the command.
    #[error(transparent)]
    Cluster(#[from] Refusal),
    /// The request is not one that this port takes.
    #[error("{what}: see `quire help` for what there is, and whether both are of one version")]
    BadRequest {
        /// What is wrong with it.
        what: String,
    },
    /// A text is no node name.
    #[error("{text:?} is no name of a node: `quire nodes` lists them")]
    BadNode {
        /// The text.
        text: String,
    },
    /// A text is neither a shard nor a document.
    #[error("{text:?} is neither a shard nor a document: write a number, or a document's id")]
    BadTarget {
        /// The text.
        text: String,
    },
    /// An operator's name or reason does not fit a record.
    #[error("the {which} is too long, empty or has control characters: write at most {max} bytes")]
    BadText {
        /// Which of the two.
        which: &'static str,
        /// How long it may be.
        max: usize,
    },
    /// Nobody has ever written the document.
    #[error(
        "there is no document {doc}: check the spelling; a new one of this id would be on shard \
         {shard}"
    )]
    UnknownDocument {
        /// The document.
        doc: DocId,
        /// Where it would be.
        shard: ShardId,
    },
    /// Whether somebody has written the document is not known.
    #[error(
        "whether there is a document {doc} could not be checked, its owner does not tell: try \
         again, or name its shard, which is {shard}"
    )]
    UncheckedDocument {
        /// The document.
        doc: DocId,
        /// Where it is, if it is.
        shard: ShardId,
    },
    /// The node hears nothing of the cluster.
    #[error(
        "this node does not hear of itself any more, so nothing can be changed here: ask another \
         node, or look at the brokers"
    )]
    Suspended,
    /// The record was written, or not.
    #[error("{0}")]
    NotKnown(String),
    /// The node is no member of a cluster.
    #[error(
        "this node is alone, so that there are no other nodes, moves or limits of them: ask a node \
         of a cluster, or start this one with --peer-listen"
    )]
    Alone,
    /// A text names no token and no subject.
    #[error("{what}: it stands in the token, see `quire token inspect`")]
    BadToken {
        /// What a name is.
        what: String,
    },
    /// A text is no time.
    #[error("{text:?} is no time: write one as 2026-11-28T14:10:02Z")]
    BadTime {
        /// The text.
        text: String,
    },
    /// The end of a revocation is too far away.
    #[error("nothing is revoked for longer than {days} days: give a nearer --until, or none")]
    TooLasting {
        /// How many days.
        days: u64,
    },
    /// The place in a list is none.
    #[error("there is no such place in the list: begin without --after, 1 to {max} at once")]
    BadPart {
        /// How many there are at once at most.
        max: usize,
    },
    /// The list of what is revoked was not written.
    #[error(
        "it is not revoked, for the list could not be written ({reason}): see to the data folder, \
         then give the command again"
    )]
    NotKept {
        /// Why.
        reason: String,
    },
    /// A page of a browser asks.
    #[error("a page in a browser may not use this port: use the command line")]
    Browser,
    /// The port is asked by a name that anybody could make point to it.
    #[error(
        "this port is not asked by this name, which may be of somebody else: ask by the node's \
         address, or list the name in admin.hosts"
    )]
    Host,
    /// There is nothing at the address.
    #[error("there is nothing at this address: see `quire help` for what there is")]
    NoAddress,
}

/// What a command is told whose record is not read back in time.
pub(crate) const LATE: &str = "the record was not read back in time, and may still count: look at \
    `quire status`, and at the brokers, before you repeat it";

impl Refused {
    /// Returns the status that says it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Cluster(Refusal::Void(void)) => match void {
                Void::UnknownNode { .. } | Void::UnknownShard { .. } => StatusCode::NOT_FOUND,
                Void::WeightRange { .. } | Void::LimitsRange { .. } => StatusCode::BAD_REQUEST,
                _ => StatusCode::CONFLICT,
            },
            Self::Cluster(Refusal::NameTaken { .. }) => StatusCode::CONFLICT,
            Self::BadRequest { .. }
            | Self::BadNode { .. }
            | Self::BadTarget { .. }
            | Self::BadText { .. }
            | Self::BadToken { .. }
            | Self::BadTime { .. }
            | Self::TooLasting { .. }
            | Self::BadPart { .. } => StatusCode::BAD_REQUEST,
            Self::Alone => StatusCode::CONFLICT,
            Self::UnknownDocument { .. } | Self::NoAddress => StatusCode::NOT_FOUND,
            Self::Suspended | Self::UncheckedDocument { .. } | Self::NotKept { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::NotKnown(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Browser => StatusCode::FORBIDDEN,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
        }
    }

    /// Returns the reason and the next step.
    pub(crate) fn parts(&self) -> (String, String) {
        let text = self.to_string();
        match text.split_once(": ") {
            Some((reason, next)) => (reason.to_owned(), next.to_owned()),
            None => (text, String::new()),
        }
    }
}

impl From<WriteError> for Refused {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Void(void) => Self::Cluster(void.into()),
            other @ (WriteError::Append(_) | WriteError::Forgotten | WriteError::Ended) => {
                Self::NotKnown(other.to_string())
            }
        }
    }
}
