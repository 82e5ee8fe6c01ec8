//! Recorded traffic of many documents: what was accepted, batch by batch, as lines of JSON.
//!
//! ```text
//! {"format":"quire-recording","version":1}
//! {"doc":"notes","session":0,"at":1790000000000,"batch":{"t":"op","seq":1,"base":0,"op":["hi"]}}
//! ```
//! A document's lines are its revisions in order; sessions are numbers, because a session's id is
//! a secret. A name that ends in `.gz` is compressed.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::load::model::{Header, Line};
use crate::text::Operation;
use crate::types::{DocId, Revision, Seq, SessionId, Timestamp};
use crate::wire::{ClientMessage, Codec, Limits, decode_client, encode_client};

const FORMAT: &str = "quire-recording";
const VERSION: u32 = 1;

/// One revision of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which of the document's sessions wrote it, from 0.
    pub session: usize,
    /// When it was accepted.
    pub at: Timestamp,
    /// What it does to the revision before it.
    pub op: Operation,
}

/// The revisions of some documents, each from its first one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recording {
    docs: BTreeMap<DocId, Vec<Step>>,
    /// Documents that are left out: what is chosen of them is not every revision from the first.
    partial: BTreeSet<DocId>,
    sessions: HashMap<(DocId, SessionId), usize>,
    counts: HashMap<DocId, usize>,
    heads: HashMap<DocId, Revision>,
}

impl Recording {
    /// Returns the documents with their revisions.
    pub fn docs(&self) -> &BTreeMap<DocId, Vec<Step>> {
        &self.docs
    }

    /// Returns how many revisions there are.
    pub fn steps(&self) -> usize {
        self.docs.values().map(Vec::len).sum()
    }

    /// Returns the documents that are left out because some of their revisions are not there.
    pub fn partial(&self) -> &BTreeSet<DocId> {
        &self.partial
    }

    /// Adds the next revision of a document where it has all before it, and leaves the document
    /// out where one is missing: trimmed, not chosen, or unreadable.
    pub fn add_or_leave_out(
        &mut self,
        doc: &DocId,
        rev: Revision,
        from: (SessionId, Timestamp),
        op: Operation,
    ) {
        if !self.partial.contains(doc) && self.add(doc, rev, from, op).is_err() {
            self.docs.remove(doc);
            self.partial.insert(doc.clone());
        }
    }

    /// Adds the next revision of a document; one that changes nothing is left out, because no
    /// client sends one.
    ///
    /// # Errors
    /// Where revisions before it are missing.
    pub fn add(
        &mut self,
        doc: &DocId,
        rev: Revision,
        (session, at): (SessionId, Timestamp),
        op: Operation,
    ) -> anyhow::Result<()> {
        let steps = self.docs.entry(doc.clone()).or_default();
        let head = self.heads.entry(doc.clone()).or_default();
        if rev != head.next() {
            bail!(
                "{doc} goes on at revision {rev} after {head}: what came before was trimmed or not \
                 chosen; record documents from their first revision, or leave it out by --doc"
            );
        }
        *head = rev;
        if op.is_identity() {
            return Ok(());
        }
        let count = self.counts.entry(doc.clone()).or_default();
        let session = *self.sessions.entry((doc.clone(), session)).or_insert_with(|| {
            *count += 1;
            *count - 1
        });
        steps.push(Step { session, at, op });
        Ok(())
    }

