//! What the control records add up to: plain data, and the questions about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::cluster::control::Revoked;
use crate::cluster::error::Void;
use crate::cluster::record::{Addresses, Founded, Limits, Version};
use crate::types::{Epoch, NodeId, Offset, ShardId, Timestamp};

/// Is the whole state; the order of everything in it is fixed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::cluster) struct State {
    pub(in crate::cluster) founded: Option<Founded>,
    /// The version of the rules in force.
    pub(in crate::cluster) rules: Option<u16>,
    pub(in crate::cluster) members: BTreeMap<NodeId, Member>,
    /// As many as the cluster was founded with.
    pub(in crate::cluster) shards: Vec<Shard>,
    pub(in crate::cluster) pins: BTreeMap<ShardId, Pin>,
    pub(in crate::cluster) revoked: Arc<Revoked>,
    pub(in crate::cluster) limits: Limits,
    pub(in crate::cluster) paused: bool,
    pub(in crate::cluster) guard: bool,
    pub(in crate::cluster) placement_changed_at: Option<Offset>,
}

/// Is a node that has joined at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its last run.
    pub boot: u64,
    /// Whether it is up.
    pub status: Status,
    /// Where it listens.
    pub addresses: Addresses,
    /// Its share of the shards.
    pub weight: u32,
    /// The weight that it joined with: joining again with the same keeps an operator's.
    pub configured_weight: u32,
    /// What it understands.
    pub version: Version,
    /// When it joined: information, never order.
    pub joined_at: Timestamp,
    /// Whether it is being emptied.
    pub drain: Option<Drain>,
    /// How busy it said it was.
    pub load: Option<Load>,
    /// Who holds it for dead.
    pub votes: BTreeSet<NodeId>,
}

/// Tells whether a member is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// It is.
    Up,
    /// Others hold it for dead.
    Down,
    /// It went of its own accord.
    Left,
}

/// Says that a node is being emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// When it is to be empty.
    pub deadline: Option<Timestamp>,
}

/// Tells how busy a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// The 99th percentile of its acknowledgements lately; of few, how long the oldest batch has
    /// waited for one. Zero where nothing is known.
    pub ack_p99: Duration,
    /// Its sessions.
    pub sessions: u32,
    /// Its open documents.
    pub documents: u32,
}

/// Keeps a shard on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The node.
    pub node: NodeId,
    /// For how long.
    pub lasts: Lasts,
}

/// Tells how long a pin lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lasts {
    /// Until somebody takes it away.
    Always,
    /// Until the shard is there, or the node goes down: an operator's move.
    UntilThere,
}

/// Tells who owns a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The node, which is up.
    pub node: NodeId,
    /// Its run.
    pub boot: u64,
    /// The ownership.
    pub epoch: Epoch,
}

/// Is a planned move that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The shard.
    pub shard: ShardId,
    /// Its owner.
    pub from: NodeId,
    /// The owner's run.
    pub from_boot: u64,
    /// Where it goes.
    pub to: NodeId,
    /// When it began: information, never order.
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::cluster) struct Shard {
    pub(in crate::cluster) placed: Option<NodeId>,
    /// A member that is up; its epoch is the one below.
    pub(in crate::cluster) owner: Option<NodeId>,
    /// The newest ownership known, ended or not.
    pub(in crate::cluster) epoch: Option<Epoch>,
    /// Where the owner moves it, and since when.
    pub(in crate::cluster) moving: Option<(NodeId, Timestamp)>,
    /// How many moves of it were undone since it last arrived somewhere.
    pub(in crate::cluster) undone: u32,
}

impl Member {
    /// Tells whether the member is up.
    pub fn is_up(&self) -> bool {
        match self.status {
            Status::Up => true,
            Status::Down | Status::Left => false,
        }
    }
}

impl State {
    pub(in crate::cluster) fn shard(&self, id: ShardId) -> Option<&Shard> {
        self.shards.get(usize::try_from(id.0).ok()?)
    }

    pub(in crate::cluster) fn shard_mut(&mut self, id: ShardId) -> Result<&mut Shard, Void> {
        let shards = self.shard_count();
        let at = usize::try_from(id.0).unwrap_or(usize::MAX);
        self.shards.get_mut(at).ok_or(Void::UnknownShard { shard: id, shards })
    }

    pub(in crate::cluster) fn shard_count(&self) -> u32 {
        self.founded.as_ref().map_or(0, |founded| founded.shards)
    }

    /// Returns all shards with their ids.
    pub(in crate::cluster) fn numbered(&self) -> impl Iterator<Item = (ShardId, &Shard)> {
        (0..).map(ShardId).zip(&self.shards)
    }

    pub(in crate::cluster) fn up(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.members.iter().filter(|(_, member)| member.is_up())
    }

    /// Returns the member, if this run of it is up.
    pub(in crate::cluster) fn running(&self, node: &NodeId, boot: u64) -> Result<&Member, Void> {
        let member = self.members.get(node);
        let running = member.filter(|member| member.is_up() && member.boot == boot);
        running.ok_or_else(|| Void::NotUp { node: node.clone(), boot })
    }

    /// Returns the member, if this run of it is up.
    pub(in crate::cluster) fn running_mut(
        &mut self,
        node: &NodeId,
        boot: u64,
    ) -> Result<&mut Member, Void> {
        let member = self.members.get_mut(node);
        let running = member.filter(|member| member.is_up() && member.boot == boot);
        running.ok_or_else(|| Void::NotUp { node: node.clone(), boot })
    }

    pub(in crate::cluster) fn owner(&self, id: ShardId) -> Option<Owner> {
        let shard = self.shard(id)?;
        let (node, epoch) = (shard.owner.clone()?, shard.epoch?);
        let boot = self.members.get(&node)?.boot;
        Some(Owner { node, boot, epoch })
    }

    pub(in crate::cluster) fn moving(&self, id: ShardId) -> Option<Move> {
        let (to, at) = self.shard(id)?.moving.clone()?;
        let Owner { node: from, boot: from_boot, .. } = self.owner(id)?;
        Some(Move { shard: id, from, from_boot, to, at })
    }

    pub(in crate::cluster) fn moves(&self) -> impl Iterator<Item = Move> {
        self.numbered().filter_map(|(id, _)| self.moving(id))
    }
}
