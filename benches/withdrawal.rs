//! How soon sockets at every node have ended once what let them in is withdrawn, and how soon a
//! cache is told of an edit, beside the acknowledgement of one edit in the same run.
//!
//! Three nodes in this process over one embedded log, with real sockets in between: an embedded log
//! is for one process. What is withdrawn is counted from before it is asked for until the last
//! socket, of one at each node, has read its close frame; what expires, from `exp`.
//!
//! ```sh
//! cargo bench --bench withdrawal
//! ```

#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../tests/integration/doors.rs"]
mod doors;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/integration/raw.rs"]
mod raw;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/integration/server.rs"]
mod server;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use prometheus::Registry;
use quire::checkpoint;
use quire::clock::Clock;
use quire::config::Config;
use quire::log::{self, Embedded, Log};
use quire::node::{Node, Stores, Versions};
use quire::task::Tasks;
use quire::testing::{Faults, FaultyLog};
use quire::types::NodeId;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::doors::{SECRET, hour, token};
use crate::raw::{Raw, hello};

const SAMPLES: usize = 20;

/// Being cut off takes seconds, and so does being back.
const CUTS: usize = 5;

const SHARDS: u32 = 12;

/// How soon sockets have to end, and pages to be new.
const SOCKETS: Duration = Duration::from_secs(2);
const PAGES: Duration = Duration::from_secs(1);

/// A guard against a run that hangs.
const RUN_MAX: Duration = Duration::from_secs(120);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    timeout(RUN_MAX, measure()).await.expect("it ends in time");
}

