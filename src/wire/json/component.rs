//! One component of an operation in JSON: a number, a string, or `{"d": n}`.
//!
//! Nothing else may stand in the object: a reader that ignored a part of an edit would no longer
//! have the same text as the others.

use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use smol_str::SmolStr;

use crate::text::Component;

/// Reads one component.
#[derive(Clone, Copy)]
pub(crate) struct ComponentSeed;

impl<'de> DeserializeSeed<'de> for ComponentSeed {
    type Value = Component;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Component, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ComponentSeed {
    type Value = Component;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a component")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Component, E> {
        count(number).map(Component::Retain)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Component, E> {
        if text.is_empty() {
            return Err(E::custom("an empty insert"));
        }
        Ok(Component::Insert(SmolStr::new(text)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Component, A::Error> {
        let Some((Key::Delete, number)) = map.next_entry()? else {
            return Err(A::Error::custom("an empty object"));
        };
        match map.next_key()? {
            Some(Key::Delete) => Err(A::Error::custom("a second d")),
            None => count(number).map(Component::Delete),
        }
    }
}

/// The only key of a deletion.
#[derive(Deserialize)]
enum Key {
    #[serde(rename = "d")]
    Delete,
}

fn count<E: Error>(number: u64) -> Result<u32, E> {
    let number = u32::try_from(number).ok().filter(|number| *number > 0);
    number.ok_or_else(|| E::custom("out of range"))
}
