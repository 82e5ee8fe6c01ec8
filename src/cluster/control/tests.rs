//! What each record changes and when it is void, and what holds for any sequence of records.

use proptest::prelude::*;

use super::*;
use crate::cluster::plan::{Plan, Stage};
use crate::cluster::record::{Command, Join, MoveBegun, Order, Outcome, Owned, Token};
use crate::cluster::testing::*;
use crate::types::{Epoch, Timestamp};

/// The node that a shard is placed on.
fn placed(topic: &Topic, shard: u32) -> String {
    topic.control.placement(ShardId(shard)).unwrap().0.to_string()
}

/// A shard owned by one node while the other one is up, and both their names.
fn moved_to_be(topic: &mut Topic) -> (u32, &'static str, &'static str) {
    let from = if placed(topic, 0) == "a" { "a" } else { "b" };
    let to = if from == "a" { "b" } else { "a" };
    topic.ok(&command(Order::Pin { shard: ShardId(0), node: node(to) }));
    (0, from, to)
}

#[test]
fn nothing_counts_before_the_cluster_is_founded_and_it_is_once() {
    let mut topic = Topic::default();
    topic.void(&join("a", 1), &Void::NotFounded);
    topic.void(&founded(0), &Void::ShardCount { shards: 0 });
    topic.void(&founded(SHARDS_MAX + 1), &Void::ShardCount { shards: SHARDS_MAX + 1 });
    assert_eq!(topic.ok(&founded(4)), [Change::Founded { cluster: 7, shards: 4 }]);
    topic.void(&founded(8), &Void::AlreadyFounded);
    assert_eq!((topic.control.shards(), topic.control.cluster()), (4, Some(7)));
    assert_eq!(topic.control.at(), Some(Offset(4)));
}

#[test]
fn one_run_of_a_name_is_up() {
    let mut topic = Topic::with(4, &["a"]);
    let a = node("a");
    topic.void(&join("a", 1), &Void::AlreadyUp { node: a.clone() });
    let taken = Void::NameTaken { node: a.clone(), boot: 1 };
    topic.void(&join("a", 2), &taken);
    topic.void(&Record::Join(Join { replaces: Some(3), ..join_of("a", 2) }), &taken);
    assert!(topic.control.owner(ShardId(0)).is_some());
    topic.ok(&Record::Join(Join { replaces: Some(1), ..join_of("a", 2) }));
    assert!(topic.control.is_up(&a, 2) && !topic.control.is_up(&a, 1));
    assert_eq!(topic.control.owner(ShardId(0)), None);
    assert_eq!(topic.control.placement(ShardId(0)), Some(&a));
    topic.ok(&leave("a", 2));
    assert_eq!(topic.control.placement(ShardId(0)), None);
    topic.ok(&join("a", 2));
}

#[test]
fn versions_that_do_not_fit_do_not_join() {
    let mut topic = Topic::with(4, &["a"]);
    let joins = |speaks, weight| {
        let mut join = join_of("b", 1);
        (join.version.speaks, join.weight) = (speaks, weight);
        Record::Join(join)
    };
    let (with, other) = (node("a"), (1, 2));
    topic.void(&joins((3, 4), 10), &Void::NoCommonVersion { node: (3, 4), with, other });
    topic.void(&joins((1, 2), 0), &Void::WeightRange { weight: 0 });
    topic.void(&joins((1, 2), 101), &Void::WeightRange { weight: 101 });
    topic.ok(&joins((2, 3), 10));
    topic.ok(&leave("a", 1));
    topic.ok(&leave("b", 1));
    topic.ok(&joins((9, 9), 10));
}

