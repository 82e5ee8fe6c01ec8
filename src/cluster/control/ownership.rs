//! Records of ownership: who has claimed which shard, and the moves between owners.

use crate::cluster::control::{Change, Lasts, Move, State};
use crate::cluster::error::Void;
use crate::cluster::record::{Disowned, MoveBegun, MoveEnded, Outcome, Owned, Text};
use crate::types::{Epoch, NodeId, Offset, ShardId};

impl State {
    pub(in crate::cluster::control) fn owned(
        &mut self,
        offset: Offset,
        owned: &Owned,
    ) -> Result<Vec<Change>, Void> {
        self.running(&owned.node, owned.boot)?;
        let mut changes = Vec::new();
        let mut arrived = false;
        let mut counted = false;
        for &(id, epoch) in &owned.shards {
            let newer = self.shard(id).is_some_and(|shard| shard.epoch < Some(epoch));
            if newer {
                counted = true;
                arrived |= self.take_over(id, &owned.node, epoch, &mut changes);
            }
        }
        if !counted {
            return Err(Void::OldEpoch);
        }
        if arrived {
            self.place(offset, &mut changes);
        }
        Ok(changes)
    }

    /// Gives a shard to a node; tells whether a pin is done with.
    fn take_over(
        &mut self,
        id: ShardId,
        node: &NodeId,
        epoch: Epoch,
        changes: &mut Vec<Change>,
    ) -> bool {
        if let Some(moving) = self.moving(id) {
            let outcome = if moving.to == *node {
                Outcome::Done
            } else if moving.from == *node {
                undone("the owner has claimed the shard again")
            } else {
                undone("another node has claimed the shard")
            };
            self.end_move(&moving, outcome, changes);
        }
        let Ok(shard) = self.shard_mut(id) else { return false };
        if shard.owner.as_ref() != Some(node) {
            shard.undone = 0;
        }
        shard.owner = Some(node.clone());
        shard.epoch = Some(epoch);
        changes.push(Change::Owned { shard: id, node: node.clone(), epoch });
        let done = self
            .pins
            .get(&id)
            .is_some_and(|pin| pin.node == *node && matches!(pin.lasts, Lasts::UntilThere));
        if done {
            self.pins.remove(&id);
            changes.push(Change::Unpinned { shard: id, node: node.clone() });
        }
        done
    }

    pub(in crate::cluster::control) fn disowned(
        &mut self,
        disowned: &Disowned,
    ) -> Result<Vec<Change>, Void> {
        let Disowned { node, boot, shards } = disowned;
        self.running(node, *boot)?;
        let mut changes = Vec::new();
        for &(id, epoch) in shards {
            let owner = self.owner(id);
            if owner.is_some_and(|owner| owner.node == *node && owner.epoch == epoch) {
                self.release(id, "the owner has given the shard up", &mut changes);
            }
        }
        if changes.is_empty() { Err(Void::OldEpoch) } else { Ok(changes) }
    }

    pub(in crate::cluster::control) fn move_begun(
        &mut self,
        begun: &MoveBegun,
    ) -> Result<Vec<Change>, Void> {
        let MoveBegun { shard, from, from_boot, to, at } = begun;
        self.shard_mut(*shard)?;
        let owner = self.owner(*shard);
        if owner.is_none_or(|owner| owner.node != *from || owner.boot != *from_boot) {
            return Err(Void::NotOwner { shard: *shard, node: from.clone() });
        }
        if from == to {
            return Err(Void::AlreadyThere { shard: *shard, node: to.clone() });
        }
        let target = self.shard_mut(*shard)?;
        if target.moving.is_some() {
            return Err(Void::AlreadyMoving { shard: *shard });
        }
        // A node that shards are placed on is up.
        if target.placed.as_ref() != Some(to) {
            return Err(Void::NotPlaced { shard: *shard, to: to.clone() });
        }
        self.room_for([from, to])?;
        self.shard_mut(*shard)?.moving = Some((to.clone(), *at));
        Ok(vec![Change::MoveBegun { shard: *shard, from: from.clone(), to: to.clone() }])
    }

    /// Tells whether another move between these nodes may begin now.
    fn room_for(&self, nodes: [&NodeId; 2]) -> Result<(), Void> {
        if self.paused {
            return Err(Void::Paused);
        }
        if self.guard {
            return Err(Void::Guarded);
        }
        let (mut all, mut of) = (0, [0, 0]);
        for moving in self.moves() {
            all += 1;
            for (count, node) in of.iter_mut().zip(nodes) {
                *count += u32::from(moving.from == *node || moving.to == *node);
            }
        }
        for (moves, node) in of.into_iter().zip(nodes) {
            if moves >= self.limits.per_node {
                return Err(Void::NodeLimit { node: node.clone(), moves });
            }
        }
        if all >= self.limits.cluster {
            return Err(Void::ClusterLimit { moves: all });
        }
        Ok(())
    }

    pub(in crate::cluster::control) fn move_ended(
        &mut self,
        ended: &MoveEnded,
    ) -> Result<Vec<Change>, Void> {
        let MoveEnded { shard, from, from_boot, outcome } = ended;
        self.shard_mut(*shard)?;
        let moving = self.moving(*shard);
        let own = moving.filter(|own| own.from == *from && own.from_boot == *from_boot);
        let Some(moving) = own else { return Err(Void::NotMoving { shard: *shard }) };
        let mut changes = Vec::new();
        self.end_move(&moving, outcome.clone(), &mut changes);
        Ok(changes)
    }

    /// Takes all shards and moves from a node.
    pub(in crate::cluster::control) fn release_all(
        &mut self,
        node: &NodeId,
        changes: &mut Vec<Change>,
    ) {
        for moving in self.moves().filter(|moving| moving.to == *node).collect::<Vec<_>>() {
            self.end_move(&moving, undone("the target is gone"), changes);
        }
        let owned = self.numbered().filter(|(_, shard)| shard.owner.as_ref() == Some(node));
        for id in owned.map(|(id, _)| id).collect::<Vec<_>>() {
            self.release(id, "the owner is gone", changes);
        }
    }

    fn release(&mut self, id: ShardId, why: &str, changes: &mut Vec<Change>) {
        if let Some(moving) = self.moving(id) {
            self.end_move(&moving, undone(why), changes);
        }
        let Ok(shard) = self.shard_mut(id) else { return };
        if let Some(node) = shard.owner.take() {
            changes.push(Change::Disowned { shard: id, node });
        }
    }

    fn end_move(&mut self, ended: &Move, outcome: Outcome, changes: &mut Vec<Change>) {
        let Ok(shard) = self.shard_mut(ended.shard) else { return };
        shard.moving = None;
        shard.undone = match outcome {
            Outcome::Done => 0,
            Outcome::Undone(_) => shard.undone.saturating_add(1),
        };
        let (from, to) = (ended.from.clone(), ended.to.clone());
        changes.push(Change::MoveEnded { shard: ended.shard, from, to, outcome });
    }
}

fn undone(why: &str) -> Outcome {
    let why: Text<200> = why.parse().expect("the reasons above are short");
    Outcome::Undone(why)
}
