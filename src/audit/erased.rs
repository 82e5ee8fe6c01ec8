//! Whether the history of a document before a revision is gone: an own reading of log and store,
//! which shares nothing with what erases.
//!
//! Every record of the document's shard is read, also what does not count, and every manifest and
//! blob of the document, also what nothing names. A text is looked for in the bytes of all of them,
//! and in what they say when they are unpacked: the text that a segment begins and ends with, and
//! all that was inserted.

use std::fmt;

use bytes::Bytes;

use crate::audit::Error;
use crate::audit::model::{Erasure, Trace};
use crate::checkpoint::{BlobId, BlobKind, Manifest, Snapshot, Store, StoredManifest, load_blob};
use crate::crdt::{DecodeError, Segment};
use crate::log::{EventKind, Log, ReadError, Record, Stored};
use crate::task::Tasks;
use crate::text::{Component, Operation};
use crate::types::{DocId, Revision};

/// How much of the log is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// More manifests than any document has.
const MANIFESTS_MAX: usize = 4_096;

/// After so many chunks that are missing there are none: they are stored up to eight at a time.
const MISSING_MAX: u32 = 16;

/// What must be gone.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Of which document.
    pub doc: DocId,
    /// The first revision that may be there.
    pub before: Revision,
    /// A text that must be nowhere; in the newest text neither.
    pub text: Option<String>,
}

/// Looks for what must be gone, everywhere.
///
/// # Errors
/// Where something does not answer. What is found is no error.
pub async fn erased(log: &dyn Log, store: &dyn Store, wanted: Wanted) -> Result<Erasure, Error> {
    let erasure = Erasure {
        clean: false,
        doc: wanted.doc.clone(),
        before: wanted.before,
        records: 0,
        manifests: 0,
        blobs: 0,
        files: 0,
        found: Vec::new(),
    };
    let mut search = Search { wanted, erasure };
    search.log(log).await?;
    search.manifests(store).await?;
    search.blobs(store).await?;
    search.erasure.clean = search.erasure.found.is_empty();
    Ok(search.erasure)
}

/// Tells whether bytes hold a text.
pub fn holds(bytes: &[u8], text: &str) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

struct Search {
    wanted: Wanted,
    erasure: Erasure,
}

impl Search {
    fn found(&mut self, place: impl fmt::Display, what: impl fmt::Display) {
        let (place, what) = (place.to_string(), what.to_string());
        self.erasure.found.push(Trace { place, what });
    }

    fn text(&mut self, place: impl fmt::Display, bytes: &[u8]) {
        if self.wanted.text.as_ref().is_some_and(|text| holds(bytes, text)) {
            self.found(place, "the text");
        }
    }

    fn inserted(&mut self, place: impl fmt::Display, op: &Operation) {
        for component in op.components() {
            if let Component::Insert(text) = component {
                self.text(&place, text.as_bytes());
            }
        }
    }

    async fn log(&mut self, log: &dyn Log) -> Result<(), Error> {
        let shard = self.wanted.doc.shard(log.shards());
        let marks = log.marks(shard).await?;
        let mut next = marks.low;
        while next < marks.high {
            let batch = log.read(shard, next, READ_BYTES).await?;
            if batch.records.is_empty() {
                return Err(ReadError::Beyond { offset: marks.high, high: next }.into());
            }
            for stored in &batch.records {
                self.record(stored);
            }
            next = batch.next;
        }
        Ok(())
    }

    fn record(&mut self, stored: &Stored) {
        self.erasure.records += 1;
        let place = format!("the record at {}", stored.offset);
        let record = match Record::decode(&stored.bytes) {
            Ok(record) => record,
            Err(error) => {
                self.found(&place, format_args!("whose it is is not known: {error}"));
                return self.text(&place, &stored.bytes);
            }
        };
        if record.doc() != Some(&self.wanted.doc) {
            return;
        }
        self.text(&place, &stored.bytes);
        match record {
            Record::Frame(frame) => {
                let first = frame.base_rev.next();
                if first <= self.wanted.before {
                    self.found(&place, format_args!("a frame from revision {first} on"));
                }
                frame.entries.iter().for_each(|entry| self.inserted(&place, &entry.op));
            }
            Record::Event(event) => {
                if let EventKind::VersionNamed { rev, .. } = event.kind
                    && rev < self.wanted.before
                {
                    self.found(&place, format_args!("a name of revision {rev}"));
                }
            }
            Record::Claim(_) | Record::Release(_) => {}
        }
    }

