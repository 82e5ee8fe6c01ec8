//! Who a request comes from, as far as the port can tell.

use std::net::IpAddr;

/// Says where a request comes from; every request that comes in at the port carries one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The client's address.
    pub address: IpAddr,
    /// Whether it came over TLS.
    pub secure: bool,
}
