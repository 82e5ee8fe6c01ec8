//! Why a shard cannot be served.

use crate::checkpoint::StoreError;
use crate::log::{AppendError, ReadError, Refusal};
use crate::types::{Epoch, ShardId};

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
    /// The low-water mark could not be read.
    #[error("shard {shard}: the low-water mark could not be read")]
    Progress {
        /// The shard.
        shard: ShardId,
        /// What the store said.
        source: StoreError,
    },
    /// Records below the low-water mark are gone, or the log begins above it.
    #[error(
        "shard {shard}: the log begins at {low}, above the low-water mark {low_water}: records \
         that no checkpoint covers are lost; restore the log from a backup"
    )]
    Lost {
        /// The shard.
        shard: ShardId,
        /// Where the log begins.
        low: crate::types::Offset,
        /// Where it has to.
        low_water: crate::types::Offset,
    },
    /// The node is stopping.
    #[error("shard {shard}: the node is stopping")]
    Stopping {
        /// The shard.
        shard: ShardId,
    },
}

impl StartError {
    /// Tells whether the log has stopped for good: this process can acknowledge nothing more.
    pub(crate) fn is_final(&self) -> bool {
        let stopped = |error: &AppendError| {
            matches!(error, AppendError::NotWritten { reason: Refusal::Stopped })
        };
        match self {
            Self::Claim { source, .. } => stopped(source),
            Self::Read { source, .. } => matches!(source, ReadError::Stopped),
            Self::Fenced { .. }
            | Self::Progress { .. }
            | Self::Lost { .. }
            | Self::Stopping { .. } => false,
        }
    }
}
