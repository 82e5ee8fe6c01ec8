//! A Kafka of three brokers that keeps every record on two of them at least: one may be gone, and
//! while two are, nothing is acknowledged.

use std::time::Duration;

use quire::client::{Document, Options, Status};
use quire::log::kafka::{self, Kafka, OpenError};
use quire::log::{Log, Metrics};
use quire::task::Tasks;
use quire::types::{Offset, ShardId};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;
use tokio::time::timeout;

use crate::audited::Left;
use crate::kafka::{admin, create};
use crate::outage::{append, durable};
use crate::server::{Server, free_port, quire};
use crate::service::Service;
use crate::storm::{SETTINGS, Storm};

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(90);

/// Between two looks at what the brokers say of themselves.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

const TOPIC: &str = "three-log";
const SHARDS: u32 = 4;

/// How many are killed, one after the other, where `QUIRE_BROKER_KILLS` does not say.
const KILLS: usize = 1;

/// How many topics are created and opened, one after the other.
const CREATED: usize = 100;

/// Durable edits of all writers between two kills.
const EDITS_BETWEEN: u64 = 200;

/// Settings of a server that is told nothing of how many brokers there are.
fn settings(brokers: &str) -> Vec<String> {
    let own = [
        format!("log=kafka://{brokers}/three"),
        "kafka.create-topics=true".to_owned(),
        format!("shards={SHARDS}"),
    ];
    SETTINGS.iter().map(|setting| (*setting).to_owned()).chain(own).collect()
}

async fn open(brokers: &str, topic: &str, shards: u32) -> Result<Kafka, OpenError> {
    let config = kafka::Config { append_timeout: Duration::from_secs(2), ..Default::default() };
    open_with(brokers, topic, shards, &config).await
}

async fn open_with(
    brokers: &str,
    topic: &str,
    shards: u32,
    config: &kafka::Config,
) -> Result<Kafka, OpenError> {
    let hosts = brokers.split(',').map(str::to_owned).collect();
    let options = kafka::Options::new(hosts, topic, Some(shards), config);
    let metrics = Metrics::register(&prometheus::Registry::new()).expect("a new registry");
    Kafka::open(options.expect("no properties"), metrics).await
}

