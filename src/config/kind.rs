//! The kinds of value an option takes: reading one as it was written, and saying what is allowed.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytesize::ByteSize;
use humantime_serde::re::humantime::parse_duration;

use crate::config::root::Engine;
use crate::edge::Networks;
use crate::telemetry;
use crate::types::DocId;

const DAY: Duration = Duration::from_hours(24);
const SHOWN_CHARS_MAX: usize = 60;

/// Says what an option may be set to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// A name of the alphabet of document ids.
    Name,
    /// A folder.
    Folder,
    /// An IP address and a port.
    Address,
    /// An IP address and a port, or nothing.
    AddressOrNone,
    /// IP addresses and networks, or nothing.
    Networks,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or an address of the given scheme.
    Engine(&'static [&'static str], &'static str),
    /// On or off.
    Switch,
    /// Any text.
    Text,
    /// A whole number of the unit.
    Count { unit: &'static str, min: u64, max: u64 },
    /// A number of bytes.
    Size { min: ByteSize, max: ByteSize },
    /// A duration.
    Span { min: Duration, max: Duration },
    /// Log levels.
    Levels,
}

/// Holds a value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Written {
    /// Text in quotes, in a file.
    Quoted(String),
    /// True or false, in a file.
    Truth(bool),
    /// A whole number, in a file.
    Number(i64),
    /// What no option takes, named by its type: a list, a date, ...
    Other(&'static str),
    /// What a variable or flag holds: text without a type.
    Bare(String),
}

impl Kind {
    /// Reads a value as a value of TOML that the `Config` takes, or tells what is wrong with it.
    pub(crate) fn read(self, written: &Written) -> Result<toml::Value, String> {
        let refused = |why: &str| format!("{written} {why}: write {self}");
        let text = match written {
            Written::Quoted(text) => text.as_str(),
            Written::Bare(text) => text.trim(),
            Written::Truth(on) if matches!(self, Self::Switch) => return Ok((*on).into()),
            Written::Truth(_) | Written::Other(_) => return Err(refused("does not fit")),
            Written::Number(number) => return self.read_number(*number).map_err(|e| refused(&e)),
        };
        let outside = "is out of range";
        match self {
            Self::Name if text.parse::<DocId>().is_err() => Err(refused("is no name")),
            Self::Folder if text.is_empty() => Err(refused("is no folder")),
            Self::Address if text.parse::<SocketAddr>().is_err() => Err(refused("is no address")),
            Self::AddressOrNone if !text.is_empty() && text.parse::<SocketAddr>().is_err() => {
                Err(refused("is no address"))
            }
            Self::Networks if text.parse::<Networks>().is_err() => {
                Err(refused("is no list of networks"))
            }
            Self::Word(words) if !words.contains(&text) => Err(refused("is not known")),
            Self::Engine(_, scheme) if text.starts_with(scheme) && !is_built(scheme) => {
                let feature = scheme.trim_end_matches("://");
                Err(format!("{written} is not built in: build with --features {feature}"))
            }
            Self::Engine(_, scheme) if text.starts_with(scheme) => {
                match Engine::try_from(text.to_owned()) {
                    Ok(_) => Ok(toml::Value::from(text)),
                    Err(why) => Err(refused(why)),
                }
            }
            Self::Engine(words, _) if !words.contains(&text) => Err(refused("is not known")),
            Self::Switch => match text.parse::<bool>() {
                Ok(on) => Ok(toml::Value::from(on)),
                Err(_) => Err(refused("is neither")),
            },
            Self::Levels if telemetry::filter(text).is_err() => Err(refused("is no log filter")),
            Self::Count { .. } if matches!(written, Written::Quoted(_)) => {
                Err(refused("is text, not a number"))
            }
            Self::Count { .. } => {
                let number = text.parse().map_err(|_| refused("is no number"))?;
                self.read_number(number).map_err(|e| refused(&e))
            }
            Self::Size { min, max } => match text.parse::<ByteSize>() {
                Ok(size) if (min..=max).contains(&size) => Ok(toml::Value::from(text)),
                Ok(_) => Err(refused(outside)),
                Err(_) => Err(refused("is no size")),
            },
            Self::Span { min, max } => match parse_duration(text) {
                Ok(span) if (min..=max).contains(&span) => Ok(toml::Value::from(text)),
                Ok(_) => Err(refused(outside)),
                Err(_) if text.parse::<f64>().is_ok() => Err(refused("has no unit")),
                Err(_) => Err(refused("is no duration")),
            },
            Self::Name
            | Self::Folder
            | Self::Address
            | Self::AddressOrNone
            | Self::Networks
            | Self::Word(_)
            | Self::Engine(..)
            | Self::Text
            | Self::Levels => Ok(toml::Value::from(text)),
        }
    }

