//! A long text that is edited again and again: each edit costs the logarithm of its length.

use std::fmt;

use jumprope::JumpRope;

use crate::text::error::OutOfBounds;
use crate::text::op::{Component, Operation};

/// A text that operations are applied to in place.
#[derive(Debug)]
pub struct Rope(Box<JumpRope>);

impl Rope {
    /// Begins with a text.
    pub fn new(text: &str) -> Self {
        Self(Box::new(JumpRope::from(text)))
    }

    /// Returns its length in Unicode scalar values.
    pub fn chars(&self) -> u64 {
        self.0.len_chars() as u64
    }

    /// Returns the text piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.0.substrings()
    }

    /// Applies an operation.
    ///
    /// # Errors
    /// [`OutOfBounds`]; nothing is changed.
    pub fn apply(&mut self, op: &Operation) -> Result<(), OutOfBounds> {
        op.chars_after(self.chars())?;
        let mut at = 0;
        for component in op.components() {
            match component {
                Component::Retain(chars) => at += *chars as usize,
                Component::Insert(text) => {
                    self.0.insert(at, text);
                    at += text.chars().count();
                }
                Component::Delete(chars) => self.0.remove(at..at + *chars as usize),
            }
        }
        Ok(())
    }
}

impl fmt::Display for Rope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pieces().try_for_each(|piece| f.write_str(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::apply;

    #[test]
    fn a_rope_becomes_what_a_string_does() {
        let mut text = "a😀\r\nb".to_owned();
        let mut rope = Rope::new(&text);
        let ops = [
            Operation::builder().retain(1).delete(3).insert("é"),
            Operation::builder().retain(2).insert("e\u{301}").retain(1).insert("."),
        ];
        for op in ops {
            let op = op.build();
            text = apply(&op, &text).unwrap();
            rope.apply(&op).unwrap();
            assert_eq!(
                (rope.to_string(), rope.chars()),
                (text.clone(), text.chars().count() as u64)
            );
        }
        let past_end = Operation::builder().delete(1).retain(6).delete(1).build();
        assert_eq!(rope.apply(&past_end), Err(OutOfBounds { needs: 8, has: 6 }));
        assert_eq!(rope.to_string(), text);
    }
}
