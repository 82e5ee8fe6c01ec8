//! What an audit costs a record: of logs of several lengths, whose clients wrote into one history,
//! or each into its own.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use quire::audit::{Audit, Event, Line, Opening, Range};
use quire::log::{Entry, Frame, Judged, Record, Stored};
use quire::text::Operation;
use quire::types::{
    Author, DocId, Epoch, NodeId, Offset, Revision, Seq, SessionId, ShardId, Timestamp,
};

/// Who writes, in turn, one batch a record.
const CLIENTS: u64 = 4;

struct Told {
    records: Vec<Judged>,
    /// The events, each client's in its order.
    histories: Vec<Vec<Line>>,
}

fn session(client: u64) -> SessionId {
    SessionId([client as u8; 16])
}

fn judged(offset: u64, record: Record) -> Judged {
    let bytes = record.encode();
    Judged { stored: Stored { offset: Offset(offset), bytes }, record: Ok(record), verdict: Ok(()) }
}

/// Returns a log of one document, and what each of its clients saw.
fn told(records: u64) -> Told {
    let doc: DocId = "d".parse().expect("it is a name");
    let node = NodeId("n".parse().expect("it is a name"));
    let claim = quire::log::Claim { node, boot: 1, prev: None };
    let mut all = vec![judged(0, Record::Claim(claim))];
    let mut histories: Vec<Vec<Line>> = (0..CLIENTS).map(|_| Vec::new()).collect();
    let line = |client: u64, event| Line {
        client: format!("c{client}"),
        doc: doc.clone(),
        session: session(client).participant(),
        at: Timestamp(1),
        event,
    };
    let joined = Event::Welcome { rev: Revision(0), head: Revision(0), seq: Seq(0) };
    for (client, history) in (0..).zip(&mut histories) {
        history.push(line(client, joined));
    }
    for base in 0..records {
        let (by, seq, base_rev, rev) =
            (base % CLIENTS, Seq(base / CLIENTS + 1), Revision(base), Revision(base + 1));
        let op = Operation::builder().insert("x").build();
        let (epoch, author, at) = (Epoch(0), Author::anonymous(), Timestamp(1));
        let entry = Entry { session: session(by), seq, author, base: base_rev, op };
        let frame = Frame { epoch, doc: doc.clone(), base_rev, at, entries: vec![entry] };
        all.push(judged(base + 1, Record::Frame(frame)));
        for (client, history) in (0..).zip(&mut histories) {
            if client == by {
                history.push(line(client, Event::Sent { seq, base: base_rev }));
                history.push(line(client, Event::Ack { seq, rev }));
            } else {
                history.push(line(client, Event::Op { rev, first: rev }));
            }
        }
    }
    Told { records: all, histories }
}

/// Puts the histories into one, as clients that run side by side write it.
fn together(histories: &[Vec<Line>]) -> Vec<Line> {
    let longest = histories.iter().map(Vec::len).max().unwrap_or_default();
    let at = |n: usize| histories.iter().filter_map(move |history| history.get(n).cloned());
    (0..longest).flat_map(at).collect()
}

fn audit(records: &[Judged], histories: &[Vec<Line>]) {
    let mut audit = Audit::new(1, Range::default());
    for history in histories {
        let file = audit.file("history");
        for (number, line) in (2..).zip(history) {
            audit.event(file, number, line);
        }
    }
    audit.begin(Opening { shard: ShardId(0), low: Offset(0), covered: None });
    records.iter().for_each(|record| audit.record(record));
    let report = audit.finish();
    assert!(report.clean, "{report}");
}

fn cost(c: &mut Criterion) {
    let mut group = c.benchmark_group("audit of 4 clients");
    group.sample_size(10).warm_up_time(Duration::from_millis(500));
    for records in [10_000, 40_000, 160_000] {
        let Told { records: log, histories } = told(records);
        group.throughput(Throughput::Elements(records));
        let one = vec![together(&histories)];
        group.bench_function(BenchmarkId::new("in one history", records), |b| {
            b.iter(|| audit(&log, &one));
        });
        group.bench_function(BenchmarkId::new("each in its own", records), |b| {
            b.iter(|| audit(&log, &histories));
        });
    }
    group.finish();
}

criterion_group!(benches, cost);
criterion_main!(benches);
