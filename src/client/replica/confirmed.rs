//! The confirmed text: what the server has at the replica's revision.
//!
//! The view is not stored; it is this text and two operations. So a keystroke costs nothing here,
//! and a remote one the logarithm of the text's length.

use crate::text::{Operation, OutOfBounds, Rope, diff};

/// Tells how much of the text a replica keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// All of it.
    Text,
    /// Only its length: enough to write and to follow, for programs that make load.
    Length,
}

#[derive(Debug)]
pub(in crate::client::replica) enum Confirmed {
    Text(Rope),
    Length(u64),
}

impl Confirmed {
    pub(in crate::client::replica) fn empty(keep: Keep) -> Self {
        match keep {
            Keep::Text => Self::Text(Rope::new("")),
            Keep::Length => Self::Length(0),
        }
    }

    pub(in crate::client::replica) fn chars(&self) -> u64 {
        match self {
            Self::Text(rope) => rope.chars(),
            Self::Length(chars) => *chars,
        }
    }

    /// Returns the text, if it is kept.
    pub(in crate::client::replica) fn text(&self) -> Option<String> {
        match self {
            Self::Text(rope) => Some(rope.to_string()),
            Self::Length(_) => None,
        }
    }

    pub(in crate::client::replica) fn apply(&mut self, op: &Operation) -> Result<(), OutOfBounds> {
        match self {
            Self::Text(rope) => rope.apply(op),
            Self::Length(chars) => {
                *chars = op.chars_after(*chars)?;
                Ok(())
            }
        }
    }

    /// Returns an operation that leads to `text`: a replacement where only the length is kept.
    pub(in crate::client::replica) fn difference(&self, text: &str) -> Operation {
        match self {
            Self::Text(rope) => diff(&rope.to_string(), text),
            Self::Length(chars) => {
                let chars = u32::try_from(*chars).unwrap_or(u32::MAX);
                Operation::builder().insert(text).delete(chars).build()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_length_agree() {
        let mut text = Confirmed::empty(Keep::Text);
        let mut length = Confirmed::empty(Keep::Length);
        for (op, expected) in [
            (Operation::builder().insert("a😀\r\nb"), "a😀\r\nb"),
            (Operation::builder().retain(1).delete(3).insert("é"), "aéb"),
            (
                Operation::builder().retain(2).insert("e\u{301}").retain(1).insert("."),
                "aée\u{301}b.",
            ),
        ] {
            let op = op.build();
            text.apply(&op).unwrap();
            length.apply(&op).unwrap();
            assert_eq!(text.text().as_deref(), Some(expected));
            assert_eq!((text.chars(), length.text()), (length.chars(), None));
        }
        let past_end = Operation::builder().retain(6).delete(1).build();
        for confirmed in [&mut text, &mut length] {
            assert_eq!(confirmed.apply(&past_end), Err(OutOfBounds { needs: 7, has: 6 }));
            assert_eq!(confirmed.difference("new").chars_after(6), Ok(3));
        }
    }
}
