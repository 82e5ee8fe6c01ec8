//! The durable log: the truth that everything else is derived from.
//!
//! One [`Log`] holds a fixed number of shards; a shard is a sequence of opaque records with
//! offsets that grow. [`Record`] is what Quire puts into them, [`Fence`] and [`check_frame`] are
//! the one rule by which every reader tells what counts. [`Memory`] is a log for tests and trials,
//! [`Embedded`] keeps it in one file of the data folder.
//!
//! This module knows no text and no documents beyond their ids, and reads no wall clock.

mod acceptance;
mod codec;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod embedded;
mod error;
pub mod kafka;
mod marks;
mod memory;
mod metrics;
mod reader;
mod record;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::types::{LogId, Offset, ShardId};

pub use acceptance::{Fence, Position, Void, check_event, check_frame};
pub use codec::{DecodeError, ENTRIES_MAX, ENTRY_BYTES_MAX, RECORD_BYTES_MAX};
#[cfg(any(test, feature = "testing"))]
pub use embedded::{Disk, Failure};
pub use embedded::{Embedded, Options};
pub use error::{AppendError, Cause, OpenError, ReadError, Refusal};
pub use marks::{Batch, Marks, Stored};
pub use memory::Memory;
pub use metrics::Metrics;
pub use reader::{Judged, Reader, fence_at};
pub use record::{Claim, Entry, Event, EventKind, Frame, Record, Release, entry_bytes_max};

/// Resolves to a record's offset once the record is durable.
///
/// # Cancel safety
/// The record is written whether or not this is polled; dropping it forgets the answer only.
pub type Appended = BoxFuture<'static, Result<Offset, AppendError>>;

/// Keeps records in order, per shard, durably.
///
/// What every log promises, and the contract suite checks:
/// * **Order is call order.** `append` fixes the record's place before it returns; when the futures
///   are polled does not matter. Offsets of a shard grow; those of one writer that is alone and
///   meets no error are contiguous.
/// * **A reported offset is durable.** It is in the log after any crash, at that offset, until it
///   is trimmed. A record becomes readable no earlier than it is durable.
/// * **A failure tells what is known.** After `NotWritten` the record will never be there; after
///   `Unknown` it may be there, now or later. Records appended behind a failed one may well be
///   written: whether they count is for the acceptance rule to say.
/// * **A log that cannot be trusted stops.** After a failed sync nothing is acknowledged any more:
///   what was in flight is `Unknown`, what comes later is `NotWritten` with
///   [`Refusal::Stopped`].
/// * **Shards are independent** in their order and marks; they may share one sync.
#[async_trait]
pub trait Log: Send + Sync {
    /// Returns the id of the log; offsets under another id mean nothing here.
    fn id(&self) -> LogId;

    /// Returns the number of shards, fixed when the log was created.
    fn shards(&self) -> u32;

    /// Puts a record at the end of a shard.
    fn append(&self, shard: ShardId, record: Bytes) -> Appended;

    /// Returns where the shard's durable records begin and end.
    ///
    /// # Errors
    /// If there is no such shard, or the log does not answer.
    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError>;

    /// Reads durable records in order, beginning at `from`: no more than fit into `bytes_max`, but
    /// at least one if there is one. What would have to be waited for is left to the next call.
    ///
    /// # Errors
    /// [`ReadError::Trimmed`] or [`ReadError::Beyond`] if `from` is outside the marks; `from` at
    /// the high mark is an empty batch.
    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError>;

    /// Reads single records, in the order of `offsets`, which is ascending.
    ///
    /// # Errors
    /// [`ReadError::Trimmed`] or [`ReadError::Beyond`] if one of them is outside the marks.
    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError>;

    /// Waits until the record at `past` is durable: until the high mark is greater than `past`.
    ///
    /// # Cancel safety
    /// Holds nothing; it may be dropped and begun again.
    ///
    /// # Errors
    /// [`ReadError::Stopped`] if the log stops before.
    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError>;

    /// Removes the records below `before`; what is removed already stays so.
    ///
    /// # Errors
    /// [`ReadError::Beyond`] if `before` is above the high mark. After any other error a part may
    /// be gone: the low mark tells.
    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError>;

    /// Makes the bytes of what was trimmed unreadable, as far as they are in the log's hands; says
    /// where else they may be, and until when. Records may have to wait meanwhile.
    ///
    /// # Errors
    /// If it could not: nothing is lost, and it may be tried again.
    async fn scrub(&self) -> Result<Option<&'static str>, ReadError> {
        Ok(None)
    }

    /// Checks that what is there now is still the log that was opened.
    ///
    /// # Errors
    /// [`ReadError::Replaced`] if it was made anew meanwhile.
    async fn confirm(&self) -> Result<(), ReadError> {
        Ok(())
    }

    /// Writes what was appended, then stops: later calls are refused.
    async fn close(&self);
}
