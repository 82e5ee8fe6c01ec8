//! A token bucket: so many a second on average, twice as many at once.

use std::time::Duration;

use tokio::time::Instant;

/// Lets events through at a rate.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Rate {
    /// Returns a full bucket.
    pub(crate) fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, tokens: 2.0 * per_second, filled: Instant::now() }
    }

    /// Takes a token, or tells after what time there is one.
    pub(crate) fn take(&mut self) -> Result<(), Duration> {
        self.fill();
        if self.tokens < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - self.tokens) / self.per_second));
        }
        self.tokens -= 1.0;
        Ok(())
    }

    /// Takes tokens for what has come already, and returns how long it has to wait for its turn.
    pub(crate) fn charge(&mut self, tokens: usize) -> Duration {
        self.fill();
        let owed = (-self.tokens).max(0.0);
        self.tokens -= tokens as f64;
        Duration::from_secs_f64(owed / self.per_second)
    }

    fn fill(&mut self) {
        let now = Instant::now();
        let gained = (now - self.filled).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(2.0 * self.per_second);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_has_come_waits_until_what_came_before_is_paid() {
        let mut rate = Rate::new(1_000);
        assert_eq!(rate.charge(5_000), Duration::ZERO);
        assert_eq!(rate.charge(1), Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(rate.charge(1), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_let_through_and_then_the_rate() {
        let mut rate = Rate::new(10);
        assert!((0..20).all(|_| rate.take().is_ok()));
        let wait = rate.take().expect_err("the bucket is empty");
        assert_eq!(wait, Duration::from_millis(100));
        tokio::time::advance(wait).await;
        assert_eq!(rate.take(), Ok(()));
        assert!(rate.take().is_err());
    }
}
