//! A rate: so many units a second, twice as many at once.
//!
//! It is kept as the time up to which it is used up (the generic cell rate algorithm, ITU-T I.371),
//! so that nothing has to be filled up.

use std::time::Duration;

use tokio::time::Instant;

/// How much may be taken at once: as much as in this time.
const BURST: Duration = Duration::from_secs(2);

/// So many units a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// At least one.
    per_second: u64,
}

/// A rate of one alone.
#[derive(Debug)]
pub(crate) struct Rate {
    pace: Pace,
    began: Instant,
    used: u64,
}

impl Pace {
    /// Returns so many units a second, at least one.
    pub(crate) fn new(per_second: u64) -> Self {
        Self { per_second: per_second.max(1) }
    }

    /// Returns up to when a rate is used up once units are taken as well; all times are in
    /// nanoseconds.
    pub(crate) fn after(self, used: u64, now: u64, units: u64) -> u64 {
        let cost = u128::from(units) * 1_000_000_000 / u128::from(self.per_second);
        used.max(now).saturating_add(u64::try_from(cost).unwrap_or(u64::MAX))
    }

    /// Returns how long it is until a rate that is used up so far is that of a burst.
    pub(crate) fn wait(used: u64, now: u64) -> Duration {
        Duration::from_nanos(used.saturating_sub(now.saturating_add(nanos(BURST))))
    }
}

impl Rate {
    /// Returns so many units a second, at least one.
    pub(crate) fn new(per_second: u64) -> Self {
        Self { pace: Pace::new(per_second), began: Instant::now(), used: 0 }
    }

    /// Takes a unit, or tells after what time there is one.
    pub(crate) fn take(&mut self) -> Result<(), Duration> {
        let now = nanos(self.began.elapsed());
        let after = self.pace.after(self.used, now, 1);
        let wait = Pace::wait(after, now);
        if !wait.is_zero() {
            return Err(wait);
        }
        self.used = after;
        Ok(())
    }

    /// Takes units that have come already, and returns how long they have to wait for their turn.
    pub(crate) fn charge(&mut self, units: u64) -> Duration {
        let now = nanos(self.began.elapsed());
        let wait = Pace::wait(self.used, now);
        self.used = self.pace.after(self.used, now, units);
        wait
    }
}

/// Returns a time in nanoseconds.
pub(crate) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_and_then_the_rate() {
        let mut rate = Rate::new(10);
        assert!((0..20).all(|_| rate.take().is_ok()));
        let wait = rate.take().expect_err("the burst is over");
        assert_eq!(wait, Duration::from_millis(100));
        tokio::time::advance(wait).await;
        assert_eq!(rate.take(), Ok(()));
        assert!(rate.take().is_err());
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!((0..20).all(|_| rate.take().is_ok()), "rest adds up to no more");
        assert!(rate.take().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_come_waits_until_what_came_before_is_paid() {
        let mut rate = Rate::new(1_000);
        assert_eq!(rate.charge(5_000), Duration::ZERO);
        assert_eq!(rate.charge(1), Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(rate.charge(1), Duration::ZERO);
    }
}
