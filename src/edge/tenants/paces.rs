//! At what rate each of many may take something, in a table of one size.
//!
//! It takes the same memory whoever comes: each has a place by a hash that nobody outside knows,
//! and shares it with others if it must. Those that share a place share its rate, which is noticed
//! only where both use it up. A place holds the time up to which its rate is used up (the generic
//! cell rate algorithm, ITU-T I.371), so that nothing has to be filled up or cleared away.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The places of a table: half a MiB.
const PLACES: usize = 1 << 16;

/// How much may be taken at once: as much as in this time.
const BURST: Duration = Duration::from_secs(2);

/// Lets each have so many units a second, and twice as many at once.
#[derive(Debug)]
pub(crate) struct Paces {
    per_second: u64,
    began: Instant,
    hash: RandomState,
    /// Up to when the rate of each place is used up, in nanoseconds since the beginning.
    used: Box<[AtomicU64]>,
}

impl Paces {
    /// Lets each have so many units a second; 0 stands for any number.
    pub(crate) fn new(per_second: u64) -> Self {
        let places = if per_second > 0 { PLACES } else { 0 };
        Self {
            per_second,
            began: Instant::now(),
            hash: RandomState::new(),
            used: (0..places).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Takes a unit and returns how long it has to wait for it: not longer than `longest`, else it
    /// takes none and tells how long it would be.
    pub(crate) fn take(&self, key: &impl Hash, longest: Duration) -> Result<Duration, Duration> {
        let Some(place) = self.place(key) else { return Ok(Duration::ZERO) };
        let (now, cost) = (self.now(), self.cost(1));
        let limit = now.saturating_add(nanos(BURST));
        let after = |used: u64| used.max(now).saturating_add(cost);
        let wait = |used: u64| Duration::from_nanos(after(used).saturating_sub(limit));
        let taken = |used: u64| (wait(used) <= longest).then(|| after(used));
        let before = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken);
        before.map(wait).map_err(wait)
    }

    /// Takes units that have come already, and returns how long they have to wait for their turn.
    pub(crate) fn charge(&self, key: &impl Hash, units: u64) -> Duration {
        let Some(place) = self.place(key) else { return Duration::ZERO };
        let (now, cost) = (self.now(), self.cost(units));
        let next = |used: u64| Some(used.max(now).saturating_add(cost));
        let before = match place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) {
            Ok(before) | Err(before) => before,
        };
        Duration::from_nanos(before.saturating_sub(now.saturating_add(nanos(BURST))))
    }

    fn place(&self, key: &impl Hash) -> Option<&AtomicU64> {
        (self.per_second > 0).then(|| &self.used[self.hash.hash_one(key) as usize % PLACES])
    }

    /// Returns the time that units stand for.
    fn cost(&self, units: u64) -> u64 {
        let cost = u128::from(units) * 1_000_000_000 / u128::from(self.per_second);
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    fn now(&self) -> u64 {
        nanos(self.began.elapsed())
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_and_then_the_rate() {
        let paces = Paces::new(10);
        let (at_once, soon) = (Duration::ZERO, Duration::from_millis(100));
        assert!((0..20).all(|_| paces.take(&"a", at_once).is_ok()));
        assert_eq!(paces.take(&"a", at_once), Err(soon), "the burst is over");
        // A place is shared by few: one of some others is elsewhere.
        assert!((1..9).any(|other| paces.take(&other, at_once).is_ok()));
        advance(soon).await;
        assert_eq!(paces.take(&"a", at_once), Ok(at_once));
        assert_eq!(paces.take(&"a", soon), Ok(soon), "one waits in the line");
        assert_eq!(paces.take(&"a", soon), Err(2 * soon), "for another it is too long");
        advance(Duration::from_hours(1)).await;
        assert!((0..20).all(|_| paces.take(&"a", at_once).is_ok()), "rest adds up to no more");
        assert!(paces.take(&"a", at_once).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_waits_in_the_order_in_which_it_came() {
        let paces = Paces::new(1_000);
        let waits = [1_500, 1_500, 1_500, 1].map(|units| paces.charge(&"a", units));
        assert_eq!(waits, [0, 0, 1_000, 2_500].map(Duration::from_millis));
        advance(Duration::from_millis(2_501)).await;
        assert_eq!(paces.charge(&"a", 1), Duration::ZERO);
    }

    #[test]
    fn any_number_is_let_through_where_there_is_no_limit() {
        let paces = Paces::new(0);
        assert!((0..10_000).all(|_| paces.take(&1, Duration::ZERO).is_ok()));
        assert_eq!(paces.charge(&1, u64::MAX), Duration::ZERO);
    }
}
