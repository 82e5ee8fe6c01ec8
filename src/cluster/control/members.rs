//! Records of membership: who joins, lives, is held for dead, and goes.
//!
//! Two voters put a member down. One is enough where it votes against every other member that is
//! up: nobody is left who could agree with it, be they two nodes or the last of many.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cluster::control::{Change, Lasts, Load, Member, Pin, State, Status};
use crate::cluster::error::Void;
use crate::cluster::record::{Down, Heartbeat, Join, Leave};
use crate::types::{NodeId, Offset, common};

/// The most members, up or not.
pub const MEMBERS_MAX: usize = 128;

/// How many voters put a node down, where there are as many that are not accused themselves.
const VOTES: usize = 2;

impl State {
    pub(in crate::cluster::control) fn join(
        &mut self,
        offset: Offset,
        join: &Join,
    ) -> Result<Vec<Change>, Void> {
        let rules = self.check_join(join)?;
        let mut changes = Vec::new();
        if self.members.get(&join.node).is_some_and(Member::is_up) {
            self.end(&join.node, Status::Down, &mut changes);
        }
        let known = self.members.get(&join.node);
        if known.is_none() {
            self.make_room(&mut changes);
        }
        let known = self.members.get(&join.node);
        let kept = known.filter(|member| member.configured_weight == join.weight);
        let member = Member {
            boot: join.boot,
            status: Status::Up,
            addresses: join.addresses.clone(),
            weight: kept.map_or(join.weight, |member| member.weight),
            configured_weight: join.weight,
            version: join.version.clone(),
            joined_at: join.at,
            drain: known.filter(|member| member.status != Status::Left).and_then(|m| m.drain),
            load: None,
            votes: BTreeSet::new(),
        };
        self.members.insert(join.node.clone(), member);
        changes.push(Change::Joined { node: join.node.clone(), boot: join.boot });
        if self.rules.replace(rules) != Some(rules) {
            changes.push(Change::Ruled { rules });
        }
        self.place(offset, &mut changes);
        Ok(changes)
    }

    /// Tells whether a node may join, and which rules are in force then.
    fn check_join(&self, join: &Join) -> Result<u16, Void> {
        let Join { weight, ref version, .. } = *join;
        let current = self.members.get(&join.node).filter(|member| member.is_up());
        if let Some(Member { boot, .. }) = current {
            if *boot == join.boot {
                return Err(Void::AlreadyUp { node: join.node.clone() });
            }
            if join.replaces != Some(*boot) {
                return Err(Void::NameTaken { node: join.node.clone(), boot: *boot });
            }
        }
        if !(1..=100).contains(&weight) {
            return Err(Void::WeightRange { weight });
        }
        let rules = self.rules_with(join);
        let (least, greatest) = version.rules;
        if rules < least || rules > greatest {
            return Err(Void::OtherRules { node: version.rules, cluster: rules });
        }
        let speaks = version.speaks;
        let apart = |member: &Member| common(speaks, member.version.speaks).is_none();
        let mut others = self.up().filter(|(node, _)| **node != join.node);
        if let Some((with, member)) = others.find(|(_, member)| apart(member)) {
            let (with, other) = (with.clone(), member.version.speaks);
            return Err(Void::NoCommonVersion { node: speaks, with, other });
        }
        let members = self.up().count();
        if current.is_none() && members >= MEMBERS_MAX {
            return Err(Void::TooManyMembers { members });
        }
        Ok(rules)
    }

    /// Returns the rules in force once the node has joined: the newest that it and all others that
    /// are up can follow, and never older ones than before. Nothing else changes the rules: a
    /// member that crashes in the middle of an upgrade finds them as they were, until all others
    /// can do without it and another one joins.
    fn rules_with(&self, join: &Join) -> u16 {
        let others = self.up().filter(|(node, _)| **node != join.node);
        let newest = others.map(|(_, member)| member.version.rules.1);
        let newest = newest.fold(join.version.rules.1, u16::min);
        self.rules.map_or(newest, |rules| rules.max(newest))
    }

