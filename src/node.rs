//! The composition root: the one place that builds and connects.
//!
//! ```text
//! config ─► log, checkpoints ─► shards (claimed) ─► router ─► edge ─► serving ─► drained
//! ```

mod cluster;
mod doors;
mod issuer;
mod keys;
pub mod leave;
pub mod links;
mod metrics;
mod process;
mod revoked;
mod whose;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::try_join_all;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::auth::Revocations;
use crate::checkpoint::{self, Store};
use crate::clock::Clock;
#[cfg(feature = "cql")]
use crate::config::Remote;
use crate::config::{Config, Engine};
use crate::edge::{self, Health, Purger, Shared, Tenants};
use crate::folder;
use crate::listener::Bound;
use crate::log::{self, Log};
use crate::node::cluster::{Clustered, Joining, Listening, open_control, serve_alone};
use crate::node::keys::KeyFiles;
use crate::node::leave::Handed;
use crate::node::metrics::Gauges;
use crate::node::revoked::{Kept, Told};
use crate::node::whose::check_log;
use crate::router::Router;
use crate::shard::{self, Alone, Claimant, Ports, Room, WhenFenced};
use crate::task::{Fatal, Tasks, cores};
use crate::types::{DocId, LogId, ShardId};
use crate::{admin, doc, telemetry};

pub use crate::node::cluster::Versions;
pub use crate::node::process::serve;

/// A node that serves; stop it with [`Node::stop`].
pub struct Node {
    /// The address that clients connect to.
    pub address: SocketAddr,
    /// The address that operators connect to, if they can.
    pub admin: Option<SocketAddr>,
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    router: Router,
    /// What is revoked, and all shards, where the node is alone.
    alone: Option<(Arc<Kept>, Arc<Alone>)>,
    /// Its part in a cluster, where it is not.
    clustered: Option<Clustered>,
    health: Health,
    fatal: Fatal,
    /// The shards' tasks.
    shard_tasks: Tasks,
    /// The listener, its connections and the sessions.
    edge_tasks: Tasks,
    accepting: CancellationToken,
    /// Secures the clients' port, where it is not plain.
    tls: Option<edge::Tls>,
    key_files: Option<KeyFiles>,
    shutdown_grace: Duration,
}

/// The ports of a node, open and not served yet.
struct Open {
    bound: Bound,
    admin: Option<Bound>,
}

impl Open {
    async fn bind(config: &Config) -> anyhow::Result<Self> {
        let bound = edge::bind(config.listen).await?;
        let admin = match config.admin_listen {
            Some(address) => Some(admin::bind(address).await?),
            None => None,
        };
        Ok(Self { bound, admin })
    }

    fn at(&self) -> Listening {
        let admin = self.admin.as_ref().map(|bound| bound.address);
        Listening { client: self.bound.address, admin }
    }
}

/// What a node keeps its documents in.
#[derive(Clone)]
pub struct Stores {
    /// The durable log.
    pub log: Arc<dyn Log>,
    /// The checkpoint store.
    pub store: Arc<dyn Store>,
}

impl Stores {
    /// Opens what the configuration names; the log must have so many shards, or any number.
    ///
    /// # Errors
    /// Where a store cannot be opened; the message says what to do next.
    pub async fn open(
        config: &Config,
        shards: Option<u32>,
        registry: &telemetry::Registry,
        fatal: &Fatal,
        clock: &Clock,
    ) -> anyhow::Result<Self> {
        let embedded = [&config.log, &config.checkpoints].contains(&&Engine::Embedded);
        if embedded {
            folder::make(&config.data).with_context(|| {
                format!(
                    "cannot create the data folder {}; choose one with --data",
                    config.data.display()
                )
            })?;
        }
        let log = Self::open_log(config, shards, registry).await?;
        let store = open_store(config, fatal, clock).await?;
        Ok(Self { log, store })
    }

