//! One document: a pure state machine ([`State`]) inside one actor, reached through a [`Handle`].
//!
//! ```text
//! submit ─► check, rebase ─► ordered (window, queue) ─► record ─► shard's writer ─► log
//!                                                                                    │ accepted
//! clients ◄── acks, revisions (audience) ◄── history (crdt), session table ◄─────────┘
//! ```
//! Knows no sockets and no encodings of the client protocol, and does not write to the log itself:
//! it hands records to its [`Shard`] and is told what became of them.

mod actor;
mod audience;
mod change;
mod config;
mod error;
mod handle;
mod history;
mod join;
mod metrics;
mod on_head;
mod order;
mod pending;
mod presence;
mod recall;
mod rights;
mod save;
mod saving;
mod sessions;
mod settle;
mod shown;
mod state;
#[cfg(test)]
mod tests;
mod visit;
mod window;
mod write;

pub(crate) use actor::stalled;
pub use actor::{Ports, spawn};
pub use audience::{Merged, Outbox};
pub use change::{Batch, Change, ConnId, Encodings, Event, Mode, Update, User};
pub use config::{Config, Service};
pub use error::{Failure, Refusal};
pub use handle::{
    Budget, Closed, Content, Handle, Heard, Join, Listen, NotTaken, Outcome, Room, Socket, Welcome,
};
pub use history::{Blamed, Hunk, HunkKind, Page, Past, Row, Verified};
pub use metrics::Metrics;
pub use order::check_first;
pub use presence::{Presence, PresenceRow};
pub use save::Encoders;
pub use shown::{Herald, Public, Shown};
pub use state::{Effect, State};
pub use visit::Visit;
pub use write::{Append, Done, Shard, Write};

pub(crate) use audience::{Audience, Hears, Tick};
pub(crate) use window::Window;

pub use crate::checkpoint::NamedVersion;
pub use crate::log::EventKind;
