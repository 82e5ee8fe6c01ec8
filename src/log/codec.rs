//! The bytes of a record: one byte format version, a postcard body, a CRC-32 of both.
//!
//! The body has types of its own that borrow what they can. The order of their variants and fields
//! is the format: a change is a new version, and the old one stays readable. Version 1, with
//! varints for all numbers but the session's 16 bytes, and a length before each list and string:
//!
//! ```text
//! record  = 1 body crc32-le
//! body    = 0 epoch doc base_rev at entries            frame
//!         | 1 node boot prev?                          claim
//!         | 2 epoch to?                                release
//!         | 3 epoch doc base_rev at author kind        event
//!         | 4 by (as 3)                                event that somebody known has asked for
//! entry   = session seq author base components
//! component = 0 chars | 1 text | 2 chars               retain, insert, delete
//! ```

use std::borrow::Cow;

use bytes::Bytes;
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::access::{AccessChange, BadBits, BadSubject, Rights, Subject, Visibility};
use crate::log::record::{Claim, Entry, Event, EventKind, Frame, Record, Release};
use crate::text;
use crate::types::{
    Author, BadAuthor, BadDocId, DocId, Epoch, NodeId, Revision, Seq, SessionId, Timestamp,
};

/// The longest entry that fits a record whatever its document is called, in bytes.
pub const ENTRY_BYTES_MAX: usize = RECORD_BYTES_MAX - 512;

/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The most entries of a frame, and the most sessions of an event.
pub const ENTRIES_MAX: usize = 4096;

const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;

/// Tells why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is shorter than any record or longer than the longest.
    #[error("a record has 6 to {RECORD_BYTES_MAX} bytes, this one has {bytes}")]
    Length {
        /// The length.
        bytes: usize,
    },
    /// The checksum does not hold: it was damaged, or is something else.
    #[error("the checksum of the record does not hold")]
    Checksum,
    /// A version of the format that is not known here.
    #[error("the record has format {found}, this version knows {VERSION}")]
    Version {
        /// The format.
        found: u8,
    },
    /// The body is not of this format.
    #[error("the body of the record is malformed")]
    Body(#[from] postcard::Error),
    /// Bytes are left after the body.
    #[error("{bytes} bytes follow the body of the record")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A list is longer than allowed.
    #[error("the record lists {count} things, {ENTRIES_MAX} are allowed")]
    TooMany {
        /// Its length.
        count: usize,
    },
    /// An operation is none.
    #[error("the record holds an invalid operation")]
    Operation(#[from] text::Invalid),
    /// A document or node id is none.
    #[error("the record holds an invalid id")]
    Id(#[from] BadDocId),
    /// An author name is none.
    #[error("the record holds an invalid author")]
    Author(#[from] BadAuthor),
    /// A subject is none.
    #[error("the record holds an invalid subject")]
    Subject(#[from] BadSubject),
    /// A set of rights is none.
    #[error("the record holds invalid rights")]
    Rights(#[from] BadBits),
}

/// The body of a record; written with [`Entries`] for `L`, read with a list.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a, L: Deserialize<'de>"))]
enum Body<'a, L> {
    Frame { epoch: Epoch, doc: &'a str, base_rev: Revision, at: Timestamp, entries: L },
    Claim { node: &'a str, boot: u64, prev: Option<Epoch> },
    Release { epoch: Epoch, to: Option<&'a str> },
    Event(EventBody<'a>),
    EventBy { by: &'a str, event: EventBody<'a> },
}

/// An entry; written with [`Components`] for `L`, read with a list.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "'de: 'a, L: Deserialize<'de>"))]
struct EntryBody<'a, L> {
    session: SessionId,
    seq: Seq,
    author: &'a str,
    base: Revision,
    components: L,
}

#[derive(Serialize, Deserialize)]
enum Component<'a> {
    Retain(u32),
    Insert(&'a str),
    Delete(u32),
}

#[derive(Serialize, Deserialize)]
struct EventBody<'a> {
    epoch: Epoch,
    #[serde(borrow)]
    doc: &'a str,
    base_rev: Revision,
    at: Timestamp,
    author: &'a str,
    kind: KindBody<'a>,
}

#[derive(Serialize, Deserialize)]
enum KindBody<'a> {
    Created,
    Deleted,
    Undeleted,
    Quarantined { reason: &'a str },
    SessionsExpired { sessions: Cow<'a, [SessionId]> },
    HistoryCut { before: Revision },
    VersionNamed { name: &'a str, rev: Revision },
    SessionReturned { session: SessionId, seq: Seq, rev: Revision },
    AccessChanged(ChangeBody<'a>),
    Restored { rev: Revision },
    Exported { rev: Revision },
}

#[derive(Serialize, Deserialize)]
enum ChangeBody<'a> {
    Owner(Option<&'a str>),
    Public(bool),
    Member(&'a str, u8),
}

/// Writes entries without building a list of them.
struct Entries<'a>(&'a [Entry]);

/// Writes components without building a list of them.
struct Components<'a>(&'a [text::Component]);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|entry| EntryBody {
            session: entry.session,
            seq: entry.seq,
            author: entry.author.as_str(),
            base: entry.base,
            components: Components(entry.op.components()),
        }))
    }
}

impl Serialize for Components<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|component| match component {
            text::Component::Retain(chars) => Component::Retain(*chars),
            text::Component::Insert(text) => Component::Insert(text),
            text::Component::Delete(chars) => Component::Delete(*chars),
        }))
    }
}

