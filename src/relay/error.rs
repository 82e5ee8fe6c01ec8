//! Why a link is not made, a message not read, or a peer's answer not had.

use std::path::PathBuf;
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
    /// Others came before it had said who it is.
    #[error("it said nothing, and made room for others: close what holds the peer port open")]
    Displaced,
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
    /// The cluster holds it for dead.
    #[error("it is held for dead: it joins again by itself where it hears of the others")]
    Down,
    /// It bears the own name.
    #[error("it bears this node's own name: give one of them another")]
    OwnName,
    /// It is a node or a client without TLS at a port with it.
    #[error(
        "it does not speak TLS ({0}), as this node does: set relay.tls-* of all nodes, or none"
    )]
    Plain(String),
    /// It speaks TLS, and this node does not.
    #[error("it speaks TLS, and this node does not: set relay.tls-* of all nodes, or of none")]
    Secured,
    /// It has no certificate of the cluster.
    #[error("its certificate is not taken: {0}")]
    Certificate(String),
    /// It does not take the own certificate.
    #[error("it does not take this node's certificate: {0}")]
    OwnCertificate(String),
    /// TLS does not come about for another reason.
    #[error("no TLS with it: {0}")]
    Tls(String),
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
            Self::Displaced => "displaced",
            Self::OtherCluster { .. } => "other-cluster",
            Self::Version { .. } => "version",
            Self::OtherNode { .. } => "other-node",
            Self::Down => "down",
            Self::OwnName => "own-name",
            Self::Plain(_) => "plain",
            Self::Secured => "secured",
            Self::Certificate(_) => "certificate",
            Self::OwnCertificate(_) => "own-certificate",
            Self::Tls(_) => "tls",
            Self::Lost(_) => "lost",
        }
    }
}

/// Tells why a node cannot speak TLS to others with the files that it was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or not readable.
    #[error(
        "{option}: {path:?} cannot be read ({reason}): name a PEM file that this user may read"
    )]
    Unreadable {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system or the reader of PEM says.
        reason: String,
    },
    /// There is nothing of the kind in a file.
    #[error("{option}: there is no {what} in {path:?}: name a PEM file that has one")]
    Empty {
        /// The option that names it.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be there.
        what: &'static str,
    },
    /// The certificate has another key.
    #[error("relay.tls-key-file has not the key of relay.tls-certificate-file: name a pair")]
    OtherKey,
    /// Peers would not take the certificate.
    #[error("relay.tls-certificate-file: no peer would take it: {0}")]
    Certificate(String),
    /// No certificate can name the node.
    #[error(
        "{0:?} is no DNS name, so that no certificate names it: choose another name with --node"
    )]
    Name(NodeId),
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
