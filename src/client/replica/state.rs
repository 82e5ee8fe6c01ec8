//! The replica's state and what each message does to it.

use std::mem;

use crate::client::replica::carry::carry;
use crate::client::replica::confirmed::{Confirmed, Keep};
use crate::client::replica::error::StreamError;
use crate::text::{Operation, OutOfBounds, Run, Side, Stick, apply, compose, diff, transform};
use crate::types::{Revision, Seq};

/// Is one batch of edits for the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its number within the session.
    pub seq: Seq,
    /// The revision it applies to.
    pub base: Revision,
    /// The edits.
    pub op: Operation,
}

/// Tells what the caller has to do now.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Effects {
    /// Changes of the view that the user did not make, one after the other: not to be undone by
    /// the user, carets go through them staying left.
    pub show: Vec<Operation>,
    /// A batch to send.
    pub send: Option<Batch>,
}

/// Is what the server answers to the hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The server's last revision, which the replica has after this.
    pub head: Revision,
    /// The last batch of this session that is durable, 0 if none.
    pub seq: Seq,
    /// How the replica gets there.
    pub snapshot: Snapshot,
}

/// Is how a replica gets to the server's last revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshot {
    /// The text at it.
    Text(String),
    /// The revisions after `after`, up to it.
    Missed {
        /// The revision that the replica had.
        after: Revision,
        /// The revisions after it.
        list: Vec<Missed>,
    },
}

/// Is a revision that was accepted while the replica was not connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The revision its author had.
    pub base: Revision,
    /// What it does.
    pub op: Operation,
    /// The batch it is, where it is of this session.
    pub own: Option<Seq>,
}

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

    /// Returns the batch with which everything edited so far is durable; none if it is already.
    pub fn pending(&self) -> Option<Seq> {
        let flight = self.flight.as_ref().map(|flight| flight.seq);
        if self.buffer.is_identity() { flight } else { Some(self.next_seq()) }
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
        if self.pending().is_some() {
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
        let (seq, op) = (self.next_seq(), mem::take(&mut self.buffer));
        self.flight = Some(Flight { seq, op, stick: Stick::NONE });
        self.resend()
    }

    fn next_seq(&self) -> Seq {
        self.flight.as_ref().map_or(self.durable, |flight| flight.seq).next()
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
        let seq = flight.seq;
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
