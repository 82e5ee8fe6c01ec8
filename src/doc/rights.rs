//! Who may do what with the document: judged here, by its newest access, and nowhere else.
//!
//! What is told is judged by the access that is durable; what is written, by the access at the end
//! of the order, so that each record in the log was allowed by those before it. Whoever may not
//! read learns nothing, not even whether there is such a document.

use tokio::time::Instant;

use crate::access::{Access, AccessChange, Asker, Denied, Fingerprint, Right, Rights, Subject};
use crate::doc::pending::{Item, What};
use crate::doc::state::{Effect, State};
use crate::doc::write::{Done, Write};
use crate::doc::{Failure, Refusal, Room};
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

    /// Gives all changes that make the access the one which is wanted their places in the order,
    /// with nothing between them, or none at all. Whoever waits is told once they are durable.
    pub(in crate::doc) fn grant(
        &mut self,
        (author, by): (Author, Option<Subject>),
        (wanted, expected): (&Access, Option<&[Fingerprint]>),
        (permit, done): (Option<Room>, Done),
        out: &mut Vec<Effect>,
    ) {
        let mut changes = match self.changes_to(wanted, expected, by.as_ref()) {
            Ok(changes) => changes,
            Err(failure) => return out.push(Effect::Done(done, Err(failure))),
        };
        if changes.is_empty() && !self.pending.is_empty() {
            // It may be granted by what is on its way: what is said again is durable after that.
            changes.push(AccessChange::Visibility(wanted.visibility));
        }
        let Some(last) = changes.pop() else {
            return out.push(Effect::Done(done, Ok(self.head())));
        };
        self.access_ordered.clone_from(wanted);
        for change in changes {
            let kind = EventKind::AccessChanged(change);
            self.note_event(author.clone(), by.clone(), kind);
        }
        let what = What::Event { author, by, kind: EventKind::AccessChanged(last) };
        self.pending.push(Item { what, received: Instant::now(), permit, done: Some(done) });
    }

    /// Returns what makes the access at the end of the order the one that is wanted.
    fn changes_to(
        &self,
        wanted: &Access,
        expected: Option<&[Fingerprint]>,
        asks: Option<&Subject>,
    ) -> Result<Vec<AccessChange>, Failure> {
        let before = &self.access_ordered;
        let changes = changes(before, wanted, asks);
        // Where it is granted already, whoever asks may ask for the second time.
        let is_seen = expected.is_none_or(|seen| seen.contains(&before.fingerprint()));
        if !changes.is_empty() && !is_seen {
            return Err(Failure::OtherAccess);
        }
        let mut after = before.clone();
        let fit = changes.iter().try_for_each(|change| after.apply(change));
        fit.map_err(|full| Failure::Refused(Refusal::TooManyMembers(full)))?;
        Ok(changes)
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
            Self::Edit { .. } | Self::Blank { .. } | Self::Event { .. } | Self::Grant { .. } => {
                None
            }
        }
    }

    /// Returns the right that it takes.
    pub(in crate::doc) fn right(&self) -> Right {
        match self {
            Self::Edit { .. } | Self::Restore { .. } => Right::Write,
            Self::Blank { .. } | Self::Grant { .. } => Right::Admin,
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

/// Returns what makes one of the other. Who goes comes before those who come, for there to be room;
/// at the end is what may take the right to change anything from whoever asks: the membership, and
/// then the ownership.
fn changes(before: &Access, wanted: &Access, asks: Option<&Subject>) -> Vec<AccessChange> {
    let gone = before.members().keys().filter(|member| !wanted.members().contains_key(*member));
    let mut changes: Vec<_> =
        gone.map(|member| AccessChange::Member(member.clone(), Rights::NONE)).collect();
    let other =
        wanted.members().iter().filter(|(it, rights)| before.members().get(*it) != Some(*rights));
    changes.extend(other.map(|(member, rights)| AccessChange::Member(member.clone(), *rights)));
    if before.visibility != wanted.visibility {
        changes.push(AccessChange::Visibility(wanted.visibility));
    }
    if before.owner != wanted.owner {
        changes.push(AccessChange::Owner(wanted.owner.clone()));
    }
    changes.sort_by_key(|change| match change {
        AccessChange::Owner(_) if asks.is_some() && before.owner.as_ref() == asks => 2,
        AccessChange::Member(member, _) if Some(member) == asks => 1,
        AccessChange::Owner(_) | AccessChange::Visibility(_) | AccessChange::Member(..) => 0,
    });
    changes
}

#[cfg(test)]
mod tests;
