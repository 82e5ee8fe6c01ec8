//! One document while its records go by: revisions, sessions, text, and its checkpoint.

use rustc_hash::{FxHashMap, FxHashSet};
use xxhash_rust::xxh3::xxh3_64;

use crate::audit::checkpoints::{Checkpoint, Newest};
use crate::audit::ledger::{Ledger, Said, Source};
use crate::audit::model::{Invariant, Violation};
use crate::audit::names::Names;
use crate::audit::replay::Replay;
use crate::audit::report::{Findings, spelled};
use crate::audit::session::Session;
use crate::log::{Entry, Event, EventKind, Frame, Record, Void};
use crate::types::{DocId, Offset, Revision, Seq, SessionId, ShardId};

/// What a document needs of its surroundings.
pub(crate) struct Context<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) findings: &'a mut Findings,
}

/// Where the audit is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) shard: ShardId,
    /// The record in hand; the end of the shard once there is none.
    pub(crate) offset: Offset,
    pub(crate) names: &'a Names,
}

/// One document as the accepted log tells it.
#[derive(Debug)]
pub(crate) struct Document {
    pub(in crate::audit) id: DocId,
    pub(in crate::audit) basis: Basis,
    /// The revision before the first one that is left.
    pub(in crate::audit) start: Revision,
    pub(in crate::audit) head: Revision,
    /// The head where the range begins.
    pub(in crate::audit) below: Revision,
    pub(in crate::audit) sessions: FxHashMap<SessionId, Session>,
    pub(in crate::audit) ledger: Ledger,
    text: Option<Replay>,
    pub(in crate::audit) stored: Option<Result<Stored, String>>,
    /// Hashes of manifests that are not what was said before.
    pub(in crate::audit) conflicts: Vec<(Revision, Said, Offset)>,
    counted: bool,
}

/// What the document's beginning rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) enum Basis {
    /// Not known before the first record that counts.
    None,
    /// Revision 0: everything is there.
    Whole,
    /// The first record that counts: what was before it is taken for granted.
    Granted,
    /// The newest checkpoint, which stands below all records.
    Checkpoint,
}

/// The newest checkpoint, and what became of it.
#[derive(Debug)]
pub(in crate::audit) struct Stored {
    pub(in crate::audit) newest: Newest,
    /// The hash of the text that it holds.
    pub(in crate::audit) body_hash: u64,
    /// Whether the log agrees, once its offset is reached.
    pub(in crate::audit) met: Option<Result<(), String>>,
    /// The hash that the replay has at its revision.
    pub(in crate::audit) replayed: Option<u64>,
}

impl Document {
    pub(crate) fn new(
        id: DocId,
        ledger: Ledger,
        stored: Option<Checkpoint>,
        trimmed: bool,
    ) -> Self {
        let mut document = Self {
            id,
            basis: Basis::None,
            start: Revision(0),
            head: Revision(0),
            below: Revision(0),
            sessions: FxHashMap::default(),
            ledger,
            text: None,
            stored: None,
            conflicts: Vec::new(),
            counted: false,
        };
        if let Some(Checkpoint { manifests, newest, .. }) = stored {
            for (rev, offset, hash) in manifests {
                let said = document.ledger.name_hash(rev, hash, Source::Manifest(offset));
                document.conflicts.extend(said.err().map(|said| (rev, said, offset)));
            }
            document.stored = Some(newest.map(|newest| {
                let body_hash = xxh3_64(newest.text.as_bytes());
                Stored { newest, body_hash, met: None, replayed: None }
            }));
        }
        let foreign =
            |stored: &Result<Stored, _>| stored.as_ref().is_ok_and(|it| it.newest.offset.is_none());
        if document.stored.as_ref().is_some_and(foreign) {
            document.rest_on_checkpoint();
        } else if !trimmed {
            document.begin(Basis::Whole, Revision(0), "");
        }
        document
    }

    pub(crate) fn id(&self) -> &DocId {
        &self.id
    }

    /// Tells whether any record of it counts.
    pub(crate) fn has_records(&self) -> bool {
        self.counted
    }

