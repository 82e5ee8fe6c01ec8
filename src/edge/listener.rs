//! The port: accepts connections up to a limit, and serves HTTP/1.1 with upgrades on each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router as Routes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::edge::routes::{Shared, routes};

/// The answer where there are too many connections.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\
    cache-control: no-store\r\nconnection: close\r\n\r\n";

/// How long the listener waits where the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port that is open and not served yet.
pub struct Bound {
    listener: TcpListener,
    /// The address that clients connect to.
    pub address: SocketAddr,
}

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another address with --listen")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
}

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
    let failed = |source| BindError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address })
}

/// Serves the port until `stop` is cancelled; connections that are open then go on.
pub async fn serve(bound: Bound, shared: Arc<Shared>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(shared.config.connections_max));
    let routes = routes(shared.clone());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = bound.listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(reason) => {
                warn!(%reason, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            shared.metrics.refused_connections.inc();
            // A fresh socket takes so little at once; a client that is not told sees the end.
            let _ = stream.try_write(FULL);
            continue;
        };
        let connection = connection(stream, permit, routes.clone(), shared.clone());
        shared.tasks.spawn("connection", connection);
    }
}

async fn connection(
    stream: TcpStream,
    permit: OwnedSemaphorePermit,
    routes: Routes,
    shared: Arc<Shared>,
) {
    if let Err(reason) = stream.set_nodelay(true) {
        debug!(%reason, "connection is gone");
        return;
    }
    let token = shared.token.clone();
    let admitted = Admitted(Arc::new(permit));
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(admitted.clone());
        TowerToHyperService::new(routes.clone()).call(request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.header_timeout)
        .max_buf_size(HTTP_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = token.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(reason) = served {
        debug!(%reason, "connection ended");
    }
}

/// The largest request head, and how much of a body is read at once.
const HTTP_BUFFER_BYTES: usize = 32 << 10;
