//! Runs an operation on a text.

use crate::text::error::OutOfBounds;
use crate::text::op::{Component, Operation};

/// Returns the text after the operation.
///
/// # Errors
/// If the operation reaches past the end of the text.
pub fn apply(op: &Operation, text: &str) -> Result<String, OutOfBounds> {
    let inserted = |component: &Component| match component {
        Component::Insert(text) => text.len(),
        Component::Retain(_) | Component::Delete(_) => 0,
    };
    let room = text.len() + op.components().iter().map(inserted).sum::<usize>();
    let mut out = String::with_capacity(room);
    let mut rest = text;
    for component in op.components() {
        match component {
            Component::Insert(text) => out.push_str(text),
            Component::Retain(chars) | Component::Delete(chars) => {
                let Some((taken, after)) = split_at_char(rest, *chars) else {
                    let has = text.chars().count() as u64;
                    return Err(OutOfBounds { needs: op.base_chars(), has });
                };
                if matches!(component, Component::Retain(_)) {
                    out.push_str(taken);
                }
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Splits after `chars` characters, if there are so many.
fn split_at_char(text: &str, chars: u32) -> Option<(&str, &str)> {
    /// A block whose characters the compiler counts with a few vector instructions.
    const BLOCK: usize = 64;
    let mut left = usize::try_from(chars).ok()?;
    let mut at = 0;
    for block in text.as_bytes().chunks_exact(BLOCK) {
        let starts = block.iter().map(|byte| u8::from(starts_char(*byte))).sum::<u8>();
        if usize::from(starts) > left {
            break;
        }
        left -= usize::from(starts);
        at += BLOCK;
    }
    // `left` characters more begin at or after `at`; the split is where the next one begins.
    for byte in &text.as_bytes()[at..] {
        if starts_char(*byte) {
            if left == 0 {
                return Some(text.split_at(at));
            }
            left -= 1;
        }
        at += 1;
    }
    (left == 0).then(|| text.split_at(at))
}

/// Tells whether a byte of UTF-8 is the first one of a character.
fn starts_char(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_count_characters_at_every_place() {
        let text = "añ😀e\u{301}\r\n".repeat(40);
        for chars in 0..=text.chars().count() {
            let (left, right) = split_at_char(&text, u32::try_from(chars).unwrap()).unwrap();
            assert_eq!(left.chars().count(), chars);
            assert_eq!(format!("{left}{right}"), text);
        }
        assert_eq!(split_at_char(&text, 281), None);
    }

    #[test]
    fn an_operation_past_the_end_is_refused() {
        let op = Operation::builder().retain(2).delete(2).build();
        assert_eq!(apply(&op, "a😀c"), Err(OutOfBounds { needs: 4, has: 3 }));
        assert_eq!(apply(&op, "a😀cd"), Ok("a😀".to_owned()));
    }
}
