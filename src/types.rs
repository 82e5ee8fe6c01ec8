//! The ids and counters that every layer speaks: newtypes without behaviour of their own.
//!
//! Their encoding is their inner value (serde `transparent`); each format that carries them has
//! its own version marker.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

/// The constant key of every fixed hash: ids must map alike on every node and in every version.
const HASH_KEY: (u64, u64) = (0x7175_6972_652d_646f, 0x632d_7368_6172_6431);

/// The longest document id, in bytes.
pub const DOC_ID_BYTES_MAX: usize = 128;

/// The longest author name, in bytes.
pub const AUTHOR_BYTES_MAX: usize = 64;

/// Names a document: 1 to 128 bytes of `A-Z a-z 0-9 . _ ~ -`, not `.` or `..`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DocId(Arc<str>);

/// Tells why a string is no document id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a document id is 1 to 128 of the characters A-Z a-z 0-9 . _ ~ - and not . or ..")]
pub struct BadDocId;

impl DocId {
    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Places the document on one of `shards` shards, by a fixed hash (SipHash-2-4) of its id.
    ///
    /// # Panics
    /// If `shards` is 0.
    pub fn shard(&self, shards: u32) -> ShardId {
        assert!(shards > 0, "a cluster has at least one shard");
        let hash = fixed_hash(self.0.as_bytes());
        ShardId(u32::try_from(hash % u64::from(shards)).expect("a remainder of a u32 fits"))
    }
}

impl FromStr for DocId {
    type Err = BadDocId;

    fn from_str(text: &str) -> Result<Self, BadDocId> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
        let named = !text.is_empty() && text != "." && text != "..";
        if named && text.len() <= DOC_ID_BYTES_MAX && text.bytes().all(allowed) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadDocId)
        }
    }
}

impl TryFrom<String> for DocId {
    type Error = BadDocId;

    fn try_from(text: String) -> Result<Self, BadDocId> {
        text.parse()
    }
}

impl From<DocId> for String {
    fn from(id: DocId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names who wrote: a person's or program's name, at most 64 bytes of UTF-8 without control
/// characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Author(Arc<str>);

/// Tells why a string is no author name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an author name is at most 64 bytes long and has no control characters")]
pub struct BadAuthor;

impl Author {
    /// Returns the author of whom nothing is known: the empty name.
    pub fn anonymous() -> Self {
        Self(Arc::from(""))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Author {
    type Err = BadAuthor;

    fn from_str(text: &str) -> Result<Self, BadAuthor> {
        if text.len() <= AUTHOR_BYTES_MAX && !text.chars().any(char::is_control) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadAuthor)
        }
    }
}

impl TryFrom<String> for Author {
    type Error = BadAuthor;

    fn try_from(text: String) -> Result<Self, BadAuthor> {
        text.parse()
    }
}

impl From<Author> for String {
    fn from(author: Author) -> Self {
        author.0.as_ref().to_owned()
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Names a client's editing session: a random 128-bit secret, 32 lower-case hex digits on the wire.
///
/// Whoever knows it can take the session over, so `Debug` prints the participant id instead.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub [u8; 16]);

/// Tells why a string is no session id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 32 lower-case hex digits")]
pub struct BadSessionId;

impl SessionId {
    /// Derives the public id that others see: 32 bits of a fixed one-way hash of the secret, so
    /// that it is the same on every node and after every restart.
    pub fn participant(&self) -> ParticipantId {
        let hash = fixed_hash(&self.0);
        ParticipantId(u32::try_from(hash >> 32).expect("the upper half of a u64 fits"))
    }

    /// Spells the secret for the wire.
    pub fn to_hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

impl FromStr for SessionId {
    type Err = BadSessionId;

    fn from_str(text: &str) -> Result<Self, BadSessionId> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(BadSessionId),
        };
        let bytes: &[u8; 32] = text.as_bytes().try_into().map_err(|_| BadSessionId)?;
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(id))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session-of-{:08x}", self.participant().0)
    }
}

/// Names a node; same alphabet as a document id.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub DocId);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone,
            Copy,
            PartialEq,
            Eq,
            PartialOrd,
            Ord,
            Hash,
            Default,
            Debug,
            Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(
    /// Numbers a shard, from 0; one shard is one partition of the log.
    ShardId(u32)
);
number!(
    /// Numbers a shard's ownership: the offset of the `Claim` that began it.
    Epoch(u64)
);
number!(
    /// Numbers a record of a shard's log, from 0.
    Offset(u64)
);
number!(
    /// Numbers a document's accepted batches, from 1; 0 is the empty text.
    Revision(u64)
);
number!(
    /// Numbers a session's batches, from 1; 0 means none.
    Seq(u64)
);
number!(
    /// Names a participant to the others: derived from its session, see [`SessionId::participant`].
    ParticipantId(u32)
);
number!(
    /// Tells wall-clock time in milliseconds since the Unix epoch: information, never order.
    Timestamp(u64)
);
number!(
    /// Names one log for ever; offsets of another log mean nothing in this one.
    LogId(u128)
);

impl Offset {
    /// Returns the offset after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Revision {
    /// Returns the revision after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Seq {
    /// Returns the batch number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

fn fixed_hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(HASH_KEY.0, HASH_KEY.1);
    hasher.write(bytes);
    hasher.finish()
}

/// Returns the newest version in both ranges, each from the least to the greatest.
pub(crate) fn common(one: (u16, u16), other: (u16, u16)) -> Option<u16> {
    let (least, greatest) = (one.0.max(other.0), one.1.min(other.1));
    (least <= greatest).then_some(greatest)
}

/// Shows an error with all its causes, for a line that is read without them.
pub struct Chain<'a>(pub &'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doc_ids_are_checked() {
        let long = "x".repeat(129);
        for bad in ["", ".", "..", "a/b", "a b", "é", "a%2f", &long] {
            assert_eq!(bad.parse::<DocId>(), Err(BadDocId), "{bad}");
        }
        for good in ["a", "...", "A-z_0~9.md", &long[..128]] {
            assert_eq!(good.parse::<DocId>().map(String::from), Ok(good.to_owned()));
        }
    }

    /// The golden shards were worked out by another program, which has its own SipHash.
    #[test]
    fn documents_stay_where_they_are() {
        let longest = "Z".repeat(DOC_ID_BYTES_MAX);
        for (doc, golden) in [
            ("a", [7, 23, 23]),
            ("hello", [6, 70, 838]),
            ("README.md", [8, 232, 232]),
            ("doc-17", [1, 1, 769]),
            ("0", [12, 172, 172]),
            ("~", [3, 163, 419]),
            ("some_longer-name.of~a.document", [11, 251, 251]),
            (&longest, [8, 184, 440]),
        ] {
            let doc: DocId = doc.parse().unwrap();
            assert_eq!([16, 256, 1_024].map(|shards| doc.shard(shards).0), golden, "{doc}");
        }
    }

    #[test]
    fn sessions_round_trip_as_hex() {
        let text = "00ff10a9b8c7d6e5f4030201deadbeef";
        assert_eq!(text.parse::<SessionId>().map(|id| id.to_hex()), Ok(text.to_owned()));
        for bad in ["", "00FF10a9b8c7d6e5f4030201deadbeef", "00ff10a9b8c7d6e5f4030201deadbee"] {
            assert_eq!(bad.parse::<SessionId>(), Err(BadSessionId));
        }
    }

    #[test]
    fn a_session_is_not_printed() {
        let id = SessionId([0xab; 16]);
        assert!(!format!("{id:?}").contains("abab"));
    }
}
