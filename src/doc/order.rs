//! Giving a batch its place: checks, rebase by the run rule, and the queue to the log.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::access::{Asker, Right, Subject};
#[cfg(any(test, feature = "testing"))]
use crate::broken::{Rule, is_broken};
use crate::checkpoint::Life;
use crate::doc::pending::{Item, What};
use crate::doc::sessions::RunEnd;
use crate::doc::state::{Effect, Fork, Intake, State};
use crate::doc::write::{Done, Write};
use crate::doc::{Batch, Change, ConnId, Event, Failure, Mode, Refusal, Room};
use crate::log::{ENTRY_BYTES_MAX, EventKind, entry_bytes_max};
use crate::task::Tasks;
use crate::text::{Operation, Side, Stick, collides, compose_all, transform};
use crate::types::{Author, Revision, Seq, SessionId};

/// How many named versions a document may have: all of them are in every checkpoint.
const VERSIONS_MAX: usize = 1_000;

/// How many components are looked at, a batch's own again at each revision that it is behind,
/// before it is rebased over all of them at once: a few milliseconds.
const REBASE_STEPS_MAX: usize = 1 << 18;

/// When a batch may be sent again that was not taken because checkpoints lag behind.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// A batch on its way to its place.
struct Ordering {
    session: SessionId,
    author: Author,
    by: Option<Subject>,
    via: Option<ConnId>,
    batch: Batch,
    done: Option<Done>,
    /// Whether its author may predict another operation than the one accepted.
    surprising: bool,
}

/// Checks that a text may be the first one of a document, before there is any.
///
/// # Errors
/// [`Refusal::TooLarge`] or [`Refusal::TooLong`].
pub fn check_first(author: &Author, text: &Operation, limit: u64) -> Result<(), Refusal> {
    let chars = text.chars_after(0).unwrap_or(u64::MAX);
    if chars > limit {
        return Err(Refusal::TooLarge { chars, limit });
    }
    check_entry(author, text)
}

/// Checks that a record can hold an operation.
fn check_entry(author: &Author, op: &Operation) -> Result<(), Refusal> {
    let (bytes, limit) = (entry_bytes_max(author, op), ENTRY_BYTES_MAX);
    if bytes > limit {
        return Err(Refusal::TooLong { bytes, limit });
    }
    Ok(())
}

impl State {
    /// Takes a batch from a connection. One of a connection that was replaced is dropped: its
    /// session sends it again.
    pub fn submit(&mut self, conn: ConnId, author: &Author, batch: Batch, out: &mut Vec<Effect>) {
        let Some(session) = self.sessions.of_conn(conn) else { return };
        let Some(asker) = self.sessions.asker(conn).cloned() else { return };
        let seq = batch.seq;
        match self.admit(session, &asker, &batch) {
            Ok(Admission::Next) if self.intake == Intake::Full => {
                let refusal = Refusal::Full { retry: FULL_RETRY };
                out.push(Effect::Tell(conn, Event::Refused { seq, refusal }));
                return;
            }
            Ok(Admission::Next) => {}
            Ok(Admission::OnItsWay) => return,
            Ok(Admission::Durable(rev)) => {
                out.push(Effect::Tell(conn, Event::Repeated { seq, rev }));
                return;
            }
            Err(refusal) => {
                out.push(Effect::Tell(conn, Event::Refused { seq, refusal }));
                return;
            }
        }
        if batch.base < self.window.base() {
            self.sessions.entry(session).merging = Some(seq);
            let author = author.clone();
            out.push(Effect::Fork(Fork { session, conn, asker, author, batch }));
            return;
        }
        let (author, by, via) = (author.clone(), asker.subject, Some(conn));
        let ordering = Ordering { session, author, by, via, batch, done: None, surprising: false };
        match self.order(ordering) {
            Ok(rev) => self.tell_ordered(session, seq, rev, out),
            Err((refusal, _)) => out.push(Effect::Tell(conn, Event::Refused { seq, refusal })),
        }
    }

