//! The topic is trimmed below what checkpoints hold, and nothing is missed.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::server::{QUIRE, Server, free_port, quire};
use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_from_before_the_trim_opens_with_its_history() {
    let (_kafka, broker) = Service::start("kafka").await;
    let (_cassandra, hosts) = Service::start("cassandra").await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = format!("kafka://{broker}/trim");
    let own = [
        format!("log={log}"),
        format!("checkpoints=cql://{hosts}/trim"),
        "kafka.create-topics=true".to_owned(),
        "kafka.allow-single-replica=true".to_owned(),
        "cql.replication-factor=1".to_owned(),
        "shards=1".to_owned(),
        "shard.trim-margin=0".to_owned(),
        "shard.trim-delay=0s".to_owned(),
        "telemetry.log-level=warn".to_owned(),
    ];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let stats = || -> Value {
        let told = quire(&["log", "stats", "--log", &log, "--output", "json"]);
        serde_json::from_str(&told).expect("JSON")
    };
    let server = Server::start(folder.path(), free_port(), &own);
    let file = folder.path().join("in.txt");
    for round in 0..20 {
        fs::write(&file, format!("text {round}")).expect("it can be written");
        let file = file.display().to_string();
        quire(&["doc", "import", "old", &file, "--author", "ann", "--url", &server.url]);
    }
    assert_eq!(stats()["edits"], 20);
    // A clean stop saves everything, so that the whole log is below the low-water mark.
    server.stop();
    let left = stats();
    assert_eq!((&left["edits"], &left["records"]), (&0.into(), &0.into()), "{left}");

    let server = Server::start(folder.path(), free_port(), &own);
    let ask = |args: &[&str]| quire(&[&["doc"], args, &["--url", &server.url]].concat());
    assert_eq!(ask(&["cat", "old"]), "text 19");
    assert_eq!(ask(&["cat", "old", "--rev", "3"]), "text 2");
    let history: Value =
        serde_json::from_str(&ask(&["history", "old", "--output", "json"])).expect("JSON");
    assert_eq!(history["revisions"].as_array().map(Vec::len), Some(20));
    server.stop();
    // The same checkpoints and another topic: refused, unless it is said that this is meant.
    let other = format!("log=kafka://{broker}/other");
    let elsewhere: Vec<&str> =
        own.iter().map(|set| if set.starts_with("log=") { other.as_str() } else { set }).collect();
    let sets = elsewhere.iter().flat_map(|setting| ["--set", setting]);
    let mut refused = Command::new(QUIRE);
    refused.args(["serve", "--listen", "127.0.0.1:0"]).args(sets).stdin(Stdio::null());
    let refused = refused.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("the checkpoints belong to another log"), "{said}");
    let adopting = [&elsewhere[..], &["adopt-log=true"]].concat();
    let server = Server::start(folder.path(), free_port(), &adopting);
    assert_eq!(quire(&["doc", "cat", "old", "--url", &server.url]), "text 19");
    server.stop();
    let cat = quire(&["log", "cat", "--log", &log, "--raw", "--output", "json"]);
    for line in cat.lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(record["kind"], "claim", "{record}");
    }
}
