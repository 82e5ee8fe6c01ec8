//! The longest record, over a real Kafka: what is longer is refused before it has a place in the
//! order, so that nothing waits for a record which no broker takes.

use std::time::Duration;

use bytes::Bytes;
use quire::log::{ENTRY_BYTES_MAX, Log};
use quire::types::{Offset, ShardId};
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};
use reqwest::StatusCode;
use tokio::time::timeout;

use crate::kafka::{admin, config, fresh_topic, hosts, open};
use crate::server::{Server, free_port, quire};

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_no_record_holds_is_refused_before_it_is_sequenced() {
    let topic = fresh_topic();
    let log = open(&topic, 1, &config()).await.expect("it is created");
    let prefix = topic.strip_suffix("-log").expect("it is a log's");
    let own = [
        format!("log=kafka://{}/{prefix}", hosts().join(",")),
        "kafka.allow-single-replica=true".to_owned(),
        "shards=1".to_owned(),
        "telemetry.log-level=warn".to_owned(),
    ];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), free_port(), &own);
    let url = format!("{}/v1/docs/large", server.url);
    let client = reqwest::Client::new();
    let put = async |text: &str| {
        let body = serde_json::json!({ "text": text });
        let answer = client.put(&url).json(&body).send().await.expect("it answers");
        (answer.status(), answer.text().await.expect("it is text"))
    };
    let end = async || log.marks(ShardId(0)).await.expect("it answers").high;

    let before = end().await;
    // Fewer characters than a document may have, and more bytes than a record may.
    let (status, said) = put(&"é".repeat(ENTRY_BYTES_MAX / 2 + 1)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{said}");
    assert!(said.contains(&format!("{ENTRY_BYTES_MAX}")), "{said}");
    assert_eq!(end().await, before, "nothing is in the log");

    // The longest that is taken is taken by the brokers, too, and the document goes on.
    let longest = "é".repeat(ENTRY_BYTES_MAX / 2 - 200);
    let (status, said) = put(&longest).await;
    assert!(status.is_success(), "{said}");
    assert!(said.contains("\"rev\":1"), "it is the first that has a place: {said}");
    assert!(end().await > before);
    let record = log.read(ShardId(0), before, 1).await.expect("it is there").records;
    let bytes: usize = record.iter().map(|stored| stored.bytes.len()).sum();
    assert!(bytes > longest.len(), "{bytes}");
    assert!(before >= Offset(1), "the claim is before it");
    let (status, said) = put("short").await;
    assert!(status.is_success(), "{said}");
    server.stop();
}

async fn reclaims(server: &Server) -> u64 {
    let page = reqwest::get(format!("{}/metrics", server.url)).await.expect("it answers");
    let page = page.text().await.expect("it is text");
    let row = page.lines().find_map(|row| row.strip_prefix("quire_shard_reclaims_total "));
    row.expect("it is there").parse().expect("it is a number")
}

/// Sets how long a message of a topic may be.
async fn set_longest(topic: &str, bytes: &str) {
    let setting = AlterConfig::new(ResourceSpecifier::Topic(topic));
    let setting = setting.set("max.message.bytes", bytes);
    let asked = AdminOptions::new();
    let hosts = hosts().join(",");
    let altered = admin(&hosts).alter_configs([&setting], &asked).await;
    altered.expect("it answers").pop().expect("one topic").expect("it is set");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_brokers_no_longer_take_is_refused_and_others_go_on() {
    let topic = fresh_topic();
    let prefix = topic.strip_suffix("-log").expect("it is a log's");
    let log = format!("log=kafka://{}/{prefix}", hosts().join(","));
    let own = [
        log.as_str(),
        "kafka.create-topics=true",
        "kafka.allow-single-replica=true",
        "shards=1",
        "telemetry.log-level=error",
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), free_port(), &own);
    let client = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
    let put = async |doc: &str, text: &str| {
        let body = serde_json::json!({ "text": text });
        let url = format!("{}/v1/docs/{doc}", server.url);
        let answer = client.put(url).json(&body).send().await.expect("it answers");
        (answer.status(), answer.text().await.expect("it is text"))
    };
    let (status, said) = put("long", "short").await;
    assert!(status.is_success(), "{said}");
    let log = open(&topic, 1, &config()).await.expect("it is there");
    set_longest(&topic, "100000").await;
    // The broker takes a moment; what it takes meanwhile is a gap that the node reads.
    while log.append(ShardId(0), Bytes::from(vec![b'x'; 150_000])).await.is_ok() {}
    let (status, said) = put("other", "before").await;
    assert!(status.is_success(), "{said}");
    let before = reclaims(&server).await;
    let long = "long ".repeat(40_000);
    let (refused, other) = tokio::join!(put("long", &long), put("other", "text"));
    assert_eq!(refused.0, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.1);
    assert!(refused.1.contains("takes no record as long as the change"), "{}", refused.1);
    assert!(other.0.is_success(), "{}", other.1);
    assert_eq!(reclaims(&server).await, before + 1, "it is not handed over again");
    assert_eq!(quire(&["doc", "cat", "long", "--url", &server.url]), "short");
    let (status, said) = put("long", "short again").await;
    assert!(status.is_success(), "{said}");
    set_longest(&topic, "17000000").await;
    let taken = async { while !put("long", &long).await.0.is_success() {} };
    timeout(PATIENCE, taken).await.expect("it is taken again");
    server.kill();
}