    /// Takes back a batch that was merged up to the durable revision `fork.batch.base`.
    pub fn forked(
        &mut self,
        fork: Fork,
        merged: Result<(Operation, Revision), Refusal>,
        out: &mut Vec<Effect>,
    ) {
        let Fork { session, conn, asker, author, mut batch } = fork;
        let seq = batch.seq;
        let window = self.window.base();
        let row = self.sessions.entry(session);
        if row.merging != Some(seq) {
            return;
        }
        if let Ok((op, head)) = &merged
            && *head < window
        {
            // So much was written meanwhile that the window has gone on: merge the rest, too.
            (batch.op, batch.base) = (op.clone(), *head);
            out.push(Effect::Fork(Fork { session, conn, asker, author, batch }));
            return;
        }
        row.merging = None;
        let placed = merged.and_then(|(op, head)| {
            batch.op = op;
            batch.base = head;
            self.may(&asker, Right::Write).map_err(Refusal::Denied)?;
            self.check_life()?;
            let (by, via) = (asker.subject, Some(conn));
            let ordering =
                Ordering { session, author, by, via, batch, done: None, surprising: true };
            self.order(ordering).map_err(|(refusal, _)| refusal)
        });
        match placed {
            Ok(rev) => self.tell_ordered(session, seq, rev, out),
            Err(refusal) => {
                // Whoever sent it may have come back meanwhile, and waits for an answer there.
                let current = self.sessions.get(&session).and_then(|row| row.conn);
                let conn = current.map_or(conn, |current| current.id);
                out.push(Effect::Tell(conn, Event::Refused { seq, refusal }));
            }
        }
    }

    /// Takes a change that comes from no connection; `session` is a fresh one.
    pub fn write(
        &mut self,
        (session, asker): (SessionId, Asker),
        write: Write,
        permit: Option<Room>,
        done: Done,
        out: &mut Vec<Effect>,
    ) {
        let received = Instant::now();
        if let Err(refusal) = self.check_write(&asker, &write) {
            out.push(Effect::Done(done, Err(Failure::Refused(refusal))));
            return;
        }
        let (by, restored) = (asker.subject, write.restored());
        let (author, base, op) = match write {
            Write::Edit { author, base, op } | Write::Restore { author, base, op, .. } => {
                (author, base, op)
            }
            Write::Blank { author, base } => (author, base, self.blanking()),
            Write::Grant { author, wanted, expected } => {
                let wanted = (&wanted, expected.as_deref());
                return self.grant((author, by), wanted, (permit, done), out);
            }
            Write::Event { author, kind } => {
                if let EventKind::AccessChanged(change) = &kind
                    && let Err(refusal) = self.order_access(change)
                {
                    return out.push(Effect::Done(done, Err(Failure::Refused(refusal))));
                }
                self.begin_owned(&author, by.as_ref());
                let what = What::Event { author, by, kind };
                return self.pending.push(Item { what, received, permit, done: Some(done) });
            }
        };
        let ordering = Ordering {
            session,
            author: author.clone(),
            by: by.clone(),
            via: None,
            batch: Batch { seq: Seq(1), base, op, received, permit },
            done: Some(done),
            surprising: false,
        };
        match (self.order(ordering), restored) {
            (Ok(_), Some(rev)) => self.note_event(author, by, EventKind::Restored { rev }),
            (Err((refusal, Some(done))), _) => {
                self.sessions.forget_unknown(session);
                out.push(Effect::Done(done, Err(Failure::Refused(refusal))));
            }
            (Ok(_) | Err((_, None)), _) => {}
        }
    }

    /// Returns what makes the text at the end of the order empty.
    fn blanking(&self) -> Operation {
        // A longer text has no operation that is about all of it.
        let chars = u32::try_from(self.window.chars()).unwrap_or(u32::MAX);
        Operation::builder().delete(chars).build()
    }

