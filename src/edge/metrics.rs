//! What is counted at the edge; no label names a document or a user.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};

use crate::edge::waiting::Waiting;

/// Counts what all sessions of a node do.
#[derive(Clone)]
pub struct Metrics {
    /// All that is counted on the node.
    registry: Registry,
    /// Sessions connected.
    pub sessions: IntGauge,
    /// Sessions sent away, by reason.
    pub closes: IntCounterVec,
    /// Sessions that followed a document which moved.
    pub moves: IntCounter,
    /// Times that a socket did not take its data and its client had to catch up.
    pub lagged: IntCounter,
    /// Batches over a rate.
    pub rate_limited: IntCounter,
    /// Caches that were told of a document's change.
    pub purges_sent: IntCounter,
    /// Times that a cache could not be told.
    pub purges_failed: IntCounter,
    /// Changes that a cache was not told of, after many tries.
    pub purges_given_up: IntCounter,
    /// Changes that a cache was not told of, because too many waited.
    pub purges_dropped: IntCounter,
    /// Documents of which a cache has still to be told.
    pub purges_waiting: IntGauge,
    /// Pages of public documents that were made.
    pub pages_made: IntCounter,
    /// Connections refused because there are too many.
    pub refused_connections: IntCounter,
    /// From a batch on the socket to its acknowledgement on the socket, in seconds.
    pub ack_sent: Histogram,
    /// Batches that wait for theirs: told to the other nodes, and not to Prometheus.
    pub waiting: Waiting,
}

impl Metrics {
    /// Registers the metrics of the edge.
    ///
    /// The last stage of an acknowledgement is counted with those of documents.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry, ack_sent: Histogram) -> Result<Self, prometheus::Error> {
        let purges = Opts::new("quire_edge_purges_total", "Changes told to caches, by outcome");
        let purges = IntCounterVec::new(purges, &["outcome"])?;
        registry.register(Box::new(purges.clone()))?;
        let closes = Opts::new("quire_edge_closes_total", "Sessions sent away, by reason");
        let metrics = Self {
            registry: registry.clone(),
            ack_sent,
            waiting: Waiting::default(),
            sessions: IntGauge::new("quire_edge_sessions", "Sessions connected")?,
            closes: IntCounterVec::new(closes, &["reason"])?,
            moves: IntCounter::new("quire_edge_moves_total", "Sessions that followed a document")?,
            lagged: IntCounter::new("quire_edge_lagged_total", "Slow sockets that caught up")?,
            rate_limited: IntCounter::new("quire_edge_rate_limited_total", "Batches over a rate")?,
            purges_sent: purges.with_label_values(&["sent"]),
            purges_failed: purges.with_label_values(&["failed"]),
            purges_given_up: purges.with_label_values(&["given-up"]),
            purges_dropped: purges.with_label_values(&["dropped"]),
            purges_waiting: IntGauge::new("quire_edge_purges_waiting", "Changes not told yet")?,
            pages_made: IntCounter::new("quire_edge_pages_made_total", "Public pages made")?,
            refused_connections: IntCounter::new(
                "quire_edge_refused_connections_total",
                "Connections over the limit",
            )?,
        };
        registry.register(Box::new(metrics.sessions.clone()))?;
        registry.register(Box::new(metrics.closes.clone()))?;
        registry.register(Box::new(metrics.moves.clone()))?;
        registry.register(Box::new(metrics.lagged.clone()))?;
        registry.register(Box::new(metrics.rate_limited.clone()))?;
        registry.register(Box::new(metrics.purges_waiting.clone()))?;
        registry.register(Box::new(metrics.pages_made.clone()))?;
        registry.register(Box::new(metrics.refused_connections.clone()))?;
        Ok(metrics)
    }

    /// Spells everything that is counted on the node in Prometheus' text format.
    ///
    /// # Errors
    /// Where a metric cannot be spelled.
    pub fn exposition(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
