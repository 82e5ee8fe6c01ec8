//! One column of the revision table: whole numbers, delta and run-length coded.
//!
//! The coded bytes are the column, in memory as in storage: a run of equal numbers is (how many,
//! difference to the run before), most often one byte. Marks every 128 runs make a number found
//! by binary search. A column only grows; it does not know what its numbers mean.
//!
//! ```text
//! 0ccccddd                    ccccc + 1 equal numbers, zigzag(difference) = ddd + 1
//! 10000000 varint varint      how many, zigzag(difference)
//! ```

use crate::crdt::error::Malformed;
use crate::crdt::varint::{self, Reader, unzigzag, write, write_bytes, zigzag};

/// How many runs lie between two marks.
const BLOCK: u32 = 128;

/// The first byte of the long form.
const LONG: u8 = 0x80;

/// Holds a sequence of numbers.
#[derive(Clone, Default)]
pub(crate) struct Column {
    /// Every run but the last, coded.
    closed: Vec<u8>,
    marks: Vec<Mark>,
    /// Where `closed` ends: the state from which the next run is coded.
    end: Mark,
    /// How many closed runs follow the last mark.
    unmarked: u32,
    /// The last run, which may still grow; empty only in an empty column.
    open: Run,
}

/// Equal numbers side by side.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The number.
    pub(crate) value: i64,
    /// How often it stands here.
    pub(crate) count: u64,
}

/// The state before a run.
#[derive(Clone, Copy, Default)]
struct Mark {
    /// How many numbers are before it.
    first: u64,
    /// Their sum, modulo 2^64.
    sum: i64,
    /// The number of the run before it.
    previous: i64,
    /// Where its code begins.
    at: usize,
}

impl Column {
    /// Returns how many numbers there are.
    pub(crate) fn len(&self) -> u64 {
        self.end.first + self.open.count
    }

    /// Appends a number.
    #[inline]
    pub(crate) fn push(&mut self, value: i64) {
        if value == self.open.value && self.open.count > 0 {
            self.open.count += 1;
        } else {
            self.begin(Run { value, count: 1 });
        }
    }

    /// Returns the number at `index`.
    pub(crate) fn get(&self, index: u64) -> Option<i64> {
        self.seek(index).take(1).map(|run| run.value)
    }

    /// Returns the sum of the first `count` numbers, modulo 2^64.
    pub(crate) fn sum(&self, count: u64) -> i64 {
        self.seek(count).sum
    }

    /// Reads from `index` on.
    pub(crate) fn seek(&self, index: u64) -> Cursor<'_> {
        let before = self.marks.partition_point(|mark| mark.first <= index);
        let mark = before.checked_sub(1).map_or(Mark::default(), |at| self.marks[at]);
        let mut cursor = Cursor {
            closed: Reader::new(&self.closed[mark.at..]),
            open: self.open,
            run: Run { value: mark.previous, count: 0 },
            sum: mark.sum,
        };
        let mut skip = index - mark.first;
        while skip > 0 {
            let Some(run) = cursor.take(skip) else { break };
            skip -= run.count;
        }
        cursor
    }

    /// Appends the column's bytes and their length.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut bytes = self.closed.clone();
        if self.open.count > 0 {
            write_run(&mut bytes, self.open, self.end.previous);
        }
        write_bytes(out, &bytes);
    }

    /// Reads a column of exactly `len` numbers.
    pub(crate) fn decode(reader: &mut Reader<'_>, len: u64) -> Result<Self, Malformed> {
        let mut bytes = Reader::new(reader.bytes()?);
        let mut column = Self::default();
        while !bytes.is_empty() {
            let run = read_run(&mut bytes, column.open.value)?;
            if run.count == 0 || run.count > len - column.len() {
                return Err(Malformed::Column);
            }
            if run.value == column.open.value {
                column.open.count += run.count;
            } else {
                column.begin(run);
            }
        }
        if column.len() == len { Ok(column) } else { Err(Malformed::Column) }
    }

    /// Returns the bytes of memory behind the column.
    #[cfg(test)]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.closed.capacity() + self.marks.capacity() * size_of::<Mark>()
    }

    /// Closes the last run and begins the next.
    #[inline(never)]
    fn begin(&mut self, run: Run) {
        let open = std::mem::replace(&mut self.open, run);
        if open.count == 0 {
            return;
        }
        if self.unmarked == BLOCK {
            reserve(&mut self.marks, 1);
            self.marks.push(self.end);
            self.unmarked = 0;
        }
        reserve(&mut self.closed, 1 + 2 * varint::BYTES_MAX);
        write_run(&mut self.closed, open, self.end.previous);
        self.unmarked += 1;
        self.end = Mark {
            first: self.end.first + open.count,
            sum: self.end.sum.wrapping_add(open.total()),
            previous: open.value,
            at: self.closed.len(),
        };
    }
}

impl Run {
    fn total(self) -> i64 {
        self.value.wrapping_mul(self.count as i64)
    }
}