    fn read_number(self, number: i64) -> Result<toml::Value, String> {
        let (min, max) = match self {
            Self::Count { min, max, .. } => (min, max),
            Self::Size { min, max } => (min.as_u64(), max.as_u64()),
            Self::Span { .. } => return Err("has no unit".to_owned()),
            Self::Name
            | Self::Folder
            | Self::Address
            | Self::AddressOrNone
            | Self::Networks
            | Self::Word(_)
            | Self::Engine(..)
            | Self::Switch
            | Self::Text
            | Self::Levels => return Err("is a number, not text".to_owned()),
        };
        match u64::try_from(number) {
            Ok(inside) if (min..=max).contains(&inside) => Ok(toml::Value::from(number)),
            _ => Err("is out of range".to_owned()),
        }
    }

    /// Measures a value that was read: its count, bytes or nanoseconds.
    pub(crate) fn amount(self, value: &toml::Value) -> Option<u128> {
        match (self, value) {
            (_, toml::Value::Integer(number)) => u128::try_from(*number).ok(),
            (Self::Size { .. }, toml::Value::String(text)) => {
                text.parse::<ByteSize>().ok().map(|size| size.as_u64().into())
            }
            (Self::Span { .. }, toml::Value::String(text)) => {
                parse_duration(text).ok().map(|span| span.as_nanos())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("a name, 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -"),
            Self::Folder => f.write_str("a folder, from the working directory if relative"),
            Self::AddressOrNone => {
                f.write_str("an IP address and a port, like \"127.0.0.1:8090\", or \"\" for none")
            }
            Self::Address => {
                f.write_str("an IP address and a port, like \"127.0.0.1:8080\" or \"[::]:8080\"")
            }
            Self::Networks => f.write_str(
                "IP addresses and networks, like \"10.0.0.0/8, 192.0.2.7\", or \"\" for none",
            ),
            Self::Word(words) => f.write_str(&quoted(words)),
            Self::Engine(words, scheme) => {
                write!(f, "{} or \"{scheme}HOST:PORT,.../NAME\"", quoted(words))
            }
            Self::Switch => f.write_str("true or false"),
            Self::Text => f.write_str("text"),
            Self::Count { unit, min, max } => write!(f, "a number of {unit} from {min} to {max}"),
            Self::Size { min, max } => {
                write!(f, "a size from {} to {}", spell_size(*min), spell_size(*max))
            }
            Self::Span { min, max } => {
                write!(f, "a duration from {} to {}", spell_span(*min), spell_span(*max))
            }
            Self::Levels => f.write_str(
                "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\", or levels by \
                 module, like \"info,quire::log=debug\"",
            ),
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Truth(on) => write!(f, "{on}"),
            Self::Other(kind) => f.write_str(kind),
            Self::Quoted(text) | Self::Bare(text) => match text.char_indices().nth(SHOWN_CHARS_MAX)
            {
                Some((end, _)) => write!(f, "{:?}...", &text[..end]),
                None => write!(f, "{text:?}"),
            },
        }
    }
}

fn quoted(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
    quoted.join(" or ")
}

/// Tells whether this program was built with what an address of the scheme needs.
fn is_built(scheme: &str) -> bool {
    const BUILT: [(&str, bool); 2] =
        [("kafka://", cfg!(feature = "kafka")), ("cql://", cfg!(feature = "cql"))];
    BUILT.contains(&(scheme, true))
}

/// Spells a size in the largest binary unit that divides it.
fn spell_size(size: ByteSize) -> String {
    let bytes = size.as_u64();
    let units = [(bytesize::TIB, "TiB"), (bytesize::GIB, "GiB"), (bytesize::MIB, "MiB")];
    let unit = units.into_iter().chain([(bytesize::KIB, "KiB")]);
    match unit.into_iter().find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", bytes / unit),
        None => format!("{bytes}B"),
    }
}

