//! Nodes that go in order: their shards move as long as moves get on, and what is left goes at
//! once. In one process, over logs in memory, in time that runs as fast as it can.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{join, join_all};
use quire::clock::Clock;
use quire::cluster::{Limits, Order, Outcome, Record};
use quire::log::Log;
use quire::node::leave::{self, Handed};
use quire::shard::Directory;
use quire::types::{Offset, ShardId, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use crate::inner::PATIENCE;
use crate::keeping::{Cluster, SHARDS, check, name, write_all};

/// Longer than the tests wait: whoever waits for the whole of it is seen.
const GRACE: Duration = Duration::from_secs(3_600);

/// How long clients may wait for a word.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What the control topic says of a node's end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ended {
    begun: usize,
    moved: usize,
    undone: usize,
    /// Shards that others claimed after it had left.
    after: usize,
    left: bool,
}

impl Ended {
    /// Reads what the topic says from an offset on.
    async fn read(cluster: &Cluster, node: &str, from: Offset) -> Self {
        let mut ended = Self::default();
        let batch = cluster.control.read(ShardId(0), from, usize::MAX).await.expect("it is there");
        for stored in batch.records {
            match Record::decode(&stored.bytes).expect("it is whole") {
                Record::MoveBegun(begun) if begun.from == name(node) => ended.begun += 1,
                Record::MoveEnded(of) if of.from == name(node) => match of.outcome {
                    Outcome::Undone(_) => ended.undone += 1,
                    Outcome::Done => {}
                },
                Record::Owned(owned) if owned.node != name(node) => match ended.left {
                    true => ended.after += owned.shards.len(),
                    false => ended.moved += owned.shards.len(),
                },
                Record::Leave(leave) if leave.node == name(node) => ended.left = true,
                _ => {}
            }
        }
        ended
    }
}

