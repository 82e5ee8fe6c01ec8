//! What the HTTP interface is asked and answers, as `quire doc` needs it. Unknown fields pass by.

use serde::{Deserialize, Serialize};

use crate::types::{Author, ParticipantId, Revision};

/// A document's text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Text {
    pub(crate) doc: String,
    pub(crate) rev: Revision,
    pub(crate) head: Revision,
    pub(crate) text: String,
}

/// A document's text, as it is exported.
#[derive(Debug, Serialize)]
pub(crate) struct Exported {
    pub(crate) rev: Revision,
    pub(crate) text: String,
}

/// A page of a document's history; `next` is the first revision of the next page.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct History {
    pub(crate) head: Revision,
    pub(crate) revisions: Vec<RevisionRow>,
    #[serde(default)]
    pub(crate) versions: Vec<Version>,
    #[serde(default, skip_serializing)]
    pub(crate) next: Option<Revision>,
}

/// One revision.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RevisionRow {
    pub(crate) rev: Revision,
    pub(crate) author: String,
    pub(crate) at: String,
    pub(crate) participant: Option<ParticipantId>,
    pub(crate) base: Revision,
    pub(crate) inserted: u64,
    pub(crate) deleted: u64,
}

/// One named version.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) rev: Revision,
    pub(crate) author: String,
    pub(crate) at: String,
}

/// Who wrote what.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Blame {
    pub(crate) rev: Revision,
    pub(crate) spans: Vec<Span>,
    #[serde(default, skip_serializing)]
    pub(crate) next: Option<u64>,
}

/// A piece of text of one revision; older than the history where nothing is known.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) rev: Option<Revision>,
    pub(crate) author: Option<String>,
    pub(crate) at: Option<String>,
}

/// What changed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Diff {
    pub(crate) from: Revision,
    pub(crate) to: Revision,
    #[serde(default)]
    pub(crate) op: serde_json::Value,
    pub(crate) hunks: Vec<Hunk>,
    #[serde(default, skip_serializing)]
    pub(crate) next: Option<u64>,
}

/// A piece of text that stayed, came or went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Hunk {
    pub(crate) kind: HunkKind,
    pub(crate) text: String,
}

/// Tells what became of a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HunkKind {
    Same,
    Inserted,
    Deleted,
}

/// The revision that a change made.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub(crate) rev: Revision,
}

/// The first revision that a cut kept.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WasCut {
    pub(crate) base: Revision,
}

/// What became of an erasure, and the proof of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Erasure {
    pub(crate) complete: bool,
    pub(crate) waits_for: Vec<String>,
    #[serde(flatten)]
    pub(crate) proof: serde_json::Map<String, serde_json::Value>,
}

/// What a replay of the records gave.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Verified {
    pub(crate) rev: Revision,
    pub(crate) text_hash: serde_json::Value,
    pub(crate) replayed: serde_json::Value,
    pub(crate) equal: bool,
}

/// Why something was refused (`application/problem+json`).
#[derive(Debug, Deserialize)]
pub(crate) struct Problem {
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) detail: String,
}

/// Asks that the text become this.
#[derive(Debug, Serialize)]
pub(crate) struct Import<'a> {
    pub(crate) text: &'a str,
    pub(crate) author: &'a Author,
}

/// Asks for the text of an earlier revision.
#[derive(Debug, Serialize)]
pub(crate) struct Restore<'a> {
    pub(crate) rev: Revision,
    pub(crate) author: &'a Author,
}

/// Asks for a named version.
#[derive(Debug, Serialize)]
pub(crate) struct Name<'a> {
    pub(crate) name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rev: Option<Revision>,
    pub(crate) author: &'a Author,
}

/// Asks that history before a revision be removed.
#[derive(Debug, Serialize)]
pub(crate) struct Cut<'a> {
    pub(crate) before: Revision,
    pub(crate) author: &'a Author,
}