#[test]
fn a_claim_counts_if_its_epoch_is_newer() {
    let mut topic = Topic::with(4, &["a", "b"]);
    let epoch = topic.control.owner(ShardId(0)).unwrap().epoch.0;
    topic.void(&owned("a", 2, &[(0, epoch + 1)]), &Void::NotUp { node: node("a"), boot: 2 });
    topic.void(&owned("a", 1, &[(0, epoch), (9, 99_999)]), &Void::OldEpoch);
    let changes = topic.ok(&owned("b", 1, &[(0, epoch + 1), (1, 0)]));
    let epoch = Epoch(epoch + 1);
    assert_eq!(changes, [Change::Owned { shard: ShardId(0), node: node("b"), epoch }]);
    topic.void(&disowned("a", 1, &[(0, epoch.0)]), &Void::OldEpoch);
    topic.void(&disowned("b", 1, &[(0, epoch.0 - 1)]), &Void::OldEpoch);
    topic.ok(&disowned("b", 1, &[(0, epoch.0)]));
    assert_eq!(topic.control.owner(ShardId(0)), None);
    topic.void(&owned("b", 1, &[(0, epoch.0)]), &Void::OldEpoch);
}

#[test]
fn moves_begin_where_the_placement_wants_and_end_with_the_claim() {
    let mut topic = Topic::with(8, &["a", "b"]);
    let (shard, from, to) = moved_to_be(&mut topic);
    let id = ShardId(shard);
    topic.void(&begun(99, from, 1, to), &Void::UnknownShard { shard: ShardId(99), shards: 8 });
    topic.void(&begun(shard, to, 1, from), &Void::NotOwner { shard: id, node: node(to) });
    topic.void(&begun(shard, from, 2, to), &Void::NotOwner { shard: id, node: node(from) });
    topic.void(&begun(shard, from, 1, from), &Void::AlreadyThere { shard: id, node: node(from) });
    topic.void(&begun(shard, from, 1, "x"), &Void::NotPlaced { shard: id, to: node("x") });
    topic.void(&ended(shard, from, 1, Outcome::Done), &Void::NotMoving { shard: id });
    topic.ok(&begun(shard, from, 1, to));
    topic.void(&begun(shard, from, 1, to), &Void::AlreadyMoving { shard: id });
    topic.void(&ended(shard, from, 2, Outcome::Done), &Void::NotMoving { shard: id });
    topic.ok(&ended(shard, from, 1, Outcome::Undone(text("slow"))));
    assert_eq!((topic.control.undone(id), topic.control.moving(id)), (1, None));

    topic.ok(&begun(shard, from, 1, to));
    let epoch = topic.control.owner(id).unwrap().epoch.0 + 1;
    topic.ok(&owned(from, 1, &[(shard, epoch)]));
    assert_eq!((topic.control.undone(id), topic.control.moving(id)), (2, None));

    topic.ok(&begun(shard, from, 1, to));
    topic.ok(&disowned(from, 1, &[(shard, epoch)]));
    assert_eq!((topic.control.undone(id), topic.control.moving(id)), (3, None));
    topic.ok(&owned(from, 1, &[(shard, epoch + 1)]));
    topic.ok(&begun(shard, from, 1, to));
    let changes = topic.ok(&owned(to, 1, &[(shard, epoch + 2)]));
    let (from, to, outcome) = (node(from), node(to), Outcome::Done);
    assert!(changes.contains(&Change::MoveEnded { shard: id, from, to, outcome }));
    assert_eq!(topic.control.undone(id), 0);
}

#[test]
fn a_node_that_goes_ends_its_moves() {
    for goes in [0, 1] {
        let mut topic = Topic::with(8, &["a", "b", "c"]);
        let from = placed(&topic, 0);
        let to = if from == "a" { "b" } else { "a" };
        topic.ok(&command(Order::Move { shard: ShardId(0), to: node(to) }));
        topic.ok(&begun(0, &from, 1, to));
        topic.ok(&leave([&from, to][goes], 1));
        assert_eq!(topic.control.moves().count(), 0);
        assert_eq!(topic.control.owner(ShardId(0)).is_some(), goes == 1);
        assert_eq!(topic.control.pins().is_empty(), goes == 1, "a move to one who is gone is off");
    }
}

