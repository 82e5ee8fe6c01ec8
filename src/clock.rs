//! The only reader of wall time.

#[cfg(any(test, feature = "testing"))]
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::types::Timestamp;

/// Reads the wall clock, or a clock of the caller's own (simulations).
#[derive(Clone, Default)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Default)]
enum Source {
    #[default]
    Wall,
    /// Starts at a fixed time and moves with tokio's clock, which a simulation pauses.
    Virtual { start: Timestamp, since: Option<tokio::time::Instant> },
    /// Moves with tokio's clock, and jumps.
    #[cfg(any(test, feature = "testing"))]
    Jumping { since: tokio::time::Instant, zero: Arc<AtomicU64> },
}

impl Clock {
    /// Returns the machine's clock.
    pub fn wall() -> Self {
        Self { source: Source::Wall }
    }

    /// Returns a clock that shows `start` now and moves with tokio's (pausable) time.
    pub fn starting_at(start: Timestamp) -> Self {
        Self { source: Source::Virtual { start, since: Some(tokio::time::Instant::now()) } }
    }

    /// Returns a clock that always shows `at`.
    pub fn fixed(at: Timestamp) -> Self {
        Self { source: Source::Virtual { start: at, since: None } }
    }

    /// Returns a clock that showed `zero`, in milliseconds, when it was made, moves with tokio's
    /// time, and jumps where that is changed.
    #[cfg(any(test, feature = "testing"))]
    pub fn jumping(zero: Arc<AtomicU64>) -> Self {
        Self { source: Source::Jumping { since: tokio::time::Instant::now(), zero } }
    }

    /// Tells the time; a wall clock before 1970 reads as 0.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.micros() / 1_000)
    }

    /// Tells the time in microseconds.
    #[expect(clippy::disallowed_methods, reason = "this is the one reader")]
    pub fn micros(&self) -> u64 {
        let micros = match &self.source {
            Source::Wall => {
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
            }
            Source::Virtual { start, since } => {
                let passed = since.map(|at| at.elapsed()).unwrap_or_default();
                u128::from(start.0) * 1_000 + passed.as_micros()
            }
            #[cfg(any(test, feature = "testing"))]
            Source::Jumping { since, zero } => {
                u128::from(zero.load(Ordering::Relaxed)) * 1_000 + since.elapsed().as_micros()
            }
        };
        u64::try_from(micros).unwrap_or(u64::MAX)
    }
}
