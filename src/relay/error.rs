//! Why a link is not made, a message not read, or a peer's answer not had.

use std::time::Duration;

use crate::types::NodeId;

/// Tells why a connection between nodes is not taken: it is closed, and nothing else happens.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It does not begin like a node.
    #[error("it does not speak between nodes ({detail}): point clients at the client port")]
    Garbage {
        /// What it is instead.
        detail: &'static str,
    },
    /// Nothing came for so long.
    #[error("it said nothing for {0:?}: close what holds the peer port open")]
    Silent(Duration),
    /// It is of another cluster.
    #[error("it is of cluster {theirs:032x}, not {ours:032x}: give one of them another address")]
    OtherCluster {
        /// Its cluster.
        theirs: u128,
        /// The own one.
        ours: u128,
    },
    /// There is no version that both speak.
    #[error("it speaks versions {theirs:?}, this node {ours:?}: upgrade the older one")]
    Version {
        /// The oldest and the newest that it speaks.
        theirs: (u16, u16),
        /// The same of this node.
        ours: (u16, u16),
    },
    /// Another node answers at the address.
    #[error("{found:?} answers instead of {wanted:?}: correct the peer address of one of them")]
    OtherNode {
        /// Who was asked for.
        wanted: NodeId,
        /// Who answers.
        found: NodeId,
    },
    /// It bears the own name.
    #[error("it bears this node's own name: give one of them another")]
    OwnName,
    /// The connection failed or ended.
    #[error("the connection failed: {0}")]
    Lost(String),
}

impl HelloError {
    /// Names the reason for what is counted.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Garbage { .. } => "garbage",
            Self::Silent(_) => "silent",
            Self::OtherCluster { .. } => "other-cluster",
            Self::Version { .. } => "version",
            Self::OtherNode { .. } => "other-node",
            Self::OwnName => "own-name",
            Self::Lost(_) => "lost",
        }
    }
}

/// Tells why bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A newer peer's: it is answered so where an answer is wanted, and passed over otherwise.
    #[error("the message is of an unknown kind {kind}")]
    Unknown {
        /// The call to answer, 0 for none.
        call: u64,
        /// The kind.
        kind: u8,
    },
    /// The bytes are not what the kind has.
    #[error("the message does not decode")]
    Body(#[from] postcard::Error),
    /// Something stands behind the message.
    #[error("{bytes} bytes stand behind the message")]
    Trailing {
        /// How much.
        bytes: usize,
    },
    /// It is empty.
    #[error("the message is empty")]
    Empty,
}

/// Tells why a peer did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// It was never asked: there is no link to it.
    #[error("there is no link to the node: {0}")]
    NotSent(String),
    /// The link was lost, or the time ran out, before it answered: it may have done it.
    #[error("the link was lost before the node answered: it may have done what it was asked")]
    Lost,
    /// It has refused.
    #[error("the node refused: {0}")]
    Refused(String),
    /// It does not know this kind of request: it runs an older version.
    #[error("the node does not know this request: upgrade it")]
    Unknown,
}
