//! What a cache is told by the nodes of a cluster: whichever node takes an edit, wherever the
//! document is, and what its last owner could not tell before it ended.

use std::net::Ipv4Addr;
use std::time::Duration;

use quire::config::Config;
use quire::node::Node;
use quire::task::Tasks;
use reqwest::Client;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::inner::{PATIENCE, id};
use crate::operators::Cluster;
use crate::plain::reaches;
use crate::purge::{Asked, FAILED, all_told, api, noting, noting_at, put};
use crate::raw::Raw;
use crate::server::free_port;

const DOC: &str = "notes";

/// Starts nodes that tell a cache on this port at once, each at an address with its own name.
async fn start(names: &[&str], port: u16) -> Cluster {
    let mut config = Config::default();
    config.purge.debounce = Duration::ZERO;
    let caches = |name: &str| format!("http://127.0.0.1:{port}/{name}/{{doc}}");
    config.purge.caches = caches(names[0]);
    let mut cluster = Cluster::with(&names[..1], config).await;
    for name in &names[1..] {
        cluster.config.purge.caches = caches(name);
        cluster.start(name).await;
    }
    cluster.settled().await;
    cluster
}

/// Returns the node that has the document.
fn owner(cluster: &Cluster) -> usize {
    let owns = |node: &Node| node.router().elsewhere(&id(DOC)).is_none();
    cluster.nodes.iter().position(owns).expect("one of them owns it")
}

async fn page(node: &Node) -> String {
    let url = format!("http://{}/pub/{DOC}", node.address);
    let answer = Client::new().get(url).send().await.expect("it answers");
    answer.error_for_status().expect("it is shown").text().await.expect("text")
}

/// Waits until the cache is told of the document, and returns by which node.
async fn told(asked: &mut Asked) -> String {
    let [_, address, _] =
        timeout(PATIENCE, asked.recv()).await.expect("it is told").expect("it listens");
    let node = address.strip_suffix(&format!("/{DOC}")).expect("it is told of the document");
    node.trim_start_matches('/').to_owned()
}

/// Waits until no node has anything to tell.
async fn quiet(cluster: &Cluster) {
    for node in &cluster.nodes {
        all_told(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_through_any_node_is_told_by_the_owner_and_is_then_shown_by_all() {
    let (names, tasks) = (["a", "b", "c"], Tasks::new());
    let (port, mut asked) = noting(&tasks).await;
    let cluster = start(&names, port).await;
    let by = names[owner(&cluster)];
    let shown = async |text: &str| {
        for node in &cluster.nodes {
            let page = page(node).await;
            assert!(page.contains(text), "{text}: {page}");
        }
    };
    for (n, node) in cluster.nodes.iter().chain(&cluster.nodes).enumerate() {
        let text = format!("edit {n}");
        put(&api(node, DOC), &text).await;
        assert_eq!(told(&mut asked).await, by, "through node {n}");
        shown(&text).await;
    }
    // By a socket as over HTTP; whoever is told `ack` is told after the owner knew what to tell.
    let other = cluster.nodes.iter().find(|node| node.router().elsewhere(&id(DOC)).is_some());
    let (mut socket, welcome) = Raw::join(other.expect("there are three"), DOC, '1', "").await;
    let rev = &welcome["rev"];
    socket.send(&format!(r#"{{"t":"op","seq":1,"base":{rev},"op":["typed ",6]}}"#)).await;
    socket.hear("ack").await;
    assert_eq!(told(&mut asked).await, by);
    shown("typed edit 5").await;
    quiet(&cluster).await;
    assert!(asked.try_recv().is_err(), "nothing is told twice, or by another");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_that_has_moved_is_told_of_by_its_next_owner() {
    let (names, tasks) = (["a", "b"], Tasks::new());
    let (port, mut asked) = noting(&tasks).await;
    let cluster = start(&names, port).await;
    put(&api(&cluster.nodes[0], DOC), "begin").await;
    assert_eq!(told(&mut asked).await, names[owner(&cluster)]);
    for n in 0..4 {
        let to = 1 - owner(&cluster);
        cluster.done(0, &["move", DOC, "--to", names[to], "--wait"]).await;
        assert_eq!(owner(&cluster), to);
        // It is in no checkpoint: what was told of it before, its next owner does not know.
        page(&cluster.nodes[n % 2]).await;
        assert_eq!(told(&mut asked).await, names[to]);
        quiet(&cluster).await;
        assert!(asked.try_recv().is_err(), "that was all");
        let text = format!("edit {n}");
        put(&api(&cluster.nodes[n / 2], DOC), &text).await;
        assert_eq!(told(&mut asked).await, names[to], "edit {n}");
        for node in &cluster.nodes {
            assert!(page(node).await.contains(&text));
        }
        quiet(&cluster).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_could_not_tell_before_it_ended_the_next_one_does() {
    let (names, tasks, port) = (["a", "b"], Tasks::new(), free_port());
    let mut cluster = start(&names, port).await;
    let first = owner(&cluster);
    let other = 1 - first;
    put(&api(&cluster.nodes[other], DOC), "untold").await;
    reaches(&cluster.nodes[first], FAILED, 1).await;
    let stopping = cluster.nodes.remove(first);
    timeout(PATIENCE, stopping.stop()).await.expect("it does not wait").expect("in order");
    cluster.settled().await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("it is free");
    let mut asked = noting_at(listener, &tasks);
    assert!(page(&cluster.nodes[0]).await.contains("untold"));
    assert_eq!(told(&mut asked).await, names[other]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_could_not_tell_before_its_document_moved_it_tells_later() {
    let (names, tasks, port) = (["a", "b"], Tasks::new(), free_port());
    let cluster = start(&names, port).await;
    let first = owner(&cluster);
    put(&api(&cluster.nodes[first], DOC), "untold").await;
    reaches(&cluster.nodes[first], FAILED, 1).await;
    cluster.done(0, &["move", DOC, "--to", names[1 - first], "--wait"]).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("it is free");
    let mut asked = noting_at(listener, &tasks);
    // Nobody asks for the document, so that its next owner need not open it.
    while told(&mut asked).await != names[first] {}
    quiet(&cluster).await;
}
