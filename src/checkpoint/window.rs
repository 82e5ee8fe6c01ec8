//! The last revisions of a document in the body of a checkpoint: columns of differences.
//!
//! What a row is expected to be follows from the rows of the same session before it; see
//! [`Habit`]. An operation is its shape (how many components, and of what kinds), the lengths of
//! the components (of inserts: in bytes), and the inserted text.

use std::hash::Hash;

use rustc_hash::FxHashMap;
use smol_str::SmolStr;

use crate::checkpoint::body::read_ids;
use crate::checkpoint::column::{Column, Cursor};
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::manifest::author;
use crate::checkpoint::snapshot::WindowRow;
use crate::text::{Component, Operation};
use crate::types::{Author, Revision, Seq, SessionId};

/// The limits of a window; of a longer one, the newest rows within them are kept.
const ROWS_MAX: usize = 1 << 16;
const COMPONENTS_MAX: usize = 1 << 20;
const TEXT_BYTES_MAX: usize = 32 * 1024 * 1024;

const RETAIN: u8 = 0;
const INSERT: u8 = 1;
const DELETE: u8 = 2;

/// Writes the newest rows that are within the limits; `known` are the sessions that have an index
/// already.
pub(crate) fn write(
    out: &mut Column,
    known: impl Iterator<Item = SessionId>,
    window: &[WindowRow],
    head: Revision,
) {
    let window = newest_within_limits(window);
    let mut sessions: Dictionary<SessionId> = known.collect();
    let fresh = sessions.values.len();
    let mut authors = Dictionary::default();
    let mut columns: [Column; 7] = Default::default();
    let [who, seqs, names, bases, shapes, lengths, text] = &mut columns;
    let mut habits = FxHashMap::<u64, Habit>::default();
    let mut last = 0;
    let mut parent = parent_of_first(head, window.len());
    for row in window {
        let session = sessions.index(&row.session);
        let habit = habits.entry(session).or_default();
        let name = authors.index(&row.author);
        who.difference(last, session);
        seqs.difference(habit.seq.wrapping_add(1), row.seq.0);
        names.difference(habit.author, name);
        bases.difference(parent, row.base.0);
        write_operation([&mut *shapes, &mut *lengths, &mut *text], &row.op, habit.caret);
        habit.follow(row, name);
        last = session;
        parent = parent.wrapping_add(1);
    }
    let ids: Vec<u8> = sessions.values[fresh..].iter().flat_map(|id| id.0).collect();
    out.bytes(&ids);
    let mut spelled = Column::default();
    authors.values.iter().for_each(|name| spelled.bytes(name.as_str().as_bytes()));
    out.packed(&spelled);
    columns.iter().for_each(|column| out.packed(column));
}

/// Reads the rows that [`write`] wrote, given the same sessions.
pub(crate) fn read(
    cursor: &mut Cursor<'_>,
    known: impl Iterator<Item = SessionId>,
    head: Revision,
) -> Result<Vec<WindowRow>, DecodeError> {
    let mut sessions: Vec<SessionId> = known.collect();
    sessions.extend(read_ids(cursor)?);
    let authors = read_authors(&cursor.packed()?)?;
    let mut parts = Vec::with_capacity(7);
    for _ in 0..7 {
        parts.push(cursor.packed()?);
    }
    let columns: Vec<Cursor<'_>> = parts.iter().map(|part| Cursor::new(part)).collect();
    let columns: [Cursor<'_>; 7] = columns.try_into().expect("there are seven");
    let [mut who, mut seqs, mut names, mut bases, shapes, lengths, text] = columns;
    let mut operations = Operations { shapes, lengths, text, components: 0 };
    let mut habits = FxHashMap::<u64, Habit>::default();
    let mut last = 0;
    let mut rows = Vec::new();
    let mut steps = Vec::new();
    while !who.is_empty() {
        if rows.len() == ROWS_MAX {
            return Err(DecodeError::TooLong);
        }
        last = who.difference(last)?;
        let session = *at_index(&sessions, last)?;
        let habit = habits.entry(last).or_default();
        let seq = Seq(seqs.difference(habit.seq.wrapping_add(1))?);
        let name = names.difference(habit.author)?;
        let author = at_index(&authors, name)?.clone();
        // The place of the row among the others is not known before all are: see below.
        steps.push(bases.difference(0)?);
        let op = operations.next(habit.caret)?;
        let base = Revision::default();
        let row = WindowRow { session, seq, author, base, op };
        habit.follow(&row, name);
        rows.push(row);
    }
    [seqs, names, bases].iter().try_for_each(Cursor::end)?;
    operations.end()?;
    let first = parent_of_first(head, rows.len());
    for (parent, (row, step)) in (0..).zip(rows.iter_mut().zip(steps)) {
        row.base = Revision(first.wrapping_add(parent).wrapping_add(step));
    }
    Ok(rows)
}

/// Is what a session's next batch is expected to be, judged by its last.
#[derive(Default)]
struct Habit {
    seq: u64,
    author: u64,
    /// The place in the text where the session wrote last.
    caret: u64,
}

impl Habit {
    fn follow(&mut self, row: &WindowRow, author: u64) {
        self.seq = row.seq.0;
        self.author = author;
        self.caret = row.op.last_insert_end().unwrap_or_else(|| match row.op.components() {
            [Component::Retain(chars), ..] => u64::from(*chars),
            [] | [Component::Insert(_) | Component::Delete(_), ..] => 0,
        });
    }
}

/// Numbers values in the order in which they first occur.
struct Dictionary<T> {
    values: Vec<T>,
    indices: FxHashMap<T, u64>,
}

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        Self { values: Vec::new(), indices: FxHashMap::default() }
    }
}

