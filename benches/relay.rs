//! Acknowledgements through a node that does not own the document, over a plain link and over TLS,
//! against those at its owner, in turns within one run: two nodes each in this process over a log
//! in memory, real sockets in between.
//!
//! ```sh
//! cargo bench --bench relay               # QUIRE_RELAY_ROUNDS=20000 for longer
//! ```

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/integration/certificates.rs"]
mod certificates;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/integration/inner.rs"]
mod inner;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/integration/nodes.rs"]
mod nodes;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/integration/raw.rs"]
mod raw;

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use quire::client::{Document, Options};
use quire::text::Operation;

use crate::certificates::{Authority, Folder};
use crate::inner::id;
use crate::nodes::{Nodes, Settings};

const ROUNDS: u64 = 2_000;

async fn type_one(document: &Document) -> Duration {
    let began = Instant::now();
    document.edit(&Operation::builder().insert("x").build()).expect("it fits");
    document.wait_durable().await.expect("the server takes the client");
    began.elapsed()
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let rounds = std::env::var("QUIRE_RELAY_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let rounds = rounds.unwrap_or(ROUNDS);
    let ca = Authority::new("cluster");
    let folder = Folder::new(&ca.issue(&["node-0", "node-1"]), &ca.pem);
    let plain = Nodes::start(1, Settings::default()).await;
    let tls = Nodes::start(1, Settings { relay: folder.config(), ..Settings::default() }).await;
    let open = |nodes: &Nodes, node: usize| {
        Document::open(id(&format!("bench-{node}")), Options::new(&nodes.url(node)))
    };
    let documents = [open(&plain, 0), open(&plain, 1), open(&tls, 1)];
    let mut took = [(); 3].map(|()| Histogram::<u64>::new(3).expect("three digits"));
    for round in 0..rounds {
        for (document, took) in documents.iter().zip(&mut took) {
            let micros = type_one(document).await.as_micros();
            // The first ones connect and warm up.
            if round >= rounds / 10 {
                took.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
            }
        }
    }
    let places = ["at the owner", "through another node", "through another node, over TLS"];
    for (place, took) in places.iter().zip(&took) {
        let at = |quantile| took.value_at_quantile(quantile);
        println!("{place}: p50 {} us, p99 {} us, {} edits", at(0.5), at(0.99), took.len());
    }
    let added = |from: usize, to: usize| {
        took[to].value_at_quantile(0.5).saturating_sub(took[from].value_at_quantile(0.5))
    };
    println!("added by the way over another node: p50 {} us", added(0, 1));
    println!("added by TLS: p50 {} us", added(1, 2));
}