#[test]
fn limits_pause_and_guard_hold_moves_back() {
    let mut topic = Topic::with(64, &["a", "b"]);
    topic.ok(&command(Order::Drain { node: node("a"), deadline: None }));
    let plan = Plan::of(&topic.control);
    let shards: Vec<_> = plan.pending.iter().map(|pending| pending.shard.0).collect();
    assert!(shards.len() > 20);
    let begin = |at: usize| begun(shards[at], "a", 1, "b");
    topic.ok(&command(Order::Pause));
    topic.void(&begin(0), &Void::Paused);
    topic.ok(&command(Order::Resume));
    topic.ok(&command(Order::Guard { on: true }));
    topic.void(&begin(0), &Void::Guarded);
    topic.ok(&command(Order::Guard { on: false }));
    topic.ok(&begin(0));
    topic.ok(&begin(1));
    topic.void(&begin(2), &Void::NodeLimit { node: node("a"), moves: 2 });
    topic.ok(&command(Order::Limits(Limits { per_node: 3, cluster: 2 })));
    topic.void(&begin(2), &Void::ClusterLimit { moves: 2 });
    topic.ok(&command(Order::Limits(Limits { per_node: 3, cluster: 3 })));
    topic.ok(&begin(2));
    for (per_node, cluster) in [(0, 1), (1, 0), (101, 1), (1, 1_001)] {
        let order = Order::Limits(Limits { per_node, cluster });
        topic.void(&command(order), &Void::LimitsRange { per_node, cluster });
    }
}

#[test]
fn commands_on_what_is_not_there_are_refused() {
    let mut topic = Topic::with(8, &["a", "b", "c"]);
    topic.ok(&leave("c", 1));
    let (shard, x, c) = (ShardId(8), node("x"), node("c"));
    let unknown = Void::UnknownNode { node: x.clone() };
    let no_shard = Void::UnknownShard { shard, shards: 8 };
    let gone = Void::NodeDown { node: c.clone() };
    let first = ShardId(0);
    topic.void(&command(Order::Weight { node: x.clone(), weight: 1 }), &unknown);
    topic.void(&command(Order::Drain { node: x.clone(), deadline: None }), &unknown);
    topic.void(&command(Order::Undrain { node: x.clone() }), &unknown);
    topic.void(&command(Order::Pin { shard: first, node: x.clone() }), &unknown);
    topic.void(&command(Order::Move { shard: first, to: x }), &unknown);
    topic.void(&command(Order::Pin { shard, node: node("a") }), &no_shard);
    topic.void(&command(Order::Move { shard, to: node("a") }), &no_shard);
    topic.void(&command(Order::Unpin { shard }), &no_shard);
    topic.void(&command(Order::Unpin { shard: first }), &Void::NotPinned { shard: first });
    topic.void(&command(Order::Pin { shard: first, node: c.clone() }), &gone);
    topic.void(&command(Order::Move { shard: first, to: c.clone() }), &gone);
    topic.void(&command(Order::Drain { node: c, deadline: None }), &gone);
    topic
        .void(&command(Order::Undrain { node: node("a") }), &Void::NotDraining { node: node("a") });
    for weight in [0, 101] {
        let order = Order::Weight { node: node("a"), weight };
        topic.void(&command(order), &Void::WeightRange { weight });
    }
    topic.ok(&command(Order::Drain { node: node("a"), deadline: Some(Timestamp(9)) }));
    topic.void(
        &command(Order::Drain { node: node("b"), deadline: None }),
        &Void::LastNode { node: node("b") },
    );
    topic.void(
        &command(Order::Pin { shard: first, node: node("a") }),
        &Void::NodeDraining { node: node("a") },
    );
    assert!((0..8).all(|shard| placed(&topic, shard) == "b"));
}

