//! The Rust client: a replica that resumes by itself.
//!
//! [`Document`] is what a program wants; [`Connection`] and [`replica`] are its parts, for tools
//! that measure; [`Http`] asks the same servers what they do not tell over sockets.

mod address;
mod backoff;
mod connection;
mod document;
mod error;
mod http;
mod link;
mod observer;
pub mod replica;
mod tls;
mod token;

pub use backoff::Backoff;
pub use connection::{Connection, Traffic};
pub use document::{Document, EditError, Options, Shown, Status, View};
pub use error::{AskError, Error};
pub use http::{Answer, Bounds, Http};
pub(crate) use link::welcomed;
pub use observer::{Observer, Seen, Watcher};
pub use tls::Tls;
pub use token::{Credentials, Token};
