//! At what rate each of many may take something, in a table of one size.
//!
//! It takes the same memory whoever comes: each has a place by a hash that nobody outside knows,
//! and shares it with others if it must. Those that share a place share its rate, which is noticed
//! only where both use it up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::edge::tenants::pace::{Pace, nanos};

/// The places of a table: half a MiB.
const PLACES: usize = 1 << 16;

/// Lets each have so many units a second, and twice as many at once.
#[derive(Debug)]
pub(crate) struct Paces {
    pace: Pace,
    began: Instant,
    /// Up to when the rate of each place is used up, in nanoseconds since the beginning; there is
    /// none where any number may be taken.
    used: Box<[AtomicU64]>,
}

impl Paces {
    /// Lets each have so many units a second; 0 stands for any number.
    pub(crate) fn new(per_second: u64) -> Self {
        let places = if per_second > 0 { PLACES } else { 0 };
        let used = (0..places).map(|_| AtomicU64::new(0)).collect();
        Self { pace: Pace::new(per_second), began: Instant::now(), used }
    }

    /// Takes a unit and returns how long it has to wait for it: not longer than `longest`, else it
    /// takes none and tells how long it would be. `key` is a hash.
    pub(crate) fn take(&self, key: u64, longest: Duration) -> Result<Duration, Duration> {
        let Some(place) = self.place(key) else { return Ok(Duration::ZERO) };
        let now = nanos(self.began.elapsed());
        let after = |used| self.pace.after(used, now, 1);
        let wait = |used| Pace::wait(after(used), now);
        let taken = |used| (wait(used) <= longest).then(|| after(used));
        let before = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        before.map(wait).map_err(wait)
    }

    /// Takes nothing, and tells how long a unit would have to wait, where it would.
    pub(crate) fn look(&self, key: u64) -> Result<(), Duration> {
        let Some(place) = self.place(key) else { return Ok(()) };
        let now = nanos(self.began.elapsed());
        let after = self.pace.after(place.load(Ordering::Relaxed), now, 1);
        match Pace::wait(after, now) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// Takes units that have come already, and returns how long they have to wait for their turn.
    pub(crate) fn charge(&self, key: u64, units: u64) -> Duration {
        let Some(place) = self.place(key) else { return Duration::ZERO };
        let now = nanos(self.began.elapsed());
        let after = |used| Some(self.pace.after(used, now, units));
        let before = match place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after) {
            Ok(before) | Err(before) => before,
        };
        Pace::wait(before, now)
    }

    fn place(&self, key: u64) -> Option<&AtomicU64> {
        (!self.used.is_empty()).then(|| &self.used[key as usize % PLACES])
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_and_then_the_rate() {
        let paces = Paces::new(10);
        let (at_once, soon) = (Duration::ZERO, Duration::from_millis(100));
        assert!((0..20).all(|_| paces.take(1, at_once).is_ok()));
        assert_eq!(paces.take(1, at_once), Err(soon), "the burst is over");
        assert!((2..9).all(|other| paces.take(other, at_once).is_ok()), "others");
        advance(soon).await;
        assert_eq!(paces.take(1, at_once), Ok(at_once));
        assert_eq!(paces.take(1, soon), Ok(soon), "one waits in the line");
        assert_eq!(paces.take(1, soon), Err(2 * soon), "for another it is too long");
        advance(Duration::from_hours(1)).await;
        assert!((0..20).all(|_| paces.take(1, at_once).is_ok()), "rest adds up to no more");
        assert!(paces.take(1, at_once).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_waits_in_the_order_in_which_it_came() {
        let paces = Paces::new(1_000);
        let waits = [1_500, 1_500, 1_500, 1].map(|units| paces.charge(1, units));
        assert_eq!(waits, [0, 0, 1_000, 2_500].map(Duration::from_millis));
        advance(Duration::from_millis(2_501)).await;
        assert_eq!(paces.charge(1, 1), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn who_looks_takes_nothing() {
        let paces = Paces::new(10);
        assert!((0..100).all(|_| paces.look(1).is_ok()));
        assert_eq!(paces.charge(1, 20), Duration::ZERO);
        let soon = Duration::from_millis(100);
        assert_eq!((paces.look(1), paces.look(2)), (Err(soon), Ok(())));
        advance(soon).await;
        assert_eq!(paces.look(1), Ok(()));
    }

    #[test]
    fn any_number_is_let_through_where_there_is_no_limit() {
        let paces = Paces::new(0);
        assert!((0..10_000).all(|_| paces.take(1, Duration::ZERO).is_ok()));
        assert_eq!(paces.charge(1, u64::MAX), Duration::ZERO);
    }
}
