//! The decoders of the client protocol on random bytes and on mutated frames.
//!
//! `QUIRE_FUZZ_RUNS` sets the number of frames, `QUIRE_FUZZ_SEED` where they begin; the seed of a
//! failing frame is printed.

use std::env;

use quire::wire::{Codec, Limits, decode_client, decode_server, encode_client, encode_server};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

const RUNS: u64 = 20_000;

const LIMITS: Limits = Limits { frame_bytes: 4096, op_components: 64, op_bytes: 1024 };

#[derive(Deserialize)]
struct Example {
    json: String,
    hex: String,
}

/// Pieces that random bytes would seldom hit.
const WORDS: &[&str] = &[
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

fn variable(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().expect(name))
}

/// The golden frames of both encodings.
fn seeds() -> Vec<(Codec, Vec<u8>)> {
    const EXAMPLES: &str = include_str!("../fixtures/wire/v1.json");
    let examples: Vec<Example> = serde_json::from_str(EXAMPLES).expect("the examples are JSON");
    let byte = |pair: &[u8]| {
        let digits = str::from_utf8(pair).expect("the hex is ASCII");
        u8::from_str_radix(digits, 16).expect("the hex has hex digits")
    };
    let frames = examples.into_iter().flat_map(|Example { json, hex }| {
        let binary = hex.as_bytes().chunks(2).map(byte).collect();
        [(Codec::Json, json.into_bytes()), (Codec::Binary, binary)]
    });
    frames.collect()
}

fn mutate(frame: &mut Vec<u8>, other: &[u8], rng: &mut ChaCha8Rng) {
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

/// Decodes as both sides do; what is accepted must survive its own encoding. Returns how many of
/// the two accepted it.
fn decode(codec: Codec, frame: &[u8]) -> usize {
    let mut accepted = 0;
    match decode_client(codec, frame, &LIMITS) {
        Ok(message) => {
            accepted += 1;
            let again = encode_client(codec, &message);
            let limits = Limits { frame_bytes: usize::MAX, ..LIMITS };
            assert_eq!(decode_client(codec, &again, &limits), Ok(message));
        }
        Err(refusal) => assert!(refusal.message.len() < 250, "{refusal}"),
    }
    if let Ok(Some(message)) = decode_server(codec, frame) {
        accepted += 1;
        let again = decode_server(codec, &encode_server(codec, &message));
        assert_eq!(again, Ok(Some(message)));
    }
    accepted
}

#[test]
fn foreign_frames_are_decoded_or_refused() {
    let seeds = seeds();
    let first = variable("QUIRE_FUZZ_SEED", 1);
    let mut accepted = 0;
    for seed in first..first + variable("QUIRE_FUZZ_RUNS", RUNS) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (codec, mut frame) = seeds[rng.random_range(0..seeds.len())].clone();
        let other = &seeds[rng.random_range(0..seeds.len())].1;
        if seed % 8 == 0 {
            frame = vec![0; rng.random_range(0..64)];
            rng.fill_bytes(&mut frame);
        } else {
            (0..rng.random_range(1..5)).for_each(|_| mutate(&mut frame, other, &mut rng));
        }
        let outcome = std::panic::catch_unwind(|| decode(codec, &frame));
        accepted += outcome.unwrap_or_else(|_| panic!("seed {seed}: {codec:?} {frame:02x?}"));
    }
    assert!(accepted > 0, "no mutated frame is still a message");
}
