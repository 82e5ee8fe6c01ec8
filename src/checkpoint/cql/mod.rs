//! Checkpoints in ScyllaDB or Apache Cassandra, by CQL.
//!
//! No lightweight transactions and no batches: what a checkpoint needs of its store is that a
//! manifest comes after its chunks and that the highest low-water mark wins. A blob is a partition
//! of its own, so that one tombstone removes it.

mod config;
#[cfg(feature = "cql")]
mod error;
#[cfg(feature = "cql")]
mod schema;
#[cfg(feature = "cql")]
mod store;

pub use config::{Config, Consistency};
#[cfg(feature = "cql")]
pub use error::OpenError;
#[cfg(feature = "cql")]
pub use store::Cql;
