//! The replica's state and what each message does to it.

use crate::client::replica::carry::carry;
use crate::client::replica::confirmed::{Confirmed, Keep};
use crate::client::replica::error::StreamError;
use crate::client::replica::message::{Batch, Effects, Missed, Snapshot, Welcome};
use crate::text::{
    Operation, OutOfBounds, Run, Side, Stick, apply, compose, diff, split, transform,
};
use crate::types::{Revision, Seq};

/// Is one client's copy of a document, with the edits that the server has not confirmed.
#[derive(Debug)]
pub struct Replica {
    link: Link,
    revision: Revision,
    confirmed: Confirmed,
    /// The last own batch that is known to be durable.
    durable: Seq,
    flight: Option<Flight>,
    buffer: Operation,
    run: Option<Run>,
    view_chars: u64,
    /// The most text that a batch may insert, in bytes.
    op_bytes: usize,
    edits: u64,
    /// How many edits had come when the last durable batch was made that left none of them behind.
    durable_edits: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// Was never welcomed: stands at revision 0, the empty text.
    New,
    Open,
    Lost,
}

/// The batch that is sent and not yet acknowledged.
#[derive(Debug)]
struct Flight {
    seq: Seq,
    op: Operation,
    stick: Stick,
    /// The replica's `durable_edits` once this is durable.
    edits: u64,
}

impl Replica {
    /// Returns a replica of a document of which nothing is known yet.
    pub fn new(keep: Keep) -> Self {
        Self {
            link: Link::New,
            revision: Revision(0),
            confirmed: Confirmed::empty(keep),
            durable: Seq(0),
            flight: None,
            buffer: Operation::identity(),
            run: None,
            view_chars: 0,
            op_bytes: usize::MAX,
            edits: 0,
            durable_edits: 0,
        }
    }

    /// Returns the revision to resume from, for the hello; none before the first welcome.
    pub fn resume_from(&self) -> Option<Revision> {
        match self.link {
            Link::New => None,
            Link::Open | Link::Lost => Some(self.revision),
        }
    }

    /// Returns the last revision of the server's that the replica has.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the last own batch that is known to be durable.
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// Tells whether every edit is durable, or undone by another one before it was sent.
    pub fn is_settled(&self) -> bool {
        self.flight.is_none() && self.buffer.is_identity()
    }

    /// Returns how many edits have been made here.
    pub fn edits(&self) -> u64 {
        self.edits
    }

    /// Returns how many of the edits, from the first on, are known to be durable.
    pub fn durable_edits(&self) -> u64 {
        if self.is_settled() { self.edits } else { self.durable_edits }
    }

    /// Returns the server's text at the replica's revision, if it is kept.
    pub fn confirmed(&self) -> Option<String> {
        self.confirmed.text()
    }

    /// Returns what the user sees, if the text is kept; it costs the length of the text.
    pub fn view(&self) -> Option<String> {
        let mut text = self.confirmed.text()?;
        let flight = self.flight.as_ref().map(|flight| &flight.op);
        for op in flight.into_iter().chain([&self.buffer]) {
            if !op.is_identity() {
                text = apply(op, &text).expect("pending edits fit the confirmed text");
            }
        }
        Some(text)
    }

    /// Returns the length of what the user sees.
    pub fn view_chars(&self) -> u64 {
        self.view_chars
    }

    /// Takes the user's edit of the view; returns a batch to send, if there is none in flight.
    ///
    /// # Errors
    /// If the edit reaches past the end of the view.
    pub fn edit(&mut self, op: &Operation) -> Result<Option<Batch>, OutOfBounds> {
        self.view_chars = op.chars_after(self.view_chars)?;
        self.buffer = compose(&self.buffer, op);
        self.edits += 1;
        Ok(self.flush())
    }

    /// Takes someone else's revision; returns the change of the view.
    ///
    /// # Errors
    /// If it is not the next revision, or does not fit the text.
    pub fn remote(
        &mut self,
        revision: Revision,
        base: Revision,
        op: Operation,
    ) -> Result<Operation, StreamError> {
        self.expect_open()?;
        self.expect_next(revision)?;
        self.advance(base, op)
    }

