//! Nodes that keep the shards of one cluster between them: claims, moves, crashes; in one process,
//! over logs in memory, in time that runs as fast as it can.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use prometheus::Registry;
use quire::access::{Asker, Right};
use quire::checkpoint::{self, Store};
use quire::clock::Clock;
use quire::cluster::handoff::Deadlines;
use quire::cluster::member::{self, Identity};
use quire::cluster::{Addresses, Command, Load, Operator, Order, RULES, Record, Timing, Version};
use quire::doc::{Failure, Refusal, Write};
use quire::log::{self, Log, Marks, Memory, ReadError};
use quire::node::links;
use quire::relay;
use quire::router::Router;
use quire::shard::{
    Claimant, Directory, Heirs, Keeper, Keeping, PeerError, Peers, Place, Ports, keep,
};
use quire::task::{Fatal, Tasks};
use quire::testing::{Around, Way};
use quire::text::Operation;
use quire::types::{Author, DocId, LogId, NodeId, Offset, Revision, SessionId, ShardId, Timestamp};
use tokio::time::{Instant, sleep, timeout};

use crate::inner::{PATIENCE, Under, id, ports};
use crate::late::Known;

pub(crate) const SHARDS: u32 = 16;

/// Calls the keepers of the other nodes.
#[derive(Default)]
pub(crate) struct Calls {
    keepers: Mutex<BTreeMap<NodeId, Keeper>>,
    /// Who reaches nobody.
    pub(crate) cut: Mutex<BTreeSet<NodeId>>,
}

impl Calls {
    fn of(&self, from: &NodeId, node: &NodeId) -> Result<Keeper, PeerError> {
        if self.cut.lock().contains(from) {
            return Err(PeerError::Gone);
        }
        self.keepers.lock().get(node).cloned().ok_or(PeerError::Gone)
    }
}

/// One node's way to the others.
struct Line {
    own: NodeId,
    calls: Arc<Calls>,
}

#[async_trait]
impl Peers for Line {
    async fn warm(&self, to: &NodeId, shard: ShardId) -> Result<(), PeerError> {
        let keeper = self.calls.of(&self.own, to)?;
        keeper.warm(self.own.clone(), shard).await.map_err(PeerError::Refused)
    }

    async fn released(&self, to: &NodeId, shard: ShardId, at: Offset) -> Result<(), PeerError> {
        let keeper = self.calls.of(&self.own, to)?;
        keeper.released(self.own.clone(), shard, at).await.map_err(PeerError::Refused)
    }
}

pub(crate) struct Cluster {
    log: Arc<Memory>,
    pub(crate) control: Arc<Memory>,
    store: Arc<dyn Store>,
    pub(crate) calls: Arc<Calls>,
    /// The clock of all nodes.
    pub(crate) clock: Clock,
    pub(crate) nodes: BTreeMap<NodeId, Node>,
}

pub(crate) struct Node {
    pub(crate) member: member::Handle,
    pub(crate) keeper: Keeper,
    router: Router,
    tasks: Tasks,
    fatal: Fatal,
}

pub(crate) fn name(node: &str) -> NodeId {
    NodeId(id(node))
}

impl Cluster {
    pub(crate) async fn of(names: &[&str]) -> Self {
        let mut cluster = Self {
            log: Arc::new(Memory::new(LogId(1), SHARDS)),
            control: Arc::new(Memory::new(LogId(2), 1)),
            store: Arc::new(checkpoint::Memory::new()),
            calls: Arc::default(),
            clock: Clock::starting_at(Timestamp(1)),
            nodes: BTreeMap::new(),
        };
        for node in names {
            cluster.start(node, 1).await;
        }
        cluster
    }

    pub(crate) async fn start(&mut self, node: &str, boot: u64) {
        self.start_on(node, boot, (self.log.clone(), self.control.clone())).await;
    }

