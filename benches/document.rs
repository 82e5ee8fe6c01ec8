//! A document's whole step for one keystroke, without sockets, actors and disks: decode, check,
//! rebase, sequence, encode the record, apply, encode the broadcast and the acknowledgement.
//!
//! Expected: decoding 150-300 ns, the record 100 ns, text and history 110 ns, two encodings of
//! 90 ns and some allocations: about 800 ns at 0 behind; each revision behind adds one transform,
//! 50 ns.

use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use quire::doc::{Batch, Config, ConnId, Effect, Event, Join, Outbox, State};
use quire::text::Operation;
use quire::types::{Author, Epoch, Offset, Revision, Seq, SessionId, Timestamp};
use quire::wire::{
    ClientMessage, Codec, Limits, decode_client, encode_ack, encode_client, encode_op,
};
use tokio::time::Instant;

const KEYS: u64 = 1_000;

struct Deaf;

impl Outbox for Deaf {
    fn push(&self, _: Event) {}
}

/// A document with a writer that always has the newest revision and one that lags behind it.
struct Bench {
    state: State,
    author: Author,
    offset: Offset,
    effects: Vec<Effect>,
}

fn join(session: u8) -> Join {
    Join::new(SessionId([session; 16]), Arc::new(Deaf))
}

fn key(at: u32) -> Operation {
    Operation::builder().retain(at).insert("x").build()
}

impl Bench {
    fn new() -> Self {
        let doc = "bench".parse().expect("a valid id");
        let mut state = State::new(doc, Arc::new(Config::default()));
        let mut effects = Vec::new();
        for conn in [1, 2] {
            let welcome = state.join(ConnId(u64::from(conn)), &join(conn), &mut effects);
            welcome.expect("the document takes everyone");
        }
        state.reclaimed(Epoch(1), Timestamp(0), &mut effects);
        Self { state, author: Author::anonymous(), offset: Offset(2), effects }
    }

    fn step(&mut self, conn: u64, codec: Codec, frame: &[u8]) {
        let message = decode_client(codec, frame, &Limits::default());
        let Ok(ClientMessage::Op { seq, base, op }) = message else {
            panic!("the frame is an op");
        };
        let batch = Batch { seq, base, op, received: Instant::now(), permit: None };
        self.state.submit(ConnId(conn), &self.author, batch, &mut self.effects);
        self.state.flush(Timestamp(0), &mut self.effects);
        self.state.accepted(self.offset, Timestamp(0), &mut self.effects);
        self.offset = self.offset.next();
        for effect in self.effects.drain(..) {
            if let Effect::Broadcast(update) = effect {
                for change in &update.changes {
                    let id = change.participant();
                    black_box(encode_op(codec, change.rev, id, change.base, &change.op));
                    black_box(encode_ack(codec, change.seq, change.rev, None));
                }
            }
        }
    }

    /// Encodes the keystrokes of one writer, `behind` revisions old.
    fn frames(codec: Codec, behind: u64, first: u64) -> Vec<Bytes> {
        let frame = |n: u64| {
            let base = Revision((first + n).saturating_sub(behind));
            let at = u32::try_from(base.0).expect("small");
            encode_client(codec, &ClientMessage::Op { seq: Seq(n + 1), base, op: key(at) })
        };
        (0..KEYS).map(frame).collect()
    }
}

fn keystroke(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("document/keystroke");
    group.throughput(criterion::Throughput::Elements(KEYS));
    for (name, codec) in [("json", Codec::Json), ("binary", Codec::Binary)] {
        for behind in [0, 10] {
            let frames = Bench::frames(codec, behind, 100);
            let prepare = || {
                let mut bench = Bench::new();
                for frame in &Bench::frames(codec, 0, 0)[..100] {
                    bench.step(1, codec, frame);
                }
                bench
            };
            let run = |mut bench: Bench| {
                for frame in &frames {
                    bench.step(2, codec, frame);
                }
                bench
            };
            let id = BenchmarkId::new(name, format!("{behind} behind"));
            group.bench_function(id, |bencher| {
                bencher.iter_batched(prepare, run, BatchSize::LargeInput);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, keystroke);
criterion_main!(benches);