/// Reads a column forwards, run by run.
#[derive(Clone)]
pub(crate) struct Cursor<'a> {
    closed: Reader<'a>,
    open: Run,
    /// What is left of the run being read; its value is the one before the next run, too.
    run: Run,
    /// The sum of what was read, and of what is before it, modulo 2^64.
    sum: i64,
}

impl Cursor<'_> {
    /// Takes at most `most` (at least one) equal numbers; `None` at the end.
    pub(crate) fn take(&mut self, most: u64) -> Option<Run> {
        if self.run.count == 0 {
            self.run = if self.closed.is_empty() {
                let open = std::mem::take(&mut self.open);
                if open.count == 0 {
                    return None;
                }
                open
            } else {
                read_run(&mut self.closed, self.run.value).expect("a column codes its own runs")
            };
        }
        let taken = Run { value: self.run.value, count: most.min(self.run.count) };
        self.run.count -= taken.count;
        self.sum = self.sum.wrapping_add(taken.total());
        Some(taken)
    }
}

fn write_run(out: &mut Vec<u8>, run: Run, previous: i64) {
    let difference = zigzag(run.value.wrapping_sub(previous));
    if (1..=8).contains(&difference) && run.count <= 16 {
        out.push((run.count as u8 - 1) << 3 | (difference as u8 - 1));
    } else {
        out.push(LONG);
        write(out, run.count);
        write(out, difference);
    }
}

fn read_run(reader: &mut Reader<'_>, previous: i64) -> Result<Run, Malformed> {
    let first = reader.byte()?;
    let (count, difference) = match first {
        0..LONG => (u64::from(first >> 3) + 1, u64::from(first & 7) + 1),
        LONG => (reader.number()?, reader.number()?),
        _ => return Err(Malformed::Number),
    };
    Ok(Run { value: previous.wrapping_add(unzigzag(difference)), count })
}

/// Makes room for `more`, an eighth at a time: doubling would waste what the coding saves.
fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more.max(list.len() / 8));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(values: &[i64]) -> Column {
        let mut column = Column::default();
        values.iter().for_each(|&value| column.push(value));
        column
    }

    fn check(values: &[i64]) {
        let built = column(values);
        let mut bytes = vec![];
        built.encode(&mut bytes);
        let mut reader = Reader::new(&bytes);
        let read = Column::decode(&mut reader, values.len() as u64).unwrap();
        assert!(reader.is_empty());
        for column in [built, read] {
            assert_eq!(column.len(), values.len() as u64);
            let mut sum = 0_i64;
            let step = 1 + values.len() / 100;
            for (at, &value) in (0..).zip(values) {
                if (at as usize).is_multiple_of(step) {
                    assert_eq!(column.get(at), Some(value), "number {at}");
                    assert_eq!(column.sum(at), sum, "sum before {at}");
                }
                sum = sum.wrapping_add(value);
            }
            assert_eq!(column.sum(values.len() as u64), sum);
            assert_eq!(column.get(values.len() as u64), None);
            let mut again = vec![];
            column.encode(&mut again);
            assert_eq!(again, bytes);
        }
    }

    proptest! {
        #[test]
        fn numbers_come_back(
            runs in prop::collection::vec(
                (prop_oneof![-5..5_i64, any::<i64>()], prop_oneof![1..4_usize, 1..30_usize]),
                0..300,
            ),
        ) {
            let values: Vec<i64> =
                runs.into_iter().flat_map(|(value, count)| vec![value; count]).collect();
            check(&values);
        }

        #[test]
        fn any_bytes_are_a_column_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            len in 0..300_u64,
        ) {
            let mut framed = vec![];
            write_bytes(&mut framed, &bytes);
            if let Ok(column) = Column::decode(&mut Reader::new(&framed), len) {
                prop_assert_eq!(column.len(), len);
                prop_assert_eq!(column.get(len), None);
                prop_assert!((0..len).all(|at| column.get(at).is_some()));
            }
        }
    }

    #[test]
    fn zero_and_the_extremes_are_numbers_too() {
        check(&[0]);
        check(&[0, 0, 1, 0]);
        check(&[i64::MIN, i64::MAX, 0, i64::MIN]);
    }

    #[test]
    fn a_count_over_the_length_is_refused() {
        for (bytes, len) in [(&[0x0a][..], 1), (&[0x02], 2), (&[LONG, 0, 2], 1), (&[0x81], 1)] {
            let mut framed = vec![];
            write_bytes(&mut framed, bytes);
            assert!(Column::decode(&mut Reader::new(&framed), len).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn a_keystroke_takes_under_a_third_of_a_byte() {
        // Five keystrokes a second: the seconds are the only column that moves.
        let seconds: Vec<i64> = (0..100_000).map(|at| 1_700_000_000 + at / 5).collect();
        let bytes = column(&seconds).heap_bytes();
        assert!(bytes < 30_000, "{bytes} bytes");
    }
}
