//! What a turn costs: where it is free, and where many wait for theirs.

use criterion::{Criterion, criterion_group, criterion_main};
use quire::shares::Shares;

fn turns(c: &mut Criterion) {
    let mut group = c.benchmark_group("turn");
    let shares = Shares::new(2, 1 << 20);
    let mut tenant = 0;
    let mut next = || {
        tenant += 1;
        tenant % 1_000
    };
    group.bench_function("nobody waits", |b| {
        b.iter(|| {
            shares.pass();
            drop(shares.ask(next(), 60).expect("it is free"));
        });
    });
    let held = shares.ask(0, 1 << 20).expect("it is free");
    let mut waiting: Vec<_> =
        (0..1_000).filter_map(|_| shares.ask(next(), 1 << 20).err()).collect();
    group.bench_function("a thousand large ones wait", |b| {
        b.iter(|| drop(shares.ask(next(), 60)));
    });
    drop(held);
    waiting.clear();
}

criterion_group!(benches, turns);
criterion_main!(benches);
