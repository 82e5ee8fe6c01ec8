//! The audit once more, quadratic and obviously right, and random logs and histories on which both
//! must agree.

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use crate::audit::tests::{Case, ack, claim, frame, line, op, release, sent, text, welcome};
use crate::audit::{Event, Invariant, Line, Range};
use crate::log::{Entry, Frame, Judged, Record, Void};
use crate::text::apply;
use crate::types::{DocId, ParticipantId};

/// An accepted batch: its place, document, revision and entry.
type Accepted<'a> = (usize, &'a DocId, u64, &'a Entry);

/// Everything in lists that are looked through from the beginning, each time.
struct Naive<'a> {
    records: &'a [Judged],
    lines: &'a [Line],
}

impl<'a> Naive<'a> {
    fn record(&self, at: usize) -> &'a Record {
        self.records[at].record.as_ref().unwrap()
    }

    /// Tells whether a record's epoch holds, from all records before it.
    fn epoch_holds(&self, at: usize) -> bool {
        let (mut epoch, mut released) = (None, false);
        for index in 0..=at {
            let holds = match self.record(index) {
                Record::Claim(claim) => claim.prev.map(|prev| prev.0) == epoch,
                other => other.epoch().map(|of| of.0) == epoch && !released,
            };
            if index == at {
                return holds;
            }
            match self.record(index) {
                Record::Claim(_) if holds => (epoch, released) = (Some(index as u64), false),
                Record::Release(_) if holds => released = true,
                _ => {}
            }
        }
        unreachable!("the record is among them")
    }

    /// Lists the frames that count for the reader, among the first `until` records.
    fn frames(&self, until: usize) -> Vec<(usize, &'a Frame)> {
        let frame = |at| match self.record(at) {
            Record::Frame(frame) if self.records[at].verdict.is_ok() => Some((at, frame)),
            _ => None,
        };
        (0..until).filter_map(frame).collect()
    }

    fn accepted(&self, until: usize) -> Vec<Accepted<'a>> {
        let mut all = Vec::new();
        for (at, frame) in self.frames(until) {
            for (rev, entry) in (frame.base_rev.0 + 1..).zip(&frame.entries) {
                all.push((at, &frame.doc, rev, entry));
            }
        }
        all
    }

    fn head(&self, doc: &DocId, until: usize) -> u64 {
        let last = self.frames(until).into_iter().rfind(|(_, frame)| frame.doc == *doc);
        last.map_or(0, |(_, frame)| frame.head().unwrap().0)
    }

    /// Tells whether the frame's batches are the next of their sessions.
    fn in_order(&self, at: usize, frame: &Frame) -> bool {
        let before = self.accepted(at);
        (0..frame.entries.len()).all(|index| {
            let entry = &frame.entries[index];
            let earlier = before.iter().filter(|(_, doc, ..)| **doc == frame.doc);
            let mut earlier = earlier.map(|(.., entry)| *entry).chain(&frame.entries[..index]);
            let last = earlier.rfind(|other| other.session == entry.session);
            entry.seq.0 == last.map_or(0, |last| last.seq.0) + 1
        })
    }

    fn violated(&self) -> Vec<(Invariant, u64)> {
        use Invariant::{I1, I2, I3, I4, I5, I6, I7, I8, I14};
        let (i2, i4) = self.batches();
        let (i3, more) = self.frames_broken();
        vec![
            (I1, self.i1()),
            (I2, i2),
            (I3, i3),
            (I4, i4 + more),
            (I5, (0..self.lines.len()).filter(|at| !self.in_stream(*at)).count() as u64),
            (I6, self.i6()),
            (I7, self.i7()),
            (I8, self.docs().into_iter().filter(|doc| self.shown_above(doc)).count() as u64),
            (I14, self.i14().2),
        ]
    }

    fn docs(&self) -> Vec<&'a DocId> {
        let mut docs: Vec<_> = self.lines.iter().map(|line| &line.doc).collect();
        docs.sort();
        docs.dedup();
        docs
    }

    fn i1(&self) -> u64 {
        let all = self.accepted(self.records.len());
        let wrong = |line: &&Line| {
            let Event::Ack { seq, rev } = line.event else { return false };
            let there = all.iter().find(|(_, doc, at, _)| **doc == line.doc && *at == rev.0);
            there.is_none_or(|(.., entry)| {
                entry.session.participant() != line.session || entry.seq != seq
            })
        };
        let acks = self.lines.iter().filter(wrong).count() as u64;
        let broken = |(doc, participant): &(&DocId, ParticipantId)| {
            let most = self.welcomed(doc, *participant);
            most > 0 && self.times(doc, *participant, most) == 0
        };
        acks + self.participants().iter().filter(|it| broken(it)).count() as u64
    }

    fn participants(&self) -> Vec<(&'a DocId, ParticipantId)> {
        let mut all: Vec<_> = self.lines.iter().map(|line| (&line.doc, line.session)).collect();
        all.sort();
        all.dedup();
        all
    }

    fn welcomed(&self, doc: &DocId, participant: ParticipantId) -> u64 {
        let of = self.lines.iter().filter(|it| it.doc == *doc && it.session == participant);
        let seq = |line: &Line| match line.event {
            Event::Welcome { seq, .. } => Some(seq.0),
            _ => None,
        };
        of.filter_map(seq).max().unwrap_or(0)
    }

    fn times(&self, doc: &DocId, participant: ParticipantId, seq: u64) -> usize {
        let is = |(_, of, _, entry): &&Accepted<'_>| {
            *of == doc && entry.session.participant() == participant && entry.seq.0 == seq
        };
        self.accepted(self.records.len()).iter().filter(is).count()
    }

    /// Counts doubled batches and those out of order.
    fn batches(&self) -> (u64, u64) {
        let all = self.accepted(self.records.len());
        let (mut doubled, mut unordered) = (0, 0);
        for (index, (_, doc, _, entry)) in all.iter().enumerate() {
            let same =
                |(_, of, _, other): &&Accepted<'_>| of == doc && other.session == entry.session;
            let earlier: Vec<_> =
                all[..index].iter().filter(same).map(|(.., other)| other.seq.0).collect();
            if earlier.contains(&entry.seq.0) {
                doubled += 1;
            } else if earlier.last().copied().unwrap_or(0) + 1 != entry.seq.0 {
                unordered += 1;
            }
        }
        (doubled, unordered)
    }

    /// Counts frames at a wrong revision, and those passed over that were right: by revision, by
    /// order.
    fn frames_broken(&self) -> (u64, u64) {
        let (mut i3, mut i4) = (0, 0);
        for at in 0..self.records.len() {
            let Record::Frame(frame) = self.record(at) else { continue };
            let fits = frame.base_rev.0 == self.head(&frame.doc, at);
            let right = fits && self.epoch_holds(at) && self.in_order(at, frame);
            match self.records[at].verdict {
                Ok(()) if !fits => i3 += 1,
                Err(Void::Revision) if right => i3 += 1,
                Err(Void::Seq) if right => i4 += 1,
                _ => {}
            }
        }
        (i3, i4)
    }

    fn i7(&self) -> u64 {
        let wrong = |at: &usize| match (self.epoch_holds(*at), self.records[*at].verdict) {
            (false, verdict) => verdict.is_ok(),
            (true, verdict) => {
                matches!(verdict, Err(Void::StaleEpoch | Void::Released | Void::Claim))
            }
        };
        (0..self.records.len()).filter(wrong).count() as u64
    }

    /// Tells whether a line is in its place of its client's stream, by all lines before it.
    fn in_stream(&self, at: usize) -> bool {
        let this = &self.lines[at];
        let of = |line: &&Line| line.doc == this.doc && line.client == this.client;
        let mut earlier: Vec<&Line> = self.lines[..at].iter().filter(of).collect();
        let other = earlier.iter().rposition(|line| line.session != this.session);
        earlier.drain(..other.map_or(0, |last| last + 1));
        let acked = |until: usize| {
            let seq = |line: &&Line| match line.event {
                Event::Welcome { seq, .. } | Event::Ack { seq, .. } => seq.0,
                _ => 0,
            };
            earlier[..until].iter().map(seq).max().unwrap_or(0)
        };
        let position = (0..earlier.len()).rev().find_map(|index| match earlier[index].event {
            Event::Welcome { head, .. } => Some(head.0),
            Event::Ack { seq, rev } if seq.0 > acked(index) => Some(rev.0),
            Event::Op { rev, .. } => Some(rev.0),
            _ => None,
        });
        let opening = earlier.iter().rev().find_map(|line| match line.event {
            Event::Welcome { .. } => Some(true),
            Event::End => Some(false),
            _ => None,
        });
        let follows =
            |first: u64| opening == Some(true) && position.is_some_and(|p| p + 1 == first);
        match this.event {
            Event::Welcome { rev, head, .. } => {
                let back = position.is_some_and(|p| head.0 < p);
                let resumed = position.is_none_or(|p| rev.0 == p || rev == head);
                rev <= head && !back && resumed
            }
            Event::Ack { seq, .. } if seq.0 <= acked(earlier.len()) => true,
            Event::Ack { rev, .. } => follows(rev.0),
            Event::Op { rev, first } => follows(first.0) && first <= rev,
            Event::Sent { .. } | Event::Text { .. } | Event::End => true,
        }
    }

    /// Returns the text at a revision, as far as the revisions have no gap.
    fn text_at(&self, doc: &DocId, rev: u64) -> Option<String> {
        let mut text = String::new();
        let (mut head, mut found) = (0, (rev == 0).then(String::new));
        for (at, frame) in self.frames(self.records.len()) {
            if frame.doc != *doc {
                continue;
            }
            if frame.base_rev.0 != self.head(doc, at) {
                return found;
            }
            for entry in &frame.entries {
                text = apply(&entry.op, &text).unwrap();
                head += 1;
                if head == rev {
                    found = Some(text.clone());
                }
            }
        }
        found
    }

    fn i6(&self) -> u64 {
        let mut wrong = 0;
        for (at, line) in self.lines.iter().enumerate() {
            let Event::Text { rev, hash } = line.event else { continue };
            let said = |other: &&Line| {
                other.doc == line.doc
                    && matches!(other.event, Event::Text { rev: of, .. } if of == rev)
            };
            match self.lines[..at].iter().find(said).map(|line| line.event) {
                Some(Event::Text { hash: first, .. }) => wrong += u64::from(first != hash),
                _ => {
                    let text = self.text_at(&line.doc, rev.0);
                    wrong += u64::from(text.is_some_and(|it| xxh3_64(it.as_bytes()) != hash));
                }
            }
        }
        wrong
    }

    fn shown_above(&self, doc: &DocId) -> bool {
        let head = self.head(doc, self.records.len());
        self.lines.iter().filter(|line| line.doc == *doc).any(|line| match line.event {
            Event::Welcome { head: shown, .. } => shown.0 > head,
            Event::Op { rev, first } => first <= rev && rev.0 > head,
            _ => false,
        })
    }

    /// Counts unacknowledged batches: absent, present, and those present more than once.
    fn i14(&self) -> (u64, u64, u64) {
        let (mut absent, mut present, mut twice) = (0, 0, 0);
        for (doc, participant) in self.participants() {
            let of = || self.lines.iter().filter(|it| it.doc == *doc && it.session == participant);
            let acked = |seq| {
                of().any(|line| matches!(line.event, Event::Ack { seq: of, .. } if of.0 == seq))
            };
            for seq in 0..20 {
                let was =
                    |line: &Line| matches!(line.event, Event::Sent { seq: of, .. } if of.0 == seq);
                if !of().any(was) || acked(seq) || seq <= self.welcomed(doc, participant) {
                    continue;
                }
                match self.times(doc, participant, seq) {
                    0 => absent += 1,
                    times => {
                        present += 1;
                        twice += u64::from(times > 1);
                    }
                }
            }
        }
        (absent, present, twice)
    }
}