/// Returns the bytes of a record.
pub(in crate::log) fn encode(record: &Record) -> Bytes {
    let (body, room) = match record {
        Record::Frame(frame) => frame_body(frame),
        Record::Claim(Claim { node, boot, prev }) => {
            (Body::Claim { node: node.0.as_str(), boot: *boot, prev: *prev }, 160)
        }
        Record::Release(Release { epoch, to }) => {
            let to = to.as_ref().map(|node| node.0.as_str());
            (Body::Release { epoch: *epoch, to }, 160)
        }
        Record::Event(event) => event_body(event),
    };
    let mut bytes = Vec::with_capacity(room);
    bytes.push(VERSION);
    let mut bytes = postcard::to_extend(&body, bytes)
        .expect("a vector grows, and every list of the body knows its length");
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    assert!(bytes.len() <= RECORD_BYTES_MAX, "a record of {} bytes is too long", bytes.len());
    Bytes::from(bytes)
}

fn frame_body(frame: &Frame) -> (Body<'_, Entries<'_>>, usize) {
    assert!(frame.entries.len() <= ENTRIES_MAX, "a frame has {} entries", frame.entries.len());
    let Frame { epoch, doc, base_rev, at, entries } = frame;
    // Version, kind, checksum, three numbers and two counts; then what is in it.
    let room = 48 + doc.as_str().len() + entries.iter().map(Entry::bytes_max).sum::<usize>();
    let body = Body::Frame {
        epoch: *epoch,
        doc: doc.as_str(),
        base_rev: *base_rev,
        at: *at,
        entries: Entries(entries),
    };
    (body, room)
}

fn event_body(event: &Event) -> (Body<'_, Entries<'_>>, usize) {
    let kind = match &event.kind {
        EventKind::Created => KindBody::Created,
        EventKind::Deleted => KindBody::Deleted,
        EventKind::Undeleted => KindBody::Undeleted,
        EventKind::Quarantined { reason } => KindBody::Quarantined { reason },
        EventKind::SessionsExpired { sessions } => {
            assert!(sessions.len() <= ENTRIES_MAX, "an event has {} sessions", sessions.len());
            KindBody::SessionsExpired { sessions: Cow::Borrowed(sessions) }
        }
        EventKind::HistoryCut { before } => KindBody::HistoryCut { before: *before },
        EventKind::VersionNamed { name, rev } => KindBody::VersionNamed { name, rev: *rev },
        EventKind::SessionReturned { session, seq, rev } => {
            KindBody::SessionReturned { session: *session, seq: *seq, rev: *rev }
        }
        EventKind::AccessChanged(change) => KindBody::AccessChanged(change_body(change)),
        EventKind::Restored { rev } => KindBody::Restored { rev: *rev },
        EventKind::Exported { rev } => KindBody::Exported { rev: *rev },
    };
    let body = EventBody {
        epoch: event.epoch,
        doc: event.doc.as_str(),
        base_rev: event.base_rev,
        at: event.at,
        author: event.author.as_str(),
        kind,
    };
    let body = match &event.by {
        Some(by) => Body::EventBy { by: by.as_str(), event: body },
        None => Body::Event(body),
    };
    (body, 256)
}

