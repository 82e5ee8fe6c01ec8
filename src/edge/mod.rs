//! The network edge: HTTP and WebSocket on one port.
//!
//! ```text
//! listener ─► headers ─► routes ─┬─► doors ─┬─► /ws/{doc} socket ─► session ◄─ outbox ◄─ document
//!                                │          ├─► /v1/docs  api
//!                                │          └─► /auth     who is let in
//!                                ├─► /pub/{doc} pages: made of public documents
//!                                ├─► / and /d/  assets
//!                                └─► /livez /readyz /metrics
//! ```
//! A session translates between the client protocol and one document; it holds no document state
//! but the revision that its client stands at.

mod activity;
mod api;
mod assets;
mod audit;
mod carried;
mod coding;
mod config;
mod counted;
pub mod doors;
mod entry;
mod extract;
mod flights;
mod forwarded;
mod frames;
mod gate;
mod headers;
mod health;
mod listener;
mod markdown;
mod metered;
mod metrics;
mod model;
mod networks;
mod outbox;
mod pages;
mod peer;
mod problem;
mod proxy;
mod purge;
mod rate;
mod refusal;
mod routes;
mod session;
mod socket;
mod strict;
mod table;
mod tls;
mod validator;
mod validity;
mod waiting;

pub use api::openapi::description;
pub use carried::Carried;
pub use config::{Config, ProxyHeader};
pub use health::{Health, Readiness};
pub use listener::{bind, serve};
pub use metrics::Metrics;
pub use networks::{BadNetworks, Networks};
pub use pages::Pages;
pub use peer::Peer;
pub use purge::{BadPurge, Config as PurgeConfig, Purger};
pub use routes::Shared;
pub use tls::{Tls, TlsError};
pub use waiting::Waiting;