    async fn open_log(
        config: &Config,
        shards: Option<u32>,
        registry: &telemetry::Registry,
    ) -> anyhow::Result<Arc<dyn Log>> {
        let metrics = log::Metrics::register(registry)?;
        let new = log::Options::default().shards;
        Ok(match &config.log {
            Engine::Embedded => {
                let (kept, lost) = (checkpoint::Embedded::FILE, log::Embedded::FILE);
                if config.data.join(kept).exists() && !config.data.join(lost).exists() {
                    let data = config.data.display();
                    anyhow::bail!(
                        "{lost} is missing beside {kept} in {data}, and with it the newest edits: \
                         put it back, or move {kept} away to start empty"
                    );
                }
                // More than of batches, for what is around them.
                let waiting = config.document.queue_bytes_total.as_u64() as usize;
                let queue_bytes_max = waiting + waiting / 4;
                let with = |shards| {
                    let options =
                        log::Options { shards, queue_bytes_max, ..log::Options::default() };
                    log::Embedded::open(&config.data, options, metrics.clone())
                };
                let opened = match (with(shards.unwrap_or(new)), shards) {
                    (Err(log::OpenError::Shards { found, .. }), None) => with(found),
                    (opened, _) => opened,
                };
                Arc::new(opened?)
            }
            Engine::Memory => {
                Arc::new(log::Memory::new(LogId(rand::random()), shards.unwrap_or(new)))
            }
            #[cfg(feature = "kafka")]
            Engine::Kafka(remote) => {
                let (hosts, topic) = (remote.hosts.clone(), format!("{}-log", remote.name));
                let options = log::kafka::Options::new(hosts, &topic, shards, &config.kafka);
                let options = options.map_err(|piece| {
                    anyhow::anyhow!("kafka.properties: {piece:?} is not written as key=value")
                })?;
                Arc::new(log::kafka::Kafka::open(options, metrics).await?)
            }
            other => anyhow::bail!("no log is kept in {other:?}: see quire config example"),
        })
    }
}

/// Opens the checkpoint store that a configuration names, for reading only; a keyspace is made
/// where it is missing.
///
/// # Errors
/// Where it cannot be opened; the message says what to do next.
pub(crate) async fn open_store_to_read(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    let file = config.data.join(checkpoint::Embedded::FILE);
    if config.checkpoints == Engine::Embedded && !file.exists() {
        anyhow::bail!(
            "there are no checkpoints at {}: name their folder with --data",
            file.display()
        );
    }
    open_store(config, &Fatal::default(), &Clock::wall()).await
}

/// Opens the checkpoint store that a configuration names, and makes there what is missing.
///
/// # Errors
/// Where it cannot be opened; the message says what to do next.
#[cfg_attr(not(feature = "cql"), expect(unused_variables, reason = "only CQL needs the time"))]
pub(crate) async fn open_store(
    config: &Config,
    fatal: &Fatal,
    clock: &Clock,
) -> anyhow::Result<Arc<dyn Store>> {
    Ok(match &config.checkpoints {
        Engine::Embedded => {
            Arc::new(checkpoint::Embedded::open(&config.data, fatal.clone()).await?)
        }
        Engine::Memory => Arc::new(checkpoint::Memory::new()),
        #[cfg(feature = "cql")]
        Engine::Cql(remote) => {
            let (Remote { hosts, name }, clock) = (remote, clock.clone());
            Arc::new(checkpoint::cql::Cql::open_by(hosts, name, &config.cql, clock).await?)
        }
        other => {
            anyhow::bail!("no checkpoints are kept in {other:?}: see quire config example")
        }
    })
}

/// Opens the log that a configuration names, for reading only.
///
/// # Errors
/// Where it cannot be opened; the message says what to do next.
pub(crate) async fn open_log_to_read(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    let file = config.data.join(log::Embedded::FILE);
    if config.log == Engine::Embedded && !file.exists() {
        anyhow::bail!("there is no log at {}: name its folder with --data", file.display());
    }
    let mut config = config.clone();
    config.kafka.create_topics = false;
    config.kafka.allow_single_replica = true;
    Stores::open_log(&config, None, &telemetry::registry()).await
}

impl Node {
    /// Starts a node on the stores that its configuration names.
    ///
    /// # Errors
    /// Where a store, a shard or the port cannot be had; the message says what to do next.
    pub async fn start(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let registry = telemetry::registry();
        let ports = Open::bind(config).await?;
        let fatal = Fatal::default();
        let stores = Stores::open(config, config.shards(), &registry, &fatal, &clock).await?;
        let joining = match config.peer_listen {
            Some(_) => {
                let control = open_control(config).await?;
                Some(Joining { control, versions: Versions::default() })
            }
            None => None,
        };
        Self::assemble(config, clock, registry, ports, (stores, joining), fatal).await
    }

