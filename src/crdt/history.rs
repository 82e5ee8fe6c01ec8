//! Reading a segment back: texts, operations, and who made them.

use std::ops::RangeInclusive;

use crate::crdt::edits::{Collector, Step};
use crate::crdt::segment::Segment;
use crate::crdt::table::Meta;
use crate::text::Operation;
use crate::types::{Author, Revision, Seq, SessionId};

/// Describes a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Which revision it is.
    pub revision: Revision,
    /// Who made it, and when.
    pub meta: Meta,
    /// How many characters it inserted.
    pub inserted: u64,
    /// How many it deleted.
    pub deleted: u64,
}

impl Segment {
    /// Returns the text at `revision`, if the segment holds it: from its base to its head.
    pub fn text_at(&self, revision: Revision) -> Option<String> {
        let rows = self.rows_until(revision)?;
        let version = self.version(rows);
        if version == self.version(self.table.len()) {
            return Some(self.text());
        }
        Some(self.list.oplog.checkout(version.as_slice()).into())
    }

    /// Returns the operation that made `revision`, as it was appended.
    pub fn operation(&self, revision: Revision) -> Option<Operation> {
        self.operations(revision..=revision).pop().map(|(_, op)| op)
    }

    /// Returns the operations of those of the revisions that the segment holds.
    pub fn operations(&self, revisions: RangeInclusive<Revision>) -> Vec<(Revision, Operation)> {
        let (rows, end) = self.rows_of(&revisions);
        let mut list = Vec::new();
        let mut collector = Collector::default();
        self.walk(rows, end, |step| match step {
            Step::Insert { .. } | Step::Delete { .. } => collector.add(step),
            Step::End(revision) => list.push((revision, collector.finish())),
        });
        list
    }

    /// Returns who made `revision`, and when.
    ///
    /// Counts the sequence number up from the base: for many revisions take
    /// [`history`](Self::history), for the author alone [`author`](Self::author).
    pub fn meta(&self, revision: Revision) -> Option<Meta> {
        let row = self.rows_until(revision)?.checked_sub(1)?;
        self.table.rows(row, self.base.next()).next()
    }

    /// Returns who wrote `revision`.
    pub fn author(&self, revision: Revision) -> Option<&Author> {
        self.table.author(self.rows_until(revision)?.checked_sub(1)?)
    }

    /// Finds the newest batch of a session and the revision that it became.
    pub fn last_of(&self, session: &SessionId) -> Option<(Revision, Seq)> {
        let (row, seq) = self.table.last_of(session)?;
        Some((Revision(self.base.0 + row + 1), seq))
    }

    /// Describes those of the revisions that the segment holds, oldest first.
    pub fn history(&self, revisions: RangeInclusive<Revision>) -> Vec<HistoryEntry> {
        let (rows, end) = self.rows_of(&revisions);
        let mut metas = self.table.rows(rows, self.base.next());
        let mut list = Vec::new();
        let (mut inserted, mut deleted) = (0, 0);
        self.walk(rows, end, |step| match step {
            Step::Insert { chars, .. } => inserted += chars as u64,
            Step::Delete { chars, .. } => deleted += chars as u64,
            Step::End(revision) => {
                let meta = metas.next().expect("every revision has a row");
                list.push(HistoryEntry { revision, meta, inserted, deleted });
                (inserted, deleted) = (0, 0);
            }
        });
        list
    }

    /// Copies the segment without the history before `revision`.
    ///
    /// # Panics
    /// If it does not hold the revision.
    pub fn without(&self, revision: Revision) -> Self {
        let text = self.text_at(revision).expect("the segment holds the revision");
        let mut rest = Self::new(revision, &text);
        let kept = revision.next()..=self.head();
        let metas = self.table.rows(revision.0 - self.base.0, revision.next());
        for ((_, op), meta) in self.operations(kept).iter().zip(metas) {
            rest.append(op, &meta).expect("it was applied before");
        }
        rest
    }

    /// Narrows a range to rows of the table: how many are before it, how many up to its end.
    fn rows_of(&self, revisions: &RangeInclusive<Revision>) -> (u64, u64) {
        let before = |revision: Revision| revision.0.saturating_sub(self.base.0);
        let end = before(*revisions.end()).min(self.table.len());
        (before(*revisions.start()).saturating_sub(1).min(end), end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crdt::fixture::{delete, insert, meta, replace};

    fn segment() -> Segment {
        let mut segment = Segment::new(Revision(10), "base");
        let ops = [insert(4, " x"), replace(0, 1, "B"), Operation::identity(), delete(4, 2)];
        for (seq, op) in (1..).zip(ops) {
            segment.append(&op, &meta(seq)).unwrap();
        }
        segment
    }

    #[test]
    fn texts_are_held_from_the_base_to_the_head() {
        let segment = segment();
        let texts = ["base", "base x", "Base x", "Base x", "Base"];
        for (revision, text) in (10..).zip(texts) {
            assert_eq!(segment.text_at(Revision(revision)).as_deref(), Some(text), "{revision}");
        }
        for revision in [0, 9, 15, u64::MAX] {
            assert_eq!(segment.text_at(Revision(revision)), None);
            assert_eq!(segment.operation(Revision(revision)), None);
            assert_eq!(segment.meta(Revision(revision)), None);
        }
    }

    #[test]
    fn the_base_has_a_text_but_no_operation() {
        let segment = segment();
        assert_eq!(segment.operation(Revision(10)), None);
        assert_eq!(segment.meta(Revision(10)), None);
        assert_eq!(segment.author(Revision(10)), None);
    }

    #[test]
    fn history_counts_what_each_revision_did() {
        let segment = segment();
        let rows = |from: u64, to: u64| {
            let list = segment.history(Revision(from)..=Revision(to));
            for entry in &list {
                assert_eq!(Some(&entry.meta), segment.meta(entry.revision).as_ref());
                assert_eq!(Some(&entry.meta.author), segment.author(entry.revision));
            }
            list.iter().map(|e| (e.revision.0, e.inserted, e.deleted)).collect::<Vec<_>>()
        };
        let all = [(11, 2, 0), (12, 1, 1), (13, 0, 0), (14, 0, 2)];
        assert_eq!(rows(0, u64::MAX), all);
        assert_eq!(rows(11, 14), all);
        assert_eq!(rows(12, 13), all[1..3]);
        assert_eq!(rows(13, 12), []);
        assert_eq!(rows(15, 20), []);
        assert_eq!(rows(0, 10), []);
    }
}
