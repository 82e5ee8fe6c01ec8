//! The bytes of a segment.
//!
//! ```text
//! version    1 byte, 1
//! size       4 bytes, little end first: the body's before compression
//! body       zstd
//! checksum   8 bytes, little end first: xxh3 of everything before it
//!
//! body       base revision, base text's chars, base text's stored bytes: varints
//!            operations: length, diamond-types' full encoding without compression
//!            revision table: see `table.rs`
//! ```
//!
//! diamond-types must never see bytes of others: it may crash the process on them. So the checksum
//! is looked at before anything else. It tells damage, not forgery: where bytes are kept, nobody
//! else may write.

use bytes::Bytes;
use diamond_types::list::OpLog;
use diamond_types::list::encoding::{ENCODE_FULL, EncodeOptions};
use xxhash_rust::xxh3::xxh3_64;

use crate::crdt::error::{DecodeError, Malformed};
use crate::crdt::segment::Segment;
use crate::crdt::table::Table;
use crate::crdt::varint::{Reader, write, write_bytes};
use crate::types::Revision;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 5;
const CHECKSUM_BYTES: usize = 8;

/// The largest segment before compression.
const BODY_BYTES_MAX: u32 = 1 << 30;

/// By how much the operations outweigh the base text when a segment is sealed.
const SEAL_FACTOR: u64 = 4;

const ZSTD_LEVEL: i32 = 3;

/// How long a segment is before compression when it is sealed whatever it is compressed to, in
/// bytes: that much is kept in memory. For each character of its base text twice the longest.
const SEAL_PLAIN_BYTES: u64 = 32 << 20;
const SEAL_PLAIN_FACTOR: u64 = 8;

/// Holds an encoded segment and what its parts take of it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// The segment.
    pub bytes: Bytes,
    /// What the base text takes, compressed by itself.
    pub base_bytes: u64,
    /// What is left for the operations and the revision table.
    pub operation_bytes: u64,
    /// All of it before compression.
    pub plain_bytes: u64,
    /// The length of the base text, in characters.
    pub base_chars: u64,
}

impl Encoded {
    /// Tells whether the segment is to be sealed and a new one begun with its text: its
    /// operations take more than four times its base text, and more than `bytes_min`. Where they
    /// are hardly anything compressed, they take 32 MiB before it, and far more than the base text.
    pub fn is_due_to_seal(&self, bytes_min: u64) -> bool {
        let plain_max = SEAL_PLAIN_BYTES.max(self.base_chars.saturating_mul(SEAL_PLAIN_FACTOR));
        self.operation_bytes > bytes_min.max(self.base_bytes.saturating_mul(SEAL_FACTOR))
            || self.plain_bytes > plain_max
    }
}

impl Segment {
    /// Returns the segment's bytes.
    ///
    /// # Panics
    /// If the segment is larger than 1 GiB before compression, far past where it is sealed.
    pub fn encode(&self) -> Encoded {
        let body = self.body();
        let size = u32::try_from(body.len()).ok().filter(|size| *size <= BODY_BYTES_MAX);
        let size = size.expect("a segment is sealed long before it has 1 GiB");
        let packed = pack(&body);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + packed.len() + CHECKSUM_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(&packed);
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        Encoded {
            base_bytes: self.base_bytes,
            operation_bytes: (bytes.len() as u64).saturating_sub(self.base_bytes),
            plain_bytes: size.into(),
            base_chars: self.base_chars(),
            bytes: bytes.into(),
        }
    }

