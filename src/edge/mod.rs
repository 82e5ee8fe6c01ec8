//! The network edge: HTTP and WebSocket on one port.
//!
//! ```text
//! listener ─► routes ─┬─► doors ─┬─► /ws/{doc}   socket ─► session ◄─ outbox ◄─ document
//!                     │          ├─► /v1/docs    api
//!                     │          └─► /auth       who is let in
//!                     ├─► / and /d/   assets
//!                     └─► /livez /readyz /metrics
//! ```
//! A session translates between the client protocol and one document; it holds no document state
//! but the revision that its client stands at.

mod activity;
mod api;
mod asker;
mod assets;
mod audit;
mod carried;
mod config;
mod counted;
pub mod doors;
mod entry;
mod erase;
mod extract;
mod forwarded;
mod frames;
mod gate;
mod health;
mod listener;
mod metered;
mod metrics;
mod model;
mod networks;
mod outbox;
mod peer;
mod problem;
mod proxy;
mod rate;
mod refusal;
mod routes;
mod session;
mod socket;
mod strict;
mod tls;
mod validity;
mod waiting;

pub use carried::Carried;
pub use config::{Config, ProxyHeader};
pub use health::{Health, Readiness};
pub use listener::{bind, serve};
pub use metrics::Metrics;
pub use networks::{BadNetworks, Networks};
pub use peer::Peer;
pub use routes::Shared;
pub use tls::{Tls, TlsError};
pub use waiting::Waiting;