fn change_body(change: &AccessChange) -> ChangeBody<'_> {
    match change {
        AccessChange::Owner(owner) => ChangeBody::Owner(owner.as_ref().map(Subject::as_str)),
        AccessChange::Visibility(visibility) => {
            ChangeBody::Public(*visibility == Visibility::Public)
        }
        AccessChange::Member(member, rights) => ChangeBody::Member(member.as_str(), rights.bits()),
    }
}

/// Reads a record back.
pub(in crate::log) fn decode(bytes: &[u8]) -> Result<Record, DecodeError> {
    let length = DecodeError::Length { bytes: bytes.len() };
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(length);
    }
    let Some((checked, crc)) = bytes.split_last_chunk::<CRC_BYTES>() else { return Err(length) };
    let [version, body @ ..] = checked else { return Err(length) };
    if crc32fast::hash(checked) != u32::from_le_bytes(*crc) {
        return Err(DecodeError::Checksum);
    }
    if *version != VERSION {
        return Err(DecodeError::Version { found: *version });
    }
    let (body, rest) = postcard::take_from_bytes::<Body<'_, Vec<ReadEntry<'_>>>>(body)?;
    if !rest.is_empty() {
        return Err(DecodeError::Trailing { bytes: rest.len() });
    }
    Ok(match body {
        Body::Frame { epoch, doc, base_rev, at, entries } => {
            check_count(entries.len())?;
            let entries = entries.into_iter().map(entry).collect::<Result<_, _>>()?;
            Record::Frame(Frame { epoch, doc: doc.parse()?, base_rev, at, entries })
        }
        Body::Claim { node, boot, prev } => {
            Record::Claim(Claim { node: NodeId(node.parse()?), boot, prev })
        }
        Body::Release { epoch, to } => {
            let to = to.map(str::parse::<DocId>).transpose()?.map(NodeId);
            Record::Release(Release { epoch, to })
        }
        Body::Event(body) => Record::Event(event(body)?),
        Body::EventBy { by, event: body } => {
            Record::Event(Event { by: Some(by.parse()?), ..event(body)? })
        }
    })
}

type ReadEntry<'a> = EntryBody<'a, Vec<Component<'a>>>;

fn entry(body: ReadEntry<'_>) -> Result<Entry, DecodeError> {
    let components = body.components.into_iter().map(|component| match component {
        Component::Retain(chars) => text::Component::Retain(chars),
        Component::Insert(text) => text::Component::Insert(SmolStr::new(text)),
        Component::Delete(chars) => text::Component::Delete(chars),
    });
    Ok(Entry {
        session: body.session,
        seq: body.seq,
        author: author(body.author)?,
        base: body.base,
        op: text::Operation::from_components(components)?,
    })
}