    async fn manifests(&mut self, store: &dyn Store) -> Result<(), Error> {
        let before = self.wanted.before;
        for StoredManifest { id, bytes } in store.manifests(&self.wanted.doc, MANIFESTS_MAX).await?
        {
            self.erasure.manifests += 1;
            let place = format!("the manifest of revision {} at {}", id.revision, id.offset);
            self.text(&place, &bytes);
            let manifest = match Manifest::decode(&bytes) {
                Ok(manifest) => manifest,
                Err(error) => {
                    self.found(&place, format_args!("it cannot be read: {error}"));
                    continue;
                }
            };
            if manifest.cut < before {
                self.found(&place, format_args!("a history from revision {} on", manifest.cut));
            }
            for segment in manifest.sealed.iter().filter(|segment| segment.base < before) {
                self.found(&place, format_args!("a segment from revision {} on", segment.base));
            }
            for version in manifest.versions.iter().filter(|version| version.rev < before) {
                self.found(&place, format_args!("a name of revision {}", version.rev));
            }
        }
        Ok(())
    }

    async fn blobs(&mut self, store: &dyn Store) -> Result<(), Error> {
        for blob in store.blobs(&self.wanted.doc).await? {
            self.erasure.blobs += 1;
            self.chunks(store, &blob).await?;
            let bytes = match load_blob(store, &blob).await? {
                Ok(bytes) => bytes,
                Err(damage) => {
                    self.found(&blob, format_args!("it cannot be read: {damage}"));
                    continue;
                }
            };
            match blob.kind {
                BlobKind::Segment => self.segment(&blob, bytes).await,
                BlobKind::Body => match Snapshot::decode_body(&blob, &bytes) {
                    Ok(snapshot) => self.body(&blob, snapshot).await,
                    Err(damage) => self.found(&blob, format_args!("it cannot be read: {damage}")),
                },
            }
        }
        Ok(())
    }

    /// Looks for the text in chunks by themselves: not all of a blob need be there.
    async fn chunks(&mut self, store: &dyn Store, blob: &BlobId) -> Result<(), Error> {
        let (mut index, mut missing) = (0, 0);
        while missing < MISSING_MAX {
            match store.chunk(blob, index).await? {
                Some(chunk) => {
                    missing = 0;
                    self.text(blob, &chunk);
                }
                None => missing += 1,
            }
            index += 1;
        }
        Ok(())
    }

    async fn body(&mut self, blob: &BlobId, snapshot: Snapshot) {
        let rows = snapshot.window.len() as u64;
        let first = Revision(snapshot.revision.0.saturating_sub(rows));
        if rows > 0 && first < self.wanted.before {
            self.found(blob, format_args!("changes from revision {} on", first.next()));
        }
        snapshot.window.iter().for_each(|row| self.inserted(blob, &row.op));
        self.segment(blob, snapshot.live).await;
    }

    async fn segment(&mut self, blob: &BlobId, bytes: Bytes) {
        let decoded = Tasks::offload(move || {
            let segment = Segment::decode(&bytes)?;
            let all = segment.base().next()..=segment.head();
            let operations = segment.operations(all);
            Ok::<_, DecodeError>((segment, operations))
        });
        let (segment, operations) = match decoded.await {
            Ok(decoded) => decoded,
            Err(error) => return self.found(blob, format_args!("it cannot be read: {error}")),
        };
        if segment.base() < self.wanted.before {
            self.found(blob, format_args!("a history from revision {} on", segment.base()));
        }
        let texts = [segment.text_at(segment.base()), Some(segment.text())];
        for text in texts.into_iter().flatten() {
            self.text(blob, text.as_bytes());
        }
        operations.iter().for_each(|(_, op)| self.inserted(blob, op));
    }
}
