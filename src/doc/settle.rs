//! Making durable what the log accepted: the history, the session table, and who is told.
//!
//! One way for every source: an own record that was proven accepted, a record read back after the
//! shard was claimed again, and replay when the document is opened.

use std::sync::Arc;

use tokio::time::Instant;

use crate::checkpoint::{Life, NamedVersion};
use crate::crdt::Meta;
use crate::doc::pending::{Flight, Item, What};
use crate::doc::state::{Effect, State};
use crate::doc::{Change, Refusal, Update};
use crate::log::{Event, EventKind, Frame, Record, Void, check_event, check_frame};
use crate::task::Tasks;
use crate::types::{Author, Epoch, Offset, Revision, Timestamp};

impl State {
    /// Settles the record that was handed over first: it is accepted, at `offset`. Returns when
    /// its batches had come in.
    ///
    /// # Panics
    /// If no record is open, or it does not follow from the state: an invariant of ours is broken
    /// and the document must be rebuilt from the log.
    pub fn accepted(
        &mut self,
        offset: Offset,
        now: Timestamp,
        out: &mut Vec<Effect>,
    ) -> Vec<Instant> {
        let flight = self.pending.land().expect("only a record handed over can be accepted");
        let received = flight.items.iter().map(|item| item.received).collect();
        self.land(flight, offset, out);
        self.flush(now, out);
        received
    }

    /// Takes note of a record that was found in the log when the shard was claimed again.
    pub(in crate::doc) fn recovered(
        &mut self,
        offset: Offset,
        record: &Record,
        out: &mut Vec<Effect>,
    ) {
        if offset < self.offset {
            return;
        }
        if self.check(record).is_err() {
            self.pass_over(offset, record);
            return;
        }
        if !self.pending.first().is_some_and(|flight| is_same(flight, record)) {
            out.push(Effect::Rebuild);
            return;
        }
        if let Some(flight) = self.pending.land() {
            self.land(flight, offset, out);
        }
    }

    /// Takes note that the shard was claimed again: what is still open was not written, and is
    /// handed over under the new epoch.
    pub fn reclaimed(&mut self, epoch: Epoch, now: Timestamp, out: &mut Vec<Effect>) {
        if self.epoch == Some(epoch) {
            return;
        }
        self.epoch = Some(epoch);
        self.pending.recall();
        self.flush(now, out);
    }

    /// Applies a record of the log when the document is opened.
    ///
    /// # Errors
    /// Where the acceptance rule makes it void, which changes nothing.
    pub fn replay(&mut self, offset: Offset, record: &Record, bytes: usize) -> Result<(), Void> {
        if offset < self.offset {
            return Ok(());
        }
        if let Err(void) = self.check(record) {
            self.pass_over(offset, record);
            return Err(void);
        }
        match record {
            Record::Frame(frame) => self.replay_frame(frame),
            Record::Event(event) => {
                self.apply_event(&event.author, &event.kind, event.at, &mut Vec::new());
                if matches!(event.kind, EventKind::AccessChanged(_)) {
                    self.access_ordered.clone_from(&self.access);
                }
            }
            Record::Claim(_) | Record::Release(_) => return Ok(()),
        }
        self.offset = offset.next();
        self.epoch_at_rest = record.epoch();
        self.unsaved_bytes += bytes as u64;
        Ok(())
    }

    /// Goes on past a record of the current owner that does not fit the document.
    fn pass_over(&mut self, offset: Offset, record: &Record) {
        self.offset = offset.next();
        self.epoch_at_rest = record.epoch().or(self.epoch_at_rest);
    }

    fn check(&self, record: &Record) -> Result<(), Void> {
        match record {
            Record::Frame(frame) => check_frame(self, frame),
            Record::Event(event) => check_event(self, event),
            Record::Claim(_) | Record::Release(_) => Ok(()),
        }
    }

    fn land(&mut self, flight: Flight, offset: Offset, out: &mut Vec<Effect>) {
        assert_eq!(flight.base, self.head(), "records are accepted in the order of revisions");
        self.offset = offset.next();
        self.epoch_at_rest = Some(flight.epoch);
        self.unsaved_bytes += flight.bytes;
        let mut changes = Vec::with_capacity(flight.items.len());
        let mut answers = Vec::new();
        // What somebody keeps is copied.
        let is_kept = Arc::strong_count(&self.live) > 1;
        let copied = if is_kept { self.live.edited_chars() } else { 0 };
        let apply_all = || {
            for item in flight.items {
                match item.what {
                    What::Change(change) => {
                        self.apply(&change, flight.at);
                        changes.push(change);
                    }
                    What::Event { author, kind, .. } => {
                        self.apply_event(&author, &kind, flight.at, out);
                    }
                }
                answers.extend(item.done.map(|done| Effect::Done(done, Ok(self.head()))));
            }
        };
        // 250 KiB of text take 1 to 6 ms, 60,000 components 15 to 30 ms.
        Tasks::on_bytes(flight.weight + copied, apply_all);
        if !changes.is_empty() {
            out.push(Effect::Broadcast(Arc::new(Update::new(changes))));
        }
        out.append(&mut answers);
        self.shrink();
    }

