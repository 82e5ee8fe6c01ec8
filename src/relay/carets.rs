//! The carets of a copy's clients on their way to the owner: many become one message.
//!
//! The first goes at once. Those that follow wait until some time has passed since, each client's
//! last one only; so the owner hears of all people behind a node together, however many there are.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::relay::message::Caret;

#[derive(Default)]
pub(crate) struct Carets {
    waiting: BTreeMap<u64, Caret>,
    /// When they are sent, or were sent last.
    due: Option<Instant>,
    is_awaited: bool,
}

impl Carets {
    /// Takes note of a caret. Returns when [`Carets::take`] is to be called, unless somebody
    /// does already.
    pub(crate) fn note(&mut self, caret: Caret, every: Duration) -> Option<Instant> {
        self.waiting.insert(caret.conn, caret);
        if std::mem::replace(&mut self.is_awaited, true) {
            return None;
        }
        let now = Instant::now();
        let due = self.due.map_or(now, |last| now.max(last + every));
        self.due = Some(due);
        Some(due)
    }

    /// Forgets a client.
    pub(crate) fn forget(&mut self, conn: u64) {
        self.waiting.remove(&conn);
    }

    /// Forgets all clients; whoever is to take their carets comes all the same.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Returns what has come until now.
    pub(crate) fn take(&mut self) -> Vec<Caret> {
        self.is_awaited = false;
        std::mem::take(&mut self.waiting).into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;
    use crate::types::Revision;

    fn caret(conn: u64, at: u64) -> Caret {
        Caret { conn, rev: Revision(1), sel: Some((at, at)) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_goes_at_once_and_then_all_together() {
        let (mut carets, every) = (Carets::default(), Duration::from_millis(75));
        let note = |carets: &mut Carets, conn, at| {
            carets.note(caret(conn, at), every).map(|due| due - Instant::now())
        };
        assert_eq!(note(&mut carets, 1, 0), Some(Duration::ZERO));
        assert_eq!(carets.take(), [caret(1, 0)]);
        advance(Duration::from_millis(25)).await;
        assert_eq!(note(&mut carets, 1, 1), Some(Duration::from_millis(50)));
        for (conn, at) in [(2, 5), (1, 2), (3, 9)] {
            assert_eq!(note(&mut carets, conn, at), None);
        }
        carets.forget(3);
        advance(Duration::from_millis(50)).await;
        assert_eq!(carets.take(), [caret(1, 2), caret(2, 5)]);
        advance(every).await;
        assert_eq!(note(&mut carets, 2, 6), Some(Duration::ZERO));
    }
}
