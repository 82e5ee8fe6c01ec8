//! The admin port: few connections, HTTP/1.1, everything bounded.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router as Routes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::admin::Desk;
use crate::admin::routes::routes;
use crate::task::Tasks;

/// Connections at once; above, new ones are closed.
const CONNECTIONS_MAX: usize = 64;

/// Time for the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest request head, and how much of a body is read at once.
const HTTP_BUFFER_BYTES: usize = 16 << 10;

/// How long the listener waits where the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port that is open and not served yet.
pub struct Bound {
    listener: TcpListener,
    /// The address that operators connect to.
    pub address: SocketAddr,
}

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another address with --admin-listen")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

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
    let failed = |source| BindError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

/// Serves the port until the node stops.
pub async fn serve(bound: Bound, desk: Arc<Desk>, tasks: Tasks) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let token = desk.token().clone();
    let routes = routes(desk);
    loop {
        let accepted = tokio::select! {
            biased;
            () = token.cancelled() => return,
            accepted = bound.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                if let Ok(permit) = room.clone().try_acquire_owned() {
                    let connection = connection(stream, permit, routes.clone(), token.clone());
                    tasks.spawn("operator", connection);
                }
            }
            Err(reason) => {
                warn!(%reason, "could not accept an operator");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
    routes: Routes,
    token: CancellationToken,
) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HTTP_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes));
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = token.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(reason) = served {
        debug!(%reason, "an operator's connection ended");
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
