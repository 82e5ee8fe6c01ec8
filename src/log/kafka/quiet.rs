//! What Kafka's client says by itself: passing failures of a connection are no errors of the log.

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Logs what the client says at the level that it deserves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // Connections that fail are tried again; what that means for records is told by their
        // outcomes.
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, message, "Kafka's client");
            }
            _ => tracing::debug!(facility, message, "Kafka's client"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            // The end of a partition is an answer to whoever reads.
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            Some(RDKafkaErrorCode::Fatal) => tracing::error!(%error, reason, "Kafka's client"),
            _ => tracing::debug!(%error, reason, "Kafka's client"),
        }
    }
}

impl ConsumerContext for Quiet {}
