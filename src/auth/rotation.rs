//! When an issuer's keys are fetched: pure, times come in as arguments.
//!
//! ```text
//!            ┌────────────── age_max ──────────────┐
//! start ─► fetch ── taken ──────────────────────► fetch ...
//!            ├── keys in doubt ── confirm_after ─► fetch ...
//!            └── failed ── retry ─► fetch ...
//! ```
//!
//! A token whose key is unknown asks for a fetch of its own, because the issuer may just have begun
//! to use a new key. That is granted once in [`Pace::ask_pause`], whoever asks and however often:
//! anybody can write any key's name into a token.

use std::time::Duration;

use tokio::time::Instant;

/// Says how often keys are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How old keys get before they are fetched again.
    pub age_max: Duration,
    /// How long after a fetch that lacks a key there was the next one is to tell whether it is
    /// gone.
    pub confirm_after: Duration,
    /// How long it takes from a failed fetch to the next one.
    pub retry: Duration,
    /// How long after any fetch an unknown key leads to none.
    pub ask_pause: Duration,
    /// How long keys are trusted that cannot be fetched again.
    pub stale_after: Duration,
    /// How long a fetch may take.
    pub fetch_max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            // A key that is taken back is gone 15 minutes later: docs/SECURITY.md says so.
            age_max: Duration::from_mins(14),
            confirm_after: Duration::from_secs(10),
            retry: Duration::from_secs(30),
            ask_pause: Duration::from_secs(30),
            stale_after: Duration::from_hours(24),
            fetch_max: Duration::from_secs(5),
        }
    }
}

/// Knows when keys were fetched, and when they are to be.
#[derive(Debug)]
pub(crate) struct Rotation {
    pace: Pace,
    tried: Option<Instant>,
    fetched: Option<Instant>,
    /// From the last fetch that brought keys to the next one.
    pause: Duration,
}

impl Rotation {
    pub(crate) fn new(pace: Pace) -> Self {
        Self { pace, tried: None, fetched: None, pause: pace.age_max }
    }

    /// Returns when the next fetch is due by itself.
    pub(crate) fn due(&self, now: Instant) -> Instant {
        match (self.tried, self.fetched) {
            (None, _) => now,
            (Some(tried), Some(fetched)) if fetched >= tried => fetched + self.pause,
            (Some(tried), _) => tried + self.pace.retry,
        }
    }

    /// Tells whether an unknown key may lead to a fetch now.
    pub(crate) fn may_ask(&self, now: Instant) -> bool {
        self.tried.is_none_or(|tried| now >= tried + self.pace.ask_pause)
    }

    /// Notes that a fetch begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.tried = Some(now);
    }

    /// Notes that a fetch brought keys.
    pub(crate) fn succeed(&mut self, now: Instant) {
        self.fetched = Some(now);
        self.pause = self.pace.age_max;
    }

    /// Notes that a fetch brought keys, and lacks some that there were.
    pub(crate) fn doubt(&mut self, now: Instant) {
        self.fetched = Some(now);
        self.pause = self.pace.confirm_after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(age_max: u64, retry: u64, ask_pause: u64) -> Pace {
        let [age_max, retry, ask_pause] = [age_max, retry, ask_pause].map(Duration::from_secs);
        let confirm_after = Duration::from_secs(10);
        Pace { age_max, confirm_after, retry, ask_pause, ..Pace::default() }
    }

    #[test]
    fn a_fetch_is_due_at_once_then_by_age_and_after_a_failure_sooner() {
        let (start, mut rotation) = (Instant::now(), Rotation::new(pace(900, 30, 20)));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(rotation.due(start), start);
        rotation.begin(start);
        assert_eq!(rotation.due(start), at(30));
        rotation.begin(at(30));
        rotation.succeed(at(31));
        assert_eq!(rotation.due(at(31)), at(931));
        assert!(!rotation.may_ask(at(49)) && rotation.may_ask(at(50)));
        rotation.begin(at(50));
        assert_eq!(rotation.due(at(50)), at(80), "one that was asked for has failed");
        rotation.begin(at(80));
        rotation.doubt(at(81));
        assert_eq!(rotation.due(at(81)), at(91), "is a key gone?");
        rotation.begin(at(91));
        assert_eq!(rotation.due(at(92)), at(121), "that is not known yet");
        rotation.begin(at(121));
        rotation.succeed(at(121));
        assert_eq!(rotation.due(at(121)), at(1_021));
    }

    #[test]
    fn a_key_that_is_taken_back_is_gone_after_15_minutes() {
        let Pace { age_max, confirm_after, fetch_max, .. } = Pace::default();
        assert!(age_max + confirm_after + 2 * fetch_max <= Duration::from_mins(15));
    }

    proptest! {
        /// However often an unknown key is presented, fetches are `ask_pause` apart.
        #[test]
        fn asking_is_bounded(steps in proptest::collection::vec(0_u64..5_000, 1..200)) {
            let (start, mut rotation) = (Instant::now(), Rotation::new(pace(900, 30, 20)));
            let (mut now, mut last) = (start, None);
            for millis in steps {
                now += Duration::from_millis(millis);
                if rotation.may_ask(now) {
                    prop_assert!(last.is_none_or(|last| now - last >= Duration::from_secs(20)));
                    last = Some(now);
                    rotation.begin(now);
                    rotation.succeed(now);
                }
            }
            prop_assert!(last.is_some());
        }
    }
}
