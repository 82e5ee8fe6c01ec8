//! The decoder of segments: bytes that are no segment are refused, whatever they are.
//!
//! Bytes with a right checksum are never made up here: diamond-types behind the checksum may crash
//! the process on foreign bytes, which is why the checksum is in front of it.

use quire::crdt::{Meta, Segment};
use quire::text::{Component, Operation};
use quire::types::{Author, Revision, Seq, SessionId, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Decodes any bytes; what is read must be a whole segment.
pub(crate) fn decode(bytes: &[u8]) {
    let Ok(segment) = Segment::decode(bytes) else { return };
    assert_eq!(segment.text_at(segment.head()), Some(segment.text()));
    let held = segment.base().next()..=segment.head();
    assert_eq!(segment.history(held).len() as u64, segment.head().0 - segment.base().0);
    let again = Segment::decode(&segment.encode().bytes).expect("what is encoded is decoded");
    assert_eq!(again.text_hash(), segment.text_hash());
}

/// Grows a segment from a seed.
fn grown(rng: &mut ChaCha8Rng) -> Segment {
    let mut segment = Segment::new(Revision(rng.random_range(0..100)), "a base text, é and 🙂");
    for seq in 1..=rng.random_range(1..60) {
        let chars = segment.chars() as u32;
        let at = rng.random_range(0..=chars);
        let erased = rng.random_range(0..=(chars - at).min(3));
        let list = [
            (at > 0).then_some(Component::Retain(at)),
            rng.random_bool(0.7).then(|| Component::Insert("typed".into())),
            (erased > 0).then_some(Component::Delete(erased)),
        ];
        let op = Operation::from_components(list.into_iter().flatten()).expect("a valid form");
        let meta = Meta {
            author: Author::anonymous(),
            session: SessionId([rng.random_range(0..3); 16]),
            seq: Seq(seq),
            base: segment.head(),
            at: Timestamp(rng.random_range(0..1 << 40)),
        };
        segment.append(&op, &meta).expect("the operation fits");
    }
    segment
}

/// Damages bytes: bits, bytes, ends, pieces moved.
fn mutate(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len().max(1));
        match rng.random_range(0..5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << rng.random_range(0..8),
            1 if !bytes.is_empty() => bytes[at] = rng.random(),
            2 => bytes.truncate(at),
            3 => bytes.insert(at, rng.random()),
            _ => bytes.rotate_left(at),
        }
    }
}

#[test]
fn bytes_that_are_no_segment_are_refused() {
    let runs = std::env::var("QUIRE_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok());
    for seed in 0..runs.unwrap_or(2_000) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes: Vec<u8> = if rng.random_bool(0.2) {
            (0..rng.random_range(0..200)).map(|_| rng.random()).collect()
        } else {
            grown(&mut rng).encode().bytes.to_vec()
        };
        let valid = bytes.clone();
        decode(&bytes);
        mutate(&mut rng, &mut bytes);
        if bytes != valid {
            assert!(Segment::decode(&bytes).is_err(), "seed {seed}");
        }
    }
}
