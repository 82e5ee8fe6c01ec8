//! What operators command, as records of the control topic.

use quire::cluster::{Command, Operator, Order as Wanted, Record};
use quire::types::{ShardId, Timestamp};

use crate::cluster::host::name;
use crate::cluster::plan::Order;

pub(crate) fn order(order: &Order) -> Wanted {
    match *order {
        Order::Move { shard, to } => Wanted::Move { shard: ShardId(shard), to: name(to) },
        Order::Pin { shard, to } => Wanted::Pin { shard: ShardId(shard), node: name(to) },
        Order::Unpin { shard } => Wanted::Unpin { shard: ShardId(shard) },
        Order::Weight { node, weight } => Wanted::Weight { node: name(node), weight },
        Order::Drain { node } => Wanted::Drain { node: name(node), deadline: None },
        Order::Undrain { node } => Wanted::Undrain { node: name(node) },
        Order::Pause => Wanted::Pause,
        Order::Resume => Wanted::Resume,
        Order::Guard { on } => Wanted::Guard { on },
    }
}

pub(crate) fn command(order: Wanted) -> Record {
    let name = "operator".parse().expect("a short text");
    let why = "it is in the plan".parse().expect("a short text");
    Record::Command(Command { by: Operator { name, why, at: Timestamp(1) }, expected: None, order })
}