impl<T: Clone + Eq + Hash> Dictionary<T> {
    fn index(&mut self, value: &T) -> u64 {
        if let Some(&index) = self.indices.get(value) {
            return index;
        }
        let index = u64::try_from(self.values.len()).expect("a length fits 64 bits");
        self.values.push(value.clone());
        self.indices.insert(value.clone(), index);
        index
    }
}

impl<T: Clone + Eq + Hash> FromIterator<T> for Dictionary<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let values: Vec<T> = values.into_iter().collect();
        let indices = values.iter().cloned().zip(0..).collect();
        Self { values, indices }
    }
}

/// Reads operations from their three columns.
struct Operations<'a> {
    shapes: Cursor<'a>,
    lengths: Cursor<'a>,
    text: Cursor<'a>,
    components: usize,
}

impl Operations<'_> {
    fn next(&mut self, caret: u64) -> Result<Operation, DecodeError> {
        let count = self.shapes.length()?;
        self.components += count;
        if self.components > COMPONENTS_MAX {
            return Err(DecodeError::TooLong);
        }
        let mut components = Vec::with_capacity(count);
        for (index, &kind) in self.shapes.take(count)?.iter().enumerate() {
            components.push(match kind {
                RETAIN => Component::Retain(self.retain(index, caret)?),
                INSERT => Component::Insert(self.insert()?),
                DELETE => Component::Delete(self.lengths.number_u32()?),
                _ => return Err(DecodeError::Invalid("an unknown component")),
            });
        }
        Operation::from_components(components).map_err(|_| DecodeError::Invalid("a bad operation"))
    }

    fn retain(&mut self, index: usize, caret: u64) -> Result<u32, DecodeError> {
        let chars = match index {
            0 => self.lengths.difference(caret)?,
            _ => self.lengths.number()?,
        };
        u32::try_from(chars).map_err(|_| DecodeError::Invalid("a number over 32 bits"))
    }

    fn insert(&mut self) -> Result<SmolStr, DecodeError> {
        let length = usize::try_from(self.lengths.number()?).map_err(|_| DecodeError::Truncated)?;
        let text = str::from_utf8(self.text.take(length)?)
            .map_err(|_| DecodeError::Invalid("text that is not UTF-8"))?;
        Ok(SmolStr::new(text))
    }

    fn end(&self) -> Result<(), DecodeError> {
        [&self.shapes, &self.lengths, &self.text].into_iter().try_for_each(Cursor::end)
    }
}

fn write_operation(columns: [&mut Column; 3], op: &Operation, caret: u64) {
    let [shapes, lengths, text] = columns;
    shapes.length(op.components().len());
    for (index, component) in op.components().iter().enumerate() {
        match component {
            Component::Retain(chars) => {
                shapes.fixed(&[RETAIN]);
                match index {
                    0 => lengths.difference(caret, u64::from(*chars)),
                    _ => lengths.number(u64::from(*chars)),
                }
            }
            Component::Insert(inserted) => {
                shapes.fixed(&[INSERT]);
                lengths.length(inserted.len());
                text.fixed(inserted.as_bytes());
            }
            Component::Delete(chars) => {
                shapes.fixed(&[DELETE]);
                lengths.number(u64::from(*chars));
            }
        }
    }
}

fn newest_within_limits(window: &[WindowRow]) -> &[WindowRow] {
    let (mut components, mut bytes) = (0, 0);
    let fits = |row: &&WindowRow| {
        components += row.op.components().len();
        bytes += row.op.components().iter().map(inserted_bytes).sum::<usize>();
        components <= COMPONENTS_MAX && bytes <= TEXT_BYTES_MAX
    };
    let rows = window.iter().rev().take(ROWS_MAX).take_while(fits).count();
    &window[window.len() - rows..]
}

fn inserted_bytes(component: &Component) -> usize {
    match component {
        Component::Insert(text) => text.len(),
        Component::Retain(_) | Component::Delete(_) => 0,
    }
}