/// Spells a duration in the largest unit that divides it.
fn spell_span(span: Duration) -> String {
    let millis = span.as_millis();
    let units = [(DAY.as_millis(), "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(unit, _)| millis.is_multiple_of(*unit) && millis >= *unit) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: Kind, written: &Written, expected: Result<&str, &str>) {
        let read = kind.read(written).map(|value| value.to_string());
        match (&read, expected) {
            (Ok(value), Ok(expected)) => assert_eq!(value, expected, "{written}"),
            (Err(message), Err(expected)) => assert!(message.starts_with(expected), "{message}"),
            _ => panic!("{written}: {read:?}, not {expected:?}"),
        }
    }

    #[test]
    fn values_are_read_or_refused_with_a_reason() {
        let bare = |text: &str| Written::Bare(text.to_owned());
        let quoted = |text: &str| Written::Quoted(text.to_owned());
        let count = Kind::Count { unit: "things", min: 1, max: 20 };
        check(count, &Written::Number(20), Ok("20"));
        check(count, &bare(" 7 "), Ok("7"));
        check(
            count,
            &Written::Number(21),
            Err("21 is out of range: write a number of things from"),
        );
        check(count, &Written::Number(-1), Err("-1 is out of range"));
        check(count, &quoted("7"), Err("\"7\" is text, not a number"));
        check(count, &bare("7.5"), Err("\"7.5\" is no number"));
        check(count, &Written::Other("a list"), Err("a list does not fit"));
        let size = Kind::Size { min: ByteSize::kib(1), max: ByteSize::gib(1) };
        check(size, &quoted("1.5MiB"), Ok("\"1.5MiB\""));
        check(size, &Written::Number(4096), Ok("4096"));
        check(size, &bare("4096"), Ok("\"4096\""));
        check(size, &quoted("99999999EiB"), Err("\"99999999EiB\" is out of range"));
        check(size, &quoted("-1KiB"), Err("\"-1KiB\" is no size"));
        let span = Kind::Span { min: Duration::from_millis(20), max: DAY };
        check(span, &quoted("1m 30s"), Ok("\"1m 30s\""));
        check(span, &bare("10"), Err("\"10\" has no unit: write a duration from 20ms to 1d"));
        check(span, &Written::Number(10), Err("10 has no unit"));
        check(span, &quoted("2d"), Err("\"2d\" is out of range"));
        check(span, &quoted("soon"), Err("\"soon\" is no duration"));
        check(Kind::Address, &bare("localhost:80"), Err("\"localhost:80\" is no address"));
        check(Kind::Address, &bare("[::1]:0"), Ok("\"[::1]:0\""));
        check(Kind::Name, &quoted("a/b"), Err("\"a/b\" is no name"));
        check(Kind::Folder, &bare(""), Err("\"\" is no folder"));
        check(Kind::Folder, &Written::Number(1), Err("1 is a number, not text"));
        check(Kind::Word(&["a", "b"]), &bare("c"), Err("\"c\" is not known: write \"a\" or \"b\""));
        let engine = Kind::Engine(&["memory"], "kafka://");
        if is_built("kafka://") {
            check(engine, &bare("kafka://h,i:7/p"), Ok("\"kafka://h,i:7/p\""));
            for bad in ["kafka://h", "kafka:///p", "kafka://h/", "kafka://h:x/p", "kafka://h/p/q"] {
                check(
                    engine,
                    &bare(bad),
                    Err(&format!("{bad:?} is no address: write \"memory\" or")),
                );
            }
        }
        check(Kind::Switch, &bare("true"), Ok("true"));
        check(Kind::Switch, &quoted("yes"), Err("\"yes\" is neither: write true or false"));
        check(Kind::Levels, &quoted("inof"), Err("\"inof\" is no log filter"));
        let long = "x".repeat(1_000);
        check(count, &bare(&long), Err(&format!("{:?}... is no number", &long[..60])));
    }

    #[test]
    fn bounds_are_spelled_in_the_largest_unit() {
        let day = 86_400_000;
        for (millis, expected) in
            [(0, "0s"), (150, "150ms"), (90_000, "90s"), (600_000, "10m"), (day, "1d")]
        {
            assert_eq!(spell_span(Duration::from_millis(millis)), expected);
        }
        for (bytes, expected) in [(0, "0B"), (1_000, "1000B"), (1 << 20, "1MiB"), (1 << 40, "1TiB")]
        {
            assert_eq!(spell_size(ByteSize(bytes)), expected);
        }
    }
}
