//! Documents that are handed over while people type: their clients notice a pause at most.

use std::time::Duration;

use quire::client::{Document, Options, Status};
use quire::doc;
use quire::node::Node;
use quire::shard::{self, HandOverError};
use quire::text::Operation;
use quire::types::{DocId, NodeId};
use quire::wire::{Codec, Mode};
use serde_json::json;
use tokio::time::timeout;

use crate::inner::{PATIENCE, Under, id, ports, write as insert};
use crate::plain::{metric, metrics, row};
use crate::raw::{Raw, hello, node};

const WRITERS: usize = 4;
const EDITS: usize = 60;
const MOVES: usize = 40;

fn doc() -> DocId {
    "moving".parse().expect("a valid id")
}

/// Types letters in the middle of a document, and waits now and then until they are durable.
pub(crate) async fn type_in(document: &Document, letters: impl Iterator<Item = char>) {
    for (n, letter) in letters.enumerate() {
        let edited = document.change(|view| {
            let at = u32::try_from(view.chars() / 2).expect("short");
            Operation::builder().retain(at).insert(letter.encode_utf8(&mut [0; 4])).build()
        });
        edited.expect("the place is inside");
        if n % 3 == 0 {
            document.wait_durable().await.expect("the server takes the client");
        } else {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    document.wait_durable().await.expect("the server takes the client");
}

/// Hands the document's shard from owner to owner, each a claimant of its own on the same log.
async fn move_shard(node: &Node) {
    let stores = node.stores();
    for round in 0..MOVES / 2 {
        let owner = node.router().owner(&doc()).expect("it is here");
        let name = format!("owner-{round}");
        let to = NodeId(name.parse().expect("a valid id"));
        owner.hand_over(Some(to)).await.expect("nobody else has claimed it");
        assert_eq!(owner.hand_over(None).await, Err(HandOverError::Ended), "it has given it up");
        let under =
            Under { log: stores.log.clone(), store: stores.store.clone(), ..Under::default() };
        let next = shard::start(owner.shard(), ports(under, &name)).await.expect("it is released");
        node.shards().replace(next);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn hand_document_over(node: &Node) {
    for _ in 0..MOVES {
        // It may be closing just now.
        if let Ok(handle) = node.router().open(&doc()).await {
            handle.hand_over();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_types_in_a_document_whose_shard_gets_another_owner_notices_nothing() {
    type_while(async |node| move_shard(node).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_types_in_a_document_that_is_handed_over_again_and_again_notices_nothing() {
    type_while(async |node| hand_document_over(node).await).await;
}

/// Lets people type while something is done to their document, and checks what they have.
async fn type_while(moving: impl AsyncFn(&Node)) {
    let node = node(|_| {}).await;
    let url = format!("http://{}", node.address);
    let open = |n: usize| {
        let codec = if n.is_multiple_of(2) { Codec::Json } else { Codec::Binary };
        Document::open(doc(), Options { codec, ..Options::new(&url) })
    };
    let documents: Vec<_> = (0..WRITERS).map(open).collect();
    let mut statuses: Vec<_> = documents.iter().map(Document::status).collect();
    for status in &mut statuses {
        let online = status.wait_for(|status| *status == Status::Online);
        timeout(PATIENCE, online).await.expect("it connects").expect("it is open");
    }
    documents[0].edit(&Operation::builder().insert("begin").build()).expect("it is empty");
    documents[0].wait_durable().await.expect("the server takes the client");
    let viewer = Document::open(doc(), Options { mode: Mode::View, ..Options::new(&url) });
    let writing = async {
        let letters = |first: usize| ('a'..='z').cycle().skip(first).take(EDITS);
        let all = documents.iter().enumerate().map(|(n, one)| type_in(one, letters(n)));
        futures_util::future::join_all(all).await;
    };
    let both = futures_util::future::join(writing, moving(&node));
    timeout(PATIENCE, both).await.expect("all is durable");
    let text = {
        let (_, welcome) = Raw::join(&node, "moving", '9', "").await;
        welcome["text"].as_str().expect("the text").to_owned()
    };
    assert_eq!(text.chars().count(), 5 + WRITERS * EDITS, "every edit is there once");
    for document in documents.iter().chain([&viewer]) {
        let mut shown = document.subscribe();
        let equal = async {
            while document.text() != text {
                shown.recv().await.expect("it is open");
            }
        };
        timeout(PATIENCE, equal).await.expect("every replica gets there");
    }
    let never = statuses.iter().all(|status| !status.has_changed().expect("it is open"));
    assert!(never, "nobody was disconnected");
    let metrics = metrics(&node).await;
    let followed = row(&metrics, "quire_edge_moves_total").expect("it is counted");
    assert!(followed >= MOVES as u64 / 2, "{followed} sessions followed");
    let closes: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("quire_edge_closes_total{")).collect();
    assert_eq!(closes, [""; 0], "nobody was sent away");
}

/// Checks that a client is told to come back, in the message and in the close frame.
async fn is_told_moved(client: &mut Raw) {
    let (error, code, reason) = client.close().await;
    let told = (&error["code"], &error["fatal"], &error["retry_ms"]);
    assert_eq!(told, (&json!("moved"), &json!(true), &json!(200)), "{error}");
    assert_eq!((code, reason.as_str()), (4503, "moved"));
}

/// Joins the document and writes its first revision.
async fn begin(node: &Node) -> Raw {
    let (mut client, _) = Raw::join(node, "moving", '1', "").await;
    client.send(r#"{"t":"op","seq":1,"base":0,"op":["mine"]}"#).await;
    client.hear("ack").await;
    client
}

fn owner(node: &Node) -> shard::Handle {
    node.router().owner(&doc()).expect("it is here")
}

/// Starts the next owner of the document's shard, to whom nobody is led yet.
async fn next_owner(node: &Node, config: doc::Config) -> shard::Handle {
    let (owner, stores) = (owner(node), node.stores());
    let under = Under { log: stores.log.clone(), store: stores.store.clone(), config };
    shard::start(owner.shard(), ports(under, "next")).await.expect("it is released")
}

#[tokio::test]
async fn who_lacks_revisions_that_the_next_owner_has_not_at_hand_is_told_moved() {
    let node = node(|_| {}).await;
    let mut client = begin(&node).await;
    owner(&node).hand_over(None).await.expect("nobody else has claimed it");
    let config = doc::Config { window_revisions: 1, ..doc::Config::default() };
    let next = next_owner(&node, config).await;
    let handle = next.open(doc()).await.expect("it opens");
    for base in 1..4 {
        insert(&handle, base).await;
    }
    node.shards().replace(next);
    is_told_moved(&mut client).await;
    assert_eq!(metric(&node, r#"quire_edge_closes_total{reason="moved"}"#).await, 1);
    // It asks again, as it was told to, and gets the text.
    let (mut client, welcome) = Raw::join(&node, "moving", '1', r#","rev":1"#).await;
    assert_eq!((&welcome["text"], &welcome["seq"]), (&json!("xxxmine"), &json!(1)));
    client.send(r#"{"t":"op","seq":2,"base":4,"op":[7,"!"]}"#).await;
    assert_eq!(client.hear("ack").await["rev"], 5);
}

#[tokio::test]
async fn who_may_only_read_at_the_next_owner_is_told_moved() {
    let node = node(|config| config.shards = 1).await;
    let mut client = begin(&node).await;
    let handle = node.router().open(&doc()).await.expect("it is open");
    handle.save().await.expect("it is in memory");
    // The log loses what no checkpoint covers: an edit of another document.
    insert(&node.router().open(&id("other")).await.expect("it is new"), 0).await;
    let owner = owner(&node);
    owner.hand_over(None).await.expect("nobody else has claimed it");
    let log = node.stores().log;
    let high = log.marks(owner.shard()).await.expect("it is in memory").high;
    log.trim(owner.shard(), high).await.expect("it is in memory");
    node.shards().replace(next_owner(&node, doc::Config::default()).await);
    is_told_moved(&mut client).await;
    let (_, welcome) = Raw::join(&node, "moving", '1', r#","rev":1"#).await;
    assert_eq!((&welcome["mode"], &welcome["ops"]), (&json!("view"), &json!([])));
}

#[tokio::test]
async fn whose_document_has_no_owner_for_long_is_told_moved() {
    let node = node(|_| {}).await;
    let mut client = begin(&node).await;
    owner(&node).hand_over(None).await.expect("nobody else has claimed it");
    let mut newcomer = Raw::say(&node, "moving", &hello('2', "")).await;
    // What follows waits for seconds.
    tokio::time::pause();
    is_told_moved(&mut client).await;
    is_told_moved(&mut newcomer).await;
    node.shards().replace(next_owner(&node, doc::Config::default()).await);
    let (_, welcome) = Raw::join(&node, "moving", '1', r#","rev":1"#).await;
    assert_eq!((&welcome["ops"], &welcome["seq"]), (&json!([]), &json!(1)));
}
