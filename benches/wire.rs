//! What one keystroke costs at the edge: decoded from its writer, encoded once for the others.
//!
//! Expected: two passes over some 50 bytes of JSON and one allocation a frame, so 100 to 300 ns
//! each way; a fifth of that in binary.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use quire::text::{Component, Operation};
use quire::types::{ParticipantId, Revision, Seq};
use quire::wire::{
    ClientMessage, Codec, Limits, decode_client, decode_server, encode_client, encode_op,
};

fn keystroke(c: &mut Criterion) {
    let parts = [Component::Retain(51_234), Component::Insert("e".into())];
    let op = Operation::from_components(parts).expect("it is valid");
    let (seq, base) = (Seq(12_345), Revision(98_765));
    let (rev, author) = (Revision(98_766), ParticipantId(0x89ab_cdef));
    let limits = Limits::default();
    let message = ClientMessage::Op { seq, base, op: op.clone() };
    for (codec, name) in [(Codec::Json, "json"), (Codec::Binary, "binary")] {
        let sent = encode_client(codec, &message);
        let told = encode_op(codec, rev, author, base, &op);
        let mut group = c.benchmark_group(format!("keystroke/{name}"));
        group.bench_function("decode-client", |b| {
            b.iter(|| decode_client(codec, black_box(&sent), &limits));
        });
        group.bench_function("encode-server", |b| {
            b.iter(|| encode_op(codec, rev, author, base, black_box(&op)));
        });
        group.bench_function("encode-client", |b| {
            b.iter(|| encode_client(codec, black_box(&message)));
        });
        group.bench_function("decode-server", |b| {
            b.iter(|| decode_server(codec, black_box(&told)));
        });
        group.finish();
    }
}

criterion_group!(benches, keystroke);
criterion_main!(benches);
