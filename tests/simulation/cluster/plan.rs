//! What a seed decides of a cluster: its size, its work, and what goes wrong when.

use std::ops::Range;
use std::time::Duration;

use bytesize::ByteSize;
use quire::relay;
use quire::testing::{Faults, StoreFaults};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::plan::{self, doc_config, millis, shard_config};

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// What clients do, and how the stores fail.
    pub(crate) clients: plan::Plan,
    pub(crate) nodes: usize,
    pub(crate) shards: u32,
    /// How the control topic fails.
    pub(crate) control: Faults,
    /// The longest way of a message between nodes, and to the log.
    pub(crate) latency_max: Duration,
    pub(crate) append_timeout: Duration,
    pub(crate) relay: relay::Config,
    /// What goes wrong, by time.
    pub(crate) faults: Vec<(Duration, Fault)>,
}

/// Something that goes wrong, or that somebody wants. Nodes are numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process ends; it starts again after a rest.
    Crash { node: usize, end: End, rest: Duration },
    /// It is stopped in order, right after something was ordered there if anything was.
    Stop { node: usize, after: Option<Order>, rest: Duration },
    /// It makes no progress for a while.
    Freeze { node: usize, rest: Duration },
    /// It stands still while another process is started under its name.
    Replace { node: usize, rest: Duration },
    /// Nothing gets from one node to another, and nothing back where that is cut, too.
    CutLink { from: usize, to: usize, back: bool, rest: Duration },
    /// The connections between two nodes are lost.
    LoseLinks { nodes: (usize, usize) },
    /// A node does not reach the log, or does not hear of it.
    CutLog { node: usize, up: bool, down: bool, rest: Duration },
    /// The control topic is, and not the documents' log: others hold the node for dead, and it
    /// goes on until it hears of their claims.
    CutControl { node: usize, up: bool, down: bool, rest: Duration },
    /// A node does not reach the checkpoint store.
    CutStore { node: usize, rest: Duration },
    /// A node's wall clock jumps to so many minutes after, or before, the right time.
    Jump { node: usize, ahead: i64 },
    /// The store forgets the newest checkpoint of a document.
    Forget { doc: usize },
    /// An operator gives a command at some node.
    Order { at: usize, order: Order },
}

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What it has handed to the log still arrives.
    Written,
    /// It does not.
    Lost,
    /// It does not, and its peers are not told that their connections are gone.
    Silent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    Move {
        shard: u32,
        to: usize,
    },
    Pin {
        shard: u32,
        to: usize,
    },
    Unpin {
        shard: u32,
    },
    Weight {
        node: usize,
        weight: u32,
    },
    Drain {
        node: usize,
        deadline: Option<u64>,
    },
    Undrain {
        node: usize,
    },
    Pause,
    Resume,
    Guard {
        on: bool,
    },
    Limits {
        per_node: u32,
        cluster: u32,
    },
    /// One for a placement that is long gone.
    Stale,
}

/// What the clocks show when a run begins, in milliseconds.
pub(crate) const ZERO: u64 = 1_700_000_000_000;

/// The most documents of a run.
const DOCS: usize = 4;

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed ^ 0xc105_7e12);
        let (nodes, shards) = (rng.random_range(2..=4), rng.random_range(1..=6));
        let calm = millis(rng, 4_000..10_000);
        let wild = rng.random_ratio(1, 4);
        let count = if wild { rng.random_range(10..=30) } else { rng.random_range(0..=9) };
        // Checkpoints are lost only where the log is all there.
        let loses = rng.random_ratio(1, 4);
        let mut faults: Vec<_> = (0..count)
            .map(|_| {
                let at = Duration::from_millis(500) + calm.mul_f64(0.9 * rng.random::<f64>());
                let lost = loses && rng.random_ratio(1, 4);
                let forget = Fault::Forget { doc: rng.random_range(0..DOCS) };
                (at, if lost { forget } else { fault(rng, nodes, shards) })
            })
            .collect();
        faults.sort_by_key(|(at, _)| *at);
        let [log, control] = [(); 2].map(|()| {
            let often = [0, 0, 5, 20][rng.random_range(0..4)];
            Faults { delay_max: millis(rng, 1..300), ..Faults::all(often) }
        });
        let relay = relay::Config {
            silence_max: millis(rng, 300..3_000),
            copy_idle: millis(rng, 100..3_000),
            queue_bytes: ByteSize::kib([1, 64][rng.random_range(0..2)]),
            document_queue_bytes: ByteSize::b([300, 65_536][rng.random_range(0..2)]),
            ..relay::Config::default()
        };
        Self {
            clients: clients(rng, seed, (calm, loses), log),
            nodes,
            shards,
            control,
            latency_max: millis(rng, 1..40),
            append_timeout: millis(rng, 500..2_500),
            relay,
            faults,
        }
    }
}

