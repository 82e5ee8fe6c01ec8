//! Long forks: an operation on an old text, merged by diamond-types itself.
//!
//! The segment's history stays one line. The fork grows in a copy of the log that is thrown away;
//! what is kept is the operation that has the same effect at the head. Where both inserted at one
//! place, the fork's text goes right of what is there already.

use diamond_types::list::operation::Operation as Stored;

use crate::crdt::edits::{Collector, Piece, Step};
use crate::crdt::error::ForkError;
use crate::crdt::segment::Segment;
use crate::text::{Component, Operation};
use crate::types::Revision;

/// Writes the fork. On a tie the lesser name goes left: this one follows the line's.
const AGENT: &str = "quire.fork";

impl Segment {
    /// Rewrites an operation that was made at revision `base` to apply at the head.
    ///
    /// Costs a copy of the segment's operations and the replay of what followed `base`:
    /// milliseconds, not for an event loop.
    ///
    /// # Errors
    /// If the segment does not hold the text at `base`, or the operation does not fit it.
    pub fn merge_fork(&self, base: Revision, op: &Operation) -> Result<Operation, ForkError> {
        let head = self.head();
        let Some(rows) = self.rows_until(base) else {
            return Err(ForkError::NotHeld { base, first: self.base, head });
        };
        op.chars_after(self.chars_at(rows))?;
        let version = self.version(rows);
        let tip = self.version(self.table.len());
        if version == tip || op.is_identity() {
            return Ok(op.clone());
        }
        let mut scratch = self.list.oplog.clone();
        let agent = scratch.get_or_create_agent_id(AGENT);
        scratch.add_operations_at(agent, version.as_slice(), &stored(op));
        let mut collector = Collector::default();
        let merged = scratch.local_version_ref();
        for (_, moved) in scratch.iter_xf_operations_from(tip.as_slice(), merged) {
            // Nothing is left to do where the text was deleted on both sides.
            let Some(moved) = moved else { continue };
            Piece::new(moved).take(usize::MAX, &mut |step| collector.add(step));
        }
        Ok(collector.finish())
    }

    /// Returns the length of the text after `rows` revisions.
    fn chars_at(&self, rows: u64) -> u64 {
        let (mut inserted, mut deleted) = (0, 0);
        self.walk(rows, self.table.len(), |step| match step {
            Step::Insert { chars, .. } => inserted += chars as u64,
            Step::Delete { chars, .. } => deleted += chars as u64,
            Step::End(_) => {}
        });
        self.chars() + deleted - inserted
    }
}

/// Spells an operation as successive edits.
fn stored(op: &Operation) -> Vec<Stored> {
    let mut at = 0;
    let mut edits = Vec::with_capacity(op.components().len());
    for component in op.components() {
        match component {
            Component::Retain(chars) => at += *chars as usize,
            Component::Insert(text) => {
                let insert = Stored::new_insert(at, text);
                at = insert.end();
                edits.push(insert);
            }
            Component::Delete(chars) => edits.push(Stored::new_delete(at..at + *chars as usize)),
        }
    }
    edits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crdt::fixture::{Plan, apply_all, delete, insert, meta, model, ops, replace};
    use crate::text::{apply, compose_all};

    fn grown(base: &str, list: &[Operation]) -> Segment {
        let mut segment = Segment::new(Revision(5), base);
        for (seq, op) in (1..).zip(list) {
            segment.append(op, &meta(seq)).unwrap();
        }
        segment
    }

    /// Replaces what the plans insert by characters that occur once each, from `first` on.
    fn unique(mut plans: Vec<Plan>, first: char) -> Vec<Plan> {
        let mut fresh = first..;
        for (_, _, text) in plans.iter_mut().flatten() {
            *text = text.chars().map(|_| fresh.next().unwrap()).collect();
        }
        plans
    }

    proptest! {
        #[test]
        fn a_fork_has_its_effect_at_the_head(
            base in prop::sample::select(vec!["", "x", "abcdefgh"]),
            line in ops(1..20),
            fork in ops(1..6),
            at in any::<prop::sample::Index>(),
        ) {
            let line = model(base, &unique(line, '一'));
            let segment = grown(base, &line);
            let at = at.index(line.len() + 1);
            let forked = apply_all(base, &line[..at]);
            let edits = model(&forked, &unique(fork, '🌀'));
            let fork = compose_all(&edits);
            let wanted = apply(&fork, &forked).unwrap();

            let before = segment.text();
            let operations = segment.list.oplog.len();
            let merged = segment.merge_fork(Revision(5 + at as u64), &fork).unwrap();
            prop_assert_eq!(segment.text(), before.clone());
            prop_assert_eq!(segment.list.oplog.len(), operations);

            // Every character occurs once, so texts can be held against each other as sets.
            let after = apply(&merged, &before).unwrap();
            let keep = |text: &str, wanted: &dyn Fn(char) -> bool| -> String {
                text.chars().filter(|c| wanted(*c)).collect()
            };
            let ours = |c: char| c >= '🌀';
            let erased = |c: char| forked.contains(c) && !wanted.contains(c);
            prop_assert_eq!(keep(&after, &ours), keep(&wanted, &ours), "what the fork inserted");
            prop_assert_eq!(
                keep(&after, &|c| !ours(c)),
                keep(&before, &|c| !erased(c)),
                "what it deleted"
            );
            prop_assert_eq!(
                keep(&after, &|c| wanted.contains(c)),
                keep(&wanted, &|c| after.contains(c)),
                "where it inserted"
            );
        }
    }

    #[test]
    fn a_tie_goes_right_of_what_is_there() {
        let segment = grown("ab", &[insert(1, "one ")]);
        let merged = segment.merge_fork(Revision(5), &insert(1, "two ")).unwrap();
        assert_eq!(apply(&merged, &segment.text()).unwrap(), "aone two b");
    }

    #[test]
    fn text_deleted_on_both_sides_is_deleted_once() {
        let segment = grown("abcdef", &[delete(1, 3), replace(0, 1, "A")]);
        let merged = segment.merge_fork(Revision(5), &replace(2, 3, "x")).unwrap();
        assert_eq!(apply(&merged, &segment.text()).unwrap(), "Axf");
    }

    #[test]
    fn a_fork_of_an_empty_base_is_merged() {
        let segment = grown("", &[insert(0, "here")]);
        let merged = segment.merge_fork(Revision(5), &insert(0, "there")).unwrap();
        assert_eq!(apply(&merged, &segment.text()).unwrap(), "herethere");
    }

    #[test]
    fn a_fork_that_does_not_fit_is_refused() {
        let segment = grown("abc", &[insert(3, "defg"), delete(0, 7)]);
        let (first, head) = (Revision(5), Revision(7));
        for base in [Revision(4), Revision(8)] {
            let refused = segment.merge_fork(base, &Operation::identity());
            assert_eq!(refused, Err(ForkError::NotHeld { base, first, head }));
        }
        for (base, op) in [(5, insert(4, "x")), (6, delete(0, 8)), (7, delete(0, 1))] {
            let refused = segment.merge_fork(Revision(base), &op);
            assert!(matches!(refused, Err(ForkError::OutOfBounds(_))), "{base}");
        }
    }
}
