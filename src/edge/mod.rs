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

mod api;
mod assets;
mod audit;
mod carried;
mod coding;
mod config;
pub mod doors;
mod extract;
mod flights;
mod frames;
mod headers;
mod health;
mod listener;
mod markdown;
mod metered;
mod metrics;
mod model;
mod outbox;
mod pages;
mod problem;
mod purge;
mod rate;
mod refusal;
mod routes;
mod session;
mod socket;
mod table;
mod validator;
mod waiting;

pub use api::openapi::description;
pub use carried::Carried;
pub use config::Config;
pub use health::{Health, Readiness};
pub use listener::{bind, serve};
pub use metrics::Metrics;
pub use pages::Pages;
pub use purge::{BadPurge, Config as PurgeConfig, Purger};
pub use routes::Shared;
pub use waiting::Waiting;