/// Stops one node of three, which has `here` shards, while people type.
async fn stop(prepare: impl AsyncFn(&Cluster)) -> (usize, Ended) {
    let (mut cluster, mut words) = (Cluster::of(&["a", "b", "c"]).await, BTreeMap::new());
    cluster.settled().await;
    write_all(&cluster, &mut words, 0).await;
    prepare(&cluster).await;
    let node = &cluster.nodes[&name("c")];
    let (member, keeper) = (node.member.clone(), node.keeper.clone());
    let here = keeper.here().len();
    assert!(here > 3, "it has a share");
    let from = member.control().at().expect("much was read").next();
    let gone = Cell::new(false);
    let stopping = async {
        let clock = Clock::fixed(Timestamp(1));
        let leaving = leave::hand_over(&member, &keeper, &clock, GRACE);
        let handed = timeout(PATIENCE, leaving).await;
        gone.set(true);
        handed.expect("it does not wait for what does not come")
    };
    let writing = async {
        let (mut round, mut longest) = (0, Duration::ZERO);
        while !gone.get() || round < 3 {
            round += 1;
            longest = longest.max(write_all(&cluster, &mut words, round).await);
            sleep(Duration::from_millis(20)).await;
        }
        (round, longest)
    };
    let (handed, (round, longest)) = join(stopping, writing).await;
    assert_eq!(handed, Handed::Everything);
    assert!(longest <= PAUSE_MAX, "clients have waited {longest:?} for a word");
    assert_eq!(keeper.here().len(), 0);
    cluster.crash("c");
    cluster.settled().await;
    write_all(&cluster, &mut words, round + 1).await;
    check(&cluster, &words).await;
    let ended = Ended::read(&cluster, "c", from).await;
    assert!(ended.left, "{ended:?}");
    (here, ended)
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_has_moved_its_shards_before_it_leaves() {
    let (here, ended) = stop(async |_| {}).await;
    let moves = Ended { begun: here, moved: here, left: true, ..Ended::default() };
    assert_eq!(ended, moves);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_while_moves_are_paused_leaves_without_them() {
    let (here, ended) = stop(async |cluster| cluster.order(Order::Pause).await).await;
    assert_eq!(ended, Ended { after: here, left: true, ..Ended::default() });
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_while_acknowledgements_are_slow_leaves_without_moves() {
    let (here, ended) = stop(async |cluster| cluster.order(Order::Guard { on: true }).await).await;
    assert_eq!(ended, Ended { after: here, left: true, ..Ended::default() });
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_and_reaches_no_other_leaves_when_its_moves_do_not_get_on() {
    let cut = async |cluster: &Cluster| {
        cluster.calls.cut.lock().insert(name("c"));
    };
    let (here, ended) = stop(cut).await;
    assert_eq!((ended.moved, ended.after), (0, here), "{ended:?}");
    assert!(ended.begun >= 2 * here && ended.undone <= ended.begun, "all were tried: {ended:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_without_time_leaves_at_once() {
    let (mut cluster, mut words) = (Cluster::of(&["a", "b"]).await, BTreeMap::new());
    cluster.settled().await;
    write_all(&cluster, &mut words, 0).await;
    let node = &cluster.nodes[&name("b")];
    let (here, from) = (node.keeper.here().len(), node.member.control().at());
    let clock = Clock::fixed(Timestamp(1));
    let leaving = leave::hand_over(&node.member, &node.keeper, &clock, Duration::ZERO);
    let handed = timeout(PATIENCE, leaving).await.expect("it leaves");
    assert_eq!(handed, Handed::Everything);
    let ended = Ended::read(&cluster, "b", from.expect("much was read").next()).await;
    // Some may have begun to move before it could be told not to.
    assert!(ended.left && ended.after > 0 && ended.moved + ended.after == here, "{ended:?}");
    cluster.crash("b");
    cluster.settled().await;
    write_all(&cluster, &mut words, 1).await;
    check(&cluster, &words).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_node_keeps_what_the_others_had() {
    let (mut cluster, mut words) = (Cluster::of(&["a", "b"]).await, BTreeMap::new());
    cluster.settled().await;
    write_all(&cluster, &mut words, 0).await;
    let clock = Clock::fixed(Timestamp(1));
    let stopping = async |node: &str| {
        let node = &cluster.nodes[&name(node)];
        let leaving = leave::hand_over(&node.member, &node.keeper, &clock, GRACE);
        timeout(PATIENCE, leaving).await.expect("it waits for nobody")
    };
    // Whichever is told first, the other one is the last.
    let handed = join(stopping("a"), stopping("b")).await;
    let (first, last) = match handed {
        (Handed::Everything, Handed::Nothing) => ("a", "b"),
        (Handed::Nothing, Handed::Everything) => ("b", "a"),
        other => panic!("one goes, the other one saves: {other:?}"),
    };
    assert_eq!(cluster.nodes[&name(last)].keeper.here().len(), SHARDS as usize);
    cluster.crash(first);
    write_all(&cluster, &mut words, 1).await;
    check(&cluster, &words).await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_takes_shards_whoever_was_quicker_to_say_so() {
    let cluster = Cluster::of(&["a", "b"]).await;
    cluster.settled().await;
    cluster.order(Order::Drain { node: name("b"), deadline: None }).await;
    cluster.settled().await;
    let (member, clock) = (&cluster.nodes[&name("b")].member, Clock::fixed(Timestamp(1)));
    let both = join(leave::stay(member, &clock), leave::stay(member, &clock)).await;
    assert!(matches!(both, (Ok(()), Ok(()))), "{both:?}");
    cluster.settled().await;
    assert!(cluster.nodes[&name("b")].keeper.here().len() > 3);
}

#[tokio::test(start_paused = true)]
async fn a_drain_with_a_deadline_spreads_its_moves_over_the_time() {
    let cluster = Cluster::of(&["a", "b"]).await;
    cluster.settled().await;
    let limits = Limits { per_node: 100, cluster: 100 };
    cluster.order(Order::Limits(limits)).await;
    let keeper = &cluster.nodes[&name("b")].keeper;
    let here = keeper.here().len();
    // The nodes' clocks began with them.
    let began = Instant::now();
    let within = Duration::from_secs(600);
    let deadline = cluster.clock.now().0 + 600_000;
    let drain = Order::Drain { node: name("b"), deadline: Some(Timestamp(deadline)) };
    cluster.order(drain).await;
    let mut left = vec![here];
    while began.elapsed() < within {
        sleep(within / 8).await;
        left.push(keeper.here().len());
    }
    assert!(left.is_sorted_by(|before, after| before >= after), "{left:?}");
    let even = |(eighth, left): (usize, &usize)| left.abs_diff(here - here * eighth / 8) <= 1;
    assert!(left.iter().enumerate().all(even), "{left:?}");
    assert_eq!(keeper.here().len(), 0, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drain_whose_deadline_has_passed_goes_on_as_fast_as_the_limits_allow() {
    let cluster = Cluster::of(&["a", "b"]).await;
    cluster.settled().await;
    cluster.order(Order::Pause).await;
    let deadline = cluster.clock.now().0 + 60_000;
    let drain = Order::Drain { node: name("b"), deadline: Some(Timestamp(deadline)) };
    cluster.order(drain).await;
    sleep(Duration::from_secs(120)).await;
    assert!(cluster.nodes[&name("b")].keeper.here().len() > 3, "moves are paused");
    let began = Instant::now();
    cluster.order(Order::Resume).await;
    cluster.settled().await;
    assert_eq!(cluster.nodes[&name("b")].keeper.here().len(), 0);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn of_three_that_go_at_once_one_has_everything_in_the_end() {
    let (cluster, mut words) = (Cluster::of(&["a", "b", "c"]).await, BTreeMap::new());
    cluster.settled().await;
    write_all(&cluster, &mut words, 0).await;
    let clock = Clock::fixed(Timestamp(1));
    let stopping = cluster.nodes.values().map(async |node| {
        let leaving = leave::hand_over(&node.member, &node.keeper, &clock, GRACE);
        let handed = timeout(PATIENCE, leaving).await.expect("it does not wait for ever");
        (handed, node.keeper.here().len())
    });
    let mut handed = join_all(stopping).await;
    handed.sort_by_key(|(_, here)| *here);
    let gone = (Handed::Everything, 0);
    assert_eq!(handed, [gone, gone, (Handed::Nothing, SHARDS as usize)]);
    check(&cluster, &words).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_node_that_is_not_emptied_leaves_its_shards_to_those_that_stay() {
    let (mut cluster, mut words) = (Cluster::of(&["a", "b"]).await, BTreeMap::new());
    cluster.settled().await;
    write_all(&cluster, &mut words, 0).await;
    cluster.order(Order::Drain { node: name("a"), deadline: None }).await;
    cluster.settled().await;
    let node = &cluster.nodes[&name("b")];
    let clock = Clock::fixed(Timestamp(1));
    let leaving = leave::hand_over(&node.member, &node.keeper, &clock, GRACE);
    let handed = timeout(PATIENCE, leaving).await.expect("it does not wait for ever");
    assert_eq!(handed, Handed::Everything);
    cluster.crash("b");
    write_all(&cluster, &mut words, 1).await;
    assert_eq!(cluster.nodes[&name("a")].keeper.here().len(), SHARDS as usize);
    check(&cluster, &words).await;
}
