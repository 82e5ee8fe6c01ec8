//! The four entry points of both encodings, and the bounds on what a client sends.

use bytes::Bytes;

use crate::text::Operation;
use crate::types::{ParticipantId, Revision, Seq};
use crate::wire::{ClientMessage, ErrorCode, Refusal, ServerMessage, binary, json};

/// Names an encoding: one message a WebSocket frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// JSON in text frames: `quire.v1`.
    Json,
    /// Postcard in binary frames: `quire.v1.bin`.
    Binary,
}

impl Codec {
    /// Returns the name of the WebSocket subprotocol.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => "quire.v1",
            Self::Binary => "quire.v1.bin",
        }
    }

    /// Returns the encoding that a subprotocol stands for, if it is one of ours.
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        [Self::Json, Self::Binary].into_iter().find(|codec| codec.subprotocol() == name)
    }
}

/// Bounds what one frame of a client may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// The longest frame, in bytes.
    pub frame_bytes: usize,
    /// The most components of an operation, as sent.
    pub op_components: usize,
    /// The most text that an operation inserts, in bytes of UTF-8.
    pub op_bytes: usize,
}

/// The default is for documents of ordinary size: a paste of 1 MiB.
impl Default for Limits {
    fn default() -> Self {
        Self { frame_bytes: 2 << 20, op_components: 1 << 16, op_bytes: 1 << 20 }
    }
}

/// Decodes a client's frame and checks all of it that needs no document.
///
/// # Errors
/// A [`Refusal`] that says which field is wrong and what it must be.
pub fn decode_client(
    codec: Codec,
    frame: &[u8],
    limits: &Limits,
) -> Result<ClientMessage, Refusal> {
    if frame.len() > limits.frame_bytes {
        let why = format!("a frame has at most {} bytes: send less at a time", limits.frame_bytes);
        return Err(Refusal::new(ErrorCode::TooLarge, why));
    }
    match codec {
        Codec::Json => json::client::decode(frame, limits),
        Codec::Binary => binary::decode_client(frame, limits),
    }
}

/// Decodes a server's frame; `None` is a message of a later version, to be ignored.
///
/// # Errors
/// A [`Refusal`] if the frame is no message. It is for the client's own log: nothing is sent.
pub fn decode_server(codec: Codec, frame: &[u8]) -> Result<Option<ServerMessage>, Refusal> {
    match codec {
        Codec::Json => json::server::decode(frame),
        Codec::Binary => binary::decode_server(frame),
    }
}

/// Encodes a message of a client.
pub fn encode_client(codec: Codec, message: &ClientMessage) -> Bytes {
    match codec {
        Codec::Json => json::encode::client(message),
        Codec::Binary => binary::encode(message),
    }
}

/// Encodes a message of the server, once for all that receive it in this encoding.
pub fn encode_server(codec: Codec, message: &ServerMessage) -> Bytes {
    match codec {
        Codec::Json => json::encode::server(message),
        Codec::Binary => binary::encode(message),
    }
}

/// Encodes [`ServerMessage::Op`] without owning the operation.
pub fn encode_op(
    codec: Codec,
    rev: Revision,
    author: ParticipantId,
    base: Revision,
    op: &Operation,
) -> Bytes {
    match codec {
        Codec::Json => json::encode::op(rev, author, base, op),
        Codec::Binary => binary::encode_op(rev, author, base, op),
    }
}

/// Encodes [`ServerMessage::Ops`] without owning the operations; `rev` is the revision of the
/// first, each item is its author, its base and the operation.
pub fn encode_ops<'a, I>(codec: Codec, rev: Revision, list: I) -> Bytes
where
    I: IntoIterator<Item = (ParticipantId, Revision, &'a Operation)>,
    I::IntoIter: ExactSizeIterator,
{
    match codec {
        Codec::Json => json::encode::ops(rev, list.into_iter()),
        Codec::Binary => binary::encode_ops(rev, list.into_iter()),
    }
}

/// Encodes [`ServerMessage::Ack`] without owning the operation.
pub fn encode_ack(codec: Codec, seq: Seq, rev: Revision, op: Option<&Operation>) -> Bytes {
    match codec {
        Codec::Json => json::encode::ack(seq, rev, op),
        Codec::Binary => binary::encode_ack(seq, rev, op),
    }
}
