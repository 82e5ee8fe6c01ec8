//! One connection between two nodes: the greeting, and frames in.
//!
//! ```text
//! dial ─► own Hello ─► the peer's Hello: cluster, version, name ─► messages
//! ```
//! Frames are a length (4 bytes, big-endian) and so many bytes. Works on any stream of bytes.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LengthDelimitedCodec};

use crate::relay::down::Down;
use crate::relay::error::HelloError;
use crate::relay::message::{HELLO_BYTES_MAX, Hello};
use crate::relay::network::Stream;
use crate::relay::tls;
use crate::types::{NodeId, common};

/// The versions of the messages that this program speaks, the oldest and the newest. Version 1
/// did not say who asks; version 2 not for whom a subscription is.
pub const SPEAKS: (u16, u16) = (2, FOLLOWS);

/// The first version in which a subscription says for whom it is.
pub(crate) const FOLLOWS: u16 = 3;

/// What stands before each frame.
const LENGTH_BYTES: usize = 4;

/// What a node says of itself to its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: u128,
    /// The node.
    pub node: NodeId,
    /// Tells this start from others: a later one has a higher number.
    pub boot: u64,
    /// The oldest and the newest version of the messages that it speaks: [`SPEAKS`], but in tests.
    pub speaks: (u16, u16),
}

/// A peer that was greeted.
pub(crate) struct Greeted<S> {
    pub(crate) peer: Hello,
    /// The newest version of the messages that both speak.
    pub(crate) version: u16,
    pub(crate) frames: Frames<S>,
    pub(crate) socket: WriteHalf<S>,
}

/// Returns how many bytes a frame takes on its connection.
pub(crate) fn on_wire(frame: &[u8]) -> u64 {
    (LENGTH_BYTES + frame.len()) as u64
}

/// Reads the frames of a connection.
pub(crate) struct Frames<S> {
    read: FramedRead<ReadHalf<S>, LengthDelimitedCodec>,
}

impl<S: Stream> Frames<S> {
    /// Waits for the next frame; `None` is the end.
    ///
    /// # Errors
    /// Where the connection failed, or the frame is larger than allowed.
    ///
    /// # Cancel safety
    /// May be dropped and called again; nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<Option<BytesMut>, io::Error> {
        self.read.next().await.transpose()
    }

    /// Returns how much of the next frame is here, in bytes.
    pub(crate) fn begun(&self) -> usize {
        self.read.read_buffer().len()
    }
}

impl Identity {
    /// Greets the node that was dialled.
    ///
    /// # Errors
    /// [`HelloError`].
    pub(crate) async fn dial<S: Stream>(
        &self,
        stream: S,
        wanted: &NodeId,
        limits: Limits,
    ) -> Result<Greeted<S>, HelloError> {
        let (frames, mut socket) = halves(stream);
        self.tell(&mut socket).await?;
        let greeted = self.hear(frames, socket, limits).await?;
        if greeted.peer.node != *wanted {
            let (wanted, found) = (wanted.clone(), greeted.peer.node);
            return Err(HelloError::OtherNode { wanted, found });
        }
        Ok(greeted)
    }

    /// Greets whoever has dialled.
    ///
    /// # Errors
    /// [`HelloError`]. A node of another cluster or version is told who is here, so that its log
    /// tells the reason, too; one that is down is not, so that it does not come again at once.
    pub(crate) async fn answer<S: Stream>(
        &self,
        stream: S,
        limits: Limits,
        down: &Down,
    ) -> Result<Greeted<S>, HelloError> {
        let (mut frames, mut socket) = halves(stream);
        let peer = hear(&mut frames, limits).await?;
        if down.has(&peer.node, peer.boot) {
            return Err(HelloError::Down);
        }
        self.tell(&mut socket).await?;
        let version = self.check(&peer)?;
        frames.read.decoder_mut().set_max_frame_length(limits.frame_bytes_max);
        Ok(Greeted { peer, version, frames, socket })
    }

    async fn hear<S: Stream>(
        &self,
        mut frames: Frames<S>,
        socket: WriteHalf<S>,
        limits: Limits,
    ) -> Result<Greeted<S>, HelloError> {
        let peer = hear(&mut frames, limits).await?;
        let version = self.check(&peer)?;
        frames.read.decoder_mut().set_max_frame_length(limits.frame_bytes_max);
        Ok(Greeted { peer, version, frames, socket })
    }

