//! The admin port: few connections, HTTP/1.1, everything bounded.

use std::future::pending;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::service::TowerToHyperService;
use tokio::sync::Semaphore;

use crate::admin::Desk;
use crate::admin::routes::routes;
use crate::listener::{self, BindError, Bound, Heads};
use crate::task::Tasks;

/// Connections at once; above, new ones are closed.
const CONNECTIONS_MAX: usize = 64;

/// Time for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest request head.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Tells whether only this machine or a private network reaches an address.
pub fn is_inner(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// Opens the port.
///
/// # Errors
/// [`BindError`], for instance where another process has it.
pub async fn bind(address: SocketAddr) -> Result<Bound, BindError> {
    Bound::new(address, "--admin-listen").await
}

/// Serves the port until the node stops.
pub async fn serve(bound: Bound, desk: Arc<Desk>, tasks: Tasks) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let token = desk.token().clone();
    let routes = routes(desk);
    let heads = Heads { timeout: Some(HEADER_TIMEOUT), bytes_max: HEAD_BYTES_MAX };
    while let Some((stream, _)) = bound.accept(&token).await {
        let Ok(permit) = room.clone().try_acquire_owned() else { continue };
        let service = TowerToHyperService::new(routes.clone());
        let ending = token.clone().cancelled_owned();
        let serving = listener::serve(stream, service, heads, ending, pending());
        tasks.spawn("operator", async move {
            serving.await;
            drop(permit);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_of_this_machine_or_a_private_network() {
        for (ip, inner) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.1.2.3", true),
            ("172.16.0.1", true),
            ("192.168.3.4", true),
            ("169.254.1.1", true),
            ("fd00::1", true),
            ("fe80::1", true),
            ("::ffff:10.0.0.1", true),
            ("0.0.0.0", false),
            ("::", false),
            ("172.32.0.1", false),
            ("203.0.113.9", false),
            ("2001:db8::1", false),
            ("::ffff:203.0.113.9", false),
        ] {
            assert_eq!(is_inner(ip.parse().unwrap()), inner, "{ip}");
        }
    }
}