/// Returns the revision before the first of `rows` that end at `head`.
fn parent_of_first(head: Revision, rows: usize) -> u64 {
    head.0.wrapping_sub(u64::try_from(rows).expect("a length fits 64 bits"))
}

fn read_authors(bytes: &[u8]) -> Result<Vec<Author>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let mut authors = Vec::new();
    while !cursor.is_empty() {
        authors.push(author(cursor.text()?)?);
    }
    Ok(authors)
}

fn at_index<T>(values: &[T], index: u64) -> Result<&T, DecodeError> {
    usize::try_from(index)
        .ok()
        .and_then(|index| values.get(index))
        .ok_or(DecodeError::Invalid("an index beyond the end"))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    const HEAD: Revision = Revision(5_000);

    fn written(known: &[SessionId], window: &[WindowRow]) -> Vec<u8> {
        let mut out = Column::default();
        write(&mut out, known.iter().copied(), window, HEAD);
        out.into_vec()
    }

    fn check(known: &[SessionId], window: &[WindowRow]) -> usize {
        let bytes = written(known, window);
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(read(&mut cursor, known.iter().copied(), HEAD).as_deref(), Ok(window));
        assert!(cursor.is_empty());
        bytes.len()
    }

    /// Types `text` with pauses, a character a revision, wrong ones taken back.
    fn typing(rng: &mut StdRng, text: &str, revisions: u64) -> Vec<WindowRow> {
        let first = HEAD.0 - revisions + 1;
        let mut caret = 800;
        let mut chars = text.chars().cycle();
        (first..=HEAD.0)
            .map(|rev| {
                let op = if rng.random_bool(0.06) {
                    caret -= 1;
                    Operation::builder().retain(caret).delete(1).build()
                } else {
                    caret += 1;
                    let typed = chars.next().unwrap().to_string();
                    Operation::builder().retain(caret - 1).insert(&typed).build()
                };
                let (session, author) = (SessionId([5; 16]), "ada".parse().unwrap());
                let (seq, base) = (Seq(rev - first + 90), Revision(rev - 1));
                WindowRow { session, seq, author, base, op }
            })
            .collect()
    }

    fn anything(rng: &mut StdRng) -> WindowRow {
        let mut op = Operation::builder();
        for _ in 0..rng.random_range(0..6) {
            op = match rng.random_range(0..3) {
                0 => op.retain(rng.random_range(1..1_000)),
                1 => op.insert(
                    ["x", "é🦀", "\r\n", "a longer piece of text than fits inline"]
                        [rng.random_range(0..4)],
                ),
                _ => op.delete(rng.random_range(1..9)),
            };
        }
        WindowRow {
            session: SessionId([rng.random_range(0..5); 16]),
            seq: Seq(rng.random()),
            author: ["", "ada", "bob"][rng.random_range(0..3)].parse().unwrap(),
            base: Revision(rng.random()),
            op: op.build(),
        }
    }

    #[test]
    fn any_rows_round_trip() {
        for seed in 0..200 {
            let rng = &mut StdRng::seed_from_u64(seed);
            let known: Vec<SessionId> =
                (0..rng.random_range(0..4)).map(|n| SessionId([n; 16])).collect();
            let rows: Vec<WindowRow> =
                (0..rng.random_range(0..40)).map(|_| anything(rng)).collect();
            check(&known, &rows);
        }
    }

    #[test]
    fn a_thousand_typed_characters_take_less_than_4_kib() {
        let text = "Writers who cannot see each other's screens must never lose a word, \
            however slow the line between them is; that is all that this program is for. ";
        let rows = typing(&mut StdRng::seed_from_u64(1), text, 1_000);
        let bytes = check(&[], &rows);
        assert!(bytes < 4_096, "{bytes}");
        assert_eq!(
            check(&[SessionId([5; 16])], &rows),
            bytes - 16,
            "a known session costs nothing"
        );
    }

    #[test]
    fn of_too_many_rows_the_newest_are_kept() {
        let row = anything(&mut StdRng::seed_from_u64(1));
        let mut rows = vec![row; ROWS_MAX + 3];
        rows[3].seq = Seq(77);
        let bytes = written(&[], &rows);
        let read = read(&mut Cursor::new(&bytes), [].into_iter(), HEAD).unwrap();
        assert_eq!(read, rows[3..]);
    }

    #[test]
    fn an_index_beyond_the_end_is_refused() {
        let rows = [anything(&mut StdRng::seed_from_u64(1))];
        let bytes = written(&[rows[0].session], &rows);
        let read = read(&mut Cursor::new(&bytes), [].into_iter(), HEAD);
        assert_eq!(read, Err(DecodeError::Invalid("an index beyond the end")));
    }
}
