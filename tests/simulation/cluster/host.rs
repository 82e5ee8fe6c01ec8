//! One machine of the cluster: it starts a process, and another one where that has ended.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use quire::checkpoint::{Memory as MemoryStore, Store};
use quire::clock::Clock;
use quire::cluster::member::{self, Identity, JoinError};
use quire::cluster::{Addresses, Load, RULES, Timing, Version};
use quire::log::Log;
use quire::node::leave::{self, Handed};
use quire::node::links;
use quire::relay::{self, Answers, Peers, Request, Response, SPEAKS};
use quire::router::Router;
use quire::shard::{self, Claimant, Directory, Keeper, Keeping, Ports, keep};
use quire::task::{Fatal, Tasks};
use quire::testing::{FaultyLog, FaultyStore};
use quire::types::{NodeId, ShardId};
use quire::{doc, types::DocId};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::cluster::line::{Line, Pace, Walls};
use crate::cluster::net::Net;
use crate::cluster::plan::{End, Plan, ZERO};
use crate::gate::{Gate, GatedStore};
use crate::life::Life;
use crate::trace::Trace;
use crate::world::{Stores, ports};

/// How long a process that is stopped may take, and how long its shards may move meanwhile.
const STOP_MAX: Duration = Duration::from_secs(6);
const STOP_GRACE: Duration = Duration::from_secs(3);

/// How long a process may go on that woke up after another one took its name.
const WOKEN_MAX: Duration = Duration::from_millis(1_500);

/// What a process says that has to end because another one has its name.
const NAME_LOST: &str = "another process runs under this node's name";

/// What all machines share.
pub(crate) struct Site {
    pub(crate) plan: Arc<Plan>,
    pub(crate) log: Arc<FaultyLog>,
    pub(crate) control: Arc<FaultyLog>,
    pub(crate) store: Arc<FaultyStore<MemoryStore>>,
    pub(crate) net: Net,
    pub(crate) metrics: (shard::Metrics, doc::Metrics, relay::Metrics),
    /// Is cancelled when nothing fails any more.
    pub(crate) calm: CancellationToken,
    /// What goes on without any process.
    pub(crate) tasks: Tasks,
    pub(crate) trace: Trace,
}

/// One machine, as the others see it.
pub(crate) struct Host {
    pub(crate) node: usize,
    pub(crate) walls: Walls,
    pub(crate) control_walls: Walls,
    pub(crate) store_wall: quire::task::Ice,
    pub(crate) zero: Arc<AtomicU64>,
    pub(crate) life: watch::Sender<Option<Life>>,
    up: Mutex<Option<Up>>,
    site: Arc<Site>,
    commands: mpsc::UnboundedSender<Command>,
}

/// A process that is a member.
#[derive(Clone)]
pub(crate) struct Up {
    pub(crate) life: Life,
    pub(crate) member: member::Handle,
    pub(crate) keeper: Keeper,
    fatal: Fatal,
    address: String,
}

/// What is done to a process.
#[derive(Debug)]
pub(crate) enum Command {
    Crash(End, Duration),
    Stop(Duration),
    Replace(Duration),
}

struct Nobody;

#[async_trait]
impl Answers for Nobody {
    async fn answer(&self, _request: Request) -> Response {
        Response {
            status: 404,
            content_type: None,
            headers: Vec::new(),
            body: relay::Blob(bytes::Bytes::new()),
        }
    }

    fn is_of_nodes(&self, _request: &Request) -> bool {
        false
    }
}

pub(crate) fn name(node: usize) -> NodeId {
    NodeId(format!("node-{node}").parse::<DocId>().expect("a valid id"))
}