    fn check_write(&self, asker: &Asker, write: &Write) -> Result<(), Refusal> {
        self.may(asker, write.right()).map_err(Refusal::Denied)?;
        match (self.intake, write) {
            (Intake::ReadOnly, _) => return Err(Refusal::only_read()),
            (Intake::Full, Write::Edit { .. } | Write::Restore { .. } | Write::Blank { .. }) => {
                return Err(Refusal::Full { retry: FULL_RETRY });
            }
            (Intake::Open | Intake::Full, _) => {}
        }
        match write {
            Write::Event { kind: EventKind::Undeleted, .. } if self.life != Life::Live => Ok(()),
            // What is deleted can be erased all the same.
            Write::Event { kind: EventKind::HistoryCut { .. }, .. }
                if self.life == Life::Deleted =>
            {
                Ok(())
            }
            Write::Blank { base, .. } if self.life == Life::Deleted => {
                self.check_base(*base, self.window.head())
            }
            Write::Blank { .. } => Err(Refusal::Exists),
            Write::Event { kind: EventKind::VersionNamed { name, .. }, .. }
                if self.versions.len() >= VERSIONS_MAX
                    && self.versions.iter().all(|version| version.name != *name) =>
            {
                Err(Refusal::TooManyVersions { limit: VERSIONS_MAX })
            }
            Write::Event { kind: EventKind::Quarantined { .. }, .. } => Ok(()),
            Write::Event { kind: EventKind::Created, .. } => {
                self.check_life()?;
                let begun = self.exists() || !self.pending.is_empty();
                if begun { Err(Refusal::Exists) } else { Ok(()) }
            }
            Write::Event { .. } | Write::Grant { .. } if !self.exists() => Err(Refusal::NoDocument),
            Write::Event { .. } | Write::Grant { .. } => self.check_life(),
            Write::Edit { base, .. } | Write::Restore { base, .. } => {
                self.check_life()?;
                self.check_base(*base, self.window.base())
            }
        }
    }

    fn tell_ordered(&self, session: SessionId, seq: Seq, rev: Revision, out: &mut Vec<Effect>) {
        let conn = self.sessions.get(&session).and_then(|row| row.conn);
        if let Some(conn) = conn.filter(|conn| conn.ordered) {
            out.push(Effect::Tell(conn.id, Event::Ordered { seq, rev }));
        }
    }

    /// Decides whether a batch is the session's next, a repetition, or out of order.
    fn admit(
        &self,
        session: SessionId,
        asker: &Asker,
        batch: &Batch,
    ) -> Result<Admission, Refusal> {
        let row = self.sessions.get(&session).ok_or(Refusal::Replaced)?;
        self.check_life()?;
        if row.conn.is_some_and(|conn| conn.mode == Mode::View) {
            return Err(Refusal::ReadOnly);
        }
        #[cfg(any(test, feature = "testing"))]
        if is_broken(Rule::Sessions) {
            return Ok(Admission::Next);
        }
        if batch.seq <= row.durable {
            let rev = if batch.seq == row.durable { Some(row.rev) } else { None };
            let written =
                |change: &&Arc<Change>| change.session == session && change.seq == batch.seq;
            let kept = || self.window.after(Revision(0)).find(written).map(|change| change.rev);
            return Ok(Admission::Durable(rev.or_else(kept).unwrap_or_default()));
        }
        if batch.seq <= row.ordered || row.merging == Some(batch.seq) {
            return Ok(Admission::OnItsWay);
        }
        let newest = row.merging.unwrap_or(row.ordered);
        if batch.seq > newest.next() {
            return Err(Refusal::Gap { expected: newest.next() });
        }
        if newest > row.durable {
            return Err(Refusal::Pipelined { pending: newest });
        }
        // What was taken before the right was withdrawn stays, and is acknowledged above.
        self.may(asker, Right::Write).map_err(Refusal::Denied)?;
        self.check_base(batch.base, self.cut)?;
        Ok(Admission::Next)
    }

    fn check_base(&self, base: Revision, oldest: Revision) -> Result<(), Refusal> {
        let head = self.head();
        if base < oldest || base > head {
            return Err(Refusal::BadBase { base, oldest, head });
        }
        Ok(())
    }

