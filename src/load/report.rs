//! What a run measured: for a person and as JSON.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::Traffic;
use crate::load::Report;

/// What clients measured, added up.
#[derive(Debug)]
pub struct Measured {
    /// Edits that are durable: transactions of a trace, or keys.
    pub operations: u64,
    /// Batches that carried them.
    pub batches: u64,
    traffic: Traffic,
    latencies: Histogram<u64>,
}

impl Default for Measured {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(1, 600_000_000, 3);
        let latencies = latencies.expect("the bounds are in order: a microsecond to ten minutes");
        Self { operations: 0, batches: 0, traffic: Traffic::default(), latencies }
    }
}

impl Measured {
    /// Notes an acknowledgement.
    pub fn ack(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies.saturating_record(micros.max(1));
    }

    /// Notes what went over a client's connection.
    pub fn carried(&mut self, Traffic { sent, received }: Traffic) {
        self.traffic.sent += sent;
        self.traffic.received += received;
    }

    /// Adds what another client measured.
    pub fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.batches += other.batches;
        self.carried(other.traffic);
        self.latencies.add(&other.latencies).expect("both have the same bounds");
    }
}

impl Report {
    /// Sums a run up.
    pub fn new(
        name: &str,
        (docs, clients): (usize, usize),
        measured: &Measured,
        took: Duration,
        faults: Vec<String>,
    ) -> Self {
        let quantile = |q| measured.latencies.value_at_quantile(q) as f64 / 1_000.0;
        let seconds = took.as_secs_f64().max(1e-9);
        Self {
            name: name.to_owned(),
            docs,
            clients,
            operations: measured.operations,
            batches: measured.batches,
            seconds,
            operations_per_second: measured.operations as f64 / seconds,
            batches_per_second: measured.batches as f64 / seconds,
            sent_bytes: measured.traffic.sent,
            received_bytes: measured.traffic.received,
            ack_p50_ms: quantile(0.5),
            ack_p99_ms: quantile(0.99),
            ack_p999_ms: quantile(0.999),
            ack_max_ms: measured.latencies.max() as f64 / 1_000.0,
            faults,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, docs, clients, operations, batches, seconds, .. } = self;
        writeln!(f, "{name}: {docs} documents, {clients} clients")?;
        writeln!(
            f,
            "  {operations} operations in {batches} batches, {seconds:.2} s: {:.0}, {:.0} a second",
            self.operations_per_second, self.batches_per_second
        )?;
        writeln!(
            f,
            "  ack p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, max {:.2} ms",
            self.ack_p50_ms, self.ack_p99_ms, self.ack_p999_ms, self.ack_max_ms
        )?;
        writeln!(f, "  {} bytes sent, {} received", self.sent_bytes, self.received_bytes)?;
        if self.faults.is_empty() {
            return write!(f, "  every text is right, every batch is there once");
        }
        for fault in &self.faults {
            writeln!(f, "  WRONG: {fault}")?;
        }
        Ok(())
    }
}
