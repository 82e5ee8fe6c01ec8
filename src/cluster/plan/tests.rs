//! What is to move, what may begin, and what a dry run says.

use super::*;
use crate::cluster::error::Void;
use crate::cluster::record::{Limits, Order, Outcome};
use crate::cluster::testing::{Topic, begun, command, command_of, ended, join, node, owned, text};

/// Three nodes with 30 shards; `a` is to give all of its own away.
fn draining() -> Topic {
    let mut topic = Topic::with(30, &["a", "b", "c"]);
    settle(&mut topic);
    topic.ok(&command(Order::Drain { node: node("a"), deadline: None }));
    topic
}

/// Lets every shard arrive where it is to be.
fn settle(topic: &mut Topic) {
    for Pending { shard, to, .. } in Plan::of(&topic.control).pending {
        let epoch = topic.next + 1_000;
        topic.ok(&owned(to.0.as_str(), 1, &[(shard.0, epoch)]));
    }
}

#[test]
fn what_is_not_where_it_should_be_is_pending_by_shard() {
    let mut topic = draining();
    let plan = Plan::of(&topic.control);
    assert!(plan.pending.len() >= 9);
    assert!(plan.pending.is_sorted_by_key(|pending| pending.shard));
    assert!(plan.pending.iter().all(|pending| {
        pending.from == node("a")
            && pending.to != node("a")
            && pending.why == Why::Drain
            && pending.stage == Stage::Waiting
    }));
    let first = &plan.pending[0];
    topic.ok(&begun(first.shard.0, "a", 1, first.to.0.as_str()));
    assert_eq!(Plan::of(&topic.control).pending[0].stage, Stage::Begun);
    settle(&mut topic);
    assert_eq!(Plan::of(&topic.control).pending, []);
}

#[test]
fn as_many_begin_as_the_limits_allow() {
    let mut topic = draining();
    let may_begin = |topic: &Topic| {
        let plan = Plan::of(&topic.control);
        plan.may_begin(|_| false).into_iter().map(|pending| pending.shard).collect::<Vec<_>>()
    };
    let plan = Plan::of(&topic.control);
    let order: Vec<_> = plan.pending.iter().map(|pending| pending.shard).collect();
    assert_eq!(may_begin(&topic), order[..2]);
    topic.ok(&begun(order[0].0, "a", 1, plan.pending[0].to.0.as_str()));
    assert_eq!(may_begin(&topic), order[1..2]);
    let waits = |pending: &Pending| pending.shard == order[1];
    let others = Plan::of(&topic.control);
    let others: Vec<_> = others.may_begin(waits).iter().map(|pending| pending.shard).collect();
    assert_eq!(others, order[2..3], "one that waits holds no other back");
    topic.ok(&command(Order::Limits(Limits { per_node: 9, cluster: 4 })));
    assert_eq!(may_begin(&topic), order[1..4]);
    for (stop, go) in
        [(Order::Pause, Order::Resume), (Order::Guard { on: true }, Order::Guard { on: false })]
    {
        topic.ok(&command(stop));
        assert_eq!(may_begin(&topic), []);
        topic.ok(&command(go));
    }
    assert_eq!(may_begin(&topic).len(), 3);
}

#[test]
fn a_dry_run_tells_what_a_command_would_move_and_moves_nothing() {
    let mut topic = Topic::with(30, &["a", "b"]);
    settle(&mut topic);
    let before = topic.control.clone();
    // The node that joined first has more than its share, so nothing moves in turn.
    let (owner, other) = (node("a"), node("b"));
    let owner_of = |id| topic.control.owner(ShardId(id)).unwrap().node;
    let shard = (0..30).find(|id| owner_of(*id) == owner).map(ShardId).unwrap();
    let check = |order: Order, count: usize, why: Why| {
        let plan = Plan::after(&topic.control, &command_of(order)).unwrap();
        assert_eq!(plan.pending.len(), count);
        assert!(plan.pending.iter().all(|pending| pending.why == why), "{:?}", plan.pending);
    };
    check(Order::Pin { shard, node: other.clone() }, 1, Why::Pin);
    check(Order::Move { shard, to: other.clone() }, 1, Why::Move);
    let owned = (0..30).filter(|id| owner_of(*id) == owner);
    check(Order::Drain { node: owner.clone(), deadline: None }, owned.count(), Why::Drain);
    check(Order::Pause, 0, Why::Pin);
    let plan = Plan::after(&topic.control, &command_of(Order::Weight { node: other, weight: 30 }));
    assert!(plan.unwrap().pending.iter().all(|pending| pending.why == Why::Balance));
    assert_eq!(topic.control, before);
}

