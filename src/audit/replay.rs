//! A document's text, made from the accepted log alone.

use xxhash_rust::xxh3::Xxh3;

use crate::text::{Operation, OutOfBounds, Rope};

/// Holds the text at a document's head.
#[derive(Debug)]
pub(crate) struct Replay {
    rope: Rope,
}

impl Replay {
    /// Begins with a text.
    pub(crate) fn new(text: &str) -> Self {
        Self { rope: Rope::new(text) }
    }

    /// Goes one revision on.
    pub(crate) fn apply(&mut self, op: &Operation) -> Result<(), OutOfBounds> {
        self.rope.apply(op)
    }

    /// Hashes the text as segments do; it costs the length of the text.
    pub(crate) fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        self.rope.pieces().for_each(|part| hash.update(part.as_bytes()));
        hash.digest()
    }
}