impl Host {
    /// Starts the first process of a node.
    pub(crate) fn begin(site: Arc<Site>, node: usize) -> Arc<Self> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let host = Arc::new(Self {
            node,
            walls: Walls::default(),
            control_walls: Walls::default(),
            store_wall: quire::task::Ice::default(),
            zero: Arc::new(AtomicU64::new(ZERO)),
            life: watch::Sender::default(),
            up: Mutex::new(None),
            site: site.clone(),
            commands,
        });
        site.tasks.spawn("host", host.clone().run(inbox));
        host
    }

    pub(crate) fn up(&self) -> Option<Up> {
        self.up.lock().expect("nobody panicked").clone()
    }

    pub(crate) fn tell(&self, command: Command) {
        self.commands.send(command).expect("a machine does not end");
    }

    async fn run(self: Arc<Self>, mut inbox: mpsc::UnboundedReceiver<Command>) {
        // A later process has the higher number, but not surely: clocks are wrong.
        let sinks = self.site.plan.clients.seed.is_multiple_of(3);
        let mut boot = 50;
        loop {
            boot = if sinks { boot - 1 } else { boot + 1 };
            let (fatal, tasks) = (Fatal::default(), Tasks::new());
            let starting = self.start(boot, &tasks, &fatal);
            let up = tokio::select! {
                biased;
                command = self.next(&mut inbox) => Err(Some(command)),
                up = starting => up.map_err(|reason| {
                    self.note("a node did not start", reason);
                    None
                }),
            };
            match up {
                Ok(up) => {
                    self.note("a node is up", boot);
                    self.life.send_replace(Some(up.life.clone()));
                    *self.up.lock().expect("nobody panicked") = Some(up.clone());
                    let command = tokio::select! {
                        biased;
                        command = self.next(&mut inbox) => Some(command),
                        () = self.fails(&up) => None,
                    };
                    self.end(up, command).await;
                }
                Err(command) => {
                    tasks.token().cancel();
                    let rest = match command {
                        Some(Command::Crash(_, rest) | Command::Stop(rest)) => rest,
                        Some(Command::Replace(_)) | None => Duration::from_millis(200),
                    };
                    self.rest(rest).await;
                }
            }
        }
    }

    /// Waits for what is done to the process; what comes so late that all is calm is not done.
    async fn next(&self, inbox: &mut mpsc::UnboundedReceiver<Command>) -> Command {
        loop {
            let command = inbox.recv().await.expect("the host holds the other end");
            if !self.site.calm.is_cancelled() {
                return command;
            }
        }
    }

    /// Waits until a process ends by itself.
    async fn fails(&self, up: &Up) {
        let why = up.fatal.wait().await;
        assert!(why.contains(NAME_LOST), "node {} ended: {why}", self.node);
        self.note("a process ended by itself", why);
    }

    async fn end(&self, up: Up, command: Option<Command>) {
        *self.up.lock().expect("nobody panicked") = None;
        if let Some(Command::Stop(_)) = command
            && timeout(STOP_MAX, up.stop(&Clock::jumping(self.zero.clone()))).await.is_ok()
        {
            self.note("stopped in order", "");
        }
        self.life.send_replace(None);
        let rest = match command {
            Some(Command::Crash(end, rest)) => {
                self.note("crash", format!("{end:?}"));
                up.crash(end);
                if end == End::Silent {
                    let node = self.node;
                    self.site.net.cut(|(from, to)| from == node || to == node, true);
                }
                rest
            }
            Some(Command::Replace(rest)) => {
                self.note("replaced while it stands still", "");
                up.life.tasks.ice().freeze();
                let host = (self.site.trace.clone(), self.node);
                self.site.tasks.spawn("woken", async move {
                    sleep(rest).await;
                    up.life.tasks.ice().thaw();
                    let ended = timeout(WOKEN_MAX, up.fatal.wait()).await;
                    let how = if ended.is_ok() { "it lost its name" } else { "it is ended" };
                    host.0.note(&format!("woken: {how}"), host.1);
                    up.life.kill();
                });
                return;
            }
            Some(Command::Stop(rest)) => {
                up.life.kill();
                rest
            }
            None => {
                up.life.kill();
                Duration::from_millis(500)
            }
        };
        self.site.net.close(&up.address);
        self.rest(rest).await;
    }

    /// Waits, but not when all is calm.
    async fn rest(&self, rest: Duration) {
        let _ = timeout(rest, self.site.calm.cancelled()).await;
    }

    /// Starts a process, which becomes a member.
    async fn start(&self, boot: u64, tasks: &Tasks, fatal: &Fatal) -> Result<Up, JoinError> {
        let Site { plan, net, log, metrics, .. } = &*self.site;
        let address = format!("node-{}/{boot}", self.node);
        let gate = self.gate(boot);
        let ports = self.ports(boot, gate.clone(), tasks.clone(), fatal.clone());
        let (port, clock) = (net.listen(self.node, address.clone()), ports.clock.clone());
        let cluster = log.id().0;
        let member_ports = member::Ports {
            log: Arc::new(self.line(
                (self.site.control.clone(), &self.control_walls),
                &gate,
                boot * 2,
            )),
            timing: Timing::default(),
            clock: clock.clone(),
            load: Arc::new(Load::default),
            tasks: tasks.clone(),
            fatal: fatal.clone(),
        };
        let identity = identity(self.node, boot, &address);
        let member = member::join(identity, (cluster, plan.shards), member_ports).await?;
        leave::stay(&member, &clock).await?;
        let me = relay::Identity { cluster, node: name(self.node), boot, speaks: SPEAKS };
        let configs = (plan.relay.clone(), ports.doc_config.clone());
        let seat = Arc::new(net.seat(self.node));
        let up = Arc::new(links::Up(member.clone()));
        let peers = Peers::over(seat, (me.clone(), up), configs, tasks.clone(), metrics.2.clone());
        let (tell, down) = relay::Down::told();
        tasks.spawn("links", links::give_up(member.clone(), peers.clone(), tell));
        let keeper = keep(Keeping {
            member: member.clone(),
            shards: ports,
            peers: Arc::new(peers.clone()),
            deadlines: Default::default(),
            claims_at_once: 4,
        });
        let router = Router::cluster(Arc::new(keeper.clone()), peers);
        let relay_ports = relay::Ports {
            me,
            config: plan.relay.clone(),
            tls: None,
            op_bytes_max: 1 << 16,
            directory: Arc::new(keeper.clone()),
            down,
            answers: Arc::new(Nobody),
            heirs: Arc::new(keeper.clone()),
            tasks: tasks.clone(),
            metrics: metrics.2.clone(),
        };
        let stop = tasks.token().clone();
        tasks.spawn("peer listener", relay::serve(port, Arc::new(relay_ports), stop));
        let life = Life { router, dead: CancellationToken::new(), gate, tasks: tasks.clone() };
        Ok(Up { life, member, keeper, fatal: fatal.clone(), address })
    }

    fn seed(&self, boot: u64) -> u64 {
        self.site.plan.clients.seed.wrapping_mul(1_000) + self.node as u64 * 100 + boot
    }

    fn gate(&self, boot: u64) -> Gate {
        let latency_max = self.site.plan.clients.store_latency_max;
        Gate::new(self.seed(boot), latency_max).behind(self.store_wall.clone())
    }

    fn line(&self, (inner, walls): (Arc<FaultyLog>, &Walls), gate: &Gate, salt: u64) -> Line {
        let Plan { latency_max, append_timeout, .. } = *self.site.plan;
        let pace = Pace { latency_max, append_timeout };
        let gate = gate.clone().behind(walls.up.clone());
        let seed = self.seed(salt);
        Line::new(inner, (gate, walls.clone()), pace, seed, &self.site.tasks)
    }

    fn ports(&self, boot: u64, gate: Gate, tasks: Tasks, fatal: Fatal) -> Ports {
        let (metrics, doc_metrics, _) = self.site.metrics.clone();
        let inner: Arc<dyn Store> = self.site.store.clone();
        let log = self.line((self.site.log.clone(), &self.walls), &gate, boot * 2 + 1);
        let stores: Stores = (Arc::new(log), Arc::new(GatedStore { gate, inner }));
        let claimant = Claimant { node: name(self.node), boot };
        let clock = Clock::jumping(self.zero.clone());
        let plan = &self.site.plan.clients;
        ports(plan, stores, (claimant, clock), (metrics, doc_metrics), tasks, fatal)
    }

    pub(crate) fn note(&self, kind: &str, details: impl std::fmt::Display) {
        self.site.trace.note(kind, format!("node {}: {details}", self.node));
    }
}

impl Up {
    /// Serves this shard, as far as this node knows.
    pub(crate) fn serves(&self, shard: ShardId) -> bool {
        matches!(self.keeper.place(shard), shard::Place::Here(_))
    }

    fn crash(&self, end: End) {
        if end != End::Written {
            self.life.gate.shut();
        }
        self.life.kill();
    }

    /// Does what a node does at SIGTERM.
    async fn stop(&self, clock: &Clock) {
        let Life { router, dead, tasks, .. } = &self.life;
        let handed = leave::hand_over(&self.member, &self.keeper, clock, STOP_GRACE).await;
        if handed == Handed::Nothing {
            router.save_all().await;
            router.drain().await;
        }
        dead.cancel();
        if handed == Handed::Nothing {
            // The others find out.
            leave::leave(&self.member).await;
        }
        tasks.stop().await;
    }
}

fn identity(node: usize, boot: u64, address: &str) -> Identity {
    let text = |text: &str| text.parse().expect("a short text");
    let addresses = Addresses { client: text(""), peer: text(address), admin: text("") };
    let software = "0".parse().expect("a short text");
    let version = Version { software, speaks: SPEAKS, rules: RULES };
    Identity { node: name(node), boot, addresses, weight: 10, version }
}
