//! What a keeper knows of one shard, and what it is told.

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::DropGuard;

use crate::cluster::WriteError;
use crate::cluster::handoff::{OwnerInput, OwnerSide, TargetSide};
use crate::shard::{Claiming, HandOverError, Handle, StartError};
use crate::types::{Epoch, NodeId, Offset, ShardId};

pub(crate) type Reply = oneshot::Sender<Result<(), String>>;

/// One shard.
pub(crate) enum Ward {
    /// This node has nothing to do with it, or waits before it claims it again.
    Absent(Rest),
    /// It is being claimed, for as long as the guard is kept.
    Starting { attempt: u64, failures: u32, _until: DropGuard },
    /// It is served, and perhaps handed over.
    Serving(Serving),
    /// Its owner is to hand it over to this node.
    StandingBy(StandingBy),
}

/// How long a claim that failed is not repeated.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rest {
    pub(crate) until: Option<Instant>,
    pub(crate) failures: u32,
}

pub(crate) struct Serving {
    pub(crate) handle: Handle,
    /// Whether its documents take nothing because the node trusts itself no more.
    pub(crate) suspended: bool,
    pub(crate) giving: Option<Giving>,
    /// Whether they settle because the node goes.
    pub(crate) held: Held,
    /// Before this, no move of it begins.
    pub(crate) move_after: Instant,
}

/// Tells whether a shard's documents are settled because the node goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    No,
    Asked,
    Done,
}

/// A move that this node drives.
pub(crate) struct Giving {
    pub(crate) attempt: u64,
    pub(crate) to: NodeId,
    pub(crate) side: OwnerSide,
    /// Where the release is in the log: the handle serves no more then.
    pub(crate) released: Option<Offset>,
    /// Whether the shard is another's.
    pub(crate) lost: bool,
    pub(crate) since: Instant,
}

/// A move to this node.
pub(crate) struct StandingBy {
    pub(crate) attempt: u64,
    pub(crate) from: NodeId,
    pub(crate) side: TargetSide,
    /// Has the follower claim; gone once that is told.
    pub(crate) claim: Option<oneshot::Sender<Claiming>>,
    /// Ends the claim with this.
    pub(crate) _until: DropGuard,
    /// Who waits until it is warm, and until it is served.
    pub(crate) warm: Vec<Reply>,
    pub(crate) served: Vec<Reply>,
}

/// What the keeper's task is told.
pub(crate) enum Event {
    /// A claim has ended.
    Started { shard: ShardId, attempt: u64, result: Result<Handle, StartError> },
    /// A claim was not made: the shard is not for this node any more.
    NotWanted { shard: ShardId, attempt: u64 },
    /// A follower has read to the end, or cannot.
    Warmed { shard: ShardId, attempt: u64, result: Result<(), String> },
    /// Something has happened to a move that this node drives.
    Given { shard: ShardId, attempt: u64, input: OwnerInput },
    /// The release of a shard has landed or not.
    Released { shard: ShardId, attempt: u64, result: Result<Offset, HandOverError> },
    /// The target serves the shard.
    Taken { shard: ShardId, attempt: u64 },
    /// `MoveBegun` was written, or not.
    Began { shard: ShardId, attempt: u64, result: Result<(), WriteError> },
    /// `Owned` was written, or not.
    Published { shards: Vec<(ShardId, Epoch)>, result: Result<(), WriteError> },
    /// An owner asks this node to warm up.
    WarmAsked { from: NodeId, shard: ShardId, reply: Reply },
    /// The node goes: nothing is claimed or moved any more, and what is served is settled.
    Settle { reply: oneshot::Sender<()> },
    /// The documents of a shard have nothing open any more.
    Settled { shard: ShardId },
    /// The node serves nothing any more; answered with how many shards had something open.
    EndAll { reply: oneshot::Sender<usize> },
    /// An owner has released a shard.
    ReleaseTold { from: NodeId, shard: ShardId, offset: Offset, reply: Reply },
}
