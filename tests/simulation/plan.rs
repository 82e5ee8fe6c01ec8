//! What a seed decides: how large things are, how often what fails, when the node crashes.

use std::time::Duration;

use bytesize::ByteSize;
use quire::testing::{Faults, StoreFaults};
use quire::{doc, shard};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) docs: usize,
    pub(crate) writers: usize,
    /// Edits of each writer.
    pub(crate) edits: usize,
    /// The longest time between two edits of one writer, and of one message on its link.
    pub(crate) pause_max: Duration,
    pub(crate) latency_max: Duration,
    /// Of 1,000 messages: how many lose the connection, and how many batches are sent twice.
    pub(crate) drops: u32,
    pub(crate) doubles: u32,
    /// When the node crashes, or, where it says so, only seems to: it lives on as a zombie that
    /// still believes to own everything, beside the new one.
    pub(crate) crashes: Vec<(Duration, bool)>,
    pub(crate) log: Faults,
    pub(crate) store: StoreFaults,
    pub(crate) doc_config: doc::Config,
    pub(crate) shard_config: shard::Config,
}

impl Plan {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let millis = |rng: &mut ChaCha8Rng, range: std::ops::Range<u64>| {
            Duration::from_millis(rng.random_range(range))
        };
        let often = [0, 5, 20, 60][rng.random_range(0..4)];
        let fails = [0.0, 0.02, 0.2][rng.random_range(0..3)];
        let mut crashes = Vec::new();
        for _ in 0..rng.random_range(0..4) {
            crashes.push((millis(&mut rng, 100..4_000), rng.random()));
        }
        crashes.sort_unstable();
        let doc_config = doc::Config {
            window_revisions: rng.random_range(4..80),
            idle_after: millis(&mut rng, 300..3_000),
            frames_in_flight: rng.random_range(1..4),
            segment_bytes_min: ByteSize::b(rng.random_range(50..1_000)),
            checkpoint_log_bytes_min: ByteSize::b(rng.random_range(60..3_000)),
            checkpoint_log_factor: 1,
            tick_subscribers: [1, 100][rng.random_range(0..2)],
            ..doc::Config::default()
        };
        let shard_config = shard::Config {
            tail_bytes_max: ByteSize::b(rng.random_range(1_000..20_000)),
            tail_age_max: millis(&mut rng, 500..5_000),
            trim_margin: rng.random_range(0..30),
            recovery_read_bytes: ByteSize::b(rng.random_range(100..5_000)),
            ..shard::Config::default()
        };
        Self {
            seed,
            docs: 4,
            writers: 8,
            edits: rng.random_range(5..25),
            pause_max: millis(&mut rng, 2..300),
            latency_max: millis(&mut rng, 1..200),
            drops: [0, 10, 50][rng.random_range(0..3)],
            doubles: [0, 50][rng.random_range(0..2)],
            crashes,
            log: Faults { delay_max: millis(&mut rng, 1..300), ..Faults::all(often) },
            // A torn manifest that is reported as stored is found when it is read back.
            store: StoreFaults {
                lost: fails,
                unknown: fails,
                torn: fails,
                unread: fails,
                slow: fails,
            },
            doc_config,
            shard_config,
        }
    }
}
