//! Checkpoints in one file of the data folder, `checkpoints.redb`.
//!
//! It is a database of its own, beside the log's, so that a large checkpoint never delays a commit
//! of the log. Chunks and removals are committed without a sync; the manifest's commit makes them
//! durable with it. What several documents write at once goes into one commit.

mod open;
mod rewrite;
mod store;
mod tables;

pub use store::Embedded;
