//! Takes histories in: decides what each client's stream decides by itself (I5), and collects the
//! rest by document.

use rustc_hash::FxHashMap;

use crate::audit::ledger::{Ledger, Source};
use crate::audit::model::{Event, Invariant, Line, Violation};
use crate::audit::names::{Names, Witness};
use crate::audit::report::{Findings, spelled};
use crate::types::{DocId, ParticipantId, Revision, Seq};

/// Collects the histories.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) names: Names,
    docs: FxHashMap<DocId, Followed>,
    pub(crate) events: u64,
}

/// One document as its clients tell it.
#[derive(Debug, Default)]
struct Followed {
    ledger: Ledger,
    streams: FxHashMap<u32, Stream>,
}

/// Where one client is with one document.
#[derive(Debug, Clone, Copy)]
struct Stream {
    participant: ParticipantId,
    open: bool,
    at: Option<Revision>,
    /// The last batch that it was told to be durable.
    acked: Seq,
}

impl Clients {
    /// Takes an event; a client's events come in its order.
    pub(crate) fn take(&mut self, file: u32, number: u64, line: &Line, findings: &mut Findings) {
        self.events += 1;
        let client = self.names.client(&line.client);
        let by = Witness { client, file, line: number };
        if !self.docs.contains_key(&line.doc) {
            self.docs.insert(line.doc.clone(), Followed::default());
        }
        let followed = self.docs.get_mut(&line.doc).expect("it was added just now");
        let fresh =
            Stream { participant: line.session, open: false, at: None, acked: Seq::default() };
        let stream = followed.streams.entry(client).or_insert(fresh);
        if stream.participant != line.session {
            *stream = fresh;
        }
        if let Some(checked) = stream.follow(line.event) {
            findings.check(Invariant::I5, checked.is_ok(), || {
                let mut violation = about(line, checked.err().unwrap_or_default());
                self.names.name(&mut violation, by);
                violation
            });
        }
        let told = followed.ledger.collect(line, by);
        if let Err((rev, Source::Client(other))) = told {
            findings.broken(Invariant::I6, || {
                let what = "two clients have different texts at one revision".to_owned();
                let mut violation = Violation { revision: Some(rev), ..about(line, what) };
                self.names.name(&mut violation, by);
                self.names.name(&mut violation, other);
                violation
            });
        }
    }

    /// Returns a document's part, to be held against the log; it is gone from here then.
    pub(crate) fn remove(&mut self, doc: &DocId) -> Option<Ledger> {
        self.docs.remove(doc).map(|followed| followed.ledger)
    }

    /// Lists the documents that have a part here.
    pub(crate) fn docs(&self) -> impl Iterator<Item = &DocId> {
        self.docs.keys()
    }
}

fn about(line: &Line, what: String) -> Violation {
    let (doc, session) = (Some(line.doc.clone()), Some(spelled(line.session)));
    let (revision, seq) = match line.event {
        Event::Welcome { head, .. } => (Some(head), None),
        Event::Sent { seq, .. } => (None, Some(seq)),
        Event::Ack { seq, rev } => (Some(rev), Some(seq)),
        Event::Op { rev, .. } | Event::Text { rev, .. } => (Some(rev), None),
        Event::End => (None, None),
    };
    Violation { what, doc, session, revision, seq, ..Violation::default() }
}

impl Stream {
    /// Goes on by an event; tells whether it is in its place, if it has one in the stream.
    fn follow(&mut self, event: Event) -> Option<Result<(), String>> {
        match event {
            Event::Welcome { rev, head, seq } => Some(self.welcome(rev, head, seq)),
            // What was told before comes again after a resend, and says nothing new.
            Event::Ack { seq, .. } if seq <= self.acked => None,
            Event::Ack { seq, rev } => {
                self.acked = seq;
                Some(self.advance(rev, rev))
            }
            Event::Op { rev, first } => Some(self.advance(first, rev)),
            Event::End => {
                self.open = false;
                None
            }
            Event::Sent { .. } | Event::Text { .. } => None,
        }
    }

    fn welcome(&mut self, rev: Revision, head: Revision, seq: Seq) -> Result<(), String> {
        let before = self.at.replace(head);
        self.open = true;
        self.acked = self.acked.max(seq);
        match before {
            _ if rev > head => Err(format!("a welcome from revision {rev} back to {head}")),
            Some(at) if head < at => {
                Err(format!("the server went back: the client had seen revision {at}"))
            }
            Some(at) if rev != at && rev != head => {
                Err(format!("a client at revision {at} was welcomed from {rev} on"))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn advance(&mut self, first: Revision, last: Revision) -> Result<(), String> {
        let before = self.at.replace(last);
        let Some(at) = before.filter(|_| self.open) else {
            return Err("a revision outside a connection: no welcome came before it".to_owned());
        };
        if at.0.checked_add(1) != Some(first.0) {
            return Err(format!("revision {first} follows {at}"));
        }
        if last < first {
            return Err(format!("revisions {first} to {last} are none"));
        }
        Ok(())
    }
}

impl Ledger {
    /// Notes what an event says; fails where a text hash is another one than before.
    fn collect(&mut self, line: &Line, by: Witness) -> Result<(), (Revision, Source)> {
        match line.event {
            Event::Welcome { rev, head, seq } => {
                let first = if rev < head { rev.next() } else { head };
                if first > Revision(0) {
                    self.see(first, head, by);
                }
                let sender = self.sender(line.session, by);
                if seq > Seq(0) && sender.welcomed.is_none_or(|(before, _)| before < seq) {
                    sender.welcomed = Some((seq, by));
                }
            }
            Event::Sent { seq, .. } => {
                let sender = self.sender(line.session, by);
                sender.sent.add(seq.0, seq.0);
                sender.last = by;
            }
            Event::Ack { seq, rev } => {
                self.ack(rev, line.session, seq, by);
                self.sender(line.session, by).acked.add(seq.0, seq.0);
            }
            Event::Op { rev, first } if first <= rev => self.see(first, rev, by),
            Event::Op { .. } | Event::End => {}
            Event::Text { rev, hash } => {
                let told = self.name_hash(rev, hash, Source::Client(by));
                told.map_err(|said| (rev, said.by))?;
            }
        }
        Ok(())
    }
}
