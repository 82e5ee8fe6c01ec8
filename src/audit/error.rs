//! What can keep an audit from being made.

use std::path::PathBuf;

use crate::checkpoint::StoreError;
use crate::log::ReadError;

/// Tells why an audit could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log does not answer.
    #[error("the log cannot be read")]
    Log(#[from] ReadError),
    /// The store of checkpoints does not answer.
    #[error("the checkpoints cannot be read")]
    Store(#[from] StoreError),
    /// A history's file cannot be read or written.
    #[error("the history {} cannot be read or written", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line of a history says nothing that is known.
    #[error("{} line {line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
}
