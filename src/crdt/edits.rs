//! Single edits, as diamond-types stores and hands them out, and their way back to operations.
//!
//! diamond-types joins neighbouring edits into runs, across revisions; [`Segment::walk`] cuts
//! them where a revision ends. [`Collector`] puts the edits of a revision together again.

use diamond_types::list::operation::{OpKind, Operation as Stored};

use crate::crdt::segment::Segment;
use crate::text::{Component, Operation, compose};
use crate::types::Revision;

/// One step of a walk through history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// Text was inserted at a position.
    Insert {
        /// The position.
        at: usize,
        /// The text.
        text: &'a str,
        /// Its length in Unicode scalar values.
        chars: usize,
    },
    /// So many characters were deleted at a position.
    Delete {
        /// The position.
        at: usize,
        /// How many.
        chars: usize,
    },
    /// The revision has no further edits.
    End(Revision),
}

impl Segment {
    /// Tells `each` every edit of the revisions after the first `rows`, up to the first `end`.
    pub(in crate::crdt) fn walk(&self, rows: u64, end: u64, mut each: impl FnMut(Step<'_>)) {
        let version = self.version(rows);
        let mut stored = self.list.oplog.iter_range_since(version.as_slice());
        let mut piece = Piece::new(Stored::new_insert(0, ""));
        for (row, length) in (rows..end).zip(self.table.lengths(rows)) {
            let mut left = length;
            while left > 0 {
                if piece.len() == 0 {
                    piece = Piece::new(stored.next().expect("the table's lengths fit the log"));
                }
                left -= piece.take(left, &mut each);
            }
            each(Step::End(Revision(self.base.0 + row + 1)));
        }
    }
}

/// What is left of a stored run of edits.
pub(crate) struct Piece {
    stored: Stored,
    /// Where the rest of the inserted text begins, in bytes.
    read: usize,
}

impl Piece {
    /// Begins at the run's first edit.
    pub(crate) fn new(stored: Stored) -> Self {
        Self { stored, read: 0 }
    }

    /// Returns how many characters are left.
    pub(crate) fn len(&self) -> usize {
        self.stored.end() - self.stored.start()
    }

    /// Takes at most `most` characters, tells `each` about them, and returns how many they are.
    pub(crate) fn take(&mut self, most: usize, each: &mut impl FnMut(Step<'_>)) -> usize {
        let chars = self.len().min(most);
        let span = &mut self.stored.loc.span;
        match self.stored.kind {
            OpKind::Ins => {
                let text = self.stored.content.as_deref().expect("inserts keep their text");
                let text = &text[self.read..];
                let bytes = text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
                each(Step::Insert { at: span.start, text: &text[..bytes], chars });
                self.read += bytes;
                span.start += chars;
            }
            // Forwards, what follows moves to where the deleted was; backwards, it is before it.
            OpKind::Del if self.stored.loc.fwd => {
                each(Step::Delete { at: span.start, chars });
                span.end -= chars;
            }
            OpKind::Del => {
                span.end -= chars;
                each(Step::Delete { at: span.end, chars });
            }
        }
        chars
    }
}

/// Puts successive edits together to one operation.
#[derive(Default)]
pub(crate) struct Collector {
    /// What came before the last step back.
    done: Option<Operation>,
    components: Vec<Component>,
    /// The position after `components`, in the text they make.
    at: usize,
}

impl Collector {
    /// Adds an edit of the text as the edits before it left it.
    pub(crate) fn add(&mut self, step: Step<'_>) {
        match step {
            Step::Insert { at, text, chars } => {
                self.go(at);
                self.components.push(Component::Insert(text.into()));
                self.at += chars;
            }
            Step::Delete { at, chars } => {
                self.go(at);
                self.components.push(Component::Delete(short(chars)));
            }
            Step::End(_) => {}
        }
    }

    /// Returns the operation and begins the next.
    pub(crate) fn finish(&mut self) -> Operation {
        self.at = 0;
        let last = Operation::from_components(self.components.drain(..))
            .expect("edits of a text make a valid operation");
        match self.done.take() {
            Some(done) => compose(&done, &last),
            None => last,
        }
    }

    /// Goes to position `at`, most often forwards.
    fn go(&mut self, at: usize) {
        if at < self.at {
            self.done = Some(self.finish());
        }
        if at > self.at {
            self.components.push(Component::Retain(short(at - self.at)));
            self.at = at;
        }
    }
}

/// Narrows a length inside a text.
fn short(chars: usize) -> u32 {
    u32::try_from(chars).expect("operations reach no further than 2^32 characters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::fixture::{delete, insert, meta};
    use crate::text::apply;

    #[test]
    fn runs_are_cut_where_a_revision_ends() {
        let mut segment = Segment::new(Revision(0), "");
        let typed = [insert(0, "añ"), insert(2, "🙂"), insert(3, "de"), delete(4, 1)];
        let erased =
            [delete(3, 1), delete(2, 1), delete(0, 1), Operation::identity(), delete(0, 1)];
        let all: Vec<_> = typed.into_iter().chain(erased).collect();
        for (seq, op) in (1..).zip(&all) {
            segment.append(op, &meta(seq)).unwrap();
        }
        let revision = |at: usize| Revision(at as u64 + 1);
        for (at, op) in all.iter().enumerate() {
            assert_eq!(segment.operation(revision(at)).as_ref(), Some(op), "revision {}", at + 1);
            let list = segment.operations(revision(at)..=revision(all.len() - 1));
            assert!(list.iter().map(|(_, op)| op).eq(&all[at..]));
        }
    }

    #[test]
    fn edits_out_of_order_are_composed() {
        let mut collector = Collector::default();
        let steps = [
            Step::Insert { at: 3, text: "x🙂", chars: 2 },
            Step::Delete { at: 4, chars: 1 },
            Step::Delete { at: 0, chars: 2 },
            Step::Insert { at: 1, text: "y", chars: 1 },
        ];
        steps.into_iter().for_each(|step| collector.add(step));
        assert_eq!(apply(&collector.finish(), "abcd").unwrap(), "cyxd");
        assert_eq!(collector.finish(), Operation::identity());
    }
}