#[test]
fn a_move_is_a_pin_until_the_shard_is_there() {
    let mut topic = Topic::with(8, &["a", "b"]);
    let from = placed(&topic, 0);
    let (to, shard) = (node(if from == "a" { "b" } else { "a" }), ShardId(0));
    let there = Void::AlreadyThere { shard, node: node(&from) };
    topic.void(&command(Order::Move { shard, to: node(&from) }), &there);
    topic.ok(&command(Order::Move { shard, to: to.clone() }));
    assert_eq!(topic.control.placement(shard), Some(&to));
    let epoch = topic.control.owner(shard).unwrap().epoch;
    topic.ok(&owned(to.0.as_str(), 1, &[(0, epoch.0 + 1)]));
    assert!(topic.control.pins().is_empty());

    topic.ok(&command(Order::Pin { shard, node: to.clone() }));
    let pinned = Void::Pinned { shard, node: to };
    topic.void(&command(Order::Move { shard, to: node(&from) }), &pinned);
    topic.ok(&command(Order::Unpin { shard }));
}

#[test]
fn a_node_that_was_moved_too_much_gives_shards_back() {
    let mut topic = Topic::with(20, &["a", "b"]);
    topic.ok(&command(Order::Weight { node: node("b"), weight: 1 }));
    for shard in (0..20).map(ShardId) {
        let _ = topic.apply(&command(Order::Move { shard, to: node("b") }));
    }
    let on_b = |topic: &Topic| (0..20).filter(|shard| placed(topic, *shard) == "b").count();
    assert!(on_b(&topic) > 2);
    for shard in 0..20 {
        let epoch = 10_000 + topic.next;
        topic.ok(&owned("b", 1, &[(shard, epoch)]));
    }
    assert!(topic.control.pins().is_empty());
    assert_eq!(on_b(&topic), 2, "the cap");
}

#[test]
fn a_command_for_another_placement_is_stale() {
    let mut topic = Topic::with(8, &["a"]);
    let expected = topic.control.at();
    let pause = |expected| Record::Command(Command { expected, ..command_of(Order::Pause) });
    topic.ok(&heartbeat("a", 1));
    topic.ok(&pause(expected));
    let changed_at = Offset(topic.next);
    topic.ok(&join("b", 1));
    topic.void(&pause(expected), &Void::Stale { changed_at });
    topic.ok(&pause(Some(changed_at)));
}

#[test]
fn weights_and_drains_outlive_a_crash_as_an_operator_expects() {
    let mut topic = Topic::with(8, &["a", "b"]);
    let a = node("a");
    topic.ok(&command(Order::Weight { node: a.clone(), weight: 20 }));
    topic.ok(&command(Order::Drain { node: a.clone(), deadline: None }));
    let again = |boot| Record::Join(Join { replaces: Some(boot - 1), ..join_of("a", boot) });
    topic.ok(&again(2));
    let member = topic.control.member(&a).unwrap();
    assert_eq!((member.weight, member.drain.is_some()), (20, true));
    topic.ok(&leave("a", 2));
    topic.ok(&Record::Join(Join { weight: 30, ..join_of("a", 3) }));
    let member = topic.control.member(&a).unwrap();
    assert_eq!((member.weight, member.drain.is_some()), (30, false));
}

#[test]
fn what_is_revoked_has_a_bound() {
    let mut topic = Topic::with(1, &["a"]);
    let revoke = |subject: &str, issued, until| {
        let token = Token::Subject { subject: text(subject), issued: Timestamp(issued) };
        command(Order::Revoke { token, until: Timestamp(until) })
    };
    let fit = REVOKED_BYTES_MAX / (255 + 22);
    for at in 0..fit {
        // Not through the topic, which compares fingerprints.
        let record = revoke(&format!("{at:0255}"), 1, if at < 10 { 50 } else { 51 });
        topic.control.apply(Offset(topic.next), &record).unwrap();
        topic.next += 1;
    }
    let more = "m".repeat(255);
    topic.ok(&revoke(&more, 1, 99));
    assert_eq!(topic.control.revoked().count(), fit - 9, "the expired ones have made room");
    for at in 1..10 {
        topic.ok(&revoke(&format!("{at:x>255}"), 1, 99));
    }
    topic.void(&revoke(&"y".repeat(255), 1, 99), &Void::TooManyRevoked { count: fit });
    assert_eq!(topic.ok(&revoke(&more, 2, 60)).len(), 1);
    assert_eq!(topic.ok(&revoke(&more, 1, 99)).len(), 0);
}

