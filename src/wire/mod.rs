//! The client protocol: messages, their two encodings, close codes and the handshake's choices.
//!
//! Pure: bytes and header values in, messages and refusals out. No sockets, no documents, and no
//! judgement of revisions; docs/PROTOCOL.md says what the messages mean. Everything a client
//! sends is bounded and checked here, so that the layers above meet only well-formed values.

mod binary;
mod close;
mod codec;
mod error;
mod field;
mod frame;
mod handshake;
mod json;
mod operation;

#[cfg(test)]
mod tests;

pub use close::{ErrorCode, close_is_permanent};
pub use codec::{
    Codec, Limits, decode_client, decode_server, encode_ack, encode_client, encode_op, encode_ops,
    encode_server,
};
pub use error::{Refusal, Rejected};
pub use frame::{
    Allowance, CatchUp, ClientMessage, Color, Edit, Hello, Millis, Mode, NUMBER_MAX, Participant,
    PastEdit, Selection, ServerMessage, User, VERSION, Welcome,
};
pub use handshake::{CSRF_TOKEN_BYTES_MAX, Offer, choose_subprotocol, doc_from_path};
