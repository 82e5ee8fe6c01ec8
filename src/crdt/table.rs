//! The revision table: for each revision its length in operations and who made it when.
//!
//! Columns, each delta and run-length coded ([`Column`]). Who is one column, a number into the
//! list of writers. The sequence number is kept as the difference to the one that follows the
//! writer's last, which is 0 in any history without gaps; the base as how far it lies behind.
//!
//! Not here: what the operations are, see `segment.rs`.

use rustc_hash::FxHashMap;

use crate::crdt::column::{Column, Cursor};
use crate::crdt::error::Malformed;
use crate::crdt::varint::{Reader, write, write_bytes};
use crate::types::{Author, Revision, Seq, SessionId, Timestamp};

/// Tells who made a revision, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// Who wrote it.
    pub author: Author,
    /// The session it came from.
    pub session: SessionId,
    /// Which of the session's batches it is.
    pub seq: Seq,
    /// The revision its writer had when it was made.
    pub base: Revision,
    /// When it was accepted; kept to the second.
    pub at: Timestamp,
}

/// Holds one row for each revision after the segment's base.
#[derive(Clone, Default)]
pub(crate) struct Table {
    lengths: Column,
    writers: Column,
    /// `seq` less the number that follows the writer's last one.
    leaps: Column,
    /// The revision less its base.
    lags: Column,
    seconds: Column,
    names: Vec<Writer>,
    numbers: FxHashMap<(SessionId, Author), usize>,
    /// Which writer made the newest revision.
    latest: usize,
}

/// One author in one session.
#[derive(Clone)]
struct Writer {
    author: Author,
    session: SessionId,
    /// The last sequence number.
    seq: u64,
}

impl Table {
    /// Returns how many rows there are.
    pub(crate) fn len(&self) -> u64 {
        self.lengths.len()
    }

    /// Appends the row of `revision`, which took `length` operations.
    #[inline]
    pub(crate) fn push(&mut self, revision: Revision, length: usize, meta: &Meta) {
        let Meta { author, session, seq, base, at } = meta;
        self.lengths.push(length as i64);
        self.lags.push(revision.0.wrapping_sub(base.0) as i64);
        self.seconds.push((at.0 / 1000) as i64);
        let same = |writer: &Writer| writer.session == *session && writer.author == *author;
        if !self.names.get(self.latest).is_some_and(same) {
            self.latest = self.number(*session, author.clone());
        }
        self.writers.push(self.latest as i64);
        let writer = &mut self.names[self.latest];
        self.leaps.push(leap(writer.seq, seq.0));
        writer.seq = seq.0;
    }

    /// Returns how many operations the first `rows` rows took.
    pub(crate) fn operations(&self, rows: u64) -> usize {
        self.lengths.sum(rows) as usize
    }

