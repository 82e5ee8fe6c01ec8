//! Why a record or a command does not count, each with what to do next.

use crate::cluster::record::SHARDS_MAX;
use crate::types::{NodeId, Offset, ShardId};

/// Tells why a record of the control topic changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    /// It comes before the cluster was founded.
    #[error("the cluster is not founded yet: found it by starting its first node")]
    NotFounded,
    /// The cluster exists.
    #[error("the cluster is founded already: join it, its id and its shards stay")]
    AlreadyFounded,
    /// No cluster has that many shards.
    #[error("a cluster has 1 to {SHARDS_MAX} shards, not {shards}: found it with another number")]
    ShardCount {
        /// How many were asked for.
        shards: u32,
    },
    /// Another process has the name.
    #[error("a process of boot {boot} is up as node {}: choose another name or stop it", .node.0)]
    NameTaken {
        /// The name.
        node: NodeId,
        /// The other's boot.
        boot: u64,
    },
    /// This process is up already.
    #[error("node {} is up with this boot already: go on", .node.0)]
    AlreadyUp {
        /// The node.
        node: NodeId,
    },
    /// It would judge records, or place shards, by other rules.
    #[error(
        "the cluster follows version {cluster} of the rules, the node can follow {} to {}: start a \
         version of the program that can follow {cluster}", .node.0, .node.1
    )]
    OtherRules {
        /// The least and the greatest version that the node can follow.
        node: (u16, u16),
        /// The cluster's.
        cluster: u16,
    },
    /// It could not talk to a member.
    #[error(
        "the node speaks versions {} to {} of the messages between nodes, node {} speaks {} to {}: \
         upgrade one step at a time", .node.0, .node.1, .with.0, .other.0, .other.1
    )]
    NoCommonVersion {
        /// The least and the greatest version that the node speaks.
        node: (u16, u16),
        /// The member.
        with: NodeId,
        /// What that one speaks.
        other: (u16, u16),
    },
    /// There is no room for another member.
    #[error("{members} nodes are up, and no more are allowed: stop one first")]
    TooManyMembers {
        /// How many are up.
        members: usize,
    },
    /// That run of the node is not up.
    #[error("node {} is not up with boot {boot}: if it runs, it has to join again", .node.0)]
    NotUp {
        /// The node.
        node: NodeId,
        /// The boot.
        boot: u64,
    },
    /// A node votes on itself.
    #[error("node {} votes on itself: let it leave instead", .node.0)]
    OwnVote {
        /// The node.
        node: NodeId,
    },
    /// All that it tells of is known, or older than what is known.
    #[error("a newer ownership of every shard named is known: read on and look again")]
    OldEpoch,
    /// The node does not own what it speaks of.
    #[error("node {} does not own shard {shard}: read on and look who does", .node.0)]
    NotOwner {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The placement wants the shard elsewhere.
    #[error("the placement of shard {shard} is not node {}: read on and plan again", .to.0)]
    NotPlaced {
        /// The shard.
        shard: ShardId,
        /// The node.
        to: NodeId,
    },
    /// The shard is where it is to go.
    #[error("shard {shard} is on node {} already: nothing is to be done", .node.0)]
    AlreadyThere {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// The shard moves.
    #[error("a move of shard {shard} has begun already: wait for its end")]
    AlreadyMoving {
        /// The shard.
        shard: ShardId,
    },
    /// There is no such move to end.
    #[error("no such move of shard {shard} has begun: nothing is to be ended")]
    NotMoving {
        /// The shard.
        shard: ShardId,
    },
    /// An operator has stopped moves.
    #[error("moves are paused: resume them first")]
    Paused,
    /// The latency guard has stopped moves.
    #[error("moves are stopped by the latency guard: wait until acknowledgements are fast again")]
    Guarded,
    /// A node takes part in enough moves.
    #[error("node {} takes part in {moves} moves: wait, or raise `quire limits --node`", .node.0)]
    NodeLimit {
        /// The node.
        node: NodeId,
        /// How many.
        moves: u32,
    },
    /// The cluster has enough moves.
    #[error("{moves} moves have begun: wait, or raise `quire limits --cluster`")]
    ClusterLimit {
        /// How many.
        moves: u32,
    },
    /// There is no such node.
    #[error("there is no node {}: see the names in the list of nodes", .node.0)]
    UnknownNode {
        /// The name.
        node: NodeId,
    },
    /// There is no such shard.
    #[error("there is no shard {shard}: the cluster has {shards}, and the first is 0")]
    UnknownShard {
        /// The shard.
        shard: ShardId,
        /// How many there are.
        shards: u32,
    },
    /// The node that a command is about is down.
    #[error("node {} is down: start it, or choose one that is up", .node.0)]
    NodeDown {
        /// The node.
        node: NodeId,
    },
    /// The node that is to take a shard is being emptied.
    #[error("node {} is being drained: undrain it, or choose another one", .node.0)]
    NodeDraining {
        /// The node.
        node: NodeId,
    },
    /// The node is not being emptied.
    #[error("node {} is not being drained: nothing is to be undone", .node.0)]
    NotDraining {
        /// The node.
        node: NodeId,
    },
    /// No node would be left to take the shards.
    #[error("node {} is the last that takes shards: start or undrain another one first", .node.0)]
    LastNode {
        /// The node.
        node: NodeId,
    },
    /// The shard is pinned elsewhere.
    #[error("shard {shard} is pinned to node {}: unpin it first, or pin it anew", .node.0)]
    Pinned {
        /// The shard.
        shard: ShardId,
        /// Where.
        node: NodeId,
    },
    /// The shard is not pinned.
    #[error("shard {shard} is not pinned: nothing is to be undone")]
    NotPinned {
        /// The shard.
        shard: ShardId,
    },
    /// No node has such a weight.
    #[error("a weight is 1 to 100, not {weight}: 10 is usual; to empty a node, drain it")]
    WeightRange {
        /// The weight.
        weight: u32,
    },
    /// No limits are like that.
    #[error(
        "the limits are 1 to 100 moves a node and 1 to 1000 in all, not {per_node} and {cluster}: \
         to stop moves, pause them"
    )]
    LimitsRange {
        /// Of a node.
        per_node: u32,
        /// In all.
        cluster: u32,
    },
    /// The list of what is revoked is full.
    #[error(
        "{count} revocations are in force, and no more fit: revoke a subject instead of its tokens \
         one by one, or replace the key that tokens are signed with, and auth.secret-file"
    )]
    TooManyRevoked {
        /// How many.
        count: usize,
    },
    /// The placement is not the one that the command was made for.
    #[error("the placement has changed at offset {changed_at}: look at the plan again")]
    Stale {
        /// When it changed.
        changed_at: Offset,
    },
    /// Other records came between a snapshot's state and the snapshot.
    #[error("records came between the state of the snapshot and the snapshot: write it again")]
    SnapshotLate,
    /// A snapshot's state does not decode.
    #[error("the state of the snapshot does not decode: begin at another one")]
    SnapshotUnreadable,
}

/// Tells why something that was asked of the cluster is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// As a record it would be void.
    #[error(transparent)]
    Void(#[from] Void),
    /// The process may not take the node name.
    #[error("node {} is alive with boot {boot}: choose another name or stop that one", .node.0)]
    NameTaken {
        /// The name.
        node: NodeId,
        /// The boot of the process that has it.
        boot: u64,
    },
}
