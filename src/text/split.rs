//! Splits an operation that is too large for one batch.

use crate::text::cursor::{Cursor, Part};
use crate::text::op::{Builder, Operation};

/// What a component counts besides its text.
const COMPONENT_BYTES: usize = 16;

/// Splits `op` into a first part of about `bytes_max` bytes (its inserts in UTF-8, and 16 for each
/// component) and the rest, to be done after it; the rest is the identity where all fits.
///
/// The first part is never over that, except that it always changes something.
#[must_use]
pub fn split(op: &Operation, bytes_max: usize) -> (Operation, Operation) {
    let (mut first, mut rest) = (Builder::default(), Builder::default());
    let mut cursor = Cursor::new(op);
    let mut room = bytes_max.saturating_sub(COMPONENT_BYTES);
    let mut changes = false;
    loop {
        match cursor.part {
            Part::End => break,
            Part::Retain(_) | Part::Delete(_) if changes && room < COMPONENT_BYTES => break,
            Part::Retain(chars) => {
                first.push_retain(chars);
                rest.push_retain(chars);
                cursor.advance();
            }
            Part::Delete(chars) => {
                first.push_delete(chars);
                cursor.advance();
                changes = true;
            }
            Part::Insert(text) => {
                // At least one character, and no more than have room at their longest.
                let fits = u32::try_from(room / char::MAX_LEN_UTF8).unwrap_or(u32::MAX);
                if changes && fits == 0 {
                    break;
                }
                let (taken, chars) = cursor.take_text(text, fits.max(1));
                taken.push_to(&mut first);
                rest.push_retain(chars);
                room = room.saturating_sub(taken.len());
                changes = true;
            }
        }
        room = room.saturating_sub(COMPONENT_BYTES);
    }
    cursor.drain_into(&mut rest);
    (first.build(), rest.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Component, compose};

    fn bytes(op: &Operation) -> usize {
        let text = |component: &Component| match component {
            Component::Insert(text) => text.len(),
            Component::Retain(_) | Component::Delete(_) => 0,
        };
        op.components().iter().map(|part| COMPONENT_BYTES + text(part)).sum()
    }

    #[test]
    fn the_parts_are_small_and_make_the_whole() {
        let long = "words 😀 and\r\n".repeat(50);
        let mut op = Operation::builder();
        for _ in 0..20 {
            op = op.retain(3).insert("é").delete(2).retain(1).insert(&long);
        }
        let op = op.build();
        for (bytes_max, parts_max) in [(0, 14_000), (48, 4_000), (1_000, 40), (1 << 20, 1)] {
            let (mut all, mut rest) = (Operation::identity(), op.clone());
            let mut parts = 0;
            while !rest.is_identity() {
                let (first, after) = split(&rest, bytes_max);
                assert!(!first.is_identity());
                assert!(bytes_max < 48 || bytes(&first) <= bytes_max, "{}", bytes(&first));
                all = compose(&all, &first);
                rest = after;
                parts += 1;
            }
            assert_eq!(all, op);
            assert!(parts <= parts_max, "{parts} parts of {bytes_max}");
        }
    }
}
