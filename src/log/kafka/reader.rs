//! Reading: consumers that are assigned to one partition, for as long as a read takes.
//!
//! A consumer that has not reached the end is kept for whoever goes on reading where it stands.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Message, Offset as Position, TopicPartitionList};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::log::kafka::error::TimedOut;
use crate::log::kafka::quiet::Quiet;
use crate::log::{Batch, Marks, ReadError, Stored};
use crate::types::{Offset, ShardId};

/// How many read at once, and how many consumers are kept: each has threads of its own.
const READERS_MAX: usize = 8;
const KEPT_MAX: usize = 4;

/// How long one poll waits.
const POLL_MAX: Duration = Duration::from_millis(100);

/// How long a wait goes on until it is looked whether somebody still waits.
const WAIT: Duration = Duration::from_millis(90);

/// How long a read that has found something waits for more.
const GATHER: Duration = Duration::from_millis(2);

/// How long is waited before the marks are asked for again: an error may come back at once.
const PAUSE: Duration = Duration::from_millis(100);

/// How long one question to a leader may take: where it is gone, the next one asks its successor.
pub(crate) const ASKED_MAX: Duration = Duration::from_secs(2);

/// How long damaged records are asked for again where nothing comes after them.
const DAMAGED_MAX: Duration = Duration::from_secs(2);

/// Reads a few records more rather than asking again, where the next one wanted is so near.
const SKIPPED_MAX: u64 = 500;

/// Reads the partitions of one topic.
pub(crate) struct Readers {
    topic: String,
    config: ClientConfig,
    /// How long brokers may not answer until a read fails.
    patience: Duration,
    room: Arc<Semaphore>,
    /// Whether a reader that has nothing to read stays where it is.
    stay: bool,
    kept: Mutex<VecDeque<Reader>>,
    closed: CancellationToken,
}

/// A consumer and where it stands.
struct Reader {
    consumer: BaseConsumer<Quiet>,
    /// What the next message will be, and whether it was fetched ahead.
    at: Option<(ShardId, Offset)>,
    /// A record that was over the bound of the last read.
    held: Option<Stored>,
    /// Since when what is to come next is told to be damaged, over all waits.
    damaged: Option<Instant>,
}

/// What comes next.
enum Next {
    Record(Stored),
    End,
    /// It is not here yet.
    Nothing,
}

impl Readers {
    pub(crate) fn new(
        topic: &str,
        config: ClientConfig,
        patience: Duration,
        closed: CancellationToken,
    ) -> Self {
        let (room, kept) = (Arc::new(Semaphore::new(READERS_MAX)), Mutex::default());
        let stay = false;
        Self { topic: topic.to_owned(), config, patience, room, stay, kept, closed }
    }

    /// Has readers that have nothing to read stay where they are: what comes next is then there at
    /// once, and brokers are asked for it all the time.
    pub(crate) fn that_stay(self) -> Self {
        Self { stay: true, ..self }
    }

