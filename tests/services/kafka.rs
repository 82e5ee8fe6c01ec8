//! The log in a real Kafka, named by the variable `KAFKA_BOOTSTRAP`.

use std::env;
use std::sync::Arc;

use async_trait::async_trait;
use prometheus::Registry;
use quire::log::contract::{self, Subject};
use quire::log::kafka::{Config, Kafka, OpenError, Options};
use quire::log::{Log, Metrics};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;

fn hosts() -> Vec<String> {
    let hosts = env::var("KAFKA_BOOTSTRAP").ok().filter(|hosts| !hosts.is_empty());
    let hosts = hosts.expect(
        "KAFKA_BOOTSTRAP is not set: run tests/run, or tests/services/kafka DIR start and set it",
    );
    hosts.split(',').map(str::to_owned).collect()
}

fn config() -> Config {
    Config { create_topics: true, allow_single_replica: true, ..Config::default() }
}

fn fresh_topic() -> String {
    format!("test-{:016x}-log", rand::random::<u64>())
}

async fn open(topic: &str, shards: u32, config: &Config) -> Result<Kafka, OpenError> {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holds_the_contract() {
    contract::all(&|| Box::new(Topic(fresh_topic()))).await;
}

fn admin() -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", hosts().join(","));
    config.create().expect("a client")
}

async fn create(name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let all = [
        ("cleanup.policy", "delete"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("unclean.leader.election.enable", "false"),
        ("max.message.bytes", "17000000"),
    ];
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (key, value) in all {
        topic = topic.set(key, value);
    }
    for (key, value) in settings {
        topic = topic.set(key, value);
    }
    let created = admin().create_topics([&topic], &AdminOptions::new()).await;
    created.expect("it answers").pop().expect("one topic").expect("it is created");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_would_lose_records_is_refused() {
    let trusting = Config { create_topics: false, ..config() };
    let missing = open(&fresh_topic(), 2, &trusting).await.expect_err("it is not there");
    assert!(matches!(missing, OpenError::NoTopic { .. }), "{missing}");
    let topic = fresh_topic();
    create(&topic, 3, &[]).await;
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
    ] {
        let topic = fresh_topic();
        create(&topic, 1, &[(key, value)]).await;
        let refused = open(&topic, 1, &trusting).await.expect_err("it is not trusted");
        assert!(refused.to_string().contains(&format!("{key} = {value}")), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_created_anew_is_another_log() {
    let topic = fresh_topic();
    let first = open(&topic, 1, &config()).await.expect("it is created");
    let again = open(&topic, 1, &config()).await.expect("it is there");
    assert_eq!(first.id(), again.id());
    let deleted = admin().delete_topics(&[&topic], &AdminOptions::new()).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_do_not_answer_are_told_of() {
    let config = Config { open_timeout: std::time::Duration::from_secs(1), ..config() };
    let nowhere = vec!["127.0.0.1:1".to_owned()];
    let options = Options::new(nowhere, "t", None, &config).expect("no properties");
    let metrics = Metrics::register(&Registry::new()).expect("a new registry");
    let refused = Kafka::open(options, metrics).await.expect_err("nobody is there");
    assert!(refused.to_string().contains("no Kafka broker answers at 127.0.0.1:1"), "{refused}");
}