    /// Takes a record of the document; tells whether it counts.
    pub(crate) fn record(
        &mut self,
        record: &Record,
        reader: Result<(), Void>,
        by_epoch: Result<(), Void>,
        context: &mut Context<'_>,
    ) -> bool {
        self.meet_checkpoint(Some(context.place.offset));
        let own = by_epoch.and_then(|()| self.judge(record));
        let base = record.base_rev().unwrap_or_default();
        let verdict = match (self.basis, own) {
            // The reader takes for granted what the checkpoint tells.
            (Basis::Checkpoint, Err(Void::Revision)) if base > self.head && reader.is_ok() => {
                let head = self.head;
                context.findings.broken(Invariant::I10, || {
                    let what = format!("its checkpoint and tail end at {head}, the log goes on");
                    self.about(&context.place, what, base)
                });
                reader
            }
            (Basis::Checkpoint, own) => own,
            (Basis::None | Basis::Whole | Basis::Granted, _) => reader,
        };
        if self.basis != Basis::Checkpoint && own.is_ok() {
            let what = "it is void for the reader and must not be".to_owned();
            match reader {
                Err(Void::Revision) => {
                    context
                        .findings
                        .broken(Invariant::I3, || self.about(&context.place, what, base));
                }
                Err(Void::Seq) => {
                    context
                        .findings
                        .broken(Invariant::I4, || self.about(&context.place, what, base));
                }
                Err(Void::StaleEpoch | Void::Released | Void::Claim) | Ok(()) => {}
            }
        }
        if verdict.is_err() {
            return false;
        }
        if self.basis == Basis::None {
            let basis = if base == Revision(0) { Basis::Whole } else { Basis::Granted };
            self.begin(basis, base, "");
        }
        self.counted = true;
        match record {
            Record::Frame(frame) => self.frame(frame, context),
            Record::Event(event) => self.event(event, context),
            Record::Claim(_) | Record::Release(_) => {}
        }
        if context.findings.muted {
            self.below = self.head;
        }
        true
    }

    /// Sees to it that the checkpoint is compared where it stands: before the record at `next`, or
    /// at the end.
    pub(in crate::audit) fn meet_checkpoint(&mut self, next: Option<Offset>) {
        let Some(Ok(stored)) = &self.stored else { return };
        let Some(offset) = stored.newest.offset else { return };
        if stored.met.is_some() || next.is_some_and(|next| next < offset) {
            return;
        }
        let met = match self.basis {
            Basis::None => {
                self.rest_on_checkpoint();
                Ok(())
            }
            Basis::Whole | Basis::Granted | Basis::Checkpoint => self.compare(&stored.newest),
        };
        let Some(Ok(stored)) = &mut self.stored else { return };
        // From here on there is a text to begin with.
        if met.is_ok() && self.basis == Basis::Granted && !self.ledger.hashes.is_empty() {
            self.text = Some(Replay::new(&stored.newest.text));
        }
        stored.met = Some(met);
    }

    /// Names a place of the document.
    pub(in crate::audit) fn about(
        &self,
        place: &Place<'_>,
        what: String,
        revision: Revision,
    ) -> Violation {
        Violation {
            what,
            shard: Some(place.shard),
            offsets: vec![place.offset],
            doc: Some(self.id.clone()),
            revision: Some(revision),
            ..Violation::default()
        }
    }

    fn begin(&mut self, basis: Basis, start: Revision, text: &str) {
        (self.basis, self.start, self.head) = (basis, start, start);
        if basis != Basis::Granted && self.wants_text() {
            self.text = Some(Replay::new(text));
        }
        if let (Basis::Whole, Some(Ok(stored))) = (basis, &mut self.stored) {
            // Its own text is not needed where the log makes it again.
            stored.newest.text = "".into();
            if stored.newest.revision == start {
                stored.replayed = Some(xxh3_64(text.as_bytes()));
            }
        }
    }

    fn rest_on_checkpoint(&mut self) {
        let Some(Ok(stored)) = &self.stored else { return };
        let (text, revision) = (stored.newest.text.clone(), stored.newest.revision);
        let rows = stored.newest.sessions.iter();
        self.sessions = rows.map(|(id, seq, rev)| (*id, Session::at(*seq, *rev))).collect();
        self.begin(Basis::Checkpoint, revision, &text);
    }