    /// Starts a node of a cluster on stores that are open, for tests.
    ///
    /// # Errors
    /// Where a shard or a port cannot be had.
    #[cfg(any(test, feature = "testing"))]
    pub async fn start_on(
        config: &Config,
        clock: Clock,
        stores: Stores,
        control: Arc<dyn Log>,
    ) -> anyhow::Result<Self> {
        Self::start_as(Versions::default(), config, clock, stores, control).await
    }

    /// Starts a node of a cluster on stores that are open, as if it were another version of this
    /// program, for tests.
    ///
    /// # Errors
    /// Where a shard or a port cannot be had, or the versions do not fit the cluster.
    #[cfg(any(test, feature = "testing"))]
    pub async fn start_as(
        versions: Versions,
        config: &Config,
        clock: Clock,
        stores: Stores,
        control: Arc<dyn Log>,
    ) -> anyhow::Result<Self> {
        let (registry, fatal) = (telemetry::registry(), Fatal::default());
        let ports = Open::bind(config).await?;
        let joining = Some(Joining { control, versions });
        Self::assemble(config, clock, registry, ports, (stores, joining), fatal).await
    }

    async fn assemble(
        config: &Config,
        clock: Clock,
        registry: telemetry::Registry,
        open: Open,
        (stores, joining): (Stores, Option<Joining>),
        fatal: Fatal,
    ) -> anyhow::Result<Self> {
        let (shard_tasks, edge_tasks) = (Tasks::new(), Tasks::new());
        let doc_metrics = doc::Metrics::register(&registry)?;
        let edge_metrics = edge::Metrics::register(&registry, doc_metrics.ack_sent.clone())?;
        let tls = edge::Tls::open(&config.edge, &edge_metrics)?;
        check_log(&*stores.log, &*stores.store, config.adopt_log).await?;
        let metrics = (shard::Metrics::register(&registry)?, doc_metrics.clone());
        let ports = ports(config, &stores, metrics, (&clock, &shard_tasks, &fatal));
        let herald = Purger::open(&config.purge, &edge_metrics, &edge_tasks)?;
        let ports = Ports { public: doc::Public { all: !config.auth.has_keys(), herald }, ..ports };
        let Stores { log, store } = stores;
        let at = open.at();
        let Open { bound, admin } = open;
        let gauges = Gauges::new(&edge_metrics, &doc_metrics);
        let (alone, clustered) = begin(config, joining, &ports, (at, gauges), &registry).await?;
        let over = |(_, shards): &(_, Arc<Alone>)| Router::over(shards.clone());
        let router = alone.as_ref().map(over).or(clustered.as_ref().map(Clustered::router));
        let router = router.expect("it is the one or the other");
        let health = clustered.as_ref().map(Clustered::health).unwrap_or_default();
        let accepting = CancellationToken::new();
        let revoked = told(&alone, &clustered);
        let (doors, key_files) = doors::doors(config, clock, &registry, &edge_tasks, revoked)?;
        let shared = Arc::new(Shared {
            router: router.clone(),
            doors: Arc::new(doors),
            tenants: Tenants::new(&config.edge, &edge_metrics),
            config: config.edge.clone(),
            doc_chars_max: config.document.doc_chars_max,
            erasing: Semaphore::new(1),
            bodies: edge::Pool::new(config.edge.bodies_kib()),
            answers: edge::AnswerRoom::new(&config.edge),
            pages: edge::Pages::default(),
            metrics: edge_metrics,
            health: health.clone(),
            tasks: edge_tasks.clone(),
            token: edge_tasks.token().clone(),
        });
        let turns = shared.tenants.turns(edge_tasks.token().clone());
        edge_tasks.spawn_vital("turns", fatal.clone(), turns);
        if let Some(clustered) = &clustered {
            clustered.serve(shared.clone(), admin, config, &shard_tasks);
            clustered.catch_up(&shared).await;
        } else if let Some((kept, _)) = &alone {
            serve_alone(kept.clone(), admin, (config, &ports.clock), &edge_tasks);
        }
        let serving = edge::serve(bound, tls.clone(), shared, accepting.clone());
        edge_tasks.spawn_vital("listener", fatal.clone(), serving);
        health.set_ready(true);
        info!(address = %at.client, shards = log.shards(), "serving");
        Ok(Self {
            address: at.client,
            admin: at.admin,
            log,
            store,
            router,
            alone,
            clustered,
            health,
            fatal,
            shard_tasks,
            edge_tasks,
            accepting,
            tls,
            key_files,
            shutdown_grace: config.edge.shutdown_grace,
        })
    }

