//! What waits to be sent to one client: bounded in bytes and in age.
//!
//! Over a bound, the revisions that wait are dropped as a whole and the outbox is `lagging`: the
//! session asks the document for what its client has missed once the socket takes data again. A
//! revision is never skipped silently.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::doc::{self, Event};

/// The bounds of an outbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes_max: usize,
    pub(crate) age_max: Duration,
}

/// Holds the events of one connection until its socket takes them.
#[derive(Debug)]
pub(crate) struct Outbox {
    bounds: Bounds,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    bytes: usize,
    /// Since when something waits.
    since: Option<Instant>,
    lagging: bool,
}

/// What was taken out of an outbox.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The events, in order.
    pub(crate) events: VecDeque<Event>,
    /// Whether revisions were dropped: they come before the events.
    pub(crate) lagging: bool,
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, queue: Mutex::default(), filled: Notify::new() }
    }

    /// Tells whether there is something to take.
    pub(crate) fn is_filled(&self) -> bool {
        let queue = self.queue.lock();
        queue.lagging || !queue.events.is_empty()
    }

    /// Waits until there is something to take.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(crate) async fn ready(&self) {
        loop {
            let filled = self.filled.notified();
            if !self.is_empty() {
                return;
            }
            filled.await;
        }
    }

    /// Takes everything.
    pub(crate) fn take(&self) -> Taken {
        let queue = std::mem::take(&mut *self.queue.lock());
        Taken { events: queue.events, lagging: queue.lagging }
    }

    fn is_empty(&self) -> bool {
        let queue = self.queue.lock();
        queue.events.is_empty() && !queue.lagging
    }
}

impl doc::Outbox for Outbox {
    fn push(&self, event: Event) {
        let now = Instant::now();
        let mut queue = self.queue.lock();
        if let Some(bytes) = revision_bytes(&event) {
            if queue.lagging {
                return;
            }
            let old = queue.since.is_some_and(|since| now - since > self.bounds.age_max);
            // One that is larger than the bound by itself passes where nothing else waits.
            let full = queue.bytes > 0 && queue.bytes + bytes > self.bounds.bytes_max;
            if old || full {
                queue.lag();
                self.filled.notify_one();
                return;
            }
            queue.bytes += bytes;
        }
        queue.supersede(&event);
        queue.since.get_or_insert(now);
        queue.events.push_back(event);
        self.filled.notify_one();
    }
}

impl Queue {
    fn lag(&mut self) {
        self.lagging = true;
        self.bytes = 0;
        self.events.retain(|event| revision_bytes(event).is_none());
    }

    /// Drops what a newer event of its kind makes needless, so that the rest is bounded too: a
    /// client has one batch in flight.
    fn supersede(&mut self, event: &Event) {
        const PRESENCES_MAX: usize = 16;
        if matches!(event, Event::Presence(_)) {
            let is_presence = |one: &&Event| matches!(one, Event::Presence(_));
            if self.events.iter().filter(is_presence).count() >= PRESENCES_MAX
                && let Some(oldest) = self.events.iter().position(|one| is_presence(&one))
            {
                self.events.remove(oldest);
            }
        }
    }
}

/// Returns the size of an event that tells of revisions.
fn revision_bytes(event: &Event) -> Option<usize> {
    match event {
        Event::Changed(update) => Some(update.weight()),
        Event::Merged(merged) => {
            Some(usize::try_from(merged.op.inserted_chars()).unwrap_or(usize::MAX / 2) + 64)
        }
        Event::Ordered { .. }
        | Event::Repeated { .. }
        | Event::Presence(_)
        | Event::Refused { .. }
        | Event::Closed(_) => None,
    }
}