    /// Returns where a partition begins and ends. Blocks.
    pub(crate) fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        let reader = self.take(None)?;
        let began = Instant::now();
        let marks = loop {
            let (partition, most) = (partition(shard), self.patience.min(ASKED_MAX));
            match reader.consumer.fetch_watermarks(&self.topic, partition, most) {
                Ok((low, high)) => {
                    break Marks { low: offset(low)?, high: offset(high)? };
                }
                Err(error) => {
                    self.go_on(began, &error)?;
                    rest();
                    learn_leaders(reader.consumer.client(), &self.topic, most);
                }
            }
        };
        self.keep(reader);
        Ok(marks)
    }

    /// Reads records in order. Blocks.
    pub(crate) fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        let mut reader = self.take(Some((shard, from)))?;
        self.begin(&mut reader, shard, from)?;
        let mut batch = Batch { records: Vec::new(), next: from };
        let mut bytes = 0_usize;
        loop {
            // What has not come with the last ones is left to the next read.
            let first = if self.stay { WAIT } else { POLL_MAX };
            let most = if batch.records.is_empty() { first } else { GATHER };
            match self.next(&mut reader, shard, most)? {
                Next::End => break,
                // One that has told of its end does not tell again.
                Next::Nothing if batch.records.is_empty() && self.marks(shard)?.high > from => {}
                Next::Nothing => {
                    if !self.stay {
                        reader.at = None;
                    }
                    break;
                }
                Next::Record(stored) => {
                    bytes = bytes.saturating_add(stored.bytes.len());
                    if bytes > bytes_max && !batch.records.is_empty() {
                        reader.at = Some((shard, stored.offset));
                        reader.held = Some(stored);
                        break;
                    }
                    batch.next = stored.offset.next();
                    batch.records.push(stored);
                }
            }
        }
        self.keep(reader);
        Ok(batch)
    }

    /// Reads single records, which are there. Blocks.
    pub(crate) fn fetch(
        &self,
        shard: ShardId,
        offsets: &[Offset],
    ) -> Result<Vec<Stored>, ReadError> {
        let mut reader = self.take(None)?;
        let mut found = Vec::with_capacity(offsets.len());
        for &wanted in offsets {
            let near = |(_, at): (ShardId, Offset)| at <= wanted && wanted.0 - at.0 < SKIPPED_MAX;
            if !reader.at.is_some_and(near) {
                reader.at = None;
                self.begin(&mut reader, shard, wanted)?;
            }
            let began = Instant::now();
            loop {
                match self.next(&mut reader, shard, POLL_MAX)? {
                    Next::Nothing => {}
                    Next::Record(stored) if stored.offset < wanted => {}
                    Next::Record(stored) if stored.offset == wanted => {
                        found.push(stored);
                        break;
                    }
                    Next::Record(later) => {
                        let low = self.marks(shard)?.low;
                        if low > wanted {
                            return Err(ReadError::Trimmed { low });
                        }
                        // It was damaged meanwhile, with what lies around it.
                        reader.at = Some((shard, later.offset));
                        reader.held = Some(later);
                        found.push(unreadable(shard, wanted));
                        break;
                    }
                    // A new leader learns of the end a little later.
                    Next::End if began.elapsed() < self.patience => {
                        self.begin(&mut reader, shard, wanted)?;
                    }
                    Next::End => return Err(ReadError::failed(TimedOut::new(None))),
                }
            }
        }
        reader.at = None;
        self.keep(reader);
        Ok(found)
    }

    /// Waits, where readers stay, until there is a record at or after `from`, which is at most the
    /// end; whoever reads there next has it at once. Blocks until then, or until `given_up`.
    pub(crate) fn wait(
        &self,
        shard: ShardId,
        from: Offset,
        given_up: &CancellationToken,
    ) -> Result<(), ReadError> {
        let mut reader = self.take(Some((shard, from)))?;
        self.begin(&mut reader, shard, from)?;
        while !given_up.is_cancelled() {
            if let Next::Record(stored) = self.next(&mut reader, shard, WAIT)? {
                reader.at = Some((shard, stored.offset));
                reader.held = Some(stored);
                break;
            }
        }
        self.keep(reader);
        Ok(())
    }

    /// Drops what is kept. Blocks a little.
    pub(crate) fn close(&self) {
        self.kept.lock().clear();
    }

    /// Limits how many read at once.
    pub(crate) fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.room)
    }

    fn take(&self, wanted: Option<(ShardId, Offset)>) -> Result<Reader, ReadError> {
        self.check_open()?;
        let mut kept = self.kept.lock();
        let stands = |reader: &Reader| wanted.is_some() && reader.at == wanted;
        let index = kept.iter().position(stands);
        let index = index.or_else(|| kept.iter().position(|reader| reader.at.is_none()));
        if let Some(reader) = index.and_then(|index| kept.remove(index)) {
            return Ok(reader);
        }
        if kept.len() >= KEPT_MAX
            && let Some(reader) = kept.pop_front()
        {
            return Ok(Reader { at: None, ..reader });
        }
        drop(kept);
        let consumer = self.config.create_with_context(Quiet).map_err(ReadError::failed)?;
        Ok(Reader { consumer, at: None, held: None, damaged: None })
    }

    fn keep(&self, reader: Reader) {
        if reader.at.is_none() {
            // What it had fetched ahead is of no use.
            let _ = reader.consumer.unassign();
            settle(&reader.consumer);
        }
        let mut kept = self.kept.lock();
        if kept.len() < KEPT_MAX {
            kept.push_back(reader);
        }
    }

    /// Has the reader stand at `from`.
    fn begin(&self, reader: &mut Reader, shard: ShardId, from: Offset) -> Result<(), ReadError> {
        if reader.at == Some((shard, from)) {
            return Ok(());
        }
        (reader.held, reader.damaged) = (None, None);
        let mut list = TopicPartitionList::new();
        let position = Position::Offset(i64::try_from(from.0).unwrap_or(i64::MAX));
        list.add_partition_offset(&self.topic, partition(shard), position)
            .map_err(ReadError::failed)?;
        let assigned = reader.consumer.assign(&list);
        settle(&reader.consumer);
        assigned.map_err(ReadError::failed)?;
        reader.at = Some((shard, from));
        Ok(())
    }

    /// Returns what comes next; nothing where it is waited for less than otherwise, and in vain.
    fn next(&self, reader: &mut Reader, shard: ShardId, most: Duration) -> Result<Next, ReadError> {
        let Some((_, at)) = reader.at else { return Ok(Next::End) };
        if let Some(stored) = reader.held.take() {
            reader.at = Some((shard, stored.offset.next()));
            return Ok(Next::Record(stored));
        }
        let began = Instant::now();
        loop {
            self.check_open()?;
            match reader.consumer.poll(most) {
                Some(Ok(message)) => {
                    let found = offset(message.offset())?;
                    let bytes = Bytes::copy_from_slice(message.payload().unwrap_or_default());
                    if message.partition() != partition(shard) || found < at {
                        // It was fetched before the reader was assigned anew.
                        continue;
                    }
                    let stored = Stored { offset: found, bytes };
                    reader.damaged = None;
                    if found > at {
                        // What lies between is damaged, and passed over by Kafka's client.
                        reader.held = Some(stored);
                        return Ok(Next::Record(unreadable(shard, at)));
                    }
                    reader.at = Some((shard, found.next()));
                    return Ok(Next::Record(stored));
                }
                None if most < POLL_MAX => return Ok(Next::Nothing),
                Some(Err(error)) if is_damaged(&error) => {
                    // The client asks for the same bytes again and again. Silence says nothing of
                    // them: other nodes may read them.
                    let since = *reader.damaged.get_or_insert_with(Instant::now);
                    if since.elapsed() > DAMAGED_MAX {
                        reader.at = None;
                        self.begin(reader, shard, at.next())?;
                        return Ok(Next::Record(unreadable(shard, at)));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) if self.stay => return Ok(Next::Nothing),
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    reader.at = None;
                    return Ok(Next::End);
                }
                Some(Err(error)) if is_outside(&error) => {
                    reader.at = None;
                    self.outside(shard, at)?;
                    // It is inside by now: a new leader did not know it yet.
                    if began.elapsed() > self.patience {
                        return Err(ReadError::failed(TimedOut::new(Some(&error))));
                    }
                    self.begin(reader, shard, at)?;
                }
                Some(Err(error)) => self.go_on(began, &error)?,
                None if began.elapsed() > self.patience => {
                    return Err(ReadError::failed(TimedOut::new(None)));
                }
                None => {}
            }
        }
    }

    /// Tells where an offset lies that the broker does not know.
    fn outside(&self, shard: ShardId, from: Offset) -> Result<(), ReadError> {
        self.marks(shard)?.check_start(from)
    }

    /// Ends a read that has failed for too long; an error by itself may pass.
    fn go_on(&self, began: Instant, error: &KafkaError) -> Result<(), ReadError> {
        self.check_open()?;
        // Partitions without a leader must not keep all readers from the others.
        let crowded = self.room.available_permits() == 0;
        let patience = if crowded { self.patience.min(ASKED_MAX) } else { self.patience };
        if began.elapsed() > patience {
            return Err(ReadError::failed(TimedOut::new(Some(error))));
        }
        Ok(())
    }

    fn check_open(&self) -> Result<(), ReadError> {
        if self.closed.is_cancelled() { Err(ReadError::Stopped) } else { Ok(()) }
    }
}

