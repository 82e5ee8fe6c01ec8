//! What is counted of shards.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::shard::claim::Claimed;

/// Counts what all shards of a node do.
#[derive(Clone)]
pub struct Metrics {
    /// Records accepted.
    pub accepted: IntCounter,
    /// Bytes handed to the log.
    pub appended_bytes: IntCounter,
    /// Claims on top of the own epoch, after an outcome that was not known.
    pub reclaims: IntCounter,
    /// Claims that this node has made, and that count.
    pub claims: IntCounter,
    /// Records that were void when a claim read them.
    pub void: IntCounter,
    /// Moves from this node, by how they ended.
    pub moves: IntCounterVec,
    /// Claims of others that took a shard away.
    pub fenced: IntCounter,
    /// Documents that failed and were taken down.
    pub restarts: IntCounter,
    /// Records that could not be read and were skipped.
    pub unreadable: IntCounter,
    /// Bytes of records that no checkpoint covers.
    pub tail_bytes: IntGauge,
    /// Shards that the node serves.
    pub owned: IntGauge,
    /// Shards whose log has lost records, so that they can only be read.
    pub lost: IntGauge,
}

impl Metrics {
    /// Counts a claim, and what it has read.
    pub(crate) fn claimed(&self, claimed: &Claimed) {
        self.claims.inc();
        self.unreadable.inc_by(claimed.unreadable);
        self.void.inc_by(claimed.void);
    }

    /// Registers the metrics of shards.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let moves = Opts::new("quire_cluster_moves_total", "Moves from this node, by their end");
        let moves = IntCounterVec::new(moves, &["outcome"])?;
        registry.register(Box::new(moves.clone()))?;
        let uncovered = "Bytes of records that no checkpoint covers";
        Ok(Self {
            tail_bytes: gauge("quire_shard_tail_bytes", uncovered)?,
            owned: gauge("quire_shard_owned", "Shards that the node serves")?,
            lost: gauge("quire_shard_lost", "Shards whose log has lost records: read-only")?,
            unreadable: counter("quire_shard_unreadable_total", "Records that cannot be read")?,
            accepted: counter("quire_shard_records_accepted_total", "Records accepted")?,
            appended_bytes: counter("quire_shard_appended_bytes_total", "Bytes handed to the log")?,
            reclaims: counter(
                "quire_shard_reclaims_total",
                "Claims after an outcome that was not known",
            )?,
            claims: counter("quire_shard_claims_total", "Claims of this node that count")?,
            void: counter("quire_shard_void_total", "Void records that claims have read")?,
            moves,
            fenced: counter("quire_shard_fenced_total", "Claims of others")?,
            restarts: counter("quire_shard_document_failures_total", "Documents that failed")?,
        })
    }
}
