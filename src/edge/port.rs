//! The port: connections are let in, told who they come from, and held to their bounds, before a
//! route sees a request.
//!
//! ```text
//! listener ─► gate ─► proxy ─► tls ─► strict ─► entry ─► headers ─► routes
//!    address, rate    who it is from     heads that one reading alone can be made of
//! ```

pub(in crate::edge) mod activity;
pub(in crate::edge) mod entry;
pub(in crate::edge) mod forwarded;
pub(in crate::edge) mod gate;
pub(in crate::edge) mod listener;
pub(in crate::edge) mod networks;
pub(in crate::edge) mod proxy;
pub(in crate::edge) mod remote;
pub(in crate::edge) mod strict;
pub(in crate::edge) mod tls;
pub(in crate::edge) mod validity;

pub use listener::{bind, serve};
pub use networks::{BadNetworks, Networks};
pub use remote::Remote;
pub use tls::{Tls, TlsError};
