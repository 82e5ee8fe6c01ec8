//! What is decided of a document once its last record has gone by.

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_64;

use crate::audit::document::{Basis, Context, Document, Stored};
use crate::audit::ledger::{Ack, Sender};
use crate::audit::model::{Invariant, Unacknowledged, Violation};
use crate::audit::report::spelled;
use crate::audit::session::Session;
use crate::types::{ParticipantId, Revision, Seq};

const GONE: &str = "it lies below the document's first record or the range";
const BEYOND: &str = "it would lie above the range";
const SHARED: &str = "two sessions share a participant id";

/// The sessions behind the participants of a document.
type Known<'a> = FxHashMap<ParticipantId, Vec<&'a Session>>;

/// What is known of one batch.
enum Fate<'a> {
    Accepted(&'a Session),
    Absent,
    Open(&'static str),
}

impl Document {
    /// Decides what is left; `bounded` tells that the log goes on above the range.
    pub(crate) fn finish(mut self, bounded: bool, context: &mut Context<'_>) -> Unacknowledged {
        if !bounded {
            self.meet_checkpoint(None);
        }
        for (rev, ack) in self.ledger.drain_acks() {
            self.left_over(rev, ack, bounded, context);
        }
        self.seen(bounded, context);
        self.texts(context);
        self.checkpoint(context);
        let senders = std::mem::take(&mut self.ledger.sessions);
        let mut known = Known::default();
        if !senders.is_empty() {
            for (id, session) in &self.sessions {
                known.entry(id.participant()).or_default().push(session);
            }
        }
        let mut counts = Unacknowledged::default();
        let mut senders: Vec<_> = senders.into_iter().collect();
        senders.sort_unstable_by_key(|(participant, _)| *participant);
        for (participant, sender) in &senders {
            self.welcomed(*participant, sender, &known, bounded, context);
            self.unacknowledged(*participant, sender, &known, (bounded, &mut counts), context);
        }
        counts
    }

    /// Returns the revision up to which nothing is known.
    fn floor(&self) -> Revision {
        match self.basis {
            Basis::None => Revision(u64::MAX),
            Basis::Whole | Basis::Granted | Basis::Checkpoint => self.start.max(self.below),
        }
    }

    fn left_over(&self, rev: Revision, ack: Ack, bounded: bool, context: &mut Context<'_>) {
        if rev <= self.floor() && rev > Revision(0) {
            return context.findings.open(Invariant::I1, 1, GONE);
        }
        if rev > self.head && bounded {
            return context.findings.open(Invariant::I1, 1, BEYOND);
        }
        context.findings.broken(Invariant::I1, || {
            let what = format!("acknowledged, but the accepted log ends at {}", self.head);
            let mut violation = Violation {
                session: Some(spelled(ack.participant)),
                seq: Some(ack.seq),
                ..self.about(&context.place, what, rev)
            };
            context.place.names.name(&mut violation, ack.by);
            violation
        });
    }

    fn seen(&self, bounded: bool, context: &mut Context<'_>) {
        let (seen, floor) = (&self.ledger.seen, self.floor());
        context.findings.open(Invariant::I8, seen.count(1, floor.0), GONE);
        if floor.0 == u64::MAX {
            return;
        }
        context.findings.held(Invariant::I8, seen.count(floor.0 + 1, self.head.0));
        let above = seen.count(self.head.0.max(floor.0).saturating_add(1), u64::MAX);
        let Some((rev, by)) = self.ledger.seen_last.filter(|_| above > 0) else { return };
        if bounded {
            return context.findings.open(Invariant::I8, above, BEYOND);
        }
        context.findings.broken(Invariant::I8, || {
            let what = format!("{above} revisions were shown above {}, the last", self.head);
            let mut violation = self.about(&context.place, what, rev);
            context.place.names.name(&mut violation, by);
            violation
        });
    }

    /// What was said of texts that no replay was made of.
    fn texts(&mut self, context: &mut Context<'_>) {
        let mut left: Vec<_> = self.ledger.hashes.drain().collect();
        left.sort_unstable_by_key(|(rev, _)| *rev);
        for (rev, said) in left {
            // Revision 0 is the empty text, whoever says it. Elsewhere two that agree are an
            // answer, one alone is none.
            let wrong = rev == Revision(0) && said.hash != xxh3_64(b"");
            if wrong {
                context.findings.broken(Invariant::I6, || {
                    let what = "revision 0 is the empty text, this is another text";
                    self.of_source(&context.place, what, rev, said.by)
                });
            } else if said.times > 1 || rev == Revision(0) {
                context.findings.held(Invariant::I6, said.times);
            } else {
                context.findings.open(Invariant::I6, 1, "there is no replay of its revision");
            }
        }
        for (rev, said, offset) in std::mem::take(&mut self.conflicts) {
            context.findings.broken(Invariant::I6, || {
                let what = format!("the checkpoint at offset {offset} has another text");
                self.of_source(&context.place, &what, rev, said.by)
            });
        }
    }

    fn checkpoint(&self, context: &mut Context<'_>) {
        let stored = match &self.stored {
            None => return,
            Some(Err(why)) => {
                return context.findings.open(Invariant::I10, 1, &format!("no checkpoint: {why}"));
            }
            Some(Ok(stored)) => stored,
        };
        let Stored { newest, body_hash, met, replayed } = stored;
        let wrong = match (met, replayed) {
            _ if newest.text_hash != *body_hash => Some("its text is not the one it names"),
            (Some(Err(why)), _) => Some(why.as_str()),
            (_, Some(hash)) if hash != body_hash => Some("the replay has another text"),
            _ => None,
        };
        match wrong {
            Some(wrong) => context.findings.broken(Invariant::I10, || {
                let at = newest.offset.map(|at| format!(" at offset {at}")).unwrap_or_default();
                let what = format!("the checkpoint{at} is wrong: {wrong}");
                self.about(&context.place, what, newest.revision)
            }),
            None if self.basis != Basis::Whole => {
                context.findings.open(Invariant::I10, 1, "the log is not whole for the document");
            }
            None if met.is_some() && replayed.is_some() => {
                context.findings.held(Invariant::I10, 1);
            }
            None => context.findings.open(Invariant::I10, 1, BEYOND),
        }
    }

    /// A welcome that names a batch promises that it is durable, and all before it.
    fn welcomed(
        &self,
        participant: ParticipantId,
        sender: &Sender,
        known: &Known<'_>,
        bounded: bool,
        context: &mut Context<'_>,
    ) {
        let Some((seq, by)) = sender.welcomed else { return };
        match self.fate(participant, seq, known, bounded) {
            Fate::Accepted(_) => context.findings.held(Invariant::I1, 1),
            Fate::Open(why) => context.findings.open(Invariant::I1, 1, why),
            Fate::Absent => context.findings.broken(Invariant::I1, || {
                let what = "a welcome says that the batch is durable, and it is not there";
                let mut violation = Violation {
                    session: Some(spelled(participant)),
                    seq: Some(seq),
                    revision: None,
                    ..self.about(&context.place, what.to_owned(), self.head)
                };
                context.place.names.name(&mut violation, by);
                violation
            }),
        }
    }

    fn unacknowledged(
        &self,
        participant: ParticipantId,
        sender: &Sender,
        known: &Known<'_>,
        (bounded, counts): (bool, &mut Unacknowledged),
        context: &mut Context<'_>,
    ) {
        let durable = sender.welcomed.map_or(Seq(0), |(seq, _)| seq);
        let open = sender.sent.without(&sender.acked).into_iter().map(Seq);
        for seq in open.filter(|seq| *seq > durable) {
            match self.fate(participant, seq, known, bounded) {
                Fate::Open(why) => context.findings.open(Invariant::I14, 1, why),
                Fate::Absent => {
                    counts.absent += 1;
                    context.findings.held(Invariant::I14, 1);
                }
                Fate::Accepted(session) => {
                    counts.present += 1;
                    let twice = session.doubled.iter().find(|(doubled, _)| *doubled == seq);
                    context.findings.check(Invariant::I14, twice.is_none(), || {
                        let what = "the batch was never acknowledged, and accepted twice";
                        let mut violation = Violation {
                            session: Some(spelled(participant)),
                            seq: Some(seq),
                            revision: None,
                            ..self.about(&context.place, what.to_owned(), self.head)
                        };
                        violation.offsets = twice.map(|(_, offset)| *offset).into_iter().collect();
                        context.place.names.name(&mut violation, sender.last);
                        violation
                    });
                }
            }
        }
    }

    fn fate<'a>(
        &self,
        participant: ParticipantId,
        seq: Seq,
        known: &Known<'a>,
        bounded: bool,
    ) -> Fate<'a> {
        let sessions = known.get(&participant).map(Vec::as_slice).unwrap_or_default();
        let session = match sessions {
            [] if self.basis != Basis::Whole => return Fate::Open(GONE),
            [] if bounded => return Fate::Open(BEYOND),
            [] => return Fate::Absent,
            [session] => *session,
            [_, _, ..] => return Fate::Open(SHARED),
        };
        match session.has(seq) {
            Some(true) => Fate::Accepted(session),
            None if self.basis != Basis::Whole => Fate::Open(GONE),
            Some(false) if bounded => Fate::Open(BEYOND),
            None | Some(false) => Fate::Absent,
        }
    }
}
