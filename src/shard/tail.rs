//! Which records of a shard no checkpoint covers yet: what opening a document has to read, and
//! where the log can be trimmed. Pure.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use crate::types::{DocId, Offset};

/// Indexes the records above the checkpoints, by document.
#[derive(Debug, Default)]
pub struct Tail {
    records: FxHashMap<DocId, VecDeque<Entry>>,
    /// Each document with its first record, lowest first.
    firsts: BTreeSet<(Offset, DocId)>,
    bytes: u64,
    /// The offset that each document's newest checkpoint stands at, for as long as the log has
    /// records below it: a store may forget the newest ones.
    stored: FxHashMap<DocId, Offset>,
}

/// What is known of a document's records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Indexed {
    /// Those that no checkpoint covers, lowest first.
    pub offsets: Vec<Offset>,
    /// The offset that its newest checkpoint must at least stand at, where that is known.
    pub stored: Option<Offset>,
    /// Where the log ends, as far as the shard knows: no checkpoint of it can stand above.
    pub next: Offset,
}

#[derive(Debug)]
struct Entry {
    offset: Offset,
    bytes: u32,
    /// When this process learned of it.
    since: Instant,
}

/// Bounds the records of all shards of a node that no checkpoint covers.
#[derive(Debug)]
pub struct Room {
    uncovered: AtomicU64,
    limit: u64,
}

impl Room {
    /// Returns room for so many bytes.
    pub fn new(limit: u64) -> Self {
        Self { uncovered: AtomicU64::new(0), limit }
    }

    /// Notes how many bytes of a shard are not covered now, and were not before.
    pub(crate) fn note(&self, now: u64, before: u64) {
        self.uncovered.fetch_add(now, Ordering::Relaxed);
        self.uncovered.fetch_sub(before, Ordering::Relaxed);
    }

    /// Tells whether there is room for more.
    pub(crate) fn is_left(&self) -> bool {
        self.uncovered.load(Ordering::Relaxed) < self.limit
    }
}

/// The document that holds the low-water mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oldest {
    /// The document.
    pub doc: DocId,
    /// Its first record that no checkpoint covers.
    pub offset: Offset,
    /// Since when it is known.
    pub since: Instant,
}

