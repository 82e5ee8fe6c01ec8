//! What the tests of this module share: names, records, and random ones.

use proptest::prelude::*;

use crate::cluster::record::{
    Addresses, Command, Disowned, Down, Founded, Heartbeat, Join, Leave, Limits, MoveBegun,
    MoveEnded, Operator, Order, Outcome, Owned, Record, Snapshot, Text, Token, Version,
};
use crate::cluster::{Change, Control, Void};
use crate::types::{Epoch, NodeId, Offset, ShardId, Timestamp};

pub(crate) fn node(name: &str) -> NodeId {
    NodeId(name.parse().unwrap())
}

pub(crate) fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    text.parse().unwrap()
}

pub(crate) fn founded(shards: u32) -> Record {
    Record::Founded(Founded { cluster: 7, shards, at: Timestamp(1) })
}

pub(crate) fn join_of(name: &str, boot: u64) -> Join {
    Join {
        node: node(name),
        boot,
        replaces: None,
        addresses: Addresses { client: text("c"), peer: text("p"), admin: text("a") },
        weight: 10,
        version: Version { software: text("0"), speaks: (1, 2), rules: (1, 1) },
        at: Timestamp(boot),
    }
}

pub(crate) fn join(name: &str, boot: u64) -> Record {
    Record::Join(join_of(name, boot))
}

pub(crate) fn heartbeat(name: &str, boot: u64) -> Record {
    let node = node(name);
    Record::Heartbeat(Heartbeat { node, boot, ack_p99_ms: 5, sessions: 1, documents: 2 })
}

pub(crate) fn down(name: &str, boot: u64, by: &str, by_boot: u64) -> Record {
    Record::Down(Down { node: node(name), boot, by: node(by), by_boot })
}

pub(crate) fn leave(name: &str, boot: u64) -> Record {
    Record::Leave(Leave { node: node(name), boot })
}

pub(crate) fn owned(name: &str, boot: u64, shards: &[(u32, u64)]) -> Record {
    Record::Owned(Owned { node: node(name), boot, shards: list(shards) })
}

pub(crate) fn disowned(name: &str, boot: u64, shards: &[(u32, u64)]) -> Record {
    Record::Disowned(Disowned { node: node(name), boot, shards: list(shards) })
}

fn list(shards: &[(u32, u64)]) -> Vec<(ShardId, Epoch)> {
    shards.iter().map(|&(shard, epoch)| (ShardId(shard), Epoch(epoch))).collect()
}

pub(crate) fn begun(shard: u32, from: &str, from_boot: u64, to: &str) -> Record {
    let (shard, from, to, at) = (ShardId(shard), node(from), node(to), Timestamp(3));
    Record::MoveBegun(MoveBegun { shard, from, from_boot, to, at })
}

pub(crate) fn ended(shard: u32, from: &str, from_boot: u64, outcome: Outcome) -> Record {
    Record::MoveEnded(MoveEnded { shard: ShardId(shard), from: node(from), from_boot, outcome })
}

pub(crate) fn command_of(order: Order) -> Command {
    let by = Operator { name: text("ann"), why: text("test"), at: Timestamp(50) };
    Command { by, expected: None, order }
}

pub(crate) fn command(order: Order) -> Record {
    Record::Command(command_of(order))
}

/// A state with the records that led to it, one at each offset.
#[derive(Default)]
pub(crate) struct Topic {
    pub(crate) control: Control,
    pub(crate) next: u64,
}

impl Topic {
    /// A cluster with the nodes, each of which owns the shards that are placed on it.
    pub(crate) fn with(shards: u32, nodes: &[&str]) -> Self {
        let mut topic = Self::default();
        topic.ok(&founded(shards));
        for name in nodes {
            topic.ok(&join(name, 1));
        }
        topic.claim_all();
        topic
    }

    pub(crate) fn apply(&mut self, record: &Record) -> Result<Vec<Change>, Void> {
        let before = self.control.clone();
        let verdict = self.control.apply(Offset(self.next), record);
        if let Err(void) = &verdict {
            let same = before.fingerprint() == self.control.fingerprint();
            assert!(same, "a void record changes nothing: {record:?} {void}");
        }
        self.next += 1;
        verdict
    }

    pub(crate) fn ok(&mut self, record: &Record) -> Vec<Change> {
        self.apply(record).unwrap_or_else(|void| panic!("{record:?}: {void}"))
    }

