//! What a control record changed, for those who follow events and count.

use crate::cluster::control::Status;
use crate::cluster::record::{Limits, Outcome, Token};
use crate::types::{Epoch, NodeId, ShardId, Timestamp};

/// Is one thing that a record changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The cluster exists.
    Founded {
        /// Its id.
        cluster: u128,
        /// Its number of shards.
        shards: u32,
    },
    /// A node is up.
    Joined {
        /// The node.
        node: NodeId,
        /// Its run.
        boot: u64,
    },
    /// The cluster follows another version of the rules from here on.
    Ruled {
        /// The version.
        rules: u16,
    },
    /// Somebody holds a node for dead.
    Voted {
        /// The node.
        node: NodeId,
        /// Who.
        by: NodeId,
    },
    /// The node was heard of, and the votes against it are off.
    Heard {
        /// The node.
        node: NodeId,
    },
    /// A node is not up any more.
    Gone {
        /// The node.
        node: NodeId,
        /// The run that ended.
        boot: u64,
        /// How.
        status: Status,
    },
    /// A node that was gone longest is forgotten to make room.
    Forgotten {
        /// The node.
        node: NodeId,
    },
    /// A shard has another ownership.
    Owned {
        /// The shard.
        shard: ShardId,
        /// The owner.
        node: NodeId,
        /// Its ownership.
        epoch: Epoch,
    },
    /// A shard has no owner any more.
    Disowned {
        /// The shard.
        shard: ShardId,
        /// Who owned it.
        node: NodeId,
    },
    /// A move has begun.
    MoveBegun {
        /// The shard.
        shard: ShardId,
        /// Its owner.
        from: NodeId,
        /// Where it goes.
        to: NodeId,
    },
    /// A move has ended.
    MoveEnded {
        /// The shard.
        shard: ShardId,
        /// Its owner when it began.
        from: NodeId,
        /// Where it was to go.
        to: NodeId,
        /// How.
        outcome: Outcome,
    },
    /// The placement of shards is another one.
    Placed {
        /// Which shards.
        shards: Vec<ShardId>,
    },
    /// A node has another weight.
    Weighted {
        /// The node.
        node: NodeId,
        /// Its weight.
        weight: u32,
    },
    /// A shard is kept on a node.
    Pinned {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// A shard is not kept on a node any more.
    Unpinned {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// A node is being emptied.
    Draining {
        /// The node.
        node: NodeId,
        /// When it is to be empty.
        deadline: Option<Timestamp>,
    },
    /// A node takes shards again.
    Undrained {
        /// The node.
        node: NodeId,
    },
    /// Other limits hold.
    Limited(Limits),
    /// No move begins any more.
    Paused,
    /// Moves begin again.
    Resumed,
    /// The latency guard is on.
    GuardOn,
    /// The latency guard is off.
    GuardOff,
    /// Tokens are invalid.
    Revoked {
        /// Which.
        token: Token,
    },
    /// The state was not what a snapshot says, which counts.
    Corrected,
    /// A snapshot counts: what is before it need not be read any more.
    Snapshot,
}
