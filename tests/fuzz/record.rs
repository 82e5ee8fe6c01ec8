//! Bytes of a log that anything may have damaged: they decode or are refused, never more.

use quire::log::Record;
use quire::testing::{every_kind, random_record};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub(crate) const RUNS: u64 = 5_000;

/// Decodes the bytes; what comes out is a record that survives the round trip.
fn check(bytes: &[u8], seed: u64) -> bool {
    let Ok(record) = Record::decode(bytes) else { return false };
    assert_eq!(Record::decode(&record.encode()), Ok(record), "seed {seed}");
    true
}

/// Gives the bytes the checksum that a decoder wants to see.
fn seal(bytes: &mut [u8]) {
    if let Some((checked, crc)) = bytes.split_last_chunk_mut::<4>() {
        *crc = crc32fast::hash(checked).to_le_bytes();
    }
}

pub(crate) fn mutate(bytes: &mut Vec<u8>, rng: &mut impl Rng) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.random()),
            2 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            3 if at < bytes.len() => bytes[at] = [0, 1, 127, 128, 255][rng.random_range(0..5)],
            _ => bytes.splice(at..at, bytes[..at].to_vec()).for_each(drop),
        }
    }
}

#[test]
fn damaged_records_are_refused_or_decode() {
    let (mut decoded, mut refused) = (0, 0);
    for seed in 0..runs() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = random_record(&mut rng).encode().to_vec();
        assert!(check(&bytes, seed));
        mutate(&mut bytes, &mut rng);
        check(&bytes, seed);
        seal(&mut bytes);
        if check(&bytes, seed) {
            decoded += 1;
        } else {
            refused += 1;
        }

        let mut noise = vec![0; rng.random_range(0..100)];
        rng.fill_bytes(&mut noise);
        check(&noise, seed);
        // The version and the kind are right, so the rest is looked at.
        if let [version, kind, ..] = noise.as_mut_slice() {
            (*version, *kind) = (1, *kind % 4);
        }
        seal(&mut noise);
        check(&noise, seed);
    }
    let enough = decoded > 0 && refused > 0;
    assert!(enough || runs() < RUNS, "the mutations are neither too weak nor too strong");
}

#[test]
fn every_single_byte_of_every_kind_may_change() {
    for (_, record) in every_kind() {
        let bytes = record.encode();
        for at in 0..bytes.len() {
            for value in [0, 1, 127, 128, 255] {
                let mut changed = bytes.to_vec();
                changed[at] = value;
                seal(&mut changed);
                check(&changed, 0);
            }
        }
    }
}

pub(crate) fn runs() -> u64 {
    std::env::var("QUIRE_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(RUNS)
}
