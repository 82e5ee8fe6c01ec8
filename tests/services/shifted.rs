//! A node whose wall clock is wrong: what it acknowledges is there, once, for one that is right.

use std::path::{Path, PathBuf};
use std::process::Command;

use quire::clock::Clock;
use reqwest::StatusCode;
use serde_json::Value;

use crate::kafka::{fresh_topic, hosts};
use crate::server::{Server, free_port, quire};

/// More than the hour that Kafka lets a record be ahead by itself, in seconds.
const WRONG: i64 = 2 * 3_600;

const EDITS: usize = 20;

/// Compiles the library that makes a process's clock wrong.
fn library(folder: &Path) -> String {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/services/shift.c");
    let library = folder.join("shift.so");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source);
    assert!(cc.status().is_ok_and(|status| status.success()), "it compiles");
    library.display().to_string()
}

async fn put(server: &Server, text: &str) {
    let body = serde_json::json!({ "text": text });
    let url = format!("{}/v1/docs/a", server.url);
    let answer = reqwest::Client::new().put(url).json(&body).send().await.expect("it answers");
    let (status, said) = (answer.status(), answer.text().await.expect("it is text"));
    assert!([StatusCode::OK, StatusCode::CREATED].contains(&status), "{status}: {said}");
}

/// Returns how far the times of a log's records are ahead, in seconds.
fn ahead(log: &str) -> Vec<i64> {
    let now = i64::try_from(Clock::wall().now().0 / 1_000).expect("long before the end");
    let said = quire(&["log", "cat", "--log", log, "--doc", "a", "--output", "json"]);
    let at = |line: &str| {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let at: jiff::Timestamp = record["at"].as_str()?.parse().expect("a time");
        Some(at.as_second() - now)
    };
    said.lines().filter_map(at).collect()
}

async fn a_clock_that_is_wrong_by(seconds: i64) {
    let (topic, folder) = (fresh_topic(), tempfile::tempdir().expect("a folder"));
    let prefix = topic.strip_suffix("-log").expect("it is a log's");
    let log = format!("kafka://{}/{prefix}", hosts().join(","));
    let own = [
        format!("log={log}"),
        format!("checkpoints=cql://{}/{}", crate::cql::hosts().join(","), prefix.replace('-', "_")),
        "kafka.create-topics=true".to_owned(),
        "kafka.allow-single-replica=true".to_owned(),
        "cql.replication-factor=1".to_owned(),
        "shards=2".to_owned(),
        "telemetry.log-level=warn".to_owned(),
    ];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let (library, shift) = (library(folder.path()), seconds.to_string());
    let wrong = [("LD_PRELOAD", library.as_str()), ("SHIFT", shift.as_str())];
    let mut text = String::new();
    for (round, variables) in [&wrong[..], &wrong[..], &[], &wrong[..], &[]].iter().enumerate() {
        let server = Server::start_under(variables, folder.path(), free_port(), &own);
        for edit in 0..EDITS {
            text.push_str(&format!("{round}.{edit} "));
            put(&server, &text).await;
        }
        // In order, with checkpoints, or from the log alone.
        if round % 2 == 0 {
            server.stop();
        } else {
            server.kill();
        }
        if round == 0 {
            let ahead = ahead(&log);
            assert_eq!(ahead.len(), EDITS);
            let shifted = ahead.iter().all(|ahead| (ahead - seconds).abs() < WRONG / 2);
            assert!(shifted, "the clock was wrong: {ahead:?}");
        }
    }
    let server = Server::start(folder.path(), free_port(), &own);
    assert_eq!(quire(&["doc", "cat", "a", "--url", &server.url]), text);
    let verified = quire(&["doc", "verify", "a", "--url", &server.url, "--output", "json"]);
    assert!(verified.contains("\"equal\": true"), "{verified}");
    server.stop();
    let verified = quire(&["log", "verify", "--log", &log]);
    let last = verified.lines().last().expect("it sums up");
    assert!(last.contains(" 0 void, 0 cannot be read, 0 missing"), "{verified}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_writes_hours_ahead_of_the_brokers_is_taken_and_kept_once() {
    a_clock_that_is_wrong_by(WRONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_node_writes_hours_behind_the_brokers_is_taken_and_kept_once() {
    a_clock_that_is_wrong_by(-WRONG).await;
}