    /// Reads the lengths from `row` on.
    pub(crate) fn lengths(&self, row: u64) -> Lengths<'_> {
        Lengths(self.lengths.seek(row))
    }

    /// Returns the author of `row`.
    pub(crate) fn author(&self, row: u64) -> Option<&Author> {
        self.writers.get(row).map(|number| &self.names[number as usize].author)
    }

    /// Finds a session's newest row and its sequence number.
    pub(crate) fn last_of(&self, session: &SessionId) -> Option<(u64, Seq)> {
        if !self.names.iter().any(|writer| writer.session == *session) {
            return None;
        }
        let mut seqs = self.seqs();
        let (mut rows, mut last) = (0, None);
        while let Some((writer, seq, count)) = seqs.take(u64::MAX) {
            rows += count;
            if self.names[writer].session == *session {
                last = Some((rows - 1, Seq(seq)));
            }
        }
        last
    }

    /// Reads the rows from `row` on; `first` is the revision of row 0.
    ///
    /// The sequence numbers are counted up from row 0: one step for each change of writer.
    pub(crate) fn rows(&self, row: u64, first: Revision) -> Rows<'_> {
        let mut seqs = self.seqs();
        seqs.skip(row);
        Rows {
            table: self,
            revision: first.0 + row,
            seqs,
            lags: self.lags.seek(row),
            seconds: self.seconds.seek(row),
        }
    }

    fn seqs(&self) -> Seqs<'_> {
        Seqs {
            writers: self.writers.seek(0),
            leaps: self.leaps.seek(0),
            last: vec![0; self.names.len()],
        }
    }

    /// Appends the table's bytes.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        write(out, self.len());
        write(out, self.names.len() as u64);
        for writer in &self.names {
            out.extend_from_slice(&writer.session.0);
            write_bytes(out, writer.author.as_str().as_bytes());
        }
        for column in [&self.lengths, &self.writers, &self.leaps, &self.lags, &self.seconds] {
            column.encode(out);
        }
    }

    /// Reads a table.
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let rows = reader.number()?;
        let mut table = Self::default();
        for number in 0..reader.count()? {
            let session = reader.take(16)?.try_into().map_err(|_| Malformed::Truncated)?;
            let author = std::str::from_utf8(reader.bytes()?).ok().and_then(|s| s.parse().ok());
            let author = author.ok_or(Malformed::Writers)?;
            if table.number(SessionId(session), author) != number {
                return Err(Malformed::Writers);
            }
        }
        let Self { lengths, writers, leaps, lags, seconds, .. } = &mut table;
        for column in [lengths, writers, leaps, lags, seconds] {
            *column = Column::decode(reader, rows)?;
        }
        table.check()?;
        table.latest =
            rows.checked_sub(1).and_then(|last| table.writers.get(last)).unwrap_or(0) as usize;
        let mut seqs = table.rows(0, Revision(0)).seqs;
        seqs.skip(rows);
        let last = seqs.last;
        table.names.iter_mut().zip(last).for_each(|(writer, seq)| writer.seq = seq);
        Ok(table)
    }

    /// Returns the bytes of memory behind the columns.
    #[cfg(test)]
    pub(crate) fn heap_bytes(&self) -> usize {
        [&self.lengths, &self.writers, &self.leaps, &self.lags, &self.seconds]
            .map(Column::heap_bytes)
            .iter()
            .sum()
    }

    /// Finds a writer's number or gives it the next.
    fn number(&mut self, session: SessionId, author: Author) -> usize {
        let Self { numbers, names, .. } = self;
        *numbers.entry((session, author.clone())).or_insert_with(|| {
            names.push(Writer { author, session, seq: 0 });
            names.len() - 1
        })
    }

    /// Checks what the other methods rely on: writers that exist, lengths that can be summed.
    fn check(&self) -> Result<(), Malformed> {
        let mut writers = self.writers.seek(0);
        while let Some(run) = writers.take(u64::MAX) {
            let known = usize::try_from(run.value).is_ok_and(|number| number < self.names.len());
            if !known {
                return Err(Malformed::Writers);
            }
        }
        let mut operations = 0_i64;
        let mut lengths = self.lengths.seek(0);
        while let Some(run) = lengths.take(u64::MAX) {
            let count = i64::try_from(run.count).map_err(|_| Malformed::Number)?;
            operations = count
                .checked_mul(run.value)
                .filter(|sum| *sum >= 0)
                .and_then(|sum| operations.checked_add(sum))
                .ok_or(Malformed::Number)?;
        }
        Ok(())
    }
}

/// Reads the lengths of successive revisions.
pub(crate) struct Lengths<'a>(Cursor<'a>);

impl Iterator for Lengths<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.0.take(1).map(|run| run.value as usize)
    }
}

/// Reads successive rows.
pub(crate) struct Rows<'a> {
    table: &'a Table,
    revision: u64,
    seqs: Seqs<'a>,
    lags: Cursor<'a>,
    seconds: Cursor<'a>,
}

impl Iterator for Rows<'_> {
    type Item = Meta;

    fn next(&mut self) -> Option<Meta> {
        let (writer, seq, _) = self.seqs.take(1)?;
        let Writer { author, session, .. } = &self.table.names[writer];
        let lag = self.lags.take(1)?.value;
        let seconds = self.seconds.take(1)?.value as u64;
        let base = Revision(self.revision.wrapping_sub(lag as u64));
        self.revision += 1;
        Some(Meta {
            author: author.clone(),
            session: *session,
            seq: Seq(seq),
            base,
            at: Timestamp(seconds.saturating_mul(1000)),
        })
    }
}

/// Counts the sequence numbers up.
struct Seqs<'a> {
    writers: Cursor<'a>,
    leaps: Cursor<'a>,
    /// Each writer's last number.
    last: Vec<u64>,
}

impl Seqs<'_> {
    /// Takes at most `most` rows alike: their writer, the last one's number, how many.
    fn take(&mut self, most: u64) -> Option<(usize, u64, u64)> {
        let mut ahead = self.leaps.clone();
        let count = ahead.take(most)?.count;
        let writer = self.writers.take(count)?;
        let leap = self.leaps.take(writer.count)?.value as u64;
        let number = writer.value as usize;
        let last = &mut self.last[number];
        *last = last.wrapping_add(writer.count.wrapping_mul(leap.wrapping_add(1)));
        Some((number, *last, writer.count))
    }

    fn skip(&mut self, mut rows: u64) {
        while rows > 0 {
            let Some((_, _, count)) = self.take(rows) else { break };
            rows -= count;
        }
    }
}

