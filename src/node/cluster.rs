//! A node among others: its membership, its keeper, and its links.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::admin::{self, Branched, Desk, Part};
use crate::clock::Clock;
use crate::cluster::member::{self, Identity};
use crate::cluster::{Addresses, Advice, Guard, Order, RULES, Timing, Version};
use crate::config::Config;
#[cfg(feature = "kafka")]
use crate::config::Engine;
use crate::edge::{Carried, Health, Shared, doors};
use crate::listener::Bound;
#[cfg(feature = "kafka")]
use crate::log;
use crate::log::Log;
use crate::node::leave::{self, Handed, command, text};
use crate::node::links;
use crate::node::metrics::{self, Gauges};
use crate::node::revoked::{self, Followed, Kept, Told};
use crate::relay::{self, Peers};
use crate::router::Router;
use crate::shard::{Keeper, Keeping, Ports, keep};
use crate::task::Tasks;
use crate::telemetry;

/// How many shards a node claims at once.
const CLAIMS_AT_ONCE: usize = 32;

/// Where a node listens, beside its peer port.
#[derive(Clone, Copy)]
pub(crate) struct Listening {
    pub(crate) client: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
}

/// What a node says that it understands: what this program does, but in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The least and the greatest version of the messages between nodes.
    pub speaks: (u16, u16),
    /// The least and the greatest version of the rules.
    pub rules: (u16, u16),
}

impl Default for Versions {
    fn default() -> Self {
        Self { speaks: relay::SPEAKS, rules: RULES }
    }
}

/// What a node joins its cluster with.
pub(crate) struct Joining {
    pub(crate) control: Arc<dyn Log>,
    pub(crate) versions: Versions,
}

/// A node's part in its cluster.
pub(crate) struct Clustered {
    member: member::Handle,
    keeper: Keeper,
    revoked: Arc<Followed>,
    peers: Peers,
    down: relay::Down,
    me: relay::Identity,
    listener: parking_lot::Mutex<Option<TcpListener>>,
    tls: Option<relay::Tls>,
    metrics: relay::Metrics,
    config: relay::Config,
    clock: Clock,
}

impl Clustered {
    /// Joins the cluster whose log the node has, and begins to keep shards.
    pub(crate) async fn join(
        config: &Config,
        Joining { control, versions }: Joining,
        ports: &Ports,
        (at, gauges): (Listening, Gauges),
        registry: &telemetry::Registry,
    ) -> anyhow::Result<Self> {
        let peer = config.peer_listen.context("a node that is alone joins nothing")?;
        let tls = relay::Tls::open(&config.relay, &config.node)?;
        let bound = Bound::new(peer, "--peer-listen").await?;
        let identity = identity(config, (ports.claimant.boot, versions), bound.address, at)?;
        let cluster = ports.log.id().0;
        let member_ports = member::Ports {
            log: control,
            timing: Timing::default(),
            clock: ports.clock.clone(),
            load: Arc::new(move || gauges.read()),
            tasks: ports.tasks.clone(),
            fatal: ports.fatal.clone(),
        };
        let member = member::join(identity, (cluster, ports.log.shards()), member_ports).await?;
        info!(node = %member.node().0, "a member of the cluster");
        leave::stay(&member, &ports.clock).await?;
        let revoked = Followed::begin(&member);
        let following = revoked.clone().follow(member.clone());
        ports.tasks.spawn_vital("revocations", ports.fatal.clone(), following);
        revoked::warn_of_own(config);
        let (node, boot) = (member.node().clone(), member.boot());
        let me = relay::Identity { cluster, node, boot, speaks: versions.speaks };
        let metrics = relay::Metrics::register(registry)?;
        let peers = Peers::over(
            Arc::new(relay::Tcp { tls: tls.clone() }),
            (me.clone(), Arc::new(links::Up(member.clone()))),
            (config.relay.clone(), ports.doc_config.clone()),
            ports.tasks.clone(),
            metrics.clone(),
        );
        let (tell, down) = relay::Down::told();
        ports.tasks.spawn("links", links::give_up(member.clone(), peers.clone(), tell));
        let counted = metrics::Cluster::register(registry)?;
        ports.tasks.spawn("cluster metrics", counted.follow(member.clone()));
        let objective = config.cluster.ack_objective;
        ports.tasks.spawn("guard", guard(member.clone(), objective, ports.clock.clone()));
        let keeper = keep(Keeping {
            member: member.clone(),
            shards: ports.clone(),
            peers: Arc::new(peers.clone()),
            deadlines: Default::default(),
            claims_at_once: CLAIMS_AT_ONCE,
        });
        let (listener, clock) =
            (parking_lot::Mutex::new(Some(bound.into_listener())), ports.clock.clone());
        let config = config.relay.clone();
        Ok(Self { member, keeper, revoked, peers, down, me, listener, tls, metrics, config, clock })
    }

