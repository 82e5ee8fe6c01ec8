//! Blame: which revision each character of a text came with.

use crate::crdt::edits::Step;
use crate::crdt::segment::Segment;
use crate::types::Revision;

/// How many runs a chunk holds before it is split.
const CHUNK_RUNS_MAX: usize = 256;

/// Tells for each character of a text which revision inserted it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blame(Vec<BlameRun>);

/// Characters side by side that came with one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlameRun {
    /// How many they are.
    pub chars: u64,
    /// The revision that inserted them; `None` where history no longer tells.
    pub revision: Option<Revision>,
}

impl Blame {
    /// Returns the blame of a text of which nothing is known.
    pub fn unknown(chars: u64) -> Self {
        Self::default().then(BlameRun { chars, revision: None })
    }

    /// Returns the runs in the order of the text; neighbours differ, none is empty.
    pub fn runs(&self) -> &[BlameRun] {
        &self.0
    }

    /// Returns the length of the text.
    pub fn chars(&self) -> u64 {
        self.0.iter().map(|run| run.chars).sum()
    }

    fn then(mut self, run: BlameRun) -> Self {
        match self.0.last_mut() {
            Some(last) if last.revision == run.revision => last.chars += run.chars,
            Some(_) | None if run.chars > 0 => self.0.push(run),
            Some(_) | None => {}
        }
        self
    }
}

impl Segment {
    /// Returns the blame of the text at `revision`, given that of the base text.
    ///
    /// `None` if the segment does not hold the revision, or if `base` is not as long as the base
    /// text.
    pub fn blame(&self, base: &Blame, revision: Revision) -> Option<Blame> {
        let rows = self.rows_until(revision)?;
        if base.chars() != self.base_chars as u64 {
            return None;
        }
        let mut runs = Runs::new(base);
        // The edits of a revision come before its end, which names it.
        let mut next = self.base.next();
        self.walk(0, rows, |step| match step {
            Step::Insert { at, chars, .. } => {
                runs.insert(at as u64, BlameRun { chars: chars as u64, revision: Some(next) });
            }
            Step::Delete { at, chars } => runs.delete(at as u64, chars as u64),
            Step::End(revision) => next = revision.next(),
        });
        Some(runs.finish())
    }
}

/// The runs of a text that is being edited, in chunks, so that an edit moves few of them.
struct Runs(Vec<Chunk>);

/// Some hundred runs side by side.
struct Chunk {
    chars: u64,
    runs: Vec<BlameRun>,
}

impl Runs {
    fn new(blame: &Blame) -> Self {
        let chunk = |runs: &[BlameRun]| Chunk::new(runs.to_vec());
        let mut chunks: Vec<_> = blame.0.chunks(CHUNK_RUNS_MAX / 2).map(chunk).collect();
        if chunks.is_empty() {
            chunks.push(Chunk::new(Vec::new()));
        }
        Self(chunks)
    }

    fn finish(self) -> Blame {
        let runs = self.0.into_iter().flat_map(|chunk| chunk.runs);
        runs.fold(Blame::default(), Blame::then)
    }

    /// Puts a run at position `at`, which is at most the length of the text.
    fn insert(&mut self, mut at: u64, run: BlameRun) {
        let mut number = 0;
        while at > self.0[number].chars {
            at -= self.0[number].chars;
            number += 1;
        }
        let chunk = &mut self.0[number];
        chunk.insert(at, run);
        if chunk.runs.len() > CHUNK_RUNS_MAX {
            let tail = Chunk::new(chunk.runs.split_off(CHUNK_RUNS_MAX / 2));
            chunk.chars -= tail.chars;
            self.0.insert(number + 1, tail);
        }
    }

    /// Removes `chars` characters from position `at` on, all inside the text.
    fn delete(&mut self, mut at: u64, mut chars: u64) {
        let mut number = 0;
        while chars > 0 {
            let chunk = &mut self.0[number];
            if at >= chunk.chars {
                at -= chunk.chars;
                number += 1;
                continue;
            }
            let here = chars.min(chunk.chars - at);
            chunk.delete(at, here);
            chars -= here;
            if chunk.runs.is_empty() && self.0.len() > 1 {
                self.0.remove(number);
                at = 0;
            }
        }
    }
}

impl Chunk {
    fn new(runs: Vec<BlameRun>) -> Self {
        Self { chars: runs.iter().map(|run| run.chars).sum(), runs }
    }

    fn insert(&mut self, at: u64, run: BlameRun) {
        self.chars += run.chars;
        let (index, offset) = self.find(at);
        if offset == 0 {
            match index.checked_sub(1).map(|before| &mut self.runs[before]) {
                Some(before) if before.revision == run.revision => before.chars += run.chars,
                Some(_) | None => self.runs.insert(index, run),
            }
            return;
        }
        let whole = &mut self.runs[index];
        let rest = BlameRun { chars: whole.chars - offset, ..*whole };
        whole.chars = offset;
        self.runs.splice(index + 1..index + 1, [run, rest]);
    }

