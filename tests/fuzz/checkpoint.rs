//! Manifests and bodies that nobody wrote: random bytes, and written ones with changes, under
//! checksums that hold.

use bytes::Bytes;
use quire::access::{Access, Rights, Visibility};
use quire::checkpoint::{
    Life, Manifest, NamedVersion, SealedSegment, SessionRow, Snapshot, WindowRow,
};
use quire::text::Operation;
use quire::types::{Author, Epoch, LogId, Offset, Revision, Seq, SessionId, Timestamp};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use xxhash_rust::xxh3::xxh3_64;

#[test]
fn decoders_survive_any_bytes() {
    for seed in 0..runs() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (manifest, body) = sample(&mut rng).encode();
        check_manifest(&random(&mut rng));
        check_manifest(&mutated(&mut rng, &manifest.encode()));
        check_body(&manifest, random(&mut rng));
        check_body(&manifest, mutated(&mut rng, &body));
        let mut versioned = random(&mut rng);
        versioned.insert(0, rng.random_range(1..=2));
        check_manifest(&versioned);
        check_body(&manifest, versioned);
    }
}

/// What is decoded can be encoded again, and then is the same.
fn check_manifest(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let content = bytes.len().saturating_sub(4);
    let checksum = crc32fast::hash(&bytes[..content]).to_le_bytes();
    bytes.truncate(content);
    bytes.extend(checksum);
    if let Ok(manifest) = Manifest::decode(&bytes) {
        assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest));
    }
}

fn check_body(manifest: &Manifest, bytes: Vec<u8>) {
    let manifest = Manifest { body_hash: xxh3_64(&bytes), ..manifest.clone() };
    let Ok(mut snapshot) = Snapshot::decode(manifest, &Bytes::from(bytes)) else { return };
    let (manifest, body) = snapshot.encode();
    snapshot.sessions.sort_by_key(|row| (row.rev, row.session));
    let mut again = Snapshot::decode(manifest, &body).expect("what was encoded is decoded");
    again.sessions.sort_by_key(|row| (row.rev, row.session));
    assert_eq!(again, snapshot);
}

fn runs() -> u64 {
    std::env::var("QUIRE_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(2_000)
}

fn random(rng: &mut ChaCha8Rng) -> Vec<u8> {
    let length = rng.random_range(0..200);
    // Small numbers make it further than any bytes would.
    let max = if rng.random_bool(0.5) { 4 } else { 255 };
    (0..length).map(|_| rng.random_range(0..=max)).collect()
}

fn mutated(rng: &mut ChaCha8Rng, valid: &[u8]) -> Vec<u8> {
    let mut bytes = valid.to_vec();
    for _ in 0..rng.random_range(1..4) {
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..5) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes.truncate(at + 1),
            3 => bytes.insert(at, rng.random()),
            _ => {
                let end = rng.random_range(at..bytes.len()) + 1;
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
        }
    }
    bytes
}

fn sample(rng: &mut ChaCha8Rng) -> Snapshot {
    let revision = rng.random_range(100..1_000_000);
    let session = |rng: &mut ChaCha8Rng| SessionId([rng.random_range(0..4); 16]);
    let author = |rng: &mut ChaCha8Rng| -> Author {
        ["", "ada", "bob"][rng.random_range(0..3)].parse().expect("an author")
    };
    let mut number = revision;
    let mut next = |rng: &mut ChaCha8Rng| {
        number += rng.random_range(0..100);
        number
    };
    let sessions = (0..rng.random_range(0..20)).map(|_| SessionRow {
        session: session(rng),
        seq: Seq(next(rng)),
        rev: Revision(next(rng)),
        at: Timestamp(next(rng)),
    });
    let sessions = sessions.collect();
    let window = (0..rng.random_range(0..60)).map(|_| WindowRow {
        session: session(rng),
        seq: Seq(next(rng)),
        author: author(rng),
        base: Revision(next(rng)),
        op: Operation::builder().retain(rng.random_range(0..99)).insert("aé").delete(2).build(),
    });
    let window = window.collect();
    let sealed = (0..rng.random_range(0..9)).map(|_| SealedSegment {
        base: Revision(next(rng)),
        head: Revision(next(rng)),
        bytes: next(rng),
        hash: rng.random(),
    });
    let sealed = sealed.collect();
    let versions = (0..rng.random_range(0..9)).map(|n| NamedVersion {
        name: format!("version {n}"),
        rev: Revision(next(rng)),
        author: author(rng),
        at: Timestamp(next(rng)),
    });
    let versions = versions.collect();
    Snapshot {
        doc: "fuzzed".parse().expect("a document id"),
        revision: Revision(revision),
        log: LogId(rng.random()),
        offset: Offset(next(rng)),
        epoch: Epoch(next(rng)),
        text_hash: rng.random(),
        life: Life::Quarantined { reason: "a reason".into() },
        created: Timestamp(next(rng)),
        live: random(rng).into(),
        sessions,
        window,
        sealed,
        versions,
        cut: Revision(next(rng)),
        access: access(rng),
    }
}

fn access(rng: &mut ChaCha8Rng) -> Access {
    let subject = |n: u32| format!("member-{n}").parse().expect("a subject");
    let mut access = Access::default();
    access.owner = rng.random::<bool>().then(|| subject(0));
    access.visibility = Visibility::Public;
    for _ in 0..rng.random_range(0..9) {
        let rights = Rights::from_bits(rng.random_range(0..16)).expect("four rights");
        access.admit(subject(rng.random_range(0..99)), rights).expect("there is room");
    }
    access
}
