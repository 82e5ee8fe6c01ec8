//! What a node does for another one that gives it a shard.

use async_trait::async_trait;

use crate::types::{NodeId, Offset, ShardId};

/// Takes shards over; asked by the node that gives them up.
///
/// The texts say why something was not done; more than 128 bytes of them are not carried.
#[async_trait]
pub trait Heirs: Send + Sync {
    /// Reads what is needed to serve a shard soon after its release.
    ///
    /// # Errors
    /// Why it is not warmed up: the shard stays where it is.
    async fn warm(&self, from: NodeId, shard: ShardId) -> Result<(), String>;

    /// Claims a shard that `from` has released with the record at `offset`.
    ///
    /// # Errors
    /// Why it is not claimed.
    async fn released(&self, from: NodeId, shard: ShardId, offset: Offset) -> Result<(), String>;
}
