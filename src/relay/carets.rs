//! The carets of a copy's clients on their way to the owner: many become one message.
//!
//! The first goes at once. Those that follow wait until some time has passed since, each client's
//! last one only; so the owner hears of all people behind a node together, however many there are.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::relay::message::Caret;
use crate::types::Revision;

/// Where a client is: a selection in the text of a revision.
type Place = (Revision, Option<(u64, u64)>);

#[derive(Default)]
pub(crate) struct Carets {
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    places: BTreeMap<u64, Place>,
    /// When they are sent, or were sent last.
    due: Option<Instant>,
    is_awaited: bool,
}

impl Carets {
    /// Takes note of a caret. Returns when [`Carets::take`] is to be called, unless somebody
    /// does already.
    pub(crate) fn note(&self, conn: u64, place: Place, every: Duration) -> Option<Instant> {
        let waiting = &mut *self.waiting.lock();
        waiting.places.insert(conn, place);
        if std::mem::replace(&mut waiting.is_awaited, true) {
            return None;
        }
        let now = Instant::now();
        let due = waiting.due.map_or(now, |last| now.max(last + every));
        waiting.due = Some(due);
        Some(due)
    }

    /// Forgets a client.
    pub(crate) fn forget(&self, conn: u64) {
        self.waiting.lock().places.remove(&conn);
    }

    /// Returns what has come until now.
    pub(crate) fn take(&self) -> Vec<Caret> {
        let waiting = &mut *self.waiting.lock();
        waiting.is_awaited = false;
        let places = std::mem::take(&mut waiting.places);
        places.into_iter().map(|(conn, (rev, sel))| Caret { conn, rev, sel }).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_goes_at_once_and_then_all_together() {
        let (carets, every) = (Carets::default(), Duration::from_millis(75));
        let note = |conn, at| {
            carets.note(conn, (Revision(1), Some((at, at))), every).map(|due| due - Instant::now())
        };
        let caret = |conn, at| Caret { conn, rev: Revision(1), sel: Some((at, at)) };
        assert_eq!(note(1, 0), Some(Duration::ZERO));
        assert_eq!(carets.take(), [caret(1, 0)]);
        advance(Duration::from_millis(25)).await;
        assert_eq!(note(1, 1), Some(Duration::from_millis(50)));
        assert_eq!([note(2, 5), note(1, 2), note(3, 9)], [None; 3]);
        carets.forget(3);
        advance(Duration::from_millis(50)).await;
        assert_eq!(carets.take(), [caret(1, 2), caret(2, 5)]);
        advance(every).await;
        assert_eq!(note(2, 6), Some(Duration::ZERO));
    }
}
