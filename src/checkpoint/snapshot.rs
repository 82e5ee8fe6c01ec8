//! A document at one revision, as it is saved; its bytes are a [`Manifest`] and a body.
//!
//! Plain data: who fills it in keeps the promises that the fields' documentation makes.

use bytes::Bytes;

use crate::access::Access;
use crate::checkpoint::body;
use crate::checkpoint::error::Damage;
use crate::checkpoint::key::BlobId;
use crate::checkpoint::manifest::{Manifest, hash};
use crate::text::Operation;
use crate::types::{Author, DocId, Epoch, LogId, Offset, Revision, Seq, SessionId, Timestamp};

/// Is everything that is needed to go on with a document from one revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// The document.
    pub doc: DocId,
    /// The revision.
    pub revision: Revision,
    /// The log that `offset` belongs to.
    pub log: LogId,
    /// Every record of the document below it is covered.
    pub offset: Offset,
    /// The epoch in force at `offset`: a reader begins with it there.
    pub epoch: Epoch,
    /// The hash of the text: two checkpoints of one revision must agree in it.
    pub text_hash: u64,
    /// Whether the document is in use.
    pub life: Life,
    /// When it was saved.
    pub created: Timestamp,
    /// The live segment, encoded.
    pub live: Bytes,
    /// The sessions and what they wrote last. Saving sorts them by their last revision.
    pub sessions: Vec<SessionRow>,
    /// The last revisions, without gap, the last one being `revision`.
    pub window: Vec<WindowRow>,
    /// The sealed segments, the oldest first.
    pub sealed: Vec<SealedSegment>,
    /// The revisions that have a name.
    pub versions: Vec<NamedVersion>,
    /// The history before it is gone; 0 if there was no cut.
    pub cut: Revision,
    /// What the document grants by itself.
    pub access: Access,
}

/// Tells whether a document is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// It is.
    Live,
    /// It was deleted, and may be restored.
    Deleted,
    /// It is locked until a person has looked at it.
    Quarantined {
        /// Why.
        reason: String,
    },
}

/// Tells what a session wrote last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The session.
    pub session: SessionId,
    /// Its last batch.
    pub seq: Seq,
    /// The revision which that batch became.
    pub rev: Revision,
    /// When.
    pub at: Timestamp,
}

/// Is one of the last revisions, as it was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRow {
    /// Whose it is.
    pub session: SessionId,
    /// Which batch of the session it is.
    pub seq: Seq,
    /// Who wrote it.
    pub author: Author,
    /// The revision its author had.
    pub base: Revision,
    /// What it does to the revision before it.
    pub op: Operation,
}

/// Names a sealed segment, and how to tell that its bytes are right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedSegment {
    /// The revision whose text it begins with.
    pub base: Revision,
    /// The last revision it holds.
    pub head: Revision,
    /// The length of its bytes.
    pub bytes: u64,
    /// The XXH3 hash of its bytes.
    pub hash: u64,
}

/// Is a revision that someone gave a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedVersion {
    /// The name.
    pub name: String,
    /// The revision.
    pub rev: Revision,
    /// Who named it.
    pub author: Author,
    /// When.
    pub at: Timestamp,
}

impl Snapshot {
    /// Encodes the snapshot: what the manifest says, and the body, not yet in chunks.
    pub fn encode(&self) -> (Manifest, Bytes) {
        let body = body::encode(self);
        let manifest = Manifest {
            doc: self.doc.clone(),
            revision: self.revision,
            log: self.log,
            offset: self.offset,
            epoch: self.epoch,
            text_hash: self.text_hash,
            life: self.life.clone(),
            created: self.created,
            body_bytes: u64::try_from(body.len()).expect("a length fits 64 bits"),
            body_hash: hash([&*body]),
            sealed: self.sealed.clone(),
            versions: self.versions.clone(),
            cut: self.cut,
            access: self.access.clone(),
        };
        (manifest, body)
    }

    /// Puts a snapshot together again.
    ///
    /// # Errors
    /// If the body is not the one that the manifest names, or cannot be read.
    pub fn decode(manifest: Manifest, body: &Bytes) -> Result<Self, Damage> {
        if hash([&**body]) != manifest.body_hash {
            return Err(Damage::Hash);
        }
        body::decode(manifest, body).map_err(Damage::Body)
    }

