//! What nodes say to each other while a shard moves; how it travels is not known here.

use async_trait::async_trait;

use crate::types::{NodeId, Offset, ShardId};

/// Takes shards over: what an owner asks the next one.
#[async_trait]
pub trait Heirs: Send + Sync {
    /// Reads what the shard will need, and returns once this node could claim it at once.
    ///
    /// # Errors
    /// Why this node does not take the shard, in at most 128 bytes.
    async fn warm(&self, from: NodeId, shard: ShardId) -> Result<(), String>;

    /// Claims a shard whose release is in the log at `offset`, and returns once it is served.
    ///
    /// # Errors
    /// Why it is not, in at most 128 bytes.
    async fn released(&self, from: NodeId, shard: ShardId, offset: Offset) -> Result<(), String>;
}

/// Reaches the [`Heirs`] of other nodes.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Asks `to` to warm up, and waits until it is warm.
    ///
    /// # Errors
    /// [`PeerError`].
    async fn warm(&self, to: &NodeId, shard: ShardId) -> Result<(), PeerError>;

    /// Tells `to` that a shard is released, and waits until it is served there.
    ///
    /// # Errors
    /// [`PeerError`].
    async fn released(&self, to: &NodeId, shard: ShardId, offset: Offset) -> Result<(), PeerError>;
}

/// Tells why another node has not done what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It will not.
    #[error("it refuses: {0}")]
    Refused(String),
    /// It cannot be reached, or the link was cut before it answered.
    #[error("the link to it is cut")]
    Gone,
}
