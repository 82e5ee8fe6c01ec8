//! A log around another one, which does what that one does but for what is said otherwise.

use async_trait::async_trait;
use bytes::Bytes;

use crate::log::{Appended, Batch, Log, Marks, ReadError, Stored};
use crate::types::{LogId, Offset, ShardId};

/// Says what a log does otherwise than the one that it is around; who implements it is a [`Log`].
#[async_trait]
pub trait Around: Send + Sync {
    /// Returns the log that it is around.
    fn inner(&self) -> &dyn Log;

    /// As [`Log::append`].
    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        self.inner().append(shard, record)
    }

    /// As [`Log::marks`].
    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        self.inner().marks(shard).await
    }

    /// As [`Log::read`].
    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        self.inner().read(shard, from, bytes_max).await
    }

    /// As [`Log::fetch`].
    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        self.inner().fetch(shard, offsets).await
    }

    /// As [`Log::wait`].
    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError> {
        self.inner().wait(shard, past).await
    }

    /// As [`Log::trim`].
    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        self.inner().trim(shard, before).await
    }

    /// As [`Log::scrub`].
    async fn scrub(&self) -> Result<Option<&'static str>, ReadError> {
        self.inner().scrub().await
    }

    /// As [`Log::confirm`].
    async fn confirm(&self) -> Result<(), ReadError> {
        self.inner().confirm().await
    }

    /// As [`Log::close`].
    async fn close(&self) {
        self.inner().close().await;
    }
}

#[async_trait]
impl<T: Around> Log for T {
    fn id(&self) -> LogId {
        self.inner().id()
    }

    fn shards(&self) -> u32 {
        self.inner().shards()
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        Around::append(self, shard, record)
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        Around::marks(self, shard).await
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        Around::read(self, shard, from, bytes_max).await
    }

    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        Around::fetch(self, shard, offsets).await
    }

    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError> {
        Around::wait(self, shard, past).await
    }

    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        Around::trim(self, shard, before).await
    }

    async fn scrub(&self) -> Result<Option<&'static str>, ReadError> {
        Around::scrub(self).await
    }

    async fn confirm(&self) -> Result<(), ReadError> {
        Around::confirm(self).await
    }

    async fn close(&self) {
        Around::close(self).await;
    }
}
