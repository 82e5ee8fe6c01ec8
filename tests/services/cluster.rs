//! Three nodes on a real Kafka and a real CQL store: killed, frozen, emptied, cut off from each
//! other and from the brokers, stopped in order and started again, with the broker and the store,
//! while shards move and clients write through all of them.
//!
//! `QUIRE_CHAOS_SECONDS=600` does it for that long, each once and then by chance, with 50 writers
//! on 20 documents, on three brokers that keep every record on two of them at least, and with a
//! log that is trimmed.

use std::collections::HashMap;
use std::mem::discriminant;
use std::process::Command;
use std::time::{Duration, Instant};

use quire::log::Log;
use quire::types::ShardId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::audited::Left;
use crate::kill::{logged, settings};
use crate::proxy::{Line, Proxy};
use crate::server::{Server, free_port};
use crate::service::{Service, metric};
use crate::storm::{Crowd, Storm};

/// How many nodes there are.
const NODES: usize = 3;

const SHARDS: u32 = 16;

/// Durable edits of all writers between two things that are done.
const EDITS_BETWEEN: u64 = 150;

/// How long every shard may take to find its owner.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that is done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// A node is killed.
    Kill,
    /// A node hands its shards over, and leaves.
    Stop,
    /// A node stands still: long enough to be held for dead, or not.
    Still(Duration),
    /// A broker is killed, and started again.
    Broker,
    /// All brokers are gone for a while.
    Brokers(Duration),
    /// The store is killed, and started again.
    Store,
    /// Nobody reaches a node from another one for a while.
    Cut,
    /// A node hears its peers, and they do not hear it.
    Deaf,
    /// A node does not reach the brokers for a while.
    Away,
    /// The brokers hear a node, and it does not hear them.
    Unheard,
    /// A shard is moved.
    Move,
    /// A node is emptied, and may have its shards again.
    Drain,
    /// Every node is restarted in order, one after the other.
    Roll,
}

/// Each once, for every run of the tests.
const EACH: &[Act] = &[
    Act::Kill,
    Act::Move,
    Act::Stop,
    Act::Cut,
    Act::Still(Duration::from_millis(500)),
    Act::Drain,
    Act::Still(Duration::from_secs(5)),
    Act::Brokers(Duration::from_secs(10)),
    Act::Deaf,
    Act::Away,
    Act::Store,
    Act::Unheard,
    Act::Roll,
];

/// What takes long, or more than one broker, for long runs alone.
const LONG: &[Act] = &[Act::Still(Duration::from_secs(30)), Act::Broker];

/// A run that is as long has to trim its log, in seconds.
const TRIMS_FROM: u64 = 300;

/// How long what was accepted before the brokers were gone may take to be told.
const TOLD_LATE: Duration = Duration::from_secs(1);

impl Act {
    fn any(rng: &mut StdRng) -> Self {
        match rng.random_range(0..15) {
            0 | 1 => Self::Kill,
            2 => Self::Stop,
            3 => Self::Still(Duration::from_secs(5)),
            4 => Self::Still(Duration::from_secs(if rng.random_ratio(1, 2) { 30 } else { 1 })),
            5 => Self::Broker,
            6 => Self::Store,
            7 => Self::Cut,
            8 => Self::Deaf,
            9 => Self::Drain,
            10 => Self::Roll,
            11 => Self::Away,
            12 => Self::Unheard,
            13 => Self::Brokers(Duration::from_secs(rng.random_range(0..15))),
            _ => Self::Move,
        }
    }
}

/// The nodes, and what they are started with.
struct Nodes {
    folder: tempfile::TempDir,
    /// What each is told, and all of them.
    settings: Vec<Vec<String>>,
    /// Of clients, peers and operators.
    ports: Vec<[u16; 3]>,
    /// The way of the others to each.
    lines: Vec<Proxy>,
    /// The ways of each to the brokers.
    ways: Vec<Vec<Proxy>>,
    running: Vec<Option<Server>>,
}

