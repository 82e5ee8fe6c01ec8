//! How fast a node is emptied that has a deadline for it: its moves are spread over the time that
//! is left, so that its clients notice as little as can be. The limits hold all the same.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::types::Timestamp;

/// Knows when the next move of a drain is due.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the last one began.
    last: Option<Instant>,
    /// The deadline that was said to have passed.
    late: Option<Timestamp>,
}

/// Tells how many moves of a drain may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// As many as the limits allow.
    Any,
    /// One.
    One,
    /// None yet.
    None,
}

impl Pace {
    /// Tells what may begin where so many shards are left.
    pub(crate) fn turn(&mut self, deadline: Timestamp, at: Timestamp, left: usize) -> Turn {
        let time = Duration::from_millis(deadline.0.saturating_sub(at.0));
        if time.is_zero() {
            if left > 0 && self.late.replace(deadline) != Some(deadline) {
                warn!(left, "the node is not empty in time, its moves are spread no more");
            }
            return Turn::Any;
        }
        let share = time / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        match self.last {
            Some(last) if last.elapsed() < share => Turn::None,
            Some(_) | None => Turn::One,
        }
    }

    /// Takes note of a move that begins.
    pub(crate) fn began(&mut self) {
        self.last = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn moves_are_spread_over_the_time_that_is_left() {
        let mut pace = Pace::default();
        let turn = |pace: &mut Pace, at, left| pace.turn(Timestamp(100_000), Timestamp(at), left);
        assert_eq!(turn(&mut pace, 0, 10), Turn::One, "the first need not wait");
        pace.began();
        assert_eq!(turn(&mut pace, 0, 9), Turn::None);
        advance(Duration::from_secs(9)).await;
        // Of 91 s, each of ten takes nine, each of four takes twenty.
        assert_eq!(turn(&mut pace, 9_000, 4), Turn::None);
        assert_eq!(turn(&mut pace, 9_000, 11), Turn::One);
        pace.began();
        assert_eq!(turn(&mut pace, 99_999, 11), Turn::None);
        assert_eq!(turn(&mut pace, 100_000, 11), Turn::Any, "it is late");
        assert_eq!(turn(&mut pace, 200_000, 11), Turn::Any);
    }
}