fn event(body: EventBody<'_>) -> Result<Event, DecodeError> {
    let kind = match body.kind {
        KindBody::Created => EventKind::Created,
        KindBody::Deleted => EventKind::Deleted,
        KindBody::Undeleted => EventKind::Undeleted,
        KindBody::Quarantined { reason } => EventKind::Quarantined { reason: reason.to_owned() },
        KindBody::SessionsExpired { sessions } => {
            check_count(sessions.len())?;
            EventKind::SessionsExpired { sessions: sessions.into_owned() }
        }
        KindBody::HistoryCut { before } => EventKind::HistoryCut { before },
        KindBody::VersionNamed { name, rev } => {
            EventKind::VersionNamed { name: name.to_owned(), rev }
        }
        KindBody::SessionReturned { session, seq, rev } => {
            EventKind::SessionReturned { session, seq, rev }
        }
        KindBody::AccessChanged(body) => EventKind::AccessChanged(change(body)?),
        KindBody::Restored { rev } => EventKind::Restored { rev },
        KindBody::Exported { rev } => EventKind::Exported { rev },
    };
    Ok(Event {
        epoch: body.epoch,
        doc: body.doc.parse()?,
        base_rev: body.base_rev,
        at: body.at,
        author: author(body.author)?,
        by: None,
        kind,
    })
}

fn change(body: ChangeBody<'_>) -> Result<AccessChange, DecodeError> {
    Ok(match body {
        ChangeBody::Owner(owner) => AccessChange::Owner(owner.map(str::parse).transpose()?),
        ChangeBody::Public(true) => AccessChange::Visibility(Visibility::Public),
        ChangeBody::Public(false) => AccessChange::Visibility(Visibility::Private),
        ChangeBody::Member(member, bits) => {
            AccessChange::Member(member.parse()?, Rights::try_from(bits)?)
        }
    })
}

fn author(name: &str) -> Result<Author, BadAuthor> {
    name.parse()
}