    /// Returns what tells what is revoked.
    pub fn revoked(&self) -> watch::Receiver<Arc<Revocations>> {
        told(&self.alone, &self.clustered)
    }

    /// Reads again what may change while it serves: the certificate of the clients' port, and the
    /// keys of files.
    pub async fn reload(&self) {
        if let Some(tls) = &self.tls {
            tls.reload().await;
        }
        if let Some(keys) = &self.key_files {
            keys.reload().await;
        }
    }

    /// Returns what the node keeps its documents in, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn stores(&self) -> Stores {
        Stores { log: self.log.clone(), store: self.store.clone() }
    }

    /// Reaches every document that the node serves, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// Tells where the node's shards are, for tests.
    ///
    /// # Panics
    /// If it is one of a cluster.
    #[cfg(any(test, feature = "testing"))]
    pub fn shards(&self) -> &Arc<Alone> {
        &self.alone.as_ref().expect("it is alone").1
    }

    /// Stops accepting, hands its shards over where there are others, or else saves every document,
    /// sends clients away and ends.
    ///
    /// # Errors
    /// Where documents are in the log alone and nobody else has them: nothing is lost, but the
    /// checkpoints are no backup.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.health.set_ready(false);
        self.accepting.cancel();
        let handed = match &self.clustered {
            Some(clustered) => clustered.hand_over(self.shutdown_grace).await,
            None => Handed::Nothing,
        };
        let unsaved = match handed {
            Handed::Everything | Handed::ToNobody => 0,
            Handed::Nothing => self.save().await,
        };
        if let (Some(clustered), Handed::Nothing) = (&self.clustered, handed) {
            // Whoever is up after all can have them now.
            clustered.leave().await;
        }
        if timeout(self.shutdown_grace, self.edge_tasks.stop()).await.is_err() {
            warn!("not every client took its farewell");
        }
        // What was acknowledged does not need these.
        within("the shards", self.shard_tasks.stop()).await;
        within("the log", self.log.close()).await;
        if let Some(Err(reason)) = within("the checkpoint store", self.store.close()).await {
            warn!(%reason, "checkpoint store did not close");
        }
        if handed == Handed::ToNobody {
            anyhow::bail!(
                "stopped, but the nodes that were to take the last shards have gone, too: the log \
                 keeps what was acknowledged, and the next node that starts has it; stop the last \
                 node by itself to have everything in checkpoints"
            );
        }
        if unsaved > 0 {
            anyhow::bail!(
                "stopped, but not every document is in a checkpoint: the log keeps what was \
                 acknowledged; before the checkpoints are copied without the log, start once more \
                 and stop with a longer edge.shutdown-grace"
            );
        }
        Ok(())
    }

    /// Sends clients away and saves every document; returns how many are in the log alone.
    async fn save(&self) -> usize {
        let saving = async {
            self.router.save_all().await;
            self.router.drain().await;
        };
        if timeout(self.shutdown_grace, saving).await.is_err() {
            warn!("not everything was saved in time; the log keeps it");
        }
        timeout(UNSAVED_MAX, self.router.uncovered()).await.unwrap_or(usize::MAX)
    }
}

/// How long each part of a node may take to end.
const ENDED_MAX: Duration = Duration::from_secs(5);

/// Waits for a part of a node that is told to end, for so long.
async fn within<T>(part: &str, ending: impl Future<Output = T>) -> Option<T> {
    let ended = timeout(ENDED_MAX, ending).await.ok();
    if ended.is_none() {
        warn!(part, "it does not end in time, and is left behind");
    }
    ended
}

