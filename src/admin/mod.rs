//! Operators' commands against any node of a cluster: a small HTTP server on a port of its own.
//!
//! ```text
//! quire move 7 --to b ──► routes ─► desk ─► a record of the control topic ─► read back ─► answer
//! quire status        ──►           └────► the state of the cluster, as this node has read it
//! quire events        ──►    events ◄────── every record that is read
//! ```
//! Nothing is decided here: a command means what [`Control`](crate::cluster::Control) makes of its
//! record, for every node alike. There is no log-in: who reaches the port may move shards. A node
//! that is alone has no control topic: it can only revoke, and keeps the list itself.

mod answers;
mod config;
mod desk;
mod error;
mod events;
mod extract;
mod hosts;
mod listener;
pub mod model;
mod order;
mod routes;
mod view;

pub use answers::Branched;
pub use config::Config;
pub use desk::{Desk, Entry, Keeps, Member, Part, Ports};
pub use error::Refused;
pub use events::Events;
pub use listener::{bind, is_inner, serve};
