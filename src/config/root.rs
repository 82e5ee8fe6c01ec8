//! The `Config` of a node: what stands at the top of the file, and each module's own `Config`.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use crate::types::NodeId;
use crate::{admin, auth, checkpoint, cluster, doc, edge, log, relay, shard, telemetry};

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
    /// The address and port for other nodes of a cluster; none by default: the node is alone.
    #[serde(deserialize_with = "address_or_none")]
    pub peer_listen: Option<SocketAddr>,
    /// The address and port for operators; none by default.
    #[serde(deserialize_with = "address_or_none")]
    pub admin_listen: Option<SocketAddr>,
    /// Where the log is kept; default `embedded`.
    pub log: Engine,
    /// Where checkpoints are kept; default `embedded`.
    pub checkpoints: Engine,
    /// Shards of the log: 1 to 65,536, fixed when it is made; default 0: those that it has.
    pub shards: u32,
    /// Whether checkpoints of another log are served, without what only that log had; default
    /// false.
    pub adopt_log: bool,
    /// Limits and times of a document.
    pub document: doc::Config,
    /// Limits of a shard.
    pub shard: shard::Config,
    /// Limits and times of the network edge.
    pub edge: edge::Config,
    /// Whom the node lets in.
    pub auth: auth::Config,
    /// Which caches are told of changes.
    pub purge: edge::PurgeConfig,
    /// What the node says of itself in a cluster.
    pub cluster: cluster::Config,
    /// Limits of the admin port.
    pub admin: admin::Config,
    /// Limits and times of links between nodes.
    pub relay: relay::Config,
    /// How Kafka is used, where the log is there.
    pub kafka: log::kafka::Config,
    /// How CQL is used, where checkpoints are there.
    pub cql: checkpoint::cql::Config,
    /// Logs.
    pub telemetry: telemetry::Config,
}

/// Reads an address; an empty text is none.
fn address_or_none<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

impl Config {
    /// Returns how many shards the log must have, where that is said.
    pub fn shards(&self) -> Option<u32> {
        (self.shards > 0).then_some(self.shards)
    }
}

/// Names what keeps the log or the checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Engine {
    /// In the data folder.
    #[default]
    Embedded,
    /// In memory: gone when the process ends.
    Memory,
    /// In Apache Kafka.
    Kafka(Remote),
    /// In ScyllaDB or Apache Cassandra.
    Cql(Remote),
}

/// Says where servers are, and what is kept there under which name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The servers, `host:port` each.
    pub hosts: Vec<String>,
    /// The name: the prefix of topics, or the keyspace.
    pub name: String,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Memory => f.write_str("memory"),
            Self::Kafka(Remote { hosts, name }) => write!(f, "kafka://{}/{name}", hosts.join(",")),
            Self::Cql(Remote { hosts, name }) => write!(f, "cql://{}/{name}", hosts.join(",")),
        }
    }
}

impl Remote {
    /// Reads `HOST[:PORT],.../NAME`.
    fn parse(text: &str, port: u16) -> Option<Self> {
        let (hosts, name) = text.split_once('/')?;
        let letter = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let named = (1..=48).contains(&name.len()) && name.chars().all(letter);
        let host = |host: &str| {
            let letter = |c: char| c.is_ascii_alphanumeric() || ".-_:[]".contains(c);
            let well = !host.is_empty() && host.chars().all(letter);
            let with_port = if host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']')) {
                host.to_owned()
            } else {
                format!("{host}:{port}")
            };
            let numbered = with_port.rsplit_once(':')?.1.parse::<u16>().is_ok();
            (well && numbered).then_some(with_port)
        };
        let hosts = hosts.split(',').map(host).collect::<Option<Vec<_>>>()?;
        named.then(|| Self { hosts, name: name.to_owned() })
    }
}

impl TryFrom<String> for Engine {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "embedded" => Ok(Self::Embedded),
            "memory" => Ok(Self::Memory),
            other => match other.split_once("://") {
                Some(("kafka", rest)) => Remote::parse(rest, 9092).map(Self::Kafka),
                Some(("cql", rest)) => Remote::parse(rest, 9042).map(Self::Cql),
                _ => None,
            }
            .ok_or("is no address"),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node: NodeId("quire-1".parse().expect("it is a name")),
            data: PathBuf::from("./data"),
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            peer_listen: None,
            admin_listen: None,
            log: Engine::Embedded,
            checkpoints: Engine::Embedded,
            shards: 0,
            adopt_log: false,
            document: doc::Config::default(),
            shard: shard::Config::default(),
            edge: edge::Config::default(),
            auth: auth::Config::default(),
            purge: edge::PurgeConfig::default(),
            cluster: cluster::Config::default(),
            admin: admin::Config::default(),
            relay: relay::Config::default(),
            kafka: log::kafka::Config::default(),
            cql: checkpoint::cql::Config::default(),
            telemetry: telemetry::Config::default(),
        }
    }
}
