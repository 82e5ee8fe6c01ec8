//! A segment: the text at a revision and the revisions that follow it.
//!
//! Reading it back is in `history.rs` and `blame.rs`, merging into it in `fork.rs`, its bytes in
//! `codec.rs`.

use std::fmt;

use diamond_types::AgentId;
use diamond_types::list::{ListCRDT, OpLog};
use xxhash_rust::xxh3::Xxh3;

use crate::crdt::codec;
use crate::crdt::table::{Meta, Table};
use crate::text::{Component, Operation, OutOfBounds};
use crate::types::Revision;

/// The one writer of the line of history: authors are in the table.
const AGENT: &str = "quire";

/// Holds the text at its base revision and the operations that lead from there to its head.
///
/// Invariants: the operations form one line of history; the first `base_chars` of them insert the
/// base text; the table's lengths add up to the rest.
#[derive(Clone)]
pub struct Segment {
    pub(in crate::crdt) base: Revision,
    pub(in crate::crdt) base_chars: usize,
    /// How many bytes the base text takes when stored.
    pub(in crate::crdt) base_bytes: u64,
    pub(in crate::crdt) list: ListCRDT,
    pub(in crate::crdt) agent: AgentId,
    pub(in crate::crdt) table: Table,
}

impl Segment {
    /// Begins a segment with the text at revision `base`.
    ///
    /// Takes time in proportion to the text: it is compressed once, to know what it takes stored.
    pub fn new(base: Revision, text: &str) -> Self {
        let mut list = ListCRDT::new();
        let agent = list.get_or_create_agent_id(AGENT);
        // An empty first operation would get the number before 0.
        if !text.is_empty() {
            list.insert(agent, 0, text);
        }
        let base_bytes = codec::stored_bytes(text);
        Self { base, base_chars: list.len(), base_bytes, list, agent, table: Table::default() }
    }

    /// Puts a segment together from parts that were read.
    pub(in crate::crdt) fn from_parts(
        (base, base_chars, base_bytes): (Revision, usize, u64),
        oplog: OpLog,
        table: Table,
    ) -> Self {
        let branch = oplog.checkout_tip();
        let mut list = ListCRDT { branch, oplog };
        let agent = list.get_or_create_agent_id(AGENT);
        Self { base, base_chars, base_bytes, list, agent, table }
    }

    /// Begins the segment that follows this one, with the text at its head.
    pub fn successor(&self) -> Self {
        Self::new(self.head(), &self.text())
    }

    /// Appends an operation on the text at the head; it becomes the next revision.
    ///
    /// # Errors
    /// If the operation reaches past the end of the text; nothing is changed then.
    pub fn append(&mut self, op: &Operation, meta: &Meta) -> Result<Revision, OutOfBounds> {
        op.chars_after(self.chars())?;
        let revision = self.head().next();
        let before = self.list.oplog.len();
        let mut at = 0;
        let mut end = before;
        for component in op.components() {
            match component {
                Component::Retain(chars) => at += *chars as usize,
                Component::Insert(text) => {
                    let last = self.list.insert(self.agent, at, text);
                    at += last + 1 - end;
                    end = last + 1;
                }
                Component::Delete(chars) => {
                    let range = at..at + *chars as usize;
                    end = self.list.delete_without_content(self.agent, range) + 1;
                }
            }
        }
        self.table.push(revision, end - before, meta);
        Ok(revision)
    }

    /// Returns the revision whose text the segment begins with.
    pub fn base(&self) -> Revision {
        self.base
    }

    /// Returns the newest revision.
    pub fn head(&self) -> Revision {
        Revision(self.base.0 + self.table.len())
    }

    /// Returns the length of the text at the base, in scalar values.
    pub fn base_chars(&self) -> u64 {
        self.base_chars as u64
    }

    /// Returns the length of the text at the head, in Unicode scalar values.
    pub fn chars(&self) -> u64 {
        self.list.len() as u64
    }

    /// Returns how many characters it knows of: those that it begins with, and those that were
    /// inserted or deleted since.
    pub fn edited_chars(&self) -> usize {
        self.list.oplog.len()
    }

    /// Returns the text at the head.
    pub fn text(&self) -> String {
        self.list.branch.content().to_string()
    }

    /// Returns the hash of the text at the head: xxh3 over its UTF-8 bytes.
    pub fn text_hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        self.list.branch.content().substrings().for_each(|part| hash.update(part.as_bytes()));
        hash.digest()
    }

    /// Returns the number of revisions from the base to `revision`, if the segment holds it.
    pub(in crate::crdt) fn rows_until(&self, revision: Revision) -> Option<u64> {
        let rows = revision.0.checked_sub(self.base.0)?;
        (rows <= self.table.len()).then_some(rows)
    }

    /// Returns the version after `rows` revisions as diamond-types names it: its last operation,
    /// or nothing where there is none.
    pub(in crate::crdt) fn version(&self, rows: u64) -> Option<usize> {
        (self.base_chars + self.table.operations(rows)).checked_sub(1)
    }
}

/// Prints where the segment stands, never its text.
impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, head, chars) = (self.base, self.head(), self.chars());
        f.debug_struct("Segment")
            .field("base", &base)
            .field("head", &head)
            .field("chars", &chars)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_64;

    use super::*;
    use crate::crdt::fixture::{delete, insert, meta};

    #[test]
    fn a_refused_operation_changes_nothing() {
        let mut segment = Segment::new(Revision(4), "añ🙂");
        for op in [insert(4, "x"), delete(2, 2), delete(0, 4)] {
            assert!(segment.append(&op, &meta(1)).is_err(), "{op:?}");
        }
        assert_eq!((segment.head(), segment.chars()), (Revision(4), 3));
        assert_eq!(segment.text(), "añ🙂");
        assert_eq!(segment.list.oplog.len(), 3);
    }

    #[test]
    fn an_empty_operation_takes_a_revision() {
        let mut segment = Segment::new(Revision(0), "");
        assert_eq!(segment.append(&Operation::identity(), &meta(1)), Ok(Revision(1)));
        assert_eq!(segment.append(&insert(0, "a"), &meta(2)), Ok(Revision(2)));
        assert_eq!(segment.append(&Operation::identity(), &meta(3)), Ok(Revision(3)));
        assert_eq!(segment.text_at(Revision(1)).as_deref(), Some(""));
        assert_eq!(segment.text_at(Revision(3)).as_deref(), Some("a"));
    }

    #[test]
    fn a_successor_begins_with_the_text_at_the_head() {
        let mut segment = Segment::new(Revision(7), "one");
        segment.append(&insert(3, " two"), &meta(1)).unwrap();
        let next = segment.successor();
        assert_eq!((next.base(), next.head()), (Revision(8), Revision(8)));
        assert_eq!(next.text(), "one two");
        assert_eq!(next.text_hash(), xxh3_64("one two".as_bytes()));
    }

    #[test]
    fn a_text_is_not_printed() {
        let segment = Segment::new(Revision(2), "secret");
        assert!(!format!("{segment:?}").contains("secret"));
    }

    #[test]
    fn a_long_text_hashes_like_its_bytes() {
        let text = "line é 🙂\r\n".repeat(500);
        let mut segment = Segment::new(Revision(1), &text);
        segment.append(&insert(2_000, "middle"), &meta(1)).unwrap();
        assert_eq!(segment.text_hash(), xxh3_64(segment.text().as_bytes()));
    }

    #[test]
    fn a_segment_may_go_to_another_thread() {
        fn check<T: Send + Sync>() {}
        check::<Segment>();
    }
}
