//! Frames of the client protocol that are nearly right: the golden ones, changed here and there.

use std::env;

use quire::wire::Codec;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Example {
    json: String,
    hex: String,
}

/// Pieces that random bytes would seldom hit.
pub(crate) const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\ud800",
    "\\u0000",
    "null",
    "-1",
    "0",
    "1e999",
    "1.5",
    "18446744073709551616",
    "9007199254740992",
    "\"t\":\"op\",",
    "\"op\":",
    "{\"d\":",
    "\"user\":{",
    "[[[[[[[[[[[[[[[[",
    "\u{1f600}",
];

/// Returns a number of the environment.
pub(crate) fn variable(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// The golden frames of both encodings.
pub(crate) fn examples() -> Vec<(Codec, Vec<u8>)> {
    const EXAMPLES: &str = include_str!("../fixtures/wire/v1.json");
    let all: Vec<Example> = serde_json::from_str(EXAMPLES).expect("the examples are JSON");
    let byte = |pair: &[u8]| {
        let digits = str::from_utf8(pair).expect("the hex is ASCII");
        u8::from_str_radix(digits, 16).expect("the hex has hex digits")
    };
    let frames = all.into_iter().flat_map(|Example { json, hex }| {
        let binary = hex.as_bytes().chunks(2).map(byte).collect();
        [(Codec::Json, json.into_bytes()), (Codec::Binary, binary)]
    });
    frames.collect()
}

/// Changes a frame at one place; another one gives what is put in.
pub(crate) fn mutate(frame: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
    let at = rng.random_range(0..=frame.len());
    match rng.random_range(0..7) {
        0 => frame.truncate(at),
        1 => frame.insert(at, rng.random()),
        2 => drop(frame.splice(at..at, WORDS[rng.random_range(0..WORDS.len())].bytes())),
        3 => drop(frame.splice(at.., other[rng.random_range(0..other.len())..].iter().copied())),
        4 => {
            let from = rng.random_range(0..=at);
            let copy = frame[from..at].to_vec();
            drop(frame.splice(at..at, copy));
        }
        5 => {
            let from = rng.random_range(0..=at);
            drop(frame.drain(from..at));
        }
        _ => {
            if let Some(byte) = frame.get_mut(at) {
                *byte ^= 1 << rng.random_range(0..8);
            }
        }
    }
}
