//! The log in a real Kafka, named by the variable `KAFKA_BOOTSTRAP`.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use prometheus::Registry;
use quire::log::contract::{self, Subject};
use quire::log::kafka::{Config, Kafka, OpenError, Options};
use quire::log::{AppendError, Log, Metrics, ReadError, Stored};
use quire::task::Tasks;
use quire::types::{Offset, ShardId};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use tokio::time::timeout;

use crate::service::Service;

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

const SHARD: ShardId = ShardId(0);

pub(crate) fn hosts() -> Vec<String> {
    let hosts = env::var("KAFKA_BOOTSTRAP").ok().filter(|hosts| !hosts.is_empty());
    let hosts = hosts.expect(
        "KAFKA_BOOTSTRAP is not set: run tests/run, or tests/services/kafka DIR start and set it",
    );
    hosts.split(',').map(str::to_owned).collect()
}

pub(crate) fn config() -> Config {
    Config { create_topics: true, allow_single_replica: true, ..Config::default() }
}

pub(crate) fn fresh_topic() -> String {
    format!("test-{:016x}-log", rand::random::<u64>())
}

pub(crate) async fn open(topic: &str, shards: u32, config: &Config) -> Result<Kafka, OpenError> {
    let options = Options::new(hosts(), topic, Some(shards), config).expect("no properties");
    Kafka::open(options, Metrics::register(&Registry::new()).expect("a new registry")).await
}

struct Topic(String);

#[async_trait]
impl Subject for Topic {
    async fn open(&self) -> Arc<dyn Log> {
        Arc::new(open(&self.0, contract::SHARDS, &config()).await.expect("it opens"))
    }
}

struct Followed(String);

