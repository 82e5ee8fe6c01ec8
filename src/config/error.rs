//! Mistakes of a configuration: where each one is and what would be right.

use std::fmt;
use std::path::PathBuf;

/// Tells where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file; the line is missing where the file as a whole is meant.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: Option<usize>,
    },
    /// An environment variable, by its name.
    Environment(String),
    /// A flag, as it is written: `--listen`.
    Flag(String),
}

/// Tells one thing that is wrong: where, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was set.
    pub origin: Origin,
    /// The key with its section, empty where not one key is meant.
    pub key: String,
    /// What is wrong and what is allowed.
    pub what: String,
}

/// Tells everything that is wrong with a configuration, in the order file, environment, flags.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, what } = self;
        match key.as_str() {
            "" => write!(f, "{origin}: {what}"),
            key => write!(f, "{origin}: {key}: {what}"),
        }
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 mistake in the configuration")?,
            count => write!(f, "{count} mistakes in the configuration")?,
        }
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}
