//! Costs of a keystroke in `text`: rebasing it, joining it, running it, carrying a place over it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use quire::text::{Operation, Run, Side, Stick, apply, compose, diff, map_position, transform};
use quire::types::Revision;

fn key(at: u32, text: &str) -> Operation {
    Operation::builder().retain(at).insert(text).build()
}

fn rebase(c: &mut Criterion) {
    let mut group = c.benchmark_group("transform");
    let x = key(5_000, "x");
    for (name, y) in [
        ("keystroke over one before it", key(100, "y")),
        ("keystroke over one after it", key(9_000, "y")),
        ("keystroke over one at its place", key(5_000, "y")),
        ("keystroke over a backspace", Operation::builder().retain(99).delete(1).build()),
        ("keystroke over an emoji", key(100, "😀")),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| transform(black_box(&x), black_box(&y), Side::Right));
        });
    }
    let mut many = Operation::builder();
    for _ in 0..100 {
        many = many.retain(7).insert("word").retain(3).delete(2);
    }
    let many = many.build();
    group.bench_function("100 replacements over a keystroke", |b| {
        b.iter(|| transform(black_box(&many), black_box(&x), Side::Right));
    });
    group.finish();
    let run = Run::begin(&key(4_999, "w"), Revision(8));
    c.bench_function("stick and side", |b| {
        b.iter(|| Stick::of(black_box(&x), run.as_ref()).side_over(black_box(Revision(7))));
    });
    c.bench_function("map_position", |b| {
        b.iter(|| map_position(black_box(5_000), black_box(&x), Side::Left));
    });
}

fn join(c: &mut Criterion) {
    let mut group = c.benchmark_group("compose");
    for (name, typed) in [("a word and its next key", "word"), ("1 kB and its next key", "")] {
        let typed = if typed.is_empty() { "0123456789".repeat(100) } else { typed.to_owned() };
        let next = key(5_000 + u32::try_from(typed.len()).expect("small"), "s");
        let typed = key(5_000, &typed);
        group.bench_function(name, |b| {
            b.iter(|| compose(black_box(&typed), black_box(&next)));
        });
    }
    group.finish();
}

fn run(c: &mut Criterion) {
    let text = "The quick brown fox jumps over the lazy dog.\n".repeat(2_300);
    let op = key(50_000, "x");
    c.bench_function("apply a keystroke to 100 kB", |b| {
        b.iter(|| apply(black_box(&op), black_box(&text)));
    });
    let other = apply(&op, &text).expect("in bounds");
    c.bench_function("diff a keystroke in 100 kB", |b| {
        b.iter(|| diff(black_box(&text), black_box(&other)));
    });
}

criterion_group!(benches, rebase, join, run);
criterion_main!(benches);
