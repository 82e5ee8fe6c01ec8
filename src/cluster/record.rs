//! What nodes and operators write into the control topic: the domain types.
//!
//! `message.rs` has their bytes, [`Control`](crate::cluster::Control) what they mean.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;

use crate::types::{Epoch, NodeId, Offset, ShardId, Timestamp};

/// The versions of the rules that this program can follow, the oldest and the newest: which
/// records of a log and of the control topic count and what they mean, and where shards are placed.
/// All nodes of a cluster follow one version; a change of any of it is a new one (decision 11).
///
/// Version 1 had a ring of 16 points for each unit of a node's weight.
pub const RULES: (u16, u16) = (2, 2);

/// The most shards of a cluster.
pub const SHARDS_MAX: u32 = 8_192;

/// Is one record of the control topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The cluster exists from here on.
    Founded(Founded),
    /// A node comes up.
    Join(Join),
    /// A node is alive.
    Heartbeat(Heartbeat),
    /// A node holds another one for dead.
    Down(Down),
    /// A node goes of its own accord.
    Leave(Leave),
    /// A node has claimed shards.
    Owned(Owned),
    /// A node has given shards up without an heir.
    Disowned(Disowned),
    /// An owner begins to hand a shard over.
    MoveBegun(MoveBegun),
    /// An owner has ended a move.
    MoveEnded(MoveEnded),
    /// Somebody wants something changed.
    Command(Command),
    /// The complete state, for those who begin to read here.
    Snapshot(Snapshot),
}

/// Is a short text for people, of at most `BYTES_MAX` bytes without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const BYTES_MAX: usize>(Arc<str>);

/// Tells why a string is no such text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a text here has at most {bytes_max} bytes and no control characters: shorten it")]
pub struct BadText {
    /// The bound.
    pub bytes_max: usize,
}

impl<const BYTES_MAX: usize> Text<BYTES_MAX> {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const BYTES_MAX: usize> FromStr for Text<BYTES_MAX> {
    type Err = BadText;

    fn from_str(text: &str) -> Result<Self, BadText> {
        if text.len() <= BYTES_MAX && !text.chars().any(char::is_control) {
            Ok(Self(Arc::from(text)))
        } else {
            Err(BadText { bytes_max: BYTES_MAX })
        }
    }
}

impl<const BYTES_MAX: usize> fmt::Display for Text<BYTES_MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const BYTES_MAX: usize> fmt::Debug for Text<BYTES_MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Begins a cluster; the first one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Founded {
    /// The cluster's id, for ever.
    pub cluster: u128,
    /// Its number of shards, for ever.
    pub shards: u32,
    /// When.
    pub at: Timestamp,
}

/// Says that a node is up and takes shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The node.
    pub node: NodeId,
    /// The node's start: tells two runs of one node apart.
    pub boot: u64,
    /// The run that it found silent and takes the name from.
    pub replaces: Option<u64>,
    /// Where it listens.
    pub addresses: Addresses,
    /// Its share of the shards, 1 to 100; 10 is usual.
    pub weight: u32,
    /// What it understands.
    pub version: Version,
    /// When.
    pub at: Timestamp,
}

/// Tells where a node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// For clients.
    pub client: Text<255>,
    /// For other nodes.
    pub peer: Text<255>,
    /// For operators.
    pub admin: Text<255>,
}

/// Tells what a node understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The program's version, for people.
    pub software: Text<64>,
    /// The least and the greatest version of the messages between nodes.
    pub speaks: (u16, u16),
    /// The least and the greatest version of the [`RULES`] that it can follow.
    pub rules: (u16, u16),
}

/// Says that a node is alive, and how busy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub boot: u64,
    /// The 99th percentile of its acknowledgements lately, in milliseconds; of few, how long the
    /// oldest batch has waited for one. 0 where nothing is known.
    pub ack_p99_ms: u32,
    /// Its sessions.
    pub sessions: u32,
    /// Its open documents.
    pub documents: u32,
}