/// Waits until so many brokers have all of every partition.
async fn in_sync(brokers: &str, count: usize) {
    let (brokers, look) = (brokers.to_owned(), Duration::from_secs(5));
    let reached = async {
        loop {
            let brokers = brokers.clone();
            let told = Tasks::offload(move || admin(&brokers).inner().fetch_metadata(None, look));
            if let Ok(told) = told.await {
                let topic = told.topics().iter().find(|topic| topic.name() == TOPIC);
                let partitions = topic.expect("it is there").partitions();
                if partitions.iter().all(|partition| partition.isr().len() == count) {
                    assert_eq!(partitions.len(), SHARDS as usize);
                    return;
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    timeout(PATIENCE, reached).await.expect("the brokers settle");
}

/// A topic that keeps records on too few brokers is not trusted, each with a sentence of its own.
async fn refuses_too_few_copies(brokers: &str) {
    let refusal = async |name: &str, replicas: i32, in_sync: &str| {
        create(brokers, name, (1, replicas), &[("min.insync.replicas", in_sync)]).await;
        open(brokers, name, 1).await.expect_err("it is not trusted").to_string()
    };
    assert_eq!(
        refusal("alone-log", 3, "1").await,
        "the topic alone-log has min.insync.replicas = 1: set it to 2 or more, because what one \
         replica has is lost with it"
    );
    for (name, replicas) in [("single-log", 1), ("double-log", 2)] {
        assert_eq!(
            refusal(name, replicas, "2").await,
            format!(
                "partition 0 of {name} has {replicas} replicas, 3 are needed: raise its \
                 replication factor, or allow it for one machine with --allow-single-replica"
            )
        );
    }
}

/// A topic is opened although some broker has not heard of it yet: one in 25 meets that.
async fn trusts_what_was_created_just_now(brokers: &str) {
    let config = kafka::Config { create_topics: true, ..Default::default() };
    for round in 0..CREATED {
        let opened = open_with(brokers, &format!("fresh-{round}-log"), 1, &config).await;
        opened.expect("it is created and trusted").close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_brokers_may_be_killed_under_writers() {
    let (kafka, brokers) = Service::start_with("kafka", &[("KAFKA_BROKERS", "3")]).await;
    refuses_too_few_copies(&brokers).await;
    trusts_what_was_created_just_now(&brokers).await;
    let folder = tempfile::tempdir().expect("a folder");
    let own = settings(&brokers);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let server = Server::start(folder.path(), free_port(), &own);
    in_sync(&brokers, 3).await;
    let storm = Storm::begin(std::slice::from_ref(&server.url));
    let kills = std::env::var("QUIRE_BROKER_KILLS").ok().and_then(|text| text.parse().ok());
    for broker in (1..=3).cycle().take(kills.unwrap_or(KILLS)) {
        storm.more(EDITS_BETWEEN).await;
        kafka.run(&format!("kill {broker}")).await;
        in_sync(&brokers, 2).await;
        storm.more(EDITS_BETWEEN).await;
        kafka.run(&format!("start {broker}")).await;
        in_sync(&brokers, 3).await;
    }
    let set = &[&own[..], &["checkpoints=embedded"]].concat();
    let left = Left { data: folder.path(), set };
    let opened = async || open(&brokers, TOPIC, SHARDS).await.expect("it is trusted");
    storm.end(server, left, opened).await;
}

/// What the broker says to a record that it may not take.
async fn refusal(brokers: &str) -> Option<RDKafkaErrorCode> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("acks", "all").set("retries", "0");
    let producer: FutureProducer = config.create().expect("a client");
    let record: FutureRecord<'_, (), [u8]> = FutureRecord::to(TOPIC).partition(0).payload(b"x");
    let answer = timeout(PATIENCE, producer.send(record, Duration::ZERO)).await;
    answer.expect("it answers").err().and_then(|(error, _)| error.rdkafka_error_code())
}

/// Returns where each shard ends; none where its leader does not know it.
async fn ends(log: &Kafka) -> Vec<Option<Offset>> {
    let mut ends = Vec::new();
    for shard in 0..SHARDS {
        ends.push(log.marks(ShardId(shard)).await.ok().map(|marks| marks.high));
    }
    ends
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_two_of_three_brokers_are_gone_nothing_is_acknowledged() {
    let three = &[("KAFKA_BROKERS", "3"), ("KAFKA_CONTROLLERS", "1")];
    let (kafka, brokers) = Service::start_with("kafka", three).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut own = settings(&brokers);
    own.push("kafka.append-timeout=3s".to_owned());
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let server = Server::start(folder.path(), free_port(), &own);
    let id = "a".parse().expect("an id");
    let document = Document::open(id, Options::new(&server.url));
    append(&document, "before ");
    durable(&document).await;
    let log = open(&brokers, TOPIC, SHARDS).await.expect("it is trusted");
    let ended = ends(&log).await;
    assert!(ended.iter().all(Option::is_some), "{ended:?}");

    for verb in ["kill 2", "kill 3"] {
        kafka.run(verb).await;
    }
    in_sync(&brokers, 1).await;
    assert_eq!(refusal(&brokers).await, Some(RDKafkaErrorCode::NotEnoughReplicas));
    append(&document, "meanwhile ");
    let mut status = document.status();
    let told = status.wait_for(|status| *status == Status::Offline);
    timeout(PATIENCE, told).await.expect("the client is told").expect("it is open");
    append(&document, "offline ");
    let url = format!("{}/v1/docs/a", server.url);
    let put = reqwest::Client::new()
        .put(url)
        .json(&serde_json::json!({"text": "never acknowledged"}))
        .send();
    let answer = timeout(PATIENCE, put).await.expect("it answers").expect("it answers");
    assert_eq!(answer.status().as_u16(), 503, "{answer:?}");
    assert!(!document.witness(), "what was written meanwhile is not durable");
    for (now, ended) in ends(&log).await.into_iter().zip(ended) {
        // A leader that became one without enough others does not tell.
        assert!(now.is_none() || now == ended, "nothing is in the log: {now:?}, {ended:?}");
    }

    // Two of three are enough again, and nobody has to do anything.
    kafka.run("start 2").await;
    durable(&document).await;
    assert_eq!(document.text(), "before meanwhile offline ", "all of it, and once");
    kafka.run("start 3").await;
    in_sync(&brokers, 3).await;
    append(&document, "after");
    durable(&document).await;
    assert_eq!(quire(&["doc", "cat", "a", "--url", &server.url]), document.text());
    server.stop();
    let verified = quire(&["log", "verify", "--log", &format!("kafka://{brokers}/three")]);
    assert!(verified.contains(" 0 cannot be read, 0 missing"), "{verified}");
}
