//! Appending: one idempotent producer for all shards, and what its reports mean.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _};
use tokio::time::Instant;

use crate::log::codec::RECORD_BYTES_MAX;
use crate::log::kafka::error::NoOffset;
use crate::log::kafka::quiet::Quiet;
use crate::log::kafka::settings::Options;
use crate::log::{AppendError, Appended, Metrics, Refusal};
use crate::task::Tasks;
use crate::types::{Offset, ShardId};

/// Appends to the partitions of one topic.
pub(crate) struct Producer {
    topic: String,
    config: ClientConfig,
    queue_bytes_max: usize,
    flush_max: Duration,
    current: Arc<Mutex<FutureProducer<Quiet>>>,
    metrics: Metrics,
}

impl Producer {
    pub(crate) fn new(options: &Options, metrics: Metrics) -> Result<Self, KafkaError> {
        let config = options.producer();
        Ok(Self {
            topic: options.topic.clone(),
            current: Arc::new(Mutex::new(config.create_with_context(Quiet)?)),
            config,
            queue_bytes_max: options.config.queue_bytes.as_u64() as usize,
            flush_max: options.config.append_timeout + Duration::from_secs(1),
            metrics,
        })
    }

    /// Puts a record behind those before it.
    pub(crate) fn append(&self, shard: ShardId, record: &Bytes) -> Appended {
        let partition = i32::try_from(shard.0).expect("a topic's partitions fit an i32");
        let message: FutureRecord<'_, (), [u8]> =
            FutureRecord::to(&self.topic).partition(partition).payload(record);
        let producer = self.current.lock().clone();
        match producer.send_result(message) {
            Ok(delivery) => self.report(producer, delivery, record.len()),
            Err((error, _)) => {
                let refusal = self.never_sent(&error, record.len());
                if is_fatal(&error) {
                    self.renewal().renew(&producer);
                }
                self.refuse(refusal)
            }
        }
    }

    /// Answers that a record was not written.
    pub(crate) fn refuse(&self, reason: Refusal) -> Appended {
        self.metrics.refused.inc();
        std::future::ready(Err(AppendError::NotWritten { reason })).boxed()
    }

    /// Waits until everything appended has its outcome.
    pub(crate) async fn flush(&self) {
        let (producer, most) = (self.current.lock().clone(), self.flush_max);
        if let Err(reason) = Tasks::offload(move || producer.flush(most)).await {
            tracing::warn!(%reason, "not every record reached Kafka before the log was closed");
        }
    }

    fn report(
        &self,
        producer: FutureProducer<Quiet>,
        delivery: DeliveryFuture,
        bytes: usize,
    ) -> Appended {
        let (metrics, renewal, began) = (self.metrics.clone(), self.renewal(), Instant::now());
        async move {
            let told = match delivery.await {
                Ok(Ok(delivered)) => Ok(delivered.offset),
                Ok(Err((error, _))) => Err(error),
                Err(_) => Err(KafkaError::Canceled),
            };
            if told.as_ref().is_err_and(is_fatal) || producer.client().fatal_error().is_some() {
                renewal.renew(&producer);
            }
            let outcome = outcome(told, bytes);
            match &outcome {
                Ok(_) => {
                    metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
                    metrics.records.inc();
                    metrics.bytes.inc_by(bytes as u64);
                }
                Err(AppendError::NotWritten { .. }) => metrics.refused.inc(),
                Err(AppendError::Unknown { .. } | AppendError::Fenced { .. }) => {
                    metrics.in_doubt.inc();
                }
            }
            outcome
        }
        .boxed()
    }

    /// Breaks the current producer as a fatal error does, for tests.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn break_for_good(&self) {
        crate::log::kafka::fatal::fail(self.current.lock().client());
    }

    /// Tells why a record never reached the queue.
    fn never_sent(&self, error: &KafkaError, bytes: usize) -> Refusal {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Refusal::Full { bytes_max: self.queue_bytes_max },
            Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
                Refusal::TooLarge { bytes, bytes_max: RECORD_BYTES_MAX }
            }
            _ => {
                tracing::warn!(reason = %error, "Kafka's client did not take a record");
                Refusal::Lost
            }
        }
    }

    fn renewal(&self) -> Renewal {
        Renewal { config: self.config.clone(), current: Arc::clone(&self.current) }
    }
}

