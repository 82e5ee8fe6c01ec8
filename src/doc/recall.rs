//! Bringing back sessions that had expired: what they wrote is looked up in the history.
//!
//! A session table without bound is no option, and neither is a client that returns after weeks
//! and is told that its next batch leaves a gap. So a client that comes back to a document which
//! has forgotten sessions waits for its welcome while the history is searched, from the newest
//! segment backwards; what is found becomes a record, and every reader of the log knows the
//! session again. One search at a time serves all who wait.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use crate::access::Right;
use crate::doc::actor::{Message, Running};
use crate::doc::handle::Join;
use crate::doc::history::Past;
use crate::doc::join::Seat;
use crate::doc::sessions::Session;
use crate::doc::state::{Intake, State};
use crate::doc::{Failure, Mode, Refusal};
use crate::log::EventKind;
use crate::task::caught;
use crate::types::{Author, Revision, Seq, SessionId};

/// A client that waits for its welcome.
pub(crate) type Waiting = (Join, oneshot::Sender<Result<Seat, Refusal>>);

/// A session's last batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) session: SessionId,
    pub(crate) seq: Seq,
    pub(crate) rev: Revision,
}

/// Those who wait for a search.
#[derive(Default)]
pub(crate) struct Recalls {
    searched: Vec<Waiting>,
    next: Vec<Waiting>,
}

impl Recalls {
    /// Lets a client wait; returns the sessions to search for, unless a search is under way.
    pub(crate) fn wait(&mut self, waiting: Waiting) -> Option<BTreeSet<SessionId>> {
        self.next.push(waiting);
        self.begin()
    }

    /// Returns those whose search has ended, and the sessions to search for next.
    pub(crate) fn end(&mut self) -> (Vec<Waiting>, Option<BTreeSet<SessionId>>) {
        (std::mem::take(&mut self.searched), self.begin())
    }

    fn begin(&mut self) -> Option<BTreeSet<SessionId>> {
        if !self.searched.is_empty() || self.next.is_empty() {
            return None;
        }
        self.searched = std::mem::take(&mut self.next);
        Some(self.searched.iter().map(|(join, _)| join.session).collect())
    }
}

impl State {
    /// Tells whether a client that wants to go on writing may have been forgotten.
    pub(in crate::doc) fn may_be_forgotten(&self, join: &Join) -> bool {
        join.mode == Mode::Edit
            && self.intake != Intake::ReadOnly
            && self.may(&join.asker, Right::Write).is_ok()
            && join.rev.is_some()
            && self.sessions.get(&join.session).is_none_or(Session::is_unknown)
            && self.sessions.are_incomplete(self.head())
    }

    /// Queues a record for each session found that is still unknown.
    pub(in crate::doc) fn recall(&mut self, found: &[Found]) {
        if self.check_life().is_err() {
            return;
        }
        for &Found { session, seq, rev } in found {
            let row = self.sessions.entry(session);
            if row.is_unknown() {
                row.in_doubt = true;
                let kind = EventKind::SessionReturned { session, seq, rev };
                self.note_event(Author::anonymous(), None, kind);
            }
        }
    }
}

impl Running {
    /// Searches the history for sessions that may have been forgotten.
    pub(in crate::doc) fn search(&mut self, sessions: Option<BTreeSet<SessionId>>) {
        let Some(sessions) = sessions else { return };
        self.ports.metrics.recalls.inc();
        let (past, me) = (self.past(), self.me.clone());
        self.ports.tasks.spawn("recall", async move {
            let found = caught("searching the history", past.last_batches(sessions)).await;
            let found = found.unwrap_or_else(|panicked| Err(Refusal::from(panicked).into()));
            // Where the document ended meanwhile, those who wait have been told so.
            let _ = me.send_message(Message::Recalled(found));
        });
    }

    pub(in crate::doc) fn recalled(&mut self, found: Result<Vec<Found>, Failure>) {
        let (waiting, next) = self.recalls.end();
        let refusal = found.map(|found| self.state.recall(&found)).err();
        self.flush();
        for (join, reply) in waiting.into_iter().filter(|(_, reply)| !reply.is_closed()) {
            let welcome = match refusal.clone() {
                Some(failure) => Err(failure.into_refusal()),
                None => self.join(join),
            };
            self.welcome(welcome, reply);
        }
        self.search(next);
    }
}

impl Past {
    /// Finds the last batch of each of the sessions, where the history holds one.
    ///
    /// # Errors
    /// Where a segment cannot be read.
    pub(in crate::doc) async fn last_batches(
        &self,
        mut sessions: BTreeSet<SessionId>,
    ) -> Result<Vec<Found>, Failure> {
        let mut all = Vec::new();
        for index in (0..self.segments()).rev() {
            if sessions.is_empty() {
                break;
            }
            let segment = self.segment(index).await?;
            let last = |session| segment.last_of(session).map(|(rev, seq)| (*session, rev, seq));
            let found: Vec<_> = sessions.iter().filter_map(last).collect();
            for (session, rev, seq) in found {
                sessions.remove(&session);
                all.push(Found { session, seq, rev });
            }
        }
        Ok(all)
    }
}
