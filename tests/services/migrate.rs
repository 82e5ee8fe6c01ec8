//! Moving from a data folder to real services, and back.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::server::{QUIRE, Server, free_port, quire};
use crate::service::Service;

const SMALL: &[&str] = &[
    "document.checkpoint-log-bytes-min=4KiB",
    "document.checkpoint-log-factor=1",
    "document.segment-bytes-min=1KiB",
    "telemetry.log-level=warn",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_moves_to_services_and_back() {
    let (_kafka, broker) = Service::start("kafka").await;
    let (_cassandra, hosts) = Service::start("cassandra").await;
    let folder = tempfile::tempdir().expect("a folder");
    let [old, back] = ["old", "back"].map(|name| folder.path().join(name));
    let file = folder.path().join("in.txt");
    let server = Server::start(&old, free_port(), SMALL);
    let mut state = 5_u64;
    for round in 0..12 {
        for doc in ["one", "two", "three"] {
            let mut text = format!("{doc} {round}");
            for _ in 0..60 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push_str(&format!(" {:x}", state >> 40));
            }
            fs::write(&file, text).expect("it can be written");
            let file = file.display().to_string();
            quire(&["doc", "import", doc, &file, "--author", "ann", "--url", &server.url]);
        }
    }
    quire(&["doc", "name", "one", "draft", "--rev", "5", "--url", &server.url]);
    let look = |server: &Server| {
        let ask = |args: &[&str]| quire(&[&["doc"], args, &["--url", &server.url]].concat());
        let mut all: Vec<String> = ["one", "two", "three"].map(|doc| ask(&["cat", doc])).into();
        all.push(ask(&["history", "one", "--output", "json"]));
        all.push(ask(&["cat", "two", "--rev", "3"]));
        all.push(ask(&["blame", "three", "--output", "json"]));
        all
    };
    let before = look(&server);
    // Not stopped in order: the newest revisions are in the log alone.
    server.kill();

    let (log, store) = (format!("kafka://{broker}/moved"), format!("cql://{hosts}/moved"));
    let own = [
        "kafka.create-topics=true",
        "kafka.allow-single-replica=true",
        "cql.replication-factor=1",
        "shards=8",
    ];
    let set: Vec<&str> = own.iter().flat_map(|setting| ["--set", setting]).collect();
    let old = old.display().to_string();
    let there = ["migrate", "--from", &old, "--to-log", &log, "--to-checkpoints", &store];
    cut_off(&[&there[..], &set[..]].concat()).await;
    for _ in 0..2 {
        // The second time everything is there.
        let moved = quire(&[&there[..], &set[..]].concat());
        assert!(moved.starts_with("3 documents, "), "{moved}");
        assert!(moved.contains("every piece has the hash that it had"), "{moved}");
    }
    let (set_log, set_store) = (format!("log={log}"), format!("checkpoints={store}"));
    let services = [&own[..], &[set_log.as_str(), set_store.as_str()], SMALL].concat();
    let server = Server::start(folder.path(), free_port(), &services);
    assert_eq!(look(&server), before);
    let input = file.display().to_string();
    quire(&["doc", "import", "one", &input, "--author", "bob", "--url", &server.url]);
    // What makes no revision is kept, too, although the old log's offsets are higher.
    quire(&["doc", "name", "three", "moved", "--url", &server.url]);
    server.stop();
    let server = Server::start(folder.path(), free_port(), &services);
    let history = ["doc", "history", "three", "--output", "json", "--url", &server.url];
    assert!(quire(&history).contains("\"moved\""), "a named version");
    let after = look(&server);
    server.kill();

    let to = back.display().to_string();
    let home = ["migrate", "--from-log", &log, "--from-checkpoints", &store, "--to", &to];
    let moved = quire(&[&home[..], &set[..]].concat());
    assert!(moved.starts_with("3 documents, "), "{moved}");
    let server = Server::start(&back, free_port(), &[SMALL, &["shards=8"]].concat());
    assert_eq!(look(&server), after);
    server.stop();
}

/// A run that is killed somewhere; the next one goes on.
async fn cut_off(args: &[&str]) {
    let mut command = Command::new(QUIRE);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut migrating = command.spawn().expect("the binary runs");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    migrating.kill().expect("it was started here");
    migrating.wait().expect("it was started here");
}
