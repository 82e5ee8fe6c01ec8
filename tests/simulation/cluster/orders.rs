//! What operators command, as records of the control topic.

use quire::cluster::{Command, Limits, Operator, Order as Wanted, Record};
use quire::types::{Offset, ShardId, Timestamp};

use crate::cluster::host::name;
use crate::cluster::plan::Order;

fn order(order: &Order) -> Wanted {
    match *order {
        Order::Move { shard, to } => Wanted::Move { shard: ShardId(shard), to: name(to) },
        Order::Pin { shard, to } => Wanted::Pin { shard: ShardId(shard), node: name(to) },
        Order::Unpin { shard } => Wanted::Unpin { shard: ShardId(shard) },
        Order::Weight { node, weight } => Wanted::Weight { node: name(node), weight },
        Order::Drain { node, deadline } => {
            Wanted::Drain { node: name(node), deadline: deadline.map(Timestamp) }
        }
        Order::Undrain { node } => Wanted::Undrain { node: name(node) },
        Order::Pause => Wanted::Pause,
        Order::Resume => Wanted::Resume,
        Order::Guard { on } => Wanted::Guard { on },
        Order::Limits { per_node, cluster } => Wanted::Limits(Limits { per_node, cluster }),
        Order::Stale => Wanted::Pause,
    }
}

/// Returns the record that gives an order.
pub(crate) fn command(wanted: &Order) -> Record {
    let name = "operator".parse().expect("a short text");
    let why = "it is in the plan".parse().expect("a short text");
    let by = Operator { name, why, at: Timestamp(1) };
    let expected = (*wanted == Order::Stale).then_some(Offset(0));
    Record::Command(Command { by, expected, order: order(wanted) })
}
