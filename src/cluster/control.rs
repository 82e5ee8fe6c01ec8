//! The state of the cluster: a pure function of the control topic's records.
//!
//! Every node that has read the same records has the same members, placement, owners and moves.
//! A record that is void changes nothing but the place where a reader is.

mod change;
mod command;
mod members;
mod ownership;
mod revoked;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

pub use change::Change;
pub use members::MEMBERS_MAX;
pub use revoked::{REVOKED_BYTES_MAX, Revoked};
pub use state::{Drain, Lasts, Load, Member, Move, Owner, Pin, Status};
pub(in crate::cluster) use state::{Shard, State};

use crate::cluster::error::Void;
use crate::cluster::placement::{Placement, Standing};
use crate::cluster::record::{Founded, Limits, Record, SHARDS_MAX, Snapshot};
use crate::cluster::snapshot;
use crate::types::{NodeId, Offset, ShardId};

/// How many records are read before another snapshot is due.
pub const SNAPSHOT_EVERY: u64 = 10_000;

/// Is the state of the cluster as of a place in the control topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Control {
    at: Option<Offset>,
    snapshot_at: Option<Offset>,
    state: State,
}

impl Control {
    /// Takes in the next record and tells what it changed.
    ///
    /// # Errors
    /// Why the record is void: nothing but [`Control::at`] has changed then.
    ///
    /// # Panics
    /// If the offset is not above the last one.
    pub fn apply(&mut self, offset: Offset, record: &Record) -> Result<Vec<Change>, Void> {
        assert!(self.at < Some(offset), "record {offset} is read after {:?}", self.at);
        self.at = Some(offset);
        if let Record::Snapshot(snapshot) = record {
            return self.snapshot(offset, snapshot);
        }
        self.state.take(offset, record)
    }

    /// Begins with the state of a snapshot: the next record to read is the one after its
    /// [`Snapshot::at`], which may be before the snapshot itself.
    ///
    /// # Errors
    /// If the state does not decode.
    pub fn restore(snapshot: &Snapshot) -> Result<Self, Void> {
        let state = snapshot::decode(&snapshot.state).ok_or(Void::SnapshotUnreadable)?;
        Ok(Self { at: Some(snapshot.at), snapshot_at: Some(snapshot.at), state })
    }

    /// Returns the snapshot to write now; it counts if no other record comes before it. None
    /// before the cluster is founded.
    pub fn to_snapshot(&self) -> Option<Snapshot> {
        self.state.founded.as_ref()?;
        Some(Snapshot { at: self.at?, state: self.encoded() })
    }

    /// Tells whether a snapshot is due; the member with the lowest name that is up writes it.
    pub fn wants_snapshot(&self) -> bool {
        let Some(at) = self.at else { return false };
        let last = self.snapshot_at.unwrap_or_default();
        self.state.founded.is_some() && at.0 - last.0 > SNAPSHOT_EVERY
    }

    /// Returns the offset of the last record taken in.
    pub fn at(&self) -> Option<Offset> {
        self.at
    }

    /// Returns a hash of the state: equal on all nodes that have read the same records.
    pub fn fingerprint(&self) -> u64 {
        snapshot::fingerprint(&self.encoded())
    }

    /// Returns the cluster's id, once it is founded.
    pub fn cluster(&self) -> Option<u128> {
        self.state.founded.as_ref().map(|founded| founded.cluster)
    }

    /// Returns the version of the rules in force, once there was a member.
    pub fn rules(&self) -> Option<u16> {
        self.state.rules
    }

    /// Returns the number of shards, 0 before the cluster is founded.
    pub fn shards(&self) -> u32 {
        self.state.shard_count()
    }

    /// Returns every member by name, whether up or not.
    pub fn members(&self) -> &BTreeMap<NodeId, Member> {
        &self.state.members
    }

