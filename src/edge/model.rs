//! The bodies of the HTTP API, version 1; the only edge types that derive serde.

use serde::{Deserialize, Serialize};

/// An error (RFC 9457).
#[derive(Debug, Serialize)]
pub(crate) struct ProblemBody {
    pub(crate) title: String,
    pub(crate) status: u16,
    pub(crate) detail: String,
}

/// Which revision is asked for.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct AtRev {
    pub(crate) rev: Option<u64>,
}

/// Which revisions are asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct Listing {
    pub(crate) from: Option<u64>,
    pub(crate) limit: Option<usize>,
}

/// Between which revisions.
#[derive(Debug, Deserialize)]
pub(crate) struct Between {
    pub(crate) from: u64,
    pub(crate) to: Option<u64>,
}

/// A document's text.
#[derive(Debug, Serialize)]
pub(crate) struct Text {
    pub(crate) doc: String,
    pub(crate) rev: u64,
    pub(crate) head: u64,
    pub(crate) text: String,
}

/// A page of the history.
#[derive(Debug, Serialize)]
pub(crate) struct History {
    pub(crate) head: u64,
    pub(crate) revisions: Vec<RevisionRow>,
    pub(crate) versions: Vec<VersionRow>,
    pub(crate) next: Option<u64>,
}

/// One revision.
#[derive(Debug, Serialize)]
pub(crate) struct RevisionRow {
    pub(crate) rev: u64,
    pub(crate) author: String,
    pub(crate) at: String,
    pub(crate) participant: u32,
    pub(crate) base: u64,
    pub(crate) inserted: u64,
    pub(crate) deleted: u64,
}

/// One named version.
#[derive(Debug, Serialize)]
pub(crate) struct VersionRow {
    pub(crate) name: String,
    pub(crate) rev: u64,
    pub(crate) author: String,
    pub(crate) at: String,
}

/// Who wrote what.
#[derive(Debug, Serialize)]
pub(crate) struct BlameBody {
    pub(crate) rev: u64,
    pub(crate) spans: Vec<Span>,
}

/// A piece of text by one revision.
#[derive(Debug, Serialize)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) rev: Option<u64>,
    pub(crate) author: Option<String>,
    pub(crate) at: Option<String>,
}

/// What changed.
#[derive(Debug, Serialize)]
pub(crate) struct Difference {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) hunks: Vec<HunkRow>,
}

/// A piece of a difference.
#[derive(Debug, Serialize)]
pub(crate) struct HunkRow {
    pub(crate) kind: &'static str,
    pub(crate) text: String,
}

/// A whole text to be imported.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Import {
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) author: String,
}

/// A revision to go back to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restore {
    pub(crate) rev: u64,
    #[serde(default)]
    pub(crate) author: String,
}

/// A version to be named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NameVersion {
    pub(crate) name: String,
    pub(crate) rev: Option<u64>,
    #[serde(default)]
    pub(crate) author: String,
}

/// History to be removed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cut {
    pub(crate) before: u64,
    #[serde(default)]
    pub(crate) author: String,
}

/// Who asks, where nothing else is said.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct By {
    #[serde(default)]
    pub(crate) author: String,
}

/// The document's head after a change.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    pub(crate) rev: u64,
}

/// Where the history begins after a cut.
#[derive(Debug, Serialize)]
pub(crate) struct CutBody {
    pub(crate) base: u64,
}

/// What a verification found.
#[derive(Debug, Serialize)]
pub(crate) struct VerifyBody {
    pub(crate) rev: u64,
    pub(crate) text_hash: String,
    pub(crate) checkpoint_rev: Option<u64>,
    pub(crate) replayed: u64,
    pub(crate) equal: bool,
}

/// Who is signed in.
#[derive(Debug, Serialize)]
pub(crate) struct SignedIn {
    /// Whether everybody may do everything, and nobody has to sign in.
    pub(crate) open: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// Until when, at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<String>,
    /// For how long it may go unused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle_seconds: Option<u64>,
}

/// What opens one socket.
#[derive(Debug, Serialize)]
pub(crate) struct Ticket {
    pub(crate) ticket: String,
    /// For how long, in seconds.
    pub(crate) expires_in: u64,
}
