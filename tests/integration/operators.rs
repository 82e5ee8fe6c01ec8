//! Operators' commands: nodes of one cluster in this process, over logs in memory, with real ports,
//! asked by the real command line.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quire::checkpoint;
use quire::client::{Document, Options, Status};
use quire::clock::Clock;
use quire::cluster::{self, Operator, Order, REVOKED_BYTES_MAX, Record, Token};
use quire::config::Config;
use quire::edge;
use quire::log::{Log, Memory};
use quire::node::{Node, Stores, Versions};
use quire::testing::{Faults, FaultyLog, FaultyStore, StoreFaults};
use quire::text::Operation;
use quire::types::{LogId, NodeId, ShardId, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::inner::{PATIENCE, id};
use crate::moves::type_in;
use crate::server::QUIRE;

pub(crate) const SHARDS: u32 = 12;

pub(crate) struct Cluster {
    log: Memory,
    pub(crate) control: Memory,
    store: checkpoint::Memory,
    stores: Vec<Arc<FaultyStore<checkpoint::Memory>>>,
    /// The log, as each node has it.
    pub(crate) logs: Vec<Arc<FaultyLog>>,
    /// The control topic, as each node has it.
    pub(crate) controls: Vec<Arc<FaultyLog>>,
    /// What each node is started with, but for its name and addresses.
    pub(crate) config: Config,
    pub(crate) nodes: Vec<Node>,
    /// What they keep for themselves.
    folder: TempDir,
}

impl Cluster {
    pub(crate) async fn of(names: &[&str]) -> Self {
        Self::with(names, Config::default()).await
    }

    pub(crate) async fn with(names: &[&str], config: Config) -> Self {
        let mut cluster = Self {
            log: Memory::new(LogId(1), SHARDS),
            control: Memory::new(LogId(2), 1),
            store: checkpoint::Memory::new(),
            stores: Vec::new(),
            logs: Vec::new(),
            controls: Vec::new(),
            config,
            nodes: Vec::new(),
            folder: tempfile::tempdir().expect("a folder"),
        };
        for name in names {
            cluster.start(name).await;
        }
        cluster.settled().await;
        cluster
    }

    pub(crate) async fn start(&mut self, name: &str) {
        self.start_as(name, Versions::default()).await.expect("the node starts");
    }

    /// Starts a node as if it were another version of the program.
    pub(crate) async fn start_as(&mut self, name: &str, versions: Versions) -> anyhow::Result<()> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            node: NodeId(id(name)),
            data: self.folder.path().to_owned(),
            listen: any,
            peer_listen: self.config.peer_listen.or(Some(any)),
            admin_listen: Some(any),
            // Whoever waits for the whole of it is seen.
            edge: edge::Config { shutdown_grace: 10 * PATIENCE, ..edge::Config::default() },
            ..self.config.clone()
        };
        let store = self.store.reopen().expect("it is open");
        let store = Arc::new(FaultyStore::new(store, StoreFaults::default(), 0));
        self.stores.push(store.clone());
        let log = Arc::new(FaultyLog::new(Arc::new(self.log.reopen()), 0, Faults::default()));
        self.logs.push(log.clone());
        let stores = Stores { log, store };
        let control = Arc::new(self.control.reopen());
        let control = Arc::new(FaultyLog::new(control, 0, Faults::default()));
        self.controls.push(control.clone());
        let node = Node::start_as(versions, &config, Clock::wall(), stores, control).await?;
        self.nodes.push(node);
        Ok(())
    }

    fn admin(&self, number: usize) -> String {
        format!("http://{}", self.nodes[number].admin.expect("operators are served"))
    }

    /// Runs a command against a node.
    async fn run(&self, number: usize, args: &[&str]) -> Output {
        let mut command = command(&self.admin(number), args);
        let ended = tokio::task::spawn_blocking(move || command.output());
        ended.await.expect("no panic").expect("the binary runs")
    }

    /// Runs a command that has to succeed, and returns what it prints.
    pub(crate) async fn done(&self, number: usize, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(number, args).await;
        let (out, err) = (text(stdout), text(stderr));
        assert_eq!(status.code(), Some(0), "{args:?}: {out}{err}");
        out
    }

    pub(crate) async fn json(&self, number: usize, args: &[&str]) -> Value {
        let printed = self.done(number, &[args, &["--json"]].concat()).await;
        serde_json::from_str(&printed).expect("JSON")
    }

    /// Runs a command that has to be refused, and returns what it says.
    pub(crate) async fn refused(&self, number: usize, args: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(number, args).await;
        let (out, err) = (text(stdout), text(stderr));
        assert_eq!(status.code(), Some(1), "{args:?}: {out}{err}");
        assert_eq!(out, "", "{args:?}");
        err
    }

    /// Waits until something holds of the state, as a node tells it.
    pub(crate) async fn until(&self, number: usize, holds: impl Fn(&Value) -> bool) -> Value {
        let waiting = async {
            loop {
                let status = self.json(number, &["status"]).await;
                if holds(&status) {
                    return status;
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it comes to hold")
    }

    /// Waits until every shard is where it is to be.
    pub(crate) async fn settled(&self) -> Value {
        let last = self.nodes.len() - 1;
        let count = self.nodes.len();
        self.until(last, |status| {
            let up = nodes(status).filter(|node| node["status"] == "up").count();
            let idle = status["moving"] == 0 && status["waiting"] == 0;
            up == count && status["owned"] == SHARDS && idle
        })
        .await
    }

    pub(crate) async fn owner(&self, shard: u32) -> String {
        let shards = self.json(0, &["shards"]).await;
        shards[shard as usize]["owner"].as_str().expect("it is owned").to_owned()
    }

    /// What an operator can have changed, and where everything is.
    pub(crate) async fn fixed(&self) -> Value {
        let (status, shards) = (self.json(0, &["status"]).await, self.json(0, &["shards"]).await);
        let of = |node: &Value| json!([node["node"], node["draining"], node["weight"]]);
        let nodes: Vec<_> = nodes(&status).map(of).collect();
        json!([shards, nodes, status["limits"], status["paused"], status["pins"]])
    }

    /// Revokes as much as there is room for, and returns how many subjects that are.
    pub(crate) async fn fill(&self, now: Timestamp) -> usize {
        let count = REVOKED_BYTES_MAX / (255 + 22);
        let (name, why) = ("ada".parse().expect("a name"), "".parse().expect("it fits"));
        let by = Operator { name, why, at: now };
        let until = Timestamp(now.0 + 3_600_000);
        for number in 0..count {
            let subject = format!("{number:0255}").parse().expect("it fits");
            let order = Order::Revoke { token: Token::Subject { subject, issued: now }, until };
            let command = cluster::Command { by: by.clone(), expected: None, order };
            let record = Record::Command(command).encode();
            self.control.append(ShardId(0), record).await.expect("it is in memory");
        }
        count
    }

    /// Writes a document through a node.
    async fn write(&self, number: usize, doc: &str) {
        let url = format!("http://{}", self.nodes[number].address);
        let document = Document::open(id(doc), Options::new(&url));
        document.edit(&Operation::builder().insert("begin").build()).expect("it is empty");
        let durable = timeout(PATIENCE, document.wait_durable()).await;
        durable.expect("it is durable").expect("the server takes the client");
    }
}

/// A command that ends with the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn command(admin: &str, args: &[&str]) -> Command {
    let mut command = Command::new(QUIRE);
    command.args(args).args(["--url", admin]).env("NO_PROXY", "127.0.0.1").env("USER", "ada");
    if args.contains(&"--wait") {
        command.args(["--wait-max", "30s"]);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("it prints text")
}

pub(crate) fn nodes(status: &Value) -> impl Iterator<Item = &Value> {
    status["nodes"].as_array().expect("a list").iter()
}

/// Another node than the owner.
fn other<'a>(owner: &str, names: &[&'a str]) -> &'a str {
    names.iter().find(|name| **name != owner).expect("there are two")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_tells_of_all_of_them_and_where_everything_is() {
    let cluster = Cluster::of(&["a", "b", "c"]).await;
    cluster.write(0, "notes").await;
    for number in 0..3 {
        let status = cluster.json(number, &["status"]).await;
        let up = nodes(&status).map(|node| (node["node"].clone(), node["status"].clone()));
        let all: Vec<_> = ["a", "b", "c"].map(|name| (json!(name), json!("up"))).into();
        assert_eq!(up.collect::<Vec<_>>(), all);
        let owned: u64 = nodes(&status).filter_map(|node| node["shards"].as_u64()).sum();
        assert_eq!(owned, u64::from(SHARDS));
        let table = cluster.done(number, &["status"]).await;
        assert!(table.contains("12 of 12 owned") && table.contains("NODE"), "{table}");
        let listed = cluster.done(number, &["nodes"]).await;
        assert!(listed.contains(&cluster.admin(1)["http://".len()..]), "{listed}");
        let found = cluster.json(number, &["where", "notes"]).await;
        assert_eq!((&found["doc"], &found["rev"]), (&json!("notes"), &json!(1)), "{found}");
        let shard = found["shard"].to_string();
        let owner = found["owner"].as_str().expect("it is owned").to_owned();
        let explained = cluster.done(number, &["explain", "notes"]).await;
        assert!(explained.contains(&format!("{owner} serves it")), "{explained}");
        assert!(explained.contains(&format!("`quire drain {owner}`: to ")), "{explained}");
        let by_number = cluster.json(number, &["explain", &shard]).await;
        assert_eq!(by_number["shard"]["owner"], json!(owner));
        let of = cluster.json(number, &["shards", "--of", &owner]).await;
        assert!(of.as_array().expect("a list").iter().all(|one| one["owner"] == json!(owner)));
    }
    for doc in ["nowhere", "doc:7"] {
        let said = cluster.refused(1, &["where", doc]).await;
        assert!(said.contains("there is no document") && said.contains("spelling"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_move_are_pinned_and_wait_while_moves_are_paused() {
    let names = ["a", "b"];
    let cluster = Cluster::of(&names).await;
    cluster.write(0, "notes").await;
    let shard = cluster.json(0, &["where", "notes"]).await["shard"].as_u64().expect("a number");
    let shard = u32::try_from(shard).expect("small");
    let to = other(&cluster.owner(shard).await, &names);
    let moved = cluster.done(1, &["move", "notes", "--to", to, "--wait", "--why", "a test"]).await;
    assert!(moved.contains(&format!("done: move {shard} --to {to}")), "{moved}");
    assert_eq!(cluster.owner(shard).await, to);
    assert_eq!(cluster.json(1, &["where", "notes"]).await["rev"], json!(1));

    let number = shard.to_string();
    let back = other(to, &names);
    cluster.done(0, &["pin", &number, "--to", back, "--wait"]).await;
    assert_eq!(cluster.owner(shard).await, back);
    let said = cluster.refused(0, &["move", &number, "--to", to]).await;
    assert!(said.contains(&format!("is pinned to node {back}: unpin it first")), "{said}");
    let explained = cluster.done(1, &["explain", &number]).await;
    assert!(explained.contains(&format!("it is pinned to {back}")), "{explained}");
    cluster.done(1, &["unpin", "notes"]).await;

    cluster.done(0, &["pause", "--why", "looking"]).await;
    let waits = cluster.done(1, &["move", &number, "--to", to]).await;
    assert!(waits.contains("moves are paused: they wait for `quire resume`"), "{waits}");
    let plan = cluster.json(0, &["plan"]).await;
    assert_eq!(
        (&plan["moves"][0]["shard"], &plan["moves"][0]["why"]),
        (&json!(shard), &json!("move"))
    );
    assert!(plan["moves"][0]["bytes"].is_u64(), "its owner told: {plan}");
    assert!(plan["expected_pause_ms"].is_u64(), "a move was seen: {plan}");
    let at = plan["id"].as_u64().expect("a number");
    // So many heartbeats later it would have begun.
    cluster.until(0, |status| status["at"].as_u64() > Some(at + 20)).await;
    assert_eq!(cluster.owner(shard).await, back);
    cluster.done(1, &["resume", "--wait"]).await;
    assert_eq!(cluster.owner(shard).await, to);
}

/// Opens every document at two nodes, and waits until each is online.
pub(crate) async fn opened(
    cluster: &Cluster,
    count: usize,
) -> (Vec<Document>, Vec<watch::Receiver<Status>>) {
    let documents: Vec<_> = (0..count)
        .map(|n| {
            let url = format!("http://{}", cluster.nodes[n % 2].address);
            Document::open(id(&format!("doc-{}", n / 2)), Options::new(&url))
        })
        .collect();
    let mut statuses: Vec<_> = documents.iter().map(Document::status).collect();
    for status in &mut statuses {
        let online = status.wait_for(|status| *status == Status::Online);
        timeout(PATIENCE, online).await.expect("it connects").expect("it is open");
    }
    (documents, statuses)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_emptied_while_people_type_and_nobody_is_disconnected() {
    let cluster = Cluster::of(&["a", "b"]).await;
    let (documents, statuses) = opened(&cluster, 6).await;
    let letters = |n: usize| ('a'..='z').cycle().skip(n).take(120);
    let typing = documents.iter().enumerate().map(|(n, one)| type_in(one, letters(n)));
    let typing = futures_util::future::join_all(typing);
    let plan = cluster.json(1, &["plan", "drain", "b"]).await;
    let (planned, drained) = (plan["moves"].as_array().expect("a list").len(), async {
        cluster.done(0, &["drain", "b", "--deadline", "2s", "--wait", "--as", "bo"]).await
    });
    let both = futures_util::future::join(typing, drained);
    let (_, printed) = timeout(PATIENCE, both).await.expect("all is durable");
    assert!(printed.contains(&format!("{planned} shards move because of it")), "{printed}");
    let status = cluster.json(1, &["status"]).await;
    let of = |name: &str| nodes(&status).find(|node| node["node"] == name).expect("it is there");
    assert_eq!((&of("b")["shards"], &of("b")["draining"]), (&json!(0), &json!(true)));
    assert_eq!(of("a")["shards"], json!(SHARDS));
    let never = statuses.iter().all(|status| !status.has_changed().expect("it is open"));
    assert!(never, "nobody was disconnected");
    for pair in documents.chunks(2) {
        let (one, two) = (pair[0].text(), pair[1].text());
        assert_eq!(one.chars().count(), 240, "every edit is there once");
        assert_eq!(two.chars().count(), 240, "every edit is there once");
    }
    let said = cluster.refused(0, &["drain", "a"]).await;
    assert!(said.contains("node a is the last that takes shards: start or undrain"), "{said}");
    cluster.done(1, &["undrain", "b", "--wait"]).await;
    cluster.settled().await;
    let status = cluster.json(0, &["status"]).await;
    assert!(nodes(&status).all(|node| node["shards"].as_u64() > Some(4)), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stops_while_moves_are_paused_and_people_elsewhere_type_on() {
    let mut cluster = Cluster::of(&["a", "b", "c"]).await;
    let gone = cluster.nodes.pop().expect("there are three");
    let (documents, statuses) = opened(&cluster, 8).await;
    cluster.done(0, &["pause"]).await;
    let letters = |n: usize| ('a'..='z').cycle().skip(n).take(120);
    let typing = documents.iter().enumerate().map(|(n, one)| type_in(one, letters(n)));
    let typing = futures_util::future::join_all(typing);
    let both = futures_util::future::join(typing, gone.stop());
    let (_, stopped) = timeout(PATIENCE, both).await.expect("all is durable, and the node ends");
    stopped.expect("the others have its documents");
    let status = cluster.json(1, &["status"]).await;
    let of = |name: &str| nodes(&status).find(|node| node["node"] == name).expect("it is there");
    assert_eq!((&of("c")["status"], &status["owned"]), (&json!("left"), &json!(SHARDS)));
    assert_eq!((&status["paused"], &status["waiting"]), (&json!(true), &json!(0)));
    let never = statuses.iter().all(|status| !status.has_changed().expect("it is open"));
    assert!(never, "nobody was disconnected");
    for pair in documents.chunks(2) {
        for one in pair {
            assert_eq!(one.text().chars().count(), 240, "every edit is there once");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_that_a_join_made_stale_is_refused() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    let plan = cluster.json(0, &["plan", "drain", "b"]).await;
    let stale = plan["id"].to_string();
    cluster.start("c").await;
    cluster.settled().await;
    let before = cluster.fixed().await;
    for args in [
        &["apply", &stale, "drain", "b"] as &[&str],
        &["apply", &stale],
        &["apply", &stale, "--throttle", "1", "drain", "b"],
    ] {
        let said = cluster.refused(1, args).await;
        assert!(said.contains("the placement has changed at offset"), "{said}");
        assert!(said.contains("look at the plan again"), "{said}");
    }
    assert_eq!(cluster.fixed().await, before, "nothing has changed");
    let plan = cluster.json(2, &["plan", "drain", "b"]).await;
    assert_eq!(cluster.fixed().await, before, "it was a dry run");
    // The plan holds, the command does not: then the limit does not either.
    let wrong = ["apply", &plan["id"].to_string(), "--throttle", "1", "drain", "d"];
    let said = cluster.refused(1, &wrong).await;
    assert!(said.contains("there is no node d"), "{said}");
    assert_eq!(cluster.fixed().await, before, "nothing has changed");
    let (fresh, count) = (plan["id"].to_string(), plan["moves"].as_array().expect("a list").len());
    assert!(count > 0, "{plan}");
    let args = ["apply", &fresh, "drain", "b", "--throttle", "1", "--wait"];
    let applied = cluster.done(1, &args).await;
    assert!(applied.contains(&format!("{count} shards move because of it")), "{applied}");
    let status = cluster.settled().await;
    let b = nodes(&status).find(|node| node["node"] == "b").expect("it is there");
    let limits = json!({"per_node": 1, "cluster": 1});
    assert_eq!((&b["shards"], &status["limits"]), (&json!(0), &limits));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_the_name_of_a_living_one_is_refused_and_nothing_moves() {
    let mut cluster = Cluster::of(&["a", "b"]).await;
    cluster.write(0, "notes").await;
    let before = cluster.fixed().await;
    let runs = |listed: &Value| {
        let run = |node: &Value| json!([node["node"], node["boot"], node["joined_at"]]);
        listed.as_array().expect("a list").iter().map(run).collect::<Vec<_>>()
    };
    let listed = cluster.json(0, &["nodes"]).await;
    let refused = cluster.start_as("a", Versions::default()).await.expect_err("it has the name");
    let (said, boot) = (format!("{refused:#}"), &listed[0]["boot"]);
    let reason = format!("node a is alive with boot {boot}: choose another name or stop that one");
    assert!(said.contains(&reason), "{said}");
    assert_eq!(cluster.fixed().await, before, "nothing has changed");
    assert_eq!(runs(&cluster.json(1, &["nodes"]).await), runs(&listed), "the same are up");
    for (number, doc) in [(0, "one"), (1, "two"), (0, "three"), (1, "four")] {
        cluster.write(number, doc).await;
    }
    cluster.nodes.remove(0).stop().await.expect("the other has its documents");
    cluster.start("a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_no_sense_is_refused_with_the_next_step_and_nothing_moves() {
    let mut cluster = Cluster::of(&["a", "b", "c"]).await;
    let gone = cluster.nodes.pop().expect("there are three");
    gone.stop().await.expect("everything is saved");
    cluster.until(0, |status| status["owned"] == SHARDS && status["waiting"] == 0).await;
    let owner = cluster.owner(3).await;
    let before = cluster.fixed().await;
    let long = "x".repeat(201);
    for (args, reason, next) in [
        (&["move", "3", "--to", "d"] as &[&str], "there is no node d", "list of nodes"),
        (&["move", "3", "--to", "c"], "node c is down", "start it, or choose one"),
        (&["move", "3", "--to", "a b"], "\"a b\" is no name of a node", "`quire nodes`"),
        (&["move", "3", "--to", &owner], "is on node", "nothing is to be done"),
        (&["move", "12", "--to", "a"], "there is no shard 12", "the cluster has 12"),
        (&["move", "4294967296", "--to", "a"], "is neither a shard nor", "write a number"),
        (&["move", "nowhere", "--to", "a"], "there is no document nowhere", "the spelling"),
        (&["pin", "3", "--to", "c"], "node c is down", "start it, or choose one"),
        (&["pin", "12", "--to", "a"], "there is no shard 12", "the first is 0"),
        (&["pin", "nowhere", "--to", "a"], "there is no document nowhere", "the spelling"),
        (&["unpin", "3"], "shard 3 is not pinned", "nothing is to be undone"),
        (&["unpin", "nowhere"], "there is no document nowhere", "the spelling"),
        (&["weight", "d", "20"], "there is no node d", "list of nodes"),
        (&["weight", "a", "0"], "a weight is 1 to 100, not 0", "10 is usual"),
        (&["weight", "a", "101"], "a weight is 1 to 100, not 101", "drain it"),
        (&["limits", "--node", "0"], "the limits are 1 to 100", "to stop moves, pause them"),
        (&["limits", "--cluster", "1001"], "and 1 to 1000 in all, not 2 and 1001", "pause them"),
        (&["apply", "9999999", "--throttle", "101"], "not 101 and 101", "pause them"),
        (&["drain", "d"], "there is no node d", "list of nodes"),
        (&["drain", "c"], "node c is down", "start it"),
        (&["undrain", "a"], "node a is not being drained", "nothing is to be undone"),
        (&["undrain", "d"], "there is no node d", "list of nodes"),
        (&["shards", "--of", "d"], "there is no node d", "list of nodes"),
        (&["explain", "12"], "there is no shard 12", "the cluster has 12"),
        (&["explain", "nowhere"], "there is no document nowhere", "the spelling"),
        (&["where", "no/where"], "is neither a shard nor", "a document's id"),
        (&["plan", "drain", "d"], "there is no node d", "list of nodes"),
        (&["plan", "move", "3", "--to", "c"], "node c is down", "choose one that is up"),
        (&["apply", "0", "drain", "a"], "the placement has changed", "look at the plan again"),
        (&["pause", "--as", " "], "the operator's name is too long, empty", "at most 64"),
        (&["pause", "--why", &long], "the reason is too long", "at most 200"),
    ] {
        let said = cluster.refused(1, args).await;
        assert!(said.contains(reason) && said.contains(next), "{args:?}: {said}");
    }
    assert_eq!(cluster.fixed().await, before, "nothing has changed");
    for args in [&["move", "3"] as &[&str], &["weight", "a", "much"], &["drain"], &["apply", "x"]] {
        assert_eq!(cluster.run(0, args).await.status.code(), Some(2), "{args:?}");
    }
    let mut command = command("http://127.0.0.1:1", &["status"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let said = text(output.expect("the binary runs").stderr);
    assert!(said.contains("no node serves operators at") && said.contains("--url"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_of_a_document_that_cannot_be_looked_up_is_not_done() {
    let cluster = Cluster::of(&["a", "b"]).await;
    let before = cluster.fixed().await;
    let unread = StoreFaults { unread: 1.0, ..StoreFaults::default() };
    cluster.stores.iter().for_each(|store| store.set_faults(unread));
    // One of them owns it.
    for node in [0, 1] {
        for args in [
            &["move", "nowhere", "--to", "a"] as &[&str],
            &["pin", "nowhere", "--to", "a"],
            &["unpin", "nowhere"],
            &["plan", "pin", "nowhere", "--to", "a"],
        ] {
            let said = cluster.refused(node, args).await;
            let unchecked = "whether there is a document nowhere could not be checked";
            assert!(said.contains(unchecked) && said.contains("shard"), "{args:?}: {said}");
        }
        let said = cluster.done(node, &["explain", "nowhere"]).await;
        assert!(said.contains("if there is such a document: its owner does not tell"), "{said}");
        assert_eq!(cluster.json(node, &["where", "nowhere"]).await["rev"], Value::Null);
    }
    cluster.stores.iter().for_each(|store| store.set_faults(StoreFaults::default()));
    assert_eq!(cluster.fixed().await, before, "nothing has changed");
    let said = cluster.refused(0, &["move", "nowhere", "--to", "a"]).await;
    assert!(said.contains("there is no document nowhere"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_pushed_to_those_who_follow_and_kept_for_others() {
    let cluster = Cluster::of(&["a", "b"]).await;
    let mut follow = command(&cluster.admin(1), &["events", "--follow", "--json"]);
    let mut child = Killed(follow.spawn().expect("the binary runs"));
    let (tell, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let printed = BufReader::new(child.0.stdout.take().expect("it is piped")).lines();
    let reading = tokio::task::spawn_blocking(move || {
        // Who listened has seen enough.
        printed.for_each(|line| drop(tell.send(line.expect("it can be read"))));
    });
    cluster.done(0, &["weight", "a", "12", "--as", "bo", "--why", "more memory"]).await;
    let told = async {
        loop {
            let line: String = lines.recv().await.expect("it goes on");
            let event: Value = serde_json::from_str(&line).expect("JSON");
            if event["kind"] == "command" && event["by"] == "bo" {
                return event;
            }
        }
    };
    let event = timeout(PATIENCE, told).await.expect("it is told");
    assert_eq!(event["text"], "bo gave the command: weight a 12");
    assert_eq!(event["why"], "more memory");
    let before = event["at"].as_u64().expect("a number") - 1;
    let kept = cluster.done(0, &["events", "--after", &before.to_string()]).await;
    let given = event["given_at"].as_str().expect("a time");
    let told = format!("bo gave the command: weight a 12 (more memory), given at {given}");
    assert!(kept.contains(&told), "{kept}");
    assert!(kept.contains("a has weight 12"), "{kept}");
    assert!(!kept.contains("a is up"), "{kept}");
    // Who follows is told the end when the node stops.
    cluster.nodes[1].stop().await.expect("everything is saved");
    timeout(PATIENCE, reading).await.expect("it ends").expect("no panic");
    assert_eq!(child.0.wait().expect("it ran").code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_on_the_port_are_refused() {
    let cluster = Cluster::of(&["a"]).await;
    let admin = cluster.admin(0);
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let pause = r#"{"by":"ada","ask":{"order":"pause"}}"#;
    let post = |body: String| http.post(format!("{admin}/v1/commands")).body(body);
    let get = |what| http.get(format!("{admin}/v1/{what}"));
    let of_a_page = post(pause.to_owned()).header("origin", "http://evil.example");
    for (request, status, part) in [
        (of_a_page, 403, "a page in a browser"),
        (get("status").header("host", "evil.example"), 421, "not asked by this name"),
        (http.get(format!("{admin}/v1/nothing")), 404, "there is nothing at this address"),
        (post("{".to_owned()), 400, "the body is not what this address takes"),
        (post(r#"{"by":"ada","ask":{"order":"sing"}}"#.to_owned()), 400, "unknown variant"),
        (post(String::new()), 400, "missing field"),
        (post(" ".repeat(20 << 10)), 400, "the body is longer than"),
        (http.get(format!("{admin}/v1/shards?x=1")), 400, "unknown field"),
        (http.get(format!("{admin}/v1/events?after=x")), 400, "invalid digit"),
    ] {
        let response = request.send().await.expect("it answers");
        assert_eq!(response.status().as_u16(), status, "{part}");
        let kind = response.headers()["content-type"].to_str().expect("text").to_owned();
        let problem: Value = response.json().await.expect("JSON");
        assert_eq!(
            (kind.as_str(), &problem["status"]),
            ("application/problem+json", &json!(status))
        );
        assert!(problem["detail"].as_str().is_some_and(|text| text.contains(part)), "{problem}");
        assert!(problem["next"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
    assert_eq!(cluster.json(0, &["status"]).await["paused"], json!(false));
    let said = cluster.refused(0, &["drain", "a"]).await;
    assert!(said.contains("node a is the last that takes shards"), "{said}");
}
