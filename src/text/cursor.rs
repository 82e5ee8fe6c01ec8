//! Walks an operation's components in parts of any length.

use std::slice::Iter;

use smol_str::SmolStr;

use crate::text::chars::{chars_of, split_at_char};
use crate::text::op::{Builder, Component, Operation};

/// Stands somewhere in an operation, also in the middle of a component.
pub(in crate::text) struct Cursor<'a> {
    /// What is left of the component that the cursor stands in.
    pub(in crate::text) part: Part<'a>,
    next: Iter<'a, Component>,
}

/// A component, or what is left of it.
#[derive(Clone, Copy)]
pub(in crate::text) enum Part<'a> {
    Retain(u32),
    Insert(Inserted<'a>),
    Delete(u32),
    /// The operation is over: everything that follows is kept.
    End,
}

/// An insert, or what is left of it.
#[derive(Clone, Copy)]
pub(in crate::text) struct Inserted<'a> {
    whole: &'a SmolStr,
    /// Where the rest begins, in bytes.
    from: usize,
}

impl<'a> Cursor<'a> {
    pub(in crate::text) fn new(op: &'a Operation) -> Self {
        let mut next = op.components().iter();
        Self { part: Part::of(next.next()), next }
    }

    /// Goes to the next component.
    pub(in crate::text) fn advance(&mut self) {
        self.part = Part::of(self.next.next());
    }

    /// Takes `taken` of the `chars` characters of the retain or delete that the cursor stands in.
    pub(in crate::text) fn take(&mut self, taken: u32) {
        match &mut self.part {
            Part::Retain(chars) | Part::Delete(chars) if *chars > taken => *chars -= taken,
            Part::Retain(_) | Part::Delete(_) => self.advance(),
            Part::Insert(_) | Part::End => unreachable!("an insert is taken by take_text"),
        }
    }

    /// Takes up to `chars` characters of the insert that the cursor stands in; returns them and
    /// how many they are.
    pub(in crate::text) fn take_text(
        &mut self,
        text: Inserted<'a>,
        chars: u32,
    ) -> (Taken<'a>, u32) {
        let rest = text.rest();
        match split_at_char(rest, chars) {
            Some((taken, after)) if !after.is_empty() => {
                let from = text.from + taken.len();
                self.part = Part::Insert(Inserted { whole: text.whole, from });
                (Taken::Part(taken), chars)
            }
            Some(_) | None => {
                self.advance();
                (text.taken(), chars_of(rest))
            }
        }
    }

    /// Appends all that is left to `out`.
    pub(in crate::text) fn drain_into(self, out: &mut Builder) {
        match self.part {
            Part::Retain(chars) => out.push_retain(chars),
            Part::Insert(text) => text.taken().push_to(out),
            Part::Delete(chars) => out.push_delete(chars),
            Part::End => {}
        }
        for component in self.next {
            out.push(component);
        }
    }
}

impl<'a> Part<'a> {
    fn of(component: Option<&'a Component>) -> Self {
        match component {
            None => Self::End,
            Some(Component::Retain(chars)) => Self::Retain(*chars),
            Some(Component::Insert(whole)) => Self::Insert(Inserted { whole, from: 0 }),
            Some(Component::Delete(chars)) => Self::Delete(*chars),
        }
    }
}

impl<'a> Inserted<'a> {
    pub(in crate::text) fn chars(self) -> u32 {
        chars_of(self.rest())
    }

    /// Returns all that is left as taken text.
    pub(in crate::text) fn taken(self) -> Taken<'a> {
        if self.from == 0 { Taken::Whole(self.whole) } else { Taken::Part(self.rest()) }
    }

    fn rest(self) -> &'a str {
        &self.whole[self.from..]
    }
}

/// Text taken from an insert; a whole one can be shared.
pub(in crate::text) enum Taken<'a> {
    Whole(&'a SmolStr),
    Part(&'a str),
}

impl Taken<'_> {
    pub(in crate::text) fn len(&self) -> usize {
        match self {
            Self::Whole(text) => text.len(),
            Self::Part(text) => text.len(),
        }
    }

    pub(in crate::text) fn push_to(&self, out: &mut Builder) {
        match self {
            Self::Whole(text) => out.push_insert(text),
            Self::Part(text) => out.push_part(text),
        }
    }
}
