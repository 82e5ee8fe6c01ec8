//! Traffic out of a real topic, and into a fresh server again, at its own pace and faster.

use std::sync::Arc;
use std::time::Duration;

use quire::client::Credentials;
use quire::load::{Progress, Target, Typing, run_typing};
use quire::wire::Codec;

use crate::kill::settings;
use crate::server::{Server, free_port, quire};
use crate::service::Service;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_topic_holds_is_replayed_into_a_fresh_server() {
    let (_kafka, broker) = Service::start("kafka").await;
    let (_cassandra, hosts) = Service::start("cassandra").await;
    let folder = tempfile::tempdir().expect("a folder");
    let own = settings(&broker, &hosts);
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let server = Server::start(folder.path(), free_port(), &own);
    let typing =
        Typing { docs: 10, clients: 20, rate: 10.0, duration: Duration::from_secs(3), seed: 1 };
    let (urls, prefix) = (vec![server.url.clone()], "typed".to_owned());
    let target = Arc::new(Target {
        urls,
        credentials: Credentials::default(),
        codec: Codec::Binary,
        prefix,
        history: None,
    });
    let typed = run_typing(typing, target, Progress::hidden()).await.expect("they can type");
    assert_eq!(typed.faults, [""; 0]);
    server.stop();

    let (log, file) = (format!("kafka://{broker}/kill"), folder.path().join("typed.jsonl.gz"));
    let file = file.display().to_string();
    let recorded = quire(&["record", "--log", &log, "--out", &file]);
    assert!(recorded.contains(" of 10 documents "), "{recorded}");
    let memory = ["log=memory", "checkpoints=memory", "telemetry.log-level=warn"];
    let fresh = Server::start(folder.path(), free_port(), &memory);
    let replays = [("1", "x1", 10), ("4", "x1", 10), ("max", "x1", 10), ("max", "x3", 30)];
    for (speed, copies, docs) in replays {
        let replayed =
            quire(&["replay", &file, "--url", &fresh.url, "--speed", speed, "--remap", copies]);
        assert!(replayed.contains(&format!(": {docs} documents, ")), "{replayed}");
        assert!(replayed.contains("every text is right"), "{replayed}");
    }
    // One document, right out of the log, and what the run measured.
    let json = folder.path().join("report.json").display().to_string();
    let straight = ["replay", "--log", &log, "--doc", "typed-0", "--url", &fresh.url];
    let replayed = quire(&[&straight[..], &["--speed", "max", "--json", &json]].concat());
    assert!(replayed.contains(": 1 documents, "), "{replayed}");
    let report = std::fs::read_to_string(json).expect("it is written");
    assert!(report.contains("\"faults\": []"), "{report}");
    let counted = quire(&["log", "stats", "--log", &log, "--doc", "typed-0", "--output", "json"]);
    let counted: serde_json::Value = serde_json::from_str(&counted).expect("JSON");
    assert!(counted["bytes_an_edit"].as_f64() > Some(20.0), "{counted}");
    assert!(counted["payload_bytes_an_edit"].as_f64() < Some(20.0), "{counted}");
}
