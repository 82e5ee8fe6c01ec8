//! The decoders of the client protocol on random bytes and on mutated frames.
//!
//! `QUIRE_FUZZ_RUNS` sets the number of frames, `QUIRE_FUZZ_SEED` where they begin; the seed of a
//! failing frame is printed.

use quire::wire::{Codec, Limits, decode_client, decode_server, encode_client, encode_server};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::mutation::{examples, mutate, variable};

const RUNS: u64 = 20_000;

const LIMITS: Limits = Limits { frame_bytes: 4096, op_components: 64, op_bytes: 1024 };

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
    let seeds = examples();
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
