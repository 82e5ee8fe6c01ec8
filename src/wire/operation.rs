//! Operations inside the serde derives of `frame`: binary both ways, JSON to be read.
//!
//! A component is an enum on the wire: 0 retain, 1 insert, 2 delete, then its number or text.

use std::cell::Cell;
use std::fmt;
use std::iter;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::{Component, Invalid, Operation};
use crate::wire::json::component::ComponentSeed;
use crate::wire::{Limits, Refusal, field};

/// A component in the binary encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Part<'a> {
    Retain(u32),
    Insert(&'a str),
    Delete(u32),
}

impl<'a> From<&'a Component> for Part<'a> {
    fn from(component: &'a Component) -> Self {
        match component {
            Component::Retain(n) => Self::Retain(*n),
            Component::Insert(text) => Self::Insert(text),
            Component::Delete(n) => Self::Delete(*n),
        }
    }
}

impl From<Part<'_>> for Component {
    fn from(part: Part<'_>) -> Self {
        match part {
            Part::Retain(n) => Self::Retain(n),
            Part::Insert(text) => Self::Insert(text.into()),
            Part::Delete(n) => Self::Delete(n),
        }
    }
}

/// Lends an operation to the binary encoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lent<'a>(pub(crate) &'a Operation);

impl Serialize for Lent<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let components = self.0.components();
        let mut list = serializer.serialize_seq(Some(components.len()))?;
        for component in components {
            list.serialize_element(&Part::from(component))?;
        }
        list.end()
    }
}

pub(crate) fn serialize<S: Serializer>(op: &Operation, serializer: S) -> Result<S::Ok, S::Error> {
    Lent(op).serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Operation, D::Error> {
    Read::deserialize(from).map(|read| read.0)
}

/// The same for an operation that may be absent.
pub(crate) mod optional {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::text::Operation;
    use crate::wire::operation::{Lent, Read};

    pub(crate) fn serialize<S: Serializer>(
        op: &Option<Operation>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        op.as_ref().map(Lent).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Operation>, D::Error> {
        Ok(Option::<Read>::deserialize(from)?.map(|read| read.0))
    }
}

/// An operation as a server sent it.
struct Read(Operation);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let human = deserializer.is_human_readable();
        deserializer.deserialize_seq(Parts { human }).map(Self)
    }
}

struct Parts {
    human: bool,
}

impl<'de> Visitor<'de> for Parts {
    type Value = Operation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an operation")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Operation, A::Error> {
        if self.human {
            collect(|| list.next_element_seed(ComponentSeed), A::Error::custom)
        } else {
            let next = || Ok(list.next_element::<Part<'_>>()?.map(Component::from));
            collect(next, A::Error::custom)
        }
    }
}

/// Builds an operation from components as they are decoded; the first error ends it.
pub(crate) fn collect<E>(
    mut next: impl FnMut() -> Result<Option<Component>, E>,
    invalid: impl FnOnce(Invalid) -> E,
) -> Result<Operation, E> {
    let failed = Cell::new(None);
    let op = Operation::from_components(iter::from_fn(|| {
        next().unwrap_or_else(|error| {
            failed.set(Some(error));
            None
        })
    }));
    match failed.into_inner() {
        Some(error) => Err(error),
        None => op.map_err(invalid),
    }
}

/// Counts what a client's operation holds against the limits.
#[derive(Debug)]
pub(crate) struct Tally<'a> {
    limits: &'a Limits,
    components: usize,
    bytes: usize,
}

impl<'a> Tally<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self { limits, components: 0, bytes: 0 }
    }

    /// Returns the index of the next component.
    pub(crate) fn index(&self) -> usize {
        self.components
    }

    /// Counts one more component.
    ///
    /// # Errors
    /// A [`Refusal`] if it is one too many or inserts too much.
    pub(crate) fn add(&mut self, component: &Component) -> Result<(), Refusal> {
        let Limits { op_components, op_bytes, .. } = *self.limits;
        self.components += 1;
        if let Component::Insert(text) = component {
            self.bytes += text.len();
        }
        if self.components > op_components {
            Err(field::too_many_components(op_components))
        } else if self.bytes > op_bytes {
            Err(field::too_much_text(op_bytes))
        } else {
            Ok(())
        }
    }
}
