//! Who is there and where their carets are: last value per participant, told a few times a second.

use std::collections::BTreeMap;

use crate::doc::change::Encodings;
use crate::doc::{ConnId, User};
use crate::types::{ParticipantId, Revision};

/// What receivers are told, shared by all of them.
#[derive(Debug)]
pub struct Presence {
    /// The revision that the carets belong to.
    pub rev: Revision,
    /// How many participants there are.
    pub participants: usize,
    /// Those that changed, or a sample of them.
    pub rows: Vec<PresenceRow>,
    /// Encodings of the whole.
    pub encoded: Encodings,
}

impl Presence {
    /// Returns what tells what `before` does, too, as far as it has not changed since: but for
    /// selections, which belong to another revision.
    pub(crate) fn with(&self, before: &Self) -> Self {
        let same = |row: &&PresenceRow| self.rows.iter().all(|one| one.id != row.id);
        let without = |row: &PresenceRow| PresenceRow { sel: None, ..row.clone() };
        let rows = before.rows.iter().filter(same).map(without).chain(self.rows.iter().cloned());
        let rows = rows.collect();
        let (rev, participants) = (self.rev, self.participants);
        Self { rev, participants, rows, encoded: Encodings::default() }
    }
}

/// One participant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresenceRow {
    /// The public id.
    pub id: ParticipantId,
    /// Its name and color.
    pub user: Option<User>,
    /// Anchor and head of its selection, in scalar values.
    pub sel: Option<(u64, u64)>,
    /// Whether it has left.
    pub gone: bool,
}

/// A selection as a participant sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) rev: Revision,
    pub(crate) sel: (u64, u64),
}

/// The participants of a document, and which of them changed since the last tell.
#[derive(Debug, Default)]
pub(crate) struct Participants {
    rows: BTreeMap<ConnId, Row>,
    left: Vec<ParticipantId>,
}

#[derive(Debug)]
struct Row {
    id: ParticipantId,
    user: Option<User>,
    at: Option<Placed>,
    changed: bool,
}

impl Participants {
    /// Adds a participant.
    pub(crate) fn join(&mut self, conn: ConnId, id: ParticipantId, user: Option<User>) {
        self.left.retain(|gone| *gone != id);
        self.rows.insert(conn, Row { id, user, at: None, changed: true });
    }

    /// Removes a participant, unless it is still there with another connection.
    pub(crate) fn leave(&mut self, conn: ConnId) {
        let Some(row) = self.rows.remove(&conn) else { return };
        if !self.rows.values().any(|other| other.id == row.id) {
            self.left.push(row.id);
        }
    }

    /// Notes a caret; true where the participant is known.
    pub(crate) fn place(&mut self, conn: ConnId, at: Option<Placed>) -> bool {
        let Some(row) = self.rows.get_mut(&conn) else { return false };
        row.at = at;
        row.changed = true;
        true
    }

    /// Tells whether nobody is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Tells whether anything changed since the last tell.
    pub(crate) fn is_changed(&self) -> bool {
        !self.left.is_empty() || self.rows.values().any(|row| row.changed)
    }

    /// Returns all participants, at most `listed_max` of them.
    pub(crate) fn all(
        &self,
        rev: Revision,
        listed_max: usize,
        map: impl Fn(Placed) -> Option<(u64, u64)>,
    ) -> Presence {
        let rows = self.rows.values().take(listed_max).map(|row| row.tell(&map)).collect();
        self.presence(rev, rows)
    }

    /// Returns those that changed, at most `listed_max` of them, and takes them as told.
    pub(crate) fn changes(
        &mut self,
        rev: Revision,
        listed_max: usize,
        map: impl Fn(Placed) -> Option<(u64, u64)>,
    ) -> Presence {
        let gone = |id| PresenceRow { id, user: None, sel: None, gone: true };
        let listed = self.left.len().min(listed_max);
        let mut rows: Vec<_> = self.left.drain(..listed).map(gone).collect();
        for row in self.rows.values_mut().filter(|row| row.changed) {
            row.changed = false;
            if rows.len() < listed_max {
                rows.push(row.tell(&map));
            }
        }
        self.presence(rev, rows)
    }

    fn presence(&self, rev: Revision, rows: Vec<PresenceRow>) -> Presence {
        let encoded = Encodings::default();
        Presence { rev, participants: self.rows.len(), rows, encoded }
    }
}

impl Row {
    fn tell(&self, map: impl Fn(Placed) -> Option<(u64, u64)>) -> PresenceRow {
        let (id, user) = (self.id, self.user.clone());
        PresenceRow { id, user, sel: self.at.and_then(map), gone: false }
    }
}
