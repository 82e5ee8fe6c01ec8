//! Finds an operation between two texts: lines, then words, then characters, with bounded work.
//!
//! A change never begins or ends between a carriage return and its line feed. The operation need
//! not be the shortest; past the bound a whole stretch is replaced.

use rustc_hash::FxHashMap;

use crate::text::chars::chars_of;
use crate::text::myers::{self, Match};
use crate::text::op::{Builder, Operation};

/// The steps that one call may take looking for common parts: some tens of milliseconds.
const WORK_MAX: usize = 4_000_000;

/// The largest text, in bytes, that is looked at in lines and words.
const BYTES_MAX: usize = 16 << 20;

/// Returns an operation that rewrites `from` into `to`.
#[must_use]
pub fn diff(from: &str, to: &str) -> Operation {
    let mut search = Search { out: Builder::default(), work: WORK_MAX };
    let grain = if from.len().max(to.len()) <= BYTES_MAX { Grain::Lines } else { Grain::Whole };
    search.compare(from, to, grain);
    search.out.build()
}

/// The size of the parts in which two texts are compared.
#[derive(Clone, Copy)]
enum Grain {
    Lines,
    Words,
    /// Only what both ends have in common is kept.
    Whole,
}

struct Search {
    out: Builder,
    work: usize,
}

impl Search {
    fn compare(&mut self, from: &str, to: &str, grain: Grain) {
        let mut prefix = common_prefix(from, to);
        if let Grain::Lines = grain {
            prefix = from[..prefix].rfind('\n').map_or(0, |at| at + 1);
        }
        let (kept, from) = from.split_at(prefix);
        self.retain(kept);
        let to = &to[prefix..];
        let mut suffix = common_suffix(from, to);
        if let Grain::Lines = grain {
            let partial = from[from.len() - suffix..].find('\n').map_or(suffix, |at| at + 1);
            suffix -= partial;
        }
        let (from, kept) = from.split_at(from.len() - suffix);
        self.compare_middle(from, &to[..to.len() - suffix], grain);
        self.retain(kept);
    }

    fn compare_middle(&mut self, from: &str, to: &str, grain: Grain) {
        let (split, finer): (fn(&str) -> Vec<&str>, Grain) = match grain {
            Grain::Lines => (lines, Grain::Words),
            Grain::Words => (words, Grain::Whole),
            Grain::Whole => return self.replace(from, to),
        };
        if from.is_empty() || to.is_empty() {
            return self.replace(from, to);
        }
        let (from, to) = (split(from), split(to));
        let (from_ids, to_ids) = number(&from, &to);
        let found = myers::matches(&from_ids, &to_ids, &mut self.work);
        let end = Match { a: from.len(), b: to.len(), len: 0 };
        let (mut a, mut b) = (0, 0);
        for same in found.unwrap_or_default().into_iter().chain([end]) {
            self.compare(&from[a..same.a].concat(), &to[b..same.b].concat(), finer);
            (a, b) = (same.a + same.len, same.b + same.len);
            from[same.a..a].iter().for_each(|part| self.retain(part));
        }
    }

    fn retain(&mut self, text: &str) {
        self.out.push_retain(chars_of(text));
    }

    fn replace(&mut self, from: &str, to: &str) {
        self.out.push_part(to);
        self.out.push_delete(chars_of(from));
    }
}

/// Numbers the parts of both texts so that equal ones have equal numbers.
fn number<'a>(from: &[&'a str], to: &[&'a str]) -> (Vec<u32>, Vec<u32>) {
    let mut known = FxHashMap::default();
    let mut ids = |parts: &[&'a str]| {
        let mut id = |part: &'a str| {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            *known.entry(part).or_insert(next)
        };
        parts.iter().map(|part| id(part)).collect()
    };
    (ids(from), ids(to))
}

/// Splits after each line feed.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Splits into runs of letters and digits, and single other characters; CR LF counts as one.
fn words(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = if rest.starts_with("\r\n") {
            2
        } else if first.is_alphanumeric() {
            rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (part, after) = rest.split_at(len);
        parts.push(part);
        rest = after;
    }
    parts
}