#[test]
fn a_dry_run_of_a_bad_command_says_why() {
    let mut topic = Topic::with(30, &["a"]);
    let expected = topic.control.at();
    topic.ok(&join("b", 1));
    let x = node("x");
    let refused = Plan::after(&topic.control, &command_of(Order::Undrain { node: x.clone() }));
    let unknown = Refusal::Void(Void::UnknownNode { node: x });
    assert_eq!(refused.as_ref(), Err(&unknown));
    assert_eq!(unknown.to_string(), "there is no node x: see the names in the list of nodes");
    let stale = Command { expected, ..command_of(Order::Pause) };
    let changed_at = topic.control.placement_changed_at().unwrap();
    let refused = Plan::after(&topic.control, &stale);
    assert_eq!(refused, Err(Refusal::Void(Void::Stale { changed_at })));
}

#[test]
fn a_dry_run_leaves_out_what_moves_anyway() {
    let topic = draining();
    let shard = Plan::of(&topic.control).pending[0].shard;
    let order = Order::Pin { shard, node: node("b") };
    let plan = Plan::after(&topic.control, &command_of(order)).unwrap();
    let to = &Plan::of(&topic.control).pending[0].to;
    let other = node(if *to == node("b") { "c" } else { "b" });
    let turned = command_of(Order::Pin { shard, node: other.clone() });
    let turned = Plan::after(&topic.control, &turned).unwrap().pending;
    assert!(turned.iter().any(|new| new.shard == shard && new.to == other), "it turns elsewhere");
    let moves = Plan::of(&topic.control).pending;
    assert!(
        plan.pending
            .iter()
            .all(|new| !moves.iter().any(|old| { (old.shard, &old.to) == (new.shard, &new.to) }))
    );
}

#[test]
fn moves_from_a_node_go_on_until_they_may_not_begin_or_do_not_get_on() {
    let mut topic = draining();
    let goes_on = |topic: &Topic, name| Plan::of(&topic.control).goes_on(&node(name));
    assert!(goes_on(&topic, "a"));
    assert!(!goes_on(&topic, "b"), "nothing is to leave it");
    let stops =
        [(Order::Pause, Order::Resume), (Order::Guard { on: true }, Order::Guard { on: false })];
    for (stop, go_on) in stops {
        topic.ok(&command(stop));
        assert!(!goes_on(&topic, "a"));
        topic.ok(&command(go_on));
        assert!(goes_on(&topic, "a"));
    }
    let pending = Plan::of(&topic.control).pending;
    let of = |one: &Pending| (one.shard.0, one.to.0.to_string());
    let all: Vec<_> = pending.iter().map(of).collect();
    for _ in 0..UNDONE_MAX {
        for (shard, to) in &all {
            assert!(goes_on(&topic, "a"));
            topic.ok(&begun(*shard, "a", 1, to));
            topic.ok(&ended(*shard, "a", 1, Outcome::Undone(text("no"))));
        }
    }
    assert!(!goes_on(&topic, "a"), "none gets on");
    let (shard, to) = &all[0];
    topic.ok(&begun(*shard, "a", 1, to));
    topic.ok(&command(Order::Pause));
    assert!(goes_on(&topic, "a"), "what has begun ends");
}

/// What `quire apply --throttle` writes, with a join in between.
#[test]
fn a_limit_that_was_set_for_a_stale_command_moves_nothing() {
    let mut topic = Topic::with(8, &["a", "b"]);
    let expected = topic.control.at();
    let planned = |order| Record::Command(Command { expected, ..command_of(order) });
    let limits = Limits { per_node: 2, cluster: 1 };
    topic.ok(&planned(Order::Limits(limits)));
    let changed_at = Offset(topic.next);
    topic.ok(&join("c", 1));
    let placed = |topic: &Topic| -> Vec<_> {
        (0..8).map(|shard| topic.control.placement(ShardId(shard)).cloned()).collect()
    };
    let before = placed(&topic);
    let drain = Order::Drain { node: node("a"), deadline: None };
    topic.void(&planned(drain), &Void::Stale { changed_at });
    assert_eq!((placed(&topic), topic.control.limits()), (before, limits));
}
