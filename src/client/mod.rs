//! The Rust client: a replica that resumes by itself.
//!
//! [`Document`] is what a program wants; [`Connection`] and [`replica`] are its parts, for tools
//! that measure.

mod backoff;
mod connection;
mod document;
mod error;
pub mod replica;

pub use backoff::Backoff;
pub use connection::Connection;
pub(crate) use document::welcomed;
pub use document::{Document, Options, Shown, Status};
pub use error::Error;
