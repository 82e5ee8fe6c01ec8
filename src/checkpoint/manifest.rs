//! The manifest of a checkpoint: one cell of a store, stored last.
//!
//! ```text
//! format 1 (byte) · doc · revision · log (16 bytes) · offset · epoch · text hash (8 bytes)
//! life (byte) [reason] · created · cut · body bytes · body hash (8 bytes)
//! packed: sealed segments · packed: versions · CRC-32 of all before it (4 bytes)
//!
//! format 2 (byte) · as 1 · packed: access · CRC-32
//! access: owner (none: empty) · public (byte) · each member: subject · rights (byte)
//! ```
//! Format 2 is written only of a document that grants something by itself: one that knows format 1
//! alone would serve it to all.
//!
//! Numbers without a width are LEB128, fixed ones are little endian; see `column.rs`.

use xxhash_rust::xxh3::Xxh3;

use crate::access::{Access, Rights, Subject, Visibility};
use crate::checkpoint::column::{Column, Cursor};
use crate::checkpoint::error::DecodeError;
use crate::checkpoint::key::{BlobId, BlobKind, CheckpointId};
use crate::checkpoint::snapshot::{Life, NamedVersion, SealedSegment};
use crate::types::{Author, DocId, Epoch, LogId, Offset, Revision, Timestamp};

/// The longest manifest.
pub const MANIFEST_BYTES_MAX: usize = 1024 * 1024;

/// The longest body.
pub const BODY_BYTES_MAX: usize = 256 * 1024 * 1024;

/// The format of a document that grants nothing by itself, and of one that does.
const PLAIN: u8 = 1;
const GRANTING: u8 = 2;

/// Says where in the log a checkpoint stands and what it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The document. All fields but those of the body are the
    /// [`Snapshot`](crate::checkpoint::Snapshot)'s.
    pub doc: DocId,
    /// The revision.
    pub revision: Revision,
    /// The log of `offset`.
    pub log: LogId,
    /// Every record of the document below it is covered.
    pub offset: Offset,
    /// The epoch of the owner who saved it.
    pub epoch: Epoch,
    /// The hash of the text.
    pub text_hash: u64,
    /// Whether the document is in use.
    pub life: Life,
    /// When it was saved.
    pub created: Timestamp,
    /// The length of the body.
    pub body_bytes: u64,
    /// The XXH3 hash of the body.
    pub body_hash: u64,
    /// The sealed segments, the oldest first.
    pub sealed: Vec<SealedSegment>,
    /// The revisions that have a name.
    pub versions: Vec<NamedVersion>,
    /// The history before it is gone.
    pub cut: Revision,
    /// What the document grants by itself.
    pub access: Access,
}

impl Manifest {
    /// Returns the key of the checkpoint.
    pub fn id(&self) -> CheckpointId {
        let Self { doc, revision, offset, .. } = self;
        CheckpointId { doc: doc.clone(), revision: *revision, offset: *offset }
    }

    /// Returns the key of the body.
    pub fn body(&self) -> BlobId {
        BlobId {
            doc: self.doc.clone(),
            kind: BlobKind::Body,
            revision: self.revision,
            hash: self.body_hash,
        }
    }

    /// Encodes the manifest.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Column::default();
        let grants = self.access != Access::default();
        out.fixed(&[if grants { GRANTING } else { PLAIN }]);
        out.bytes(self.doc.as_str().as_bytes());
        out.number(self.revision.0);
        out.fixed(&self.log.0.to_le_bytes());
        out.number(self.offset.0);
        out.number(self.epoch.0);
        out.fixed(&self.text_hash.to_le_bytes());
        write_life(&mut out, &self.life);
        out.number(self.created.0);
        out.number(self.cut.0);
        out.number(self.body_bytes);
        out.fixed(&self.body_hash.to_le_bytes());
        out.packed(&sealed_column(&self.sealed));
        out.packed(&versions_column(&self.versions));
        if grants {
            out.packed(&access_column(&self.access));
        }
        let checksum = crc32fast::hash(out.as_slice());
        out.fixed(&checksum.to_le_bytes());
        out.into_vec()
    }

    /// Decodes a manifest.
    ///
    /// # Errors
    /// If it is damaged, over a limit, or of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(DecodeError::TooLong);
        }
        let (content, checksum) = bytes.split_last_chunk().ok_or(DecodeError::Truncated)?;
        if crc32fast::hash(content) != u32::from_le_bytes(*checksum) {
            return Err(DecodeError::Checksum);
        }
        let mut cursor = Cursor::new(content);
        let manifest = match cursor.fixed()? {
            [PLAIN] => read(&mut cursor)?,
            [GRANTING] => {
                let plain = read(&mut cursor)?;
                Manifest { access: read_access(&cursor.packed()?)?, ..plain }
            }
            [0] => return Err(DecodeError::Invalid("format 0")),
            [found] => return Err(DecodeError::Newer { found }),
        };
        cursor.end()?;
        Ok(manifest)
    }
}