fn check_count(count: usize) -> Result<(), DecodeError> {
    if count <= ENTRIES_MAX { Ok(()) } else { Err(DecodeError::TooMany { count }) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::testing::{self, hex};

    fn sealed(version: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = [&[version], body].concat();
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_le_bytes());
        bytes
    }

    fn body_of(record: &Record) -> Vec<u8> {
        let bytes = encode(record);
        bytes[1..bytes.len() - CRC_BYTES].to_vec()
    }

    /// The bytes of every kind are kept for ever; `QUIRE_BLESS=1` adds those that are missing.
    #[test]
    fn bytes_of_every_kind_stay_as_they_are() {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/records-v1.txt");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let mut golden: BTreeMap<&str, String> = text
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(name, bytes)| (name, bytes.to_owned()))
            .collect();
        let bless = std::env::var_os("QUIRE_BLESS").is_some();
        let mut added = 0;
        for (name, record) in testing::every_kind() {
            let bytes = encode(&record);
            assert_eq!(decode(&bytes), Ok(record), "{name}");
            if bless && !golden.contains_key(name) {
                golden.insert(name, hex(&bytes));
                added += 1;
            }
            assert_eq!(golden.get(name), Some(&hex(&bytes)), "{name}");
        }
        if added > 0 {
            let lines = golden.iter().map(|(name, bytes)| format!("{name} {bytes}\n"));
            std::fs::write(&file, lines.collect::<String>()).unwrap();
        }
    }

    #[test]
    fn records_survive_the_round_trip() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..2_000 {
            let record = testing::random_record(&mut rng);
            let bytes = encode(&record);
            assert_eq!(decode(&bytes).as_ref(), Ok(&record));
            if let Record::Frame(frame) = &record {
                let bound = frame.entries.iter().map(Entry::bytes_max).sum::<usize>();
                let without = Frame { entries: vec![], ..frame.clone() };
                if frame.entries.len() < 128 {
                    let named = |entry: &Entry| {
                        entry.payload_bytes() + 16 + 1 + entry.author.as_str().len()
                    };
                    let counted: usize = frame.entries.iter().map(named).sum();
                    let bare = encode(&Record::Frame(without.clone())).len();
                    assert_eq!(bytes.len() - bare, counted, "{frame:?}");
                }
                let rest = encode(&Record::Frame(without)).len();
                assert!(bytes.len() <= rest + bound, "{record:?}");
            }
        }
    }

    #[test]
    fn any_change_of_a_byte_is_noticed() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for (name, record) in testing::every_kind() {
            let bytes = encode(&record);
            for at in 0..bytes.len() {
                let mut torn = bytes.to_vec();
                torn[at] ^= rng.random_range(1..=255u8);
                assert_eq!(decode(&torn), Err(DecodeError::Checksum), "{name} at {at}");
                let cut = decode(&bytes[..at]).unwrap_err();
                let short = DecodeError::Length { bytes: at };
                assert_eq!(cut, if at < 5 { short } else { DecodeError::Checksum }, "{name}");
            }
        }
    }

    #[test]
    fn bad_bodies_are_refused_even_with_a_good_checksum() {
        let check = |bytes: &[u8], error: DecodeError| {
            assert_eq!(decode(bytes), Err(error), "{}", hex(bytes));
        };
        let release = body_of(&Record::Release(Release { epoch: Epoch(1), to: None }));
        assert_eq!(release, [2, 1, 0]);
        check(&sealed(2, &release), DecodeError::Version { found: 2 });
        check(&sealed(1, &[2, 1, 0, 9]), DecodeError::Trailing { bytes: 1 });
        check(&sealed(1, &[2, 1]), DecodeError::Body(postcard::Error::DeserializeUnexpectedEnd));
        check(&sealed(1, &[9]), DecodeError::Body(postcard::Error::SerdeDeCustom));
        check(&sealed(1, &[2, 1, 1, 1, b'/']), DecodeError::Id(BadDocId));
        check(&sealed(1, &[1, 1, b' ', 0, 0]), DecodeError::Id(BadDocId));
        check(&vec![0; RECORD_BYTES_MAX + 1], DecodeError::Length { bytes: RECORD_BYTES_MAX + 1 });

        let subject = [4, 1, b' ', 0, 1, b'd', 0, 0, 0, 0];
        check(&sealed(1, &subject), DecodeError::Subject(BadSubject));
        check(&sealed(1, &[3, 0, 1, b'd', 0, 0, 0, 8, 2, 0, 1]), DecodeError::Subject(BadSubject));
        check(
            &sealed(1, &[3, 0, 1, b'd', 0, 0, 0, 8, 2, 1, b'm', 16]),
            DecodeError::Rights(BadBits),
        );

        let entry = |author: &[u8], components: &[u8]| {
            let author = [&[u8::try_from(author.len()).unwrap()], author].concat();
            let frame: &[u8] = &[0, 0, 1, b'd', 0, 0, 1];
            sealed(1, &[frame, &[7; 16], &[1], &author, &[0], components].concat())
        };
        assert!(decode(&entry(b"ann", &[1, 0, 3])).is_ok());
        check(&entry(b"\x07", &[0]), DecodeError::Author(BadAuthor));
        check(
            &entry(b"", &[1, 0, 0]),
            DecodeError::Operation(text::Invalid::ZeroRetain { index: 0 }),
        );
        check(
            &entry(b"", &[1, 1, 0]),
            DecodeError::Operation(text::Invalid::EmptyInsert { index: 0 }),
        );
        check(
            &entry(b"", &[1, 1, 1, 0xff]),
            DecodeError::Body(postcard::Error::DeserializeBadUtf8),
        );
    }

    #[test]
    fn lists_have_a_bound() {
        let entry = |body: &mut Vec<u8>| {
            body.extend([7; 16]);
            body.extend([1, 0, 0, 0]);
        };
        let frame = |count: u16| {
            let mut body = vec![0, 0, 1, b'd', 0, 0];
            body.extend([u8::try_from(count & 127).unwrap() | 128, (count >> 7) as u8]);
            (0..count).for_each(|_| entry(&mut body));
            sealed(1, &body)
        };
        assert!(decode(&frame(4096)).is_ok());
        assert_eq!(decode(&frame(4097)), Err(DecodeError::TooMany { count: 4097 }));
        let claims_more = sealed(1, &[0, 0, 1, b'd', 0, 0, 255, 255, 255, 255, 15]);
        assert!(matches!(decode(&claims_more), Err(DecodeError::Body(_))));
    }

    #[test]
    fn a_keystroke_is_short() {
        let (_, record) = &testing::every_kind()[0];
        assert!(encode(record).len() <= 60, "{}", encode(record).len());
    }
}