    fn replay_frame(&mut self, frame: &Frame) {
        for entry in &frame.entries {
            let rev = self.head().next();
            let change = Arc::new(Change {
                rev,
                session: entry.session,
                seq: entry.seq,
                author: entry.author.clone(),
                base: entry.base,
                op: entry.op.clone(),
                via: None,
                surprising: false,
            });
            let chars = change
                .op
                .chars_after(self.window.chars())
                .expect("an accepted operation was checked before it was written");
            self.sessions.entry(entry.session).note_insert(&entry.op, rev);
            self.window.push(change.clone(), chars);
            self.apply(&change, frame.at);
        }
        self.shrink();
    }

    fn apply(&mut self, change: &Change, at: Timestamp) {
        let row = self.sessions.entry(change.session);
        assert_eq!(change.seq, row.durable.next(), "a session's batches have no gaps");
        row.note_durable(change.seq, change.rev, at);
        let meta = Meta {
            author: change.author.clone(),
            session: change.session,
            seq: change.seq,
            base: change.base,
            at,
        };
        // Whoever reads what was there before keeps it: then it is copied here, once.
        let live = Arc::make_mut(&mut self.live);
        let rev = live.append(&change.op, &meta).expect("the operation was checked");
        assert_eq!(rev, change.rev, "revisions have no gaps");
    }

    fn apply_event(
        &mut self,
        author: &Author,
        kind: &EventKind,
        at: Timestamp,
        out: &mut Vec<Effect>,
    ) {
        match kind {
            EventKind::Created => self.created = true,
            EventKind::Deleted => {
                self.life = Life::Deleted;
                self.close_all(&Refusal::NoDocument, out);
            }
            EventKind::Undeleted => self.life = Life::Live,
            EventKind::Quarantined { reason } => {
                self.life = Life::Quarantined { reason: reason.clone() };
                let refusal = Refusal::Quarantined { reason: reason.clone() };
                self.close_all(&refusal, out);
            }
            EventKind::SessionsExpired { sessions } => self.sessions.expire(sessions),
            EventKind::SessionReturned { session, seq, rev } => {
                self.sessions.bring_back(*session, *seq, *rev, at);
            }
            EventKind::HistoryCut { before } => {
                self.apply_cut(*before);
                out.extend([Effect::PartFromCopies, Effect::Save]);
            }
            EventKind::VersionNamed { name, rev } => {
                self.versions.retain(|version| version.name != *name);
                let (name, author) = (name.clone(), author.clone());
                self.versions.push(NamedVersion { name, rev: *rev, author, at });
            }
            EventKind::AccessChanged(change) => self.apply_access(change, out),
            // Who did it is all that these are for.
            EventKind::Restored { .. } | EventKind::Exported { .. } => {}
        }
    }

    /// Removes the history before a revision. Of a sealed segment that reaches over it, the next
    /// checkpoint keeps the rest.
    fn apply_cut(&mut self, before: Revision) {
        let before = before.min(self.head()).max(self.cut);
        self.sealed.retain(|sealed| sealed.head > before);
        self.unsaved = self.unsaved.take().filter(|segment| segment.head() > before);
        if let Some(segment) = self.unsaved.take_if(|segment| segment.base() < before) {
            self.unsaved = Some(Arc::new(Tasks::at_length(|| segment.without(before))));
        }
        if self.live.base() < before {
            self.live = Arc::new(Tasks::at_length(|| self.live.without(before)));
        }
        self.cut = before;
        self.window.forget_until(before);
        self.versions.retain(|version| version.rev >= self.cut);
    }

    fn close_all(&mut self, refusal: &Refusal, out: &mut Vec<Effect>) {
        let mut conns: Vec<_> = self.sessions.conns().collect();
        conns.sort_unstable();
        for conn in conns {
            self.sessions.disconnect(conn);
            out.push(Effect::Close(conn, refusal.clone()));
        }
    }

    fn shrink(&mut self) {
        let durable = self.live.head();
        let bytes_max = self.config.window_bytes.as_u64() as usize;
        self.window.shrink(self.config.window_revisions, bytes_max, durable);
    }
}

/// Tells whether a record read back is the one handed over.
fn is_same(flight: &Flight, record: &Record) -> bool {
    match record {
        Record::Frame(Frame { entries, .. }) => {
            let same = |(item, entry): (&Item, &crate::log::Entry)| match &item.what {
                What::Change(change) => {
                    change.session == entry.session
                        && change.seq == entry.seq
                        && change.author == entry.author
                        && change.base == entry.base
                        && change.op == entry.op
                }
                What::Event { .. } => false,
            };
            flight.items.len() == entries.len() && flight.items.iter().zip(entries).all(same)
        }
        Record::Event(Event { author, by, kind, .. }) => match flight.items.as_slice() {
            [Item { what: What::Event { author: own_author, by: own_by, kind: own }, .. }] => {
                own_author == author && own_by == by && own == kind
            }
            _ => false,
        },
        Record::Claim(_) | Record::Release(_) => false,
    }
}
