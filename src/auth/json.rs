//! JSON of strangers, strictly: a member that is there twice is seen, at every depth. Readers that
//! keep the first one and readers that keep the last one would see two different tokens in it.
//!
//! Depth is bounded by `serde_json` (128), length by the caller.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// The latest moment that a token may name, in seconds: the end of the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// Is a value as it was spelled; the members of an object in their order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool,
    Whole(u64),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Tells why bytes are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadJson {
    /// They are no JSON, or too deep.
    Malformed,
    /// An object has a member twice.
    Twice,
}

impl Json {
    /// Reads one value and nothing behind it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, BadJson> {
        let json: Self = serde_json::from_slice(bytes).map_err(|_| BadJson::Malformed)?;
        if json.has_twins() { Err(BadJson::Twice) } else { Ok(json) }
    }

    /// Returns a member of an object.
    pub(crate) fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Returns the text, if it is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool | Self::Whole(_) | Self::Number(_) => None,
            Self::List(_) | Self::Object(_) => None,
        }
    }

    /// Returns a moment in whole seconds since 1970, if it is one before the year 10000.
    pub(crate) fn seconds(&self) -> Option<u64> {
        let seconds = match self {
            Self::Whole(seconds) => *seconds,
            // The range is checked below; what is no number or too great becomes an end of u64.
            Self::Number(seconds) if *seconds >= 0.0 => *seconds as u64,
            Self::Null | Self::Bool | Self::Number(_) | Self::Text(_) => return None,
            Self::List(_) | Self::Object(_) => return None,
        };
        (seconds <= SECONDS_MAX).then_some(seconds)
    }

    fn has_twins(&self) -> bool {
        match self {
            Self::Object(members) => {
                let names: BTreeSet<_> = members.iter().map(|(name, _)| name).collect();
                names.len() < members.len() || members.iter().any(|(_, value)| value.has_twins())
            }
            Self::List(values) => values.iter().any(Self::has_twins),
            Self::Null | Self::Bool | Self::Whole(_) | Self::Number(_) | Self::Text(_) => false,
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsSpelled)
    }
}

struct AsSpelled;

impl<'de> Visitor<'de> for AsSpelled {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Bool)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Whole(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Json::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = values.next_element()? {
            list.push(value);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(member) = members.next_entry()? {
            object.push(member);
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_is_there_twice_is_seen_wherever_it_is() {
        let twice = [
            r#"{"a":1,"a":1}"#,
            r#"{"b":[{"a":1,"c":2,"a":3}]}"#,
            r#"{"exp":1,"e\u0078p":2}"#,
            r#"[{"":1,"":2}]"#,
        ];
        for text in twice {
            assert_eq!(Json::parse(text.as_bytes()), Err(BadJson::Twice), "{text}");
        }
        assert!(Json::parse(br#"{"a":{"a":{"a":[]}},"A":null}"#).is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(Json::parse(deep(100).as_bytes()).is_ok());
        assert_eq!(Json::parse(deep(4_000).as_bytes()), Err(BadJson::Malformed));
        for bad in ["", "{", "{} {}", "{'a':1}", "\u{feff}{}", "NaN", "\"\\ud800\""] {
            assert_eq!(Json::parse(bad.as_bytes()), Err(BadJson::Malformed), "{bad:?}");
        }
        assert_eq!(Json::parse(b"\"\xff\""), Err(BadJson::Malformed));
    }

    #[test]
    fn moments_are_whole_seconds_of_our_era() {
        let seconds = |text: &str| Json::parse(text.as_bytes()).ok()?.seconds();
        assert_eq!(seconds("0"), Some(0));
        assert_eq!(seconds("1700000000.9"), Some(1_700_000_000));
        assert_eq!(seconds("253402300799"), Some(SECONDS_MAX));
        for bad in ["-1", "-0.1", "253402300800", "18446744073709551615", "1e308", "\"1\"", "null"]
        {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
