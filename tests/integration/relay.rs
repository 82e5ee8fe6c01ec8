//! Documents of other nodes: clients of any node see the same protocol.

use std::time::Duration;

use quire::client::{Document, Options, Status};
use quire::text::Operation;
use quire::wire::Codec;
use tokio::time::timeout;

use crate::inner::{PATIENCE, id};
use crate::nodes::{Nodes, Settings};

const EDITS: usize = 40;

fn open(nodes: &Nodes, node: usize, codec: Codec) -> Document {
    Document::open(id("shared"), Options { codec, ..Options::new(&nodes.url(node)) })
}

async fn online(document: &Document) {
    let mut status = document.status();
    let online = status.wait_for(|status| *status == Status::Online);
    timeout(PATIENCE, online).await.expect("it connects").expect("it is open");
}

async fn write(document: &Document, letter: char, edits: usize) {
    for n in 0..edits {
        let edited = document.change(|view| {
            let at = u32::try_from(view.chars() / 2).expect("short");
            Operation::builder().retain(at).insert(letter.encode_utf8(&mut [0; 4])).build()
        });
        edited.expect("the place is inside");
        if n % 3 == 0 {
            document.wait_durable().await.expect("the server takes the client");
        } else {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    document.wait_durable().await.expect("the server takes the client");
}

/// Waits until every replica is equal and returns the text.
async fn agree(documents: &[Document]) -> String {
    let text = documents[0].text();
    for document in documents {
        let mut shown = document.subscribe();
        let equal = async {
            while document.text().chars().count() < text.chars().count() {
                shown.recv().await.expect("it is open");
            }
        };
        timeout(PATIENCE, equal).await.expect("every replica gets there");
    }
    let text = documents.iter().map(Document::text).max_by_key(String::len).expect("some");
    for document in documents {
        let mut shown = document.subscribe();
        let equal = async {
            while document.text() != text {
                shown.recv().await.expect("it is open");
            }
        };
        timeout(PATIENCE, equal).await.expect("every replica gets there");
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_on_different_nodes_type_into_one_document() {
    let nodes = Nodes::start(2, Settings::default()).await;
    let documents: Vec<_> = (0..6)
        .map(|n| open(&nodes, n % 3, if n < 3 { Codec::Json } else { Codec::Binary }))
        .collect();
    for document in &documents {
        online(document).await;
    }
    let all = documents.iter().zip('a'..).map(|(document, letter)| write(document, letter, EDITS));
    timeout(PATIENCE, futures_util::future::join_all(all)).await.expect("all is durable");
    let text = agree(&documents).await;
    assert_eq!(text.chars().count(), documents.len() * EDITS, "every edit is there once");
    for letter in ('a'..).take(documents.len()) {
        assert_eq!(text.chars().filter(|one| *one == letter).count(), EDITS, "{letter}");
    }
}
