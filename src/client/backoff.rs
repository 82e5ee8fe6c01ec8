//! How long a client waits before it tries again: doubling, with jitter, up to a cap.

use std::time::Duration;

/// The first wait, before jitter.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(10);

/// Counts failed attempts (PROTOCOL.md section 6).
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// Returns the time to wait now; a time that the server named wins.
    pub fn wait(&mut self, named: Option<Duration>) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(LONGEST);
        named.unwrap_or_else(|| wait.mul_f64(rand::random_range(0.5..=1.0)))
    }

    /// Begins anew: the server has welcomed the client.
    pub fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_jitter_up_to_the_longest() {
        let mut backoff = Backoff::default();
        for millis in [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000] {
            let (full, wait) = (Duration::from_millis(millis), backoff.wait(None));
            assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
        }
        assert_eq!(backoff.wait(Some(Duration::from_secs(60))), Duration::from_secs(60));
        backoff.reset();
        assert!(backoff.wait(None) <= FIRST);
    }
}