    /// Rebases a batch to the end of the order and queues it.
    fn order(&mut self, ordering: Ordering) -> Result<Revision, (Refusal, Option<Done>)> {
        let Ordering { session, author, by, via, batch, done, surprising } = ordering;
        let Batch { seq, base, op, received, permit } = batch;
        let placed = match self.place(session, base, op) {
            Ok(placed) => placed,
            Err(refusal) => return Err((refusal, done)),
        };
        let rev = self.window.head().next();
        if let Err(refusal) = check_entry(&author, &placed.op) {
            return Err((refusal, done));
        }
        self.begin_owned(&author, by.as_ref());
        let row = self.sessions.entry(session);
        row.ordered = seq;
        row.note_insert(&placed.op, rev);
        let surprising = surprising || placed.surprising;
        let change = Change { rev, session, seq, author, base, op: placed.op, via, surprising };
        let change = Arc::new(change);
        self.window.push(change.clone(), placed.chars);
        self.pending.push(Item { what: What::Change(change), received, permit, done });
        Ok(rev)
    }

    /// Brings an operation to the end of the order, and checks it there.
    fn place(
        &mut self,
        session: SessionId,
        base: Revision,
        op: Operation,
    ) -> Result<Placed, Refusal> {
        let base_chars = self.window.chars_at(base).expect("the base was checked");
        op.chars_after(base_chars).map_err(|error| Refusal::BadOp { detail: error.to_string() })?;
        let (op, surprising) = self.rebase(session, base, op);
        let chars = op
            .chars_after(self.window.chars())
            .map_err(|error| Refusal::BadOp { detail: error.to_string() })?;
        let limit = self.config.doc_chars_max;
        if chars > limit && chars > self.window.chars() {
            return Err(Refusal::TooLarge { chars, limit });
        }
        Ok(Placed { op, chars, surprising })
    }

    /// Rewrites an operation made at `base` for the end of the order, over one revision after the
    /// other by the run rule; where that takes too many steps, over all of them at once. Tells
    /// whether its author may predict another one.
    fn rebase(&mut self, session: SessionId, base: Revision, op: Operation) -> (Operation, bool) {
        let stick = self.stick(session, base, &op);
        let (mut rebased, mut surprising, mut steps) = (None, false, 0);
        for other in self.window.after(base) {
            let own = rebased.as_ref().unwrap_or(&op);
            // Where others insert in the middle of what it deletes, it has ever more components.
            steps += own.components().len() + other.op.components().len();
            if steps > REBASE_STEPS_MAX {
                return (self.rebase_at_once(base, &op), true);
            }
            let side = match stick {
                Some(stick) => {
                    surprising |= stick.revision().is_some() && collides(own, &other.op);
                    stick.side_over(other.base)
                }
                None => {
                    surprising |= collides(own, &other.op);
                    Side::Right
                }
            };
            rebased = Some(transform(own, &other.op, side));
        }
        (rebased.unwrap_or(op), surprising)
    }

    fn rebase_at_once(&self, base: Revision, op: &Operation) -> Operation {
        Tasks::at_length(|| {
            let others: Vec<_> = self.window.after(base).map(|other| &other.op).collect();
            transform(op, &compose_all(&others), Side::Right)
        })
    }

    /// Computes the run rule's `stick` at `base`; `None` where the run's end is no longer known.
    fn stick(&mut self, session: SessionId, base: Revision, op: &Operation) -> Option<Stick> {
        let row = self.sessions.entry(session);
        let (run, as_of) = match &mut row.run {
            RunEnd::None if row.durable == Seq(0) => return Some(Stick::of(op, None)),
            RunEnd::None | RunEnd::Lost => return None,
            RunEnd::At { run, as_of } => (run, as_of),
        };
        if base < *as_of || *as_of < self.window.base() {
            return None;
        }
        for other in self.window.after(*as_of).take_while(|change| change.rev <= base) {
            run.map(&other.op);
        }
        *as_of = base;
        Some(Stick::of(op, Some(run)))
    }
}

/// What is to be done with a batch.
enum Admission {
    Next,
    OnItsWay,
    Durable(Revision),
}

/// A batch's operation at the end of the order.
struct Placed {
    op: Operation,
    chars: u64,
    surprising: bool,
}
