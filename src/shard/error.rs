//! Why a shard cannot be served.

use crate::checkpoint::StoreError;
use crate::log::{AppendError, ReadError, Refusal};
use crate::types::{Epoch, Offset, ShardId};

/// Tells why a shard did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log could not be read.
    #[error("shard {shard}: the log could not be read")]
    Read {
        /// The shard.
        shard: ShardId,
        /// What the log said.
        source: ReadError,
    },
    /// The claim could not be written.
    #[error("shard {shard}: ownership could not be claimed in the log")]
    Claim {
        /// The shard.
        shard: ShardId,
        /// What the log said.
        source: AppendError,
    },
    /// Another node claimed the shard at the same time.
    #[error("shard {shard}: another node owns it since {epoch:?}: stop that node first")]
    Fenced {
        /// The shard.
        shard: ShardId,
        /// The other's epoch.
        epoch: Option<Epoch>,
    },
    /// The log ends before records that were there: its storage lost them, or it is another log.
    #[error(
        "shard {shard}: the log ends at {high}, records up to {known} were there: stop every node \
         and restore the log"
    )]
    Shrunk {
        /// The shard.
        shard: ShardId,
        /// Where the log ends.
        high: Offset,
        /// Up to where it was known.
        known: Offset,
    },
    /// The log is not the one that was opened.
    #[error("shard {shard}: the log was made anew: start again, as docs/OPERATIONS.md says")]
    Replaced {
        /// The shard.
        shard: ShardId,
    },
    /// The low-water mark could not be read.
    #[error("shard {shard}: the low-water mark could not be read")]
    Progress {
        /// The shard.
        shard: ShardId,
        /// What the store said.
        source: StoreError,
    },
    /// The node is stopping.
    #[error("shard {shard}: the node is stopping")]
    Stopping {
        /// The shard.
        shard: ShardId,
    },
}

/// Tells why a shard was not handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    /// Another node has claimed it already.
    #[error("another node has claimed the shard: nothing is left to hand over")]
    Fenced,
    /// The release may not have been written; the shard was claimed again and is served on.
    #[error("the release was not surely written, the shard is served on: try again")]
    Undone,
    /// The shard has ended.
    #[error("the shard has ended")]
    Ended,
}

impl StartError {
    /// Tells whether another owner was there for so long that it has removed what is next here.
    pub(crate) fn is_trimmed(&self) -> bool {
        matches!(self, Self::Read { source: ReadError::Trimmed { .. }, .. })
    }

    /// Tells whether the log has stopped for good: this process can acknowledge nothing more.
    pub(crate) fn is_final(&self) -> bool {
        let stopped = |error: &AppendError| {
            matches!(error, AppendError::NotWritten { reason: Refusal::Stopped })
        };
        match self {
            Self::Claim { source, .. } => stopped(source),
            Self::Read { source, .. } => matches!(source, ReadError::Stopped),
            Self::Shrunk { .. } | Self::Replaced { .. } => true,
            Self::Fenced { .. } | Self::Progress { .. } | Self::Stopping { .. } => false,
        }
    }
}