    /// Takes several revisions as one, the last being `revision`: a viewer has no edits, so that
    /// nothing is rebased.
    ///
    /// # Errors
    /// If edits are pending, the revision is not a later one, or it does not fit the text.
    pub fn merged(&mut self, revision: Revision, op: Operation) -> Result<Operation, StreamError> {
        self.expect_open()?;
        if !self.is_settled() {
            return Err(StreamError::MergedOverEdits);
        }
        if revision <= self.revision {
            return Err(StreamError::Gap { expected: self.revision.next(), got: revision });
        }
        let shown = self.advance(revision, op)?;
        self.revision = revision;
        Ok(shown)
    }

    /// Takes the acknowledgement of a batch, with the accepted operation where the server sent it.
    /// One for a batch that is not in flight says nothing new.
    ///
    /// # Errors
    /// If it is not the next revision, or the accepted operation does not fit the text.
    pub fn ack(
        &mut self,
        seq: Seq,
        revision: Revision,
        accepted: Option<Operation>,
    ) -> Result<Effects, StreamError> {
        self.expect_open()?;
        if self.flight.as_ref().map(|flight| flight.seq) != Some(seq) {
            return Ok(Effects::default());
        }
        self.expect_next(revision)?;
        let shown = self.settle(accepted)?;
        Ok(Effects { show: Vec::from_iter(shown), send: self.flush() })
    }

    /// Takes the answer to a hello: catches up, then sends again what is still in flight.
    ///
    /// # Errors
    /// If what it holds does not lead from the replica's revision to the server's.
    pub fn welcome(&mut self, welcome: Welcome) -> Result<Effects, StreamError> {
        if welcome.head < self.revision {
            return Err(StreamError::Backwards { had: self.revision, head: welcome.head });
        }
        let show = match welcome.snapshot {
            // Nothing was missed.
            Snapshot::Text(_) if welcome.head == self.revision => {
                self.check_own(welcome.seq, &[])?;
                Vec::new()
            }
            Snapshot::Text(text) => vec![self.jump(welcome.head, welcome.seq, &text)?],
            Snapshot::Missed { after, list } => {
                self.check_missed(after, welcome.head, &list)?;
                self.check_own(welcome.seq, &list)?;
                self.catch_up(list)?
            }
        };
        self.durable = self.durable.max(welcome.seq);
        self.op_bytes = welcome.op_bytes;
        self.link = Link::Open;
        let send = if self.flight.is_some() { self.resend() } else { self.flush() };
        Ok(Effects { show, send })
    }

    /// Takes note that the connection is gone: edits are collected until the next welcome.
    pub fn disconnected(&mut self) {
        if self.link == Link::Open {
            self.link = Link::Lost;
        }
    }

    /// Returns the batch in flight as it stands now, for a server that did not take it.
    pub fn resend(&mut self) -> Option<Batch> {
        if self.link != Link::Open {
            return None;
        }
        let flight = self.flight.as_mut()?;
        flight.stick = Stick::of(&flight.op, self.run.as_ref());
        Some(Batch { seq: flight.seq, base: self.revision, op: flight.op.clone() })
    }

    fn flush(&mut self) -> Option<Batch> {
        if self.link != Link::Open || self.flight.is_some() || self.buffer.is_identity() {
            return None;
        }
        let (op, rest) = split(&self.buffer, self.op_bytes);
        let edits = if rest.is_identity() { self.edits } else { self.durable_edits };
        self.buffer = rest;
        self.flight = Some(Flight { seq: self.durable.next(), op, stick: Stick::NONE, edits });
        self.resend()
    }

    fn expect_open(&self) -> Result<(), StreamError> {
        if self.link == Link::Open { Ok(()) } else { Err(StreamError::NotWelcomed) }
    }

    fn expect_next(&self, got: Revision) -> Result<(), StreamError> {
        let expected = self.revision.next();
        if got == expected { Ok(()) } else { Err(StreamError::Gap { expected, got }) }
    }