/// Returns how many bytes both begin with, in whole characters and not after a CR before its LF.
fn common_prefix(a: &str, b: &str) -> usize {
    const BLOCK: usize = 64;
    let blocks = a.as_bytes().chunks_exact(BLOCK).zip(b.as_bytes().chunks_exact(BLOCK));
    let skipped = BLOCK * blocks.take_while(|(a, b)| a == b).count();
    let bytes = a.as_bytes()[skipped..].iter().zip(&b.as_bytes()[skipped..]);
    let len = a.floor_char_boundary(skipped + bytes.take_while(|(a, b)| a == b).count());
    let splits = a[len..].starts_with('\n') || b[len..].starts_with('\n');
    if splits && a[..len].ends_with('\r') { len - 1 } else { len }
}

/// Returns how many bytes both end with, in whole characters and not from an LF after its CR.
fn common_suffix(a: &str, b: &str) -> usize {
    const BLOCK: usize = 64;
    let blocks = a.as_bytes().rchunks_exact(BLOCK).zip(b.as_bytes().rchunks_exact(BLOCK));
    let skipped = BLOCK * blocks.take_while(|(a, b)| a == b).count();
    let left = |text: &str| text.len() - skipped;
    let bytes = a.as_bytes()[..left(a)].iter().rev().zip(b.as_bytes()[..left(b)].iter().rev());
    let len = skipped + bytes.take_while(|(a, b)| a == b).count();
    let len = a.len() - a.ceil_char_boundary(a.len() - len);
    let (a, b) = (a.split_at(a.len() - len), b.split_at(b.len() - len));
    let splits = a.0.ends_with('\r') || b.0.ends_with('\r');
    if splits && a.1.starts_with('\n') { len - 1 } else { len }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Component, apply};

    fn insert(text: &str) -> Component {
        Component::Insert(text.into())
    }

    #[test]
    fn a_small_change_is_found() {
        use Component::{Delete, Retain};
        let check = |from: &str, to: &str, expected: &[Component]| {
            let op = diff(from, to);
            assert_eq!(op.components(), expected, "{from:?} {to:?}");
            assert_eq!(apply(&op, from).as_deref(), Ok(to));
        };
        check("", "", &[]);
        check("abc", "abc", &[]);
        check("", "ab", &[insert("ab")]);
        check("ab", "", &[Delete(2)]);
        check("aa", "aaa", &[Retain(2), insert("a")]);
        check("one two", "one too", &[Retain(5), insert("o"), Delete(1)]);
        check("one two", "ones twos", &[Retain(3), insert("s"), Retain(4), insert("s")]);
        check("a\nb\nc\nd\n", "a\nc\nX\nd\n", &[Retain(2), Delete(2), Retain(2), insert("X\n")]);
    }

    #[test]
    fn characters_and_line_ends_are_never_split() {
        use Component::{Delete, Retain};
        let check = |from: &str, to: &str, expected: &[Component]| {
            assert_eq!(diff(from, to).components(), expected, "{from:?} {to:?}");
        };
        // Both share bytes of the first and last kind with what they are replaced by.
        check("a😀b", "a😁b", &[Retain(1), insert("😁"), Delete(1)]);
        check("aéb", "aèb", &[Retain(1), insert("è"), Delete(1)]);
        check("a\u{e9}", "a\u{129}", &[Retain(1), insert("\u{129}"), Delete(1)]);
        check("a\nb", "a\r\nb", &[Retain(1), insert("\r\n"), Delete(1)]);
        check("a\r\nb", "a\nb", &[Retain(1), insert("\n"), Delete(2)]);
        check("a\rb", "a\r\nb", &[Retain(1), insert("\r\n"), Delete(1)]);
        check("a\r\n", "a\r\n\r\n", &[Retain(3), insert("\r\n")]);
    }

    #[test]
    fn long_texts_that_differ_everywhere_are_replaced() {
        let numbers =
            |range: std::ops::Range<u32>| range.map(|n| format!("{n}\n")).collect::<String>();
        let (from, to) = (numbers(0..20_000), numbers(20_000..40_000));
        let op = diff(&from, &to);
        assert!(op.components().len() <= 5, "{}", op.components().len());
        assert_eq!(apply(&op, &from), Ok(to));
    }

    #[test]
    fn a_few_changes_in_a_long_text_stay_few() {
        let from = (0..20_000).map(|n| format!("line {n}\r\n")).collect::<String>();
        let to = from.replace("line 77\r\n", "").replace("line 15000", "line x");
        let op = diff(&from, &to);
        assert_eq!(apply(&op, &from), Ok(to));
        assert_eq!(op.deleted_chars(), 9 + 5);
    }
}
