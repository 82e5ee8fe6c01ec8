//! Writers keep writing while their server and the services under it are killed with SIGKILL.

use std::sync::Arc;

use quire::checkpoint::{Store, cql};
use quire::log::kafka::{Config, Kafka, Options};
use quire::log::{Log, Metrics};
use quire::types::ShardId;

use crate::audited::Left;
use crate::server::{Server, free_port};
use crate::service::Service;
use crate::storm::{SETTINGS, Storm};

/// Kills of the node; before every fourth, one of the broker and one of the store.
const KILLS: u64 = 20;
const SERVICES_EVERY: u64 = 4;

/// Durable edits of all writers between two kills.
const EDITS_BETWEEN: u64 = 200;

/// Returns the settings of a server on these services.
pub(crate) fn settings(broker: &str, hosts: &str) -> Vec<String> {
    let own = [
        format!("log=kafka://{broker}/kill"),
        format!("checkpoints=cql://{hosts}/kill"),
        "kafka.create-topics=true".to_owned(),
        "kafka.allow-single-replica=true".to_owned(),
        "shards=16".to_owned(),
        "cql.replication-factor=1".to_owned(),
    ];
    SETTINGS.iter().map(|setting| (*setting).to_owned()).chain(own).collect()
}

/// Opens the log that such a server writes.
pub(crate) async fn logged(broker: &str) -> Kafka {
    let config = Config { allow_single_replica: true, ..Config::default() };
    let options = Options::new(vec![broker.to_owned()], "kill-log", None, &config);
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("a new registry");
    Kafka::open(options.expect("no properties"), metrics).await.expect("it is there")
}

/// Opens the checkpoints that such a server keeps.
pub(crate) async fn stored(hosts: &str) -> Arc<dyn Store> {
    let config = cql::Config { replication_factor: 1, ..cql::Config::default() };
    let store = cql::Cql::open(&[hosts.to_owned()], "kill", &config).await;
    Arc::new(store.expect("it is there"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_kills_of_node_broker_and_store() {
    let (kafka, broker) = Service::start("kafka").await;
    // Its last seconds of acknowledged writes are gone after each kill.
    let periodic = &[("CASSANDRA_COMMITLOG_SYNC", "periodic")];
    let (cassandra, hosts) = Service::start_with("cassandra", periodic).await;
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let own = settings(&broker, &hosts);
    let settings: Vec<&str> = own.iter().map(String::as_str).collect();
    let mut server = Server::start(folder.path(), port, &settings);
    let storm = Storm::begin(std::slice::from_ref(&server.url));
    for kill in 1..=KILLS {
        if kill % SERVICES_EVERY == 0 {
            for service in [&kafka, &cassandra] {
                storm.more(EDITS_BETWEEN).await;
                service.run("kill").await;
                service.run("start").await;
            }
        }
        storm.more(EDITS_BETWEEN).await;
        server.kill();
        server = Server::start(folder.path(), port, &settings);
    }
    let left = Left { data: folder.path(), set: &settings };
    storm.end(server, left, async || logged(&broker).await).await;
}

/// Kills of a store that forgets, each with a kill of the node right after it.
const FORGETTING_KILLS: u64 = 5;

/// No more than these, where it has not forgotten anything yet.
const FORGETTING_KILLS_MAX: u64 = 20;

/// Records trimmed between two of them.
const TRIMMED_BETWEEN: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_forgets_takes_nothing_along_that_was_trimmed_meanwhile() {
    let (_kafka, broker) = Service::start("kafka").await;
    let periodic =
        &[("CASSANDRA_COMMITLOG_SYNC", "periodic"), ("CASSANDRA_COMMITLOG_PERIOD", "1s")];
    let (cassandra, hosts) = Service::start_with("cassandra", periodic).await;
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let mut own = settings(&broker, &hosts);
    // The margin of every day; one shard, so that its records pass soon.
    own.retain(|setting| !setting.starts_with("shard.trim-margin="));
    own.push("shards=1".to_owned());
    own.push("shard.tail-age-max=1s".to_owned());
    own.push("shard.trim-delay=3s".to_owned());
    let settings: Vec<&str> = own.iter().map(String::as_str).collect();
    let mut server = Server::start(folder.path(), port, &settings);
    let log = logged(&broker).await;
    let low = async || log.marks(ShardId(0)).await.expect("it answers").low;
    let low_water = async |store: &dyn Store| {
        let progress = store.progress(ShardId(0), log.id()).await;
        progress.expect("it answers").map(|progress| progress.low_water)
    };
    let storm = Storm::begin(std::slice::from_ref(&server.url));
    let (mut trimmed, mut kills, mut forgotten) = (0, 0, 0);
    while kills < FORGETTING_KILLS || forgotten == 0 {
        assert!(kills < FORGETTING_KILLS_MAX, "the store has forgotten nothing in {kills} kills");
        kills += 1;
        // What is about to be forgotten was the reason to trim.
        trimmed += TRIMMED_BETWEEN;
        while low().await.0 < trimmed {
            storm.more(EDITS_BETWEEN).await;
        }
        // Just moved: what says so is not on the store's disk yet, most of the time.
        let store = stored(&hosts).await;
        let (at, mut before) = (low_water(&*store).await, low_water(&*store).await);
        while before == at {
            storm.more(1).await;
            before = low_water(&*store).await;
        }
        cassandra.run("kill").await;
        server.kill();
        cassandra.run("start").await;
        forgotten += u64::from(low_water(&*stored(&hosts).await).await < before);
        server = Server::start(folder.path(), port, &settings);
    }
    println!("the store went back {forgotten} times of {kills}");
    let left = Left { data: folder.path(), set: &settings };
    storm.end(server, left, async || log).await;
}