async fn measure() {
    let tasks = Tasks::new();
    let (port, mut purges) = cache(&tasks).await;
    let cluster = Cluster::start(port).await;
    let floor = median(&mut cluster.acknowledgements().await);
    println!("an edit is acknowledged: median {:.2} ms", millis(floor));
    let mut late = Vec::new();
    let mut print = |what: &str, mut took: Vec<Duration>, goal: Duration| {
        let (median, longest) = (median(&mut took), *took.last().expect("there are some"));
        println!(
            "{what}: median {:.1} ms, longest {:.1} ms of {} (goal: {:.0} ms); median {:.1} \
             acknowledgements",
            millis(median),
            millis(longest),
            took.len(),
            millis(goal),
            median.div_duration_f64(floor)
        );
        if longest > goal {
            late.push(what.to_owned());
        }
    };
    print("revoked by subject", cluster.revoked("revoke-subject").await, SOCKETS);
    print("revoked by token", cluster.revoked("revoke-token").await, SOCKETS);
    print("right withdrawn", cluster.rights_withdrawn().await, SOCKETS);
    print("token expired", cluster.expired().await, SOCKETS);
    let (told, shown) = cluster.purged(&mut purges).await;
    print("acknowledged until the cache is told", told, PAGES);
    print("told until every node shows it", shown, PAGES);
    print("node cut off", cluster.cut_off().await, SOCKETS);
    assert!(late.is_empty(), "longer than the goal: {late:?}");
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Sorts them, too.
fn median(all: &mut [Duration]) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

/// What takes purges, and notes when which document was named.
async fn cache(tasks: &Tasks) -> (u16, mpsc::UnboundedReceiver<(String, Instant)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let note = move |request: axum::extract::Request| {
        let _ = tell.send((request.uri().path().to_owned(), Instant::now()));
        std::future::ready(axum::http::StatusCode::OK)
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    let routes = axum::Router::new().fallback(note);
    tasks.spawn("cache", async { axum::serve(listener, routes).await.expect("it serves") });
    (port, told)
}

/// Three nodes that take tokens and tell a cache.
struct Cluster {
    nodes: Vec<Node>,
    /// The control topic, as each node has it.
    controls: Vec<Arc<FaultyLog>>,
    http: Client,
    _folder: TempDir,
}

impl Cluster {
    async fn start(cache: u16) -> Self {
        // On the disk of the build: the system's folder may be in memory.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let mut config = Config::default();
        config.auth.keys = kept(folder.path(), "key", SECRET);
        config.auth.secret_file =
            kept(folder.path(), "secret", "another secret, of all nodes' logins");
        config.auth.leeway = Duration::ZERO;
        config.purge.caches = format!("http://127.0.0.1:{cache}/{{doc}}");
        let log = embedded(&folder.path().join("log"), SHARDS);
        let topic = embedded(&folder.path().join("control"), 1);
        let store = checkpoint::Memory::new();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (mut nodes, mut controls) = (Vec::new(), Vec::new());
        for name in ["a", "b", "c"] {
            let config = Config {
                node: NodeId(name.parse().expect("a name")),
                listen: any,
                peer_listen: Some(any),
                admin_listen: Some(any),
                ..config.clone()
            };
            let store = Arc::new(store.reopen().expect("it is open"));
            let stores = Stores { log: log.clone(), store };
            let control = Arc::new(FaultyLog::new(topic.clone(), 0, Faults::default()));
            controls.push(control.clone());
            let (versions, clock) = (Versions::default(), Clock::wall());
            let node = Node::start_as(versions, &config, clock, stores, control).await;
            nodes.push(node.expect("the node starts"));
        }
        let http = Client::builder().no_proxy().build().expect("a client");
        let cluster = Self { nodes, controls, http, _folder: folder };
        cluster.settled().await;
        cluster
    }

    /// Waits until every shard is where it is to be.
    async fn settled(&self) {
        let url = format!("{}/status", self.admin(0));
        loop {
            let answer = self.http.get(&url).send().await.expect("it answers");
            let status: Value = answer.json().await.expect("JSON");
            let nodes = status["nodes"].as_array().expect("a list");
            let up = nodes.iter().filter(|node| node["status"] == "up").count();
            let idle = status["moving"] == 0 && status["waiting"] == 0;
            if up == self.nodes.len() && status["owned"] == SHARDS && idle {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn admin(&self, node: usize) -> String {
        format!("http://{}/v1", self.nodes[node].admin.expect("operators are served"))
    }

    async fn ask(&self, node: usize, method: Method, path: &str, token: &str) -> u16 {
        self.ask_with(node, (method, path), token, Value::Null).await
    }

    async fn ask_with(
        &self,
        node: usize,
        (method, path): (Method, &str),
        token: &str,
        body: Value,
    ) -> u16 {
        let url = format!("http://{}{path}", self.nodes[node].address);
        let asked = self.http.request(method, url).bearer_auth(token);
        let asked = asked.header("content-type", "application/json").body(body.to_string());
        asked.send().await.expect("it answers").status().as_u16()
    }

    async fn enter(&self, node: usize, doc: &str, token: &str) -> Raw {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let raw = Raw::upgrade_with(&self.nodes[node], &format!("/ws/{doc}"), &headers).await;
        let mut raw = raw.expect("it is taken");
        let digit = char::from_digit(u32::try_from(node).expect("small") + 1, 10);
        raw.send(&hello(digit.expect("a digit"), "")).await;
        raw.hear("welcome").await;
        raw
    }

    /// A socket at each node.
    async fn enter_all(&self, doc: &str, token: &str) -> Vec<Raw> {
        join_all((0..self.nodes.len()).map(|node| self.enter(node, doc, token))).await
    }

    /// How long edits take through each node in turns.
    async fn acknowledgements(&self) -> Vec<Duration> {
        let writer = hour("writer", &[("*", "write")]);
        let mut sockets = self.enter_all("floor", &writer).await;
        let mut took = Vec::new();
        for n in 0..5 * SAMPLES {
            let count = sockets.len();
            let began = Instant::now();
            type_at(&mut sockets[n % count], n / count + 1, n).await;
            took.push(began.elapsed());
            let others = sockets.iter_mut().enumerate().filter(|(other, _)| *other != n % count);
            for (_, socket) in others {
                socket.hear("op").await;
            }
        }
        took
    }

    /// By a command that is given to each node in turns.
    async fn revoked(&self, order: &str) -> Vec<Duration> {
        let mut took = Vec::new();
        for n in 0..SAMPLES {
            let subject = format!("{order}-{n}");
            let token = hour(&subject, &[("*", "write")]);
            let sockets = self.enter_all(&subject, &token).await;
            let ask = match order {
                "revoke-token" => json!({ "order": order, "jti": claim(&token, "jti") }),
                _ => json!({ "order": order, "subject": subject }),
            };
            let body = json!({ "by": "ada", "ask": ask }).to_string();
            let url = format!("{}/commands", self.admin(n % self.nodes.len()));
            let began = Instant::now();
            let answer = self.http.post(url).body(body).send().await.expect("it answers");
            answer.error_for_status().expect("it is taken");
            took.push(until_ended(sockets, 4401, began).await);
        }
        took
    }

    /// By the owner of a document, through each node in turns.
    async fn rights_withdrawn(&self) -> Vec<Duration> {
        let (olga, mia) = (hour("olga", &[("*", "write")]), hour("mia", &[]));
        let mut took = Vec::new();
        for n in 0..SAMPLES {
            let (doc, node) = (format!("rights-{n}"), n % self.nodes.len());
            let (path, rights) = (format!("/v1/docs/{doc}"), format!("/v1/docs/{doc}/rights"));
            let begin = (Method::PUT, path.as_str());
            let text = json!({ "text": "x" });
            assert!(self.ask_with(node, begin, &olga, text).await < 300, "it is made");
            let put = async |members: Value| {
                let body = json!({ "owner": "olga", "public": false, "members": members });
                let put = (Method::PUT, rights.as_str());
                assert_eq!(self.ask_with(node, put, &olga, body).await, 200);
            };
            put(json!({ "mia": ["write"] })).await;
            let sockets = self.enter_all(&doc, &mia).await;
            let began = Instant::now();
            put(json!({})).await;
            took.push(until_ended(sockets, 4403, began).await);
        }
        took
    }

    /// A quarter of them at once: each takes up to 3 s.
    async fn expired(&self) -> Vec<Duration> {
        let mut took = Vec::new();
        for batch in 0..4 {
            let all = (0..SAMPLES / 4).map(|n| self.expires(format!("expires-{batch}-{n}")));
            took.extend(join_all(all).await);
        }
        took
    }

    async fn expires(&self, doc: String) -> Duration {
        let token = token(&doc, &[("*", "write")], Duration::from_secs(3));
        let sockets = self.enter_all(&doc, &token).await;
        let expires = claim(&token, "exp").as_u64().expect("seconds") * 1_000;
        let left = expires.checked_sub(Clock::wall().now().0).expect("it is good still");
        until_ended(sockets, 4401, Instant::now() + Duration::from_millis(left)).await
    }

    /// Cuts off each node in turns, and waits until it takes tokens again.
    async fn cut_off(&self) -> Vec<Duration> {
        let writer = hour("writer", &[("*", "write")]);
        let mut took = Vec::new();
        for n in 0..CUTS {
            let node = n % self.nodes.len();
            let docs: Vec<_> = (0..SHARDS).map(|doc| format!("cut-{n}-{doc}")).collect();
            let sockets = join_all(docs.iter().map(|doc| self.enter(node, doc, &writer))).await;
            let began = Instant::now();
            let faults = Faults { lost: 1_000, unreadable: 1_000, ..Faults::default() };
            self.controls[node].set(faults);
            took.push(until_ended(sockets, 4503, began).await);
            self.controls[node].set(Faults::default());
            while self.ask(node, Method::GET, "/v1/docs/floor", &writer).await != 200 {
                sleep(Duration::from_millis(20)).await;
            }
            self.settled().await;
        }
        took
    }

    /// Edits a public document through each node in turns: how long it takes from the
    /// acknowledgement until the cache is told, and from then on until every node shows it.
    async fn purged(
        &self,
        purges: &mut mpsc::UnboundedReceiver<(String, Instant)>,
    ) -> (Vec<Duration>, Vec<Duration>) {
        let writer = hour("writer", &[("*", "write")]);
        let mut sockets = self.enter_all("page", &writer).await;
        type_at(&mut sockets[0], 1, 0).await;
        for socket in &mut sockets[1..] {
            socket.hear("op").await;
        }
        let put = (Method::PUT, "/v1/docs/page/rights");
        let public = json!({ "owner": "writer", "public": true, "members": {} });
        assert_eq!(self.ask_with(0, put, &writer, public).await, 200);
        purged(purges, "/page").await;
        let (mut told, mut shown) = (Vec::new(), Vec::new());
        for n in 1..=SAMPLES {
            let count = sockets.len();
            type_at(&mut sockets[n % count], n / count + 1, n).await;
            let acknowledged = Instant::now();
            let at = purged(purges, "/page").await;
            told.push(at.saturating_duration_since(acknowledged));
            for node in 0..count {
                self.shows(node, n + 1).await;
            }
            shown.push(at.elapsed());
            let others = sockets.iter_mut().enumerate().filter(|(other, _)| *other != n % count);
            for (_, socket) in others {
                socket.hear("op").await;
            }
        }
        (told, shown)
    }

    /// Waits until a node's page has so many letters.
    async fn shows(&self, node: usize, letters: usize) {
        let url = format!("http://{}/pub/page", self.nodes[node].address);
        loop {
            let answer = self.http.get(&url).send().await.expect("it answers");
            let page = answer.text().await.expect("text");
            if page.contains(&"x".repeat(letters)) {
                return;
            }
        }
    }
}

fn kept(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::write(&file, text).expect("it is written");
    file.display().to_string()
}

fn embedded(folder: &Path, shards: u32) -> Arc<dyn Log> {
    let metrics = log::Metrics::register(&Registry::new()).expect("a new registry");
    let options = log::Options { shards, ..log::Options::default() };
    Arc::new(Embedded::open(folder, options, metrics).expect("a new folder"))
}

/// Types a letter before so many others, and waits until it is acknowledged.
async fn type_at(socket: &mut Raw, seq: usize, letters: usize) {
    let op = if letters == 0 { json!(["x"]) } else { json!(["x", letters]) };
    let op = json!({ "t": "op", "seq": seq, "base": letters, "op": op });
    socket.send(&op.to_string()).await;
    socket.hear("ack").await;
}

/// Waits until every socket has read its close frame.
async fn until_ended(mut sockets: Vec<Raw>, wanted: u16, since: Instant) -> Duration {
    let ended = join_all(sockets.iter_mut().map(Raw::end)).await;
    let took = since.elapsed();
    for (told, code) in ended {
        assert_eq!(code, wanted, "{told}");
    }
    took
}

/// Waits until a cache is told of a document, and returns when it was.
async fn purged(purges: &mut mpsc::UnboundedReceiver<(String, Instant)>, wanted: &str) -> Instant {
    loop {
        let (path, at) = purges.recv().await.expect("it listens");
        if path == wanted {
            return at;
        }
    }
}

/// Reads what a token says.
fn claim(token: &str, name: &str) -> Value {
    let payload = token.split('.').nth(1).expect("it has three parts");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("it is encoded");
    let payload: Value = serde_json::from_slice(&payload).expect("JSON");
    payload[name].clone()
}
