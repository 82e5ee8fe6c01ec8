//! Documents of other nodes: one subscription for each node and document, over framed TCP.
//!
//! ```text
//! session ─► router ─► Handle ─► copy ═ link ═══ TCP ═══► server ─► subscription ─► document
//!    ▲                            │  text, window, audience      one listener for all behind it
//!    └──── acks, revisions ◄──────┘◄═ changes, encoded once for all links ◄── audience
//! ```
//! A node that does not own a document keeps a copy of it while somebody here uses it. The owner
//! tells the copy each revision once; the copy tells its clients, keeps their ticks, and answers
//! their joins. Clients are attached at the owner one by one, which so knows their sessions; it
//! tells each only what is for it alone. Where a link or an owner is lost, clients are told
//! [`Moved`](crate::doc::Refusal::Moved): their sessions join again, and the copy goes on at its
//! own revision.
//!
//! Not here: where a document's owner is (`router`, `shard::Directory`), and what a client of the
//! protocol sees (`edge`).

mod carets;
mod carrier;
mod client;
mod config;
mod copy;
mod down;
mod error;
mod handle;
mod link;
#[expect(missing_docs, reason = "the fields of a message are named for what they are")]
mod message;
mod metrics;
mod network;
mod queue;
mod seat;
mod server;
mod strangers;
mod subscription;
mod text;
mod tls;
mod waiters;

use async_trait::async_trait;

pub use client::{Members, Peers};
pub use config::Config;
pub use down::{Down, Runs};
pub use error::{DecodeError, HelloError, PeerError, TlsError};
pub use handle::Handle;
pub use link::{Identity, SPEAKS};
pub use message::{
    Access, Alone, Ask, Blob, Caret, Client, Content, Denial, Hello, Message, Op, People, Person,
    Request, Response, Row, Told, Who, decode, encode,
};
pub use metrics::Metrics;
pub use network::{Listener, Network, Stream, Tcp};
pub use server::{Ports, serve};
pub use tls::Tls;

/// Answers requests of the HTTP API that came in at another node.
#[async_trait]
pub trait Answers: Send + Sync {
    /// Answers one; it is never passed on again.
    async fn answer(&self, request: Request) -> Response;

    /// Tells whether a node asks for itself, and not for a client: such a request has room of its
    /// own, so that no clients keep it out.
    fn is_of_nodes(&self, request: &Request) -> bool;
}