    /// Returns a member.
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        self.state.members.get(node)
    }

    /// Tells whether this run of the node is up.
    pub fn is_up(&self, node: &NodeId, boot: u64) -> bool {
        self.state.running(node, boot).is_ok()
    }

    /// Returns the members that are up, by name.
    pub fn up(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        self.state.up()
    }

    /// Returns where a shard should be.
    pub fn placement(&self, shard: ShardId) -> Option<&NodeId> {
        self.state.shard(shard)?.placed.as_ref()
    }

    /// Returns the offset of the record that changed the placement last.
    pub fn placement_changed_at(&self) -> Option<Offset> {
        self.state.placement_changed_at
    }

    /// Returns who owns a shard.
    pub fn owner(&self, shard: ShardId) -> Option<Owner> {
        self.state.owner(shard)
    }

    /// Returns the move of a shard that has begun and not ended.
    pub fn moving(&self, shard: ShardId) -> Option<Move> {
        self.state.moving(shard)
    }

    /// Returns all moves that have begun and not ended, by shard.
    pub fn moves(&self) -> impl Iterator<Item = Move> {
        self.state.moves()
    }

    /// Returns how many moves of a shard were undone since it last arrived somewhere: its owner
    /// waits the longer before the next.
    pub fn undone(&self, shard: ShardId) -> u32 {
        self.state.shard(shard).map_or(0, |shard| shard.undone)
    }

    /// Returns the limits of moves.
    pub fn limits(&self) -> Limits {
        self.state.limits
    }

    /// Tells whether an operator has stopped moves.
    pub fn is_paused(&self) -> bool {
        self.state.paused
    }

    /// Tells whether the latency guard has stopped moves.
    pub fn is_guarded(&self) -> bool {
        self.state.guard
    }

    /// Returns the pins, by shard.
    pub fn pins(&self) -> &BTreeMap<ShardId, Pin> {
        &self.state.pins
    }

    /// Returns what is revoked.
    pub fn revoked(&self) -> &Arc<Revoked> {
        &self.state.revoked
    }

    fn encoded(&self) -> Bytes {
        snapshot::encode(&self.state)
    }

    fn snapshot(&mut self, offset: Offset, snapshot: &Snapshot) -> Result<Vec<Change>, Void> {
        if snapshot.at.0.checked_add(1) != Some(offset.0) {
            return Err(Void::SnapshotLate);
        }
        let state = snapshot::decode(&snapshot.state).ok_or(Void::SnapshotUnreadable)?;
        // Whoever reads from here on knows nothing else. A record that only some could read before
        // it was damaged would else keep two states for ever.
        let corrected = self.state.founded.is_some() && self.state != state;
        self.state = state;
        self.snapshot_at = Some(offset);
        let corrected = corrected.then_some(Change::Corrected);
        Ok(corrected.into_iter().chain([Change::Snapshot]).collect())
    }
}

impl State {
    fn take(&mut self, offset: Offset, record: &Record) -> Result<Vec<Change>, Void> {
        if let Record::Founded(founded) = record {
            return self.found(founded);
        }
        if self.founded.is_none() {
            return Err(Void::NotFounded);
        }
        match record {
            Record::Founded(_) => Err(Void::AlreadyFounded),
            Record::Join(join) => self.join(offset, join),
            Record::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            Record::Down(down) => self.down(offset, down),
            Record::Leave(leave) => self.leave(offset, leave),
            Record::Owned(owned) => self.owned(offset, owned),
            Record::Disowned(disowned) => self.disowned(disowned),
            Record::MoveBegun(begun) => self.move_begun(begun),
            Record::MoveEnded(ended) => self.move_ended(ended),
            Record::Command(command) => self.command(offset, command),
            Record::Snapshot(_) => Err(Void::SnapshotLate),
        }
    }

    fn found(&mut self, founded: &Founded) -> Result<Vec<Change>, Void> {
        let &Founded { cluster, shards, .. } = founded;
        if self.founded.is_some() {
            return Err(Void::AlreadyFounded);
        }
        if !(1..=SHARDS_MAX).contains(&shards) {
            return Err(Void::ShardCount { shards });
        }
        self.founded = Some(founded.clone());
        self.shards = vec![Shard::default(); shards as usize];
        Ok(vec![Change::Founded { cluster, shards }])
    }

    /// Works the placement out again, after a change of members, weights, pins or drains.
    fn place(&mut self, offset: Offset, changes: &mut Vec<Change>) {
        let standing =
            |member: &Member| Standing { weight: member.weight, draining: member.drain.is_some() };
        let up = self.up().map(|(node, member)| (node.clone(), standing(member))).collect();
        let pins = self.pins.iter().map(|(shard, pin)| (*shard, pin.node.clone())).collect();
        let prev: Vec<_> = self.shards.iter().map(|shard| shard.placed.clone()).collect();
        let next = Placement::next(&prev, &up, &pins);
        let mut placed = Vec::new();
        for ((id, shard), next) in (0..).map(ShardId).zip(&mut self.shards).zip(next) {
            if shard.placed != next {
                shard.placed = next;
                placed.push(id);
            }
        }
        if !placed.is_empty() {
            self.placement_changed_at = Some(offset);
            changes.push(Change::Placed { shards: placed });
        }
    }
}

#[cfg(test)]
mod tests;