    /// Writes everything to a file.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let cannot = || format!("cannot write {}", path.display());
        let file = BufWriter::new(File::create(path).with_context(cannot)?);
        if path.extension().is_some_and(|end| end == "gz") {
            let mut gzip = GzEncoder::new(file, Compression::default());
            self.write_to(&mut gzip).with_context(cannot)?;
            gzip.finish().and_then(|mut file| file.flush()).with_context(cannot)
        } else {
            let mut file = file;
            self.write_to(&mut file).and_then(|()| Ok(file.flush()?)).with_context(cannot)
        }
    }

    fn write_to(&self, out: &mut impl Write) -> anyhow::Result<()> {
        let header = Header { format: FORMAT.to_owned(), version: VERSION };
        writeln!(out, "{}", serde_json::to_string(&header)?)?;
        for (doc, steps) in &self.docs {
            for (base, Step { session, at, op }) in (0..).zip(steps) {
                let (seq, base, op) = (Seq(base + 1), Revision(base), op.clone());
                let batch = encode_client(Codec::Json, &ClientMessage::Op { seq, base, op });
                let batch = serde_json::from_slice(&batch)?;
                let line = Line { doc: doc.clone(), session: *session, at: *at, batch };
                writeln!(out, "{}", serde_json::to_string(&line)?)?;
            }
        }
        Ok(())
    }

    /// Reads a file.
    ///
    /// # Errors
    /// Where it cannot be read or is no recording; the message names the line.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot read the recording {}", path.display());
        let file = File::open(path).with_context(cannot)?;
        if path.extension().is_some_and(|end| end == "gz") {
            Self::read_from(BufReader::new(MultiGzDecoder::new(file))).with_context(cannot)
        } else {
            Self::read_from(BufReader::new(file)).with_context(cannot)
        }
    }

    fn read_from(from: impl BufRead) -> anyhow::Result<Self> {
        let mut lines = (1..).zip(from.lines());
        let first = lines.next().context("it is empty")?.1?;
        let header: Header = serde_json::from_str(&first).context("line 1 is no header")?;
        if header.format != FORMAT || header.version != VERSION {
            bail!("line 1 says {} {}, not {FORMAT} {VERSION}", header.format, header.version);
        }
        let limits = Limits { frame_bytes: usize::MAX, op_bytes: usize::MAX, ..Limits::default() };
        let mut recording = Self::default();
        for (number, line) in lines {
            let at_line = || format!("line {number}");
            let line: Line = serde_json::from_str(&line?).with_context(at_line)?;
            let batch = serde_json::to_vec(&line.batch)?;
            let batch = decode_client(Codec::Json, &batch, &limits);
            let Ok(ClientMessage::Op { base, op, .. }) = batch else {
                bail!("line {number} has no batch");
            };
            // Any id that is the session's own will do.
            let mut session = [0; 16];
            session[..8].copy_from_slice(&(line.session as u64).to_be_bytes());
            let session = (SessionId(session), line.at);
            recording.add(&line.doc, base.next(), session, op).with_context(at_line)?;
        }
        Ok(recording)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_is_written_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut recording = Recording::default();
        let doc: DocId = "notes".parse().unwrap();
        for rev in 1..=5_u8 {
            let session = SessionId([rev % 2; 16]);
            let op = Operation::builder().insert("é\r\n🦀").build();
            let at = Timestamp(1_000 + u64::from(rev));
            recording.add(&doc, Revision(rev.into()), (session, at), op).unwrap();
        }
        let other: DocId = "other".parse().unwrap();
        for rev in [1, 3, 4] {
            let op = Operation::builder().insert("x").build();
            let from = (SessionId([1; 16]), Timestamp(1));
            recording.add_or_leave_out(&other, Revision(rev), from, op);
        }
        assert_eq!(recording.docs().keys().collect::<Vec<_>>(), [&doc]);
        assert!(recording.partial().contains(&other));
        let gap = recording.add(
            &doc,
            Revision(9),
            (SessionId([1; 16]), Timestamp(1)),
            Operation::identity(),
        );
        assert!(gap.unwrap_err().to_string().contains("goes on at revision 9"));
        for name in ["r.jsonl", "r.jsonl.gz"] {
            let path = folder.path().join(name);
            recording.write(&path).unwrap();
            assert_eq!(Recording::read(&path).unwrap().docs(), recording.docs());
        }
        for (text, why) in [
            ("", "empty"),
            ("{}", "no header"),
            (r#"{"format":"quire-recording","version":2}"#, "says quire-recording 2"),
            ("{\"format\":\"quire-recording\",\"version\":1}\nx", "line 2"),
        ] {
            let path = folder.path().join("bad");
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", Recording::read(&path).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
