//! The flags of every command that takes a configuration.

use std::path::PathBuf;

use crate::config::{Flags, Loaded, Mistakes, Sources, load};

/// Holds the flags; each wins over the environment, which wins over the file.
#[derive(Debug, clap::Args)]
pub(crate) struct Settings {
    /// Configuration file; `quire config example` prints one
    #[arg(long, value_name = "FILE", env = "QUIRE_CONFIG")]
    config: Option<PathBuf>,
    /// Address and port to serve on [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address and port for the other nodes of a cluster [default: none, the node is alone]
    #[arg(long, value_name = "ADDRESS")]
    peer_listen: Option<String>,
    /// Address and port for operators of a cluster, without log-in [default: none]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Folder of the embedded log and checkpoints [default: ./data]
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// Where the log is kept: embedded, memory or kafka://HOSTS/PREFIX [default: embedded]
    #[arg(long, value_name = "ENGINE")]
    log: Option<String>,
    /// Where checkpoints are kept: embedded, memory or cql://HOSTS/KEYSPACE [default: embedded]
    #[arg(long, value_name = "ENGINE")]
    checkpoints: Option<String>,
    /// Name of the node [default: quire-1]
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Shards of a new log [default: 16, in Kafka 256]
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// Create the topic where it is missing
    #[arg(long)]
    create_topics: bool,
    /// Take a topic with one replica: on one machine, where nothing else is
    #[arg(long)]
    allow_single_replica: bool,
    /// Serve checkpoints of another log, without what only that log had
    #[arg(long)]
    adopt_log: bool,
    /// Let everybody do everything, for trying out; on loopback it is so without keys
    #[arg(long)]
    open: bool,
    /// With --open: also where strangers reach the node
    #[arg(long)]
    open_public: bool,
    /// Any option: document.idle-after=5m; may be given more than once
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

impl Settings {
    /// Reads and checks the configuration.
    pub(crate) fn load(&self) -> Result<Loaded, Mistakes> {
        let own = [
            ("listen", &self.listen),
            ("peer-listen", &self.peer_listen),
            ("admin-listen", &self.admin_listen),
            ("data", &self.data),
            ("log", &self.log),
            ("checkpoints", &self.checkpoints),
            ("node", &self.node),
            ("shards", &self.shards),
            ("adopt-log", &on(self.adopt_log)),
            ("auth.open", &on(self.open)),
            ("auth.open-public", &on(self.open_public)),
            ("kafka.create-topics", &on(self.create_topics)),
            ("kafka.allow-single-replica", &on(self.allow_single_replica)),
        ];
        let given = own.into_iter().filter_map(|(key, value)| Some((key, value.clone()?)));
        let flags = Flags { set: self.set.clone(), own: given.collect() };
        let environment = std::env::vars_os().collect();
        load(&Sources { file: self.config.clone(), environment, flags })
    }
}

/// Spells a flag that is given.
fn on(given: bool) -> Option<String> {
    given.then(|| "true".to_owned())
}
