//! The Rust client: a replica that resumes by itself.
//!
//! [`Document`] is what a program wants; [`Connection`] and [`replica`] are its parts, for tools
//! that measure.

mod backoff;
mod connection;
mod document;
mod error;
mod link;
mod observer;
pub mod replica;

pub use backoff::Backoff;
pub use connection::{Connection, Traffic};
pub use document::{Document, EditError, Options, Shown, Status, View};
pub use error::Error;
pub(crate) use link::welcomed;
pub use observer::{Observer, Seen, Watcher};
