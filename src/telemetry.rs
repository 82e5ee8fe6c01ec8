//! Logs to stderr, and one metrics registry for each node; not what is logged or counted.
//!
//! The subscriber of logs is the process's and set by the binary alone. Registries are values:
//! many nodes live in one process.

use prometheus::{IntGauge, Opts};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Collects the metrics of one node.
pub use prometheus::Registry;

/// Holds how logs are written, section `[telemetry]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// What is logged: a level, or levels by module; default `info`. See [`filter`].
    pub log_level: String,
    /// How a line is written; default `text`.
    pub log_format: LogFormat,
}

/// Names the form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// One line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Tells why telemetry could not be set up or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter of levels is none.
    #[error(
        "{given:?} is no log filter: write a level, or levels by module (info,quire::log=debug)"
    )]
    Filter {
        /// What was given.
        given: String,
    },
    /// The process has a subscriber already.
    #[error("logs were set up before in this process")]
    Subscriber,
}

impl Default for Config {
    fn default() -> Self {
        Self { log_level: "info".to_owned(), log_format: LogFormat::Text }
    }
}

/// Reads a filter: directives separated by commas, each a level (`info`) or a module and its level
/// (`quire::log=debug`).
///
/// A bare word that is no level is refused: `tracing` would take a mistyped level for a module.
///
/// # Errors
/// [`Error::Filter`] if it is none.
pub fn filter(given: &str) -> Result<EnvFilter, Error> {
    let refused = || Error::Filter { given: given.to_owned() };
    let bad = |word: &str| match word.contains(['=', '[']) {
        true => false,
        false => word.is_empty() || word.parse::<LevelFilter>().is_err(),
    };
    if given.split(',').map(str::trim).any(bad) {
        return Err(refused());
    }
    EnvFilter::builder().parse(given).map_err(|_| refused())
}

/// Sends the logs of this process to stderr from now on.
///
/// # Errors
/// [`Error::Filter`] if the level is none, [`Error::Subscriber`] if it was called before.
pub fn start_logs(config: &Config) -> Result<(), Error> {
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter(&config.log_level)?)
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().try_init(),
    }
    .map_err(|_| Error::Subscriber)
}

/// Returns a new registry that holds only `quire_build_info`.
///
/// # Panics
/// Never: the one metric is valid and the registry is empty.
pub fn registry() -> Registry {
    let registry = Registry::new();
    let opts = Opts::new("quire_build_info", "The version that runs; its value is always 1.")
        .const_label("version", env!("CARGO_PKG_VERSION"));
    let info = IntGauge::with_opts(opts).expect("name and label are valid");
    info.set(1);
    registry.register(Box::new(info)).expect("the registry is empty");
    registry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_or_levels_by_module() {
        for good in ["info", "OFF", "warn,quire::log=debug", "quire[doc{id=1}]=trace"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["", "inof", "info,", "quire::log", "quire=loud", "info;debug"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn each_node_has_its_own_registry() {
        let (one, other) = (registry(), registry());
        let count = prometheus::IntCounter::new("quire_test_total", "Counts.").expect("valid");
        one.register(Box::new(count.clone())).expect("new");
        count.inc_by(7);
        let names = |registry: &Registry| -> Vec<String> {
            registry.gather().iter().map(|family| family.name().to_owned()).collect()
        };
        assert_eq!(names(&one), ["quire_build_info", "quire_test_total"]);
        assert_eq!(names(&other), ["quire_build_info"]);
    }
}
