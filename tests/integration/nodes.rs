//! Several nodes in this process, with real edges and peer ports: one owns all shards, the others
//! none.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use prometheus::Registry;
use quire::doc;
use quire::edge::doors::{Doors, Origins};
use quire::edge::{self, Carried, Health, Shared};
use quire::log::Log;
use quire::relay::{self, Down, Identity, Peers, Runs, SPEAKS};
use quire::router::Router;
use quire::shard::{self, Directory, Heirs, Place};
use quire::task::Tasks;
use quire::types::{NodeId, Offset, ShardId};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::inner::{Under, id, ports};
use crate::raw::Listens;

pub(crate) const CLUSTER: u128 = 7;

/// What can be set of a node.
#[derive(Default, Clone)]
pub(crate) struct Settings {
    pub(crate) doc: doc::Config,
    pub(crate) edge: edge::Config,
    pub(crate) relay: relay::Config,
    /// Whom each node lets in, if not everybody.
    pub(crate) doors: Option<fn(NodeId) -> Doors>,
    /// The owner's log, if not one in memory.
    pub(crate) log: Option<Arc<dyn Log>>,
}

/// One node.
pub(crate) struct Member {
    pub(crate) address: SocketAddr,
    pub(crate) peer: SocketAddr,
    pub(crate) peers: Peers,
    pub(crate) relay: relay::Metrics,
    pub(crate) edge: edge::Metrics,
    pub(crate) heirs: Arc<Heir>,
    /// Tells it which nodes are down.
    pub(crate) down: watch::Sender<Runs>,
    tasks: Tasks,
}

/// All of them; the first is the owner.
pub(crate) struct Nodes {
    pub(crate) all: Vec<Member>,
    /// Where the others find the owner's peer port.
    pub(crate) owner_at: Arc<Mutex<Option<String>>>,
}

/// Notes what it is asked.
#[derive(Default)]
pub(crate) struct Heir {
    pub(crate) asked: Mutex<Vec<(NodeId, ShardId, Option<Offset>)>>,
}

#[async_trait]
impl Heirs for Heir {
    async fn warm(&self, from: NodeId, shard: ShardId) -> Result<(), String> {
        self.asked.lock().push((from, shard, None));
        if shard == ShardId(0) { Ok(()) } else { Err("é".repeat(100)) }
    }

    async fn released(&self, from: NodeId, shard: ShardId, offset: Offset) -> Result<(), String> {
        self.asked.lock().push((from, shard, Some(offset)));
        Ok(())
    }
}

struct Owner(shard::Handle);

impl Directory for Owner {
    fn count(&self) -> u32 {
        1
    }

    fn place(&self, _shard: ShardId) -> Place {
        Place::Here(self.0.clone())
    }

    fn here(&self) -> Vec<shard::Handle> {
        vec![self.0.clone()]
    }
}

/// Says of every node that it is where the owner is.
struct Members(Arc<Mutex<Option<String>>>);

impl relay::Members for Members {
    fn address(&self, _node: &NodeId) -> Option<String> {
        self.0.lock().clone()
    }

    fn up(&self) -> Vec<NodeId> {
        vec![name(0)]
    }
}

struct Elsewhere(NodeId);

impl Directory for Elsewhere {
    fn count(&self) -> u32 {
        1
    }

    fn place(&self, _shard: ShardId) -> Place {
        Place::There(self.0.clone())
    }

    fn here(&self) -> Vec<shard::Handle> {
        Vec::new()
    }
}

pub(crate) fn name(number: usize) -> NodeId {
    NodeId(id(&format!("node-{number}")))
}

impl Nodes {
    /// Starts an owner and so many other nodes.
    pub(crate) async fn start(others: usize, settings: Settings) -> Self {
        let mut under = Under { config: settings.doc.clone(), ..Under::default() };
        if let Some(log) = settings.log.clone() {
            under.log = log;
        }
        let shard = shard::start(ShardId(0), ports(under, "node-0")).await.expect("it starts");
        let owner_at = Arc::new(Mutex::new(None));
        let directory = Arc::new(Owner(shard));
        let owner = member(0, directory, &settings, owner_at.clone()).await;
        *owner_at.lock() = Some(owner.peer.to_string());
        let mut all = vec![owner];
        for number in 1..=others {
            let directory = Arc::new(Elsewhere(name(0)));
            all.push(member(number, directory, &settings, owner_at.clone()).await);
        }
        Self { all, owner_at }
    }

    pub(crate) fn url(&self, number: usize) -> String {
        format!("http://{}", self.all[number].address)
    }
}

async fn member(
    number: usize,
    directory: Arc<dyn Directory>,
    settings: &Settings,
    owner_at: Arc<Mutex<Option<String>>>,
) -> Member {
    let (registry, tasks) = (Registry::new(), Tasks::new());
    let metrics = relay::Metrics::register(&registry).expect("a new registry");
    let (node, boot) = (name(number), number as u64);
    let me = Identity { cluster: CLUSTER, node, boot, speaks: SPEAKS };
    let configs = (settings.relay.clone(), Arc::new(settings.doc.clone()));
    let tls = relay::Tls::open(&settings.relay, &me.node).expect("the files are good");
    let network = Arc::new(relay::Tcp { tls: tls.clone() });
    let members = Arc::new(Members(owner_at));
    let peers =
        Peers::over(network, (me.clone(), members), configs, tasks.clone(), metrics.clone());
    let router = Router::cluster(directory.clone(), peers.clone());
    let doc_metrics = doc::Metrics::register(&Registry::new()).expect("a new registry");
    let edge = edge::Metrics::register(&registry, doc_metrics.ack_sent).expect("once");
    let bound = edge::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port");
    let address = bound.address;
    let open = || Doors::Open(Origins::default());
    let doors = settings.doors.map_or_else(open, |doors| doors(me.node.clone()));
    let shared = Arc::new(Shared {
        router,
        doors: Arc::new(doors),
        tenants: edge::Tenants::new(&settings.edge, &edge),
        config: settings.edge.clone(),
        doc_chars_max: settings.doc.doc_chars_max,
        erasing: Semaphore::new(1),
        bodies: edge::Pool::new(1 << 20),
        answers: edge::AnswerRoom::new(&settings.edge),
        pages: edge::Pages::default(),
        metrics: edge.clone(),
        health: Health::default(),
        tasks: tasks.clone(),
        token: tasks.token().clone(),
    });
    tasks.spawn("turns", shared.tenants.turns(tasks.token().clone()));
    let heirs = Arc::new(Heir::default());
    let (tell, down) = Down::told();
    let ports = relay::Ports {
        me,
        config: settings.relay.clone(),
        tls,
        op_bytes_max: settings.edge.op_bytes_max.as_u64() as usize,
        directory,
        down,
        answers: Arc::new(Carried::new(shared.clone())),
        heirs: heirs.clone(),
        tasks: tasks.clone(),
        metrics: metrics.clone(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let peer = listener.local_addr().expect("it is bound");
    let stop = tasks.token().clone();
    tasks.spawn("peers", relay::serve(listener, Arc::new(ports), stop));
    tasks.spawn("edge", edge::serve(bound, None, shared, CancellationToken::new()));
    Member { address, peer, peers, relay: metrics, edge, heirs, down: tell, tasks }
}

impl Listens for Member {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}