/// Hashes bytes that may lie in several pieces.
pub(crate) fn hash<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = Xxh3::new();
    pieces.into_iter().for_each(|piece| hasher.update(piece));
    hasher.digest()
}

fn read(cursor: &mut Cursor<'_>) -> Result<Manifest, DecodeError> {
    let doc = cursor.text()?.parse().map_err(|_| DecodeError::Invalid("a bad document id"))?;
    let manifest = Manifest {
        doc,
        revision: Revision(cursor.number()?),
        log: LogId(u128::from_le_bytes(cursor.fixed()?)),
        offset: Offset(cursor.number()?),
        epoch: Epoch(cursor.number()?),
        text_hash: u64::from_le_bytes(cursor.fixed()?),
        life: read_life(cursor)?,
        created: Timestamp(cursor.number()?),
        cut: Revision(cursor.number()?),
        body_bytes: cursor.number()?,
        body_hash: u64::from_le_bytes(cursor.fixed()?),
        sealed: read_sealed(&cursor.packed()?)?,
        versions: read_versions(&cursor.packed()?)?,
        access: Access::default(),
    };
    if usize::try_from(manifest.body_bytes).is_ok_and(|bytes| bytes <= BODY_BYTES_MAX) {
        Ok(manifest)
    } else {
        Err(DecodeError::TooLong)
    }
}

fn write_life(out: &mut Column, life: &Life) {
    match life {
        Life::Live => out.fixed(&[0]),
        Life::Deleted => out.fixed(&[1]),
        Life::Quarantined { reason } => {
            out.fixed(&[2]);
            out.bytes(reason.as_bytes());
        }
    }
}

fn read_life(cursor: &mut Cursor<'_>) -> Result<Life, DecodeError> {
    match cursor.fixed()? {
        [0] => Ok(Life::Live),
        [1] => Ok(Life::Deleted),
        [2] => Ok(Life::Quarantined { reason: cursor.text()?.to_owned() }),
        [_] => Err(DecodeError::Invalid("an unknown state of a document")),
    }
}

fn sealed_column(sealed: &[SealedSegment]) -> Column {
    let mut out = Column::default();
    let mut end = 0;
    for segment in sealed {
        out.difference(end, segment.base.0);
        out.difference(segment.base.0, segment.head.0);
        out.number(segment.bytes);
        out.fixed(&segment.hash.to_le_bytes());
        end = segment.head.0;
    }
    out
}

fn read_sealed(bytes: &[u8]) -> Result<Vec<SealedSegment>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let mut sealed = Vec::new();
    let mut end = 0;
    while !cursor.is_empty() {
        let base = cursor.difference(end)?;
        let head = cursor.difference(base)?;
        let bytes = cursor.number()?;
        let hash = u64::from_le_bytes(cursor.fixed()?);
        sealed.push(SealedSegment { base: Revision(base), head: Revision(head), bytes, hash });
        end = head;
    }
    Ok(sealed)
}

fn versions_column(versions: &[NamedVersion]) -> Column {
    let mut out = Column::default();
    let mut before = (0, 0);
    for version in versions {
        out.bytes(version.name.as_bytes());
        out.difference(before.0, version.rev.0);
        out.bytes(version.author.as_str().as_bytes());
        out.difference(before.1, version.at.0);
        before = (version.rev.0, version.at.0);
    }
    out
}

fn read_versions(bytes: &[u8]) -> Result<Vec<NamedVersion>, DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let mut versions = Vec::new();
    let mut before = (0, 0);
    while !cursor.is_empty() {
        let name = cursor.text()?.to_owned();
        let rev = cursor.difference(before.0)?;
        let author = author(cursor.text()?)?;
        let at = cursor.difference(before.1)?;
        versions.push(NamedVersion { name, rev: Revision(rev), author, at: Timestamp(at) });
        before = (rev, at);
    }
    Ok(versions)
}