    /// Returns what finds documents in the whole cluster.
    pub(crate) fn router(&self) -> Router {
        Router::cluster(Arc::new(self.keeper.clone()), self.peers.clone())
    }

    /// Returns what tells whether the node is ready: a suspended one is not.
    pub(crate) fn health(&self) -> Health {
        let member = self.member.clone();
        Health::of(Arc::new(move || member.is_suspended()))
    }

    /// Returns what tells what is revoked.
    pub(crate) fn revoked(&self) -> Told {
        self.revoked.told()
    }

    /// Begins to answer other nodes, and operators where they have a port.
    pub(crate) fn serve(
        &self,
        shared: Arc<Shared>,
        admin: Option<Bound>,
        config: &Config,
        tasks: &Tasks,
    ) {
        let desk = Desk::open(admin::Ports {
            part: Part::Member(admin::Member {
                member: self.member.clone(),
                directory: Arc::new(self.keeper.clone()),
                router: self.router(),
            }),
            clock: self.clock.clone(),
            config: operators(config),
            policy: config.auth.policy(),
            token: shared.token.clone(),
        });
        serve_operators(admin, &desk, &shared.tasks);
        let Some(listener) = self.listener.lock().take() else { return };
        let ports = Arc::new(relay::Ports {
            me: self.me.clone(),
            config: self.config.clone(),
            tls: self.tls.clone(),
            op_bytes_max: config.edge.op_bytes_max.as_u64() as usize,
            directory: Arc::new(self.keeper.clone()),
            down: self.down.clone(),
            answers: Arc::new(Branched::new(desk, Arc::new(Carried::new(shared)))),
            heirs: Arc::new(self.keeper.clone()),
            tasks: tasks.clone(),
            metrics: self.metrics.clone(),
        });
        let stop = tasks.token().clone();
        tasks.spawn("peer listener", relay::serve(listener, ports, stop));
    }

    /// Learns who has signed out while this node was not up, and goes on to.
    pub(crate) async fn catch_up(&self, shared: &Arc<Shared>) {
        let control = self.member.control();
        let silent = doors::catch_up(shared, shared.router.others()).await;
        let goes_on = links::catch_up(self.member.clone(), control, silent, shared.clone());
        let token = shared.token.clone();
        shared.tasks.spawn("sign-outs", async move {
            token.run_until_cancelled(goes_on).await;
        });
    }

    /// Hands every shard over, moves first and for no longer than `grace`, and leaves the cluster;
    /// does nothing where nobody else is up.
    pub(crate) async fn hand_over(&self, grace: Duration) -> Handed {
        leave::hand_over(&self.member, &self.keeper, &self.clock, grace).await
    }

    /// Leaves the cluster.
    pub(crate) async fn leave(&self) {
        leave::leave(&self.member).await;
    }
}

/// Answers the operators of a node that is alone, where they have a port.
pub(crate) fn serve_alone(
    kept: Arc<Kept>,
    admin: Option<Bound>,
    (config, clock): (&Config, &Clock),
    tasks: &Tasks,
) {
    let desk = Desk::open(admin::Ports {
        part: Part::Alone(kept),
        clock: clock.clone(),
        config: config.admin.clone(),
        policy: config.auth.policy(),
        token: tasks.token().clone(),
    });
    serve_operators(admin, &desk, tasks);
}

