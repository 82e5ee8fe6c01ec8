//! Carries a place in a text through an operation.

use crate::text::chars::chars_of;
use crate::text::op::{Component, Operation};
use crate::text::transform::Side;

/// Returns where the place before character `at` is after the operation; `side` is the side of an
/// insert at the same place on which it stays. A place in deleted text goes to where that was.
#[must_use]
pub fn map_position(at: u64, op: &Operation, side: Side) -> u64 {
    // Both at the same point of the operation, which is never past `at`.
    let (mut before, mut after) = (0u64, 0u64);
    for component in op.components() {
        match component {
            Component::Retain(chars) => {
                let chars = u64::from(*chars);
                if at < before + chars {
                    break;
                }
                before += chars;
                after += chars;
            }
            Component::Insert(text) => {
                if at == before && side == Side::Left {
                    return after;
                }
                after += u64::from(chars_of(text));
            }
            Component::Delete(chars) => {
                let chars = u64::from(*chars);
                if at < before + chars {
                    return after;
                }
                before += chars;
            }
        }
    }
    after + (at - before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_moves_with_the_text_around_it() {
        // 0 1 2 | "ab" for 3 4 | 5 | "😀" | 6 ...
        let op = Operation::builder().retain(3).insert("ab").delete(2).retain(1).insert("😀");
        let op = op.build();
        for (at, left, right) in
            [(0, 0, 0), (2, 2, 2), (3, 3, 5), (4, 5, 5), (5, 5, 5), (6, 6, 7), (9, 10, 10)]
        {
            assert_eq!(map_position(at, &op, Side::Left), left, "{at} left");
            assert_eq!(map_position(at, &op, Side::Right), right, "{at} right");
        }
    }
}