    async fn tell<S: Stream>(&self, socket: &mut WriteHalf<S>) -> Result<(), HelloError> {
        let Self { cluster, node, boot, speaks } = self.clone();
        let hello = Hello { cluster, node, boot, speaks }.encode();
        let length = u32::try_from(hello.len()).expect("a hello is short");
        let frame = [&length.to_be_bytes(), &*hello].concat();
        socket.write_all(&frame).await.map_err(lost)?;
        socket.flush().await.map_err(lost)
    }

    /// Checks who is there and returns the version that both speak.
    fn check(&self, peer: &Hello) -> Result<u16, HelloError> {
        if peer.cluster != self.cluster {
            let (theirs, ours) = (peer.cluster, self.cluster);
            return Err(HelloError::OtherCluster { theirs, ours });
        }
        let (theirs, ours) = (peer.speaks, self.speaks);
        let Some(version) = common(theirs, ours) else {
            return Err(HelloError::Version { theirs, ours });
        };
        if peer.node == self.node {
            return Err(HelloError::OwnName);
        }
        Ok(version)
    }
}

/// The bounds of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) hello_timeout: Duration,
    pub(crate) frame_bytes_max: usize,
}

fn halves<S: Stream>(stream: S) -> (Frames<S>, WriteHalf<S>) {
    let (read, write) = split(stream);
    // Nobody is trusted with more before the greeting.
    let codec = LengthDelimitedCodec::builder().max_frame_length(HELLO_BYTES_MAX).new_codec();
    (Frames { read: FramedRead::new(read, codec) }, write)
}

async fn hear<S: Stream>(frames: &mut Frames<S>, limits: Limits) -> Result<Hello, HelloError> {
    let Ok(frame) = timeout(limits.hello_timeout, frames.next()).await else {
        return Err(HelloError::Silent(limits.hello_timeout));
    };
    match frame {
        Ok(Some(frame)) => Hello::decode(&frame),
        Ok(None) => Err(HelloError::Lost("it closed before it said anything".to_owned())),
        Err(error) => Err(tls::why(&error).unwrap_or_else(|| match error.kind() {
            io::ErrorKind::InvalidData if tls::begins(frames.read.read_buffer()) => {
                HelloError::Secured
            }
            io::ErrorKind::InvalidData => {
                HelloError::Garbage { detail: "its first frame is longer than a greeting" }
            }
            _ => lost(error),
        })),
    }
}

fn lost(error: impl std::fmt::Display) -> HelloError {
    HelloError::Lost(error.to_string())
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn identity(node: &str, speaks: (u16, u16)) -> Identity {
        let node = NodeId(node.parse().unwrap());
        Identity { cluster: 7, node, boot: 1, speaks }
    }

    #[tokio::test]
    async fn two_nodes_speak_the_newest_version_that_both_know() {
        let limits = Limits { hello_timeout: Duration::from_secs(9), frame_bytes_max: 1 << 20 };
        let (_, down) = Down::told();
        for (ours, theirs, common) in [
            ((1, 1), (1, 1), Some(1)),
            ((1, 1), (1, 3), Some(1)),
            ((1, 3), (2, 5), Some(3)),
            ((4, 5), (2, 4), Some(4)),
            ((1, 1), (2, 3), None),
            ((4, 5), (1, 3), None),
        ] {
            let (here, there) = duplex(4_096);
            let (own, other) = (identity("a", ours), identity("b", theirs));
            let dialling = own.dial(here, &other.node, limits);
            let (dialled, answered) = tokio::join!(dialling, other.answer(there, limits, &down));
            let told = [dialled, answered].map(|greeted| greeted.map(|greeted| greeted.version));
            match common {
                Some(version) => assert_eq!(told, [Ok(version), Ok(version)]),
                None => {
                    let refused = HelloError::Version { theirs, ours };
                    assert_eq!(told[0], Err(refused), "{ours:?} {theirs:?}");
                    assert!(matches!(told[1], Err(HelloError::Version { .. })), "{told:?}");
                }
            }
        }
    }
}