/// Waits until a consumer has stopped reading what it was assigned before.
///
/// librdkafka up to 2.15 stops a partition twice, and aborts the process at the second answer,
/// where a reader is moved within its partition and moved on or given up before the first answer
/// (its issue 5573). A stop and its answer go one after the other through the queue that this
/// question goes through: the first question is answered after the stop has begun, the second after
/// its answer. Each takes tens of microseconds.
fn settle(consumer: &BaseConsumer<Quiet>) {
    let _ = consumer.rebalance_protocol();
    let _ = consumer.rebalance_protocol();
}

/// Asks who leads the partitions of a topic, after a question to a leader has failed. Blocks.
///
/// A client of librdkafka that reads nothing, and that heard of a partition while it had no leader,
/// takes that for true as long as it remembers it, which is minutes: it says `UnknownPartition` at
/// once and asks nobody.
pub(crate) fn learn_leaders<C: ClientContext>(client: &Client<C>, topic: &str, most: Duration) {
    // Where nobody answers, the next question does not succeed either.
    if let Err(error) = client.fetch_metadata(Some(topic), most) {
        tracing::debug!(%error, topic, "asking who leads the partitions");
    }
}

/// Stands for records that the broker gave back damaged: no record has no bytes.
fn unreadable(shard: ShardId, offset: Offset) -> Stored {
    tracing::error!(%shard, %offset, "records at this offset are damaged in Kafka, passing over");
    Stored { offset, bytes: Bytes::new() }
}