impl Plan {
    /// Lets nothing go wrong: one node, far from its log.
    pub(crate) fn quiet(mut self) -> Self {
        (self.nodes, self.latency_max) = (1, Duration::from_millis(200));
        self.faults.clear();
        self.control = Faults::default();
        self.clients = plan::Plan {
            log: Faults::default(),
            store: StoreFaults::default(),
            drops: 0,
            ..self.clients
        };
        self
    }

    /// Leaves out all faults but these.
    pub(crate) fn keep(&mut self, kept: &[usize]) {
        let faults = std::mem::take(&mut self.faults).into_iter().enumerate();
        self.faults = faults.filter(|(at, _)| kept.contains(at)).map(|(_, one)| one).collect();
    }
}

fn clients(
    rng: &mut ChaCha8Rng,
    seed: u64,
    (calm, loses): (Duration, bool),
    log: Faults,
) -> plan::Plan {
    let edits = rng.random_range(5..20);
    let store_fails = [0.0, 0.02, 0.1][rng.random_range(0..3)];
    plan::Plan {
        seed,
        docs: rng.random_range(1..=DOCS),
        writers: rng.random_range(2..=6),
        visitors: rng.random_range(0..2),
        viewers: 1,
        edits,
        pause_max: calm.mul_f64(1.5 / edits as f64 * rng.random_range(0.4..1.2)),
        latency_max: millis(rng, 1..60),
        away_max: millis(rng, 30..1_000),
        drops: [0, 10, 50][rng.random_range(0..3)],
        doubles: [0, 50][rng.random_range(0..2)],
        ends: Vec::new(),
        calm,
        afternoon: false,
        rots: false,
        forgets: false,
        zombies: true,
        patience: Some(millis(rng, 1_000..5_000)),
        log,
        store: StoreFaults {
            lost: store_fails,
            unknown: store_fails,
            torn: store_fails,
            unread: store_fails,
            slow: store_fails,
        },
        store_latency_max: [Duration::ZERO, millis(rng, 1..100)][rng.random_range(0..2)],
        doc_config: doc_config(rng),
        shard_config: {
            let untrimmed = loses || rng.random();
            shard_config(rng, untrimmed)
        },
    }
}

fn fault(rng: &mut ChaCha8Rng, nodes: usize, shards: u32) -> Fault {
    let node = rng.random_range(0..nodes);
    let other = (node + rng.random_range(1..nodes)) % nodes;
    match rng.random_range(0..22) {
        0..=3 => {
            let end = [End::Written, End::Lost, End::Silent][rng.random_range(0..3)];
            Fault::Crash { node, end, rest: rest(rng, 50..3_000) }
        }
        4 => {
            let after = [None, Some(Order::Pause), Some(Order::Guard { on: true })];
            let after = after[rng.random_range(0..3)].clone();
            Fault::Stop { node, after, rest: rest(rng, 50..2_000) }
        }
        5..=7 => Fault::Freeze { node, rest: rest(rng, 100..6_000) },
        8 => Fault::Replace { node, rest: rest(rng, 2_000..6_000) },
        9 | 10 => {
            let back = rng.random();
            Fault::CutLink { from: node, to: other, back, rest: rest(rng, 100..5_000) }
        }
        11 => Fault::LoseLinks { nodes: (node, other) },
        12 | 13 => {
            let (up, down) = ways(rng);
            Fault::CutLog { node, up, down, rest: rest(rng, 100..5_000) }
        }
        14 => Fault::CutStore { node, rest: rest(rng, 100..3_000) },
        15 => Fault::Jump { node, ahead: rng.random_range(-120..=120) },
        16 | 17 => {
            let (up, down) = ways(rng);
            Fault::CutControl { node, up, down, rest: rest(rng, 1_000..5_000) }
        }
        _ => Fault::Order { at: node, order: order(rng, nodes, shards) },
    }
}

/// Which ways are cut: to there, from there, or both.
fn ways(rng: &mut ChaCha8Rng) -> (bool, bool) {
    [(true, false), (false, true), (true, true)][rng.random_range(0..3)]
}

fn order(rng: &mut ChaCha8Rng, nodes: usize, shards: u32) -> Order {
    let (shard, node) = (rng.random_range(0..shards), rng.random_range(0..nodes));
    match rng.random_range(0..14) {
        0..=3 => Order::Move { shard, to: node },
        4 => Order::Pin { shard, to: node },
        5 => Order::Unpin { shard },
        6 => Order::Weight { node, weight: rng.random_range(1..=100) },
        7 => {
            // Some of them have passed when they are given.
            let within = rng.random_range(0..60_000);
            Order::Drain { node, deadline: rng.random::<bool>().then_some(ZERO + within) }
        }
        8 => Order::Undrain { node },
        9 => Order::Guard { on: rng.random() },
        10 | 11 => {
            let per_node = rng.random_range(1..=3);
            Order::Limits { per_node, cluster: per_node + rng.random_range(0..=3) }
        }
        12 => Order::Stale,
        _ if rng.random() => Order::Pause,
        _ => Order::Resume,
    }
}

fn rest(rng: &mut ChaCha8Rng, range: Range<u64>) -> Duration {
    millis(rng, range)
}
