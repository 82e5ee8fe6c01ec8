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
