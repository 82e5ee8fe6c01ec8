//! What is counted of documents; no label names a document or a user.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry,
};

/// Counts what all documents of a node do.
#[derive(Clone)]
pub struct Metrics {
    /// Documents in memory.
    pub open: IntGauge,
    /// Batches and events accepted.
    pub accepted: IntCounter,
    /// Batches refused.
    pub refused: IntCounter,
    /// Batches whose base the window did not reach.
    pub forks: IntCounter,
    /// Searches of the history for sessions that came back.
    pub recalls: IntCounter,
    /// Checkpoints taken, by outcome.
    pub checkpoints: IntCounterVec,
    /// Bytes written to checkpoints.
    pub checkpoint_bytes: IntCounter,
    /// From the socket to the place in the order.
    pub ack_ordered: Histogram,
    /// From the hand-over to the log to its answer, of a record.
    pub ack_logged: Histogram,
    /// From the socket to proven accepted.
    pub ack_accepted: Histogram,
    /// From the socket to the acknowledgement written to the socket.
    pub ack_sent: Histogram,
}

impl Metrics {
    /// Registers the metrics of documents.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let count = |name: &str, help: &str| IntCounter::new(name, help);
        let buckets = prometheus::exponential_buckets(0.000_05, 2.0, 18)?;
        let opts = HistogramOpts::new(
            "quire_doc_ack_seconds",
            "Time from a batch's arrival to a stage of its acknowledgement",
        );
        let stages = HistogramVec::new(opts.buckets(buckets), &["stage"])?;
        let outcomes = Opts::new("quire_doc_checkpoints_total", "Checkpoints by outcome");
        let metrics = Self {
            open: IntGauge::new("quire_doc_open", "Documents in memory")?,
            accepted: count("quire_doc_accepted_total", "Batches and events accepted")?,
            refused: count("quire_doc_refused_total", "Batches refused")?,
            forks: count("quire_doc_forks_total", "Batches from before the window")?,
            recalls: count("quire_doc_recalls_total", "Searches for sessions that came back")?,
            checkpoints: IntCounterVec::new(outcomes, &["outcome"])?,
            checkpoint_bytes: count(
                "quire_doc_checkpoint_bytes_total",
                "Bytes written to checkpoints",
            )?,
            ack_ordered: stages.with_label_values(&["ordered"]),
            ack_logged: stages.with_label_values(&["logged"]),
            ack_accepted: stages.with_label_values(&["accepted"]),
            ack_sent: stages.with_label_values(&["sent"]),
        };
        registry.register(Box::new(metrics.open.clone()))?;
        registry.register(Box::new(metrics.accepted.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.forks.clone()))?;
        registry.register(Box::new(metrics.recalls.clone()))?;
        registry.register(Box::new(metrics.checkpoints.clone()))?;
        registry.register(Box::new(metrics.checkpoint_bytes.clone()))?;
        registry.register(Box::new(stages))?;
        Ok(metrics)
    }
}
