//! Sample records: one fixed of every kind, and random ones from a seed.

use rand::{Rng, RngExt};

use crate::access::{AccessChange, Right, Rights, Subject, Visibility};
use crate::log::{Claim, Entry, Event, EventKind, Frame, Record, Release};
use crate::text::Operation;
use crate::types::{Author, DocId, Epoch, NodeId, Revision, Seq, SessionId, Timestamp};

/// Returns a fixed record of every kind, with a name for each.
///
/// # Panics
/// Never: the names in it are valid.
pub fn every_kind() -> Vec<(&'static str, Record)> {
    let insert = Operation::builder().retain(1200).insert("a").build();
    let replace = Operation::builder().insert("é😀\r\n").delete(300).retain(1).delete(1).build();
    let keystroke = entry(7, 130, "ann", insert);
    let mixed = vec![keystroke.clone(), entry(8, 1, "", replace), entry(7, 131, "ann", nothing())];
    let event = |kind| event(None, kind);
    let asked = |kind| self::event(Some(subject("bob@example.org")), kind);
    let owner = |owner| EventKind::AccessChanged(AccessChange::Owner(owner));
    let visibility = |all| EventKind::AccessChanged(AccessChange::Visibility(all));
    let member =
        |rights| EventKind::AccessChanged(AccessChange::Member(subject("auth0|5f7c"), rights));
    let reason = "the hash of revision 12 differs".to_owned();
    let sessions = vec![SessionId([1; 16]), SessionId([2; 16])];
    let returned =
        EventKind::SessionReturned { session: SessionId([3; 16]), seq: Seq(9), rev: Revision(12) };
    let version = EventKind::VersionNamed { name: "first draft".to_owned(), rev: Revision(12) };
    vec![
        ("frame-keystroke", frame("paper", vec![keystroke])),
        ("frame-mixed", frame("A-z_0~9.md", mixed)),
        ("frame-empty", frame("d", vec![])),
        ("claim-first", Record::Claim(Claim { node: node("n1"), boot: u64::MAX, prev: None })),
        ("claim", Record::Claim(Claim { node: node("n2"), boot: 2, prev: Some(Epoch(300)) })),
        ("release", Record::Release(Release { epoch: Epoch(300), to: Some(node("n3")) })),
        ("release-to-any", Record::Release(Release { epoch: Epoch(0), to: None })),
        ("event-created", event(EventKind::Created)),
        ("event-deleted", event(EventKind::Deleted)),
        ("event-undeleted", event(EventKind::Undeleted)),
        ("event-quarantined", event(EventKind::Quarantined { reason })),
        ("event-sessions-expired", event(EventKind::SessionsExpired { sessions })),
        ("event-history-cut", event(EventKind::HistoryCut { before: Revision(1000) })),
        ("event-version-named", event(version)),
        ("event-session-returned", event(returned)),
        ("event-owned", asked(owner(Some(subject("bob@example.org"))))),
        ("event-disowned", event(owner(None))),
        ("event-public", asked(visibility(Visibility::Public))),
        ("event-private", asked(visibility(Visibility::Private))),
        ("event-member", asked(member(Right::Write.into()))),
        ("event-no-member", asked(member(Rights::NONE))),
        ("event-restored", asked(EventKind::Restored { rev: Revision(12) })),
        ("event-exported", asked(EventKind::Exported { rev: Revision(4711) })),
        ("event-cut-on-request", asked(EventKind::HistoryCut { before: Revision(1000) })),
    ]
}

/// Returns a record drawn from `rng`: every kind, numbers of every length, any text.
pub fn random_record(rng: &mut impl Rng) -> Record {
    let kinds = every_kind();
    let (_, mut record) = kinds[rng.random_range(0..kinds.len())].clone();
    match &mut record {
        Record::Frame(frame) => {
            frame.epoch = Epoch(number(rng));
            frame.base_rev = Revision(number(rng));
            frame.at = Timestamp(number(rng));
            let entries = rng.random_range(0..5);
            frame.entries = (0..entries).map(|_| random_entry(rng)).collect();
        }
        Record::Claim(claim) => {
            claim.boot = number(rng);
            claim.prev = claim.prev.map(|_| Epoch(number(rng)));
        }
        Record::Release(release) => release.epoch = Epoch(number(rng)),
        Record::Event(event) => {
            event.epoch = Epoch(number(rng));
            event.base_rev = Revision(number(rng));
            event.at = Timestamp(number(rng));
        }
    }
    record
}

/// Returns a random operation, from none to three components.
pub fn random_operation(rng: &mut impl Rng) -> Operation {
    let mut op = Operation::builder();
    for _ in 0..rng.random_range(0..4) {
        let chars = u32::try_from(number(rng) >> 36).unwrap_or(u32::MAX);
        op = match rng.random_range(0..3) {
            0 => op.retain(chars),
            1 => op.delete(chars),
            _ => {
                let chars = rng.random_range(0..40);
                op.insert(&(0..chars).map(|_| rng.random::<char>()).collect::<String>())
            }
        };
    }
    op.build()
}

fn random_entry(rng: &mut impl Rng) -> Entry {
    Entry {
        session: SessionId(rng.random()),
        seq: Seq(number(rng)),
        author: author(["", "ann", "Ünal 😀"][rng.random_range(0..3)]),
        base: Revision(number(rng)),
        op: random_operation(rng),
    }
}

/// Draws a number of any length in bits.
fn number(rng: &mut impl Rng) -> u64 {
    rng.random::<u64>() >> rng.random_range(0..64)
}

fn frame(name: &str, entries: Vec<Entry>) -> Record {
    Record::Frame(Frame {
        epoch: Epoch(300),
        doc: doc(name),
        base_rev: Revision(4711),
        at: Timestamp(1_790_000_000_000),
        entries,
    })
}

fn event(by: Option<Subject>, kind: EventKind) -> Record {
    Record::Event(Event {
        epoch: Epoch(300),
        doc: doc("notes"),
        base_rev: Revision(4711),
        at: Timestamp(1_790_000_000_000),
        author: author("bob"),
        by,
        kind,
    })
}

fn entry(session: u8, seq: u64, name: &str, op: Operation) -> Entry {
    Entry {
        session: SessionId([session; 16]),
        seq: Seq(seq),
        author: author(name),
        base: Revision(4710),
        op,
    }
}

fn nothing() -> Operation {
    Operation::identity()
}

fn doc(name: &str) -> DocId {
    name.parse().expect("a valid id")
}

fn subject(name: &str) -> Subject {
    name.parse().expect("a valid subject")
}

fn node(name: &str) -> NodeId {
    NodeId(doc(name))
}

fn author(name: &str) -> Author {
    name.parse().expect("a valid name")
}
