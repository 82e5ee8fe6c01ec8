//! Writes the vectors that the browser's core is held to, and checks that they still are what this
//! module computes. `QUIRE_BLESS=1` rewrites `tests/fixtures/text-vectors.json`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::text::{
    Component, Operation, Run, Side, Stick, apply, compose, map_position, transform,
};
use crate::types::Revision;

const FILE: &str = "tests/fixtures/text-vectors.json";
const ALPHABET: [&str; 12] =
    ["a", "b", "c", " ", "x", "\n", "\r\n", "é", "e\u{301}", "漢", "😀", "👩\u{200d}💻"];

/// Draws numbers (splitmix64): the same ones for ever, whatever the crates do.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    fn text(&mut self, parts_max: u64) -> String {
        let parts = self.below(parts_max + 1);
        (0..parts).map(|_| ALPHABET[self.below(12) as usize]).collect()
    }

    fn side(&mut self) -> Side {
        if self.below(2) == 0 { Side::Left } else { Side::Right }
    }

    /// An operation on a text of so many characters.
    fn op(&mut self, chars: u64) -> Operation {
        let mut left = chars;
        let mut op = Operation::builder();
        for _ in 0..2 + self.below(5) {
            let part = (1 + self.below(4)).min(left);
            let count = u32::try_from(part).unwrap();
            match self.below(3) {
                0 => op = op.insert(&self.text(2)),
                1 => (op, left) = (op.retain(count), left - part),
                _ => (op, left) = (op.delete(count), left - part),
            }
        }
        op.build()
    }
}

fn op_json(op: &Operation) -> Value {
    let component = |component: &Component| match component {
        Component::Retain(chars) => json!(chars),
        Component::Insert(text) => json!(text.as_str()),
        Component::Delete(chars) => json!({ "d": chars }),
    };
    op.components().iter().map(component).collect()
}

fn side_json(side: Side) -> Value {
    match side {
        Side::Left => json!("left"),
        Side::Right => json!("right"),
    }
}

fn transform_vector(draw: &mut Draw) -> Value {
    let chars = 3 + draw.below(10);
    let (x, y, side) = (draw.op(chars), draw.op(chars), draw.side());
    let out = op_json(&transform(&x, &y, side));
    json!({ "x": op_json(&x), "y": op_json(&y), "side": side_json(side), "out": out })
}

fn compose_vector(draw: &mut Draw) -> Value {
    let chars = 3 + draw.below(10);
    let a = draw.op(chars);
    let b = draw.op(a.chars_after(chars).unwrap());
    json!({ "a": op_json(&a), "b": op_json(&b), "out": op_json(&compose(&a, &b)) })
}

fn apply_vector(draw: &mut Draw) -> Value {
    let text = draw.text(10);
    let op = draw.op(text.chars().count() as u64);
    json!({ "op": op_json(&op), "text": text, "out": apply(&op, &text).unwrap() })
}

fn position_vector(draw: &mut Draw) -> Value {
    let chars = 3 + draw.below(10);
    let (at, op, side) = (draw.below(chars + 1), draw.op(chars), draw.side());
    let out = map_position(at, &op, side);
    json!({ "at": at, "op": op_json(&op), "side": side_json(side), "out": out })
}

/// The run is drawn as the session's own revision and carried through another one.
fn run_vector(draw: &mut Draw) -> Value {
    let chars = 3 + draw.below(10);
    let (own, made) = (draw.op(chars), Revision(1 + draw.below(9)));
    let after_own = own.chars_after(chars).unwrap();
    let over = draw.op(after_own);
    let run = Run::begin(&own, made).map(|mut run| {
        run.map(&over);
        run
    });
    let chars = over.chars_after(after_own).unwrap();
    let op = match run {
        Some(run) if draw.below(2) == 0 => {
            let start = Operation::builder().retain(u32::try_from(run.at()).unwrap());
            start.insert(ALPHABET[draw.below(12) as usize]).build()
        }
        Some(_) | None => draw.op(chars),
    };
    let stick = Stick::of(&op, run.as_ref()).revision().unwrap_or_default();
    let run = run.map(|run| json!({ "made": run.made(), "at": run.at() }));
    json!({ "op": op_json(&op), "run": run, "stick": stick })
}

fn file() -> String {
    let mut draw = Draw(20_261_121);
    let mut section = |name: &str, count: usize, vector: fn(&mut Draw) -> Value| {
        let lines: Vec<_> = (0..count).map(|_| format!("    {}", vector(&mut draw))).collect();
        format!("  \"{name}\": [\n{}\n  ]", lines.join(",\n"))
    };
    let sections = [
        section("transform", 80, transform_vector),
        section("compose", 50, compose_vector),
        section("apply", 30, apply_vector),
        section("position", 40, position_vector),
        section("run", 30, run_vector),
    ];
    format!("{{\n{}\n}}\n", sections.join(",\n"))
}

#[test]
fn the_committed_vectors_are_what_this_module_computes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let computed = file();
    if std::env::var_os("QUIRE_BLESS").is_some() {
        fs::write(&path, &computed).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), computed, "QUIRE_BLESS=1 rewrites {FILE}");
}