#[async_trait]
impl Subject for Followed {
    async fn open(&self) -> Arc<dyn Log> {
        let options = Options::new(hosts(), &self.0, Some(contract::SHARDS), &config());
        let mut options = options.expect("no properties");
        options.is_followed = true;
        let metrics = Metrics::register(&Registry::new()).expect("a new registry");
        Arc::new(Kafka::open(options, metrics).await.expect("it opens"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_the_contract_where_it_is_followed() {
    contract::all(&|| Box::new(Followed(fresh_topic()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_the_contract() {
    contract::all(&|| Box::new(Topic(fresh_topic()))).await;
}

pub(crate) fn admin(hosts: &str) -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", hosts);
    config.create().expect("a client")
}

/// Creates a topic that is to be trusted, but for its replicas and further settings.
pub(crate) async fn create(
    hosts: &str,
    name: &str,
    (partitions, replicas): (i32, i32),
    settings: &[(&str, &str)],
) {
    let all = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("unclean.leader.election.enable", "false"),
        ("max.message.bytes", "17000000"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
    for (key, value) in all {
        topic = topic.set(key, value);
    }
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let created = admin(hosts).create_topics([&topic], &AdminOptions::new()).await;
    created.expect("it answers").pop().expect("one topic").expect("it is created");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_would_lose_records_is_refused() {
    let trusting = Config { create_topics: false, ..config() };
    let missing = open(&fresh_topic(), 2, &trusting).await.expect_err("it is not there");
    assert!(matches!(missing, OpenError::NoTopic { .. }), "{missing}");
    let topic = fresh_topic();
    let at = hosts().join(",");
    create(&at, &topic, (3, 1), &[]).await;
    let other = open(&topic, 2, &trusting).await.expect_err("it has another number");
    assert!(other.to_string().contains("--shards 3"), "{other}");
    open(&topic, 3, &trusting).await.expect("it is right");
    let strict = Config { allow_single_replica: false, ..trusting.clone() };
    let single = open(&topic, 3, &strict).await.expect_err("it has one replica");
    assert!(matches!(single, OpenError::Replicas { found: 1, least: 3, .. }), "{single}");
    for (key, value) in [
        ("retention.ms", "604800000"),
        ("retention.bytes", "1000000"),
        ("cleanup.policy", "compact"),
        ("unclean.leader.election.enable", "true"),
        ("max.message.bytes", "1000000"),
        ("message.timestamp.type", "CreateTime"),
    ] {
        let topic = fresh_topic();
        create(&at, &topic, (1, 1), &[(key, value)]).await;
        let refused = open(&topic, 1, &trusting).await.expect_err("it is not trusted");
        assert!(refused.to_string().contains(&format!("{key} = {value}")), "{refused}");
    }
    // The time of the node is as good where it may be any.
    let topic = fresh_topic();
    let any = i64::MAX.to_string();
    let own = [("message.timestamp.type", "CreateTime"), ("message.timestamp.after.max.ms", &any)];
    create(&at, &topic, (1, 1), &own).await;
    open(&topic, 1, &trusting).await.expect("no clock is too far ahead");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_created_anew_is_another_log() {
    let topic = fresh_topic();
    let first = open(&topic, 1, &config()).await.expect("it is created");
    let again = open(&topic, 1, &config()).await.expect("it is there");
    assert_eq!(first.id(), again.id());
    let deleted = admin(&hosts().join(",")).delete_topics(&[&topic], &AdminOptions::new()).await;
    deleted.expect("it answers").pop().expect("one topic").expect("it is deleted");
    let anew = loop {
        // The broker takes a moment to forget the old one.
        match open(&topic, 1, &config()).await {
            Ok(anew) if anew.id() != first.id() => break anew,
            Ok(_) | Err(OpenError::NotCreated { .. } | OpenError::Refused { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    };
    assert_ne!(anew.id(), first.id());
}

async fn append(log: &Kafka, text: &'static str) -> Result<Offset, AppendError> {
    log.append(SHARD, Bytes::from_static(text.as_bytes())).await
}

async fn records(log: &Kafka) -> Vec<(u64, Bytes)> {
    let high = log.marks(SHARD).await.expect("it answers").high;
    let (mut records, mut next) = (Vec::new(), Offset(0));
    while next < high {
        let batch = log.read(SHARD, next, 1 << 20).await.expect("it can be read");
        records.extend(batch.records.into_iter().map(|stored| (stored.offset.0, stored.bytes)));
        next = batch.next;
    }
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_failed_for_good_is_replaced_and_offsets_go_on() {
    let log = open(&fresh_topic(), 1, &config()).await.expect("it is created");
    assert_eq!(append(&log, "before").await.ok(), Some(Offset(0)));
    log.break_producer();
    let failed = append(&log, "lost or not").await;
    assert!(failed.is_err(), "{failed:?}");
    let after = append(&log, "after").await.expect("there is a new producer");
    let there = records(&log).await;
    assert_eq!(there.first(), Some(&(0, Bytes::from_static(b"before"))));
    assert_eq!(there.last(), Some(&(after.0, Bytes::from_static(b"after"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_stand_still_are_an_error_and_no_hang() {
    let (kafka, address) = Service::start("kafka").await;
    let short = Config { append_timeout: Duration::from_secs(2), ..config() };
    let options = Options::new(vec![address], "frozen-log", Some(1), &short);
    let metrics = Metrics::register(&Registry::new()).expect("a new registry");
    let log = Kafka::open(options.expect("no properties"), metrics).await.expect("it is created");
    assert_eq!(append(&log, "a").await.ok(), Some(Offset(0)));
    kafka.run("freeze").await;
    let stuck = append(&log, "b").await;
    assert!(matches!(stuck, Err(AppendError::Unknown { .. })), "{stuck:?}");
    log.read(SHARD, Offset(0), 1 << 20).await.expect_err("nobody answers");
    kafka.run("thaw").await;
    let after = loop {
        if let Ok(offset) = append(&log, "c").await {
            break offset;
        }
    };
    let there = records(&log).await;
    assert_eq!(there.first(), Some(&(0, Bytes::from_static(b"a"))));
    assert_eq!(there.last(), Some(&(after.0, Bytes::from_static(b"c"))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_throttled_producer_is_slow_and_loses_nothing() {
    let (kafka, address) = Service::start("kafka").await;
    kafka.run("throttle").await;
    let options = Options::new(vec![address], "throttled-log", Some(1), &config());
    let metrics = Metrics::register(&Registry::new()).expect("a new registry");
    let log = Kafka::open(options.expect("no properties"), metrics).await.expect("it is created");
    let long = Bytes::from(vec![b'x'; 20_000]);
    let appends: Vec<_> = (0..20).map(|_| log.append(SHARD, long.clone())).collect();
    for (wanted, append) in (0..).zip(appends) {
        assert_eq!(append.await.ok(), Some(Offset(wanted)));
    }
    assert_eq!(records(&log).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_the_disk_has_damaged_are_passed_over_one_by_one() {
    let (kafka, address) = Service::start("kafka").await;
    // Records that come together are damaged together.
    let config = Config { linger: Duration::from_millis(200), ..config() };
    let open = async || {
        let options = Options::new(vec![address.clone()], "rotten-log", Some(1), &config);
        let metrics = Metrics::register(&Registry::new()).expect("a new registry");
        Kafka::open(options.expect("no properties"), metrics).await.expect("it is there")
    };
    let log = open().await;
    append(&log, "first").await.expect("it is written");
    let together = ["second", "2b", "2c"].map(|text| append(&log, text));
    for appended in futures_util::future::join_all(together).await {
        appended.expect("it is written");
    }
    append(&log, "third").await.expect("it is written");
    log.close().await;
    damage(&kafka, "rotten-log", b"second").await;
    let log = open().await;
    let there = records(&log).await;
    let wanted = [(0, "first"), (1, ""), (2, ""), (3, ""), (4, "third")];
    assert_eq!(there, wanted.map(|(offset, text)| (offset, Bytes::from_static(text.as_bytes()))));
    // Who asks for single ones, as they were there before, gets one for each.
    let single = async |offsets: &[u64]| {
        let offsets: Vec<_> = offsets.iter().copied().map(Offset).collect();
        let found = log.fetch(SHARD, &offsets).await.expect("none was trimmed");
        let found = found.into_iter().map(|stored| (stored.offset.0, stored.bytes.len()));
        found.collect::<Vec<_>>()
    };
    assert_eq!(single(&[0, 1, 2, 3, 4]).await, [(0, 5), (1, 0), (2, 0), (3, 0), (4, 5)]);
    assert_eq!(single(&[3]).await, [(3, 0)]);
    assert_eq!(append(&log, "fourth").await.ok(), Some(Offset(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_passes_over_what_is_damaged_where_nothing_comes_after_it() {
    let (kafka, address) = Service::start("kafka").await;
    // The client tells of the damage less often than it is waited for what comes.
    let properties = "fetch.error.backoff.ms=200".to_owned();
    let config = Config { properties, ..config() };
    let open = async || {
        let options = Options::new(vec![address.clone()], "rotten-control", Some(1), &config);
        let mut options = options.expect("no properties");
        options.is_followed = true;
        let metrics = Metrics::register(&Registry::new()).expect("a new registry");
        Kafka::open(options, metrics).await.expect("it is there")
    };
    let log = open().await;
    for text in ["first", "second"] {
        append(&log, text).await.expect("it is written");
    }
    log.close().await;
    damage(&kafka, "rotten-control", b"second").await;
    let nodes = [open().await, open().await];
    let second = [Stored { offset: Offset(1), bytes: Bytes::new() }];
    for log in &nodes {
        let first = timeout(PATIENCE, log.read(SHARD, Offset(0), 1 << 20)).await.expect("in time");
        assert_eq!(first.expect("it is there").next, Offset(1), "it is not waited for");
        timeout(PATIENCE, log.wait(SHARD, Offset(1))).await.expect("in time").expect("it ends");
        let there = timeout(PATIENCE, log.read(SHARD, Offset(1), 1 << 20)).await.expect("in time");
        assert_eq!(there.expect("it is passed over").records, second);
    }
    assert_eq!(append(&nodes[0], "third").await.ok(), Some(Offset(2)));
    for log in &nodes {
        timeout(PATIENCE, log.wait(SHARD, Offset(2))).await.expect("in time").expect("it ends");
        let third = log.read(SHARD, Offset(2), 1 << 20).await.expect("it is there").records;
        assert_eq!(third.first().map(|one| one.bytes.as_ref()), Some(b"third".as_slice()));
        let again = timeout(PATIENCE, log.read(SHARD, Offset(1), 1 << 20)).await.expect("in time");
        assert_eq!(again.expect("it is there").records.first(), second.first(), "it stays so");
    }
}

/// Changes a bit of a record on the broker's disk.
async fn damage(kafka: &Service, topic: &str, record: &[u8]) {
    // In order: a broker that was killed would mend its files by cutting them off.
    kafka.run("stop").await;
    let file = kafka.folder().join(format!("1/data/{topic}-0/00000000000000000000.log"));
    let mut bytes = std::fs::read(&file).expect("it is the broker's");
    let at = bytes.windows(record.len()).position(|some| some == record).expect("it is there");
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).expect("it can be written");
    kafka.run("start").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_many_wait_others_read() {
    const SHARDS: u32 = 40;
    let log = Arc::new(open(&fresh_topic(), SHARDS, &config()).await.expect("it is created"));
    let tasks = Tasks::new();
    let wait = |shard, past| {
        let log = Arc::clone(&log);
        tasks.spawn("wait", async move { log.wait(ShardId(shard), Offset(past)).await })
    };
    // One that is given up leaves nothing behind, and two may wait for one shard.
    wait(0, 0).abort();
    let waits: Vec<_> = (0..SHARDS).map(|shard| wait(shard, 0)).collect();
    let twice = wait(0, 1);
    for round in 0..3 {
        let marks = timeout(PATIENCE, log.marks(SHARD)).await.expect("it answers");
        assert_eq!(marks.expect("it is there").high, Offset(0), "{round}");
        let read = timeout(PATIENCE, log.read(SHARD, Offset(0), 1)).await.expect("it answers");
        assert!(read.expect("it is there").records.is_empty());
    }
    assert!(!waits.iter().any(tokio::task::JoinHandle::is_finished), "there is nothing yet");
    for (shard, waited) in (0..).zip(waits) {
        let appended = log.append(ShardId(shard), Bytes::from_static(b"record")).await;
        assert_eq!(appended.ok(), Some(Offset(0)));
        timeout(PATIENCE, waited)
            .await
            .expect("it is told")
            .expect("it ends")
            .expect("it is there");
    }
    assert!(!twice.is_finished(), "it waits for the one after");
    append(&log, "second").await.expect("it is written");
    timeout(PATIENCE, twice).await.expect("it is told").expect("it ends").expect("it is there");
    let last = wait(0, 2);
    log.close().await;
    let ended = timeout(PATIENCE, last).await.expect("it is told").expect("it ends");
    assert!(matches!(ended, Err(ReadError::Stopped)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_do_not_answer_are_told_of() {
    let config = Config { open_timeout: Duration::from_secs(1), ..config() };
    let nowhere = vec!["127.0.0.1:1".to_owned()];
    let options = Options::new(nowhere, "t", None, &config).expect("no properties");
    let metrics = Metrics::register(&Registry::new()).expect("a new registry");
    let refused = Kafka::open(options, metrics).await.expect_err("nobody is there");
    assert!(refused.to_string().contains("no Kafka broker answers at 127.0.0.1:1"), "{refused}");
}
