//! The limits and times of checkpoints in CQL; not how they are read or checked (`config` does
//! that).

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// Holds the settings of checkpoints in CQL, section `[cql]` of the file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// How many nodes keep each row, in every datacenter, where the keyspace is created: 1 to 9;
    /// default 3.
    pub replication_factor: u32,
    /// How many of them must answer; default `quorum`.
    pub consistency: Consistency,
    /// How long a request may take: 100 ms to 1 m; default 5 s.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
    /// How long unreachable servers are tried at the start: 1 s to 1 h; default 60 s.
    #[serde(with = "humantime_serde")]
    pub open_timeout: Duration,
    /// The name to log in with; empty where no log-in is asked for, as by default.
    pub user: String,
    /// The file that holds the password, and nothing else.
    pub password_file: PathBuf,
    /// The file of certificates, in PEM, that sign those of the servers; empty where the
    /// connection is plain, as by default.
    pub tls_ca_file: PathBuf,
}

/// Says how many of the nodes that keep a row must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consistency {
    /// More than half, over all datacenters.
    #[default]
    Quorum,
    /// More than half in the nearest datacenter.
    LocalQuorum,
    /// One: for one machine only.
    One,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            replication_factor: 3,
            consistency: Consistency::Quorum,
            request_timeout: Duration::from_secs(5),
            open_timeout: Duration::from_secs(60),
            user: String::new(),
            password_file: PathBuf::new(),
            tls_ca_file: PathBuf::new(),
        }
    }
}
