//! Documents that are handed over while people type: their clients notice a pause at most.

use std::time::Duration;

use quire::client::{Document, Options, Status};
use quire::text::Operation;
use quire::types::DocId;
use quire::wire::{Codec, Mode};
use tokio::time::timeout;

use crate::inner::PATIENCE;
use crate::raw::{Raw, node};

const WRITERS: usize = 4;
const EDITS: usize = 60;
const MOVES: usize = 40;

fn doc() -> DocId {
    "moving".parse().expect("a valid id")
}

async fn write(document: &Document, number: usize) {
    for n in 0..EDITS {
        let letter = char::from(b'a' + u8::try_from((number + n) % 26).expect("below 26"));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_types_in_a_document_that_is_handed_over_again_and_again_notices_nothing() {
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
        let all = documents.iter().enumerate().map(|(number, one)| write(one, number));
        futures_util::future::join_all(all).await;
    };
    let moving = async {
        for _ in 0..MOVES {
            let handle = node.router().open(&doc()).await.expect("it opens");
            handle.hand_over();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, futures_util::future::join(writing, moving)).await.expect("all is durable");
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
    let metrics = reqwest::get(format!("{url}/metrics")).await.expect("it answers");
    let metrics = metrics.text().await.expect("it is text");
    let followed = metrics.lines().find_map(|line| line.strip_prefix("quire_edge_moves_total "));
    let followed: usize = followed.expect("it is counted").parse().expect("a number");
    assert!(followed >= MOVES, "{followed} sessions followed");
    let closes: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("quire_edge_closes_total{")).collect();
    assert_eq!(closes, [""; 0], "nobody was sent away");
}