fn access_column(access: &Access) -> Column {
    let mut out = Column::default();
    out.bytes(access.owner.as_ref().map_or("", Subject::as_str).as_bytes());
    out.fixed(&[u8::from(access.visibility == Visibility::Public)]);
    for (member, rights) in access.members() {
        out.bytes(member.as_str().as_bytes());
        out.fixed(&[rights.bits()]);
    }
    out
}

fn read_access(bytes: &[u8]) -> Result<Access, DecodeError> {
    let subject = |text: &str| text.parse().map_err(|_| DecodeError::Invalid("a bad subject"));
    let mut cursor = Cursor::new(bytes);
    let owner = Some(cursor.text()?).filter(|owner| !owner.is_empty()).map(subject).transpose()?;
    let visibility = match cursor.fixed()? {
        [0] => Visibility::Private,
        [1] => Visibility::Public,
        [_] => return Err(DecodeError::Invalid("an unknown visibility")),
    };
    let mut access = Access::default();
    (access.owner, access.visibility) = (owner, visibility);
    while !cursor.is_empty() {
        let member = subject(cursor.text()?)?;
        let [bits] = cursor.fixed()?;
        let rights = Rights::from_bits(bits).ok_or(DecodeError::Invalid("unknown rights"))?;
        access.admit(member, rights).map_err(|_| DecodeError::Invalid("too many members"))?;
    }
    Ok(access)
}

pub(crate) fn author(name: &str) -> Result<Author, DecodeError> {
    name.parse().map_err(|_| DecodeError::Invalid("a bad author name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::MEMBERS_MAX;
    use crate::checkpoint::contract;

    fn sample() -> Manifest {
        contract::snapshot(&contract::doc("a"), 9, 10).encode().0
    }

    fn with_checksum(mut content: Vec<u8>) -> Vec<u8> {
        let checksum = crc32fast::hash(&content);
        content.extend(checksum.to_le_bytes());
        content
    }

    fn content_of(manifest: &Manifest) -> Vec<u8> {
        let mut bytes = manifest.encode();
        bytes.truncate(bytes.len() - 4);
        bytes
    }

    #[test]
    fn other_formats_are_refused() {
        for (format, error) in
            [(0, DecodeError::Invalid("format 0")), (3, DecodeError::Newer { found: 3 })]
        {
            let mut content = content_of(&sample());
            content[0] = format;
            assert_eq!(Manifest::decode(&with_checksum(content)), Err(error));
        }
    }

    #[test]
    fn every_length_but_the_right_one_is_refused() {
        let content = content_of(&sample());
        for length in 0..content.len() {
            let cut = with_checksum(content[..length].to_vec());
            assert!(Manifest::decode(&cut).is_err(), "{length} bytes");
        }
        let longer = with_checksum([&content[..], &[0]].concat());
        assert_eq!(Manifest::decode(&longer), Err(DecodeError::Invalid("bytes after the end")));
        assert_eq!(Manifest::decode(&[0; 3]), Err(DecodeError::Truncated));
        let endless = vec![0; MANIFEST_BYTES_MAX + 1];
        assert_eq!(Manifest::decode(&endless), Err(DecodeError::TooLong));
    }

    #[test]
    fn an_access_that_is_none_is_refused() {
        let read = |bytes: &[u8]| read_access(bytes).map(|access| access.members().len());
        assert_eq!(read(&[1, b'o', 1, 1, b'm', 3]), Ok(1));
        assert_eq!(read(&[1, b' ', 1]), Err(DecodeError::Invalid("a bad subject")));
        assert_eq!(read(&[0, 2]), Err(DecodeError::Invalid("an unknown visibility")));
        assert_eq!(read(&[0, 0, 0, 1]), Err(DecodeError::Invalid("a bad subject")));
        assert_eq!(read(&[0, 0, 1, b'm', 16]), Err(DecodeError::Invalid("unknown rights")));
        let mut many = Column::default();
        many.fixed(&[0, 0]);
        for n in 0..=MEMBERS_MAX {
            many.bytes(format!("m{n}").as_bytes());
            many.fixed(&[1]);
        }
        assert_eq!(read(many.as_slice()), Err(DecodeError::Invalid("too many members")));
    }

    #[test]
    fn a_body_over_the_limit_is_refused() {
        for body_bytes in [BODY_BYTES_MAX as u64 + 1, u64::MAX] {
            let claims = Manifest { body_bytes, ..sample() };
            assert_eq!(Manifest::decode(&claims.encode()), Err(DecodeError::TooLong));
        }
    }
}
