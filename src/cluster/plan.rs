//! What is to move, and what may move now. Pure.

use std::collections::BTreeMap;

use crate::cluster::control::{Control, Lasts};
use crate::cluster::error::Refusal;
use crate::cluster::record::{Command, Record};
use crate::types::{NodeId, Offset, ShardId};

/// After how many undone moves a shard is not expected to leave its node by another one.
const UNDONE_MAX: u32 = 2;

/// Lists the shards whose owner is up and is not where the placement wants them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// They, by shard.
    pub pending: Vec<Pending>,
    /// Whether an operator or the guard lets no move begin.
    stopped: bool,
    room: Room,
}

/// Is a shard that is to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The shard.
    pub shard: ShardId,
    /// Its owner.
    pub from: NodeId,
    /// Where it is to be.
    pub to: NodeId,
    /// Why.
    pub why: Why,
    /// How far it is.
    pub stage: Stage,
    /// How many moves of it were undone: its owner waits the longer before the next.
    pub undone: u32,
}

/// Tells why a shard is to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// It is pinned to the target.
    Pin,
    /// An operator moves it to the target.
    Move,
    /// Its owner is being emptied.
    Drain,
    /// The target has too few shards or its owner too many.
    Balance,
}

/// Tells how far a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// It has not begun.
    Waiting,
    /// It has begun.
    Begun,
}

/// Knows how many moves may begin.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Room {
    cluster: u32,
    per_node: u32,
    /// Moves in or out of each node that takes part in any.
    of: BTreeMap<NodeId, u32>,
}

impl Plan {
    /// Returns the plan that a state makes.
    pub fn of(control: &Control) -> Self {
        let pending = (0..control.shards()).map(ShardId).filter_map(|id| pending(control, id));
        let stopped = control.is_paused() || control.is_guarded();
        Self { pending: pending.collect(), stopped, room: Room::of(control, stopped) }
    }

    /// Tells what else would move if a command were given now: a dry run.
    ///
    /// # Errors
    /// Why the command would be refused.
    pub fn after(control: &Control, command: &Command) -> Result<Self, Refusal> {
        let mut copy = control.clone();
        let next = control.at().map_or(Offset(0), Offset::next);
        copy.apply(next, &Record::Command(command.clone()))?;
        let before = Self::of(control);
        let mut plan = Self::of(&copy);
        plan.pending.retain(|new| {
            let at = before.pending.binary_search_by_key(&new.shard, |old| old.shard);
            at.ok().and_then(|at| before.pending.get(at)).is_none_or(|old| old.to != new.to)
        });
        Ok(plan)
    }

    /// Returns the moves that may begin now, by shard, without those that `waits` tells to wait:
    /// together with what has begun they keep to the limits.
    pub fn may_begin(&self, waits: impl Fn(&Pending) -> bool) -> Vec<&Pending> {
        let mut room = self.room.clone();
        let waiting = self.pending.iter().filter(|pending| match pending.stage {
            Stage::Waiting => !waits(pending),
            Stage::Begun => false,
        });
        waiting.filter(|pending| room.take(&pending.from, &pending.to)).collect()
    }

    /// Tells whether a shard of a node can be expected to leave it by a move: one is on its way, or
    /// may begin sooner or later and was not undone again and again.
    pub fn goes_on(&self, from: &NodeId) -> bool {
        self.pending.iter().filter(|pending| pending.from == *from).any(|pending| {
            match pending.stage {
                Stage::Begun => true,
                Stage::Waiting => !self.stopped && pending.undone < UNDONE_MAX,
            }
        })
    }
}

fn pending(control: &Control, shard: ShardId) -> Option<Pending> {
    let owner = control.owner(shard)?;
    let to = control.placement(shard)?;
    if owner.node == *to {
        return None;
    }
    let pin = control.pins().get(&shard).filter(|pin| pin.node == *to);
    let drains = control.member(&owner.node).is_some_and(|member| member.drain.is_some());
    let why = match pin.map(|pin| pin.lasts) {
        Some(Lasts::Always) => Why::Pin,
        Some(Lasts::UntilThere) => Why::Move,
        None if drains => Why::Drain,
        None => Why::Balance,
    };
    let stage = if control.moving(shard).is_some() { Stage::Begun } else { Stage::Waiting };
    let undone = control.undone(shard);
    Some(Pending { shard, from: owner.node, to: to.clone(), why, stage, undone })
}

impl Room {
    fn of(control: &Control, stopped: bool) -> Self {
        let limits = control.limits();
        let (mut of, mut begun) = (BTreeMap::new(), 0);
        for moving in control.moves() {
            begun += 1;
            *of.entry(moving.from).or_default() += 1;
            *of.entry(moving.to).or_default() += 1;
        }
        let cluster = if stopped { 0 } else { limits.cluster.saturating_sub(begun) };
        Self { cluster, per_node: limits.per_node, of }
    }

    /// Takes room for one more move, if there is any.
    fn take(&mut self, from: &NodeId, to: &NodeId) -> bool {
        let busy = |node| self.of.get(node).is_some_and(|moves| *moves >= self.per_node);
        if self.cluster == 0 || busy(from) || busy(to) {
            return false;
        }
        self.cluster -= 1;
        for node in [from, to] {
            *self.of.entry(node.clone()).or_default() += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests;
