//! What clients notice of a cluster: the pause of acknowledgements when an owner is killed, when a
//! shard moves, when a node is emptied, and when the nodes are restarted one after the other. Three
//! real nodes on real services; what was acknowledged is counted in the texts in the end.
//!
//! ```sh
//! KAFKA_BOOTSTRAP=HOST:PORT CQL_HOSTS=HOST:PORT cargo bench --bench cluster -- kill 30
//! ... -- move 60      ... -- drain 1 300 1000 (rounds, shards, documents)      ... -- roll 3
//! ```

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use quire::client::{Document, Options, Seen, Watcher};
use quire::cluster::{
    Change, Command as Given, Control, Limits, Observer, Operator, Order, Plan, Record, Topic, Void,
};
use quire::log::kafka::{Config, Kafka};
use quire::task::Tasks;
use quire::text::Operation;
use quire::types::{DocId, NodeId, ParticipantId, ShardId, Timestamp};
use tokio::time::sleep;

const NODES: usize = 3;

/// How long a writer rests between two edits, for each document: all together write 1,000 a second
/// at most.
const THINK: Duration = Duration::from_millis(1);

/// How long the cluster is left alone between two events.
const REST: Duration = Duration::from_millis(500);

fn main() {
    let named = |name| std::env::var(name).ok().filter(|hosts| !hosts.is_empty());
    let (Some(broker), Some(store)) = (named("KAFKA_BOOTSTRAP"), named("CQL_HOSTS")) else {
        // `cargo test --benches` and the like have no services.
        return println!("KAFKA_BOOTSTRAP and CQL_HOSTS are not set: nothing is measured");
    };
    let words: Vec<String> = std::env::args().filter(|arg| !arg.starts_with("--")).collect();
    let number =
        |at: usize, default| words.get(at).and_then(|word| word.parse().ok()).unwrap_or(default);
    let what = words.get(1).cloned().unwrap_or_else(|| "move".to_owned());
    let (rounds, shards, docs) = (number(2, 3), number(3, 16), number(4, 20));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("threads").block_on(measure(&what, rounds, shards, docs, &broker, &store));
}

async fn measure(what: &str, rounds: usize, shards: usize, docs: usize, broker: &str, store: &str) {
    let mut cluster = Cluster::start(broker, store, shards).await;
    let writers = Writers::begin(&cluster.urls(), docs);
    sleep(REST * 4).await;
    let mut pauses = Vec::new();
    let began = Instant::now();
    for round in 0..rounds {
        let found = match what {
            "kill" => kill(&mut cluster, &writers, round).await,
            "move" => move_one(&cluster, &writers, round).await,
            "drain" => drain(&cluster, &writers, round).await,
            "roll" => roll(&mut cluster, &writers).await,
            other => return println!("there are kill, move, drain and roll, and not {other}"),
        };
        pauses.extend(found);
        cluster.settled().await;
        sleep(REST).await;
    }
    let took = began.elapsed().as_secs_f64();
    pauses.sort_by(f64::total_cmp);
    let at = |share: f64| pauses[((pauses.len() - 1) as f64 * share).round() as usize];
    let usual = writers.usual();
    println!(
        "{what}: {rounds} rounds, {shards} shards, {docs} documents, {took:.0} s: pause p50 \
         {:.0} ms, p99 {:.0} ms, longest {:.0} ms ({} of them), {} connections ended; usual ack \
         p50 {usual:.2} ms",
        at(0.5),
        at(0.99),
        at(1.0),
        pauses.len(),
        writers.ended.load(Ordering::Relaxed)
    );
    writers.end().await;
    cluster.tasks.stop().await;
}

/// Kills a node: how long after that the next acknowledgement of each of its documents comes.
async fn kill(cluster: &mut Cluster, writers: &Writers, round: usize) -> Vec<f64> {
    let victim = round % NODES;
    let hit = cluster.owned(victim, writers);
    let at = Instant::now();
    cluster.running[victim] = None;
    let next = join_all(hit.iter().map(|doc| writers.next_ack(*doc, at))).await;
    cluster.launch(victim);
    next
}

/// Moves a shard that is written to: the longest pause of each of its documents.
async fn move_one(cluster: &Cluster, writers: &Writers, round: usize) -> Vec<f64> {
    let doc = round % writers.docs.len();
    let shard = cluster.shard(&writers.docs[doc].id);
    let (from, control) = (cluster.owner(shard), cluster.topic.control());
    let others: Vec<_> =
        control.up().map(|(node, _)| node.clone()).filter(|one| *one != from).collect();
    let to = others[round % others.len()].clone();
    let all = |doc: &&Arc<Doc>| cluster.shard(&doc.id) == shard;
    let hit: Vec<_> = writers.docs.iter().filter(all).collect();
    hit.iter().for_each(|doc| doc.forget());
    cluster.give(Order::Move { shard, to: to.clone() }).await;
    while cluster.owner(shard) != to {
        cluster.changed().await;
    }
    sleep(REST).await;
    hit.iter().map(|doc| doc.longest()).collect()
}

