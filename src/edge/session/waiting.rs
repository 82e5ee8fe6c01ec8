//! How long batches of a node's clients have waited for what becomes of them; not how long those
//! took that are acknowledged, which is counted where it is known.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Knows what waits; cheap to clone. A batch costs two stores, nobody is locked out for it.
#[derive(Clone)]
pub struct Waiting {
    all: Arc<All>,
}

struct All {
    began: Instant,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    next: u64,
    /// Of each session that is connected: since when its batch waits, in microseconds since the
    /// beginning and one more; 0 where none does.
    since: BTreeMap<u64, Arc<AtomicU64>>,
}

/// Is what one session tells, as long as it is connected.
pub(crate) struct Slot {
    all: Arc<All>,
    number: u64,
    since: Arc<AtomicU64>,
}

impl Default for Waiting {
    fn default() -> Self {
        let all = All { began: Instant::now(), slots: Mutex::default() };
        Self { all: Arc::new(all) }
    }
}

impl Waiting {
    /// Makes room for one more session, of which nothing waits.
    pub(crate) fn slot(&self) -> Slot {
        let since = Arc::<AtomicU64>::default();
        let mut slots = self.all.slots.lock();
        let number = slots.next;
        slots.next += 1;
        slots.since.insert(number, since.clone());
        Slot { all: self.all.clone(), number, since }
    }

    /// Returns how long the oldest batch has waited, none where none waits.
    pub fn oldest(&self) -> Option<Duration> {
        let slots = self.all.slots.lock();
        let waiting = slots.since.values().map(|since| since.load(Ordering::Relaxed));
        let since = waiting.filter(|since| *since > 0).min()?;
        Some(self.all.began.elapsed().saturating_sub(Duration::from_micros(since - 1)))
    }
}

impl Slot {
    /// Notes that a batch waits which came in at this time.
    pub(crate) fn begin(&self, received: Instant) {
        let since = received.saturating_duration_since(self.all.began).as_micros();
        let since = u64::try_from(since).unwrap_or(u64::MAX - 1) + 1;
        self.since.store(since, Ordering::Relaxed);
    }

    /// Notes that none waits any more.
    pub(crate) fn end(&self) {
        self.since.store(0, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.all.slots.lock().since.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_batch_that_waits_is_told() {
        let waiting = Waiting::default();
        let (one, other) = (waiting.slot(), waiting.slot());
        assert_eq!(waiting.oldest(), None);
        one.begin(Instant::now());
        assert_eq!(waiting.oldest(), Some(Duration::ZERO), "it came in with the beginning");
        advance(Duration::from_secs(2)).await;
        other.begin(Instant::now());
        advance(Duration::from_secs(1)).await;
        assert_eq!(waiting.oldest(), Some(Duration::from_secs(3)));
        one.end();
        assert_eq!(waiting.oldest(), Some(Duration::from_secs(1)));
        // Who is not connected any more does not wait.
        drop(other);
        assert_eq!(waiting.oldest(), None);
        drop(one);
        assert!(waiting.all.slots.lock().since.is_empty());
    }
}
