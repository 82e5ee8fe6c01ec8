//! Tells a watcher what one client saw and did, in its order: for histories that an audit reads.

use std::fmt;
use std::sync::Arc;

use crate::types::{DocId, ParticipantId, Revision, Seq};

/// Is what a client saw or did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The server answered the hello: it goes on behind `rev`, the client is at `head` now, and
    /// the session's batches up to `seq` are durable.
    Welcome {
        /// The revision that the missed ones follow.
        rev: Revision,
        /// The revision that the client has now.
        head: Revision,
        /// The session's last durable batch.
        seq: Seq,
    },
    /// A batch was sent, perhaps again.
    Sent {
        /// Its number.
        seq: Seq,
        /// The revision that it was made on.
        base: Revision,
    },
    /// A batch was acknowledged.
    Ack {
        /// Its number.
        seq: Seq,
        /// The revision that it became.
        rev: Revision,
    },
    /// Revisions of others were shown.
    Op {
        /// The first.
        first: Revision,
        /// The last.
        rev: Revision,
    },
    /// The client has this text, and nothing pending.
    Text {
        /// The revision.
        rev: Revision,
        /// The text.
        text: String,
    },
    /// The connection ended.
    End,
}

/// Is told what clients see; must not block and not call the client.
pub trait Observer: Send + Sync {
    /// Takes note of one thing; those of one session come in its order, but for texts.
    fn saw(&self, doc: &DocId, session: ParticipantId, seen: Seen);
}

/// Holds whoever watches a client.
#[derive(Clone)]
pub struct Watcher(pub Arc<dyn Observer>);

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}
