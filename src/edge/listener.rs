//! The port: accepts connections up to a limit, and serves HTTP/1.1 with upgrades on each.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router as Routes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::edge::peer::Peer;
use crate::edge::routes::{Shared, routes};
use crate::listener::{self, BindError, Bound, Heads};

/// The answer where there are too many connections.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
    cache-control: no-store\r\nconnection: close\r\n\r\n";

/// The largest request head, and how much of a body is read at once.
const HTTP_BUFFER_BYTES: usize = 32 << 10;

/// A connection's place among those allowed; whoever keeps the connection keeps this.
#[derive(Clone)]
pub(crate) struct Admitted(
    #[expect(dead_code, reason = "held, not read")] Arc<OwnedSemaphorePermit>,
);

/// Opens the port.
///
/// # Errors
/// [`BindError`], for instance where another process has it.
pub async fn bind(address: SocketAddr) -> Result<Bound, BindError> {
    Bound::new(address, "--listen").await
}

/// Serves the port until `stop` is cancelled; connections that are open then go on.
pub async fn serve(bound: Bound, shared: Arc<Shared>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(shared.config.connections_max));
    let routes = routes(shared.clone());
    while let Some((stream, address)) = bound.accept(&stop).await {
        let Ok(permit) = room.clone().try_acquire_owned() else {
            shared.metrics.refused_connections.inc();
            // A fresh socket takes so little at once; a client that is not told sees the end.
            let _ = stream.try_write(FULL);
            continue;
        };
        let peer = Peer { address, secure: false };
        let connection = connection((stream, peer), permit, routes.clone(), shared.clone());
        shared.tasks.spawn("connection", connection);
    }
}

async fn connection(
    (stream, peer): (TcpStream, Peer),
    permit: OwnedSemaphorePermit,
    routes: Routes,
    shared: Arc<Shared>,
) {
    if let Err(reason) = stream.set_nodelay(true) {
        debug!(%reason, "connection is gone");
        return;
    }
    let admitted = Admitted(Arc::new(permit));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(admitted.clone());
        request.extensions_mut().insert(peer);
        TowerToHyperService::new(routes.clone()).call(request)
    });
    let heads = Heads { timeout: shared.config.header_timeout, bytes_max: HTTP_BUFFER_BYTES };
    listener::serve(stream, service, heads, shared.token.clone()).await;
}