    /// Forgets the member that is gone and joined first, where there are too many.
    fn make_room(&mut self, changes: &mut Vec<Change>) {
        if self.members.len() < MEMBERS_MAX {
            return;
        }
        let gone = self.members.iter().filter(|(_, member)| !member.is_up());
        let oldest = gone.min_by_key(|(_, member)| member.joined_at).map(|(node, _)| node.clone());
        let Some(node) = oldest else { return };
        self.members.remove(&node);
        self.unpin(&node, |_| true, changes);
        changes.push(Change::Forgotten { node });
    }

    pub(in crate::cluster::control) fn heartbeat(
        &mut self,
        heartbeat: &Heartbeat,
    ) -> Result<Vec<Change>, Void> {
        let &Heartbeat { boot, ack_p99_ms, sessions, documents, .. } = heartbeat;
        let member = self.running_mut(&heartbeat.node, boot)?;
        let ack_p99 = Duration::from_millis(u64::from(ack_p99_ms));
        member.load = Some(Load { ack_p99, sessions, documents });
        if member.votes.is_empty() {
            return Ok(Vec::new());
        }
        member.votes.clear();
        Ok(vec![Change::Heard { node: heartbeat.node.clone() }])
    }

    pub(in crate::cluster::control) fn down(
        &mut self,
        offset: Offset,
        down: &Down,
    ) -> Result<Vec<Change>, Void> {
        let Down { node, boot, by, by_boot } = down;
        self.running(by, *by_boot)?;
        if by == node {
            return Err(Void::OwnVote { node: node.clone() });
        }
        let member = self.running_mut(node, *boot)?;
        let mut changes = Vec::new();
        if member.votes.insert(by.clone()) {
            changes.push(Change::Voted { node: node.clone(), by: by.clone() });
        }
        // A vote against one may complete those against others, and so may an end: less are left.
        let up = self.up().count();
        while let Some(node) = self.voted_down(by) {
            self.end(&node, Status::Down, &mut changes);
        }
        if self.up().count() < up {
            self.place(offset, &mut changes);
        }
        Ok(changes)
    }

    /// Returns a member that is to go: two vote against it, or one who does so against everybody.
    /// Whoever voted just now is alive, so that those whom it accuses go first.
    fn voted_down(&self, by: &NodeId) -> Option<NodeId> {
        let accuses_all = |voter: &NodeId| {
            self.up().all(|(node, member)| node == voter || member.votes.contains(voter))
        };
        let suffices =
            |votes: &BTreeSet<NodeId>| votes.len() >= VOTES || votes.iter().any(accuses_all);
        let down = self.up().filter(|(_, member)| suffices(&member.votes));
        let first = down.min_by_key(|(_, member)| !member.votes.contains(by));
        first.map(|(node, _)| node.clone())
    }

    pub(in crate::cluster::control) fn leave(
        &mut self,
        offset: Offset,
        leave: &Leave,
    ) -> Result<Vec<Change>, Void> {
        self.running(&leave.node, leave.boot)?;
        let mut changes = Vec::new();
        self.end(&leave.node, Status::Left, &mut changes);
        self.place(offset, &mut changes);
        Ok(changes)
    }

    /// Ends a run of a node: it owns nothing, takes part in no move, and its votes are off.
    fn end(&mut self, node: &NodeId, status: Status, changes: &mut Vec<Change>) {
        let Some(member) = self.members.get_mut(node) else { return };
        member.status = status;
        changes.push(Change::Gone { node: node.clone(), boot: member.boot, status });
        for member in self.members.values_mut() {
            member.votes.remove(node);
        }
        if let Some(member) = self.members.get_mut(node) {
            member.votes.clear();
        }
        self.release_all(node, changes);
        self.unpin(node, |pin| matches!(pin.lasts, Lasts::UntilThere), changes);
    }

    /// Takes pins to a node away.
    fn unpin(&mut self, node: &NodeId, which: impl Fn(&Pin) -> bool, changes: &mut Vec<Change>) {
        let off = self.pins.extract_if(.., |_, pin| pin.node == *node && which(pin));
        changes.extend(off.map(|(shard, pin)| Change::Unpinned { shard, node: pin.node }));
    }
}

#[cfg(test)]
mod tests;
