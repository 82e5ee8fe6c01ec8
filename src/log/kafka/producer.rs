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
            let error = match delivery.await {
                Ok(Ok(delivered)) => {
                    if let Ok(offset) = u64::try_from(delivered.offset) {
                        metrics.commit_seconds.observe(began.elapsed().as_secs_f64());
                        metrics.records.inc();
                        metrics.bytes.inc_by(bytes as u64);
                        return Ok(Offset(offset));
                    }
                    metrics.in_doubt.inc();
                    return Err(AppendError::Unknown { source: Arc::new(NoOffset) });
                }
                Ok(Err((error, _))) => error,
                Err(_) => KafkaError::Canceled,
            };
            if is_fatal(&error) || producer.client().fatal_error().is_some() {
                renewal.renew(&producer);
            }
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    metrics.refused.inc();
                    let reason = Refusal::TooLarge { bytes, bytes_max: RECORD_BYTES_MAX };
                    Err(AppendError::NotWritten { reason })
                }
                // Even "too few replicas" may come after it was written, and what is taken out of
                // the queue may have been sent before.
                _ => {
                    metrics.in_doubt.inc();
                    Err(AppendError::Unknown { source: Arc::new(error) })
                }
            }
        }
        .boxed()
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
