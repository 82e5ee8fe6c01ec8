//! What one cache has still to be told: each document once, however often it changes.
//!
//! ```text
//! note ─► waiting ─(due)─► take ─► on its way ─┬─ done ─► gone, or waiting if noted meanwhile
//!            ▲                                 │
//!            └── after a pause that doubles ◄── failed ─► given up after so many tries
//! ```
//! Pure: time comes in as an argument.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::types::DocId;

/// How often a cache is told of a document before it is given up.
const TRIES_MAX: u32 = 10;

/// The pause after the first failure.
const PAUSE: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The documents that one cache has to be told of.
#[derive(Debug)]
pub(crate) struct Queue {
    documents: HashMap<DocId, State>,
    /// Those that wait, the first one due first.
    due: BTreeSet<(Instant, DocId)>,
    documents_max: usize,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Waiting { tries: u32 },
    OnItsWay { tries: u32, noted: bool },
}

/// What became of a document that was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noted {
    /// It is the first that waits: whoever sends has to look.
    First,
    /// It waits with others, or did already.
    Waits,
    /// There is no room for it.
    Dropped,
}

/// What becomes of a document of which a cache could not be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It is told again.
    Later,
    /// It has been told often enough.
    GivenUp,
}

impl Queue {
    /// Returns an empty queue with room for so many documents.
    pub(crate) fn new(documents_max: usize) -> Self {
        Self { documents: HashMap::new(), due: BTreeSet::new(), documents_max }
    }

    /// Notes that a document has changed; the cache is told at `due`, or earlier if it was noted
    /// before.
    pub(crate) fn note(&mut self, doc: &DocId, due: Instant) -> Noted {
        let is_full = self.documents.len() >= self.documents_max;
        match self.documents.get_mut(doc) {
            Some(State::Waiting { .. }) => return Noted::Waits,
            Some(State::OnItsWay { noted, .. }) => {
                *noted = true;
                return Noted::Waits;
            }
            None if is_full => return Noted::Dropped,
            None => {}
        }
        let is_first = self.due.is_empty();
        self.wait(doc.clone(), due, 0);
        if is_first { Noted::First } else { Noted::Waits }
    }

    /// Returns a document that is due; it is on its way then.
    pub(crate) fn take(&mut self, now: Instant) -> Option<DocId> {
        if self.next()? > now {
            return None;
        }
        self.take_any()
    }

    /// Returns the document that is due first, due or not; it is on its way then.
    pub(crate) fn take_any(&mut self) -> Option<DocId> {
        let (_, doc) = self.due.pop_first()?;
        if let Some(state) = self.documents.get_mut(&doc) {
            *state = State::OnItsWay { tries: state.tries(), noted: false };
        }
        Some(doc)
    }

    /// Returns when the next document is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Returns how many documents there are, those on their way among them.
    pub(crate) fn len(&self) -> usize {
        self.documents.len()
    }

    /// Notes that the cache was told of a document; one that has changed meanwhile is due again.
    pub(crate) fn done(&mut self, doc: DocId, due: Instant) {
        if let Some(State::OnItsWay { noted: true, .. }) = self.documents.remove(&doc) {
            self.wait(doc, due, 0);
        }
    }

    /// Notes that the cache could not be told. `chance`, from 0 to 1, spreads the pauses.
    pub(crate) fn failed(&mut self, doc: DocId, now: Instant, chance: f64) -> Failed {
        let Some(state) = self.documents.remove(&doc) else { return Failed::GivenUp };
        let tries = match state {
            State::OnItsWay { noted: true, .. } => 0,
            State::OnItsWay { .. } | State::Waiting { .. } => state.tries() + 1,
        };
        if tries >= TRIES_MAX {
            return Failed::GivenUp;
        }
        let pause = PAUSE.saturating_mul(1 << tries.saturating_sub(1)).min(PAUSE_MAX);
        self.wait(doc, now + pause.mul_f64(0.5 + chance / 2.0), tries);
        Failed::Later
    }

    fn wait(&mut self, doc: DocId, due: Instant, tries: u32) {
        self.due.insert((due, doc.clone()));
        self.documents.insert(doc, State::Waiting { tries });
    }
}

impl State {
    fn tries(self) -> u32 {
        match self {
            Self::Waiting { tries, .. } | Self::OnItsWay { tries, .. } => tries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn doc(name: &str) -> DocId {
        name.parse().unwrap()
    }

    #[test]
    fn a_document_waits_once_however_often_it_changes() {
        let (mut queue, now) = (Queue::new(10), Instant::now());
        assert_eq!(queue.note(&doc("a"), now + 5 * MS), Noted::First);
        assert_eq!(queue.note(&doc("b"), now + 6 * MS), Noted::Waits);
        assert_eq!(queue.note(&doc("a"), now + 9 * MS), Noted::Waits, "the first change counts");
        assert_eq!(queue.take(now + 4 * MS), None);
        assert_eq!(queue.take(now + 5 * MS), Some(doc("a")));
        assert_eq!(queue.take(now + 5 * MS), None);
        assert_eq!((queue.next(), queue.len()), (Some(now + 6 * MS), 2));
        queue.done(doc("a"), now);
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn what_changes_on_its_way_is_told_again() {
        let (mut queue, now) = (Queue::new(10), Instant::now());
        queue.note(&doc("a"), now);
        assert_eq!(queue.take(now), Some(doc("a")));
        assert_eq!(queue.note(&doc("a"), now), Noted::Waits);
        assert_eq!(queue.take(now), None, "one at a time");
        queue.done(doc("a"), now + MS);
        assert_eq!(queue.take(now + MS), Some(doc("a")));
        queue.done(doc("a"), now);
        assert_eq!((queue.len(), queue.next()), (0, None));
    }

    #[test]
    fn what_fails_is_tried_after_pauses_that_double_and_not_for_ever() {
        let (mut queue, mut now) = (Queue::new(10), Instant::now());
        queue.note(&doc("a"), now);
        let mut pauses = Vec::new();
        loop {
            assert_eq!(queue.take(now), Some(doc("a")));
            if queue.failed(doc("a"), now, 1.0) == Failed::GivenUp {
                break;
            }
            let due = queue.next().expect("it waits");
            pauses.push((due - now).as_millis());
            now = due;
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600]);
        assert_eq!(queue.len(), 0);
        queue.note(&doc("a"), now);
        queue.take(now);
        queue.failed(doc("a"), now, 0.0);
        assert_eq!(queue.next(), Some(now + 50 * MS), "half of it, by chance");
        queue.take(now + 50 * MS);
        queue.note(&doc("a"), now);
        queue.failed(doc("a"), now, 1.0);
        assert_eq!(queue.next(), Some(now + 100 * MS), "a new change begins anew");
    }

    #[test]
    fn the_queue_is_bounded() {
        let (mut queue, now) = (Queue::new(2), Instant::now());
        queue.note(&doc("a"), now);
        queue.note(&doc("b"), now);
        queue.take(now);
        assert_eq!(queue.note(&doc("c"), now), Noted::Dropped);
        assert_eq!(queue.note(&doc("a"), now), Noted::Waits);
        queue.done(doc("a"), now);
        assert_eq!(queue.len(), 2, "a was noted again");
        assert_eq!(queue.take_any(), Some(doc("a")));
        queue.done(doc("a"), now);
        assert_eq!(queue.note(&doc("c"), now), Noted::Waits);
    }
}
