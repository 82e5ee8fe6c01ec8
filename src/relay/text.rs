//! What a copy keeps of a document: the text and the last revisions.

use std::sync::Arc;

use jumprope::JumpRope;

use crate::doc::{Change, Config, Window};
use crate::text::{Component, Operation, Side, map_position};
use crate::types::Revision;

/// The text at a revision, and how it came to it of late.
pub(crate) struct Text {
    rope: JumpRope,
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
        let rope = JumpRope::from(text);
        let window = Window::new(head, rope.len_chars() as u64);
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
        let chars = change.op.chars_after(self.window.chars()).map_err(|_| not_next)?;
        edit(&mut self.rope, &change.op);
        self.window.push(change.clone(), chars);
        let bytes_max = usize::try_from(config.window_bytes.as_u64()).unwrap_or(usize::MAX);
        self.window.shrink(config.window_revisions, bytes_max, change.rev);
        Ok(())
    }

    /// Returns the revisions after `from`, if all of them are kept.
    pub(crate) fn after(&self, from: Revision) -> Option<Vec<Arc<Change>>> {
        let kept = self.window.base() <= from && from <= self.head();
        kept.then(|| self.window.after(from).cloned().collect())
    }

    /// Maps a selection made at a revision to the newest one, where that is still possible.
    pub(crate) fn mapped(&self, rev: Revision, sel: (u64, u64)) -> Option<(u64, u64)> {
        let chars = self.window.chars_at(rev)?;
        let over = |place: u64| {
            let mapped = |place, change: &Arc<Change>| map_position(place, &change.op, Side::Left);
            self.window.after(rev).fold(place.min(chars), mapped)
        };
        Some((over(sel.0), over(sel.1)))
    }
}

fn edit(rope: &mut JumpRope, op: &Operation) {
    let mut at = 0;
    for component in op.components() {
        match component {
            Component::Retain(chars) => at += *chars as usize,
            Component::Insert(text) => {
                rope.insert(at, text);
                at += text.chars().count();
            }
            Component::Delete(chars) => rope.remove(at..at + *chars as usize),
        }
    }
}
