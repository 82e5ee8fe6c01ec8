//! What a recorded editing session takes stored, how much was written for it, and how long it takes
//! to open: `cargo bench --bench storage -- TRACE [TIMES]`. Prints figures; times nothing by
//! criterion, because it is about bytes.
//!
//! Expected for 260,000 keystrokes: one sealed segment of some 70 KB, two checkpoints of the live
//! one, and about ten checkpoints written on the way.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use quire::access::{Asker, Right};
use quire::checkpoint::{BlobKind, Memory, Store};
use quire::clock::Clock;
use quire::doc::{self, Batch, Content, Event, Join, Outbox};
use quire::load::Trace;
use quire::log::{self, Log};
use quire::router::Router;
use quire::shard;
use quire::testing;
use quire::text::{Component, Operation};
use quire::types::{DocId, LogId, Revision, Seq, SessionId, ShardId};
use tokio::sync::mpsc;

struct Told(mpsc::UnboundedSender<Event>);

impl Outbox for Told {
    fn push(&self, event: Event) {
        // The replay has ended.
        let _ = self.0.send(event);
    }
}

struct Stores {
    log: Arc<log::Memory>,
    store: Arc<Memory>,
    written: u64,
}

fn doc_id() -> DocId {
    "bench".parse().expect("a valid id")
}

async fn start(stores: &Stores) -> (Router, doc::Metrics) {
    let mut ports = testing::ports(stores.log.clone(), stores.store.clone(), "bench");
    ports.claimant.boot = Clock::wall().now().0;
    let doc_metrics = ports.doc_metrics.clone();
    let shard = shard::start(ShardId(0), ports).await.expect("it starts");
    (Router::new(vec![shard]), doc_metrics)
}

/// Replays a trace with one client, one batch in flight, and stops the node.
async fn replay(stores: &mut Stores, trace: &quire::load::Sequential, session: u8) {
    let (router, metrics) = start(stores).await;
    let (outbox, mut told) = mpsc::unbounded_channel();
    let outbox = Arc::new(Told(outbox));
    let join = || Join::new(SessionId([session; 16]), outbox.clone());
    let (handle, welcome) = router.join(&doc_id(), join).await.expect("it is taken");
    // The text stays as long as it is: each round begins by deleting what the one before wrote.
    let chars = match &welcome.content {
        Content::Text(text) => u32::try_from(text.chars().count()).expect("it is short"),
        Content::Changes(_) => 0,
    };
    let clear = Operation::builder().delete(chars).build();
    let edits = trace.edits.iter().map(|op| shifted(op, session));
    for (n, op) in (0..).zip(std::iter::once(clear).chain(edits)) {
        let base = Revision(welcome.head.0 + n);
        let received = tokio::time::Instant::now();
        let batch = Batch { seq: Seq(n + 1), base, op, received, permit: None };
        handle.submit(welcome.conn, batch, 64).await.expect("it is open");
        loop {
            match told.recv().await {
                Some(Event::Changed(_)) => break,
                Some(Event::Refused { refusal, .. }) => panic!("{refusal}"),
                Some(_) => {}
                None => panic!("the document has ended"),
            }
        }
    }
    router.drain().await;
    stores.written += metrics.checkpoint_bytes.get();
}

/// Writes with other letters in each round, so that one round does not compress to nothing beside
/// another.
fn shifted(op: &Operation, by: u8) -> Operation {
    let shift = |text: &str| -> String {
        let letter = |byte: u8| b'a' + (byte - b'a' + by) % 26;
        let char = |c: char| match u8::try_from(c) {
            Ok(byte @ b'a'..=b'z') => char::from(letter(byte)),
            _ => c,
        };
        text.chars().map(char).collect()
    };
    let mut builder = Operation::builder();
    for component in op.components() {
        builder = match component {
            Component::Retain(chars) => builder.retain(*chars),
            Component::Insert(text) => builder.insert(&shift(text)),
            Component::Delete(chars) => builder.delete(*chars),
        };
    }
    builder.build()
}

/// Returns what is stored in all, and without the older of the two checkpoints that are kept.
async fn stored(store: &Memory) -> (u64, u64) {
    let (mut all, mut newest) = (0, 0);
    let manifests = store.manifests(&doc_id(), usize::MAX).await.expect("it is in memory");
    let revision = manifests.first().map(|manifest| manifest.id.revision);
    all += manifests.iter().map(|manifest| manifest.bytes.len()).sum::<usize>();
    for blob in store.blobs(&doc_id()).await.expect("it is in memory") {
        for index in 0.. {
            let chunk = store.chunk(&blob, index).await.expect("it is in memory");
            let Some(chunk) = chunk else { break };
            all += chunk.len();
            if blob.kind == BlobKind::Segment || Some(blob.revision) == revision {
                newest += chunk.len();
            }
        }
    }
    (all as u64, newest as u64)
}

async fn measure(trace: &quire::load::Sequential, times: u8) {
    let log = Arc::new(log::Memory::new(LogId(1), 1));
    let mut stores = Stores { log, store: Arc::new(Memory::new()), written: 0 };
    for time in 1..=times {
        replay(&mut stores, trace, time).await;
        let marks = stores.log.marks(ShardId(0)).await.expect("it is in memory");
        let (router, _) = start(&stores).await;
        let began = Instant::now();
        let handle = router.open(&doc_id()).await.expect("it opens");
        let opened = began.elapsed();
        let past = handle.past(&Asker::anything(), Right::History).await.expect("it is open");
        let (all, newest) = stored(&stores.store).await;
        println!(
            "{:>8} revisions: stored {all:>7} B ({newest:>7} B without the older checkpoint), \
             written to checkpoints {:>8} B ({:.1} times), log records left {}, opened in {:.2} ms",
            past.head().0,
            stores.written,
            stores.written as f64 / all as f64,
            marks.high.0 - marks.low.0,
            opened.as_secs_f64() * 1_000.0,
        );
        router.drain().await;
    }
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let Some(path) = args.next() else {
        println!("name a trace: cargo bench --bench storage -- FILE [TIMES]");
        return;
    };
    let times = args.next().map_or(1, |times| times.parse().expect("TIMES is a number"));
    let Ok(Trace::Sequential(trace)) = Trace::read(Path::new(&path)) else {
        panic!("{path} is no sequential trace");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("threads can be started").block_on(measure(&trace, times));
}
