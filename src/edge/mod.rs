//! The network edge: HTTP and WebSocket on one port.
//!
//! ```text
//! port ─► headers ─► answers ─► routes ─┬─► doors ─┬─► /ws/{doc} socket ─► session ◄─┐
//!                                       │          │            document ─► outbox ──┘
//!                                       │          ├─► /v1/docs  api ─► long
//!                                       │          └─► /auth     who is let in
//!                                       ├─► /pub/{doc} pages: made of public documents
//!                                       ├─► / and /d/  assets
//!                                       └─► /livez /readyz /metrics
//! ```
//! A session translates between the client protocol and one document; it holds no document state
//! but the revision that its client stands at.

mod answers;
mod api;
mod assets;
mod body;
mod carried;
mod config;
pub mod doors;
mod extract;
mod headers;
mod health;
mod long;
mod metrics;
mod model;
mod pages;
mod port;
mod problem;
mod purge;
mod refusal;
mod room;
mod routes;
mod session;
mod socket;
mod tenants;
mod trail;
mod validator;

pub use answers::AnswerRoom;
pub use api::openapi::description;
pub use carried::Carried;
pub use config::{Config, ProxyHeader};
pub use health::{Health, Readiness};
pub use metrics::Metrics;
pub use pages::Pages;
pub use port::{BadNetworks, Networks, Remote, Tls, TlsError, bind, serve};
pub use purge::{BadPurge, Config as PurgeConfig, Purger};
pub use room::Pool;
pub use routes::Shared;
pub use session::Waiting;
pub use tenants::Tenants;
