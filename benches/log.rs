//! Costs of the log: a keystroke's frame as bytes and back, and durable appends against their
//! floor, a file that is appended to and synced on the same disk.

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::future::join_all;
use prometheus::Registry;
use quire::log::{Embedded, Entry, Frame, Log, Metrics, Options, Position, Record, check_frame};
use quire::text::Operation;
use quire::types::{Epoch, Revision, Seq, SessionId, ShardId, Timestamp};

fn keystroke() -> Frame {
    let entry = Entry {
        session: SessionId([7; 16]),
        seq: Seq(130),
        author: "ann".parse().expect("a valid name"),
        base: Revision(4710),
        op: Operation::builder().retain(1200).insert("a").build(),
    };
    Frame {
        epoch: Epoch(300),
        doc: "paper".parse().expect("a valid id"),
        base_rev: Revision(4711),
        at: Timestamp(1_790_000_000_000),
        entries: vec![entry],
    }
}

struct At;

impl Position for At {
    fn revision(&self) -> Revision {
        Revision(4711)
    }

    fn last_seq(&self, _: &SessionId) -> Seq {
        Seq(129)
    }
}

fn record(c: &mut Criterion) {
    let frame = keystroke();
    c.bench_function("accept a keystroke", |b| b.iter(|| check_frame(&At, black_box(&frame))));
    let record = Record::Frame(frame);
    let bytes = record.encode();
    c.bench_function("encode a keystroke", |b| b.iter(|| black_box(&record).encode()));
    c.bench_function("decode a keystroke", |b| b.iter(|| Record::decode(black_box(&bytes))));
}

fn append(c: &mut Criterion) {
    // On the disk of the build: the system's folder may be in memory.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let mut group = c.benchmark_group("append");
    group.sample_size(20).measurement_time(Duration::from_secs(3));
    let bytes = Record::Frame(keystroke()).encode();

    let floor = folder.path().join("floor");
    let mut floor = OpenOptions::new().create(true).append(true).open(floor).expect("a file");
    group.bench_function("floor: one to a plain file", |b| {
        b.iter(|| {
            floor.write_all(&bytes).expect("written");
            floor.sync_data().expect("synced");
        });
    });

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let metrics = Metrics::register(&Registry::new()).expect("metrics");
    let options = Options::default();
    let log = Embedded::open(folder.path(), options, metrics).expect("a log");
    for count in [1, 100, 5_000] {
        group.bench_function(format!("embedded: {count} at once"), |b| {
            b.iter(|| {
                let shard = |n| ShardId(n % options.shards);
                let waiting = (0..count).map(|n| log.append(shard(n), bytes.clone()));
                let done = runtime.block_on(join_all(waiting));
                assert!(done.iter().all(Result::is_ok));
            });
        });
    }
    group.finish();
}

criterion_group!(benches, record, append);
criterion_main!(benches);