impl Nodes {
    async fn new(ways: Vec<Vec<Proxy>>, hosts: &str) -> Self {
        let ports: Vec<_> = (0..NODES).map(|_| [free_port(), free_port(), free_port()]).collect();
        let mut lines = Vec::new();
        for [_, peer, _] in &ports {
            lines.push(Proxy::to(([127, 0, 0, 1], *peer).into(), Line::Open).await);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let running = (0..NODES).map(|_| None).collect();
        let mut told = Vec::new();
        for ways in &ways {
            let brokers: Vec<_> = ways.iter().map(Proxy::address).collect();
            told.push(settings(&brokers.join(","), hosts));
        }
        Self { folder, settings: told, ports, lines, ways, running }
    }

    fn start(&mut self, number: usize) {
        let [port, peer, admin] = self.ports[number];
        let way = self.lines[number].address();
        let own = [
            format!("node=node-{number}"),
            format!("peer-listen=127.0.0.1:{peer}"),
            format!("cluster.advertise-peer={way}"),
            format!("admin-listen=127.0.0.1:{admin}"),
        ];
        let set: Vec<&str> = self.settings[number].iter().chain(&own).map(String::as_str).collect();
        self.running[number] = Some(Server::start(self.folder.path(), port, &set));
    }

    fn take(&mut self, number: usize) -> Server {
        self.running[number].take().expect("it runs")
    }

    fn signal(&self, number: usize, name: &str) {
        let server = self.running[number].as_ref().expect("it runs");
        let told = Command::new("kill").args([name, &server.child.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()), "{name}");
    }

    fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|[port, ..]| format!("http://127.0.0.1:{port}")).collect()
    }

    /// Gives an operator's command at a node; tells whether it was taken.
    fn order(&self, at: usize, command: &[&str]) -> bool {
        let admin = format!("http://127.0.0.1:{}", self.ports[at][2]);
        let told = Command::new(env!("CARGO_BIN_EXE_quire"))
            .args(command)
            .args(["--admin", &admin, "--as", "chaos"])
            .output()
            .expect("the binary runs");
        let why = String::from_utf8_lossy(&told.stderr);
        eprintln!("{command:?}: {} {why}", told.status);
        told.status.success()
    }

    /// Waits until the nodes that run own all shards between them, none of them twice.
    async fn settled(&self) {
        let settled = async {
            loop {
                let mut owned = 0.0;
                for server in self.running.iter().flatten() {
                    owned += metric(&server.url, "quire_shard_owned").await;
                }
                if owned == f64::from(SHARDS) {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, settled).await.expect("every shard has one owner");
    }

    /// Has a node not reach the brokers, or not hear them, and do both again after a while.
    async fn astray(&self, number: usize, line: Line, time: Duration) {
        self.ways[number].iter().for_each(|way| way.set(line));
        sleep(time).await;
        self.ways[number].iter().for_each(|way| way.set(Line::Open));
    }

    /// Adds up a figure of all nodes.
    async fn count(&self, name: &str) -> f64 {
        let mut sum = 0.0;
        for server in self.running.iter().flatten() {
            sum += metric(&server.url, name).await;
        }
        sum
    }

    /// Has all brokers be gone: meanwhile nothing is acknowledged or claimed, nobody is held for
    /// dead, and all of it goes on by itself.
    async fn without_brokers(&self, kafka: &Service, storm: &Storm, time: Duration) {
        self.settled().await;
        let down = self.count("quire_cluster_failovers_total").await;
        kafka.run("kill").await;
        sleep(TOLD_LATE).await;
        let claims = "quire_shard_claims_total";
        let before = (storm.durable(), self.count(claims).await);
        sleep(time).await;
        assert_eq!((storm.durable(), self.count(claims).await), before, "without brokers");
        kafka.run("start").await;
        storm.more(EDITS_BETWEEN).await;
        self.settled().await;
        assert_eq!(self.count("quire_cluster_failovers_total").await, down, "held for dead");
    }

    /// Gives an operator's command again until it is taken: who was just started may not be known
    /// yet.
    async fn order_taken(&self, at: usize, command: &[&str]) {
        let taken = async {
            while !self.order(at, command) {
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PATIENCE, taken).await.expect("the command is taken");
    }

    /// Waits until each node has been seen where another one was, in the control topic: they have
    /// the same state there.
    async fn agree(&self) {
        let client = reqwest::Client::new();
        let mut states: HashMap<u64, (usize, String)> = HashMap::new();
        let mut met = [false; NODES];
        let agreed = async {
            while met.contains(&false) {
                for (number, [.., admin]) in self.ports.iter().enumerate() {
                    let url = format!("http://127.0.0.1:{admin}/v1/status");
                    let told = client.get(url).send().await.expect("it answers");
                    let told: Value = told.json().await.expect("JSON");
                    let at = told["at"].as_u64().expect("a number");
                    let state = told["fingerprint"].as_str().expect("text").to_owned();
                    let (other, known) = states.entry(at).or_insert((number, state.clone()));
                    assert_eq!(*known, state, "nodes {number} and {other} at {at}");
                    if *other != number {
                        (met[number], met[*other]) = (true, true);
                    }
                }
            }
        };
        timeout(PATIENCE, agreed).await.expect("they are at one place now and then");
    }

    async fn act(&mut self, act: Act, rng: &mut StdRng, on: (&Service, &Service, &Storm)) {
        let (kafka, cassandra, storm) = on;
        let number = rng.random_range(0..NODES);
        let other = (number + 1) % NODES;
        let node = format!("node-{number}");
        let wait = |millis| sleep(Duration::from_millis(millis));
        match act {
            Act::Kill => self.take(number).kill(),
            Act::Stop => self.take(number).stop(),
            Act::Still(time) => {
                self.signal(number, "-STOP");
                sleep(time).await;
                self.signal(number, "-CONT");
            }
            Act::Broker => {
                let broker = rng.random_range(1..=self.ways[number].len());
                kafka.run(&format!("kill {broker}")).await;
                kafka.run(&format!("start {broker}")).await;
            }
            Act::Brokers(time) => self.without_brokers(kafka, storm, time).await,
            Act::Store => {
                cassandra.run("kill").await;
                cassandra.run("start").await;
            }
            Act::Cut | Act::Deaf => {
                let line = if matches!(act, Act::Cut) { Line::Cut } else { Line::Deaf };
                self.lines[number].set(line);
                wait(rng.random_range(500..6_000)).await;
                self.lines[number].set(Line::Open);
            }
            Act::Away | Act::Unheard => {
                let line = if matches!(act, Act::Away) { Line::Cut } else { Line::Deaf };
                let time = Duration::from_millis(rng.random_range(500..8_000));
                self.astray(number, line, time).await;
            }
            Act::Move => {
                let first = rng.random_range(0..SHARDS);
                // One that is there already is refused.
                let shards = (first..first + SHARDS).map(|shard| (shard % SHARDS).to_string());
                let mut moved =
                    shards.map(|shard| self.order(other, &["move", &shard, "--to", &node]));
                assert!(moved.any(|taken| taken), "a shard is moved");
            }
            Act::Drain => {
                self.order_taken(other, &["drain", &node]).await;
                wait(rng.random_range(0..3_000)).await;
                self.order_taken(other, &["undrain", &node]).await;
            }
            Act::Roll => {
                for number in 0..NODES {
                    self.take(number).stop();
                    self.start(number);
                    self.settled().await;
                }
            }
        }
    }
}

/// Starts so many brokers; returns them, their addresses, and the ways of each node to them.
async fn brokers(count: usize) -> (Service, String, Vec<Vec<Proxy>>) {
    let mut ways = Vec::new();
    for _ in 0..NODES * count {
        // Where it leads is known once they run.
        ways.push(Proxy::to(([127, 0, 0, 1], 1).into(), Line::Cut).await);
    }
    let port = |way: &Proxy| way.address().rsplit(':').next().unwrap_or_default().to_owned();
    let ports: Vec<_> = ways.iter().map(port).collect();
    let told = [("KAFKA_BROKERS", count.to_string()), ("KAFKA_WAYS", ports.join(" "))];
    let told = told.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (kafka, address) = Service::start_with("kafka", &told).await;
    let leads = std::fs::read_to_string(kafka.folder().join("ways")).expect("it is written");
    let leads = leads.split_whitespace().map(|port| port.parse::<u16>().expect("a port"));
    for (way, port) in ways.iter().zip(leads) {
        way.lead_to(([127, 0, 0, 1], port).into());
        way.set(Line::Open);
    }
    let mut of_nodes = Vec::new();
    while !ways.is_empty() {
        of_nodes.push(ways.drain(..count).collect());
    }
    (kafka, address, of_nodes)
}

/// Tells how many shards of a log were trimmed.
async fn trimmed(log: &impl Log) -> usize {
    let mut count = 0;
    for shard in (0..log.shards()).map(ShardId) {
        count += usize::from(log.marks(shard).await.expect("it answers").low.0 > 0);
    }
    count
}

/// Returns what the nodes of a long run are told: they trim as those of every day do.
fn trimming(settings: Vec<String>) -> Vec<String> {
    settings.into_iter().filter(|setting| !setting.starts_with("shard.trim-margin=")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_lose_and_double_nothing_whatever_is_done_to_them() {
    let seconds = std::env::var("QUIRE_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    let (kafka, broker, ways) = brokers(if seconds.is_some() { 3 } else { 1 }).await;
    let (cassandra, hosts) = Service::start("cassandra").await;
    let mut nodes = Nodes::new(ways, &hosts).await;
    if seconds.is_some() {
        nodes.settings = nodes.settings.into_iter().map(trimming).collect();
    }
    (0..NODES).for_each(|number| nodes.start(number));
    nodes.settled().await;
    let (crowd, once) = match seconds {
        Some(_) => {
            let crowd = Crowd { docs: 20, writers: 50, rest: Duration::from_millis(100) };
            (crowd, [EACH, LONG].concat())
        }
        None => (Crowd::default(), EACH.to_vec()),
    };
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let storm = Storm::of(crowd, &nodes.urls());
    let mut rng = StdRng::seed_from_u64(1);
    let (mut each, mut done) = (once.iter().copied(), Vec::new());
    loop {
        let by_chance = (Instant::now() < end).then_some(());
        let Some(act) = each.next().or_else(|| by_chance.map(|()| Act::any(&mut rng))) else {
            break;
        };
        eprintln!("round {}: {act:?}", done.len());
        storm.more(EDITS_BETWEEN).await;
        nodes.act(act, &mut rng, (&kafka, &cassandra, &storm)).await;
        storm.more(EDITS_BETWEEN).await;
        for number in 0..NODES {
            if nodes.running[number].is_none() {
                nodes.start(number);
            }
        }
        done.push(act);
    }
    let count = |act: &Act| done.iter().filter(|it| discriminant(*it) == discriminant(act)).count();
    once.iter().for_each(|act| eprintln!("{act:?} and its like: {} times", count(act)));
    assert!(once.iter().all(|act| done.contains(act)), "each was done: {done:?}");
    nodes.settled().await;
    nodes.agree().await;
    // The last one alone has everything.
    for number in 1..NODES {
        nodes.take(number).stop();
    }
    nodes.settled().await;
    let last = nodes.take(0);
    let set = settings(&broker, &hosts);
    let set: Vec<&str> = set.iter().map(String::as_str).collect();
    let left = Left { data: nodes.folder.path(), set: &set };
    let log = async || {
        let log = logged(&broker).await;
        let trimmed = trimmed(&log).await;
        eprintln!("{trimmed} of {SHARDS} shards were trimmed");
        assert!(trimmed > 0 || seconds.is_none_or(|seconds| seconds < TRIMS_FROM), "none was");
        log
    };
    storm.end(last, left, log).await;
}