    fn wants_text(&self) -> bool {
        let due = |it: &Stored| it.replayed.is_none() && it.newest.revision >= self.head;
        let for_checkpoint = matches!(&self.stored, Some(Ok(stored)) if due(stored));
        !self.ledger.hashes.is_empty() || (for_checkpoint && self.basis == Basis::Whole)
    }

    /// Holds a checkpoint against the records below its offset.
    fn compare(&self, newest: &Newest) -> Result<(), String> {
        if newest.revision != self.head {
            return Err(format!("the accepted log has revision {} there", self.head));
        }
        for (id, seq, rev) in &newest.sessions {
            let known = self.sessions.get(id);
            let equal = |it: &Session| it.known == *seq && it.rev.is_none_or(|at| at == *rev);
            if !known.map_or(self.basis != Basis::Whole, equal) {
                let (id, seq) = (spelled(id.participant()), seq.0);
                return Err(format!("the accepted log has another last batch of {id} than {seq}"));
            }
        }
        let known = self.sessions.values().filter(|it| it.known > Seq(0)).count();
        if known <= newest.sessions.len() {
            return Ok(());
        }
        let listed: FxHashSet<_> = newest.sessions.iter().map(|(id, ..)| *id).collect();
        let mut all = self.sessions.iter().filter(|(_, it)| it.known > Seq(0));
        let missing = all.find(|(id, _)| !listed.contains(*id)).map(|(id, _)| id.participant());
        let missing = missing.map(spelled).unwrap_or_default();
        Err(format!("it does not know the session {missing}"))
    }

    /// Tells whether a record is the document's next, by the revision and the sessions.
    fn judge(&self, record: &Record) -> Result<(), Void> {
        if self.basis == Basis::None {
            return Ok(());
        }
        if record.base_rev() != Some(self.head) {
            return Err(Void::Revision);
        }
        let Record::Frame(frame) = record else { return Ok(()) };
        let mut in_frame: FxHashMap<SessionId, Seq> = FxHashMap::default();
        for entry in &frame.entries {
            let next = match (in_frame.get(&entry.session), self.sessions.get(&entry.session)) {
                (Some(last), _) => last.0.checked_add(1) == Some(entry.seq.0),
                (None, Some(session)) => session.expects(entry.seq),
                (None, None) => entry.seq == Seq(1) || self.basis == Basis::Granted,
            };
            if !next {
                return Err(Void::Seq);
            }
            in_frame.insert(entry.session, entry.seq);
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame, context: &mut Context<'_>) {
        let base = frame.base_rev;
        if base != self.head {
            context.findings.broken(Invariant::I3, || {
                let what = format!("revision {} is followed by one more than {base}", self.head);
                self.about(&context.place, what, base)
            });
            // From here on as the reader has it.
            self.head = base;
            self.text = None;
        }
        for entry in &frame.entries {
            let Some(rev) = self.head.0.checked_add(1).map(Revision) else { return };
            context.findings.held(Invariant::I3, 1);
            self.head = rev;
            self.order(entry, rev, context);
            if !context.findings.muted {
                self.acknowledged(entry, rev, context);
            }
            self.replay(entry, rev, context);
        }
    }

    /// Checks that the batch is the session's next, and its first of that number.
    fn order(&mut self, entry: &Entry, rev: Revision, context: &mut Context<'_>) {
        let Entry { session: id, seq, .. } = entry;
        let granted = self.basis == Basis::Granted && !self.sessions.contains_key(id);
        let known = self
            .sessions
            .entry(*id)
            .or_insert_with(|| Session::before(if granted { *seq } else { Seq(1) }));
        let (again, next, last) =
            (known.accepted.contains(seq.0), known.expects(*seq), known.known);
        known.accept(*seq, rev, context.place.offset);
        let batch = |place: &Place<'_>, what: String| Violation {
            session: Some(spelled(id.participant())),
            seq: Some(*seq),
            ..self.about(place, what, rev)
        };
        if again {
            let what = "the batch was accepted before".to_owned();
            context.findings.broken(Invariant::I2, || batch(&context.place, what));
        } else if granted {
            for invariant in [Invariant::I2, Invariant::I4] {
                context.findings.open(invariant, 1, "the session's batches before it are gone");
            }
        } else {
            context.findings.held(Invariant::I2, 1);
            context.findings.check(Invariant::I4, next, || {
                batch(&context.place, format!("the session's last batch is {last}"))
            });
        }
    }