/// Tells what a delivery report says of a record of so many bytes.
fn outcome(told: Result<i64, KafkaError>, bytes: usize) -> Result<Offset, AppendError> {
    let error = match told.map(u64::try_from) {
        Ok(Ok(offset)) => return Ok(Offset(offset)),
        Ok(Err(_)) => return Err(AppendError::Unknown { source: Arc::new(NoOffset) }),
        Err(error) => error,
    };
    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) {
        let reason = Refusal::TooLarge { bytes, bytes_max: RECORD_BYTES_MAX };
        return Err(AppendError::NotWritten { reason });
    }
    // Even "too few replicas" may come after it was written, and what is taken out of the queue
    // may have been sent before.
    Err(AppendError::Unknown { source: Arc::new(error) })
}

/// Replaces a producer that cannot go on: after a fatal error it refuses everything for ever.
struct Renewal {
    config: ClientConfig,
    current: Arc<Mutex<FutureProducer<Quiet>>>,
}

impl Renewal {
    /// Replaces `failed`, unless that was done already.
    fn renew(&self, failed: &FutureProducer<Quiet>) {
        let mut current = self.current.lock();
        if current.client().native_ptr() != failed.client().native_ptr() {
            return;
        }
        match self.config.create_with_context(Quiet) {
            Ok(producer) => {
                tracing::warn!("Kafka's producer failed for good, a new one takes its place");
                *current = producer;
            }
            Err(reason) => tracing::error!(%reason, "no new producer for Kafka could be made"),
        }
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::types::RDKafkaApiKey;

    use super::*;
    use crate::log::kafka::Config;

    #[test]
    fn only_an_offset_is_a_success_and_only_a_record_too_large_is_surely_not_written() {
        assert_eq!(outcome(Ok(7), 1).ok(), Some(Offset(7)));
        // What the client says where the broker told no offset.
        let without = outcome(Ok(-1001), 1);
        assert!(matches!(without, Err(AppendError::Unknown { .. })), "{without:?}");
        let failed = |code| outcome(Err(KafkaError::MessageProduction(code)), 1);
        let large = failed(RDKafkaErrorCode::MessageSizeTooLarge);
        assert!(matches!(large, Err(AppendError::NotWritten { .. })), "{large:?}");
        for code in [
            RDKafkaErrorCode::NotEnoughReplicas,
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::PurgeQueue,
            RDKafkaErrorCode::PurgeInflight,
            RDKafkaErrorCode::Fatal,
        ] {
            let unknown = failed(code);
            assert!(matches!(unknown, Err(AppendError::Unknown { .. })), "{code:?}: {unknown:?}");
        }
        let canceled = outcome(Err(KafkaError::Canceled), 1);
        assert!(matches!(canceled, Err(AppendError::Unknown { .. })), "{canceled:?}");
    }

    /// Kafka's own mock of brokers: it fails where it is told to.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn too_few_replicas_for_a_while_is_no_error_and_for_long_is_an_unknown_outcome() {
        let brokers = MockCluster::new(1).unwrap();
        brokers.create_topic("t", 1, 1).unwrap();
        let config = Config { append_timeout: Duration::from_secs(2), ..Config::default() };
        let options = Options::new(vec![brokers.bootstrap_servers()], "t", None, &config).unwrap();
        let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
        let producer = Producer::new(&options, metrics).unwrap();
        let append = || producer.append(ShardId(0), &Bytes::from_static(b"record"));
        assert_eq!(append().await.ok(), Some(Offset(0)));
        let errors = |count| {
            vec![rdkafka::types::RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS; count]
        };
        brokers.request_errors(RDKafkaApiKey::Produce, &errors(3));
        assert_eq!(append().await.ok(), Some(Offset(1)));
        brokers.request_errors(RDKafkaApiKey::Produce, &errors(1_000));
        let failed = append().await;
        assert!(matches!(failed, Err(AppendError::Unknown { .. })), "{failed:?}");
        brokers.clear_request_errors(RDKafkaApiKey::Produce);
        while append().await.is_err() {}
    }
}
