//! Runs an operation on a text.

use crate::text::chars::split_at_char;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_past_the_end_is_refused() {
        let op = Operation::builder().retain(2).delete(2).build();
        assert_eq!(apply(&op, "a😀c"), Err(OutOfBounds { needs: 4, has: 3 }));
        assert_eq!(apply(&op, "a😀cd"), Ok("a😀".to_owned()));
    }
}
