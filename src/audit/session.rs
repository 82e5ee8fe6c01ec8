//! What the accepted log says of one session.

use crate::audit::runs::Runs;
use crate::types::{Offset, Revision, Seq};

/// Is one session of a document.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Everything that was accepted of it, also before it expired.
    pub(crate) accepted: Runs,
    /// What was accepted more than once, and where: empty unless something is wrong.
    pub(crate) doubled: Vec<(Seq, Offset)>,
    /// Its last batch by the session table, 0 once it has expired.
    pub(crate) known: Seq,
    /// The revision of that batch; none where only its number was told.
    pub(crate) rev: Option<Revision>,
}

impl Session {
    /// Returns the session as it must be where the first batch that is left has a number.
    pub(crate) fn before(seq: Seq) -> Self {
        Self { known: Seq(seq.0.saturating_sub(1)), ..Self::default() }
    }

    /// Returns a session as a checkpoint knows it.
    pub(crate) fn at(seq: Seq, rev: Revision) -> Self {
        let mut accepted = Runs::default();
        accepted.add(1, seq.0);
        Self { accepted, known: seq, rev: Some(rev), doubled: Vec::new() }
    }

    /// Tells whether a batch is the next one.
    pub(crate) fn expects(&self, seq: Seq) -> bool {
        self.known.0.checked_add(1) == Some(seq.0)
    }

    /// Notes an accepted batch.
    pub(crate) fn accept(&mut self, seq: Seq, rev: Revision, offset: Offset) {
        if self.accepted.contains(seq.0) {
            self.doubled.push((seq, offset));
        }
        self.accepted.add(seq.0, seq.0);
        (self.known, self.rev) = (seq, Some(rev));
    }

    /// Forgets what the session table forgets.
    pub(crate) fn expire(&mut self) {
        (self.known, self.rev) = (Seq(0), None);
    }

    /// Tells whether a batch was accepted; nothing where it would be below what is left.
    pub(crate) fn has(&self, seq: Seq) -> Option<bool> {
        match self.accepted.first() {
            Some(first) if seq.0 < first => None,
            Some(_) => Some(self.accepted.contains(seq.0)),
            None => Some(false),
        }
    }
}