/// Empties a node, and lets it have its shards again: the longest pause of each document.
async fn drain(cluster: &Cluster, writers: &Writers, round: usize) -> Vec<f64> {
    cluster.give(Order::Limits(Limits { per_node: 8, cluster: 20 })).await;
    let node = NodeId(format!("node-{}", round % NODES).parse().expect("a name"));
    let hit = cluster.owned(round % NODES, writers);
    hit.iter().for_each(|doc| writers.docs[*doc].forget());
    let began = Instant::now();
    let owned = |control: &Control| {
        let all = (0..control.shards()).map(ShardId);
        all.filter(|shard| control.owner(*shard).is_some_and(|owner| owner.node == node)).count()
    };
    let before = owned(&cluster.topic.control());
    cluster.give(Order::Drain { node: node.clone(), deadline: None }).await;
    while owned(&cluster.topic.control()) > 0 {
        cluster.changed().await;
    }
    println!("{before} shards moved in {:.1} s", began.elapsed().as_secs_f64());
    sleep(REST).await;
    let pauses = hit.iter().map(|doc| writers.docs[*doc].longest()).collect();
    cluster.give(Order::Undrain { node }).await;
    pauses
}

/// Restarts every node in order, one after the other: the longest pause of each document.
async fn roll(cluster: &mut Cluster, writers: &Writers) -> Vec<f64> {
    writers.docs.iter().for_each(|doc| doc.forget());
    for number in 0..NODES {
        if let Some(node) = cluster.running[number].take() {
            node.stop().await;
        }
        cluster.launch(number);
        cluster.settled().await;
    }
    writers.docs.iter().map(|doc| doc.longest()).collect()
}

/// A node that is killed when it is dropped.
struct Node(Child);

impl Node {
    async fn stop(mut self) {
        let pid = self.0.id().to_string();
        Command::new("kill").arg(pid).status().expect("it can be told");
        while self.0.try_wait().expect("it is a child").is_none() {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: &Record, _: &Result<Vec<Change>, Void>, _: &Control) {}
}

struct Cluster {
    set: Vec<String>,
    ports: Vec<(u16, u16)>,
    running: Vec<Option<Node>>,
    topic: Arc<Topic>,
    tasks: Tasks,
}

impl Cluster {
    async fn start(broker: &str, store: &str, shards: usize) -> Self {
        let name = format!("bench_{:08x}", rand::random::<u32>());
        let own = [
            "kafka.create-topics=true",
            "kafka.allow-single-replica=true",
            "cql.replication-factor=1",
            "edge.shutdown-grace=1m",
            "telemetry.log-level=error",
        ];
        let mut set = own.map(str::to_owned).to_vec();
        set.push(format!("shards={shards}"));
        set.push(format!("log=kafka://{broker}/{name}"));
        set.push(format!("checkpoints=cql://{store}/{name}"));
        let free = || {
            let bound = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
            bound.expect("some port is free").port()
        };
        let ports = (0..NODES).map(|_| (free(), free())).collect();
        let running = (0..NODES).map(|_| None).collect();
        let config =
            Config { create_topics: true, allow_single_replica: true, ..Config::default() };
        let hosts = broker.split(',').map(str::to_owned).collect();
        let options =
            quire::log::kafka::Options::new(hosts, &format!("{name}-control"), Some(1), &config);
        let metrics = quire::log::Metrics::register(&prometheus::Registry::new());
        let log =
            Kafka::open(options.expect("no properties"), metrics.expect("a new registry")).await;
        let topic = Arc::new(Topic::new(Arc::new(log.expect("it can be made"))));
        let (tasks, following) = (Tasks::new(), topic.clone());
        let token = tasks.token().clone();
        tasks.spawn("control", async move { following.follow(&Nobody, &token).await });
        let mut cluster = Self { set, ports, running, topic, tasks };
        (0..NODES).for_each(|number| cluster.launch(number));
        cluster.settled().await;
        cluster
    }

    fn launch(&mut self, number: usize) {
        let (port, peer) = self.ports[number];
        let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
        command.args(["serve", "--node", &format!("node-{number}")]);
        command.args(["--listen", &format!("127.0.0.1:{port}")]);
        command.args(["--peer-listen", &format!("127.0.0.1:{peer}")]);
        command.args(self.set.iter().flat_map(|set| ["--set", set]));
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        self.running[number] = Some(Node(child.expect("the binary runs")));
    }

    fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|(port, _)| format!("http://127.0.0.1:{port}")).collect()
    }

    fn shard(&self, doc: &DocId) -> ShardId {
        doc.shard(self.topic.control().shards())
    }

    fn owner(&self, shard: ShardId) -> NodeId {
        self.topic.control().owner(shard).expect("the cluster is settled").node
    }

    fn owned(&self, number: usize, writers: &Writers) -> Vec<usize> {
        let name = format!("node-{number}");
        let here = |doc: &usize| self.owner(self.shard(&writers.docs[*doc].id)).0.as_str() == name;
        (0..writers.docs.len()).filter(here).collect()
    }

    async fn changed(&self) {
        let at = self.topic.control().at();
        self.topic.newer(at).await.expect("the topic is followed");
    }

    async fn give(&self, order: Order) {
        let (name, why) = ("bench".parse(), "measured".parse());
        let name = name.expect("it is short");
        let by = Operator { name, why: why.expect("it is short"), at: Timestamp(1) };
        let command = Record::Command(Given { by, expected: None, order });
        self.topic.write(&command).await.expect("it counts");
    }

    /// Waits until every node is up and has what it is to have.
    async fn settled(&self) {
        loop {
            let control = self.topic.control();
            let mut shards = (0..control.shards()).map(ShardId);
            let up = control.up().count() == NODES && control.shards() > 0;
            if up
                && shards.all(|shard| control.owner(shard).is_some())
                && Plan::of(&control).pending.is_empty()
                && control.moves().next().is_none()
            {
                return;
            }
            self.changed().await;
        }
    }
}

/// A document and its writer.
struct Doc {
    id: DocId,
    document: Document,
    /// The ends of acknowledgements since it was looked at last, and how long each took.
    acks: Mutex<Vec<(Instant, Duration)>>,
    all: Mutex<Vec<f32>>,
    typed: AtomicU64,
}

impl Doc {
    fn forget(&self) {
        self.acks.lock().clear();
    }

    fn longest(&self) -> f64 {
        let longest = self.acks.lock().iter().map(|(_, took)| *took).max();
        longest.map_or(0.0, |took| took.as_secs_f64() * 1e3)
    }

    async fn write(&self, stop: &AtomicBool, think: Duration) {
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            self.document.edit(&Operation::builder().insert("x").build()).expect("it fits");
            self.document.wait_durable().await.expect("the server takes the client");
            let took = began.elapsed();
            self.acks.lock().push((Instant::now(), took));
            self.all.lock().push(took.as_secs_f32() * 1e3);
            self.typed.fetch_add(1, Ordering::Relaxed);
            sleep(think).await;
        }
    }
}

struct Writers {
    docs: Vec<Arc<Doc>>,
    stop: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    ended: Arc<AtomicU64>,
    urls: Vec<String>,
}

/// Counts the connections that ended: each is something that a client noticed.
struct Ends(Arc<AtomicU64>);

impl quire::client::Observer for Ends {
    fn saw(&self, _: &DocId, _: ParticipantId, seen: Seen) {
        if seen == Seen::End {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Writers {
    /// One writer for each document, each at a node of its own choice.
    fn begin(urls: &[String], docs: usize) -> Self {
        let ended = Arc::new(AtomicU64::new(0));
        let doc = |n: usize| {
            let id: DocId = format!("bench-{n}").parse().expect("a name");
            let mut all = urls.to_vec();
            all.rotate_left(n % urls.len());
            let watcher = Some(Watcher(Arc::new(Ends(ended.clone()))));
            let options = Options { urls: all, watcher, ..Options::new("") };
            let document = Document::open(id.clone(), options);
            let (acks, all, typed) = Default::default();
            Arc::new(Doc { id, document, acks, all, typed })
        };
        let all: Vec<_> = (0..docs).map(doc).collect();
        let (stop, spawner) = (Arc::new(AtomicBool::new(false)), Tasks::new());
        let start = |doc: &Arc<Doc>| {
            let (doc, stop) = (doc.clone(), stop.clone());
            let think = THINK * u32::try_from(docs).expect("some thousands");
            spawner.spawn("writer", async move { doc.write(&stop, think).await })
        };
        let tasks = all.iter().map(start).collect();
        Self { docs: all, stop, tasks, ended, urls: urls.to_vec() }
    }

    async fn next_ack(&self, doc: usize, after: Instant) -> f64 {
        let doc = &self.docs[doc];
        loop {
            let next = doc.acks.lock().iter().find(|(end, _)| *end > after).map(|(end, _)| *end);
            if let Some(end) = next {
                return (end - after).as_secs_f64() * 1e3;
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn usual(&self) -> f32 {
        let mut all: Vec<f32> = self.docs.iter().flat_map(|doc| doc.all.lock().clone()).collect();
        all.sort_by(f32::total_cmp);
        all[all.len() / 2]
    }

    /// Ends the writing, and counts every edit in the texts as others see them.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        join_all(self.tasks).await;
        let mut all = 0;
        for doc in &self.docs {
            let typed = doc.typed.load(Ordering::Relaxed);
            let reader = Document::open(
                doc.id.clone(),
                Options { urls: self.urls.clone(), ..Options::new("") },
            );
            let mut status = reader.status();
            let online = status.wait_for(|status| *status == quire::client::Status::Online).await;
            online.expect("it lives");
            assert_eq!(reader.chars(), typed, "{}", doc.id);
            all += typed;
        }
        println!("{all} edits, each once in the texts");
    }
}
