//! Three nodes on a real Kafka and a real CQL store: killed, frozen, emptied, stopped in order and
//! started again, with the broker and the store, while clients write through all of them.

use std::process::Command;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::kill::{logged, settings, stored};
use crate::server::{Server, free_port};
use crate::service::{Service, metric};
use crate::storm::Storm;

/// How many nodes there are.
const NODES: usize = 3;

/// How often something is done to the cluster, where `QUIRE_CHAOS_ROUNDS` does not say.
const ROUNDS: u64 = 8;

/// Durable edits of all writers between two of them.
const EDITS_BETWEEN: u64 = 150;

/// How long every shard may take to find its owner.
const PATIENCE: Duration = Duration::from_secs(30);

/// The nodes, and what they are started with.
struct Nodes {
    folder: tempfile::TempDir,
    settings: Vec<String>,
    ports: Vec<(u16, u16)>,
    running: Vec<Option<Server>>,
}

impl Nodes {
    fn new(broker: &str, hosts: &str) -> Self {
        let ports = (0..NODES).map(|_| (free_port(), free_port())).collect();
        let folder = tempfile::tempdir().expect("a folder");
        let running = (0..NODES).map(|_| None).collect();
        Self { folder, settings: settings(broker, hosts), ports, running }
    }

    fn start(&mut self, number: usize) {
        let (port, peer) = self.ports[number];
        let own = [format!("node=node-{number}"), format!("peer-listen=127.0.0.1:{peer}")];
        let set: Vec<&str> = self.settings.iter().chain(&own).map(String::as_str).collect();
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
        self.ports.iter().map(|(port, _)| format!("http://127.0.0.1:{port}")).collect()
    }

    /// Waits until the nodes that run own all shards between them, none of them twice.
    async fn settled(&self, shards: f64) {
        let settled = async {
            loop {
                let mut owned = 0.0;
                for server in self.running.iter().flatten() {
                    owned += metric(&server.url, "quire_shard_owned").await;
                }
                if owned == shards {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, settled).await.expect("every shard has one owner");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_lose_and_double_nothing_whatever_is_done_to_them() {
    let (kafka, broker) = Service::start("kafka").await;
    let (cassandra, hosts) = Service::start("cassandra").await;
    let mut nodes = Nodes::new(&broker, &hosts);
    (0..NODES).for_each(|number| nodes.start(number));
    nodes.settled(16.0).await;
    let storm = Storm::begin(&nodes.urls());
    let rounds = std::env::var("QUIRE_CHAOS_ROUNDS").ok().and_then(|text| text.parse().ok());
    let (mut rng, mut edits) = (StdRng::seed_from_u64(1), 0);
    for round in 0..rounds.unwrap_or(ROUNDS) {
        edits += EDITS_BETWEEN;
        storm.reach(edits).await;
        let number = rng.random_range(0..NODES);
        match round % 6 {
            0 => nodes.take(number).kill(),
            // It hands its shards over, and leaves.
            1 => nodes.take(number).stop(),
            2 | 3 => {
                // Long enough to be held for dead, or not.
                nodes.signal(number, "-STOP");
                let still = if round % 6 == 2 { 500 } else { 4_000 };
                tokio::time::sleep(Duration::from_millis(still)).await;
                nodes.signal(number, "-CONT");
            }
            4 => {
                kafka.run("kill").await;
                kafka.run("start").await;
            }
            _ => {
                cassandra.run("kill").await;
                cassandra.run("start").await;
            }
        }
        edits += EDITS_BETWEEN;
        storm.reach(edits).await;
        if nodes.running[number].is_none() {
            nodes.start(number);
        }
    }
    nodes.settled(16.0).await;
    // The last one alone has everything.
    for number in 1..NODES {
        nodes.take(number).stop();
    }
    nodes.settled(16.0).await;
    let last = nodes.take(0);
    storm.end(last, async || (logged(&broker).await, stored(&hosts).await)).await;
}