/// How long a stop asks for what is not in checkpoints.
const UNSAVED_MAX: Duration = Duration::from_secs(1);

/// Returns what tells what is revoked.
fn told(alone: &Option<(Arc<Kept>, Arc<Alone>)>, clustered: &Option<Clustered>) -> Told {
    let alone = alone.as_ref().map(|(kept, _)| kept.told());
    alone.or(clustered.as_ref().map(Clustered::revoked)).expect("it is the one or the other")
}

/// Returns what the shards of a node work with.
fn ports(
    config: &Config,
    stores: &Stores,
    (metrics, doc_metrics): (shard::Metrics, doc::Metrics),
    (clock, tasks, fatal): (&Clock, &Tasks, &Fatal),
) -> Ports {
    Ports {
        log: stores.log.clone(),
        store: stores.store.clone(),
        claimant: Claimant { node: config.node.clone(), boot: boot(clock) },
        clock: clock.clone(),
        config: Arc::new(config.shard.clone()),
        doc_config: Arc::new(config.document.clone()),
        metrics,
        doc_metrics,
        tasks: tasks.clone(),
        budget: doc::Budget::new(config.document.queue_bytes_total.as_u64()),
        encoders: doc::Encoders::new(cores()),
        room: Arc::new(Room::new(config.shard.tail_bytes_limit.as_u64())),
        when_fenced: WhenFenced::EndsTheProcess,
        public: doc::Public::default(),
        fatal: fatal.clone(),
    }
}

/// Returns a number that rises with each start of the node, also on a clock that stands still.
fn boot(clock: &Clock) -> u64 {
    (clock.now().0 << 20) | rand::random_range(0..1 << 20)
}

/// Puts everything that is in the log alone into checkpoints, while no node serves it; returns
/// which documents could not be saved, and why.
///
/// # Errors
/// Where a shard cannot be claimed or read.
pub(crate) async fn save_everything(
    stores: &Stores,
    config: &Config,
) -> anyhow::Result<Vec<(DocId, doc::Failure)>> {
    let registry = telemetry::registry();
    let (clock, tasks) = (Clock::wall(), Tasks::new());
    let metrics = (shard::Metrics::register(&registry)?, doc::Metrics::register(&registry)?);
    let ports = Ports {
        config: Arc::new(shard::Config { documents_open_max: usize::MAX, ..config.shard.clone() }),
        room: Arc::new(Room::new(u64::MAX)),
        ..ports(config, stores, metrics, (&clock, &tasks, &Fatal::default()))
    };
    let router = Router::over(Arc::new(start_shards(&ports).await?));
    let mut docs = BTreeSet::new();
    for shard in (0..stores.log.shards()).map(ShardId) {
        let mut reader = log::Reader::begin(&*stores.log, shard).await?;
        while let Some(batch) = reader.next().await? {
            let records = batch.into_iter().filter_map(|judged| judged.record.ok());
            docs.extend(records.filter_map(|record| record.doc().cloned()));
        }
    }
    let mut failed = Vec::new();
    for doc in docs {
        let saved = match router.open(&doc).await {
            Ok(handle) => handle.save().await,
            Err(refusal) => Err(refusal.into()),
        };
        failed.extend(saved.err().map(|reason| (doc, reason)));
    }
    router.drain().await;
    tasks.stop().await;
    Ok(failed)
}

/// Joins the cluster, or claims all shards where the node is alone.
async fn begin(
    config: &Config,
    joining: Option<Joining>,
    ports: &Ports,
    told: (Listening, Gauges),
    registry: &telemetry::Registry,
) -> anyhow::Result<(Option<(Arc<Kept>, Arc<Alone>)>, Option<Clustered>)> {
    if let Some(joining) = joining {
        let joined = Clustered::join(config, joining, ports, told, registry).await?;
        return Ok((None, Some(joined)));
    }
    let kept = Kept::open(config)?;
    Ok((Some((kept, Arc::new(start_shards(ports).await?))), None))
}

async fn start_shards(ports: &Ports) -> anyhow::Result<Alone> {
    let start = |shard| shard::start(ShardId(shard), ports.clone());
    let shards = try_join_all((0..ports.log.shards()).map(start)).await?;
    Ok(Alone::new(shards))
}
