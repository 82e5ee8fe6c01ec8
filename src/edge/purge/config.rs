//! Which caches are told of changes, and how; not how that is read or checked (`config` does that).

use std::time::Duration;

use serde::Deserialize;

/// Says which caches in front of the cluster are told that a public document's page has changed,
/// section `[purge]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where they are told, with `{doc}` for the document; several with spaces between them.
    /// Empty, the default: nobody is told.
    pub caches: String,
    /// How: `PURGE`, `BAN` or `POST`; default `PURGE`.
    pub method: String,
    /// Time for which changes of one document are gathered: 0 s to 10 s; default 250 ms.
    #[serde(with = "humantime_serde")]
    pub debounce: Duration,
    /// Time for an answer: 100 ms to 1 m; default 2 s.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Documents that may wait for one cache: 1 to 1,000,000; default 10,000.
    pub documents_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            caches: String::new(),
            method: "PURGE".to_owned(),
            debounce: Duration::from_millis(250),
            timeout: Duration::from_secs(2),
            documents_max: 10_000,
        }
    }
}
