//! Whose votes put a member down.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::cluster::Control;
use crate::cluster::record::Record;
use crate::cluster::testing::*;
use crate::types::ShardId;

/// The names of the members that are up.
fn up(control: &Control) -> String {
    control.up().map(|(node, _)| node.0.as_str()).collect()
}

/// A cluster of so many nodes, after these votes: by whom, and against whom.
fn voted(nodes: &[&str], votes: &[&str]) -> Topic {
    let mut topic = Topic::with(16, nodes);
    for vote in votes {
        let (by, node) = vote.split_once(' ').unwrap();
        topic.ok(&down(node, 1, by, 1));
    }
    topic
}

#[test]
fn two_voters_put_a_node_down_and_one_where_two_are_up() {
    let mut topic = Topic::with(16, &["a", "b", "c", "d"]);
    let not_up = |name: &str, boot| Void::NotUp { node: node(name), boot };
    topic.void(&down("a", 1, "a", 1), &Void::OwnVote { node: node("a") });
    topic.void(&down("a", 2, "b", 1), &not_up("a", 2));
    topic.void(&down("a", 1, "b", 2), &not_up("b", 2));
    topic.void(&down("a", 1, "x", 1), &not_up("x", 1));
    let voted = Change::Voted { node: node("a"), by: node("b") };
    assert_eq!(topic.ok(&down("a", 1, "b", 1)), [voted]);
    assert_eq!(topic.ok(&down("a", 1, "b", 1)), []);
    assert_eq!(topic.ok(&heartbeat("a", 1)), [Change::Heard { node: node("a") }]);
    topic.ok(&down("a", 1, "c", 1));
    assert!(topic.control.is_up(&node("a"), 1));
    let changes = topic.ok(&down("a", 1, "b", 1));
    assert!(!topic.control.is_up(&node("a"), 1));
    assert!(changes.contains(&Change::Gone { node: node("a"), boot: 1, status: Status::Down }));
    topic.void(&heartbeat("a", 1), &not_up("a", 1));
    topic.void(&leave("a", 1), &not_up("a", 1));

    // The vote of one who goes does not count any more.
    topic.ok(&down("b", 1, "c", 1));
    topic.ok(&leave("c", 1));
    assert!(topic.control.member(&node("b")).unwrap().votes.is_empty());
    topic.ok(&down("b", 1, "d", 1));
    assert!(!topic.control.is_up(&node("b"), 1));
    let on_d = |shard| topic.control.placement(ShardId(shard)) == Some(&node("d"));
    assert!((0..16).all(on_d));
}

#[test]
fn one_voter_suffices_where_it_accuses_everybody_else() {
    let check = |nodes: &[&str], votes: &[&str], left: &str| {
        let topic = voted(nodes, votes);
        assert_eq!(up(&topic.control), left, "{votes:?}");
        let placed = (0..16).map(|shard| topic.control.placement(ShardId(shard)).unwrap());
        assert!(placed.into_iter().all(|node| left.contains(node.0.as_str())));
    };
    let (two, three, four) = (&["a", "b"], &["a", "b", "c"], &["a", "b", "c", "d"]);
    check(two, &["a b"], "a");
    check(three, &["a b"], "abc");
    check(three, &["a b", "a c"], "a");
    check(three, &["c b", "c a"], "c");
    check(four, &["a b"], "abcd");
    check(four, &["a b", "a c"], "abcd");
    check(four, &["a b", "a b", "a c", "a c"], "abcd");
    check(four, &["a b", "a c", "a d"], "a");
    // Two who lost the other two.
    check(four, &["a b", "a c", "d b"], "acd");
    check(four, &["a b", "a c", "d b", "d c"], "ad");
    check(four, &["a c", "a d", "b d", "b c"], "ab");
    // The end of one leaves nobody whom another does not accuse.
    check(four, &["a b", "a c", "c d", "b d"], "a");
    // Who accuse each other: the first who accuses all.
    check(three, &["a b", "b a", "b c"], "b");
    check(three, &["a b", "b c", "c a"], "abc");
    check(three, &["a b", "c b"], "ac");
}