    /// Holds the acknowledgements of a revision against what was accepted there.
    fn acknowledged(&mut self, entry: &Entry, rev: Revision, context: &mut Context<'_>) {
        let participant = entry.session.participant();
        for ack in self.ledger.take_acks(rev) {
            let right = (ack.participant, ack.seq) == (participant, entry.seq);
            context.findings.check(Invariant::I1, right, || {
                let (accepted, seq) = (spelled(participant), entry.seq);
                let what = format!("the revision is batch {seq} of {accepted}, not the one acked");
                let mut violation = Violation {
                    session: Some(spelled(ack.participant)),
                    seq: Some(ack.seq),
                    ..self.about(&context.place, what, rev)
                };
                context.place.names.name(&mut violation, ack.by);
                violation
            });
        }
    }

    fn replay(&mut self, entry: &Entry, rev: Revision, context: &mut Context<'_>) {
        let Some(text) = &mut self.text else { return };
        if let Err(error) = text.apply(&entry.op) {
            self.text = None;
            let what = format!("the accepted operation does not fit the text: {error}");
            context.findings.broken(Invariant::I6, || self.about(&context.place, what, rev));
            return;
        }
        self.compare_text(rev, context);
        if !self.wants_text() {
            self.text = None;
        }
    }

    /// Compares the replay at a revision with whatever was said of it.
    fn compare_text(&mut self, rev: Revision, context: &mut Context<'_>) {
        let Some(text) = &self.text else { return };
        let due = |it: &&mut Stored| it.newest.revision == rev;
        let stored = self.stored.as_mut().and_then(|it| it.as_mut().ok()).filter(due);
        let said = if context.findings.muted { None } else { self.ledger.hashes.remove(&rev) };
        if stored.is_none() && said.is_none() {
            return;
        }
        let hash = text.hash();
        if let Some(stored) = stored {
            stored.replayed = Some(hash);
        }
        let Some(Said { hash: wanted, by, times }) = said else { return };
        if hash == wanted {
            context.findings.held(Invariant::I6, times);
            return;
        }
        context.findings.broken(Invariant::I6, || {
            let what = "the replay of the accepted log has another text";
            self.of_source(&context.place, what, rev, by)
        });
    }

    /// Names who said something about a text.
    pub(in crate::audit) fn of_source(
        &self,
        place: &Place<'_>,
        what: &str,
        rev: Revision,
        by: Source,
    ) -> Violation {
        let mut violation = self.about(place, what.to_owned(), rev);
        match by {
            Source::Client(witness) => place.names.name(&mut violation, witness),
            Source::Manifest(offset) => {
                violation.what = format!("{what} than the checkpoint at offset {offset}");
            }
        }
        violation
    }

    fn event(&mut self, event: &Event, context: &mut Context<'_>) {
        let base = event.base_rev;
        context.findings.check(Invariant::I3, base == self.head, || {
            let what = format!("an event of revision {base} counts at revision {}", self.head);
            self.about(&context.place, what, base)
        });
        match &event.kind {
            EventKind::SessionsExpired { sessions } => {
                for id in sessions {
                    if let Some(session) = self.sessions.get_mut(id) {
                        session.expire();
                    }
                }
            }
            EventKind::SessionReturned { session: id, seq, rev } => {
                let session = self.sessions.entry(*id).or_insert_with(|| Session::at(*seq, *rev));
                let last = session.accepted.last();
                (session.known, session.rev) = (*seq, Some(*rev));
                context.findings.check(Invariant::I4, last == Some(seq.0), || Violation {
                    session: Some(spelled(id.participant())),
                    seq: Some(*seq),
                    ..self.about(&context.place, "another batch was its last one".to_owned(), *rev)
                });
            }
            EventKind::Created
            | EventKind::Deleted
            | EventKind::Undeleted
            | EventKind::Quarantined { .. }
            | EventKind::HistoryCut { .. }
            | EventKind::VersionNamed { .. }
            | EventKind::AccessChanged(_)
            | EventKind::Restored { .. }
            | EventKind::Exported { .. } => {}
        }
    }
}
