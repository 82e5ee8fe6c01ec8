//! What is counted of those who want to come in; no label names anybody.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Counts what was let in and what was refused.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Tokens that were taken.
    pub accepted: IntCounter,
    /// What was refused, by reason.
    pub refused: IntCounterVec,
    /// Fetches of an issuer's keys, by outcome.
    pub fetches: IntCounterVec,
}

impl Metrics {
    /// Registers the metrics of authentication.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let refused = Opts::new("quire_auth_refused_total", "Credentials refused, by reason");
        let fetches = Opts::new("quire_auth_key_fetches_total", "Fetches of keys, by outcome");
        let metrics = Self {
            accepted: IntCounter::new("quire_auth_accepted_total", "Tokens taken")?,
            refused: IntCounterVec::new(refused, &["reason"])?,
            fetches: IntCounterVec::new(fetches, &["outcome"])?,
        };
        registry.register(Box::new(metrics.accepted.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        registry.register(Box::new(metrics.fetches.clone()))?;
        Ok(metrics)
    }

    /// Counts a refusal under its reason, which is one of a closed set.
    pub fn refuse(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }

    pub(crate) fn fetched(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "failed" };
        self.fetches.with_label_values(&[outcome]).inc();
    }
}
