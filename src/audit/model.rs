//! What the auditor reads and writes as JSON: histories of clients, and its report.

use serde::{Deserialize, Serialize};

use crate::types::{DocId, Offset, ParticipantId, Revision, Seq, ShardId, Timestamp};

/// Begins a history.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: String,
    pub(crate) version: u32,
}

/// Is one event of one client's connection to a document; a client's are in the order in which
/// it saw them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Which client.
    pub client: String,
    /// The document.
    pub doc: DocId,
    /// The session's public id: the session itself is a secret.
    #[serde(with = "short_hex")]
    pub session: ParticipantId,
    /// The client's clock: information, never order.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Is what a client saw or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "lowercase")]
pub enum Event {
    /// The server answered the hello.
    Welcome {
        /// The revision that the missed ones follow; `head` where the text came instead.
        rev: Revision,
        /// The revision that the client has now.
        head: Revision,
        /// The session's last batch that is durable.
        seq: Seq,
    },
    /// A batch was sent, perhaps again.
    Sent {
        /// Its number.
        seq: Seq,
        /// The revision that it was made on.
        base: Revision,
    },
    /// A batch was acknowledged.
    Ack {
        /// Its number.
        seq: Seq,
        /// The revision that it became.
        rev: Revision,
    },
    /// Revisions of others were shown.
    Op {
        /// The last.
        rev: Revision,
        /// The first.
        first: Revision,
    },
    /// The client has a text and nothing pending.
    Text {
        /// The revision.
        rev: Revision,
        /// The XXH3 hash of its UTF-8 bytes.
        #[serde(with = "long_hex")]
        hash: u64,
    },
    /// The connection ended.
    End,
}

/// Names what is audited, as the design numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[expect(missing_docs, reason = "the module's documentation has the table")]
pub enum Invariant {
    I1,
    I2,
    I3,
    I4,
    I5,
    I6,
    I7,
    I8,
    I9,
    I10,
    I14,
}

/// Is what an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether nothing is violated.
    pub clean: bool,
    /// Records in the range.
    pub records: u64,
    /// Those that do not count.
    pub void: u64,
    /// Those that cannot be read, which every reader skips.
    pub unreadable: u64,
    /// Offsets without a record.
    pub missing: u64,
    /// Documents with a record that counts.
    pub docs: u64,
    /// Events of histories.
    pub events: u64,
    /// Clients of histories.
    pub clients: u64,
    /// Histories whose last line is torn, and left out.
    pub torn: u64,
    /// Batches that were sent and never acknowledged.
    pub unacknowledged: Unacknowledged,
    /// What was decided of each invariant.
    pub invariants: Vec<Tally>,
}

/// Is what was found of a history that is to be gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Erasure {
    /// Whether nothing was found.
    pub clean: bool,
    /// The document.
    pub doc: DocId,
    /// The first revision that may be there.
    pub before: Revision,
    /// How many records of its shard were read.
    pub records: u64,
    /// How many of its manifests were read.
    pub manifests: u64,
    /// How many of its blobs were read.
    pub blobs: u64,
    /// How many files were searched for the text, byte by byte.
    pub files: u64,
    /// What was found.
    pub found: Vec<Trace>,
}

/// Is one thing that is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trace {
    /// Where.
    pub place: String,
    /// What.
    pub what: String,
}

/// Counts batches that were sent and never acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Unacknowledged {
    /// Not in the accepted log.
    pub absent: u64,
    /// In the accepted log.
    pub present: u64,
}

/// Counts what was decided of one invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Which.
    pub invariant: Invariant,
    /// How often it was decided, either way.
    pub decided: u64,
    /// How often it does not hold.
    pub violated: u64,
    /// How often it cannot be told.
    pub undecided: u64,
    /// Why it cannot be told, where that was met first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The first place where it does not hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Violation>,
}

/// Says where something does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Violation {
    /// What is wrong.
    pub what: String,
    /// The shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardId>,
    /// The records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<Offset>,
    /// The document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doc: Option<DocId>,
    /// The revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// The session's public id, as histories spell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// The client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Lines of histories, `file:line`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// Spells a participant as eight hex digits.
mod short_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::types::ParticipantId;

    pub(in crate::audit) fn serialize<S: Serializer>(
        id: &ParticipantId,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{:08x}", id.0))
    }

    pub(in crate::audit) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<ParticipantId, D::Error> {
        let text = String::deserialize(from)?;
        let read = Some(&text).filter(|text| text.len() == 8);
        let read = read.and_then(|text| u32::from_str_radix(text, 16).ok());
        read.map(ParticipantId).ok_or_else(|| Error::custom("a session is 8 hex digits"))
    }
}

/// Spells a hash as sixteen hex digits: JSON's numbers do not hold it.
mod long_hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(in crate::audit) fn serialize<S: Serializer>(hash: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{hash:016x}"))
    }

    pub(in crate::audit) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        let read = Some(&text).filter(|text| text.len() == 16);
        let read = read.and_then(|text| u64::from_str_radix(text, 16).ok());
        read.ok_or_else(|| Error::custom("a hash is 16 hex digits"))
    }
}
