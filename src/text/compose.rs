//! Joins two operations in a row into one.

use std::borrow::{Borrow, Cow};

use crate::text::cursor::{Cursor, Part};
use crate::text::op::{Builder, Operation};

/// Returns the operation that does `a` and then `b`, which was made on the text after `a`.
#[must_use]
pub fn compose(a: &Operation, b: &Operation) -> Operation {
    if a.is_identity() {
        return b.clone();
    }
    if b.is_identity() {
        return a.clone();
    }
    let mut out = Builder::default();
    let (mut first, mut second) = (Cursor::new(a), Cursor::new(b));
    loop {
        match (first.part, second.part) {
            (Part::End, _) => {
                second.drain_into(&mut out);
                break;
            }
            (_, Part::End) => {
                first.drain_into(&mut out);
                break;
            }
            (Part::Delete(chars), _) => {
                out.push_delete(chars);
                first.advance();
            }
            (_, Part::Insert(text)) => {
                text.taken().push_to(&mut out);
                second.advance();
            }
            (Part::Retain(a), Part::Retain(b)) => {
                let both = a.min(b);
                out.push_retain(both);
                first.take(both);
                second.take(both);
            }
            (Part::Retain(a), Part::Delete(b)) => {
                let both = a.min(b);
                out.push_delete(both);
                first.take(both);
                second.take(both);
            }
            (Part::Insert(text), Part::Retain(b)) => {
                let (taken, chars) = first.take_text(text, b);
                taken.push_to(&mut out);
                second.take(chars);
            }
            (Part::Insert(text), Part::Delete(b)) => {
                let (_, chars) = first.take_text(text, b);
                second.take(chars);
            }
        }
    }
    out.build()
}

/// Returns the operation that does all of them in a row; by halves, so that each part of them is
/// looked at as often as their number can be halved.
#[must_use]
pub fn compose_all<O: Borrow<Operation>>(ops: &[O]) -> Operation {
    halves(ops).into_owned()
}

/// Composes without a copy of those that are one half by themselves.
fn halves<O: Borrow<Operation>>(ops: &[O]) -> Cow<'_, Operation> {
    match ops {
        [] => Cow::Owned(Operation::identity()),
        [op] => Cow::Borrowed(op.borrow()),
        _ => {
            let (first, second) = ops.split_at(ops.len() / 2);
            Cow::Owned(compose(&halves(first), &halves(second)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_inside_an_insert_is_part_of_it() {
        let a = Operation::builder().retain(2).insert("héllo").build();
        let b = Operation::builder().retain(3).delete(2).insert("😀").retain(2).delete(1).build();
        let both = Operation::builder().retain(2).insert("h😀lo").delete(1).build();
        assert_eq!(compose(&a, &b), both);
    }

    #[test]
    fn what_is_put_in_and_taken_out_leaves_nothing() {
        let a = Operation::builder().retain(2).insert("abc").build();
        let b = Operation::builder().retain(2).delete(3).build();
        assert!(compose(&a, &b).is_identity());
    }
}
