//! `deploy/local-cluster`, as whoever tries a cluster out types it: up, used, down.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use quire::task::Tasks;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::server::{QUIRE, quire};

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(240);

const NODES: u16 = 3;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns where the ports of such a cluster may begin. They are neither those of other servers of
/// these tests nor those that the system gives to outgoing connections.
fn free_ports() -> u16 {
    loop {
        let first = rand::random_range(2_000..9_000);
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if ports(first).into_iter().all(free) {
            return first;
        }
    }
}

/// Lists the ports of the nodes: of clients, peers and operators.
fn ports(first: u16) -> Vec<u16> {
    let of_node = |number| [first, first + 100, first + 200].map(|port| port + number);
    (1..=NODES).flat_map(of_node).collect()
}

/// A cluster in a folder of its own, of which nothing is left when the test ends.
struct Local {
    folder: tempfile::TempDir,
    first: u16,
}

impl Local {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(root().join("deploy/local-cluster"));
        command.args(args).stdin(Stdio::null());
        command.env("CLUSTER_FOLDER", self.folder.path());
        command.env("CLUSTER_BINARY", QUIRE).env("CLUSTER_PORT", self.first.to_string());
        command
    }

    async fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        let ran = Tasks::offload(move || command.output().expect("the script runs"));
        timeout(PATIENCE, ran).await.expect("it ends")
    }

    /// Runs a command that has to go well; returns what it prints.
    async fn done(&self, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(args).await;
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(0), "{args:?}: {said}");
        String::from_utf8(stdout).expect("it is text")
    }

    /// Waits until every node is up and every shard has its owner, as `quire status` tells.
    async fn settled(&self) {
        let settled = async {
            loop {
                let told = self.done(&["status"]).await;
                let up = |line: &&str| line.contains("node-") && line.contains(" up ");
                if told.lines().filter(up).count() == usize::from(NODES)
                    && told.contains("64 of 64 owned")
                {
                    break;
                }
                sleep(Duration::from_millis(200)).await;
            }
        };
        timeout(PATIENCE, settled).await.expect("all nodes are up");
    }

    fn url(&self, number: u16) -> String {
        format!("http://127.0.0.1:{}", self.first + number)
    }

    /// Has people type through all nodes, and asks whether what they saw is true, while the nodes
    /// go on.
    async fn load_and_audit(&self) {
        let address = |service: &str| {
            let address = std::fs::read_to_string(self.folder.path().join(service).join("address"));
            address.expect("it runs").trim().to_owned()
        };
        let log = format!("kafka://{}/quire", address("kafka"));
        let checkpoints = format!("cql://{}/quire", address("cassandra"));
        let history = self.folder.path().join("history.gz").display().to_string();
        let urls: Vec<_> = (1..=NODES).map(|number| self.url(number)).collect();
        let urls = urls.iter().flat_map(|url| ["--url", url]);
        let load = ["load", "--profile", "typing", "--seconds", "2", "--history", &history];
        let load: Vec<&str> = load.into_iter().chain(urls).collect();
        let audit = ["audit", "--log", &log, "--checkpoints", &checkpoints, "--history", &history];
        let audit = [&audit[..], &["--set", "cql.replication-factor=1"]].concat();
        quire(&load);
        let told = quire(&audit);
        assert!(told.ends_with("clean\n") && told.contains(" events of 8 clients"), "{told}");
    }

    /// Lists the processes that this cluster has.
    fn processes(&self) -> Vec<String> {
        let mut own = vec![self.folder.path().display().to_string()];
        own.extend(ports(self.first).iter().map(|port| format!("127.0.0.1:{port}")));
        let all = std::fs::read_dir("/proc").expect("it can be listed");
        // One that has just ended has nothing to read.
        let words = all.filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok());
        let words = words.map(|words| String::from_utf8_lossy(&words).replace('\0', " "));
        words.filter(|words| own.iter().any(|own| words.contains(own))).collect()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Where the test has come to its end nothing runs any more.
        for number in 1..=NODES {
            let _ = self.command(&["kill", &number.to_string()]).status();
        }
        for service in ["kafka", "cassandra"] {
            let mut script = Command::new(root().join("tests/services").join(service));
            let _ = script.arg(self.folder.path().join(service)).arg("kill").status();
        }
    }
}

/// Lists what is in the folder that the script works in.
fn entries() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root()).expect("it can be listed");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("it is there").path()).collect();
    entries.sort();
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_on_one_machine_comes_up_takes_an_edit_and_leaves_nothing_running() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Local { folder, first: free_ports() };
    let before = entries();
    let told = cluster.done(&["up", "--nodes", &NODES.to_string()]).await;
    assert_eq!(told.lines().count(), usize::from(NODES), "{told}");
    cluster.settled().await;
    assert_eq!(cluster.processes().len(), usize::from(NODES) + 2, "nodes, broker and store");

    let client = reqwest::Client::new();
    let notes = |number| format!("{}/v1/docs/notes", cluster.url(number));
    let text = json!({ "text": "for everybody" });
    let put = client.put(notes(1)).json(&text).send().await.expect("it answers");
    assert!(put.status().is_success(), "{put:?}");
    for number in 1..=NODES {
        let got = client.get(notes(number)).send().await.expect("it answers");
        let got: Value = got.json().await.expect("a document");
        assert_eq!(got["text"], text["text"], "at node {number}");
    }

    cluster.load_and_audit().await;

    // Who is there already is let alone.
    assert_eq!(cluster.done(&["up", &NODES.to_string()]).await, "");
    cluster.done(&["down"]).await;
    assert_eq!(cluster.processes(), [""; 0]);
    assert_eq!(entries(), before, "everything is in its folder");
}

#[tokio::test]
async fn what_is_no_number_of_nodes_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let cluster = Local { folder, first: free_ports() };
    let bad: &[&[&str]] = &[
        &["up", "--nodes"],
        &["up", "--nodes", "three"],
        &["up", "--node", "3"],
        &["up", "0"],
        &["up", "100"],
        &["up", "--nodes", "3", "4"],
        &["kill", "node-1"],
    ];
    for args in bad {
        let Output { status, stderr, .. } = cluster.run(args).await;
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains("number"), "{args:?}: {said}");
        let left = std::fs::read_dir(cluster.folder.path()).expect("a folder").count();
        assert_eq!(left, 0, "{args:?}: nothing was started");
    }
}
