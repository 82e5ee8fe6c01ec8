//! The last revisions of a document, for rebasing and resuming: a durable part, then those on
//! their way to the log.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::doc::Change;
use crate::text::{Side, map_position};
use crate::types::Revision;

/// Keeps consecutive revisions up to the ordered head, and the length of the text at each.
#[derive(Debug)]
pub(crate) struct Window {
    /// The revision before the first one kept.
    base: Revision,
    base_chars: u64,
    entries: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    change: Arc<Change>,
    chars: u64,
}

impl Window {
    /// Returns an empty window whose head is `base`.
    pub(crate) fn new(base: Revision, base_chars: u64) -> Self {
        Self { base, base_chars, entries: VecDeque::new(), bytes: 0 }
    }

    /// Returns the oldest revision that something can be rebased from.
    pub(crate) fn base(&self) -> Revision {
        self.base
    }

    /// Returns the newest revision, durable or not.
    pub(crate) fn head(&self) -> Revision {
        Revision(self.base.0 + self.entries.len() as u64)
    }

    /// Returns the length of the text at the newest revision.
    pub(crate) fn chars(&self) -> u64 {
        self.entries.back().map_or(self.base_chars, |entry| entry.chars)
    }

    /// Returns the length of the text at `rev`, if the window reaches it.
    pub(crate) fn chars_at(&self, rev: Revision) -> Option<u64> {
        if rev == self.base {
            return Some(self.base_chars);
        }
        self.entry(rev).map(|entry| entry.chars)
    }

    /// Returns the revisions after `rev`, in order; all of them where `rev` is older than those
    /// kept.
    pub(crate) fn after(&self, rev: Revision) -> impl Iterator<Item = &Arc<Change>> {
        let skipped = rev.0.saturating_sub(self.base.0).min(self.entries.len() as u64);
        let skipped = usize::try_from(skipped).expect("at most the number of entries");
        self.entries.range(skipped..).map(|entry| &entry.change)
    }

    /// Returns the revisions after `from` up to and with `until`, if all of them are kept.
    pub(crate) fn between(&self, from: Revision, until: Revision) -> Option<Vec<Arc<Change>>> {
        let kept = self.base <= from && from <= until;
        let upto = || self.after(from).take_while(|change| change.rev <= until);
        kept.then(|| upto().cloned().collect())
    }

    /// Maps a selection made at `rev` to `until`, where that is still possible.
    pub(crate) fn mapped(
        &self,
        rev: Revision,
        (anchor, caret): (u64, u64),
        until: Revision,
    ) -> Option<(u64, u64)> {
        let chars = self.chars_at(rev)?;
        let (mut anchor, mut caret) = (anchor.min(chars), caret.min(chars));
        for change in self.after(rev).take_while(|change| change.rev <= until) {
            anchor = map_position(anchor, &change.op, Side::Left);
            caret = map_position(caret, &change.op, Side::Left);
        }
        Some((anchor, caret))
    }

    /// Adds the next revision, after which the text has `chars` characters.
    ///
    /// # Panics
    /// If it is not the next one.
    pub(crate) fn push(&mut self, change: Arc<Change>, chars: u64) {
        assert_eq!(change.rev, self.head().next(), "revisions have no gaps");
        self.bytes += change.weight();
        self.entries.push_back(Entry { change, chars });
    }

    /// Forgets the oldest revisions until at most so many and so many bytes are left; those after
    /// `durable` always stay.
    pub(crate) fn shrink(&mut self, revisions_max: usize, bytes_max: usize, durable: Revision) {
        while self.base < durable && (self.entries.len() > revisions_max || self.bytes > bytes_max)
        {
            self.forget_first();
        }
    }

    /// Forgets every revision up to and with `rev`.
    pub(crate) fn forget_until(&mut self, rev: Revision) {
        while self.base < rev && !self.entries.is_empty() {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.change.weight();
            self.base = entry.change.rev;
            self.base_chars = entry.chars;
        }
    }

    fn entry(&self, rev: Revision) -> Option<&Entry> {
        let index = rev.0.checked_sub(self.base.0)?.checked_sub(1)?;
        self.entries.get(usize::try_from(index).ok()?)
    }
}
