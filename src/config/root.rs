//! The `Config` of a node: what stands at the top of the file, and each module's own `Config`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;

use crate::types::NodeId;
use crate::{doc, edge, shard, telemetry};

/// Holds everything that can be set of a node. What [`load`](crate::config::load) returns is
/// checked; ranges are not looked at again.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Config {
    /// The node's name; default `quire-1`.
    pub node: NodeId,
    /// The folder of the embedded log and checkpoints; default `./data`.
    pub data: PathBuf,
    /// The address and port for HTTP and WebSocket; default `127.0.0.1:8080`. Port 0: any free.
    pub listen: SocketAddr,
    /// Where the log is kept; default `embedded`.
    pub log: Engine,
    /// Where checkpoints are kept; default `embedded`.
    pub checkpoints: Engine,
    /// Shards of the log: 1 to 65,536, fixed when the data folder is made; default 16.
    pub shards: u32,
    /// Limits and times of a document.
    pub document: doc::Config,
    /// Limits of a shard.
    pub shard: shard::Config,
    /// Limits and times of the network edge.
    pub edge: edge::Config,
    /// Logs.
    pub telemetry: telemetry::Config,
}

/// Names what keeps the log or the checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// In the data folder.
    #[default]
    Embedded,
    /// In memory: gone when the process ends.
    Memory,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: NodeId("quire-1".parse().expect("it is a name")),
            data: PathBuf::from("./data"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            log: Engine::Embedded,
            checkpoints: Engine::Embedded,
            shards: 16,
            document: doc::Config::default(),
            shard: shard::Config::default(),
            edge: edge::Config::default(),
            telemetry: telemetry::Config::default(),
        }
    }
}