fn leap(last: u64, seq: u64) -> i64 {
    seq.wrapping_sub(last).wrapping_sub(1) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn meta(writer: u8, seq: u64, base: u64, at: u64) -> Meta {
        Meta {
            author: format!("author {}", writer % 3).parse().unwrap(),
            session: SessionId([writer; 16]),
            seq: Seq(seq),
            base: Revision(base),
            at: Timestamp(at),
        }
    }

    fn table(first: u64, rows: &[(usize, Meta)]) -> Table {
        let mut table = Table::default();
        for (at, (length, meta)) in (first..).zip(rows) {
            table.push(Revision(at), *length, meta);
        }
        table
    }

    fn recoded(table: &Table) -> Result<Table, Malformed> {
        let mut bytes = vec![];
        table.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        let read = Table::decode(&mut reader)?;
        assert!(reader.is_empty());
        Ok(read)
    }

    fn check(first: u64, rows: &[(usize, Meta)]) {
        let built = table(first, rows);
        let read = recoded(&built).unwrap();
        for table in [&built, &read] {
            assert_eq!(table.len(), rows.len() as u64);
            let mut operations = 0;
            for (at, (length, meta)) in (0..).zip(rows) {
                assert_eq!(table.operations(at), operations);
                operations += length;
                let stored = table.rows(at, Revision(first)).next().unwrap();
                let kept = Timestamp(meta.at.0 / 1000 * 1000);
                assert_eq!(stored, Meta { at: kept, ..meta.clone() });
                assert_eq!(table.author(at), Some(&meta.author));
            }
            assert_eq!(table.operations(rows.len() as u64), operations);
            assert!(table.rows(rows.len() as u64, Revision(first)).next().is_none());
            let lengths: Vec<usize> = rows.iter().map(|(length, _)| *length).collect();
            assert_eq!(table.lengths(0).collect::<Vec<_>>(), lengths);
        }
        // What was read goes on like what was built.
        let (mut built, mut read) = (built, read);
        for table in [&mut built, &mut read] {
            table.push(Revision(first + rows.len() as u64), 1, &meta(0, 9, first, 5_000));
        }
        let all = |table: &Table| table.rows(0, Revision(first)).collect::<Vec<_>>();
        assert_eq!(all(&built), all(&read));
    }

    proptest! {
        #[test]
        fn rows_come_back(
            first in 1..1_000_u64,
            rows in prop::collection::vec(
                (0..30_usize, 0..6_u8, prop_oneof![0..9_u64, any::<u64>()], any::<[u64; 2]>()),
                0..60,
            ),
        ) {
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(length, writer, seq, [base, at])| (length, meta(writer, seq, base, at)))
                .collect();
            check(first, &rows);
        }

        #[test]
        fn any_bytes_are_a_table_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Ok(table) = Table::decode(&mut Reader::new(&bytes)) {
                let rows = table.len().min(100);
                prop_assert_eq!(table.rows(0, Revision(1)).take(100).count() as u64, rows);
            }
        }

        #[test]
        fn a_changed_byte_is_a_table_or_an_error(at in any::<prop::sample::Index>(), to: u8) {
            let rows: Vec<_> =
                (0..40).map(|n| (1, meta((n % 5 / 3) as u8, n, n, n * 300))).collect();
            let mut bytes = vec![];
            table(1, &rows).encode(&mut bytes);
            *at.get_mut(&mut bytes) = to;
            if let Ok(table) = Table::decode(&mut Reader::new(&bytes)) {
                let rows = table.len().min(100);
                prop_assert_eq!(table.rows(0, Revision(1)).take(100).count() as u64, rows);
            }
        }
    }

    #[test]
    fn a_writer_named_twice_or_missing_is_refused() {
        let mut twice = vec![0, 2];
        for _ in 0..2 {
            twice.extend_from_slice(&[7; 16]);
            twice.push(0);
        }
        assert_eq!(Table::decode(&mut Reader::new(&twice)).err(), Some(Malformed::Writers));
        let mut missing = vec![1, 0];
        (0..5).for_each(|_| write_bytes(&mut missing, &[0x80, 1, 0]));
        assert_eq!(Table::decode(&mut Reader::new(&missing)).err(), Some(Malformed::Writers));
    }

    #[test]
    fn lengths_that_cannot_be_summed_are_refused() {
        for length in [-1, i64::MAX] {
            let mut table = table(1, &[(1, meta(1, 1, 0, 0)), (1, meta(1, 2, 1, 0))]);
            table.lengths = Column::default();
            table.lengths.push(length);
            table.lengths.push(length);
            assert_eq!(recoded(&table).err(), Some(Malformed::Number), "{length}");
        }
    }

    #[test]
    fn one_writers_revision_takes_under_a_third_of_a_byte() {
        let mut table = Table::default();
        // Five keystrokes a second on average, at uneven gaps: even ones would code too well.
        let (mut at, mut noise) = (1_700_000_000_000, 1_u64);
        for revision in 1..=100_000 {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            at += noise >> 33 & 0xff | u64::from(noise >> 60 == 0) << 10;
            let meta = meta(1, revision, revision - 1, at);
            table.push(Revision(revision), 1, &meta);
        }
        let mut stored = vec![];
        table.encode(&mut stored);
        assert!(table.heap_bytes() < 30_000, "{} bytes of memory", table.heap_bytes());
        assert!(stored.len() < 30_000, "{} bytes stored", stored.len());
    }
}
