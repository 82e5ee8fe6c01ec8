//! Records of membership: who joins, lives, is held for dead, and goes.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::cluster::control::{Change, Lasts, Load, Member, Pin, State, Status};
use crate::cluster::error::Void;
use crate::cluster::record::{Down, Heartbeat, Join, Leave};
use crate::types::{NodeId, Offset};

/// The most members, up or not.
pub const MEMBERS_MAX: usize = 128;

/// How many voters take a node down, where more than two are up.
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
        let apart = |other: (u16, u16)| speaks.0.max(other.0) > speaks.1.min(other.1);
        let mut others = self.up().filter(|(node, _)| **node != join.node);
        if let Some((with, member)) = others.find(|(_, member)| apart(member.version.speaks)) {
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
        let newest = others.map(|(_, member)| member.version.rules.1).min();
        let newest = newest.map_or(join.version.rules.1, |newest| newest.min(join.version.rules.1));
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
        let few = self.up().count() <= 2;
        let member = self.running_mut(node, *boot)?;
        let mut changes = Vec::new();
        if member.votes.insert(by.clone()) {
            changes.push(Change::Voted { node: node.clone(), by: by.clone() });
        }
        if few || member.votes.len() >= VOTES {
            self.end(node, Status::Down, &mut changes);
            self.place(offset, &mut changes);
        }
        Ok(changes)
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
mod tests {
    use super::*;
    use crate::cluster::Control;
    use crate::cluster::record::Record;
    use crate::cluster::testing::{Topic, down, founded, join_of, leave, node};

    #[test]
    fn the_rules_are_the_newest_that_all_can_follow_and_never_older_ones() {
        let mut topic = Topic::default();
        topic.ok(&founded(4));
        let joins = |name: &str, boot, rules| {
            let mut join = join_of(name, boot);
            join.version.rules = rules;
            Record::Join(join)
        };
        let other = |node, cluster| Void::OtherRules { node, cluster };
        assert_eq!(topic.control.rules(), None);
        for name in ["a", "b"] {
            topic.ok(&joins(name, 1, (2, 2)));
        }
        topic.void(&joins("c", 1, (1, 1)), &other((1, 1), 2));
        topic.void(&joins("c", 1, (3, 3)), &other((3, 3), 2));
        topic.void(&joins("c", 1, (3, 2)), &other((3, 2), 2));
        topic.ok(&joins("c", 1, (2, 4)));
        assert_eq!(topic.control.rules(), Some(2), "others cannot follow newer ones");
        // One after the other is replaced by a newer program; a crash changes nothing.
        topic.ok(&leave("a", 1));
        topic.ok(&joins("a", 2, (2, 3)));
        topic.ok(&down("b", 1, "a", 2));
        topic.ok(&down("b", 1, "c", 1));
        assert!(!topic.control.is_up(&node("b"), 1));
        assert_eq!(topic.control.rules(), Some(2), "b may come back as it was");
        topic.ok(&joins("b", 1, (2, 2)));
        topic.ok(&leave("b", 1));
        let changes = topic.ok(&joins("b", 2, (2, 4)));
        assert!(changes.contains(&Change::Ruled { rules: 3 }), "{changes:?}");
        topic.void(&joins("d", 1, (2, 2)), &other((2, 2), 3));
        // Nobody who follows the old ones only is left: rules of the future need no past.
        let replaces = Record::Join(Join { replaces: Some(2), ..join_of("a", 3) });
        topic.void(&replaces, &other((1, 1), 3));
        topic.ok(&leave("a", 2));
        topic.ok(&joins("a", 3, (4, 5)));
        assert_eq!(topic.control.rules(), Some(4));
        for (name, boot) in [("a", 3), ("b", 2), ("c", 1)] {
            topic.ok(&leave(name, boot));
        }
        topic.void(&joins("a", 4, (2, 3)), &other((2, 3), 4));
        let kept = Control::restore(&topic.control.to_snapshot().unwrap()).unwrap();
        assert_eq!((kept.rules(), kept.members()), (Some(4), topic.control.members()));
    }
}
