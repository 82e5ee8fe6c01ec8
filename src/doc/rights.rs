//! Who may do what with the document: judged here, by its newest access, and nowhere else.
//!
//! What is told is judged by the access that is durable; what is written, by the access at the end
//! of the order, so that each record in the log was allowed by those before it. Whoever may not
//! read learns nothing, not even whether there is such a document.

use crate::access::{AccessChange, Asker, Denied, Right, Subject};
use crate::doc::Refusal;
use crate::doc::state::{Effect, State};
use crate::doc::write::Write;
use crate::log::EventKind;
use crate::types::{Author, Revision};

impl State {
    /// Asks whether somebody may use a right now.
    ///
    /// # Errors
    /// [`Denied`].
    pub(in crate::doc) fn may(&self, asker: &Asker, right: Right) -> Result<(), Denied> {
        match right {
            Right::Read | Right::History => self.access.check(asker, right),
            Right::Write | Right::Admin => self.access_ordered.check(asker, right),
        }
    }

    /// Gives a change of the access its place in the order.
    ///
    /// # Errors
    /// [`Refusal::TooManyMembers`].
    pub(in crate::doc) fn order_access(&mut self, change: &AccessChange) -> Result<(), Refusal> {
        self.access_ordered.apply(change).map_err(Refusal::TooManyMembers)
    }

    /// Makes whoever begins a document its owner, by a record before the first one. That record
    /// makes the document exist: if nothing follows it, because the node ends in between, there is
    /// an empty document with an owner, and never a text without one.
    pub(in crate::doc) fn begin_owned(&mut self, author: &Author, by: Option<&Subject>) {
        let is_new = !self.created && self.head() == Revision(0) && self.pending.is_empty();
        let (true, Some(owner)) = (is_new, by) else { return };
        let change = AccessChange::Owner(Some(owner.clone()));
        self.access_ordered.apply(&change).expect("an owner needs no room");
        self.note_event(author.clone(), Some(owner.clone()), EventKind::AccessChanged(change));
    }

    /// Makes a change of the access that is durable, and sends those away who may not read any
    /// more. Whoever may not write any more is told so by the next batch.
    pub(in crate::doc) fn apply_access(&mut self, change: &AccessChange, out: &mut Vec<Effect>) {
        self.created = true;
        if self.access.apply(change).is_err() {
            // The order lets no such record through, unless it is of a version with other bounds:
            // then no reader makes the change.
            return;
        }
        let denied = |(conn, asker)| Some((conn, self.may(asker, Right::Read).err()?));
        let mut denied: Vec<_> = self.sessions.askers().filter_map(denied).collect();
        denied.sort_unstable_by_key(|(conn, _)| *conn);
        for (conn, denied) in denied {
            self.sessions.disconnect(conn);
            out.push(Effect::Close(conn, Refusal::Denied(denied)));
        }
    }
}

impl Write {
    /// Returns which revision's text it brings back, if it does.
    pub(in crate::doc) fn restored(&self) -> Option<Revision> {
        match self {
            Self::Restore { rev, .. } => Some(*rev),
            Self::Edit { .. } | Self::Event { .. } => None,
        }
    }

    /// Returns the right that it takes.
    pub(in crate::doc) fn right(&self) -> Right {
        match self {
            Self::Edit { .. } | Self::Restore { .. } => Right::Write,
            Self::Event { kind, .. } => match kind {
                EventKind::Created
                | EventKind::VersionNamed { .. }
                | EventKind::Restored { .. } => Right::Write,
                EventKind::Exported { .. } => Right::History,
                EventKind::Deleted
                | EventKind::Undeleted
                | EventKind::HistoryCut { .. }
                | EventKind::AccessChanged(_)
                | EventKind::Quarantined { .. }
                | EventKind::SessionsExpired { .. }
                | EventKind::SessionReturned { .. } => Right::Admin,
            },
        }
    }
}

#[cfg(test)]
mod tests;
