//! A log in a topic of Apache Kafka: a shard is a partition.
//!
//! Kafka is driven so that it keeps the contract of [`Log`](crate::log::Log): one idempotent
//! producer with `acks=all` and explicit partitions, whose delivery reports carry exact offsets in
//! the order of the calls; consumers that are assigned, never grouped. An error of an append is an
//! unknown outcome unless the record surely never left: the owner then claims its shard again and
//! reads up to the claim. Nothing of Kafka's own fencing takes part in safety.

#[cfg(feature = "kafka")]
mod check;
mod config;
#[cfg(feature = "kafka")]
mod error;
#[cfg(all(feature = "kafka", any(test, feature = "testing")))]
mod fatal;
#[cfg(feature = "kafka")]
mod producer;
#[cfg(feature = "kafka")]
mod quiet;
#[cfg(feature = "kafka")]
mod reader;
#[cfg(feature = "kafka")]
mod refusal;
#[cfg(feature = "kafka")]
mod settings;
#[cfg(feature = "kafka")]
mod topic;
#[cfg(feature = "kafka")]
mod topic_id;
#[cfg(feature = "kafka")]
mod waiter;

pub use config::Config;
#[cfg(feature = "kafka")]
pub use error::OpenError;
#[cfg(feature = "kafka")]
pub use settings::Options;
#[cfg(feature = "kafka")]
pub use topic::Kafka;