    fn delete(&mut self, at: u64, mut chars: u64) {
        self.chars -= chars;
        let (mut index, offset) = self.find(at);
        if offset > 0 {
            let whole = &mut self.runs[index];
            let after = whole.chars - offset;
            if chars < after {
                whole.chars -= chars;
                return;
            }
            whole.chars = offset;
            chars -= after;
            index += 1;
        }
        let mut end = index;
        while chars > 0 {
            let run = &mut self.runs[end];
            if chars < run.chars {
                run.chars -= chars;
                break;
            }
            chars -= run.chars;
            end += 1;
        }
        self.runs.drain(index..end);
    }

    /// Finds the run that position `at` is in or before, and how far inside.
    fn find(&self, mut at: u64) -> (usize, u64) {
        for (index, run) in self.runs.iter().enumerate() {
            if at < run.chars {
                return (index, at);
            }
            at -= run.chars;
        }
        (self.runs.len(), 0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::crdt::fixture::{insert, meta, model, ops, replace};
    use crate::text::{Component, Operation};

    fn runs(list: &[(u64, Option<u64>)]) -> Blame {
        list.iter().fold(Blame::default(), |blame, &(chars, revision)| {
            blame.then(BlameRun { chars, revision: revision.map(Revision) })
        })
    }

    fn flat(blame: &Blame) -> Vec<Option<Revision>> {
        blame.runs().iter().flat_map(|run| vec![run.revision; run.chars as usize]).collect()
    }

    /// One entry for each character: slow and plain.
    fn naive(
        mut owners: Vec<Option<Revision>>,
        op: &Operation,
        revision: Revision,
    ) -> Vec<Option<Revision>> {
        let mut at = 0;
        for component in op.components() {
            match component {
                Component::Retain(chars) => at += *chars as usize,
                Component::Insert(text) => {
                    let chars = text.chars().count();
                    owners.splice(at..at, vec![Some(revision); chars]);
                    at += chars;
                }
                Component::Delete(chars) => drop(owners.drain(at..at + *chars as usize)),
            }
        }
        owners
    }

    fn check(text: &str, list: &[Operation]) {
        let mut segment = Segment::new(Revision(3), text);
        let chars = text.chars().count() as u64;
        let base = Blame::unknown(chars / 2)
            .then(BlameRun { chars: chars - chars / 2, revision: Some(Revision(2)) });
        let mut owners = flat(&base);
        for (seq, op) in (1..).zip(list) {
            let revision = segment.append(op, &meta(seq)).unwrap();
            owners = naive(owners, op, revision);
        }
        let blame = segment.blame(&base, segment.head()).unwrap();
        assert_eq!(flat(&blame), owners);
        assert_eq!(segment.blame(&base, Revision(3)), Some(base));
    }

    proptest! {
        #[test]
        fn every_character_has_its_revision(text in "[a🙂]{0,9}", list in ops(0..60)) {
            check(&text, &model(&text, &list));
        }
    }

    #[test]
    fn many_runs_are_split_into_chunks_and_joined_again() {
        // Every second character is new, so that no two runs join.
        let text = "x".repeat(2_000);
        let mut list: Vec<_> = (0..2_000).map(|at| insert(at * 2, "y")).collect();
        list.extend((0..40).map(|at| replace(at * 3, 60, "zz")));
        check(&text, &list);
    }

    #[test]
    fn a_chain_of_segments_hands_its_blame_on() {
        let mut first = Segment::new(Revision(0), "");
        first.append(&insert(0, "abc"), &meta(1)).unwrap();
        first.append(&insert(1, "X"), &meta(2)).unwrap();
        let mut second = first.successor();
        second.append(&replace(2, 1, "Y"), &meta(3)).unwrap();
        let base = first.blame(&Blame::default(), first.head()).unwrap();
        assert_eq!(base, runs(&[(1, Some(1)), (1, Some(2)), (2, Some(1))]));
        let blame = second.blame(&base, Revision(3)).unwrap();
        assert_eq!(blame, runs(&[(1, Some(1)), (1, Some(2)), (1, Some(3)), (1, Some(1))]));
    }

    #[test]
    fn a_blame_of_another_text_or_revision_is_refused() {
        let segment = Segment::new(Revision(1), "abc");
        assert_eq!(segment.blame(&Blame::unknown(2), Revision(1)), None);
        assert_eq!(segment.blame(&Blame::unknown(3), Revision(2)), None);
        assert_eq!(segment.blame(&Blame::unknown(3), Revision(0)), None);
    }
}