/// Returns what is set of the operators' port: the name that others are told is one of its own.
fn operators(config: &Config) -> admin::Config {
    let told = &config.cluster.advertise_admin;
    let name = told.rsplit_once(':').map_or(told.as_str(), |(name, _)| name);
    let hosts = format!("{},{name}", config.admin.hosts);
    admin::Config { hosts, ..config.admin.clone() }
}

fn serve_operators(admin: Option<Bound>, desk: &Arc<Desk>, tasks: &Tasks) {
    if let Some(bound) = admin {
        info!(address = %bound.address, "operators are served");
        tasks.spawn("admin", admin::serve(bound, desk.clone(), tasks.clone()));
    }
}

fn identity(
    config: &Config,
    (boot, versions): (u64, Versions),
    peer: SocketAddr,
    at: Listening,
) -> anyhow::Result<Identity> {
    let told = |name: &str, told: &str, bound: SocketAddr| {
        if told.is_empty() && bound.ip().is_unspecified() {
            anyhow::bail!("nobody reaches {bound} elsewhere: set cluster.{name} to host:port");
        }
        let told = if told.is_empty() { bound.to_string() } else { told.to_owned() };
        told.parse().with_context(|| format!("cluster.{name}: write host:port"))
    };
    let cluster = &config.cluster;
    let admin = match at.admin {
        Some(admin) => told("advertise-admin", &cluster.advertise_admin, admin)?,
        None => text(""),
    };
    let addresses = Addresses {
        client: told("advertise-client", &cluster.advertise_client, at.client)?,
        peer: told("advertise-peer", &cluster.advertise_peer, peer)?,
        admin,
    };
    let software = text(env!("CARGO_PKG_VERSION"));
    let Versions { speaks, rules } = versions;
    let version = Version { software, speaks, rules };
    Ok(Identity { node: config.node.clone(), boot, addresses, weight: cluster.weight, version })
}

/// Stops moves while acknowledgements are slow.
async fn guard(member: member::Handle, objective: Duration, clock: Clock) {
    let (mut guard, began) = (Guard::new(objective), Instant::now());
    let mut control = member.control();
    while let Ok(newer) = member.newer(control.at()).await {
        control = newer;
        let (on, why) = match guard.look(member.node(), &control, began.elapsed()) {
            Some(Advice::Stop { node, ack_p99 }) => {
                (true, format!("{} at {}", ms(ack_p99), node.0))
            }
            Some(Advice::GoOn) => (false, format!("below {}", ms(objective))),
            None => continue,
        };
        let why = format!("99 of 100 acknowledgements: {why}");
        warn!(on, why, "moves stop while acknowledgements are slow");
        // Where it is not written, the next state says so.
        if let Err(reason) =
            member.write(&command(&member, &why, &clock, Order::Guard { on })).await
        {
            warn!(%reason, "the stop of moves could not be written");
        }
    }
}

fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

/// Opens the control topic, beside the log.
pub(crate) async fn open_control(config: &Config) -> anyhow::Result<Arc<dyn Log>> {
    match &config.log {
        #[cfg(feature = "kafka")]
        Engine::Kafka(remote) => {
            let (hosts, topic) = (remote.hosts.clone(), format!("{}-control", remote.name));
            let options = log::kafka::Options::new(hosts, &topic, Some(1), &config.kafka);
            let mut options = options.map_err(|piece| {
                anyhow::anyhow!("kafka.properties: {piece:?} is not written as key=value")
            })?;
            options.is_followed = true;
            let metrics = log::Metrics::register(&telemetry::registry())?;
            Ok(Arc::new(log::kafka::Kafka::open(options, metrics).await?))
        }
        other => anyhow::bail!(
            "nodes of a cluster share their log: start with --log kafka://HOSTS/PREFIX instead of \
             {other}, or without --peer-listen"
        ),
    }
}
