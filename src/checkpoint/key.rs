//! The keys under which a store keeps things, and a shard's progress.

use std::fmt;

use bytes::Bytes;

use crate::types::{DocId, Epoch, LogId, Offset, Revision};

/// Names a checkpoint, in the order of age: two of one revision stand at different offsets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckpointId {
    /// The document.
    pub doc: DocId,
    /// Its revision.
    pub revision: Revision,
    /// The offset it stands at.
    pub offset: Offset,
}

/// Is a manifest as a store returns it: not yet looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredManifest {
    /// The key it was stored under.
    pub id: CheckpointId,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Names bytes that are stored in chunks; the hash keeps different bytes apart for ever.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobId {
    /// The document.
    pub doc: DocId,
    /// What the bytes are.
    pub kind: BlobKind,
    /// The revision of the checkpoint, or the first revision of the segment.
    pub revision: Revision,
    /// The XXH3 hash of the bytes.
    pub hash: u64,
}

impl fmt::Display for BlobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            BlobKind::Body => "body",
            BlobKind::Segment => "segment",
        };
        write!(f, "{kind} of revision {} ({:016x})", self.revision, self.hash)
    }
}

/// Tells what a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlobKind {
    /// The body of a checkpoint.
    Body,
    /// A sealed segment.
    Segment,
}

/// Tells how far a shard's log is covered: no record below `low_water` is needed to open any
/// document of the shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The log that the offset belongs to.
    pub log: LogId,
    /// The first offset that some verified checkpoint does not cover.
    pub low_water: Offset,
    /// The epoch in force at `low_water`, if any: the claim itself may be trimmed.
    pub epoch: Option<Epoch>,
    /// Tells whether that epoch was released.
    pub released: bool,
}
