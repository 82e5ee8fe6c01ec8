//! Waiting for records: one consumer for everybody who waits, assigned to what is waited for.
//!
//! However many wait, they take no room from those who read, and have one consumer's threads.

use std::time::Duration;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message, Offset as Position, TopicPartitionList};
use rustc_hash::{FxHashMap, FxHashSet};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::log::ReadError;
use crate::log::kafka::quiet::Quiet;
use crate::log::kafka::reader::partition;
use crate::task::Tasks;
use crate::types::{Offset, ShardId};

/// How often it is looked who has gone, and how long an error rests.
const LOOK_AFTER: Duration = Duration::from_millis(500);

/// Has others wait.
pub(crate) struct Waiter {
    asked: mpsc::UnboundedSender<Asked>,
    tasks: Tasks,
}

/// Somebody who waits for a record at an offset or after it.
struct Asked {
    shard: ShardId,
    from: Offset,
    reply: oneshot::Sender<Result<(), ReadError>>,
}

/// Those who wait for one shard, for a record at this offset or after it.
struct Waiting {
    from: Offset,
    replies: Vec<oneshot::Sender<Result<(), ReadError>>>,
}

impl Waiter {
    pub(crate) fn new(topic: &str, config: ClientConfig, closed: CancellationToken) -> Self {
        let (asked, asks) = mpsc::unbounded_channel();
        let (topic, tasks) = (topic.to_owned(), Tasks::new());
        let (waiting, assigned) = Default::default();
        let work = Work { topic, config, asks, waiting, assigned, consumer: None };
        tasks.spawn("kafka-waiter", async move {
            let work = work.run(closed).await;
            // To end a consumer blocks a little.
            Tasks::offload(move || drop(work)).await;
        });
        Self { asked, tasks }
    }

    /// Waits until there may be a record at or after `from`, which is at most the end.
    ///
    /// # Cancel safety
    /// Who is dropped is forgotten.
    pub(crate) async fn wait(&self, shard: ShardId, from: Offset) -> Result<(), ReadError> {
        let (reply, told) = oneshot::channel();
        let asked = self.asked.send(Asked { shard, from, reply });
        asked.map_err(|_| ReadError::Stopped)?;
        told.await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Waits until nobody waits any more, once the log is closed.
    pub(crate) async fn close(&self) {
        self.tasks.stop().await;
    }
}

struct Work {
    topic: String,
    config: ClientConfig,
    asks: mpsc::UnboundedReceiver<Asked>,
    waiting: FxHashMap<ShardId, Waiting>,
    assigned: FxHashSet<ShardId>,
    consumer: Option<StreamConsumer<Quiet>>,
}

enum Happened {
    Asked(Asked),
    Told(Result<(i32, i64), KafkaError>),
    Looked,
}

impl Work {
    async fn run(mut self, closed: CancellationToken) -> Self {
        loop {
            let happened = tokio::select! {
                () = closed.cancelled() => return self,
                asked = self.asks.recv() => match asked {
                    Some(asked) => Happened::Asked(asked),
                    None => return self,
                },
                told = told(self.consumer.as_ref()) => Happened::Told(told),
                () = tokio::time::sleep(LOOK_AFTER), if !self.waiting.is_empty() => {
                    Happened::Looked
                }
            };
            match happened {
                Happened::Asked(asked) => self.add(asked),
                Happened::Told(Ok((partition, offset))) => self.tell(partition, offset),
                Happened::Told(Err(KafkaError::PartitionEOF(_))) => {}
                Happened::Told(Err(error)) => {
                    tracing::debug!(%error, "waiting for records");
                    // It does not say whose it is: everybody looks where the log ends now.
                    tokio::time::sleep(LOOK_AFTER).await;
                    let shards: Vec<_> = self.waiting.keys().copied().collect();
                    shards.into_iter().for_each(|shard| self.end(shard));
                }
                Happened::Looked => self.forget_who_has_gone(),
            }
        }
    }

    fn add(&mut self, asked: Asked) {
        let Asked { shard, from, reply } = asked;
        if let Some(waiting) = self.waiting.get_mut(&shard) {
            if from < waiting.from {
                // Somebody knows of records there. Whoever waited may have gone.
                let _ = reply.send(Ok(()));
            } else {
                waiting.replies.push(reply);
            }
            return;
        }
        if let Err(error) = self.begin(shard, from) {
            // Whoever waited may have gone.
            let _ = reply.send(Err(ReadError::failed(error)));
            return;
        }
        self.waiting.insert(shard, Waiting { from, replies: vec![reply] });
    }

    /// Tells of a record, unless it was there before the wait began.
    fn tell(&mut self, partition: i32, offset: i64) {
        let (Ok(shard), Ok(offset)) = (u32::try_from(partition), u64::try_from(offset)) else {
            return;
        };
        if self.waiting.get(&ShardId(shard)).is_some_and(|waiting| waiting.from.0 <= offset) {
            self.end(ShardId(shard));
        }
    }

    /// Ends the wait for a shard.
    fn end(&mut self, shard: ShardId) {
        let Some(waiting) = self.waiting.remove(&shard) else { return };
        // What comes all the same is passed over.
        let _ = self.consumer.as_ref().map(|consumer| consumer.pause(&self.list(shard)));
        for reply in waiting.replies {
            // Whoever waited has gone.
            let _ = reply.send(Ok(()));
        }
    }

    fn forget_who_has_gone(&mut self) {
        let mut left = Vec::new();
        for (shard, waiting) in &mut self.waiting {
            waiting.replies.retain(|reply| !reply.is_closed());
            if waiting.replies.is_empty() {
                left.push(*shard);
            }
        }
        left.into_iter().for_each(|shard| self.end(shard));
    }

    /// Has records of a shard come in. What is assigned once stays so, and is paused meanwhile:
    /// librdkafka aborts where what is being given up is given up again (see the readers).
    fn begin(&mut self, shard: ShardId, from: Offset) -> Result<(), KafkaError> {
        let consumer = match self.consumer.take() {
            Some(consumer) => consumer,
            None => self.config.create_with_context(Quiet)?,
        };
        let position = Position::Offset(i64::try_from(from.0).unwrap_or(i64::MAX));
        let mut list = self.list(shard);
        let consumer = self.consumer.insert(consumer);
        if self.assigned.insert(shard) {
            list.set_partition_offset(&self.topic, partition(shard), position)?;
            let assigned = consumer.incremental_assign(&list);
            if assigned.is_err() {
                self.assigned.remove(&shard);
            }
            return assigned;
        }
        // Where that does not succeed, it reads on from where it stood, which is not above.
        let _ = consumer.seek(&self.topic, partition(shard), position, Duration::ZERO);
        consumer.resume(&list)
    }

    fn list(&self, shard: ShardId) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition(shard));
        list
    }
}

/// Returns partition and offset of the next record, or what is the matter.
async fn told(consumer: Option<&StreamConsumer<Quiet>>) -> Result<(i32, i64), KafkaError> {
    match consumer {
        Some(consumer) => {
            let place = |message: BorrowedMessage<'_>| (message.partition(), message.offset());
            consumer.recv().await.map(place)
        }
        None => std::future::pending().await,
    }
}
