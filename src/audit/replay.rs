//! A document's text, made from the accepted log alone.

use jumprope::JumpRope;
use xxhash_rust::xxh3::Xxh3;

use crate::text::{Component, Operation, OutOfBounds};

/// Holds the text at a document's head.
#[derive(Debug)]
pub(crate) struct Replay {
    rope: Box<JumpRope>,
}

impl Replay {
    /// Begins with a text.
    pub(crate) fn new(text: &str) -> Self {
        Self { rope: Box::new(JumpRope::from(text)) }
    }

    /// Goes one revision on.
    pub(crate) fn apply(&mut self, op: &Operation) -> Result<(), OutOfBounds> {
        op.chars_after(self.rope.len_chars() as u64)?;
        let mut at = 0;
        for component in op.components() {
            match component {
                Component::Retain(chars) => at += *chars as usize,
                Component::Insert(text) => {
                    self.rope.insert(at, text);
                    at += text.chars().count();
                }
                Component::Delete(chars) => self.rope.remove(at..at + *chars as usize),
            }
        }
        Ok(())
    }

    /// Hashes the text as segments do; it costs the length of the text.
    pub(crate) fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        self.rope.substrings().for_each(|part| hash.update(part.as_bytes()));
        hash.digest()
    }
}