/// What somebody does next; numbers choose, so that most of it makes sense and some does not.
#[derive(Debug, Clone)]
enum Step {
    Claim {
        wrong: bool,
    },
    Release,
    Frame {
        doc: u8,
        batches: Vec<(u8, u8)>,
        stale: bool,
        off: u8,
    },
    /// The last record again, which counts.
    Again,
    Verdict(Result<(), Void>),
    Line {
        client: u8,
        doc: u8,
        event: u8,
        numbers: (u8, u8),
    },
}

fn step() -> impl Strategy<Value = Step> {
    let rarely = || prop::bool::weighted(0.1);
    let off = prop_oneof![12 => Just(0_u8), 1 => 1..4_u8];
    let batches = prop::collection::vec((0..3_u8, off.clone()), 0..4);
    let verdict = prop_oneof![
        4 => Just(Ok(())),
        1 => Just(Err(Void::Revision)),
        1 => Just(Err(Void::Seq)),
        1 => Just(Err(Void::StaleEpoch)),
    ];
    prop_oneof![
        2 => rarely().prop_map(|wrong| Step::Claim { wrong }),
        1 => Just(Step::Release),
        12 => (0..2_u8, batches, rarely(), off)
            .prop_map(|(doc, batches, stale, off)| Step::Frame { doc, batches, stale, off }),
        1 => Just(Step::Again),
        1 => verdict.prop_map(Step::Verdict),
        20 => (0..3_u8, 0..2_u8, 0..14_u8, (0..12_u8, 0..4_u8)).prop_map(
            |(client, doc, event, numbers)| Step::Line { client, doc, event, numbers }
        ),
    ]
}

