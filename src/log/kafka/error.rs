//! Why a log in Kafka cannot be used; each says what to do about it.

use rdkafka::error::KafkaError;

/// Tells why a log in Kafka could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No broker answers.
    #[error("no Kafka broker answers at {hosts} ({reason}): start them, or correct --log")]
    Unreachable {
        /// Where they were looked for.
        hosts: String,
        /// What the client says.
        reason: String,
    },
    /// A broker does not know yet what another one has told.
    #[error(
        "the brokers at {hosts} are not ready for the topic {topic} ({reason}): wait until all of \
         them are up; where that does not help, check the rights"
    )]
    Unsettled {
        /// The topic.
        topic: String,
        /// Where the brokers are.
        hosts: String,
        /// What one of them says.
        reason: String,
    },
    /// A partition of a topic that was created just now has no leader that knows of it.
    #[error(
        "no broker at {hosts} leads each partition of the new topic {topic} ({reason}): wait until \
         all of them are up, and start again"
    )]
    Unled {
        /// The topic.
        topic: String,
        /// Where the brokers are.
        hosts: String,
        /// What one of them says.
        reason: String,
    },
    /// The topic is not there.
    #[error(
        "there is no topic {topic} at {hosts}: start once with --create-topics, or create it with \
         {shards} partitions as docs/OPERATIONS.md says"
    )]
    NoTopic {
        /// The topic.
        topic: String,
        /// Where it was looked for.
        hosts: String,
        /// How many partitions it is to have.
        shards: u32,
    },
    /// The topic could not be created.
    #[error("the topic {topic} could not be created ({reason}): see docs/OPERATIONS.md")]
    NotCreated {
        /// The topic.
        topic: String,
        /// What the broker says.
        reason: String,
    },
    /// The topic has another number of partitions.
    #[error(
        "the topic {topic} has {found} partitions and {asked} shards are asked for: start with \
         --shards {found}, or with another topic; the number never changes"
    )]
    Shards {
        /// The topic.
        topic: String,
        /// How many it has.
        found: u32,
        /// How many were asked for.
        asked: u32,
    },
    /// Too few replicas keep the topic.
    #[error(
        "partition {partition} of {topic} has {found} replicas, {least} are needed: raise its \
         replication factor, or allow it for one machine with --allow-single-replica"
    )]
    Replicas {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// How many replicas it has.
        found: usize,
        /// How many it should have.
        least: usize,
    },
    /// A setting of the topic would lose or reorder records.
    #[error("the topic {topic} has {key} = {found}: set it to {wanted}, because {why}")]
    Setting {
        /// The topic.
        topic: String,
        /// The setting.
        key: &'static str,
        /// What it is.
        found: String,
        /// What it should be.
        wanted: String,
        /// Why.
        why: &'static str,
    },
    /// The brokers know no ids of topics.
    #[error(
        "the brokers at {hosts} are too old, they know no ids of topics: use Kafka 3.1 or newer"
    )]
    TooOld {
        /// Where they are.
        hosts: String,
    },
    /// Kafka's client could not be set up, or the brokers refuse what is asked of them.
    #[error("Kafka at {hosts} cannot be used ({reason}): check the settings and the rights")]
    Refused {
        /// Where the brokers are.
        hosts: String,
        /// What the client says.
        reason: String,
    },
}

impl OpenError {
    /// Tells whether it may pass by itself while brokers start or learn of each other.
    pub(crate) fn passes(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unsettled { .. } | Self::Unled { .. })
    }
}

/// A delivery report without an offset.
#[derive(Debug, thiserror::Error)]
#[error("the broker reported the record without its offset")]
pub(crate) struct NoOffset;

/// A reader that has waited too long.
#[derive(Debug, thiserror::Error)]
#[error("the brokers did not answer in time: {last}")]
pub(crate) struct TimedOut {
    pub(crate) last: String,
}

impl TimedOut {
    pub(crate) fn new(last: Option<&KafkaError>) -> Self {
        Self { last: last.map_or_else(|| "nothing came".to_owned(), KafkaError::to_string) }
    }
}
