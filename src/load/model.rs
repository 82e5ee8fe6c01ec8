//! What the load tool reads and writes as JSON: recordings, documents of a server, reports.

use serde::{Deserialize, Serialize};

use crate::types::{DocId, Timestamp};

/// A recording as it is stored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recording {
    #[serde(default)]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) start_content: String,
    pub(crate) end_content: String,
    #[serde(default)]
    pub(crate) num_agents: usize,
    pub(crate) txns: Vec<Txn>,
}

/// A transaction as it is stored: patches of position, deleted and inserted characters.
#[derive(Deserialize)]
pub(crate) struct Txn {
    #[serde(default)]
    pub(crate) parents: Vec<usize>,
    #[serde(default)]
    pub(crate) agent: usize,
    pub(crate) patches: Vec<(u32, u32, String)>,
}

/// A document as its server tells it.
#[derive(Debug, Deserialize)]
pub(crate) struct Told {
    pub(crate) head: u64,
    pub(crate) text: String,
}

/// The outcome of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was run.
    pub name: String,
    /// How many documents.
    pub docs: usize,
    /// How many clients.
    pub clients: usize,
    /// Durable edits.
    pub operations: u64,
    /// Batches that carried them.
    pub batches: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Durable edits a second.
    pub operations_per_second: f64,
    /// Batches a second.
    pub batches_per_second: f64,
    /// Bytes of messages to the server.
    pub sent_bytes: u64,
    /// Bytes of messages from the server.
    pub received_bytes: u64,
    /// Milliseconds until half of the acknowledgements.
    pub ack_p50_ms: f64,
    /// Milliseconds until 99 % of them.
    pub ack_p99_ms: f64,
    /// Milliseconds until 99.9 % of them.
    pub ack_p999_ms: f64,
    /// Milliseconds until the last of them.
    pub ack_max_ms: f64,
    /// What the oracle found wrong; nothing is good.
    pub faults: Vec<String>,
}

/// Begins a recording.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Header {
    pub(crate) format: String,
    pub(crate) version: u32,
}

/// One revision of a recording.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) doc: DocId,
    pub(crate) session: usize,
    pub(crate) at: Timestamp,
    /// The batch as a client sends it.
    pub(crate) batch: serde_json::Value,
}
