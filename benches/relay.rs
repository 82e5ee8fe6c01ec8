//! Acknowledgements through a node that does not own the document, against those at its owner, in
//! turns within one run: two nodes in this process over a log in memory, real sockets in between.
//!
//! ```sh
//! cargo bench --bench relay               # QUIRE_RELAY_ROUNDS=20000 for longer
//! ```

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
    let nodes = Nodes::start(1, Settings::default()).await;
    let open =
        |node: usize| Document::open(id(&format!("bench-{node}")), Options::new(&nodes.url(node)));
    let documents = [open(0), open(1)];
    let mut took = [(); 2].map(|()| Histogram::<u64>::new(3).expect("three digits"));
    for round in 0..rounds {
        for (document, took) in documents.iter().zip(&mut took) {
            let micros = type_one(document).await.as_micros();
            // The first ones connect and warm up.
            if round >= rounds / 10 {
                took.saturating_record(u64::try_from(micros).unwrap_or(u64::MAX));
            }
        }
    }
    for (place, took) in ["at the owner", "through another node"].iter().zip(&took) {
        let at = |quantile| took.value_at_quantile(quantile);
        println!("{place}: p50 {} us, p99 {} us, {} edits", at(0.5), at(0.99), took.len());
    }
    let added = took[1].value_at_quantile(0.5).saturating_sub(took[0].value_at_quantile(0.5));
    println!("added by the way over another node: p50 {added} us");
}
