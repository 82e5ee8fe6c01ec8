//! How a node takes part in a cluster; not how it is read or checked (`config` does that).

use std::time::Duration;

use serde::Deserialize;

/// Holds what a node says of itself, section `[cluster]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// Where others reach its clients' port, `host:port`; default: where it listens.
    pub advertise_client: String,
    /// Where other nodes reach its peer port, `host:port`; default: where it listens.
    pub advertise_peer: String,
    /// Where operators reach its admin port, `host:port`; default: where it listens.
    pub advertise_admin: String,
    /// Its share of the shards: 1 to 100; default 10.
    pub weight: u32,
    /// The time that 99 of 100 acknowledgements are to take at most, 10 ms to 1 m: where a node's
    /// take longer for 7 s, no shard begins to move; default 500 ms.
    #[serde(with = "humantime_serde")]
    pub ack_objective: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            advertise_client: String::new(),
            advertise_peer: String::new(),
            advertise_admin: String::new(),
            weight: 10,
            ack_objective: Duration::from_millis(500),
        }
    }
}
