//! Where a decoder of client JSON stands, so that it can name the field it refuses.
//!
//! serde's errors are text; the code of a refusal and the field's name travel beside them, in
//! cells that are written on the way down and read only when decoding failed.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, de};

use crate::wire::field::{self, Field};
use crate::wire::{Limits, Refusal};

/// Follows one frame's decoding.
pub(crate) struct Context<'a> {
    pub(crate) limits: &'a Limits,
    at: Cell<&'static Field>,
    component: Cell<Option<usize>>,
    refusal: Cell<Option<Refusal>>,
}

impl<'a> Context<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        let (component, refusal) = (Cell::new(None), Cell::new(None));
        Self { limits, at: Cell::new(&field::FRAME), component, refusal }
    }

    /// Steps to a component of the operation.
    pub(crate) fn enter_component(&self, index: usize) {
        self.component.set(Some(index));
    }

    /// Steps out of the last component.
    pub(crate) fn leave_components(&self) {
        self.component.set(None);
    }

    /// Refuses the frame; the error only ends serde's work.
    pub(crate) fn refuse<E: de::Error>(&self, refusal: Refusal) -> E {
        self.refusal.set(Some(refusal));
        E::custom("refused")
    }

    /// Reads on to the next field of `known`, over fields that are not.
    pub(crate) fn next<'de, A: MapAccess<'de>>(
        &self,
        map: &mut A,
        known: &[&'static Field],
    ) -> Result<Option<&'static Field>, A::Error> {
        loop {
            self.at.set(&field::FRAME);
            match map.next_key_seed(Known(known))? {
                None => return Ok(None),
                Some(None) => map.next_value::<Skipped>().map(drop)?,
                Some(Some(field)) => {
                    self.at.set(field);
                    return Ok(Some(field));
                }
            }
        }
    }

    /// Reads the value of the field that [`Self::next`] returned.
    pub(crate) fn fill<'de, A: MapAccess<'de>, S: DeserializeSeed<'de>>(
        &self,
        map: &mut A,
        slot: &mut Option<S::Value>,
        seed: S,
    ) -> Result<(), A::Error> {
        if slot.is_some() {
            return Err(self.refuse(self.at.get().twice()));
        }
        *slot = Some(map.next_value_seed(seed)?);
        Ok(())
    }

    /// Returns what a field holds, or refuses the message for lacking it.
    pub(crate) fn need<T, E: de::Error>(
        &self,
        slot: Option<T>,
        field: &'static Field,
    ) -> Result<T, E> {
        slot.ok_or_else(|| self.refuse(field.missing()))
    }

    /// Turns serde's error into the refusal that goes with it.
    pub(crate) fn refusal(self, error: &serde_json::Error) -> Refusal {
        if let Some(refusal) = self.refusal.into_inner() {
            return refusal;
        }
        let at = self.at.get();
        match (error.is_data(), self.component.get()) {
            (true, Some(index)) => field::bad_component(index, field::COMPONENT),
            (true, None) => at.refusal(),
            (false, Some(index)) if !error.is_eof() => {
                field::bad_component(index, &format!("is not JSON: {error}"))
            }
            (false, _) if error.is_eof() => field::FRAME.because(&format!("is cut off: {error}")),
            (false, _) => at.because(&format!("is not JSON: {error}")),
        }
    }
}

/// Reads a key: the known field that it names, if any.
struct Known<'a>(&'a [&'static Field]);

impl<'de> DeserializeSeed<'de> for Known<'_> {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Self::Value, D::Error> {
        key.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Known<'_> {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|field| field.key == key).copied())
    }
}

/// The value of an unknown field. Unlike serde's `IgnoredAny` it is read as JSON, so that serde
/// refuses what is nested too deep.
struct Skipped;

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        value.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Skipped {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        while list.next_element::<Self>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, Self>()?.is_some() {}
        Ok(self)
    }
}

/// Reads a value that may be null: null counts as absent.
pub(crate) struct Maybe<S>(pub(crate) S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Maybe<S> {
    type Value = Option<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        value.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for Maybe<S> {
    type Value = Option<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        self.0.deserialize(value).map(Some)
    }
}

/// Reads a string as a value of `T`.
pub(crate) struct Parsed<T>(PhantomData<T>);

impl<T> Parsed<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: std::str::FromStr> DeserializeSeed<'de> for Parsed<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<T, D::Error> {
        value.deserialize_str(self)
    }
}

impl<T: std::str::FromStr> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(|_| E::custom("not as it must be"))
    }
}

/// Reads a whole number in a range.
#[derive(Clone, Copy)]
pub(crate) struct Number {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

impl<'de> DeserializeSeed<'de> for Number {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<u64, D::Error> {
        value.deserialize_u64(self)
    }
}

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        let fits = (self.min..=self.max).contains(&number);
        if fits { Ok(number) } else { Err(E::custom("out of range")) }
    }
}