    /// Goes one revision on by someone else's operation; rebases what is pending.
    fn advance(&mut self, base: Revision, op: Operation) -> Result<Operation, StreamError> {
        self.confirmed.apply(&op)?;
        self.revision = self.revision.next();
        if let Some(run) = &mut self.run {
            run.map(&op);
        }
        let mut shown = op;
        let mut goes_on = Side::Right;
        if let Some(flight) = &mut self.flight {
            let side = flight.stick.side_over(base);
            // The buffer goes on with the run in flight, which nobody else can have seen.
            let end = flight.op.last_insert_end();
            if end.is_some() && end == self.buffer.first_insert() {
                goes_on = Side::Left;
            }
            let over_flight = transform(&shown, &flight.op, side.opposite());
            flight.op = transform(&flight.op, &shown, side);
            shown = over_flight;
        }
        if !self.buffer.is_identity() {
            let over_buffer = transform(&shown, &self.buffer, goes_on.opposite());
            self.buffer = transform(&self.buffer, &shown, goes_on);
            shown = over_buffer;
        }
        self.view_chars =
            shown.chars_after(self.view_chars).expect("a rebased operation fits the view");
        Ok(shown)
    }

    /// Goes one revision on by the batch in flight; returns the change of the view where it was
    /// accepted other than predicted.
    fn settle(&mut self, accepted: Option<Operation>) -> Result<Option<Operation>, StreamError> {
        let Some(flight) = &self.flight else { return Ok(None) };
        let (seq, edits) = (flight.seq, flight.edits);
        let other = accepted.filter(|accepted| *accepted != flight.op);
        let shown = match other {
            None => {
                self.confirmed.apply(&flight.op)?;
                self.run = Run::after(self.run, &flight.op, self.revision.next());
                self.flight = None;
                None
            }
            Some(accepted) => Some(self.settle_other(&accepted)?),
        };
        self.durable = seq;
        self.durable_edits = edits;
        self.revision = self.revision.next();
        Ok(shown)
    }

    fn settle_other(&mut self, accepted: &Operation) -> Result<Operation, StreamError> {
        let chars = self.confirmed.chars();
        let chars_after = accepted.chars_after(chars)?;
        let before = self.view();
        if let Some(flight) = self.flight.take() {
            self.buffer = carry(&self.buffer, &flight.op, accepted, chars);
        }
        self.confirmed.apply(accepted)?;
        self.run = Run::after(self.run, accepted, self.revision.next());
        self.view_chars =
            self.buffer.chars_after(chars_after).expect("carried edits fit the accepted text");
        let shown = before.zip(self.view()).map(|(before, after)| diff(&before, &after));
        Ok(shown.unwrap_or_default())
    }

    /// Refuses a list that does not lead to `head`, before anything of it is applied.
    fn check_missed(
        &self,
        after: Revision,
        head: Revision,
        list: &[Missed],
    ) -> Result<(), StreamError> {
        let missing = head.0.checked_sub(after.0);
        if after != self.revision || missing != Some(list.len() as u64) {
            let got = if after == self.revision { head } else { after.next() };
            return Err(StreamError::Gap { expected: self.revision.next(), got });
        }
        let mut chars = self.confirmed.chars();
        for missed in list {
            chars = missed.op.chars_after(chars)?;
        }
        Ok(())
    }

