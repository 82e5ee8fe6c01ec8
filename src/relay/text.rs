//! What a copy keeps of a document: the text and the last revisions.

use std::sync::Arc;

use crate::doc::{Change, Config, Window};
use crate::text::Rope;
use crate::types::Revision;

/// The text at a revision, and how it came to it of late.
pub(crate) struct Text {
    rope: Rope,
    window: Window,
}

/// A revision does not follow from the text: it is not the next one, or does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("revision {rev} does not follow from {head}")]
pub(crate) struct NotNext {
    rev: Revision,
    head: Revision,
}

impl Text {
    /// Returns a copy that begins with a text.
    pub(crate) fn new(head: Revision, text: &str) -> Self {
        let rope = Rope::new(text);
        let window = Window::new(head, rope.chars());
        Self { rope, window }
    }

    /// Returns the newest revision.
    pub(crate) fn head(&self) -> Revision {
        self.window.head()
    }

    /// Returns the text at the newest revision.
    pub(crate) fn text(&self) -> String {
        self.rope.to_string()
    }

    /// Applies the next revision.
    ///
    /// # Errors
    /// [`NotNext`]; nothing is changed.
    pub(crate) fn apply(&mut self, change: &Arc<Change>, config: &Config) -> Result<(), NotNext> {
        let head = self.head();
        let not_next = NotNext { rev: change.rev, head };
        if change.rev != head.next() {
            return Err(not_next);
        }
        self.rope.apply(&change.op).map_err(|_| not_next)?;
        self.window.push(change.clone(), self.rope.chars());
        let bytes_max = usize::try_from(config.window_bytes.as_u64()).unwrap_or(usize::MAX);
        self.window.shrink(config.window_revisions, bytes_max, change.rev);
        Ok(())
    }

    /// Returns the revisions after `from`, if all of them are kept.
    pub(crate) fn after(&self, from: Revision) -> Option<Vec<Arc<Change>>> {
        self.window.between(from, self.head())
    }

    /// Maps a selection made at a revision to the newest one, where that is still possible.
    pub(crate) fn mapped(&self, rev: Revision, sel: (u64, u64)) -> Option<(u64, u64)> {
        self.window.mapped(rev, sel, self.head())
    }
}
