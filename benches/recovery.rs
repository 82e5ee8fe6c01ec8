//! What a node owes after its end: the first acknowledgement after `kill -9` with a long tail,
//! beside a bare read of that tail, and the opening of documents that are not in memory, beside a
//! bare read of their checkpoints. Each three times, on real services and the real binary.
//!
//! `KAFKA_BOOTSTRAP=HOST:PORT CQL_HOSTS=HOST:PORT cargo bench --bench recovery -- MIB`

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use quire::checkpoint::cql::{self, Cql};
use quire::checkpoint::{Store, load};
use quire::client::{Connection, Credentials};
use quire::log::kafka::{Config, Kafka, Options};
use quire::log::{Log, Metrics};
use quire::text::Operation;
use quire::types::{DocId, Revision, Seq, SessionId, ShardId};
use quire::wire::{ClientMessage, Codec, Hello, Mode, ServerMessage, VERSION};

const DOCS: usize = 100;
const COLD: usize = 20;
const ROUNDS: usize = 3;

/// A record with one keystroke in a document with a short name.
const RECORD_BYTES: usize = 45;

fn main() {
    let named = |name| std::env::var(name).ok().filter(|hosts| !hosts.is_empty());
    let (Some(broker), Some(store)) = (named("KAFKA_BOOTSTRAP"), named("CQL_HOSTS")) else {
        // `cargo test --benches` and the like have no services.
        return println!("KAFKA_BOOTSTRAP and CQL_HOSTS are not set: nothing is measured");
    };
    let mib = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(16);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("threads").block_on(measure(&broker, &store, mib));
}

async fn measure(broker: &str, store: &str, mib: usize) {
    let bench = Bench::new(broker, store);
    let mut node = bench.start();
    let keys = (mib << 20) / RECORD_BYTES / DOCS;
    join_all((0..DOCS).map(|n| bench.write(n, keys))).await;
    let log = bench.log(broker).await;
    println!("{:>10} {:>16} {:>16} {:>8}", "tail bytes", "first ack s", "bare read s", "ratio");
    for _ in 0..ROUNDS {
        drop(node);
        let began = Instant::now();
        node = bench.start();
        bench.write(0, 1).await;
        let acknowledged = began.elapsed().as_secs_f64();
        let (bytes, bare) = read(&log).await;
        let ratio = acknowledged / bare;
        println!("{bytes:>10} {acknowledged:>16.3} {bare:>16.3} {ratio:>8.1}");
    }
    let config = cql::Config { replication_factor: 1, ..cql::Config::default() };
    let hosts: Vec<_> = store.split(',').map(str::to_owned).collect();
    let store = Cql::open(&hosts, &bench.name, &config).await.expect("it is there");
    println!("{:>10} {:>22} {:>22}", "documents", "opened p50 / max ms", "read p50 / max ms");
    for _ in 0..ROUNDS {
        // Everything is saved, and nothing is in memory.
        stop(&mut node);
        node = bench.start();
        bench.connect(DOCS).await;
        let (mut opened, mut bare) = (Vec::new(), Vec::new());
        for n in 0..COLD {
            // Each is the first in turn: what was read once is at hand for the other.
            if n % 2 == 0 {
                bare.push(bench.load(&store, &log, n).await);
                opened.push(bench.open(n).await);
            } else {
                opened.push(bench.open(n).await);
                bare.push(bench.load(&store, &log, n).await);
            }
        }
        let (opened, bare) = (spread(opened), spread(bare));
        println!(
            "{COLD:>10} {:>13.2} / {:>6.2} {:>13.2} / {:>6.2}",
            opened.0, opened.1, bare.0, bare.1
        );
    }
    stop(&mut node);
}

/// A node that is killed when it is dropped.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Bench {
    name: String,
    listen: String,
    set: Vec<String>,
}

impl Bench {
    fn new(broker: &str, store: &str) -> Self {
        let name = format!("bench_{:08x}", rand::random::<u32>());
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let listen = free.expect("some port is free").to_string();
        let own = [
            "kafka.create-topics=true",
            "kafka.allow-single-replica=true",
            "cql.replication-factor=1",
            "shards=1",
            "document.checkpoint-log-bytes-min=1GiB",
            "shard.tail-bytes-max=1TiB",
            "shard.tail-age-max=1d",
            "document.idle-after=1d",
            "edge.shutdown-grace=5m",
            "telemetry.log-level=error",
        ];
        let mut set = own.map(str::to_owned).to_vec();
        set.push(format!("log=kafka://{broker}/{name}"));
        set.push(format!("checkpoints=cql://{store}/{name}"));
        Self { name, listen, set }
    }