#[test]
fn members_have_a_bound_and_those_that_are_gone_make_room() {
    let mut topic = Topic::with(1, &[]);
    for at in 0..MEMBERS_MAX {
        topic.ok(&join(&format!("n{at}"), at as u64 + 1));
    }
    topic.void(&join("x", 1), &Void::TooManyMembers { members: MEMBERS_MAX });
    topic.ok(&leave("n7", 8));
    topic.ok(&leave("n3", 4));
    let changes = topic.ok(&join("x", 1));
    assert!(changes.contains(&Change::Forgotten { node: node("n3") }));
    assert_eq!(topic.control.members().len(), MEMBERS_MAX);
}

#[test]
fn the_largest_state_fits_a_snapshot() {
    let mut topic = Topic::default();
    topic.ok(&founded(SHARDS_MAX));
    for at in 0..MEMBERS_MAX {
        let mut join = join_of(&format!("{at:0128}"), u64::MAX - 1);
        let long = || text(&"x".repeat(255));
        join.addresses =
            crate::cluster::record::Addresses { client: long(), peer: long(), admin: long() };
        join.version.software = text(&"v".repeat(64));
        join.at = Timestamp(u64::MAX);
        // One placement for all of them is enough.
        topic.control.state.members.insert(join.node.clone(), member_of(&join));
    }
    let control = &mut topic.control;
    let last = node(&format!("{:0128}", MEMBERS_MAX - 1));
    for (at, shard) in (0..).zip(&mut control.state.shards) {
        *shard = Shard {
            placed: Some(last.clone()),
            owner: Some(last.clone()),
            epoch: Some(Epoch(u64::MAX)),
            moving: (at < 1_000).then(|| (last.clone(), Timestamp(u64::MAX))),
            undone: u32::MAX,
        };
        let pin = Pin { node: last.clone(), lasts: Lasts::Always };
        control.state.pins.insert(ShardId(at), pin);
    }
    let mut revoked = Revoked::default();
    for at in 0..REVOKED_BYTES_MAX / (128 + 12) {
        let token = Token::Id(text(&format!("{at:0128}")));
        revoked.revoke(&token, Timestamp(u64::MAX), Timestamp(0)).unwrap();
    }
    let room = REVOKED_BYTES_MAX - revoked.bytes();
    assert!(room < 128 + 12, "it is full");
    control.state.revoked = Arc::new(revoked);
    control.at = Some(Offset(u64::MAX - 1));
    let snapshot = control.to_snapshot().unwrap();
    let bytes = Record::Snapshot(snapshot.clone()).encode();
    assert!(bytes.len() > 800_000, "{}", bytes.len());
    assert_eq!(Control::restore(&snapshot).unwrap().state, control.state);
}

fn member_of(join: &Join) -> Member {
    Member {
        boot: join.boot,
        status: Status::Up,
        addresses: join.addresses.clone(),
        weight: 100,
        configured_weight: 100,
        version: join.version.clone(),
        joined_at: join.at,
        drain: Some(Drain { deadline: Some(Timestamp(u64::MAX)) }),
        load: Some(Load {
            ack_p99: std::time::Duration::from_millis(u64::from(u32::MAX)),
            sessions: u32::MAX,
            documents: u32::MAX,
        }),
        votes: std::iter::once(node(&format!("{:0128}", 127))).collect(),
    }
}

#[test]
fn a_snapshot_counts_right_behind_its_state_only() {
    let mut topic = Topic::with(8, &["a", "b"]);
    let snapshot = topic.control.to_snapshot().unwrap();
    topic.ok(&heartbeat("a", 1));
    topic.void(&Record::Snapshot(snapshot), &Void::SnapshotLate);
    let at = Offset(topic.next - 1);
    let bad = Snapshot { at, state: Bytes::from_static(&[1, 2, 3]) };
    topic.void(&Record::Snapshot(bad), &Void::SnapshotUnreadable);
    let good = topic.control.to_snapshot().unwrap();
    assert_eq!(topic.ok(&Record::Snapshot(good)), [Change::Snapshot]);
}

