//! What a seed decides: how large things are, how often what fails, when the node ends and how.

use std::time::Duration;

use bytesize::ByteSize;
use quire::testing::{Faults, StoreFaults};
use quire::{doc, shard};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One seed of so many has a long run: with as many crashes as the test of the real binary.
const LONG_EVERY: u64 = 50;

/// How long a session is remembered: longer than any session is away before it comes back.
pub(crate) const SESSION_EXPIRY: Duration = Duration::from_secs(60);

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) docs: usize,
    pub(crate) writers: usize,
    /// Writers that come for an edit or two and never return.
    pub(crate) visitors: usize,
    pub(crate) viewers: usize,
    /// Edits of each writer.
    pub(crate) edits: usize,
    /// The longest time between two edits of one writer, and of one message on its link.
    pub(crate) pause_max: Duration,
    pub(crate) latency_max: Duration,
    /// How long a writer stays away at most that has lost its connection.
    pub(crate) away_max: Duration,
    /// Of 1,000 messages: how many lose the connection, and how many batches are sent twice.
    pub(crate) drops: u32,
    pub(crate) doubles: u32,
    /// How the node ends, and when.
    pub(crate) ends: Vec<(Duration, End)>,
    /// When nothing fails any more.
    pub(crate) calm: Duration,
    /// Whether everybody edits again after the visitors' sessions have expired, and history is cut.
    pub(crate) afternoon: bool,
    /// Whether a checkpoint that was good is damaged when a life ends. The log is all there then.
    pub(crate) rots: bool,
    /// Whether the store forgets its newest checkpoints, under a running node, too.
    pub(crate) forgets: bool,
    /// Whether an owner that does not know that it is none may answer.
    pub(crate) zombies: bool,
    /// How long a client waits for a sign of its node.
    pub(crate) patience: Option<Duration>,
    pub(crate) log: Faults,
    pub(crate) store: StoreFaults,
    pub(crate) store_latency_max: Duration,
    pub(crate) doc_config: doc::Config,
    pub(crate) shard_config: shard::Config,
}

/// How a life of the node ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing it had begun is done.
    PowerCut,
    /// What it had begun reaches the stores some time later.
    Crash,
    /// It goes on for a while beside the next life, and believes that it owns the shards.
    Zombie(Duration),
    /// It is stopped in order.
    Drain,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let long = seed % LONG_EVERY == LONG_EVERY - 1;
        let log_fails = [0, 5, 20, 60][rng.random_range(0..4)];
        let store_fails = [0.0, 0.02, 0.2][rng.random_range(0..3)];
        let calm = if long { millis(rng, 20_000..30_000) } else { millis(rng, 1_500..6_000) };
        let edits = if long { 60 } else { rng.random_range(5..25) };
        let ends = if long { 20 } else { rng.random_range(0..5) };
        let mut ends: Vec<_> = (0..ends)
            .map(|_| {
                let at = Duration::from_millis(100) + calm.mul_f64(rng.random());
                (at, end(rng))
            })
            .collect();
        ends.sort_unstable_by_key(|(at, _)| *at);
        let rots = rng.random_ratio(1, 4);
        let forgets = rng.random_ratio(1, 4);
        let zombies = ends.iter().any(|(_, end)| matches!(end, End::Zombie(_)));
        let untrimmed = rots || forgets || zombies;
        Self {
            seed,
            docs: 4,
            writers: 8,
            visitors: rng.random_range(0..4),
            viewers: 2,
            edits,
            pause_max: calm.mul_f64(1.5 / edits as f64 * rng.random_range(0.2..1.2)),
            latency_max: millis(rng, 1..200),
            away_max: millis(rng, 30..2_500),
            drops: [0, 10, 50][rng.random_range(0..3)],
            doubles: [0, 50][rng.random_range(0..2)],
            ends,
            calm,
            afternoon: rng.random_ratio(1, 4),
            rots,
            forgets,
            zombies,
            patience: None,
            log: Faults { delay_max: millis(rng, 1..300), ..Faults::all(log_fails) },
            // A torn manifest that is reported as stored is found when it is read back.
            store: StoreFaults {
                lost: store_fails,
                unknown: store_fails,
                torn: store_fails,
                unread: store_fails,
                slow: store_fails,
            },
            store_latency_max: [Duration::ZERO, millis(rng, 1..200)][rng.random_range(0..2)],
            doc_config: doc_config(rng),
            shard_config: shard_config(rng, untrimmed),
        }
    }
}

fn end(rng: &mut ChaCha8Rng) -> End {
    match rng.random_range(0..6) {
        0 | 1 => End::PowerCut,
        2 | 3 => End::Crash,
        4 => End::Zombie(millis(rng, 50..1_500)),
        _ => End::Drain,
    }
}

/// Everything is so small that it turns over many times.
pub(crate) fn doc_config(rng: &mut ChaCha8Rng) -> doc::Config {
    doc::Config {
        window_revisions: [rng.random_range(1..4), rng.random_range(4..80)][rng.random_range(0..2)],
        idle_after: millis(rng, 300..3_000),
        frames_in_flight: rng.random_range(1..4),
        segment_bytes_min: ByteSize::b(rng.random_range(50..1_000)),
        checkpoint_log_bytes_min: ByteSize::b(rng.random_range(60..3_000)),
        checkpoint_log_factor: 1,
        tick_subscribers: [1, 100][rng.random_range(0..2)],
        session_expiry: SESSION_EXPIRY,
        ..doc::Config::default()
    }
}

pub(crate) fn shard_config(rng: &mut ChaCha8Rng, untrimmed: bool) -> shard::Config {
    shard::Config {
        tail_bytes_max: ByteSize::b(rng.random_range(1_000..20_000)),
        tail_age_max: millis(rng, 500..5_000),
        // Whoever is stale, or has lost a checkpoint, must find what it has yet to read.
        trim_margin: if untrimmed { 10_000 } else { rng.random_range(0..30) },
        trim_delay: Duration::ZERO,
        recovery_read_bytes: ByteSize::b(rng.random_range(100..5_000)),
        ..shard::Config::default()
    }
}

pub(crate) fn millis(rng: &mut ChaCha8Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(rng.random_range(range))
}
