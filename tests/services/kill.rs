//! Writers keep writing while their server and the services under it are killed with SIGKILL.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use quire::log::Metrics;
use quire::log::kafka::{Config, Kafka, Options};
use quire::task::Tasks;

use crate::server::{Server, free_port};
use crate::storm::{SETTINGS, Storm};

const KILLS: u64 = 25;

/// Every so manieth kill is one of a service.
const SERVICE_EVERY: u64 = 5;

/// Durable edits of all writers between two kills.
const EDITS_BETWEEN: u64 = 200;

/// A service of its own, ended with the test.
struct Service {
    script: PathBuf,
    folder: tempfile::TempDir,
}

impl Service {
    fn start(name: &str) -> (Self, String) {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/services").join(name);
        let service = Self { script, folder: tempfile::tempdir().expect("a folder") };
        let address = service.run("start");
        (service, address)
    }

    fn run(&self, verb: &str) -> String {
        let mut command = Command::new(&self.script);
        command.arg(self.folder.path()).arg(verb).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.output().expect("the script runs");
        assert!(output.status.success(), "{} {verb}", self.script.display());
        String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.run("kill");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_kills_of_node_and_broker() {
    let (kafka, broker) = Service::start("kafka");
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let log = format!("log=kafka://{broker}/kill");
    let own = [log.as_str(), "kafka.create-topics=true", "kafka.allow-single-replica=true"];
    let settings = [SETTINGS, &own].concat();
    let mut server = Server::start(folder.path(), port, &settings);
    let storm = Storm::begin(&server.url);
    for kill in 1..=KILLS {
        storm.reach(kill * EDITS_BETWEEN).await;
        if kill % SERVICE_EVERY == 0 {
            kafka.run("kill");
            kafka.run("start");
        } else {
            server.kill();
            server = Server::start(folder.path(), port, &settings);
        }
    }
    let log = async || {
        let config = Config { allow_single_replica: true, ..Config::default() };
        let options = Options::new(vec![broker.clone()], "kill-log", 16, &config);
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a new registry");
        Kafka::open(options.expect("no properties"), metrics).await.expect("it is there")
    };
    storm.end(server, log).await;
    Tasks::offload(move || drop(kafka)).await;
}