#[test]
fn a_snapshot_makes_one_state_of_two() {
    let mut topic = Topic::with(8, &["a", "b", "c"]);
    // A disk damages it after it was read here.
    let mut without = topic.control.clone();
    topic.ok(&leave("c", 1));
    let damaged = Offset(topic.next - 1);
    without.apply(damaged, &heartbeat("nobody", 1)).unwrap_err();
    assert_eq!(without.at(), topic.control.at());
    assert_ne!(without.fingerprint(), topic.control.fingerprint());
    let snapshot = Record::Snapshot(without.to_snapshot().unwrap());
    assert_eq!(topic.ok(&snapshot), [Change::Corrected, Change::Snapshot]);
    without.apply(Offset(topic.next - 1), &snapshot).unwrap();
    assert_eq!(without.fingerprint(), topic.control.fingerprint());
    assert!(topic.control.is_up(&node("c"), 1), "what only some have read is undone");
}

#[test]
fn a_snapshot_is_due_every_so_often() {
    let mut topic = Topic::with(1, &["a"]);
    assert!(!topic.control.wants_snapshot());
    topic.next = SNAPSHOT_EVERY + 1;
    topic.ok(&heartbeat("a", 1));
    assert!(topic.control.wants_snapshot());
    topic.ok(&Record::Snapshot(topic.control.to_snapshot().unwrap()));
    assert!(!topic.control.wants_snapshot());
}

/// A record, or one that fits what has happened so far.
#[derive(Debug, Clone)]
enum Step {
    Any(Record),
    Claim(u32),
    Begin(prop::sample::Index),
    Arrive(prop::sample::Index),
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => record().prop_map(Step::Any),
        4 => (0..18u32).prop_map(Step::Claim),
        3 => any::<prop::sample::Index>().prop_map(Step::Begin),
        2 => any::<prop::sample::Index>().prop_map(Step::Arrive),
        1 => Just(Step::Snapshot),
    ]
}

/// Turns steps into the records of a topic that begins with a cluster of some nodes.
fn topic_of(steps: Vec<Step>) -> Vec<Record> {
    let mut control = Control::default();
    let mut log = Vec::new();
    let mut put = |control: &mut Control, record: Record| {
        let _ = control.apply(Offset(log.len() as u64), &record);
        log.push(record);
    };
    put(&mut control, founded(16));
    put(&mut control, join("a", 1));
    put(&mut control, join("b", 1));
    for step in steps {
        let record = match step {
            Step::Any(record) => Some(record),
            Step::Claim(shard) => control.placement(ShardId(shard)).map(|to| {
                let boot = control.member(to).unwrap().boot;
                let epoch = Epoch(control.at().unwrap().0 + 100);
                Record::Owned(Owned {
                    node: to.clone(),
                    boot,
                    shards: vec![(ShardId(shard), epoch)],
                })
            }),
            Step::Begin(index) => {
                let pending = Plan::of(&control).pending;
                (!pending.is_empty()).then(|| {
                    let pending = index.get(&pending);
                    let from_boot = control.member(&pending.from).unwrap().boot;
                    Record::MoveBegun(MoveBegun {
                        shard: pending.shard,
                        from: pending.from.clone(),
                        from_boot,
                        to: pending.to.clone(),
                        at: Timestamp(1),
                    })
                })
            }
            Step::Arrive(index) => {
                let moves: Vec<_> = control.moves().collect();
                (!moves.is_empty()).then(|| {
                    let moving = index.get(&moves);
                    let boot = control.member(&moving.to).unwrap().boot;
                    let epoch = Epoch(control.at().unwrap().0 + 100);
                    let shards = vec![(moving.shard, epoch)];
                    Record::Owned(Owned { node: moving.to.clone(), boot, shards })
                })
            }
            Step::Snapshot => control.to_snapshot().map(Record::Snapshot),
        };
        if let Some(record) = record {
            put(&mut control, record);
        }
    }
    log
}

