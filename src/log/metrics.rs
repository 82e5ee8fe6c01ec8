//! What a log tells about itself: records, bytes, commits, and failures.

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry, exponential_buckets};

/// Counts what a log writes; the same set whichever log it is.
#[derive(Debug, Clone)]
pub struct Metrics {
    pub(in crate::log) records: IntCounter,
    pub(in crate::log) bytes: IntCounter,
    pub(in crate::log) refused: IntCounter,
    pub(in crate::log) in_doubt: IntCounter,
    pub(in crate::log) commit_seconds: Histogram,
}

impl Metrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// If the registry has them already.
    pub fn register(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("quire_log_{name}_total"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let help = "Time of a durable commit of the log, which all that waits shares";
        // 50 us to 3.3 s.
        let buckets = exponential_buckets(0.000_05, 2.0, 17)?;
        let options = HistogramOpts::new("quire_log_commit_seconds", help).buckets(buckets);
        let commit_seconds = Histogram::with_opts(options)?;
        registry.register(Box::new(commit_seconds.clone()))?;
        Ok(Self {
            records: counter("appended_records", "Records written durably")?,
            bytes: counter("appended_bytes", "Bytes of records written durably")?,
            refused: counter("refused_records", "Records that were not written")?,
            in_doubt: counter("in_doubt_records", "Records that may have been written")?,
            commit_seconds,
        })
    }
}
