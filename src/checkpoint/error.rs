//! What can go wrong with checkpoints, by what the caller has to do about it.

use std::path::PathBuf;
use std::sync::Arc;

use crate::task::Panicked;
use crate::types::{DocId, Revision};

/// Tells why a store did not do what it was asked to.
///
/// Every write of a store may be repeated: after any of these it may or may not have been done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Nothing can be written until someone makes room; what is stored is readable.
    #[error("no space is left for checkpoints: make room on the disk that holds them")]
    NoSpace,
    /// The store failed or did not answer: try again later.
    #[error("the checkpoint store failed: {reason}")]
    Failed {
        /// What the store said.
        reason: Arc<str>,
    },
    /// The store was closed: this process is on its way out.
    #[error("the checkpoint store is closed")]
    Closed,
}

/// Tells why bytes are no manifest or body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A newer program wrote them: they are not damaged, but cannot be read here.
    #[error("format {found} is newer than this program: run the program that wrote it")]
    Newer {
        /// The format they claim.
        found: u8,
    },
    /// They end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// Their checksum does not hold.
    #[error("the checksum does not hold")]
    Checksum,
    /// They claim to be longer than any checkpoint is.
    #[error("the bytes claim to be longer than allowed")]
    TooLong,
    /// They hold something that is never written.
    #[error("the bytes hold {0}")]
    Invalid(&'static str),
}

/// Tells what is wrong with something that is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The manifest is gone.
    #[error("the manifest is missing")]
    NoManifest,
    /// The manifest cannot be read.
    #[error("the manifest cannot be read")]
    Manifest(#[source] DecodeError),
    /// The manifest is one of another document, revision or offset, or another save of the same
    /// revision took its place.
    #[error("the manifest belongs to another checkpoint")]
    Misplaced,
    /// A chunk is gone.
    #[error("chunk {index} is missing")]
    Chunk {
        /// Which one, from 0.
        index: u32,
    },
    /// The chunks are not those that were written.
    #[error("the chunks do not have the hash they were stored with")]
    Hash,
    /// The chunks are those that were written, and cannot be read all the same.
    #[error("the body cannot be read")]
    Body(#[source] DecodeError),
}

/// Tells why a checkpoint or segment was not saved or not loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store did not do its part: try again later.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An invariant of ours is broken: nothing was stored.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// Another checkpoint of this revision has another text: raise an alarm and quarantine the
    /// document; one of its owners does not follow the log.
    #[error("{doc} at {revision} has text {ours:016x} here and {stored:016x} in its checkpoint")]
    Conflict {
        /// The document.
        doc: DocId,
        /// The revision of both.
        revision: Revision,
        /// The hash of the text in the store.
        stored: u64,
        /// The hash of the text that was to be saved.
        ours: u64,
    },
    /// What was written does not read back: nothing older was removed, try again.
    #[error("the checkpoint of {doc} at {revision} does not read back")]
    NotVerified {
        /// The document.
        doc: DocId,
        /// The revision that was saved, or the first one of the segment.
        revision: Revision,
        /// What was found.
        source: Damage,
    },
    /// The newest checkpoints are damaged: what they held beyond older ones would be lost.
    #[error(
        "{skipped} newer checkpoints of {doc} are damaged: serve the old log until it is saved"
    )]
    Skipped {
        /// The document.
        doc: DocId,
        /// How many.
        skipped: u32,
    },
    /// A newer checkpoint is in the way.
    #[error("{doc} is there already, at revision {revision}: move to an empty store")]
    Taken {
        /// The document.
        doc: DocId,
        /// The revision that was found.
        revision: Revision,
    },
    /// There are checkpoints and none can be read: rebuild from the log if it reaches back far
    /// enough, else quarantine the document.
    #[error("none of the {skipped} checkpoints of {doc} can be read")]
    AllDamaged {
        /// The document.
        doc: DocId,
        /// How many there are.
        skipped: u32,
        /// What is wrong with the newest.
        source: Damage,
    },
    /// A sealed segment cannot be read: what it holds of the history is lost, the text is not.
    #[error("the segment of {doc} that begins at {base} cannot be read")]
    Segment {
        /// The document.
        doc: DocId,
        /// The first revision of the segment.
        base: Revision,
        /// What is wrong with it.
        source: Damage,
    },
    /// A newer program wrote the newest checkpoint: this one must not go on from an older one.
    #[error("a newer program wrote the checkpoint of {doc} (format {found}): run that one")]
    Newer {
        /// The document.
        doc: DocId,
        /// The format it is written in.
        found: u8,
    },
    /// The checkpoint is over a limit: seal the segment, or refuse what makes the document grow.
    #[error("the checkpoint of {doc} takes {bytes} bytes, over the limit of {limit}")]
    TooLarge {
        /// The document.
        doc: DocId,
        /// What it would take.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// Tells why the embedded store cannot be opened; the file is left as it is.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A newer program wrote the file.
    #[error("{path} is of format {found}, this program knows {known}: run a newer program")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format that can be read.
        known: u64,
    },
    /// Another process has the file open.
    #[error("{path} is in use by another process: stop it or choose another data folder")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The file or its folder cannot be written.
    #[error("{path} cannot be written: allow this user to write it or choose another data folder")]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path} is not a checkpoint store: move it away or choose another data folder")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("no space is left for {path}: make room on its disk")]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// The file is damaged.
    #[error("{path} is damaged ({reason}): restore it from a backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The machine failed.
    #[error("{path} cannot be opened")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the machine said.
        source: std::io::Error,
    },
}