    /// Refuses a list without the batch in flight where that is durable.
    fn check_own(&self, durable: Seq, list: &[Missed]) -> Result<(), StreamError> {
        let in_flight = self.flight.as_ref().map(|flight| flight.seq);
        match in_flight {
            Some(seq) if seq <= durable && !list.iter().any(|missed| missed.own == in_flight) => {
                Err(StreamError::MissingOwn(seq))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn catch_up(&mut self, list: Vec<Missed>) -> Result<Vec<Operation>, StreamError> {
        let mut show = Vec::new();
        for Missed { base, op, own } in list {
            let in_flight = self.flight.as_ref().map(|flight| flight.seq);
            if own.is_some() && own == in_flight {
                show.extend(self.settle(Some(op))?);
            } else {
                show.push(self.advance(base, op)?);
            }
        }
        Ok(show)
    }

    /// Goes to a text whose revisions are not known; the own run is given up with them.
    fn jump(&mut self, head: Revision, durable: Seq, text: &str) -> Result<Operation, StreamError> {
        if self.flight.as_ref().is_some_and(|flight| flight.seq <= durable) {
            self.settle(None)?;
        }
        let difference = self.confirmed.difference(text);
        let shown = self.advance(head, difference)?;
        self.revision = head;
        self.run = None;
        Ok(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(at: u32, text: &str) -> Operation {
        Operation::builder().retain(at).insert(text).build()
    }

    fn missed(op: Operation, own: Option<u64>) -> Missed {
        Missed { base: Revision(2), op, own: own.map(Seq) }
    }

    fn welcome_text(head: u64, seq: u64, text: &str) -> Welcome {
        let snapshot = Snapshot::Text(text.to_owned());
        Welcome { head: Revision(head), seq: Seq(seq), op_bytes: 1 << 20, snapshot }
    }

    fn welcome_missed(after: u64, head: u64, seq: u64, list: Vec<Missed>) -> Welcome {
        let snapshot = Snapshot::Missed { after: Revision(after), list };
        Welcome { head: Revision(head), seq: Seq(seq), op_bytes: 1 << 20, snapshot }
    }

    /// At revision 2, "abc", with "x" in flight before "a" and "y" in the buffer after "c".
    fn busy() -> Replica {
        let mut replica = Replica::new(Keep::Text);
        let effects = replica.welcome(welcome_text(2, 0, "abc")).unwrap();
        assert_eq!(effects, Effects { show: vec![insert(0, "abc")], send: None });
        let first = Batch { seq: Seq(1), base: Revision(2), op: insert(0, "x") };
        assert_eq!(replica.edit(&insert(0, "x")), Ok(Some(first)));
        assert_eq!(replica.edit(&insert(4, "y")), Ok(None));
        replica
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        type Input = fn(&mut Replica) -> Result<(), StreamError>;
        let gap =
            |expected, got| StreamError::Gap { expected: Revision(expected), got: Revision(got) };
        let bounds = |needs, has| StreamError::OutOfBounds(OutOfBounds { needs, has });
        let cases: [(Input, StreamError); 11] = [
            (|it| it.remote(Revision(4), Revision(2), insert(0, "z")).map(drop), gap(3, 4)),
            (|it| it.remote(Revision(2), Revision(2), insert(0, "z")).map(drop), gap(3, 2)),
            (|it| it.remote(Revision(3), Revision(2), insert(4, "z")).map(drop), bounds(4, 3)),
            (|it| it.ack(Seq(1), Revision(4), None).map(drop), gap(3, 4)),
            (|it| it.ack(Seq(1), Revision(3), Some(insert(9, "x"))).map(drop), bounds(9, 3)),
            (|it| it.merged(Revision(9), insert(0, "z")).map(drop), StreamError::MergedOverEdits),
            (
                |it| it.welcome(welcome_text(1, 0, "a")).map(drop),
                StreamError::Backwards { had: Revision(2), head: Revision(1) },
            ),
            (|it| it.welcome(welcome_text(2, 1, "abc")).map(drop), StreamError::MissingOwn(Seq(1))),
            (
                |it| {
                    let list = vec![missed(insert(0, "z"), None)];
                    it.welcome(welcome_missed(2, 3, 1, list)).map(drop)
                },
                StreamError::MissingOwn(Seq(1)),
            ),
            (|it| it.welcome(welcome_missed(2, 4, 0, vec![])).map(drop), gap(3, 4)),
            (
                |it| {
                    let list = vec![missed(insert(3, "z"), None), missed(insert(5, "z"), None)];
                    it.welcome(welcome_missed(2, 4, 0, list)).map(drop)
                },
                bounds(5, 4),
            ),
        ];
        for (index, (input, error)) in cases.into_iter().enumerate() {
            let mut replica = busy();
            assert_eq!(input(&mut replica), Err(error), "case {index}");
            assert_eq!(format!("{replica:?}"), format!("{:?}", busy()), "case {index}");
        }
        let mut replica = busy();
        let past_end = insert(6, "!");
        assert_eq!(replica.edit(&past_end), Err(OutOfBounds { needs: 6, has: 5 }));
        replica.disconnected();
        let early = replica.remote(Revision(3), Revision(2), insert(0, "z"));
        assert_eq!(early, Err(StreamError::NotWelcomed));
    }

    #[test]
    fn edits_are_pending_until_their_batch_is_durable() {
        let mut replica = busy();
        assert_eq!((replica.edits(), replica.durable_edits()), (2, 0));
        let next = Batch { seq: Seq(2), base: Revision(3), op: insert(4, "y") };
        let effects = replica.ack(Seq(1), Revision(3), None).unwrap();
        assert_eq!(effects, Effects { show: vec![], send: Some(next.clone()) });
        assert_eq!((replica.durable(), replica.durable_edits()), (Seq(1), 1));
        // The first one again, as after a resend, and the second sent again as it was refused.
        assert_eq!(replica.ack(Seq(1), Revision(3), None), Ok(Effects::default()));
        assert_eq!(replica.resend(), Some(next));
        let effects = replica.ack(Seq(2), Revision(4), None).unwrap();
        assert_eq!(effects, Effects::default());
        assert_eq!((replica.durable(), replica.durable_edits()), (Seq(2), 2));
        assert_eq!((replica.view(), replica.confirmed()), (replica.confirmed(), replica.view()));
        assert_eq!(replica.view().as_deref(), Some("xabcy"));
    }

    #[test]
    fn an_edit_too_large_for_a_batch_is_sent_in_several() {
        let mut replica = Replica::new(Keep::Text);
        let mut welcome = welcome_text(2, 0, "abc");
        welcome.op_bytes = 100;
        let _ = replica.welcome(welcome).unwrap();
        let paste = "0123456789".repeat(10);
        let mut batch = replica.edit(&insert(3, &paste)).unwrap();
        let mut server = "abc".to_owned();
        while let Some(Batch { seq, base, op }) = batch {
            assert!(op.inserted_chars() <= 100 && replica.durable_edits() == 0);
            server = apply(&op, &server).unwrap();
            batch = replica.ack(seq, base.next(), None).unwrap().send;
        }
        assert_eq!((server, replica.durable()), (format!("abc{paste}"), Seq(4)));
        assert_eq!(replica.durable_edits(), 1);
    }

    #[test]
    fn a_batch_is_found_among_the_missed_revisions_or_sent_again() {
        let z = || missed(insert(3, "z"), None);
        let mut accepted = busy();
        accepted.disconnected();
        assert_eq!(accepted.edit(&insert(5, "!")), Ok(None));
        assert_eq!(accepted.resume_from(), Some(Revision(2)));
        let list = vec![z(), missed(insert(0, "x"), Some(1))];
        let effects = accepted.welcome(welcome_missed(2, 4, 1, list)).unwrap();
        let batch = Batch { seq: Seq(2), base: Revision(4), op: insert(5, "y!") };
        // A tie: the earlier revision's "z" goes left of "y".
        assert_eq!(effects, Effects { show: vec![insert(4, "z")], send: Some(batch) });
        assert_eq!(accepted.view().as_deref(), Some("xabczy!"));

        let mut lost = busy();
        lost.disconnected();
        let effects = lost.welcome(welcome_missed(2, 3, 0, vec![z()])).unwrap();
        let batch = Batch { seq: Seq(1), base: Revision(3), op: insert(0, "x") };
        assert_eq!(effects, Effects { show: vec![insert(4, "z")], send: Some(batch) });
    }

    #[test]
    fn a_batch_accepted_elsewhere_takes_the_buffer_along() {
        let mut replica = Replica::new(Keep::Text);
        let _ = replica.welcome(welcome_text(2, 0, "abc")).unwrap();
        replica.edit(&insert(0, "x")).unwrap();
        replica.edit(&insert(1, "y")).unwrap();
        let effects = replica.ack(Seq(1), Revision(3), Some(insert(2, "x"))).unwrap();
        assert_eq!(replica.view().as_deref(), Some("abxyc"));
        let mut editor = "xyabc".to_owned();
        for op in &effects.show {
            editor = apply(op, &editor).unwrap();
        }
        assert_eq!(editor, "abxyc");
        let batch = Batch { seq: Seq(2), base: Revision(3), op: insert(3, "y") };
        assert_eq!(effects.send, Some(batch));
    }

    #[test]
    fn a_viewer_takes_merged_revisions() {
        let mut viewer = Replica::new(Keep::Text);
        let early = viewer.merged(Revision(3), insert(0, "z"));
        assert_eq!(early, Err(StreamError::NotWelcomed));
        let _ = viewer.welcome(welcome_text(2, 0, "abc")).unwrap();
        assert_eq!(viewer.merged(Revision(9), insert(1, "zz")), Ok(insert(1, "zz")));
        assert_eq!((viewer.revision(), viewer.view_chars()), (Revision(9), 5));
        let again = viewer.merged(Revision(9), insert(1, "zz"));
        let gap = StreamError::Gap { expected: Revision(10), got: Revision(9) };
        assert_eq!(again, Err(gap));
    }
}
