//! Checkpoints: what bounds the replay of a document, the pieces of its history, and how far a
//! shard's log is covered.
//!
//! A checkpoint is a **manifest** ([`Manifest`]: where in the log it stands, what it is made of)
//! and a **body** (the live segment, the sessions, the last revisions), cut into chunks of
//! [`CHUNK_BYTES`]. Sealed segments are stored once, each as a chunked **blob** like the bodies,
//! and listed in the manifests. [`save`] and [`load`] hold the protocol; a [`Store`] only keeps
//! bytes under keys, so that one without transactions is enough:
//!
//! ```text
//! save   look for a conflict -> chunks, in parallel -> manifest -> read all of it back
//!        -> remove what is older than the one before -> sweep blobs that no manifest names
//! load   manifests, newest first -> the first whose chunks are all there and whose hash holds
//! ```
//!
//! * Nothing that a manifest names is ever overwritten by something else: a blob's id carries the
//!   hash of its bytes, and a manifest's the offset it stands at. Two owners who save one revision
//!   (one of them stale) thus never damage each other's chunks, and a repeated save heals.
//! * A crash between the chunks and the manifest leaves chunks that no manifest names. They are
//!   never read; the next save of a later revision sweeps them, and so does [`erase`].
//! * Segments are opaque here: this module knows no text and no diamond-types.

mod body;
mod chunks;
mod column;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod copy;
pub mod cql;
mod embedded;
mod error;
mod key;
mod load;
mod manifest;
mod memory;
mod save;
mod snapshot;
mod window;

use async_trait::async_trait;
use bytes::Bytes;

use crate::types::{DocId, LogId, ShardId};

pub use chunks::{CHUNK_BYTES, load_blob, load_segment, save_segment};
pub use copy::{Copied, copy};
pub use embedded::Embedded;
pub use error::{Damage, DecodeError, Error, OpenError, StoreError};
pub use key::{BlobId, BlobKind, CheckpointId, Progress, StoredManifest};
pub use load::{Loaded, load};
pub use manifest::{BODY_BYTES_MAX, MANIFEST_BYTES_MAX, Manifest};
pub use memory::Memory;
pub use save::{Saved, erase, save};
pub use snapshot::{Life, NamedVersion, SealedSegment, SessionRow, Snapshot, WindowRow};

/// Keeps the bytes of checkpoints and segments, and the progress of shards.
///
/// What every store does:
/// * Every write may be repeated, in part or as a whole, and then changes nothing; a write that
///   fails may have been done all the same.
/// * When `put_manifest` has returned, the manifest and every chunk put before it are durable.
///   A chunk by itself need not be. `advance` is durable when it returns.
/// * A read sees every write that returned before it began.
/// * There is no order between two documents, and no transaction over two calls.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores one chunk of a blob, from 0; one with the same number is replaced.
    ///
    /// # Errors
    /// If the store cannot: see [`StoreError`], here and below.
    async fn put_chunk(&self, blob: &BlobId, index: u32, bytes: Bytes) -> Result<(), StoreError>;

    /// Returns one chunk of a blob, or none if it is not there.
    ///
    /// # Errors
    /// If the store cannot tell.
    async fn chunk(&self, blob: &BlobId, index: u32) -> Result<Option<Bytes>, StoreError>;

    /// Lists the blobs of a document of which any chunk is stored, whether named by a manifest or
    /// not. It costs by their number, not by their bytes.
    ///
    /// # Errors
    /// If the store cannot tell.
    async fn blobs(&self, doc: &DocId) -> Result<Vec<BlobId>, StoreError>;

    /// Removes all chunks of a blob, if there are any.
    ///
    /// # Errors
    /// If the store cannot.
    async fn remove_blob(&self, blob: &BlobId) -> Result<(), StoreError>;

    /// Stores a manifest, and makes the chunks put before it durable.
    ///
    /// # Errors
    /// If the store cannot.
    async fn put_manifest(&self, id: &CheckpointId, bytes: Bytes) -> Result<(), StoreError>;

    /// Returns a document's manifests: the highest revision first, at one revision the highest
    /// offset first, at most `limit`.
    ///
    /// # Errors
    /// If the store cannot tell.
    async fn manifests(&self, doc: &DocId, limit: usize)
    -> Result<Vec<StoredManifest>, StoreError>;

    /// Removes a manifest, if it is there.
    ///
    /// # Errors
    /// If the store cannot.
    async fn remove_manifest(&self, id: &CheckpointId) -> Result<(), StoreError>;

    /// Returns how far a shard's log is covered by checkpoints. Progress in another log is void:
    /// it is kept apart and not seen, whatever its offset.
    ///
    /// # Errors
    /// If the store cannot tell.
    async fn progress(&self, shard: ShardId, log: LogId) -> Result<Option<Progress>, StoreError>;

    /// Moves a shard's progress in `progress.log` forward: the highest low-water wins, whatever
    /// the order of the calls; a lower or equal one changes nothing and is no error.
    ///
    /// # Errors
    /// If the store cannot.
    async fn advance(&self, shard: ShardId, progress: Progress) -> Result<(), StoreError>;

    /// Lists the logs of which progress is kept, each once.
    ///
    /// # Errors
    /// If the store cannot tell.
    async fn logs(&self) -> Result<Vec<LogId>, StoreError>;

    /// Lists documents that have a manifest, each once, in an order of the store's own: at most
    /// `limit` of those after `after`. An empty answer is the end.
    ///
    /// # Errors
    /// If the store cannot tell.
    async fn docs(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError>;

    /// Makes the bytes of what was removed unreadable, as far as they are in the store's hands;
    /// says where else they may be, and until when. Writes may have to wait meanwhile.
    ///
    /// # Errors
    /// If the store could not: nothing is lost, and it may be tried again.
    async fn scrub(&self) -> Result<Option<&'static str>, StoreError> {
        Ok(None)
    }

    /// Makes everything durable and releases what the store holds; every later call answers
    /// [`StoreError::Closed`].
    ///
    /// # Errors
    /// If the store cannot.
    async fn close(&self) -> Result<(), StoreError>;
}
