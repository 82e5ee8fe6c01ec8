//! What goes into a replica and comes out of it: plain values, no encoding.

use crate::text::Operation;
use crate::types::{Revision, Seq};

/// Is one batch of edits for the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number within the session.
    pub seq: Seq,
    /// The revision it applies to.
    pub base: Revision,
    /// The edits.
    pub op: Operation,
}

/// Tells what the caller has to do now.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// Changes of the view that the user did not make, one after the other: not to be undone by
    /// the user, carets go through them staying left.
    pub show: Vec<Operation>,
    /// A batch to send.
    pub send: Option<Batch>,
}

/// Is what the server answers to the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The server's last revision, which the replica has after this.
    pub head: Revision,
    /// The last batch of this session that is durable, 0 if none.
    pub seq: Seq,
    /// The most text that one batch may insert, in bytes.
    pub op_bytes: usize,
    /// How the replica gets there.
    pub snapshot: Snapshot,
}

/// Is how a replica gets to the server's last revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    /// The text at it.
    Text(String),
    /// The revisions after `after`, up to it.
    Missed {
        /// The revision that the replica had.
        after: Revision,
        /// The revisions after it.
        list: Vec<Missed>,
    },
}

/// Is a revision that was accepted while the replica was not connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The revision its author had.
    pub base: Revision,
    /// What it does.
    pub op: Operation,
    /// The batch it is, where it is of this session.
    pub own: Option<Seq>,
}
