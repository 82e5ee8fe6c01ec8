//! What services do to a node beyond being gone: records that are no records, checkpoints that are
//! lost, a log that has lost its beginning or was made anew.

use std::fs;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use quire::log::Log;
use quire::log::kafka::Kafka;
use quire::types::ShardId;
use scylla::client::session_builder::SessionBuilder;

use crate::kill::{logged, settings};
use crate::server::{QUIRE, Server, free_port, quire};
use crate::service::{Service, metric};

struct Rig {
    folder: tempfile::TempDir,
    _services: (Service, Service),
    broker: String,
    hosts: String,
    own: Vec<String>,
}

impl Rig {
    async fn new(more: &[&str]) -> Self {
        let (kafka, broker) = Service::start("kafka").await;
        let (cassandra, hosts) = Service::start("cassandra").await;
        let mut own = settings(&broker, &hosts);
        own.push("shards=1".to_owned());
        own.extend(more.iter().map(|setting| (*setting).to_owned()));
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, _services: (kafka, cassandra), broker, hosts, own }
    }

    fn start(&self) -> Server {
        let own: Vec<&str> = self.own.iter().map(String::as_str).collect();
        Server::start(self.folder.path(), free_port(), &own)
    }

    fn import(&self, server: &Server, doc: &str, text: &str) {
        let file = self.folder.path().join("in.txt");
        fs::write(&file, text).expect("it can be written");
        let file = file.display().to_string();
        quire(&["doc", "import", doc, &file, "--author", "ann", "--url", &server.url]);
    }

    async fn log(&self) -> Kafka {
        logged(&self.broker).await
    }

    async fn truncate(&self, tables: &[&str]) {
        let session = SessionBuilder::new().known_node(&self.hosts).build().await;
        let session = session.expect("it answers");
        for table in tables {
            let statement = format!("TRUNCATE kill.{table}");
            session.query_unpaged(statement, &[]).await.expect("it is carried out");
        }
    }
}

fn cat(server: &Server, doc: &str) -> String {
    quire(&["doc", "cat", doc, "--url", &server.url])
}

const SHARD: ShardId = ShardId(0);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_log_holds_survives_foreign_records_and_an_emptied_store() {
    let rig = Rig::new(&[]).await;
    let server = rig.start();
    rig.import(&server, "a", "first");
    let log = rig.log().await;
    log.append(SHARD, Bytes::from_static(b"no record of Quire")).await.expect("it is written");
    // The gap is read before anything is acknowledged, and what is in it is counted.
    rig.import(&server, "a", "first and second");
    assert_eq!(metric(&server.url, "quire_shard_unreadable_total").await, 1.0);
    let verify = ["log", "verify", "--log", &format!("kafka://{}/kill", rig.broker)];
    let verified = Command::new(QUIRE).args(verify).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(said.contains("1 cannot be read"), "{said}");
    assert_eq!(verified.status.code(), Some(1), "a damaged record is an alarm");
    server.stop();

    // Without any checkpoint: everything is replayed, because the log is whole.
    rig.truncate(&["manifests", "blobs", "chunks", "progress"]).await;
    let server = rig.start();
    assert_eq!(cat(&server, "a"), "first and second");
    rig.import(&server, "a", "third");
    server.stop();
    let server = rig.start();
    assert_eq!(cat(&server, "a"), "third");
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_has_lost_its_beginning_is_served_for_reading() {
    let rig = Rig::new(&[]).await;
    let server = rig.start();
    rig.import(&server, "saved", "one");
    server.stop();
    let server = rig.start();
    rig.import(&server, "saved", "one, two");
    rig.import(&server, "lost", "gone");
    server.kill();
    let log = rig.log().await;
    let high = log.marks(SHARD).await.expect("it answers").high;
    log.trim(SHARD, high).await.expect("it is removed");

    let server = rig.start();
    assert_eq!(metric(&server.url, "quire_shard_lost").await, 1.0);
    assert_eq!(cat(&server, "saved"), "one", "what its checkpoint holds");
    let import = |doc: &str, file: &Path| {
        let file = file.display().to_string();
        let args = ["doc", "import", doc, &file, "--url", &server.url];
        Command::new(QUIRE).args(args).output().expect("the binary runs")
    };
    let refused = import("saved", &rig.folder.path().join("in.txt"));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("the log has lost records"), "{said}");
    assert_eq!(log.marks(SHARD).await.expect("it answers").high, high, "nothing is written");
    server.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_made_anew_under_a_node_ends_the_node() {
    let rig = Rig::new(&["kafka.append-timeout=2s"]).await;
    let mut server = rig.start();
    for round in 0..5 {
        rig.import(&server, "a", &format!("text {round}"));
    }
    let mut config = rdkafka::ClientConfig::new();
    config.set("bootstrap.servers", &rig.broker);
    let admin: rdkafka::admin::AdminClient<_> = config.create().expect("a client");
    let asked = rdkafka::admin::AdminOptions::new();
    let deleted = admin.delete_topics(&["kill-log"], &asked).await;
    deleted.expect("it answers").pop().expect("one topic").expect("it is deleted");
    let config = quire::log::kafka::Config {
        create_topics: true,
        allow_single_replica: true,
        ..quire::log::kafka::Config::default()
    };
    loop {
        // The broker takes a moment to forget the old one.
        let options =
            quire::log::kafka::Options::new(vec![rig.broker.clone()], "kill-log", Some(1), &config);
        let metrics = quire::log::Metrics::register(&prometheus::Registry::new());
        let metrics = metrics.expect("a new registry");
        if Kafka::open(options.expect("no properties"), metrics).await.is_ok() {
            break;
        }
    }
    let url = format!("{}/v1/docs/a", server.url);
    let edit = reqwest::Client::new()
        .put(url)
        .json(&serde_json::json!({"text": "never acknowledged"}))
        .send();
    let answer = edit.await.map(|answer| answer.status().is_success());
    assert_ne!(answer.ok(), Some(true), "nothing is acknowledged in another log");
    let ended = server.child.wait().expect("it was started here");
    assert_eq!(ended.code(), Some(1), "it says so and ends");
}