    /// Starts a node that reaches the logs in its own way.
    async fn start_on(&mut self, node: &str, boot: u64, logs: (Arc<dyn Log>, Arc<dyn Log>)) {
        let (log, control) = logs;
        let text = |text: &str| text.parse().expect("a short text");
        let identity = Identity {
            node: name(node),
            boot,
            addresses: Addresses { client: text("c"), peer: text("p"), admin: text("a") },
            weight: 10,
            version: Version {
                software: "0".parse().expect("short"),
                speaks: (1, 1),
                rules: RULES,
            },
        };
        let (tasks, fatal) = (Tasks::new(), Fatal::default());
        let member_ports = member::Ports {
            log: control,
            timing: Timing::default(),
            clock: Clock::fixed(Timestamp(1)),
            load: Arc::new(Load::default),
            tasks: tasks.clone(),
            fatal: fatal.clone(),
        };
        let member = member::join(identity, (7, SHARDS), member_ports).await.expect("it joins");
        let under = Under { log, store: self.store.clone(), ..Under::default() };
        let shards = Ports {
            claimant: Claimant { node: name(node), boot },
            clock: self.clock.clone(),
            tasks: tasks.clone(),
            fatal: fatal.clone(),
            ..ports(under, node)
        };
        let keeper = keep(Keeping {
            member: member.clone(),
            shards,
            peers: Arc::new(Line { own: name(node), calls: self.calls.clone() }),
            deadlines: Deadlines::default(),
            claims_at_once: 4,
        });
        self.calls.keepers.lock().insert(name(node), keeper.clone());
        let router = Router::over(Arc::new(keeper.clone()));
        self.nodes.insert(name(node), Node { member, keeper, router, tasks, fatal });
    }

    /// Ends a node as a crash does.
    pub(crate) fn crash(&mut self, node: &str) {
        self.calls.keepers.lock().remove(&name(node));
        let node = self.nodes.remove(&name(node)).expect("it runs");
        node.keeper.here().iter().for_each(quire::shard::Handle::kill);
        node.tasks.token().cancel();
    }

