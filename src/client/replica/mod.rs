//! One client's copy of one document: a pure state machine (PROTOCOL.md section 5).
//!
//! ```text
//! what the user sees = buffer(flight(confirmed))
//!
//!   edit ──► buffer ──flush──► flight ──ack──► confirmed ◄── remote
//!            not sent          one batch,      the server's text
//!                              unacknowledged  at `revision`
//! ```
//!
//! It knows no sockets, frames or time: messages come in as values; what is to be sent and shown
//! goes out as values. After an error the state is as it was before the message, and the connection
//! is of no more use.

mod carry;
mod confirmed;
mod error;
mod message;
mod state;

#[cfg(test)]
mod model;

pub use confirmed::Keep;
pub use error::StreamError;
pub use message::{Batch, Effects, Missed, Snapshot, Welcome};
pub use state::Replica;
