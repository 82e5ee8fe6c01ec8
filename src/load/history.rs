//! Writes what clients see into a history that `quire audit` reads: what a [`Document`] tells its
//! watcher, or what a bare connection carries. Nothing is kept in memory.
//!
//! [`Document`]: crate::client::Document

use xxhash_rust::xxh3::xxh3_64;

use crate::audit::{Event, Recorder, Tape};
use crate::client::{Connection, Error, Observer, Seen, Traffic};
use crate::clock::Clock;
use crate::types::{DocId, ParticipantId, Revision};
use crate::wire::{ClientMessage, ServerMessage, Welcome};

/// Is a client's watcher that writes everything down.
pub struct Scribe {
    /// Where to.
    pub recorder: Recorder,
    /// The client's name, its own among those of the recorder.
    pub client: String,
    /// The clock.
    pub clock: Clock,
}

impl Observer for Scribe {
    fn saw(&self, doc: &DocId, session: ParticipantId, seen: Seen) {
        let event = match seen {
            Seen::Welcome { rev, head, seq } => Event::Welcome { rev, head, seq },
            Seen::Sent { seq, base } => Event::Sent { seq, base },
            Seen::Ack { seq, rev } => Event::Ack { seq, rev },
            Seen::Op { first, rev } => Event::Op { rev, first },
            Seen::Text { rev, text } => text_event(rev, &text),
            Seen::End => Event::End,
        };
        self.recorder.tape(&self.client, doc, session).note(self.clock.now(), event);
    }
}

fn text_event(rev: Revision, text: &str) -> Event {
    Event::Text { rev, hash: xxh3_64(text.as_bytes()) }
}

/// A connection whose messages are written down, where somebody wants a history.
pub(crate) struct Joined {
    connection: Connection,
    written: Option<Written>,
}

/// The history of one connection.
struct Written {
    tape: Tape,
    clock: Clock,
    /// The last revision that it has carried.
    at: Revision,
}

impl Joined {
    pub(crate) fn new(connection: Connection, welcome: &Welcome, tape: Option<Tape>) -> Self {
        let Welcome { rev, head, seq, .. } = *welcome;
        let written = tape.map(|tape| Written { tape, clock: Clock::wall(), at: head });
        let joined = Self { connection, written };
        joined.note(Event::Welcome { rev, head, seq });
        joined
    }

    pub(crate) async fn send(&mut self, message: &ClientMessage) -> Result<(), Error> {
        if let ClientMessage::Op { seq, base, .. } = message {
            // Before it is on its way: it may arrive though the sending fails.
            self.note(Event::Sent { seq: *seq, base: *base });
        }
        self.connection.send(message).await
    }

    /// Waits for a message; none where it could not be understood.
    ///
    /// # Cancel safety
    /// As that of the connection.
    pub(crate) async fn receive(&mut self) -> Result<Option<ServerMessage>, Error> {
        let message = self.connection.receive().await?;
        if let (Some(written), Some(message)) = (&mut self.written, &message) {
            written.heard(message);
        }
        Ok(message)
    }

    /// Takes note of what the client shows when it has nothing pending.
    pub(crate) fn shows(&self, rev: Revision, text: &str) {
        self.note(text_event(rev, text));
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.connection.traffic()
    }

    pub(crate) async fn close(self) {
        self.connection.close().await;
    }

    fn note(&self, event: Event) {
        if let Some(written) = &self.written {
            written.note(event);
        }
    }
}

impl Written {
    fn note(&self, event: Event) {
        self.tape.note(self.clock.now(), event);
    }

    fn heard(&mut self, message: &ServerMessage) {
        let event = match message {
            ServerMessage::Ack { seq, rev, .. } => Event::Ack { seq: *seq, rev: *rev },
            ServerMessage::Op { rev, .. } => Event::Op { rev: *rev, first: *rev },
            ServerMessage::Ops { rev, list } if !list.is_empty() => {
                Event::Op { rev: Revision(rev.0 + list.len() as u64 - 1), first: *rev }
            }
            ServerMessage::Merged { rev, .. } => Event::Op { rev: *rev, first: self.at.next() },
            ServerMessage::Ops { .. }
            | ServerMessage::Welcome(_)
            | ServerMessage::Ordered { .. }
            | ServerMessage::Presence { .. }
            | ServerMessage::Error { .. }
            | ServerMessage::Moved { .. }
            | ServerMessage::Pong { .. } => return,
        };
        if let Event::Ack { rev, .. } | Event::Op { rev, .. } = event {
            self.at = rev;
        }
        self.note(event);
    }
}

/// A connection is over when it is let go, whatever the reason.
impl Drop for Written {
    fn drop(&mut self) {
        self.note(Event::End);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::History;
    use crate::text::Operation;
    use crate::types::{Seq, SessionId};
    use crate::wire::Edit;

    #[test]
    fn every_revision_that_a_connection_carries_is_written_down() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("h");
        let (doc, by) = ("d".parse().unwrap(), SessionId([1; 16]).participant());
        let recorder = Recorder::create(&path).unwrap();
        let (tape, clock, at) = (recorder.tape("a", &doc, by), Clock::wall(), Revision(0));
        let mut written = Written { tape, clock, at };
        let (op, base) = (Operation::builder().insert("x").build(), Revision(0));
        let edit = Edit { author: by, base, op: op.clone() };
        let list = vec![edit.clone(), edit];
        for message in [
            ServerMessage::Op { rev: Revision(1), author: by, base, op: op.clone() },
            ServerMessage::Ops { rev: Revision(2), list },
            ServerMessage::Merged { rev: Revision(6), op },
            ServerMessage::Ops { rev: Revision(7), list: Vec::new() },
            ServerMessage::Ack { seq: Seq(1), rev: Revision(7), op: None },
        ] {
            written.heard(&message);
        }
        drop(written);
        recorder.close().unwrap();
        let mut history = History::open(&path).unwrap();
        let read = std::iter::from_fn(|| history.read().unwrap().map(|(_, line)| line.event));
        let shown = |first, rev| Event::Op { rev: Revision(rev), first: Revision(first) };
        let ack = Event::Ack { seq: Seq(1), rev: Revision(7) };
        let wanted = [shown(1, 1), shown(2, 3), shown(4, 6), ack, Event::End];
        assert_eq!(read.collect::<Vec<_>>(), wanted);
    }
}