#[test]
fn a_vote_that_was_taken_off_completes_nothing() {
    let mut topic = voted(&["a", "b", "c"], &["a b"]);
    topic.ok(&heartbeat("b", 1));
    topic.ok(&down("c", 1, "a", 1));
    assert_eq!(up(&topic.control), "abc");
    // Another run of it is not accused.
    topic.ok(&down("b", 1, "c", 1));
    topic.ok(&Record::Join(Join { replaces: Some(1), ..join_of("b", 2) }));
    topic.ok(&down("a", 1, "c", 1));
    assert_eq!(up(&topic.control), "abc");
    let changes = topic.ok(&down("b", 2, "a", 1));
    assert_eq!(up(&topic.control), "a");
    let is_gone = |change: &&Change| matches!(change, Change::Gone { .. });
    assert_eq!(changes.iter().filter(is_gone).count(), 2);
    let placed = |change: &&Change| matches!(change, Change::Placed { .. });
    assert_eq!(changes.iter().filter(placed).count(), 1);
}

#[test]
fn who_begins_with_a_snapshot_knows_the_votes() {
    let mut topic = voted(&["a", "b", "c"], &["a b"]);
    let mut late = Control::restore(&topic.control.to_snapshot().unwrap()).unwrap();
    let next = Offset(topic.next);
    let changes = topic.ok(&down("c", 1, "a", 1));
    assert_eq!(up(&topic.control), "a");
    assert_eq!(late.apply(next, &down("c", 1, "a", 1)), Ok(changes));
    assert_eq!(late.fingerprint(), topic.control.fingerprint());
}

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

/// Who is up, and who accuses whom.
#[derive(Default)]
struct Model {
    up: BTreeSet<usize>,
    votes: BTreeSet<(usize, usize)>,
}

impl Model {
    fn is_down(&self, node: usize) -> bool {
        let is_voter = |by: &&usize| self.votes.contains(&(**by, node));
        let voters: Vec<_> = self.up.iter().filter(is_voter).collect();
        let accused = |other| voters.iter().any(|by| self.votes.contains(&(**by, other)));
        let electorate = self.up.iter().filter(|other| **other != node && !accused(**other));
        !voters.is_empty() && voters.len() >= electorate.count().clamp(1, 2)
    }

    fn vote(&mut self, by: usize, against: usize) {
        self.votes.insert((by, against));
        loop {
            let down: Vec<_> = self.up.iter().copied().filter(|node| self.is_down(*node)).collect();
            let accused = down.iter().find(|node| self.votes.contains(&(by, **node)));
            let Some(node) = accused.or(down.first()) else { return };
            self.gone(*node);
        }
    }

    fn gone(&mut self, node: usize) {
        self.up.remove(&node);
        self.votes.retain(|(by, of)| *by != node && *of != node);
    }
}

proptest! {
    #[test]
    fn whoever_is_up_has_less_votes_than_suffice(
        nodes in 2..6_usize,
        steps in prop::collection::vec((0..8_u8, 0..5_usize, 0..5_usize), 0..60),
    ) {
        let names = ["a", "b", "c", "d", "e"];
        let mut topic = Topic::with(4, &names[..nodes]);
        let mut model = Model { up: (0..nodes).collect(), votes: BTreeSet::new() };
        for (kind, one, other) in steps {
            let (is_up, name) = (model.up.contains(&one), names[one]);
            let record = match kind {
                0 if is_up => {
                    model.votes.retain(|(_, of)| *of != one);
                    heartbeat(name, 1)
                }
                1 if is_up => {
                    model.gone(one);
                    leave(name, 1)
                }
                1 | 2 if !is_up => {
                    model.up.insert(one);
                    join(name, 1)
                }
                _ if is_up && one != other && model.up.contains(&other) => {
                    model.vote(one, other);
                    down(names[other], 1, name, 1)
                }
                _ => continue,
            };
            topic.ok(&record);
            let expected: String = model.up.iter().map(|node| names[*node]).collect();
            prop_assert_eq!(up(&topic.control), expected);
            prop_assert!(kind < 3 || !model.up.is_empty(), "who votes is alive");
        }
    }
}
