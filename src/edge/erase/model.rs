//! The proof of an erasure, as it is answered.

use serde::Serialize;
use utoipa::ToSchema;

/// What is gone, what is left, and what still may hold bytes of what is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Erasure {
    pub(crate) doc: String,
    /// The first revision that is kept.
    pub(crate) before: u64,
    /// Whether log and checkpoints tell nothing of what was before.
    pub(crate) complete: bool,
    /// What it waits for where it is not: it goes on when it is asked again.
    pub(crate) waits_for: Vec<String>,
    pub(crate) log: InLog,
    pub(crate) checkpoints: InStore,
    /// What other nodes keep, and until when.
    pub(crate) copies: &'static str,
    /// What no node of this cluster reaches.
    pub(crate) elsewhere: &'static str,
}

/// The log, all of which was read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InLog {
    pub(crate) id: String,
    pub(crate) shard: u32,
    /// The first record that can be read.
    pub(crate) start: u64,
    /// The one after the last.
    pub(crate) end: u64,
    /// Where the cut is; nowhere where it was trimmed, too.
    pub(crate) cut: Option<u64>,
    /// Where else bytes may be, and until when.
    pub(crate) may_hold: Option<&'static str>,
}

/// The checkpoints of the document.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InStore {
    pub(crate) left: Vec<Left>,
    /// What was removed by this request.
    pub(crate) removed: Vec<String>,
    /// Where else bytes may be, and until when.
    pub(crate) may_hold: Option<&'static str>,
}

/// A checkpoint that is left.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Left {
    pub(crate) rev: u64,
    pub(crate) offset: u64,
    /// Where its history begins.
    pub(crate) cut: u64,
    pub(crate) blobs: Vec<String>,
}