fn name(doc: u8) -> DocId {
    format!("d{doc}").parse().unwrap()
}

/// Says what a client at revision `at` says next, where the document is at `head`.
fn choose(
    event: u8,
    (any, little): (u64, u64),
    (at, head): (u64, u64),
    batch: Option<(u64, u64)>,
) -> Event {
    let long = |chars: u64| "x".repeat(usize::try_from(chars).unwrap());
    match (event, batch) {
        (0, _) => Event::End,
        (1, _) => welcome(any, any + little, little),
        (2 | 3, _) => welcome(at, head, little.min(1)),
        (4, _) => op(any, any + little),
        (5 | 6, _) => op(at + 1, head),
        (7 | 8, _) => sent(1 + any / 2),
        (9 | 10, Some((seq, rev))) => ack(seq, rev),
        (11, _) => ack(little, any),
        (12, _) => text(any, &long(any)),
        _ => text(any, &long(little)),
    }
}

/// Makes a log and histories: owners and clients that are mostly right.
fn build(steps: Vec<Step>) -> Case {
    let mut case = Case {
        records: Vec::new(),
        trim: 0,
        lines: Vec::new(),
        range: Range::default(),
        covered: None,
        verdicts: Vec::new(),
    };
    let (mut epoch, mut heads, mut seqs) = (None, [0_u64; 2], [[0_u64; 3]; 2]);
    let mut made: Vec<(u8, u64, u8, u64)> = Vec::new();
    let mut at = [[0_u64; 2]; 3];
    for step in steps {
        let offset = case.records.len() as u64;
        match step {
            Step::Claim { wrong } => {
                case.records.push(claim(if wrong { Some(99) } else { epoch }));
                epoch = if wrong { epoch } else { Some(offset) };
            }
            Step::Release => case.records.push(release(epoch.unwrap_or(99))),
            Step::Frame { doc, batches, stale, off } => {
                let d = usize::from(doc);
                let base = heads[d] + u64::from(off);
                let mut entries = Vec::new();
                for (number, off) in batches {
                    let seq = &mut seqs[d][usize::from(number)];
                    entries.push((number, *seq + 1 + u64::from(off), "x"));
                    *seq += u64::from(off == 0 && !stale);
                    made.push((
                        doc,
                        base + entries.len() as u64,
                        number,
                        entries.last().unwrap().1,
                    ));
                }
                heads[d] += if off == 0 && !stale { entries.len() as u64 } else { 0 };
                let of = if stale { 77 } else { epoch.unwrap_or(99) };
                case.records.push(frame(of, &name(doc), base, &entries));
            }
            Step::Again => {
                let last = case.records.last().cloned();
                case.verdicts.extend(last.as_ref().map(|_| (offset, Ok(()))));
                case.records.extend(last);
            }
            Step::Verdict(verdict) => {
                if let Some(last) = offset.checked_sub(1) {
                    case.verdicts.push((last, verdict));
                }
            }
            Step::Line { client, doc, event, numbers: (a, b) } => {
                let (c, d) = (usize::from(client), usize::from(doc));
                let (any, little) = (u64::from(a), u64::from(b));
                let head = heads[d].max(at[c][d]);
                let own = made.iter().filter(|it| (it.0, it.2) == (doc, client));
                let own: Vec<_> = own.collect();
                let batch = own.get(usize::from(a) % own.len().max(1));
                let batch = batch.map(|(_, rev, _, seq)| (*seq, *rev));
                let event = choose(event, (any, little), (at[c][d], head), batch);
                match event {
                    Event::Welcome { head, .. } => at[c][d] = head.0,
                    Event::Op { rev, .. } | Event::Ack { rev, .. } => at[c][d] = rev.0,
                    Event::Sent { .. } | Event::Text { .. } | Event::End => {}
                }
                let by = if b == 3 && a == 11 { 3 } else { client };
                case.lines.push(line(&format!("c{client}"), &name(doc), by, event));
            }
        }
    }
    case
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn the_audit_agrees_with_the_naive_one(steps in prop::collection::vec(step(), 0..70)) {
        let case = build(steps);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (report, records) = runtime.block_on(async {
            (case.audit().await, case.judged().await)
        });
        let naive = Naive { records: &records, lines: &case.lines };
        let wanted = naive.violated();
        let violated = |(invariant, _): &(Invariant, u64)| report.of(*invariant).violated;
        let found: Vec<_> = wanted.iter().map(|it| (it.0, violated(it))).collect();
        prop_assert_eq!(found, wanted, "{}", report);
        let (absent, present, _) = naive.i14();
        let counted = (report.unacknowledged.absent, report.unacknowledged.present);
        prop_assert_eq!(counted, (absent, present));
    }
}

#[test]
fn the_random_cases_are_clean_and_break_everything_now_and_then() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let steps = prop::collection::vec(step(), 0..70);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut broken, mut clean) = (std::collections::BTreeSet::new(), 0);
    for _ in 0..1_000 {
        let case = build(steps.new_tree(&mut runner).unwrap().current());
        let report = runtime.block_on(case.audit());
        clean += u64::from(report.clean);
        let violated = report.invariants.iter().filter(|tally| tally.violated > 0);
        broken.extend(violated.map(|tally| tally.invariant));
    }
    assert!(clean >= 20 && broken.len() == 9, "{clean} clean, {broken:?} broken");
}