    /// Reads a segment.
    ///
    /// # Errors
    /// If the bytes are not exactly what [`encode`](Self::encode) of this or an older version of
    /// the program wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let short = DecodeError::Short { found: bytes.len() };
        let Some((covered, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(short);
        };
        let Some((header, packed)) = covered.split_first_chunk::<HEADER_BYTES>() else {
            return Err(short);
        };
        if xxh3_64(covered) != u64::from_le_bytes(*checksum) {
            return Err(DecodeError::Checksum);
        }
        let [version, size @ ..] = *header;
        if version != VERSION {
            return Err(DecodeError::Version { found: version });
        }
        let size = u32::from_le_bytes(size);
        if size > BODY_BYTES_MAX {
            return Err(DecodeError::TooLarge { claimed: size.into() });
        }
        let body =
            zstd::bulk::decompress(packed, size as usize).map_err(DecodeError::Compression)?;
        if body.len() != size as usize {
            return Err(Malformed::Number.into());
        }
        Self::from_body(&body)
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        write(&mut body, self.base.0);
        write(&mut body, self.base_chars as u64);
        write(&mut body, self.base_bytes);
        let options = EncodeOptions { compress_content: false, ..ENCODE_FULL };
        // A log without operations has no encoding of its own.
        let oplog = &self.list.oplog;
        let operations = if oplog.is_empty() { vec![] } else { oplog.encode(options) };
        write_bytes(&mut body, &operations);
        self.table.encode(&mut body);
        body
    }

    fn from_body(body: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let base = Revision(reader.number()?);
        let base_chars = reader.count()?;
        let base_bytes = reader.number()?;
        let operations = reader.bytes()?;
        let table = Table::decode(&mut reader)?;
        if !reader.is_empty() {
            return Err(Malformed::Trailing.into());
        }
        base.0.checked_add(table.len()).ok_or(Malformed::Number)?;
        let oplog = match operations {
            [] => OpLog::new(),
            _ => OpLog::load_from(operations).map_err(DecodeError::Operations)?,
        };
        let described = table.operations(table.len()).checked_add(base_chars);
        if described != Some(oplog.len()) || oplog.iter_history().count() > 1 {
            return Err(Malformed::History.into());
        }
        Ok(Self::from_parts((base, base_chars, base_bytes), oplog, table))
    }
}

