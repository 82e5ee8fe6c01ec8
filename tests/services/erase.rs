//! Erasing on a real Kafka and a real Cassandra: nobody reads what is gone, whichever way.

use std::fs;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::server::{QUIRE, Server, free_port, quire};
use crate::service::Service;

const SECRET: &str = "her name is Rosalind";

/// Audits, and returns the exit code and what is said.
fn audit(doc: &str, own: &[&str], secret: &str) -> (Option<i32>, String) {
    let mut command = Command::new(QUIRE);
    command.args(["audit", "erased", doc, "--before", "2", "--text", secret]);
    command.args(own.iter().flat_map(|setting| ["--set", setting])).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().expect("the binary runs");
    (status.code(), String::from_utf8([stdout, stderr].concat()).expect("it is text"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_erased_can_be_read_in_no_topic_and_no_table() {
    let (_kafka, broker) = Service::start("kafka").await;
    let (_cassandra, hosts) = Service::start("cassandra").await;
    let folder = tempfile::tempdir().expect("a folder");
    let own = [
        format!("log=kafka://{broker}/erase"),
        format!("checkpoints=cql://{hosts}/erase"),
        "kafka.create-topics=true".to_owned(),
        "kafka.allow-single-replica=true".to_owned(),
        "cql.replication-factor=1".to_owned(),
        "shards=1".to_owned(),
        "shard.trim-delay=1s".to_owned(),
        "telemetry.log-level=warn".to_owned(),
    ];
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let server = Server::start(folder.path(), free_port(), &own);
    let import = |doc: &str, text: &str| {
        let file = folder.path().join("in.txt");
        fs::write(&file, text).expect("it can be written");
        quire(&["doc", "import", doc, &file.display().to_string(), "--url", &server.url]);
    };
    import("other", "what others write");
    import("story", &format!("I say that {SECRET}."));
    import("story", "I say nothing.");
    import("other", "what others write, and write again");
    let secret = folder.path().join("secret.txt");
    fs::write(&secret, SECRET).expect("it can be written");
    let secret = secret.display().to_string();
    let (code, said) = audit("story", &own, &secret);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a frame from revision 1 on") && said.contains(": the text"), "{said}");

    let ask = |args: &[&str]| quire(&[&["doc"], args, &["--url", &server.url]].concat());
    let proof = ask(&["erase", "story", "--before", "2", "--output", "json"]);
    let proof: Value = serde_json::from_str(&proof).expect("JSON");
    assert_eq!(proof["complete"], true, "{proof:#}");
    assert!(proof["log"]["may_hold"].to_string().contains("segment.ms"), "{proof:#}");
    assert!(proof["checkpoints"]["may_hold"].to_string().contains("gc_grace"), "{proof:#}");
    let (code, said) = audit("story", &own, &secret);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(ask(&["cat", "story"]), "I say nothing.");
    assert_eq!(ask(&["cat", "other", "--rev", "1"]), "what others write");
    server.kill();
    let server = Server::start(folder.path(), free_port(), &own);
    let ask = |args: &[&str]| quire(&[&["doc"], args, &["--url", &server.url]].concat());
    assert_eq!(ask(&["cat", "story"]), "I say nothing.");
    assert_eq!(ask(&["cat", "other", "--rev", "1"]), "what others write");
    let (code, said) = audit("other", &own, &secret);
    assert_eq!(code, Some(1), "that one has its history: {said}");
    server.stop();
}
