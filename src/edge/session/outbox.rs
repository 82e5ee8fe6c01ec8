//! What waits to be sent to one client: bounded in bytes and in age.
//!
//! Over a bound, the revisions that wait are dropped as a whole and the outbox is `lagging`: the
//! session asks the document for what its client has missed once the socket takes data again. A
//! revision is never skipped silently.

use std::collections::VecDeque;
use std::sync::Arc;
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
    /// How many of them are presences.
    presences: usize,
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
        // Each tells only what has changed.
        const PRESENCES_MAX: usize = 16;
        if !matches!(event, Event::Presence(_)) {
            return;
        }
        if self.presences < PRESENCES_MAX {
            self.presences += 1;
            return;
        }
        let mut all = self.events.iter_mut().enumerate().filter_map(|(at, one)| match one {
            Event::Presence(presence) => Some((at, presence)),
            _ => None,
        });
        if let (Some((at, before)), Some((_, after))) = (all.next(), all.next()) {
            *after = Arc::new(after.with(before));
            self.events.remove(at);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doc::{Encodings, Outbox as _, Presence, PresenceRow};
    use crate::types::{ParticipantId, Revision};

    #[test]
    fn who_has_gone_is_told_however_much_comes_after_it() {
        let bounds = Bounds { bytes_max: 1_024, age_max: Duration::from_secs(1) };
        let outbox = Outbox::new(bounds);
        let row = |id, gone: bool| PresenceRow {
            id: ParticipantId(id),
            user: None,
            sel: (!gone).then_some((3, 3)),
            gone,
        };
        let push = |rev, rows| {
            let encoded = Encodings::default();
            let presence = Presence { rev: Revision(rev), participants: 1, rows, encoded };
            outbox.push(Event::Presence(Arc::new(presence)));
        };
        push(0, vec![row(1, true), row(2, false), row(3, false)]);
        for rev in 1..40 {
            push(rev, vec![row(2, false)]);
        }
        let events = outbox.take().events;
        assert!(events.len() <= 16, "it is bounded: {}", events.len());
        let Some(Event::Presence(first)) = events.front() else { panic!("all are presences") };
        let (gone, still) = (row(1, true), PresenceRow { sel: None, ..row(3, false) });
        assert_eq!(first.rows, [gone, still, row(2, false)]);
    }
}
