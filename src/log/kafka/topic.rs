//! The log itself: appends by the producer, reads by the readers, removal by the admin client.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::admin::AdminOptions;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as Position, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use crate::log::codec::RECORD_BYTES_MAX;
use crate::log::kafka::check::{Admin, ask_id, check};
use crate::log::kafka::error::OpenError;
use crate::log::kafka::producer::Producer;
use crate::log::kafka::quiet::Quiet;
use crate::log::kafka::reader::{ASKED_MAX, Readers, learn_leaders};
use crate::log::kafka::settings::Options;
use crate::log::kafka::topic_id::Told;
use crate::log::kafka::waiter::Waiter;
use crate::log::{Appended, Batch, Log, Marks, Metrics, ReadError, Refusal, Stored};
use crate::task::Tasks;
use crate::types::{LogId, Offset, ShardId};

/// How long a removal may take.
const TRIM_MAX: Duration = Duration::from_secs(30);

/// Where the bytes of records are that were removed.
const IN_SEGMENTS: &str = "nobody can read below the start; the brokers remove the bytes segment \
     by segment: the newest one is closed after segment.ms (7 days) or segment.bytes (1 GiB), one \
     that lies below the start is found within log.retention.check.interval.ms (5 minutes) and \
     deleted file.delete.delay.ms (1 minute) later";

/// Keeps the log in a topic of Kafka; any number of processes may have it open.
pub struct Kafka {
    id: LogId,
    shards: u32,
    options: Options,
    admin: Arc<Admin>,
    producer: Producer,
    readers: Arc<Readers>,
    waiter: Waiter,
    closed: CancellationToken,
}

impl Kafka {
    /// Opens the log: finds its topic, or creates it where that is asked for, and checks it.
    ///
    /// # Errors
    /// [`OpenError`]: why the topic cannot be used, and what to do about it.
    pub async fn open(options: Options, metrics: Metrics) -> Result<Self, OpenError> {
        let refused = |error: KafkaError| OpenError::Refused {
            hosts: options.brokers(),
            reason: error.to_string(),
        };
        let admin: Admin = options.client().create_with_context(Quiet).map_err(refused)?;
        let admin = Arc::new(admin);
        let (id, shards) = check(&admin, &options).await?;
        let producer = Producer::new(&options, metrics).map_err(refused)?;
        let closed = CancellationToken::new();
        let patience = options.config.append_timeout;
        let follows = options.is_followed;
        let readers = Readers::new(&options.topic, options.consumer(), patience, closed.clone());
        let readers = if follows { readers.that_stay() } else { readers };
        let waiter = Waiter::new(&options.topic, options.consumer(), closed.clone());
        let readers = Arc::new(readers);
        Ok(Self { id, shards, admin, producer, readers, waiter, closed, options })
    }

    /// Has the producer fail for good, as it does where it has lost its place in the sequence.
    #[cfg(any(test, feature = "testing"))]
    pub fn break_producer(&self) {
        self.producer.break_for_good();
    }

    fn check_shard(&self, shard: ShardId) -> Result<(), ReadError> {
        if self.closed.is_cancelled() {
            Err(ReadError::Stopped)
        } else if shard.0 < self.shards {
            Ok(())
        } else {
            Err(ReadError::NoShard { shard, shards: self.shards })
        }
    }

    /// Does something that blocks with the readers.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Readers) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let readers = Arc::clone(&self.readers);
        let Ok(permit) = readers.room().acquire_owned().await else {
            return Err(ReadError::Stopped);
        };
        Tasks::offload(move || {
            let done = work(&readers);
            drop(permit);
            done
        })
        .await
    }
}

#[async_trait]
impl Log for Kafka {
    fn id(&self) -> LogId {
        self.id
    }

    fn shards(&self) -> u32 {
        self.shards
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        let (bytes, bytes_max) = (record.len(), RECORD_BYTES_MAX);
        if shard.0 >= self.shards {
            let shards = self.shards;
            return self.producer.refuse(Refusal::NoShard { shard, shards });
        }
        if bytes > bytes_max {
            return self.producer.refuse(Refusal::TooLarge { bytes, bytes_max });
        }
        if self.closed.is_cancelled() {
            return self.producer.refuse(Refusal::Stopped);
        }
        self.producer.append(shard, &record)
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        self.check_shard(shard)?;
        self.blocking(move |readers| readers.marks(shard)).await
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        self.check_shard(shard)?;
        self.blocking(move |readers| readers.read(shard, from, bytes_max)).await
    }

    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        self.check_shard(shard)?;
        if offsets.is_empty() {
            return Ok(Vec::new());
        }
        let offsets = offsets.to_vec();
        self.blocking(move |readers| {
            readers.marks(shard)?.check_each(&offsets)?;
            readers.fetch(shard, &offsets)
        })
        .await
    }

    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError> {
        loop {
            let Marks { low, high } = self.marks(shard).await?;
            if high > past {
                return Ok(());
            }
            let from = high.max(low);
            if self.options.is_followed {
                let given_up = CancellationToken::new();
                let _end = given_up.clone().drop_guard();
                self.blocking(move |readers| readers.wait(shard, from, &given_up)).await?;
            } else {
                self.waiter.wait(shard, from).await?;
            }
        }
    }

    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        let Marks { low, high } = self.marks(shard).await?;
        if before > high {
            return Err(ReadError::Beyond { offset: before, high });
        }
        if before <= low {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        let partition = i32::try_from(shard.0).map_err(ReadError::failed)?;
        let position = Position::Offset(i64::try_from(before.0).map_err(ReadError::failed)?);
        list.add_partition_offset(&self.options.topic, partition, position)
            .map_err(ReadError::failed)?;
        let asked =
            AdminOptions::new().operation_timeout(Some(TRIM_MAX)).request_timeout(Some(TRIM_MAX));
        let answer = self.admin.delete_records(&list, &asked).await;
        let failed = answer.map(|answer| {
            let errors = answer.elements().into_iter().filter_map(|element| element.error().err());
            // Another node may have trimmed further.
            errors.into_iter().find(|error| !is_trimmed(error))
        });
        // That nobody leads the partition is an error of the whole request.
        let Some(error) = failed.unwrap_or_else(Some) else { return Ok(()) };
        let (admin, topic) = (Arc::clone(&self.admin), self.options.topic.clone());
        Tasks::offload(move || learn_leaders(admin.inner(), &topic, ASKED_MAX)).await;
        Err(ReadError::failed(error))
    }

    async fn scrub(&self) -> Result<Option<&'static str>, ReadError> {
        Ok(Some(IN_SEGMENTS))
    }

    async fn confirm(&self) -> Result<(), ReadError> {
        // Where the brokers do not answer, what follows does not succeed either.
        match ask_id(&self.admin, &self.options.topic).await {
            Told::Id(id) if LogId(id) != self.id => Err(ReadError::Replaced),
            Told::Id(_) | Told::NoIds | Told::Nothing => Ok(()),
        }
    }

    async fn close(&self) {
        self.closed.cancel();
        self.waiter.close().await;
        self.producer.flush().await;
        let readers = Arc::clone(&self.readers);
        Tasks::offload(move || readers.close()).await;
    }
}

fn is_trimmed(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::OffsetOutOfRange)
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kafka({} at {})", self.options.topic, self.options.brokers())
    }
}
