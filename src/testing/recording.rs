//! Writes what clients see into a history that `quire audit` reads.

use xxhash_rust::xxh3::xxh3_64;

use crate::audit::{Event, Recorder};
use crate::client::{Observer, Seen};
use crate::clock::Clock;
use crate::types::{DocId, ParticipantId};

/// Is one client's watcher.
pub struct Recording {
    /// Where to.
    pub recorder: Recorder,
    /// The client's name, its own among those of the recorder.
    pub client: String,
    /// The clock.
    pub clock: Clock,
}

impl Observer for Recording {
    fn saw(&self, doc: &DocId, session: ParticipantId, seen: Seen) {
        let event = match seen {
            Seen::Welcome { rev, head, seq } => Event::Welcome { rev, head, seq },
            Seen::Sent { seq, base } => Event::Sent { seq, base },
            Seen::Ack { seq, rev } => Event::Ack { seq, rev },
            Seen::Op { first, rev } => Event::Op { rev, first },
            Seen::Text { rev, text } => Event::Text { rev, hash: xxh3_64(text.as_bytes()) },
            Seen::End => Event::End,
        };
        self.recorder.tape(&self.client, doc, session).note(self.clock.now(), event);
    }
}
