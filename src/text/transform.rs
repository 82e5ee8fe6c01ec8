//! Rebasing: rewrites one operation to apply after another that was made on the same text.

use crate::text::cursor::{Cursor, Part};
use crate::text::op::{Builder, Operation};

/// Tells where an insert goes when another one is at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Before the other.
    Left,
    /// After the other.
    Right,
}

impl Side {
    /// Returns the side of the other insert.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Rewrites `x` to apply after `y`, where both were made on the same text; where both insert at one
/// place, `x`'s insert goes to `side` of `y`'s.
///
/// With opposite sides the two orders end alike: `y` then `transform(x, y, side)` gives the text
/// that `x` then `transform(y, x, side.opposite())` gives.
#[must_use]
pub fn transform(x: &Operation, y: &Operation, side: Side) -> Operation {
    if x.is_identity() || y.is_identity() {
        return x.clone();
    }
    let mut out = Builder::default();
    let (mut xs, mut ys) = (Cursor::new(x), Cursor::new(y));
    loop {
        match (xs.part, ys.part) {
            (Part::End, _) => break,
            (_, Part::End) => {
                xs.drain_into(&mut out);
                break;
            }
            (Part::Insert(text), Part::Insert(_)) if side == Side::Left => {
                text.taken().push_to(&mut out);
                xs.advance();
            }
            (_, Part::Insert(text)) => {
                out.push_retain(text.chars());
                ys.advance();
            }
            (Part::Insert(text), Part::Retain(_) | Part::Delete(_)) => {
                text.taken().push_to(&mut out);
                xs.advance();
            }
            (Part::Retain(a), Part::Retain(b)) => {
                let both = a.min(b);
                out.push_retain(both);
                xs.take(both);
                ys.take(both);
            }
            (Part::Delete(a), Part::Retain(b)) => {
                let both = a.min(b);
                out.push_delete(both);
                xs.take(both);
                ys.take(both);
            }
            (Part::Retain(a) | Part::Delete(a), Part::Delete(b)) => {
                let both = a.min(b);
                xs.take(both);
                ys.take(both);
            }
        }
    }
    out.build()
}

/// Tells whether two operations on the same text insert at one place, so that the side decides
/// what [`transform`] returns.
#[must_use]
pub fn collides(x: &Operation, y: &Operation) -> bool {
    let (mut xs, mut ys) = (Cursor::new(x), Cursor::new(y));
    loop {
        match (xs.part, ys.part) {
            (Part::Insert(_), Part::Insert(_)) => return true,
            (Part::End, _) | (_, Part::End) => return false,
            (Part::Insert(_), Part::Retain(_) | Part::Delete(_)) => xs.advance(),
            (Part::Retain(_) | Part::Delete(_), Part::Insert(_)) => ys.advance(),
            (Part::Retain(a) | Part::Delete(a), Part::Retain(b) | Part::Delete(b)) => {
                let both = a.min(b);
                xs.take(both);
                ys.take(both);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::apply;

    fn build(edit: impl FnOnce(Builder) -> Builder) -> Operation {
        edit(Operation::builder()).build()
    }

    #[test]
    fn a_tie_goes_to_the_side() {
        let x = build(|b| b.retain(1).insert("x"));
        let y = build(|b| b.retain(1).insert("yy"));
        assert_eq!(transform(&x, &y, Side::Left), x);
        assert_eq!(transform(&x, &y, Side::Right), build(|b| b.retain(3).insert("x")));
        assert!(collides(&x, &y));
    }

    #[test]
    fn inserts_at_different_places_do_not_collide() {
        let x = build(|b| b.retain(1).insert("x").delete(2));
        for y in [
            build(|b| b.insert("y").delete(1)),
            build(|b| b.retain(2).insert("y")),
            build(|b| b.delete(5)),
            Operation::identity(),
        ] {
            assert!(!collides(&x, &y) && !collides(&y, &x), "{y:?}");
            assert_eq!(transform(&x, &y, Side::Left), transform(&x, &y, Side::Right));
            assert_eq!(transform(&y, &x, Side::Left), transform(&y, &x, Side::Right));
        }
    }

    #[test]
    fn both_orders_of_overlapping_edits_end_alike() {
        let text = "a😀b\r\nc";
        let x = build(|b| b.retain(1).delete(3).insert("X").retain(1).insert("e\u{301}"));
        let y = build(|b| b.insert("Y").delete(2).retain(2).insert("Z"));
        let after_x = apply(&x, text).unwrap();
        let after_y = apply(&y, text).unwrap();
        let (y_then, x_then) = (transform(&y, &x, Side::Right), transform(&x, &y, Side::Left));
        assert_eq!(apply(&y_then, &after_x).unwrap(), "YXZ\ne\u{301}c");
        assert_eq!(apply(&x_then, &after_y).unwrap(), "YXZ\ne\u{301}c");
    }
}
