//! Operators' commands: what they change, and what is refused.

use std::sync::Arc;

use crate::cluster::control::{Change, Drain, Lasts, Member, Pin, State};
use crate::cluster::error::Void;
use crate::cluster::record::{Command, Limits, Order, Token};
use crate::types::{NodeId, Offset, ShardId, Timestamp};

impl State {
    pub(in crate::cluster::control) fn command(
        &mut self,
        offset: Offset,
        command: &Command,
    ) -> Result<Vec<Change>, Void> {
        if let (Some(expected), Some(changed_at)) = (command.expected, self.placement_changed_at)
            && expected < changed_at
        {
            return Err(Void::Stale { changed_at });
        }
        let mut changes = self.order(command)?;
        let placed = match command.order {
            Order::Weight { .. }
            | Order::Pin { .. }
            | Order::Unpin { .. }
            | Order::Drain { .. }
            | Order::Undrain { .. }
            | Order::Move { .. } => true,
            Order::Limits(_)
            | Order::Pause
            | Order::Resume
            | Order::Guard { .. }
            | Order::Revoke { .. } => false,
        };
        if placed {
            self.place(offset, &mut changes);
        }
        Ok(changes)
    }

    /// Does what is ordered; what changes nothing is no change, and not void either.
    fn order(&mut self, command: &Command) -> Result<Vec<Change>, Void> {
        match &command.order {
            Order::Weight { node, weight } => self.weigh(node, *weight),
            Order::Pin { shard, node } => self.pin(*shard, node, Lasts::Always),
            Order::Unpin { shard } => self.unpin_one(*shard),
            Order::Drain { node, deadline } => self.drain(node, *deadline),
            Order::Undrain { node } => self.undrain(node),
            Order::Limits(limits) => self.limit(*limits),
            Order::Pause => Ok(set(&mut self.paused, true, Change::Paused)),
            Order::Resume => Ok(set(&mut self.paused, false, Change::Resumed)),
            Order::Move { shard, to } => self.bring(*shard, to),
            Order::Guard { on: true } => Ok(set(&mut self.guard, true, Change::GuardOn)),
            Order::Guard { on: false } => Ok(set(&mut self.guard, false, Change::GuardOff)),
            Order::Revoke { token, until } => self.revoke(token, *until, command.by.at),
        }
    }

    fn weigh(&mut self, node: &NodeId, weight: u32) -> Result<Vec<Change>, Void> {
        let member = self.known_mut(node)?;
        if !(1..=100).contains(&weight) {
            return Err(Void::WeightRange { weight });
        }
        if member.weight == weight {
            return Ok(Vec::new());
        }
        member.weight = weight;
        Ok(vec![Change::Weighted { node: node.clone(), weight }])
    }

    fn bring(&mut self, shard: ShardId, to: &NodeId) -> Result<Vec<Change>, Void> {
        self.shard_mut(shard)?;
        self.takes_shards(to)?;
        if self.owner(shard).is_some_and(|owner| owner.node == *to) {
            return Err(Void::AlreadyThere { shard, node: to.clone() });
        }
        if let Some(Pin { node, lasts: Lasts::Always }) = self.pins.get(&shard) {
            return Err(Void::Pinned { shard, node: node.clone() });
        }
        self.pin(shard, to, Lasts::UntilThere)
    }

    fn pin(&mut self, shard: ShardId, node: &NodeId, lasts: Lasts) -> Result<Vec<Change>, Void> {
        self.shard_mut(shard)?;
        self.takes_shards(node)?;
        let pin = Pin { node: node.clone(), lasts };
        if self.pins.get(&shard) == Some(&pin) {
            return Ok(Vec::new());
        }
        self.pins.insert(shard, pin);
        Ok(vec![Change::Pinned { shard, node: node.clone() }])
    }

    fn unpin_one(&mut self, shard: ShardId) -> Result<Vec<Change>, Void> {
        self.shard_mut(shard)?;
        let Some(pin) = self.pins.remove(&shard) else { return Err(Void::NotPinned { shard }) };
        Ok(vec![Change::Unpinned { shard, node: pin.node }])
    }

    fn drain(&mut self, node: &NodeId, deadline: Option<Timestamp>) -> Result<Vec<Change>, Void> {
        let takers = self.up().any(|(name, member)| name != node && member.drain.is_none());
        let member = self.known_mut(node)?;
        if !member.is_up() {
            return Err(Void::NodeDown { node: node.clone() });
        }
        if !takers {
            return Err(Void::LastNode { node: node.clone() });
        }
        let drain = Some(Drain { deadline });
        if member.drain == drain {
            return Ok(Vec::new());
        }
        member.drain = drain;
        Ok(vec![Change::Draining { node: node.clone(), deadline }])
    }

    fn undrain(&mut self, node: &NodeId) -> Result<Vec<Change>, Void> {
        let member = self.known_mut(node)?;
        if member.drain.take().is_none() {
            return Err(Void::NotDraining { node: node.clone() });
        }
        Ok(vec![Change::Undrained { node: node.clone() }])
    }

    fn limit(&mut self, limits: Limits) -> Result<Vec<Change>, Void> {
        let Limits { per_node, cluster } = limits;
        if !(1..=100).contains(&per_node) || !(1..=1_000).contains(&cluster) {
            return Err(Void::LimitsRange { per_node, cluster });
        }
        if self.limits == limits {
            return Ok(Vec::new());
        }
        self.limits = limits;
        Ok(vec![Change::Limited(limits)])
    }

    fn revoke(
        &mut self,
        token: &Token,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Vec<Change>, Void> {
        if self.revoked.has(token, until) {
            return Ok(Vec::new());
        }
        Arc::make_mut(&mut self.revoked).revoke(token, until, now)?;
        Ok(vec![Change::Revoked { token: token.clone() }])
    }

    fn known_mut(&mut self, node: &NodeId) -> Result<&mut Member, Void> {
        self.members.get_mut(node).ok_or_else(|| Void::UnknownNode { node: node.clone() })
    }

    fn takes_shards(&mut self, node: &NodeId) -> Result<(), Void> {
        let member = self.known_mut(node)?;
        if !member.is_up() {
            return Err(Void::NodeDown { node: node.clone() });
        }
        if member.drain.is_some() {
            return Err(Void::NodeDraining { node: node.clone() });
        }
        Ok(())
    }
}

fn set(switch: &mut bool, on: bool, change: Change) -> Vec<Change> {
    if std::mem::replace(switch, on) == on { Vec::new() } else { vec![change] }
}