fn check_invariants(control: &Control, before: &Control) -> Result<(), TestCaseError> {
    let limits = control.limits();
    let moves: Vec<_> = control.moves().collect();
    let began = moves.len() > before.moves().count();
    if began {
        prop_assert!(moves.len() <= limits.cluster as usize);
        prop_assert!(!control.is_paused() && !control.is_guarded());
        for (node, _) in control.up() {
            let of = moves.iter().filter(|moving| moving.from == *node || moving.to == *node);
            let was = before.moves().filter(|moving| moving.from == *node || moving.to == *node);
            let (of, was) = (of.count(), was.count());
            prop_assert!(of <= was || of <= limits.per_node as usize);
        }
    }
    for moving in &moves {
        prop_assert!(control.is_up(&moving.from, moving.from_boot));
        prop_assert!(control.member(&moving.to).is_some_and(Member::is_up));
        prop_assert_eq!(
            control.owner(moving.shard).map(|owner| owner.node),
            Some(moving.from.clone())
        );
    }
    for shard in (0..control.shards()).map(ShardId) {
        if let Some(owner) = control.owner(shard) {
            prop_assert!(control.is_up(&owner.node, owner.boot), "owners are up");
        }
        let placed = control.placement(shard);
        prop_assert_eq!(placed.is_some(), control.up().next().is_some());
        prop_assert!(placed.is_none_or(|node| control.member(node).is_some_and(Member::is_up)));
    }
    let plan = Plan::of(control);
    let mut copy = control.clone();
    for pending in plan.may_begin(|_| false) {
        prop_assert_eq!(pending.stage, Stage::Waiting);
        let from_boot = copy.member(&pending.from).unwrap().boot;
        let (from, to) = (pending.from.clone(), pending.to.clone());
        let (shard, at) = (pending.shard, Timestamp(0));
        let begun = Record::MoveBegun(MoveBegun { shard, from, from_boot, to, at });
        let next = copy.at().unwrap().next();
        prop_assert!(copy.apply(next, &begun).is_ok(), "what the plan lets begin does");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn replicas_agree_and_invariants_hold(steps in prop::collection::vec(step(), 0..120)) {
        let log = topic_of(steps);
        let (mut one, mut two) = (Control::default(), Control::default());
        for (offset, record) in (0..).map(Offset).zip(&log) {
            let before = one.clone();
            let verdict = one.apply(offset, record);
            let copy = Record::decode(&record.encode()).unwrap();
            prop_assert_eq!(&verdict, &two.apply(offset, &copy));
            prop_assert_eq!(one.fingerprint(), two.fingerprint());
            if verdict.is_err() {
                prop_assert_eq!(&before.state, &one.state, "a void record changes nothing");
            }
            check_invariants(&one, &before)?;
        }
    }

    #[test]
    fn a_snapshot_and_the_rest_are_as_good_as_all(steps in prop::collection::vec(step(), 0..120)) {
        let log = topic_of(steps);
        let mut all = Control::default();
        // Those who began at one of the snapshots, or with its state.
        let mut late: Vec<Control> = Vec::new();
        for (offset, record) in (0..).map(Offset).zip(&log) {
            let verdict = all.apply(offset, record);
            for control in &mut late {
                prop_assert_eq!(&control.apply(offset, record), &verdict);
                prop_assert_eq!(&control.state, &all.state);
            }
            if let (Record::Snapshot(snapshot), Ok(_)) = (record, &verdict) {
                let mut here = Control::default();
                prop_assert_eq!(&here.apply(offset, record), &verdict);
                prop_assert_eq!(&here, &all);
                late.push(here);
                let mut restored = Control::restore(snapshot).unwrap();
                prop_assert_eq!(restored.apply(offset, record), verdict);
                prop_assert_eq!(&restored, &all);
            }
        }
    }
}
