//! What can be wrong with the stream of messages that a replica is given.

use crate::text::OutOfBounds;
use crate::types::{Revision, Seq};

/// Tells that the server's messages do not fit together: reconnect, or give up where it repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// A revision is not the one after the last.
    #[error("revision {got} came where {expected} was due")]
    Gap {
        /// The revision that was due.
        expected: Revision,
        /// The revision that came.
        got: Revision,
    },
    /// The server's document is older than what it had sent before.
    #[error("the server is at revision {head}, but had sent revision {had}")]
    Backwards {
        /// The last revision that the replica has.
        had: Revision,
        /// The server's last revision.
        head: Revision,
    },
    /// The server has a batch of this session, but left it out of the revisions it sent.
    #[error("batch {0} is durable, but not among the missed revisions")]
    MissingOwn(Seq),
    /// Several revisions came as one while own edits are pending.
    #[error("revisions came merged, which a replica with pending edits cannot rebase over")]
    MergedOverEdits,
    /// A message came before the welcome.
    #[error("a message came before the welcome")]
    NotWelcomed,
    /// An operation does not fit the text.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
}
