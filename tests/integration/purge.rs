//! A real Varnish, set up as deploy/proxy/varnish.vcl says, in front of a real node: what it keeps,
//! for how long, and what it is told.

use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quire::access::{AccessChange, Asker, Right, Visibility};
use quire::config::Config;
use quire::doc::{EventKind, Handle, Herald, Public, Write};
use quire::node::Node;
use quire::shard::{self, Ports};
use quire::task::Tasks;
use quire::text::Operation;
use quire::types::{Author, DocId, Revision, SessionId, ShardId};
use reqwest::{Client, Method, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::inner::{PATIENCE, Under, ports};
use crate::plain::{becomes, metrics, reaches, row};
use crate::raw::{self, Listens, Raw};
use crate::server::free_port;

/// A Varnish that is killed when the test ends.
struct Varnish {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Varnish {
    /// Starts one in front of a node, and waits until it answers.
    async fn start(node: &Node, port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let example = include_str!("../../deploy/proxy/varnish.vcl");
        assert_eq!(example.matches("\"8080\"").count(), 1);
        let vcl = example.replace("\"8080\"", &format!("\"{}\"", node.address.port()));
        let file = folder.path().join("test.vcl");
        std::fs::write(&file, vcl).expect("it is written");
        let mut command = Command::new("varnishd");
        command.args(["-F", "-j", "none", "-s", "malloc,16m", "-a"]);
        command.arg(format!("127.0.0.1:{port}")).arg("-f").arg(&file);
        command.arg("-n").arg(folder.path().join("work"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("varnishd is there (Debian: apt-get install varnish)");
        let varnish = Self { child, folder, port };
        let url = varnish.url("/pub/never");
        let up = async {
            while Client::new().get(&url).send().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, up).await.expect("varnishd answers");
        varnish
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn get(&self, path: &str) -> Response {
        Client::new().get(self.url(path)).send().await.expect("it answers")
    }
}

impl Drop for Varnish {
    fn drop(&mut self) {
        // The parent ends its own child, which has the port, when it is told to.
        crate::server::terminate(&self.child);
        let _ = self.child.wait();
        assert!(self.folder.path().exists(), "it was its own");
    }
}

impl Listens for Varnish {
    fn address(&self) -> std::net::SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

/// Starts a node that tells a cache on this port.
async fn node(cache: u16, change: impl FnOnce(&mut Config)) -> Node {
    raw::node(|config| {
        config.purge.caches = format!("http://127.0.0.1:{cache}/pub/{{doc}}");
        change(config);
    })
    .await
}

pub(crate) fn api(node: &Node, doc: &str) -> String {
    format!("http://{}/v1/docs/{doc}", node.address)
}

pub(crate) async fn put(url: &str, text: &str) {
    let body = json!({ "text": text }).to_string();
    let put = Client::new()
        .put(url)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .expect("it answers");
    assert!(put.status().is_success(), "{put:?}");
}

/// Tells whether Varnish had the answer: it names the request that fetched it, too.
fn was_kept(answer: &Response) -> bool {
    let ids = answer.headers().get("x-varnish").map_or("", |ids| ids.to_str().expect("ASCII"));
    ids.split(' ').count() == 2
}

/// Reads a counter of the node that is there from the beginning.
async fn counted(node: &Node, name: &str) -> u64 {
    row(&metrics(node).await, name).expect("it is counted")
}

const SENT: &str = "quire_edge_purges_total{outcome=\"sent\"}";
pub(crate) const FAILED: &str = "quire_edge_purges_total{outcome=\"failed\"}";
const WAITING: &str = "quire_edge_purges_waiting";

/// Waits until no cache has to be told of anything.
pub(crate) async fn all_told(node: &Node) {
    becomes(node, WAITING, 0).await;
}

/// Has Varnish keep a page.
async fn kept(varnish: &Varnish, path: &str) {
    let kept = async { while !was_kept(&varnish.get(path).await) {} };
    timeout(PATIENCE, kept).await.expect("it is kept");
}

#[tokio::test]
async fn an_edit_is_seen_through_the_cache_because_it_is_told() {
    let port = free_port();
    // Nothing but a purge ends what is kept before the test does.
    let node = node(port, |config| config.edge.page_max_age = Duration::from_secs(3_600)).await;
    let varnish = Varnish::start(&node, port).await;
    put(&api(&node, "notes"), "edit 0").await;
    all_told(&node).await;
    let mut slowest = Duration::ZERO;
    for n in 1..=5 {
        kept(&varnish, "/pub/notes").await;
        put(&api(&node, "notes"), &format!("edit {n}")).await;
        let since = Instant::now();
        let seen = async {
            loop {
                let answer = varnish.get("/pub/notes").await;
                assert!(!answer.headers().contains_key("surrogate-key"), "it is for the cache");
                if answer.text().await.expect("text").contains(&format!("edit {n}")) {
                    return;
                }
            }
        };
        timeout(PATIENCE, seen).await.expect("the edit is seen");
        slowest = slowest.max(since.elapsed());
        all_told(&node).await;
    }
    println!("the slowest of 5 edits was seen after {slowest:?}, 250 ms of which it is gathered");
    // Deleted, it is gone; back, it is there.
    kept(&varnish, "/pub/notes").await;
    Client::new().delete(api(&node, "notes")).send().await.expect("it answers");
    let gone = async { while varnish.get("/pub/notes").await.status().as_u16() != 404 {} };
    timeout(PATIENCE, gone).await.expect("it is gone");
    assert!(!was_kept(&varnish.get("/pub/notes").await));
    Client::new().post(format!("{}/undelete", api(&node, "notes"))).send().await.expect("yes");
    assert_eq!(varnish.get("/pub/notes").await.status().as_u16(), 200);
}

#[tokio::test]
async fn without_a_purge_an_old_page_is_shown_for_as_long_as_was_said_and_no_longer() {
    let port = free_port();
    let node = raw::node(|config| {
        config.edge.page_max_age = Duration::from_secs(1);
        config.edge.page_stale = Duration::from_secs(1);
    })
    .await;
    let varnish = Varnish::start(&node, port).await;
    put(&api(&node, "notes"), "before").await;
    kept(&varnish, "/pub/notes").await;
    put(&api(&node, "notes"), "after").await;
    let mut oldest = 0;
    let seen = async {
        loop {
            let answer = varnish.get("/pub/notes").await;
            let age = answer.headers().get("age").map_or("0", |age| age.to_str().expect("ASCII"));
            let age: u64 = age.parse().expect("seconds");
            if answer.text().await.expect("text").contains("after") {
                return;
            }
            oldest = oldest.max(age);
        }
    };
    timeout(PATIENCE, seen).await.expect("the edit is seen");
    assert!(oldest <= 2, "an answer of {oldest} s");
}

#[tokio::test]
async fn what_is_somebodys_own_is_never_kept() {
    let port = free_port();
    let node = node(port, |_| {}).await;
    let varnish = Varnish::start(&node, port).await;
    for n in 0..3 {
        let text = format!("text {n}");
        put(&varnish.url("/v1/docs/notes"), &text).await;
        for path in ["/v1/docs/notes", "/v1/docs/notes/blame", "/v1/docs/notes/diff?from=0"] {
            let answer = varnish.get(path).await;
            assert!(!was_kept(&answer), "{path}");
            let body = answer.text().await.expect("text");
            // Blame and difference have the text in pieces.
            assert!(body.contains(&format!("{n}\"")), "{path}: {body}");
        }
        let digit = char::from_digit(n + 1, 10).expect("a digit");
        let (_socket, welcome) = Raw::join(&varnish, "notes", digit, "").await;
        assert_eq!(welcome["text"], text);
    }
    for path in ["/", "/d/notes", "/ws/notes", "/nowhere"] {
        varnish.get(path).await;
        assert!(!was_kept(&varnish.get(path).await), "{path}");
    }
    let page = varnish.get("/").await.text().await.expect("text");
    let asset = page.split('"').find(|part| part.starts_with("/assets/")).expect("it has some");
    kept(&varnish, asset).await;
    assert_eq!(varnish.get("/metrics").await.status().as_u16(), 404);
}

#[tokio::test]
async fn only_the_nodes_may_purge() {
    let port = free_port();
    let node = node(port, |_| {}).await;
    let varnish = Varnish::start(&node, port).await;
    put(&api(&node, "notes"), "x").await;
    all_told(&node).await;
    kept(&varnish, "/pub/notes").await;
    let purge = async |from: [u8; 4], of: Option<&str>| {
        let client = Client::builder().local_address(IpAddr::from(from)).build().expect("a client");
        let method = Method::from_bytes(b"PURGE").expect("a method");
        let purge = client.request(method, varnish.url("/pub/notes"));
        let purge = of.into_iter().fold(purge, |purge, of| purge.header("x-forwarded-for", of));
        purge.send().await.expect("it answers").status().as_u16()
    };
    assert_eq!(purge([127, 0, 0, 2], None).await, 403);
    // Through a proxy on the same machine, which says for whom it asks.
    assert_eq!(purge([127, 0, 0, 1], Some("203.0.113.9")).await, 403);
    assert!(was_kept(&varnish.get("/pub/notes").await));
    assert_eq!(purge([127, 0, 0, 1], None).await, 200);
    assert!(!was_kept(&varnish.get("/pub/notes").await));
}

#[tokio::test]
async fn a_cache_that_was_down_is_told_when_it_is_back() {
    let port = free_port();
    let node = node(port, |_| {}).await;
    put(&api(&node, "a"), "x").await;
    put(&api(&node, "b"), "x").await;
    reaches(&node, FAILED, 3).await;
    assert_eq!(counted(&node, SENT).await, 0);
    let varnish = Varnish::start(&node, port).await;
    reaches(&node, SENT, 2).await;
    all_told(&node).await;
    drop(varnish);
    let failed = counted(&node, FAILED).await;
    put(&api(&node, "a"), "y").await;
    reaches(&node, FAILED, failed + 1).await;
    // A node that stops does not wait for it.
    timeout(PATIENCE, node.stop()).await.expect("it stops").expect("in order");
}

/// Notes what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<DocId>>);

impl Herald for Told {
    fn changed(&self, doc: &DocId) {
        self.0.lock().push(doc.clone());
    }
}

/// A document on a shard whose herald notes what it is told.
struct Watched {
    told: Arc<Told>,
    handle: Handle,
}

impl Watched {
    async fn start(all: bool) -> Self {
        let told = Arc::new(Told::default());
        let public = Public { all, herald: Some(told.clone()) };
        let ports = Ports { public, ..ports(Under::default(), "node") };
        let shard = shard::start(ShardId(0), ports).await.expect("it starts");
        let handle = shard.open("a".parse().expect("an id")).await.expect("it opens");
        Self { told, handle }
    }

    async fn event(&self, kind: EventKind) {
        self.write(Write::Event { author: Author::anonymous(), kind }).await;
    }

    async fn edit(&self, base: u32) -> Revision {
        let op = Operation::builder().insert("x").retain(base).build();
        let (author, base) = (Author::anonymous(), Revision(base.into()));
        self.write(Write::Edit { author, base, op }).await
    }

    async fn write(&self, write: Write) -> Revision {
        let session = SessionId(rand::random());
        self.handle.write(session, Asker::anything(), write).await.expect("it is written")
    }

    /// Returns how often it was told since it was asked before.
    fn told(&self) -> usize {
        let told = std::mem::take(&mut *self.told.0.lock());
        assert!(told.iter().all(|doc| doc == self.handle.doc()));
        told.len()
    }
}

#[tokio::test]
async fn a_herald_is_told_of_what_all_see_and_of_nothing_else() {
    let doc = Watched::start(true).await;
    assert_eq!(doc.told(), 0, "there is nothing");
    doc.event(EventKind::Created).await;
    assert_eq!(doc.told(), 1);
    let rev = doc.edit(0).await;
    assert_eq!(doc.told(), 1);
    doc.event(EventKind::VersionNamed { name: "v".to_owned(), rev }).await;
    doc.event(EventKind::HistoryCut { before: rev }).await;
    assert_eq!(doc.told(), 0, "the text is the same");
    doc.event(EventKind::Deleted).await;
    assert_eq!(doc.told(), 1);
    doc.event(EventKind::Undeleted).await;
    assert_eq!(doc.told(), 1);
}

#[tokio::test]
async fn a_herald_is_told_nothing_of_a_private_document_but_that_it_became_one() {
    let doc = Watched::start(false).await;
    let visible = |to| EventKind::AccessChanged(AccessChange::Visibility(to));
    doc.edit(0).await;
    assert_eq!(doc.told(), 0);
    doc.event(visible(Visibility::Public)).await;
    assert_eq!(doc.told(), 1);
    doc.edit(1).await;
    assert_eq!(doc.told(), 1);
    let member = AccessChange::Member("mia".parse().expect("a subject"), Right::Write.into());
    doc.event(EventKind::AccessChanged(member)).await;
    assert_eq!(doc.told(), 0, "all see the same");
    doc.event(visible(Visibility::Private)).await;
    assert_eq!(doc.told(), 1);
    doc.edit(2).await;
    doc.event(EventKind::Deleted).await;
    assert_eq!(doc.told(), 0);
}

/// A cache's part that takes purges, by any method: it notes what it is asked.
pub(crate) async fn noting(tasks: &Tasks) -> (u16, Asked) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("it listens").port();
    (port, noting_at(listener, tasks))
}

/// The method, the address and the key of each purge.
pub(crate) type Asked = mpsc::UnboundedReceiver<[String; 3]>;

pub(crate) fn noting_at(listener: TcpListener, tasks: &Tasks) -> Asked {
    let (told, asked) = mpsc::unbounded_channel();
    let note = move |request: axum::extract::Request| {
        let key = request.headers().get("surrogate-key");
        let key = key.map_or("", |key| key.to_str().expect("ASCII")).to_owned();
        let line = [request.method().to_string(), request.uri().to_string(), key];
        let _ = told.send(line);
        std::future::ready(axum::http::StatusCode::OK)
    };
    let routes = axum::Router::new().fallback(note);
    tasks.spawn("cache", async { axum::serve(listener, routes).await.expect("it serves") });
    asked
}

#[tokio::test]
async fn a_cache_is_told_by_the_method_that_is_set_and_by_the_key_of_the_page() {
    for method in ["PURGE", "BAN", "POST"] {
        let tasks = Tasks::new();
        let (port, mut asked) = noting(&tasks).await;
        let node = raw::node(|config| {
            let base = format!("http://127.0.0.1:{port}");
            config.purge.caches = format!("{base}/pub/{{doc}} {base}/by-key?of={{doc}}");
            config.purge.method = method.to_owned();
        })
        .await;
        put(&api(&node, "a.b~c"), "x").await;
        let page = format!("http://{}/pub/a.b~c", node.address);
        let page = Client::new().get(page).send().await.expect("it answers");
        let key = page.headers()["surrogate-key"].to_str().expect("ASCII").to_owned();
        let mut found = Vec::new();
        for _ in 0..2 {
            found.push(timeout(PATIENCE, asked.recv()).await.expect("it is told").expect("it is"));
        }
        found.sort_unstable();
        let line = |path: &str| [method.to_owned(), path.to_owned(), key.clone()];
        assert_eq!(found, [line("/by-key?of=a.b~c"), line("/pub/a.b~c")]);
        assert_eq!(key, "doc-a.b~c");
        all_told(&node).await;
        assert_eq!(counted(&node, SENT).await, 2, "each cache once");
        node.stop().await.expect("it stops");
    }
}

#[tokio::test]
async fn whoever_asks_because_of_a_purge_gets_what_was_written() {
    let tasks = Tasks::new();
    let (port, mut asked) = noting(&tasks).await;
    let node = node(port, |config| config.purge.debounce = Duration::ZERO).await;
    let page = format!("http://{}/pub/notes", node.address);
    for n in 1..=20 {
        put(&api(&node, "notes"), &format!("edit {n}")).await;
        let told = timeout(PATIENCE, asked.recv()).await.expect("it is told of each");
        assert_eq!(told.expect("it listens")[1], "/pub/notes");
        let shown = Client::new().get(&page).send().await.expect("it answers");
        let shown = shown.text().await.expect("text");
        assert!(shown.contains(&format!("edit {n}")), "{n}: {shown}");
    }
    all_told(&node).await;
    assert!(asked.try_recv().is_err(), "no edit is told twice");
    node.stop().await.expect("it stops");
}
