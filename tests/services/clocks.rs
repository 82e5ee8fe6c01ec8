//! Wall clocks that are an hour off: those of nodes that take shards over from each other, and that
//! of the store.

use std::time::Duration;

use bytesize::ByteSize;
use quire::checkpoint::Store;
use quire::clock::Clock;
use quire::config::{Config, Engine, Remote};
use quire::log::Log;
use quire::node::Node;
use quire::types::{NodeId, ShardId, Timestamp};
use tokio::time::{sleep, timeout};

use crate::audited::Left;
use crate::kill::{logged, settings, stored};
use crate::server::{Server, free_port};
use crate::service::Service;
use crate::storm::Storm;

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

/// Durable edits of all writers under each owner.
const EDITS: u64 = 300;

const SHARD: ShardId = ShardId(0);

/// Waits until the store knows that everything is covered that is in the log now.
async fn covered(log: &dyn Log, store: &dyn Store) {
    let high = log.marks(SHARD).await.expect("it answers").high;
    let covered = async {
        loop {
            let progress = store.progress(SHARD, log.id()).await.expect("it answers");
            if progress.is_some_and(|progress| progress.low_water >= high) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, covered).await.expect("the low-water mark rises");
}

/// Everything small, as in a storm; an hour more or less is ages for a session.
fn small(broker: &str, hosts: &str) -> Config {
    let remote = |host: &str| Remote { hosts: vec![host.to_owned()], name: "kill".to_owned() };
    let mut config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        log: Engine::Kafka(remote(broker)),
        checkpoints: Engine::Cql(remote(hosts)),
        shards: 1,
        ..Config::default()
    };
    config.kafka.create_topics = true;
    config.kafka.allow_single_replica = true;
    config.cql.replication_factor = 1;
    config.document.checkpoint_log_bytes_min = ByteSize::kib(4);
    config.document.checkpoint_log_factor = 1;
    config.document.segment_bytes_min = ByteSize::kib(1);
    config.document.window_revisions = 64;
    config.document.session_expiry = Duration::from_secs(60);
    config.shard.tail_age_max = Duration::from_secs(1);
    config.shard.trim_margin = 1_000_000_000;
    config
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_and_a_store_whose_clocks_differ_by_hours_lose_and_double_nothing() {
    let (_kafka, broker) = Service::start("kafka").await;
    let ahead = &[("CASSANDRA_CLOCK", "+1h")];
    let (_cassandra, hosts) = Service::start_with("cassandra", ahead).await;
    let folder = tempfile::tempdir().expect("a folder");
    let ports = [free_port(), free_port()];
    let hour = 60 * 60 * 1_000;
    let owner = async |turn: usize, off: i64| {
        let mut config = small(&broker, &hosts);
        config.listen.set_port(ports[turn % 2]);
        config.node = NodeId(format!("node-{turn}").parse().expect("it is a name"));
        let now = Timestamp(Clock::wall().now().0.saturating_add_signed(off));
        Node::start(&config, Clock::starting_at(now)).await.expect("it starts")
    };
    let mut node = owner(0, 0).await;
    let storm = Storm::begin(&ports.map(|port| format!("http://127.0.0.1:{port}")));
    let (log, store) = (logged(&broker).await, stored(&hosts).await);
    storm.more(EDITS).await;
    covered(&log, &*store).await;
    for (turn, off) in (1..).zip([-hour, hour, -hour, 0]) {
        let next = owner(turn, off).await;
        // It has lost the shard, and what it has not saved is the next owner's to save.
        let _ = node.stop().await;
        node = next;
        storm.more(EDITS).await;
        // Whoever comes after a clock that was ahead is believed all the same.
        covered(&log, &*store).await;
    }
    let own = settings(&broker, &hosts);
    let own: Vec<&str> = own.iter().map(String::as_str).chain(["shards=1"]).collect();
    let server = Server::start(folder.path(), ports[1], &own);
    let _ = node.stop().await;
    storm.more(EDITS).await;
    let left = Left { data: folder.path(), set: &own };
    storm.end(server, left, async || log).await;
}
