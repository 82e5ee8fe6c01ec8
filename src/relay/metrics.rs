//! What is counted of links between nodes; no label names a document, a user or a node.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Counts what all links of a node do.
#[derive(Clone)]
pub struct Metrics {
    /// Links that other nodes have made to this one.
    pub links_in: IntGauge,
    /// Links that this node has made to others.
    pub links_out: IntGauge,
    /// Links that ended.
    pub lost: IntCounter,
    /// Connections not taken, by reason.
    pub refused: IntCounterVec,
    /// Messages of a kind that a newer peer knows.
    pub unknown: IntCounter,
    /// Copies on other nodes of documents here.
    pub subscriptions: IntGauge,
    /// Subscriptions ended because their link does not take its data.
    pub overflows: IntCounter,
    /// Updates encoded for links: once each, however many links there are.
    pub encoded: IntCounter,
    /// Updates sent: once a link, however many clients are behind it.
    pub updates: IntCounter,
    /// Copies here of documents on other nodes.
    pub copies: IntGauge,
    /// Subscriptions made, by what the copy got.
    pub subscribed: IntCounterVec,
    /// Revisions that an owner did not have any more, or told out of order: never in a correct
    /// cluster.
    pub broken: IntCounter,
    /// HTTP requests carried to other nodes.
    pub carried: IntCounter,
    /// Bytes of messages that came over links, with their lengths.
    pub received: IntCounter,
    /// The same that were sent.
    pub sent: IntCounter,
}

impl Metrics {
    /// Registers the metrics of links.
    ///
    /// # Errors
    /// Where a name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGauge, prometheus::Error> {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let count = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let count = IntCounter::new(name, help)?;
            registry.register(Box::new(count.clone()))?;
            Ok(count)
        };
        let by = |name: &str, help: &str, label: &str| -> Result<_, prometheus::Error> {
            let counts = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counts.clone()))?;
            Ok(counts)
        };
        let help = "Bytes of messages on links, with their lengths";
        let bytes = by("quire_relay_bytes_total", help, "direction")?;
        Ok(Self {
            links_in: gauge("quire_relay_links_in", "Links made by other nodes")?,
            links_out: gauge("quire_relay_links_out", "Links made to other nodes")?,
            lost: count("quire_relay_links_lost_total", "Links that ended")?,
            refused: by("quire_relay_refused_total", "Connections not taken", "reason")?,
            unknown: count("quire_relay_unknown_total", "Messages of an unknown kind")?,
            subscriptions: gauge("quire_relay_subscriptions", "Copies on other nodes")?,
            overflows: count("quire_relay_overflows_total", "Subscriptions of slow links")?,
            encoded: count("quire_relay_encoded_total", "Updates encoded for links")?,
            updates: count("quire_relay_updates_total", "Updates sent over links")?,
            copies: gauge("quire_relay_copies", "Copies of documents on other nodes")?,
            subscribed: by("quire_relay_subscribed_total", "Subscriptions made", "content")?,
            broken: count("quire_relay_broken_total", "Streams of owners that did not go on")?,
            carried: count("quire_relay_carried_total", "Requests carried to other nodes")?,
            received: bytes.with_label_values(&["in"]),
            sent: bytes.with_label_values(&["out"]),
        })
    }
}
