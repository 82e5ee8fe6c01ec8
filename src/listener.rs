//! A TCP port that this process serves, and one HTTP/1.1 connection on it.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How long is waited where the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A port that is open and not served yet.
pub struct Bound {
    listener: TcpListener,
    /// The address that others connect to.
    pub address: SocketAddr,
}

/// The port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}; choose another address with {flag}")]
pub struct BindError {
    address: SocketAddr,
    source: std::io::Error,
    flag: &'static str,
}

/// The bounds of a connection's requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    /// Time for the head of a request.
    pub(crate) timeout: Duration,
    /// The largest one, and how much of a body is read at once, in bytes.
    pub(crate) bytes_max: usize,
}

impl Bound {
    /// Opens a port, of which `flag` says where it is.
    ///
    /// # Errors
    /// [`BindError`], for instance where another process has it.
    pub(crate) async fn new(address: SocketAddr, flag: &'static str) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source, flag };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    /// Returns the port alone, for what is not HTTP.
    pub(crate) fn into_listener(self) -> TcpListener {
        self.listener
    }

    /// Waits for the next connection, and tells where it is from; none once `stop` is cancelled.
    pub(crate) async fn accept(&self, stop: &CancellationToken) -> Option<(TcpStream, IpAddr)> {
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => return Some((stream, from.ip().to_canonical())),
                Err(reason) => {
                    warn!(%reason, address = %self.address, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// Serves one connection until it ends; once `stop` is cancelled, after the request that it is at.
pub(crate) async fn serve<S>(stream: TcpStream, service: S, heads: Heads, stop: CancellationToken)
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    S::Future: Send,
{
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(heads.timeout)
        .max_buf_size(heads.bytes_max)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(serving);
    let served = tokio::select! {
        served = &mut serving => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(reason) = served {
        debug!(%reason, "a connection ended");
    }
}