fn is_damaged(error: &KafkaError) -> bool {
    let damaged = [RDKafkaErrorCode::BadMessage, RDKafkaErrorCode::InvalidMessage];
    error.rdkafka_error_code().is_some_and(|code| damaged.contains(&code))
}

pub(crate) fn partition(shard: ShardId) -> i32 {
    i32::try_from(shard.0).expect("a topic's partitions are counted by an i32")
}

fn offset(number: i64) -> Result<Offset, ReadError> {
    u64::try_from(number).map(Offset).map_err(ReadError::failed)
}

fn is_outside(error: &KafkaError) -> bool {
    let outside = [RDKafkaErrorCode::AutoOffsetReset, RDKafkaErrorCode::OffsetOutOfRange];
    error.rdkafka_error_code().is_some_and(|code| outside.contains(&code))
}

/// Rests between two tries, on a thread that may block.
#[expect(clippy::disallowed_methods, reason = "the client tells nobody when it may be asked again")]
fn rest() {
    std::thread::sleep(PAUSE);
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

    use super::*;
    use crate::log::kafka::{Config, Options};

    fn readers() -> (MockCluster<'static, DefaultProducerContext>, Readers) {
        patient(Duration::from_secs(1))
    }

    fn patient(patience: Duration) -> (MockCluster<'static, DefaultProducerContext>, Readers) {
        let brokers = MockCluster::new(1).unwrap();
        brokers.create_topic("t", 1, 1).unwrap();
        let hosts = vec![brokers.bootstrap_servers()];
        let options = Options::new(hosts, "t", None, &Config::default()).unwrap();
        let readers = Readers::new("t", options.consumer(), patience, CancellationToken::new());
        (brokers, readers)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn marks_that_fail_at_once_are_asked_for_again_with_a_pause() {
        let (brokers, readers) = readers();
        assert_eq!(readers.marks(ShardId(0)).unwrap().high, Offset(0));
        // More than there are pauses in this time.
        let denied = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        brokers.request_errors(RDKafkaApiKey::ListOffsets, &vec![denied; 60]);
        let failed = readers.marks(ShardId(0));
        assert!(matches!(failed, Err(ReadError::Failed { .. })), "{failed:?}");
        brokers.clear_request_errors(RDKafkaApiKey::ListOffsets);
        assert_eq!(readers.marks(ShardId(0)).unwrap().high, Offset(0));
    }

    #[test]
    fn a_reader_that_heard_of_no_leader_asks_again() {
        let (brokers, readers) = readers();
        brokers.partition_leader("t", 0, None).unwrap();
        let reader = readers.take(None).unwrap();
        let told = reader.consumer.fetch_watermarks("t", 0, Duration::from_secs(1));
        let code = told.err().and_then(|error| error.rdkafka_error_code());
        assert_eq!(code, Some(RDKafkaErrorCode::UnknownPartition));
        readers.keep(reader);
        brokers.partition_leader("t", 0, Some(1)).unwrap();
        assert_eq!(readers.marks(ShardId(0)).unwrap().high, Offset(0));
    }

    #[test]
    fn a_partition_without_a_leader_holds_no_reader_that_others_need() {
        let (brokers, readers) = patient(Duration::from_secs(3_600));
        brokers.partition_leader("t", 0, None).unwrap();
        let all = u32::try_from(READERS_MAX).unwrap();
        let _others = readers.room().try_acquire_many_owned(all).unwrap();
        let (told, answer) = std::sync::mpsc::channel();
        std::thread::spawn(move || told.send(readers.marks(ShardId(0))));
        let failed = answer.recv_timeout(Duration::from_secs(60)).expect("it ends");
        assert!(matches!(failed, Err(ReadError::Failed { .. })), "{failed:?}");
    }

    /// Where the consumer is not waited for, librdkafka aborts this process.
    #[test]
    fn a_reader_may_move_and_stop_faster_than_the_client_stops() {
        let (_brokers, readers) = readers();
        for _ in 0..200 {
            let mut reader = readers.take(None).unwrap();
            readers.begin(&mut reader, ShardId(0), Offset(0)).unwrap();
            readers.begin(&mut reader, ShardId(0), Offset(1)).unwrap();
            reader.at = None;
            readers.keep(reader);
        }
    }
}