    /// Reads a body that no manifest names: what only a manifest says is left at its default.
    ///
    /// # Errors
    /// Those of [`Snapshot::decode`].
    pub fn decode_body(blob: &BlobId, body: &Bytes) -> Result<Self, Damage> {
        let manifest = Manifest {
            doc: blob.doc.clone(),
            revision: blob.revision,
            log: LogId::default(),
            offset: Offset::default(),
            epoch: Epoch::default(),
            text_hash: 0,
            life: Life::Live,
            created: Timestamp::default(),
            body_bytes: u64::try_from(body.len()).expect("a length fits 64 bits"),
            body_hash: blob.hash,
            sealed: Vec::new(),
            versions: Vec::new(),
            cut: Revision::default(),
            access: Access::default(),
        };
        Self::decode(manifest, body)
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::checkpoint::contract;

    /// Returns a snapshot that has something in every place of format 1.
    fn plain() -> Snapshot {
        Snapshot { access: Access::default(), ..full() }
    }

    /// Returns a snapshot that has something in every place.
    fn full() -> Snapshot {
        let doc = contract::doc("notes-2.md");
        let author: Author = "Žofie".parse().unwrap();
        let mut full = contract::snapshot(&doc, 70_000, 300);
        full.life = Life::Quarantined { reason: "revision 69999 is missing".into() };
        full.sessions.push(SessionRow {
            session: SessionId([0; 16]),
            seq: Seq(u64::MAX),
            rev: Revision(69_000),
            at: Timestamp(1_699_000_000_000),
        });
        full.sessions.sort_by_key(|row| row.rev);
        full.window[1].session = SessionId([9; 16]);
        full.window[1].author = Author::anonymous();
        full.window[2].op = Operation::identity();
        full.sealed = [(0, 40_000), (40_000, 65_000)]
            .map(|(base, head)| SealedSegment {
                base: Revision(base),
                head: Revision(head),
                bytes: head,
                hash: head << 32,
            })
            .into();
        full.versions = ["first draft", "as sent", "as sent, with the corrections of May"]
            .map(|name| NamedVersion {
                name: name.into(),
                rev: Revision(69_000),
                author: author.clone(),
                at: Timestamp(1_700_000_000_001),
            })
            .into();
        full.cut = Revision(12);
        full
    }

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoint").join(name)
    }

    #[test]
    fn every_field_round_trips() {
        let snapshot = full();
        let (manifest, body) = snapshot.encode();
        let manifest = Manifest::decode(&manifest.encode()).unwrap();
        assert_eq!(Snapshot::decode(manifest, &body), Ok(snapshot));
    }

    #[test]
    fn what_every_version_wrote_is_still_read() {
        for (version, wrote) in [(1, plain()), (2, full())] {
            let manifest = fixture(&format!("v{version}.manifest"));
            let body = fixture(&format!("v{version}.body"));
            if std::env::var_os("QUIRE_BLESS").is_some() && !manifest.exists() {
                let encoded = wrote.encode();
                std::fs::write(&manifest, encoded.0.encode()).unwrap();
                std::fs::write(&body, encoded.1).unwrap();
            }
            let bytes = std::fs::read(manifest).unwrap();
            assert_eq!(bytes[0], version, "the format");
            let manifest = Manifest::decode(&bytes).unwrap();
            let body = Bytes::from(std::fs::read(body).unwrap());
            assert_eq!(Snapshot::decode(manifest, &body), Ok(wrote));
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (manifest, body) = full().encode();
        let encoded = manifest.encode();
        for at in 0..encoded.len() * 8 {
            let mut bytes = encoded.clone();
            bytes[at / 8] ^= 1 << (at % 8);
            assert!(Manifest::decode(&bytes).is_err(), "bit {at} of the manifest");
        }
        for at in 0..body.len() * 8 {
            let mut bytes = body.to_vec();
            bytes[at / 8] ^= 1 << (at % 8);
            let decoded = Snapshot::decode(manifest.clone(), &bytes.into());
            assert_eq!(decoded, Err(Damage::Hash), "bit {at} of the body");
        }
    }

    #[test]
    fn the_order_of_sessions_does_not_change_the_bytes() {
        let mut other = full();
        other.sessions.reverse();
        assert_ne!(other.sessions, full().sessions);
        assert_eq!(other.encode(), full().encode());
    }
}
