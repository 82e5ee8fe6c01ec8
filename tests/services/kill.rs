//! Writers keep writing while their server and the services under it are killed with SIGKILL.

use quire::log::Metrics;
use quire::log::kafka::{Config, Kafka, Options};

use crate::server::{Server, free_port};
use crate::service::Service;
use crate::storm::{SETTINGS, Storm};

/// Kills of the node; before every fourth, one of the broker and one of the store.
const KILLS: u64 = 20;
const SERVICES_EVERY: u64 = 4;

/// Durable edits of all writers between two kills.
const EDITS_BETWEEN: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_kills_of_node_broker_and_store() {
    let (kafka, broker) = Service::start("kafka").await;
    let (cassandra, hosts) = Service::start("cassandra").await;
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let log = format!("log=kafka://{broker}/kill");
    let store = format!("checkpoints=cql://{hosts}/kill");
    let own = [
        log.as_str(),
        store.as_str(),
        "kafka.create-topics=true",
        "kafka.allow-single-replica=true",
        "cql.replication-factor=1",
    ];
    let settings = [SETTINGS, &own].concat();
    let mut server = Server::start(folder.path(), port, &settings);
    let storm = Storm::begin(&server.url);
    let mut edits = 0;
    for kill in 1..=KILLS {
        if kill % SERVICES_EVERY == 0 {
            for service in [&kafka, &cassandra] {
                edits += EDITS_BETWEEN;
                storm.reach(edits).await;
                service.run("kill").await;
                service.run("start").await;
            }
        }
        edits += EDITS_BETWEEN;
        storm.reach(edits).await;
        server.kill();
        server = Server::start(folder.path(), port, &settings);
    }
    let log = async || {
        let config = Config { allow_single_replica: true, ..Config::default() };
        let options = Options::new(vec![broker.clone()], "kill-log", 16, &config);
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a new registry");
        Kafka::open(options.expect("no properties"), metrics).await.expect("it is there")
    };
    storm.end(server, log).await;
}