impl Tail {
    /// Adds a record, which comes after all of the same document.
    pub fn note(&mut self, doc: &DocId, offset: Offset, bytes: usize, since: Instant) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes += u64::from(bytes);
        let entry = Entry { offset, bytes, since };
        if let Some(entries) = self.records.get_mut(doc) {
            entries.push_back(entry);
            return;
        }
        self.records.insert(doc.clone(), VecDeque::from([entry]));
        self.firsts.insert((offset, doc.clone()));
    }

    /// Removes the records of a document below `below`: a checkpoint covers them.
    pub fn cover(&mut self, doc: &DocId, below: Offset) {
        let Some(entries) = self.records.get_mut(doc) else { return };
        let Some(first) = entries.front().map(|entry| entry.offset) else { return };
        while let Some(entry) = entries.pop_front_if(|entry| entry.offset < below) {
            self.bytes -= u64::from(entry.bytes);
        }
        let left = entries.front().map(|entry| entry.offset);
        if left == Some(first) {
            return;
        }
        self.firsts.remove(&(first, doc.clone()));
        match left {
            Some(offset) => drop(self.firsts.insert((offset, doc.clone()))),
            None => drop(self.records.remove(doc)),
        }
    }

    /// Notes that a verified checkpoint of a document stands at an offset.
    pub fn store(&mut self, doc: &DocId, at: Offset) {
        let stored = self.stored.entry(doc.clone()).or_default();
        *stored = at.max(*stored);
    }

    /// Forgets the checkpoints below whose offsets the log has no records any more.
    pub fn trimmed(&mut self, low: Offset) {
        self.stored.retain(|_, at| *at > low);
    }

    /// Returns what is known of the records of a document; `next` is where the log ends.
    pub fn indexed(&self, doc: &DocId, next: Offset) -> Indexed {
        let entries = self.records.get(doc).into_iter().flatten();
        let offsets = entries.map(|entry| entry.offset).collect();
        Indexed { offsets, stored: self.stored.get(doc).copied(), next }
    }

    /// Returns the documents that have records here, in no order.
    pub fn docs(&self) -> Vec<DocId> {
        self.records.keys().cloned().collect()
    }

    /// Returns the documents that have records below an offset here, by their first ones.
    pub fn holding(&self, below: Offset) -> Vec<DocId> {
        let firsts = self.firsts.iter().take_while(|(first, _)| *first < below);
        firsts.map(|(_, doc)| doc.clone()).collect()
    }

    /// Returns the offsets of all records, lowest first.
    pub fn all(&self) -> Vec<Offset> {
        let mut offsets: Vec<_> =
            self.records.values().flatten().map(|entry| entry.offset).collect();
        offsets.sort_unstable();
        offsets
    }

    /// Returns the first offset that some checkpoint does not cover; `next` where all is covered.
    pub fn low_water(&self, next: Offset) -> Offset {
        self.firsts.first().map_or(next, |(offset, _)| *offset)
    }

    /// Returns the document that holds the low-water mark, passing over some.
    pub fn oldest(&self, passed_over: impl Fn(&DocId) -> bool) -> Option<Oldest> {
        let (offset, doc) = self.firsts.iter().find(|(_, doc)| !passed_over(doc))?;
        let since = self.records.get(doc)?.front()?.since;
        Some(Oldest { doc: doc.clone(), offset: *offset, since })
    }

    /// Returns the size of all uncovered records, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(name: &str) -> DocId {
        name.parse().expect("a valid id")
    }

    #[tokio::test(start_paused = true)]
    async fn the_low_water_mark_is_the_first_uncovered_record() {
        let (mut tail, now) = (Tail::default(), Instant::now());
        for (offset, name) in [(3, "a"), (4, "b"), (5, "a"), (9, "b")] {
            tail.note(&doc(name), Offset(offset), 10, now);
        }
        let check = |tail: &Tail, low: u64, bytes: u64| {
            assert_eq!((tail.low_water(Offset(10)), tail.bytes()), (Offset(low), bytes));
        };
        check(&tail, 3, 40);
        tail.cover(&doc("b"), Offset(5));
        check(&tail, 3, 30);
        tail.cover(&doc("a"), Offset(4));
        check(&tail, 5, 20);
        assert_eq!(tail.oldest(|_| false).map(|oldest| oldest.doc), Some(doc("a")));
        assert_eq!(tail.oldest(|one| *one == doc("a")).map(|next| next.doc), Some(doc("b")));
        assert_eq!(tail.holding(Offset(9)), [doc("a")]);
        assert_eq!(tail.holding(Offset(10)), [doc("a"), doc("b")]);
        tail.cover(&doc("a"), Offset(6));
        check(&tail, 9, 10);
        assert_eq!(tail.indexed(&doc("b"), Offset(10)).offsets, [Offset(9)]);
        tail.cover(&doc("b"), Offset(9));
        check(&tail, 9, 10);
        tail.cover(&doc("b"), Offset(10));
        check(&tail, 10, 0);
        assert_eq!(tail.oldest(|_| false), None);
    }

    #[test]
    fn what_is_stored_is_known_until_the_log_is_trimmed_past_it() {
        let mut tail = Tail::default();
        tail.store(&doc("a"), Offset(7));
        tail.store(&doc("a"), Offset(5));
        assert_eq!(tail.indexed(&doc("a"), Offset(9)).stored, Some(Offset(7)));
        tail.trimmed(Offset(6));
        assert_eq!(tail.indexed(&doc("a"), Offset(9)).stored, Some(Offset(7)));
        tail.trimmed(Offset(7));
        assert_eq!(tail.indexed(&doc("a"), Offset(0)), Indexed::default());
    }
}