/// Is a vote that a node is dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub boot: u64,
    /// Who votes.
    pub by: NodeId,
    /// The voter's run.
    pub by_boot: u64,
}

/// Says that a node goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave {
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub boot: u64,
}

/// Says that a node's claims of shards count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owned {
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub boot: u64,
    /// The shards, with the epochs that began; at most [`SHARDS_MAX`].
    pub shards: Vec<(ShardId, Epoch)>,
}

/// Says that a node serves shards no more, and nobody is known to follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disowned {
    /// The node.
    pub node: NodeId,
    /// Its run.
    pub boot: u64,
    /// The shards, with the epochs that end; at most [`SHARDS_MAX`].
    pub shards: Vec<(ShardId, Epoch)>,
}

/// Begins a planned move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveBegun {
    /// The shard.
    pub shard: ShardId,
    /// Its owner.
    pub from: NodeId,
    /// The owner's run.
    pub from_boot: u64,
    /// Where it is to be.
    pub to: NodeId,
    /// When.
    pub at: Timestamp,
}

/// Ends a planned move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveEnded {
    /// The shard.
    pub shard: ShardId,
    /// The owner that began it.
    pub from: NodeId,
    /// That owner's run.
    pub from_boot: u64,
    /// How.
    pub outcome: Outcome,
}

/// Tells how a move ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The shard is where it was to be.
    Done,
    /// It is not; with the reason.
    Undone(Text<200>),
}

/// Holds the complete state as of an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last record that the state knows; the snapshot counts right behind it only.
    pub at: Offset,
    /// The state, as [`Control`](crate::cluster::Control) encodes it.
    pub state: Bytes,
}

/// Is what somebody wants changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Who, why and when.
    pub by: Operator,
    /// The control offset whose placement it was made for: it is void if that has changed since.
    pub expected: Option<Offset>,
    /// What.
    pub order: Order,
}

/// Tells who gave a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// The name.
    pub name: Text<64>,
    /// The reason.
    pub why: Text<200>,
    /// When.
    pub at: Timestamp,
}

/// Is what can be commanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Gives a node another share of the shards.
    Weight {
        /// The node.
        node: NodeId,
        /// Its weight, 1 to 100.
        weight: u32,
    },
    /// Keeps a shard on a node.
    Pin {
        /// The shard.
        shard: ShardId,
        /// The node.
        node: NodeId,
    },
    /// Lets a shard go where the placement wants it.
    Unpin {
        /// The shard.
        shard: ShardId,
    },
    /// Empties a node.
    Drain {
        /// The node.
        node: NodeId,
        /// When it is to be empty: information for whoever paces the moves.
        deadline: Option<Timestamp>,
    },
    /// Lets a node take shards again.
    Undrain {
        /// The node.
        node: NodeId,
    },
    /// Bounds how many moves run at once.
    Limits(Limits),
    /// Lets no move begin.
    Pause,
    /// Lets moves begin again.
    Resume,
    /// Brings a shard to a node, once: a pin until it is there.
    Move {
        /// The shard.
        shard: ShardId,
        /// The node.
        to: NodeId,
    },
    /// Stops moves because acknowledgements got slow, or lets them go on; a node writes it.
    Guard {
        /// Whether no move may begin.
        on: bool,
    },
    /// Makes tokens invalid.
    Revoke {
        /// Which.
        token: Token,
        /// When the last of them has expired anyway.
        until: Timestamp,
    },
}

/// Bounds how many moves run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In or out of one node.
    pub per_node: u32,
    /// In all.
    pub cluster: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_node: 2, cluster: 20 }
    }
}

/// Names tokens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Token {
    /// The one with this id.
    Id(Text<128>),
    /// All of a subject that were issued up to a moment.
    Subject {
        /// Who.
        subject: Text<255>,
        /// The moment.
        issued: Timestamp,
    },
}