    /// Waits until every shard is served by exactly the node that it is placed on.
    pub(crate) async fn settled(&self) {
        let settled = || {
            let owner = |shard: ShardId| {
                let here = |(node, one): (&NodeId, &Node)| {
                    let served = matches!(one.keeper.place(shard), Place::Here(_));
                    served.then(|| node.clone())
                };
                self.nodes.iter().filter_map(here).collect::<Vec<_>>()
            };
            let control = self.nodes.values().next().expect("a node runs").member.control();
            (0..SHARDS).map(ShardId).all(|shard| {
                let placed: Vec<_> = control.placement(shard).cloned().into_iter().collect();
                let owned = control.owner(shard).map(|owner| owner.node);
                owner(shard) == placed && owned.as_ref() == placed.first()
            })
        };
        let waiting = async {
            while !settled() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("every shard finds its place");
    }

    /// Gives a command at some node.
    pub(crate) async fn order(&self, order: Order) {
        self.nodes.values().next().expect("a node runs").order(order).await;
    }

    /// Writes a word at the beginning of a document, wherever that is; returns how long it took.
    async fn write(&self, doc: &DocId, word: &str) -> Duration {
        let began = Instant::now();
        loop {
            for node in self.nodes.values() {
                if write_at(node, doc, word).await {
                    return began.elapsed();
                }
            }
            assert!(began.elapsed() < PATIENCE, "{word} cannot be written");
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn text(&self, doc: &DocId) -> String {
        let began = Instant::now();
        loop {
            for node in self.nodes.values() {
                if let Ok(handle) = node.router.open(doc).await
                    && let Ok(past) = handle.past(&Asker::anything(), Right::History).await
                {
                    let head = past.head();
                    return past.text_at(head).await.expect("it is there");
                }
            }
            assert!(began.elapsed() < PATIENCE, "{doc} cannot be read");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Node {
    /// Gives a command here.
    async fn order(&self, order: Order) {
        let text = "test".parse().expect("a short text");
        let why = "a test".parse().expect("a short text");
        let by = Operator { name: text, why, at: Timestamp(1) };
        let command = Command { by, expected: None, order };
        self.member.write(&Record::Command(command)).await.expect("it counts");
    }

    /// Waits until it is as is wanted.
    async fn comes(&self, wanted: impl Fn(&member::Handle) -> bool) {
        let coming = async {
            while !wanted(&self.member) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, coming).await.expect("it comes to that");
    }
}

/// Writes a word unless it is there; tells whether it is now.
async fn write_at(node: &Node, doc: &DocId, word: &str) -> bool {
    let opened = timeout(PATIENCE, node.router.open(doc)).await.expect("it opens or not");
    let Ok(handle) = opened else { return false };
    let past = timeout(PATIENCE, handle.past(&Asker::anything(), Right::History))
        .await
        .expect("it tells or not");
    let Ok(past) = past else { return false };
    let base: Revision = past.head();
    let Ok(text) = past.text_at(base).await else { return false };
    if text.contains(word) {
        return true;
    }
    let op = Operation::builder().insert(word).build();
    let edit = Write::Edit { author: Author::anonymous(), base, op };
    let written = handle.write(SessionId(rand::random()), Asker::anything(), edit);
    match timeout(PATIENCE, written).await.expect("it is written or not") {
        Ok(_) => true,
        // It may have been written: that is looked for.
        Err(Failure::Closed | Failure::Refused(Refusal::Moved | Refusal::Unavailable { .. })) => {
            false
        }
        Err(other) => panic!("{word}: {other}"),
    }
}

fn docs() -> Vec<DocId> {
    (0..24).map(|n| id(&format!("doc-{n}"))).collect()
}

/// Writes one word into each document; returns how long the slowest took.
pub(crate) async fn write_all(
    cluster: &Cluster,
    words: &mut BTreeMap<DocId, Vec<String>>,
    round: u32,
) -> Duration {
    let mut longest = Duration::ZERO;
    for doc in docs() {
        let word = format!("[{round}]");
        longest = longest.max(cluster.write(&doc, &word).await);
        words.entry(doc).or_default().push(word);
    }
    longest
}

pub(crate) async fn check(cluster: &Cluster, words: &BTreeMap<DocId, Vec<String>>) {
    for (doc, words) in words {
        let text = cluster.text(doc).await;
        let expected: String = words.iter().rev().map(String::as_str).collect();
        assert_eq!(text, expected, "{doc}");
    }
    for node in cluster.nodes.values() {
        let ended = timeout(Duration::from_millis(1), node.fatal.wait()).await;
        assert!(ended.is_err(), "no node had to end: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn shards_follow_the_members_and_every_word_is_kept_once() {
    let (mut cluster, mut words) = (Cluster::of(&["a"]).await, BTreeMap::new());
    cluster.settled().await;
    write_all(&cluster, &mut words, 0).await;
    // Two more come, and get their share, while somebody writes.
    cluster.start("b", 1).await;
    write_all(&cluster, &mut words, 1).await;
    cluster.start("c", 1).await;
    write_all(&cluster, &mut words, 2).await;
    cluster.settled().await;
    let share = |node: &str| cluster.nodes[&name(node)].keeper.here().len();
    let shares = [share("a"), share("b"), share("c")];
    assert_eq!(shares.iter().sum::<usize>(), SHARDS as usize);
    assert!(shares.iter().all(|share| (4..=6).contains(share)), "{shares:?}");
    // One crashes: its heirs go on.
    cluster.crash("b");
    write_all(&cluster, &mut words, 3).await;
    cluster.settled().await;
    write_all(&cluster, &mut words, 4).await;
    // It comes again, another is emptied.
    cluster.start("b", 2).await;
    cluster.order(Order::Drain { node: name("a"), deadline: None }).await;
    write_all(&cluster, &mut words, 5).await;
    cluster.settled().await;
    assert_eq!(cluster.nodes[&name("a")].keeper.here().len(), 0);
    check(&cluster, &words).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_of_three_takes_over_where_the_two_others_crash_at_once() {
    let (mut cluster, mut words) = (Cluster::of(&["a", "b", "c"]).await, BTreeMap::new());
    cluster.settled().await;
    write_all(&cluster, &mut words, 0).await;
    cluster.settled().await;
    cluster.crash("a");
    cluster.crash("c");
    write_all(&cluster, &mut words, 1).await;
    cluster.settled().await;
    assert_eq!(cluster.nodes[&name("b")].keeper.here().len(), SHARDS as usize);
    // One of them comes again, and nobody goes for that.
    cluster.start("c", 2).await;
    write_all(&cluster, &mut words, 2).await;
    cluster.settled().await;
    assert!(!cluster.nodes[&name("c")].keeper.here().is_empty());
    check(&cluster, &words).await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_was_claimed_is_not_claimed_again_while_others_are_told() {
    let mut cluster = Cluster::of(&["a"]).await;
    cluster.settled().await;
    cluster.start("b", 1).await;
    cluster.settled().await;
    // Much is heard of, and compared, in this time.
    sleep(Duration::from_secs(5)).await;
    cluster.settled().await;
    let claims = claims(&cluster).await;
    let moved = (0..SHARDS).map(ShardId).filter(|shard| {
        let node = &cluster.nodes[&name("b")];
        matches!(node.keeper.place(*shard), Place::Here(_))
    });
    assert_eq!(claims, SHARDS as usize + moved.count(), "one for each owner there was");
}

/// Counts the claims that are in the log.
async fn claims(cluster: &Cluster) -> usize {
    let mut claims = 0;
    for shard in (0..SHARDS).map(ShardId) {
        let batch = cluster.log.read(shard, Offset(0), 1 << 20).await.expect("it is there");
        let records = batch.records.iter().map(|stored| log::Record::decode(&stored.bytes));
        claims += records.filter(|record| matches!(record, Ok(log::Record::Claim(_)))).count();
    }
    claims
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_wanted_no_more_does_not_come_late() {
    let mut cluster = Cluster::of(&[]).await;
    let way = Way::to(cluster.log.clone());
    way.reads.freeze();
    cluster.start_on("a", 1, (way.clone(), cluster.control.clone())).await;
    // Some of its claims look where the log ends, others wait for them.
    sleep(Duration::from_secs(1)).await;
    let node = &cluster.nodes[&name("a")];
    assert_eq!(node.member.control().placement(ShardId(0)), Some(&name("a")));
    assert_eq!(node.keeper.give_up(Duration::ZERO).await, 0);
    way.reads.thaw();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(claims(&cluster).await, 0);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_hear_of_itself_serves_nothing_whatever_was_about_to_move() {
    let mut cluster = Cluster::of(&[]).await;
    let (control, log) = (Way::to(cluster.control.clone()), Way::to(cluster.log.clone()));
    cluster.start_on("a", 1, (cluster.log.clone(), control.clone())).await;
    cluster.settled().await;
    cluster.start_on("b", 1, (log.clone(), cluster.control.clone())).await;
    cluster.settled().await;
    let a = &cluster.nodes[&name("a")];
    let here = |doc: &DocId| matches!(a.keeper.place(doc.shard(SHARDS)), Place::Here(_));
    let doc = docs().into_iter().find(here).expect("some are there");
    assert!(write_at(a, &doc, "[0]").await);
    a.order(Order::Pause).await;
    a.order(Order::Drain { node: name("a"), deadline: None }).await;
    a.comes(|member| member.control().is_paused()).await;
    // It reads that it may move its shards, and says that it does, which nobody reads.
    control.appends.freeze();
    log.appends.freeze();
    cluster.nodes[&name("b")].order(Order::Resume).await;
    a.comes(|member| !member.control().is_paused()).await;
    sleep(Duration::from_millis(200)).await;
    control.reads.freeze();
    a.comes(member::Handle::is_suspended).await;
    sleep(Duration::from_millis(200)).await;
    assert!(here(&doc), "nobody else has it");
    assert!(!write_at(a, &doc, "[1]").await, "it serves on");
}

/// A log that a fault of ours makes panic.
struct Faulty(Arc<Memory>);

#[async_trait]
impl Around for Faulty {
    fn inner(&self) -> &dyn Log {
        &*self.0
    }

    async fn marks(&self, _: ShardId) -> Result<Marks, ReadError> {
        panic!("on purpose");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_panics_ends_the_process_instead_of_leaving_the_shard_to_nobody() {
    let mut cluster = Cluster::of(&[]).await;
    let log = Arc::new(Faulty(cluster.log.clone()));
    cluster.start_on("a", 1, (log, cluster.control.clone())).await;
    let reason = timeout(PATIENCE, cluster.nodes[&name("a")].fatal.wait()).await;
    let reason = reason.expect("it ends");
    assert!(reason.contains("on purpose"), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn it_is_told_which_runs_of_nodes_are_down_and_not_who_has_left() {
    let mut cluster = Cluster::of(&["a", "b", "c", "d"]).await;
    let node = &cluster.nodes[&name("a")];
    let me = relay::Identity { cluster: 7, node: name("a"), boot: 1, speaks: relay::SPEAKS };
    let metrics = relay::Metrics::register(&Registry::new()).expect("a new registry");
    let (network, nowhere) = (Arc::new(relay::Tcp::default()), Arc::new(Known(Vec::new())));
    let configs = Default::default();
    let peers = relay::Peers::over(network, (me, nowhere), configs, node.tasks.clone(), metrics);
    let (tell, _down) = relay::Down::told();
    let mut told = tell.subscribe();
    node.tasks.spawn("links", links::give_up(node.member.clone(), peers, tell));
    cluster.crash("c");
    let gone = told.wait_for(|runs| *runs == [(name("c"), 1)].into());
    timeout(PATIENCE, gone).await.expect("it is told").expect("it is followed");
    cluster.nodes[&name("d")].member.leave().await.expect("it leaves");
    cluster.start("c", 2).await;
    let back = told.wait_for(|runs| runs.is_empty());
    timeout(PATIENCE, back).await.expect("it is told").expect("it is followed");
    assert!(!told.has_changed().expect("it is followed"));
}
