//! What was set where: the file, the environment and the flags, not yet judged.
//!
//! An environment variable is `QUIRE_`, the section, two underscores, and the key with `_` for `-`:
//! `QUIRE_DOCUMENT__IDLE_AFTER`. One without a section that is nothing like a known key is not ours
//! (a cluster manager sets `QUIRE_PORT` where a service has the name) and is left alone.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::error::{Mistake, Origin};
use crate::config::kind::Written;
use crate::config::nearest::nearest;
use crate::config::options::{OPTIONS, SECTIONS};

const PREFIX: &str = "QUIRE_";

/// Names where a configuration is read from; later fields win.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, if one was named.
    pub file: Option<PathBuf>,
    /// The environment's variables, also those of others.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags.
    pub flags: Flags,
}

/// Holds the flags that set options.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// Each `--set`, as given: `section.key=value`.
    pub set: Vec<String>,
    /// Each option's own flag that was given: its key, and its value.
    pub own: Vec<(&'static str, String)>,
}

/// Holds one value that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    /// The key as it was meant, known or not.
    pub(crate) key: String,
    /// The value.
    pub(crate) written: Written,
    /// Where.
    pub(crate) origin: Origin,
}

/// Reads all that was set, in the order of precedence, lowest first.
pub(crate) fn read(sources: &Sources, mistakes: &mut Vec<Mistake>) -> Vec<Raw> {
    let mut raws = Vec::new();
    if let Some(path) = &sources.file {
        match fs::read_to_string(path) {
            Ok(text) => read_file(path, &text, &mut raws, mistakes),
            Err(error) => {
                let what = format!("it cannot be read ({error}): name a readable file");
                let origin = Origin::File { path: path.clone(), line: None };
                mistakes.push(Mistake { origin, key: String::new(), what });
            }
        }
    }
    read_environment(&sources.environment, &mut raws, mistakes);
    read_flags(&sources.flags, &mut raws, mistakes);
    raws
}

/// Spells the environment variable of a key.
pub(crate) fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").replace('-', "_").to_uppercase())
}

fn read_file(path: &Path, text: &str, raws: &mut Vec<Raw>, mistakes: &mut Vec<Mistake>) {
    let origin = |at: usize| {
        let line = 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        Origin::File { path: path.to_owned(), line: Some(line) }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        let what = format!("not TOML: {}", error.message());
        mistakes.push(Mistake { origin: origin(at), key: String::new(), what });
    }
    let mut places = Vec::new();
    for (key, value) in table.get_ref() {
        let is_section = SECTIONS.iter().any(|(name, _)| name == key.get_ref());
        match value.get_ref() {
            DeValue::Table(section) if is_section => {
                for (inner, value) in section {
                    let full = format!("{}.{}", key.get_ref(), inner.get_ref());
                    places.push((inner.span().start, full, value));
                }
            }
            _ if is_section => {
                let what = format!("it is a section: write [{}]", key.get_ref());
                let key = key.get_ref().to_string();
                mistakes.push(Mistake { origin: origin(value.span().start), key, what });
            }
            _ => places.push((key.span().start, key.get_ref().to_string(), value)),
        }
    }
    places.sort_by_key(|(at, ..)| *at);
    let found = places.into_iter();
    raws.extend(found.map(|(at, key, value)| Raw {
        key,
        written: written(value),
        origin: origin(at),
    }));
}

fn written(value: &Spanned<DeValue<'_>>) -> Written {
    match value.get_ref() {
        DeValue::String(text) => Written::Quoted(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Written::Number(number),
            Err(_) => Written::Other("so large a number"),
        },
        DeValue::Float(_) => Written::Other("a fraction"),
        DeValue::Boolean(on) => Written::Truth(*on),
        DeValue::Datetime(_) => Written::Other("a date"),
        DeValue::Array(_) => Written::Other("a list"),
        DeValue::Table(_) => Written::Other("a table"),
    }
}

fn read_environment(
    variables: &[(OsString, OsString)],
    raws: &mut Vec<Raw>,
    mistakes: &mut Vec<Mistake>,
) {
    let mut ours: Vec<(String, &OsString)> = variables
        .iter()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    ours.sort();
    for (name, value) in ours {
        let key = name[PREFIX.len()..].to_lowercase().replace("__", ".").replace('_', "-");
        let known = OPTIONS.iter().map(|option| option.key);
        if !key.contains('.') && nearest(&key, known).is_none() {
            continue;
        }
        let origin = Origin::Environment(name);
        match value.to_str() {
            Some(text) => raws.push(Raw { key, written: Written::Bare(text.to_owned()), origin }),
            None => {
                let what = "the value is not UTF-8".to_owned();
                mistakes.push(Mistake { origin, key, what });
            }
        }
    }
}

fn read_flags(flags: &Flags, raws: &mut Vec<Raw>, mistakes: &mut Vec<Mistake>) {
    for set in &flags.set {
        let origin = Origin::Flag("--set".to_owned());
        match set.split_once('=') {
            Some((key, value)) => raws.push(Raw {
                key: key.trim().to_owned(),
                written: Written::Bare(value.to_owned()),
                origin,
            }),
            None => {
                let what = format!("{set:?} sets nothing: write section.key=value");
                mistakes.push(Mistake { origin, key: String::new(), what });
            }
        }
    }
    for (key, value) in &flags.own {
        raws.push(Raw {
            key: (*key).to_owned(),
            written: Written::Bare(value.clone()),
            origin: Origin::Flag(format!("--{key}")),
        });
    }
}