/// Returns what a text takes when it is stored by itself.
pub(crate) fn stored_bytes(text: &str) -> u64 {
    if text.is_empty() { 0 } else { pack(text.as_bytes()).len() as u64 }
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, ZSTD_LEVEL).expect("compressing in memory does not fail")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;
    use crate::crdt::fixture::{apply_all, delete, insert, meta, model, ops, replace};
    use crate::text::Operation;

    fn grown(base: &str, list: &[Operation]) -> Segment {
        let mut segment = Segment::new(Revision(3), base);
        for (seq, op) in (1..).zip(list) {
            segment.append(op, &meta(seq)).unwrap();
        }
        segment
    }

    /// Holds a segment against the operations it was made of.
    fn check(segment: &Segment, base: &str, list: &[Operation]) {
        let head = Revision(3 + list.len() as u64);
        assert_eq!((segment.base(), segment.head()), (Revision(3), head));
        let mut text = base.to_owned();
        assert_eq!(segment.text_at(Revision(3)), Some(text.clone()));
        for (revision, op) in (4..).map(Revision).zip(list) {
            text = apply_all(&text, std::slice::from_ref(op));
            assert_eq!(segment.text_at(revision).as_ref(), Some(&text), "text at {revision}");
            assert_eq!(segment.operation(revision).as_ref(), Some(op), "operation {revision}");
        }
        assert_eq!(segment.text(), text);
        assert_eq!(segment.chars(), text.chars().count() as u64);
        assert_eq!(segment.text_hash(), xxh3_64(text.as_bytes()));
        let all = segment.operations(Revision(4)..=head);
        assert!(all.iter().map(|(_, op)| op).eq(list));
    }

    fn framed(version: u8, size: u32, packed: &[u8]) -> Vec<u8> {
        let mut bytes = vec![version];
        bytes.extend_from_slice(&size.to_le_bytes());
        bytes.extend_from_slice(packed);
        bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    fn read_body(body: &[u8]) -> Result<Segment, DecodeError> {
        Segment::decode(&framed(VERSION, body.len() as u32, &pack(body)))
    }

    proptest! {
        #[test]
        fn a_segment_is_what_was_appended_and_comes_back(
            base in "[ab🙂\r\n]{0,9}",
            plans in ops(0..40),
            more in ops(0..5),
        ) {
            let mut list = model(&base, &plans);
            let mut segment = grown(&base, &list);
            check(&segment, &base, &list);
            let mut read = Segment::decode(&segment.encode().bytes).unwrap();
            check(&read, &base, &list);
            prop_assert_eq!(read.encode().bytes, segment.encode().bytes);
            for op in model(&segment.text(), &more) {
                let meta = meta(list.len() as u64 + 1);
                segment.append(&op, &meta).unwrap();
                read.append(&op, &meta).unwrap();
                list.push(op);
            }
            check(&read, &base, &list);
            prop_assert_eq!(read.encode().bytes, segment.encode().bytes);
            let all = Revision(0)..=Revision(u64::MAX);
            prop_assert_eq!(read.history(all.clone()), segment.history(all));
        }
    }

    #[test]
    fn damage_is_always_told() {
        let bytes = grown("base", &[insert(4, "é🙂"), delete(0, 2)]).encode().bytes;
        assert!(Segment::decode(&bytes).is_ok());
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Segment::decode(&damaged).is_err(), "bit {bit}");
        }
        for end in 0..bytes.len() {
            assert!(Segment::decode(&bytes[..end]).is_err(), "{end} bytes");
            assert!(Segment::decode(&bytes[end + 1..]).is_err(), "from {}", end + 1);
        }
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert!(matches!(Segment::decode(&longer), Err(DecodeError::Checksum)));
    }

    #[test]
    fn a_later_format_is_named() {
        let refused = Segment::decode(&framed(2, 0, &pack(&[])));
        assert!(matches!(refused, Err(DecodeError::Version { found: 2 })));
    }

    #[test]
    fn sizes_are_bounded_before_they_are_believed() {
        let refused = Segment::decode(&framed(VERSION, BODY_BYTES_MAX + 1, &pack(&[0; 9])));
        assert!(matches!(refused, Err(DecodeError::TooLarge { .. })));
        let refused = Segment::decode(&framed(VERSION, 10, &pack(&[0; 9])));
        assert!(matches!(refused, Err(DecodeError::Malformed(Malformed::Number))));
        let bomb = pack(&vec![0; 1 << 20]);
        let refused = Segment::decode(&framed(VERSION, 100, &bomb));
        assert!(matches!(refused, Err(DecodeError::Compression(_))));
    }

    #[test]
    fn parts_that_contradict_each_other_are_refused() {
        let segment = grown("base", &[insert(4, "!")]);
        let body = segment.body();
        assert!(read_body(&body).is_ok());

        let mut trailing = body.clone();
        trailing.push(0);
        let refused = read_body(&trailing);
        assert!(matches!(refused, Err(DecodeError::Malformed(Malformed::Trailing))));

        let refused = read_body(&body[..body.len() - 1]);
        assert!(matches!(refused, Err(DecodeError::Malformed(Malformed::Truncated))));

        // The base text is said to be longer than the first operation.
        let mut longer = body.clone();
        longer[1] += 1;
        let refused = read_body(&longer);
        assert!(matches!(refused, Err(DecodeError::Malformed(Malformed::History))));

        let mut endless = vec![];
        write(&mut endless, u64::MAX);
        endless.extend_from_slice(&body[1..]);
        let refused = read_body(&endless);
        assert!(matches!(refused, Err(DecodeError::Malformed(Malformed::Number))));

        let mut foreign = vec![0, 0, 0];
        write_bytes(&mut foreign, b"not operations");
        Table::default().encode(&mut foreign);
        assert!(matches!(read_body(&foreign), Err(DecodeError::Operations(_))));
    }

    #[test]
    fn a_branched_history_is_refused() {
        let mut segment = grown("base", &[insert(4, "!"), insert(5, "!")]);
        let agent = segment.agent;
        let mut branched = OpLog::new();
        branched.get_or_create_agent_id("quire");
        branched.add_insert_at(agent, &[], 0, "base");
        branched.add_insert_at(agent, &[3], 4, "!");
        branched.add_insert_at(agent, &[3], 4, "!");
        segment.list.oplog = branched;
        let refused = read_body(&segment.body());
        assert!(matches!(refused, Err(DecodeError::Malformed(Malformed::History))));
    }

    #[test]
    fn a_segment_is_sealed_when_its_operations_outweigh_its_base() {
        let due = |base_bytes, operation_bytes| {
            let (bytes, plain_bytes, base_chars) = (Bytes::new(), 0, 0);
            let encoded = Encoded { bytes, base_bytes, operation_bytes, plain_bytes, base_chars };
            encoded.is_due_to_seal(64 * 1024)
        };
        assert!(!due(0, 64 * 1024));
        assert!(due(0, 64 * 1024 + 1));
        assert!(!due(100_000, 400_000));
        assert!(due(100_000, 400_001));
        assert!(!due(u64::MAX, u64::MAX));
    }

    #[test]
    fn a_segment_is_sealed_when_it_is_long_whatever_it_is_compressed_to() {
        let text = |letter: &str| letter.repeat(5 << 20);
        let mut segment = Segment::new(Revision(3), &text("a"));
        let write = |segment: &mut Segment, seq: u64, letter: &str| {
            let op = Operation::builder().delete(5 << 20).insert(&text(letter)).build();
            segment.append(&op, &meta(seq)).unwrap();
        };
        for (seq, letter) in (1..).zip(["b", "c", "d", "e", "f", "g"]) {
            write(&mut segment, seq, letter);
        }
        let check = |segment: &Segment, due: bool| {
            let encoded = segment.encode();
            assert!(encoded.operation_bytes < 64 * 1024, "{}", encoded.operation_bytes);
            assert_eq!(encoded.is_due_to_seal(64 * 1024), due, "{}", encoded.plain_bytes);
        };
        // Of 5 MiB of base text that is above 40 MiB: six texts and it are less.
        check(&segment, false);
        write(&mut segment, 7, "h");
        check(&segment, true);
        check(&segment.successor(), false);
    }

    #[test]
    fn the_base_text_counts_for_itself() {
        let text: String = (0..5_000).map(|n| format!("{} ", n * n % 7_919)).collect();
        let fresh = Segment::new(Revision(1), &text).encode();
        assert!(fresh.operation_bytes < 500, "{}", fresh.operation_bytes);
        let read = Segment::decode(&fresh.bytes).unwrap().encode();
        assert_eq!(read.base_bytes, fresh.base_bytes);
    }

    /// Bytes that were once written are read for ever. `QUIRE_BLESS=1` writes what is missing.
    #[test]
    fn bytes_of_every_version_are_read() {
        let base = "été 🙂\r\n";
        let list = [
            insert(0, "one"),
            replace(2, 2, "👩‍👩‍👧"),
            Operation::identity(),
            delete(1, 1),
            delete(0, 1),
            insert(3, "e\u{301}"),
        ];
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/segment-v1.bin");
        if std::env::var_os("QUIRE_BLESS").is_some() && !path.exists() {
            std::fs::write(&path, grown(base, &list).encode().bytes).unwrap();
        }
        let segment = Segment::decode(&std::fs::read(&path).unwrap()).unwrap();
        check(&segment, base, &list);
        for seq in 1..=6 {
            let expected = meta(seq);
            let kept = crate::types::Timestamp(expected.at.0 / 1000 * 1000);
            let expected = crate::crdt::Meta { at: kept, ..expected };
            assert_eq!(segment.meta(Revision(3 + seq)), Some(expected));
        }
    }
}
