//! What can go wrong with a log, by what the caller must do about it.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::{Offset, ShardId};

/// Is the failure below an error, shared because one failure can hit many records.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Tells what became of a record that was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// It is not in the log and never will be: it may be appended again.
    #[error("the record was not written: {reason}")]
    NotWritten {
        /// Why the log did not take it.
        reason: Refusal,
    },
    /// It may be in the log, now or later: read the log, behind a new claim, before writing on.
    #[error("the record may or may not have been written, read the log before writing on")]
    Unknown {
        /// What failed.
        source: Cause,
    },
    /// Another writer has taken over: stop writing to this shard.
    #[error("shard {shard} was taken over by another writer, stop writing to it")]
    Fenced {
        /// The shard.
        shard: ShardId,
    },
}

/// Tells why a log did not take a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too much is waiting to be written: try again when some of it is.
    #[error("{bytes_max} bytes are waiting to be written, try again later")]
    Full {
        /// The bound of the queue.
        bytes_max: usize,
    },
    /// The record is over the bound: no later try will help.
    #[error("it has {bytes} bytes, the longest record has {bytes_max}")]
    TooLarge {
        /// The length of the record.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// There is no such shard.
    #[error("there is no shard {shard}, the log has {shards}")]
    NoShard {
        /// What was asked for.
        shard: ShardId,
        /// How many there are.
        shards: u32,
    },
    /// The log was closed or has failed: open it again.
    #[error("the log has stopped, restart to open it again")]
    Stopped,
    /// It was lost on the way, and surely so: try again.
    #[error("it did not reach the log, try again")]
    Lost,
}

/// Tells why records could not be read or removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The records asked for are gone: begin from a checkpoint.
    #[error("the records below {low} were trimmed, begin from a checkpoint")]
    Trimmed {
        /// The first record that is there.
        low: Offset,
    },
    /// The place asked for is not written yet: it comes from another log or a lost one.
    #[error("offset {offset} is beyond the end of the log, which is at {high}")]
    Beyond {
        /// What was asked for.
        offset: Offset,
        /// The next record to be written.
        high: Offset,
    },
    /// There is no such shard.
    #[error("there is no shard {shard}, the log has {shards}")]
    NoShard {
        /// What was asked for.
        shard: ShardId,
        /// How many there are.
        shards: u32,
    },
    /// The log was closed or has failed: open it again.
    #[error("the log has stopped, restart to open it again")]
    Stopped,
    /// Another log is in its place: it was made anew.
    #[error("the log was made anew: what was in it is gone")]
    Replaced,
    /// The storage failed: try again, or restart.
    #[error("the log could not be read")]
    Failed {
        /// What failed.
        source: Cause,
    },
}

impl ReadError {
    /// Wraps a failure of the storage.
    pub(in crate::log) fn failed(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Failed { source: Arc::new(cause) }
    }
}

/// Tells why an embedded log could not be opened; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder holds a log with another number of shards.
    #[error(
        "{} was created with {found} shards and {asked} are asked for; \
         start with --shards {found}, or with another data folder",
        file.display()
    )]
    Shards {
        /// The file of the log.
        file: PathBuf,
        /// How many it has.
        found: u32,
        /// How many were asked for.
        asked: u32,
    },
    /// The number of shards is outside what a log can have.
    #[error("a log has 1 to {max} shards, {asked} are asked for")]
    ShardCount {
        /// How many were asked for.
        asked: u32,
        /// The most there can be.
        max: u32,
    },
    /// A newer version wrote the folder.
    #[error(
        "{} has format {found} and this version knows formats up to {known}; \
         use the newer version that wrote it",
        file.display()
    )]
    Newer {
        /// The file of the log.
        file: PathBuf,
        /// Its format.
        found: u128,
        /// The newest format known here.
        known: u128,
    },
    /// Another process has the folder open.
    #[error(
        "{} is in use by another process; stop that process, or use another data folder",
        file.display()
    )]
    InUse {
        /// The file of the log.
        file: PathBuf,
    },
    /// The folder or file must not be written.
    #[error("{} cannot be written; give this user the right to, or use another data folder",
        path.display())]
    ReadOnly {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full.
    #[error("there is no space left for {}; free some, then start again", path.display())]
    Full {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no log of this program.
    #[error("{} is not a log of this program ({reason}); move it away, or use another data folder",
        file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is a log, but its content is damaged.
    #[error("{} is damaged ({reason}); restore the data folder from a backup", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system failed in another way.
    #[error("{} could not be opened", path.display())]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// Tells what an error of the file system at `path` means.
    pub(in crate::log) fn from_io(path: &Path, source: io::Error) -> Self {
        let path = path.to_path_buf();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::ReadOnly { path, source }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path, source }
            }
            io::ErrorKind::InvalidData => Self::Foreign { file: path, reason: source.to_string() },
            _ => Self::Io { path, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_file_system_say_what_to_do_next() {
        let check = |kind: io::ErrorKind, says: &str| {
            let error = OpenError::from_io(Path::new("data/log.redb"), io::Error::from(kind));
            assert_eq!(error.to_string(), format!("{says}"), "{kind}");
        };
        check(
            io::ErrorKind::PermissionDenied,
            "data/log.redb cannot be written; give this user the right to, or use another data \
             folder",
        );
        check(
            io::ErrorKind::ReadOnlyFilesystem,
            "data/log.redb cannot be written; give this user the right to, or use another data \
             folder",
        );
        check(
            io::ErrorKind::StorageFull,
            "there is no space left for data/log.redb; free some, then start again",
        );
        check(
            io::ErrorKind::InvalidData,
            "data/log.redb is not a log of this program (invalid data); move it away, or use \
             another data folder",
        );
        check(io::ErrorKind::NotADirectory, "data/log.redb could not be opened");
    }
}