    fn start(&self) -> Node {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
        command.args(["serve", "--listen", &self.listen]);
        command.args(self.set.iter().flat_map(|set| ["--set", set]));
        Node(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the binary runs"))
    }

    async fn log(&self, broker: &str) -> Kafka {
        let config = Config { allow_single_replica: true, ..Config::default() };
        let hosts = broker.split(',').map(str::to_owned).collect();
        let options = Options::new(hosts, &format!("{}-log", self.name), None, &config);
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a new registry");
        Kafka::open(options.expect("no properties"), metrics).await.expect("it is there")
    }

    fn doc(n: usize) -> DocId {
        format!("doc-{n}").parse().expect("an id")
    }

    async fn try_connect(&self, n: usize) -> Option<(Connection, Revision)> {
        let session = SessionId(rand::random());
        let hello =
            Hello { v: VERSION, session, rev: None, mode: Mode::Edit, ordered: false, user: None };
        let url = format!("http://{}", self.listen);
        let opened =
            Connection::open(&url, &Credentials::default(), &Self::doc(n), Codec::Binary, hello)
                .await;
        opened.ok().map(|(connection, welcome)| (connection, welcome.head))
    }

    /// Connects as soon as the node takes clients.
    async fn connect(&self, n: usize) -> (Connection, Revision) {
        loop {
            match self.try_connect(n).await {
                Some(connected) => return connected,
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Types so many keys into a document, each after the one before is durable.
    async fn write(&self, n: usize, keys: usize) {
        let (mut connection, head) = self.connect(n).await;
        let op = Operation::builder().insert("x").build();
        for key in 0..keys as u64 {
            let (seq, base, op) = (Seq(key + 1), Revision(head.0 + key), op.clone());
            connection.send(&ClientMessage::Op { seq, base, op }).await.expect("it is open");
            while !matches!(
                connection.receive().await.expect("it is open"),
                Some(ServerMessage::Ack { .. })
            ) {}
        }
        connection.close().await;
    }

    /// Returns how long it takes until a client is welcomed, in milliseconds.
    async fn open(&self, n: usize) -> f64 {
        let began = Instant::now();
        let (connection, _) = self.try_connect(n).await.expect("it is taken");
        let took = began.elapsed();
        connection.close().await;
        took.as_secs_f64() * 1_000.0
    }

    /// Returns how long the bare read of its checkpoint takes, in milliseconds.
    async fn load(&self, store: &dyn Store, log: &Kafka, n: usize) -> f64 {
        let began = Instant::now();
        let loaded = load(store, &Self::doc(n), log.id()).await.expect("it answers");
        assert!(loaded.is_some(), "it is saved");
        began.elapsed().as_secs_f64() * 1_000.0
    }
}

/// Reads the whole log; returns its bytes, and the seconds that takes.
async fn read(log: &Kafka) -> (usize, f64) {
    let began = Instant::now();
    let marks = log.marks(ShardId(0)).await.expect("it answers");
    let (mut next, mut bytes) = (marks.low, 0);
    while next < marks.high {
        let batch = log.read(ShardId(0), next, 4 << 20).await.expect("it answers");
        bytes += batch.records.iter().map(|stored| stored.bytes.len()).sum::<usize>();
        next = batch.next;
    }
    (bytes, began.elapsed().as_secs_f64())
}

/// Has a node save everything and end.
fn stop(Node(node): &mut Node) {
    let told = Command::new("kill").args(["-TERM", &node.id().to_string()]).status();
    assert!(told.is_ok_and(|status| status.success()), "it runs");
    assert!(node.wait().expect("it was started here").success(), "it ends in order");
}

/// Returns the median and the most.
fn spread(mut took: Vec<f64>) -> (f64, f64) {
    took.sort_by(f64::total_cmp);
    (took[took.len() / 2], took[took.len() - 1])
}
