//! Costs of a document's history on a recorded editing trace, one revision a keystroke.
//!
//! Expected: a keystroke is one call of diamond-types (76 ns) and five comparisons in the table
//! (10 ns); encoding and decoding are bound by diamond-types and zstd (milliseconds for 260,000
//! revisions); a text from the middle costs half a replay.
//!
//! The trace is `seq-automerge-paper.json.gz`, beside the repository in `shared/traces` or in the
//! folder that `QUIRE_TRACES` names. Without it, one is made up.

use std::fs::File;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use diamond_types::list::ListCRDT;
use flate2::read::GzDecoder;
use quire::crdt::{Blame, Meta, Segment};
use quire::text::Operation;
use quire::types::{Revision, Seq, SessionId, Timestamp};
use serde::Deserialize;

const TRACE: &str = "seq-automerge-paper.json.gz";

#[derive(Deserialize)]
struct Trace {
    txns: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    patches: Vec<(usize, usize, String)>,
}

/// Position, deleted characters, inserted text.
type Patch = (usize, usize, String);

fn patches() -> Vec<Patch> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/traces");
    let folder = std::env::var_os("QUIRE_TRACES").map_or_else(beside, PathBuf::from);
    let Ok(file) = File::open(folder.join(TRACE)) else {
        eprintln!("no {TRACE}: a made-up trace is measured");
        return made_up();
    };
    let trace: Trace = serde_json::from_reader(GzDecoder::new(file)).expect("a trace is JSON");
    trace.txns.into_iter().flat_map(|txn| txn.patches).collect()
}

/// Types words, erases every tenth character, and goes elsewhere after each sentence.
fn made_up() -> Vec<Patch> {
    let (mut at, mut chars) = (0, 0);
    let key = |n: usize| {
        if n.is_multiple_of(300) {
            at = n * 7_919 % (chars + 1);
        }
        if n % 10 == 9 && at > 0 {
            (at, chars) = (at - 1, chars - 1);
            return (at, 1, String::new());
        }
        (at, chars) = (at + 1, chars + 1);
        let text = char::from(b'a' + (n * n % 26) as u8);
        (at - 1, 0, text.to_string())
    };
    (0..200_000).map(key).collect()
}

fn operation((at, deleted, text): &Patch) -> Operation {
    let short = |chars: usize| u32::try_from(chars).expect("a trace is short");
    Operation::builder().retain(short(*at)).insert(text).delete(short(*deleted)).build()
}

/// One writer, five keystrokes a second on average, at uneven gaps: even ones, and the times of the
/// trace, which are all within a second, would be stored in next to nothing.
struct Writer {
    meta: Meta,
    noise: u64,
}

impl Writer {
    fn new() -> Self {
        let meta = Meta {
            author: "ada".parse().expect("a name"),
            session: SessionId([7; 16]),
            seq: Seq(0),
            base: Revision(0),
            at: Timestamp(1_700_000_000_000),
        };
        Self { meta, noise: 1 }
    }

    fn next(&mut self) -> &Meta {
        self.noise = self.noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let pause = u64::from(self.noise >> 60 == 0) << 10;
        self.meta.at.0 += self.noise >> 33 & 0xff | pause;
        self.meta.base = Revision(self.meta.seq.0);
        self.meta.seq = self.meta.seq.next();
        &self.meta
    }
}

fn bare(patches: &[Patch]) -> ListCRDT {
    let mut list = ListCRDT::new();
    let agent = list.get_or_create_agent_id("bare");
    for (at, deleted, text) in patches {
        if *deleted > 0 {
            list.delete_without_content(agent, *at..at + deleted);
        }
        if !text.is_empty() {
            list.insert(agent, *at, text);
        }
    }
    list
}

fn grown(ops: &[Operation]) -> Segment {
    let mut segment = Segment::new(Revision(0), "");
    let mut writer = Writer::new();
    for op in ops {
        segment.append(op, writer.next()).expect("a trace fits its text");
    }
    segment
}

/// Measures both in turn and prints the median of the ratios: on a machine that does other work,
/// two figures taken one after the other cannot be divided.
fn print_ratio(patches: &[Patch], ops: &[Operation]) {
    let pair = |_| {
        let start = Instant::now();
        let list = black_box(bare(patches));
        let alone = start.elapsed();
        drop(list);
        let start = Instant::now();
        let segment = black_box(grown(ops));
        let behind_the_wall = start.elapsed();
        drop(segment);
        behind_the_wall.as_secs_f64() / alone.as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..40).map(pair).collect();
    ratios.sort_by(f64::total_cmp);
    let [low, median, high] = [ratios[10], ratios[20], ratios[30]];
    eprintln!("a keystroke takes {median:.2} times bare diamond-types");
    eprintln!("(half of 40 pairs: {low:.2} to {high:.2})");
}

fn append(c: &mut Criterion) {
    let patches = patches();
    let ops: Vec<_> = patches.iter().map(operation).collect();
    print_ratio(&patches, &ops);
    let mut group = c.benchmark_group("append a keystroke");
    group.sample_size(10).throughput(Throughput::Elements(patches.len() as u64));
    group.bench_function("bare diamond-types", |b| {
        b.iter_batched(|| (), |()| bare(&patches), BatchSize::PerIteration);
    });
    group.bench_function("segment", |b| {
        b.iter_batched(|| (), |()| grown(&ops), BatchSize::PerIteration);
    });
    group.finish();
}

fn whole(c: &mut Criterion) {
    let ops: Vec<_> = patches().iter().map(operation).collect();
    let segment = grown(&ops);
    let encoded = segment.encode();
    eprintln!("{} revisions are stored in {} bytes", ops.len(), encoded.bytes.len());
    let head = segment.head();
    let middle = Revision(head.0 / 2);
    let mut group = c.benchmark_group("whole trace");
    group.sample_size(10);
    group.bench_function("encode", |b| b.iter(|| segment.encode()));
    group.bench_function("decode", |b| b.iter(|| Segment::decode(&encoded.bytes)));
    group.bench_function("text in the middle", |b| b.iter(|| segment.text_at(black_box(middle))));
    group.bench_function("operation in the middle", |b| {
        b.iter(|| segment.operation(black_box(middle)));
    });
    group.bench_function("meta in the middle", |b| b.iter(|| segment.meta(black_box(middle))));
    group.bench_function("history", |b| b.iter(|| segment.history(Revision(1)..=head)));
    group.bench_function("blame", |b| b.iter(|| segment.blame(&Blame::default(), head)));
    let fork = Operation::builder().insert(&"offline ".repeat(600)).build();
    let base = Revision(head.0 - head.0 / 5);
    group.bench_function("fork a fifth behind", |b| b.iter(|| segment.merge_fork(base, &fork)));
    group.finish();
}

criterion_group!(benches, append, whole);
criterion_main!(benches);