    pub(crate) fn void(&mut self, record: &Record, expected: &Void) {
        assert_eq!(self.apply(record).as_ref(), Err(expected), "{record:?}");
    }

    /// Lets every node own what is placed on it and has no owner.
    pub(crate) fn claim_all(&mut self) {
        for shard in (0..self.control.shards()).map(ShardId) {
            let Some(to) = self.control.placement(shard).cloned() else { continue };
            if self.control.owner(shard).is_none() {
                let boot = self.control.member(&to).unwrap().boot;
                let shards = vec![(shard, Epoch(self.next + 1_000))];
                self.ok(&Record::Owned(Owned { node: to, boot, shards }));
            }
        }
    }
}

/// A record of any kind about one of few nodes, runs and shards; most count now and then.
pub(crate) fn record() -> impl Strategy<Value = Record> {
    let name = || prop::sample::select(vec!["a", "b", "c", "d", "e"]);
    let (boot, shard) = (|| 1..3u64, || 0..18u32);
    let shards = || prop::collection::vec((0..18u32, 0..60u64), 0..6);
    prop_oneof![
        1 => (1..20u32).prop_map(founded),
        12 => (name(), boot(), prop::option::of(1..3u64), 1..9u32, rules()).prop_map(
            |(name, boot, replaces, weight, rules)| {
                let mut join = Join { replaces, weight, ..join_of(name, boot) };
                join.version.rules = rules;
                Record::Join(join)
            }
        ),
        3 => (name(), boot()).prop_map(|(name, boot)| heartbeat(name, boot)),
        5 => (name(), boot(), name(), boot()).prop_map(|(a, boot, b, by)| down(a, boot, b, by)),
        1 => (name(), boot()).prop_map(|(name, boot)| leave(name, boot)),
        12 => (name(), boot(), shards()).prop_map(|(name, boot, list)| owned(name, boot, &list)),
        2 => (name(), boot(), shards()).prop_map(|(name, boot, list)| disowned(name, boot, &list)),
        6 => (shard(), name(), boot(), name())
            .prop_map(|(shard, from, boot, to)| begun(shard, from, boot, to)),
        2 => (shard(), name(), boot(), any::<bool>()).prop_map(|(shard, name, boot, done)| {
            let outcome = if done { Outcome::Done } else { Outcome::Undone(text("why")) };
            ended(shard, name, boot, outcome)
        }),
        8 => (order(), prop::option::of(0..80u64)).prop_map(|(order, expected)| {
            let expected = expected.map(Offset);
            Record::Command(Command { expected, ..command_of(order) })
        }),
        1 => (0..80u64, prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(at, state)| {
            Record::Snapshot(Snapshot { at: Offset(at), state: state.into() })
        }),
    ]
}

/// Which versions of the rules a node can follow; those of most nodes have some in common.
fn rules() -> impl Strategy<Value = (u16, u16)> {
    prop::sample::select(vec![(1, 1), (1, 2), (1, 2), (1, 2), (1, 3), (2, 3)])
}

fn order() -> impl Strategy<Value = Order> {
    let node = || prop::sample::select(vec!["a", "b", "c", "d", "e"]).prop_map(node);
    let shard = || (0..18u32).prop_map(ShardId);
    let time = || (0..100u64).prop_map(Timestamp);
    prop_oneof![
        (node(), 0..102u32).prop_map(|(node, weight)| Order::Weight { node, weight }),
        (shard(), node()).prop_map(|(shard, node)| Order::Pin { shard, node }),
        shard().prop_map(|shard| Order::Unpin { shard }),
        (node(), prop::option::of(time()))
            .prop_map(|(node, deadline)| Order::Drain { node, deadline }),
        node().prop_map(|node| Order::Undrain { node }),
        (0..4u32, 0..6u32)
            .prop_map(|(per_node, cluster)| Order::Limits(Limits { per_node, cluster })),
        Just(Order::Pause),
        Just(Order::Resume),
        (shard(), node()).prop_map(|(shard, to)| Order::Move { shard, to }),
        any::<bool>().prop_map(|on| Order::Guard { on }),
        ("[a-c]{1,2}", time())
            .prop_map(|(id, until)| { Order::Revoke { token: Token::Id(text(&id)), until } }),
        ("[a-c]{1,2}", time(), time()).prop_map(|(subject, issued, until)| {
            let subject = text(&subject);
            Order::Revoke { token: Token::Subject { subject, issued }, until }
        }),
    ]
}
