//! A TCP port that this process serves, and one connection on it: HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::task::Tasks;

/// How long is waited where the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How much of a body is read at once over HTTP/1.1, or more where heads may be longer.
const READ_BYTES: usize = 32 << 10;

/// How many streams over HTTP/2 may be reset at a time before anything is done for them.
const RESETS_MAX: usize = 20;

/// How many it resets itself, for what is wrong with them: a client that has not heard yet how many
/// it may have asks for a hundred.
const OWN_RESETS_MAX: usize = 200;

/// How much of bodies over HTTP/2 comes before it is read, of a stream and of its connection.
const WINDOW_BYTES: u32 = 256 << 10;

/// How much of an answer over HTTP/2 waits to be sent, of a stream.
const SEND_BYTES: usize = 64 << 10;

/// How often a connection over HTTP/2 is asked whether it is there, and how long it may take to
/// say so.
const PING_EVERY: Duration = Duration::from_secs(20);
const PONG_WITHIN: Duration = Duration::from_secs(20);

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

/// The bounds of the heads of a connection's requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    /// Time for one: none where something else watches it. What serves HTTP/1.1 counts it from the
    /// end of the last request.
    pub(crate) timeout: Option<Duration>,
    /// The largest one, in bytes.
    pub(crate) bytes_max: usize,
}

/// The bounds of a connection over HTTP/2.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Requests at once.
    pub(crate) streams_max: u32,
    /// The largest head of a request, in bytes.
    pub(crate) head_bytes_max: u32,
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

/// Serves one connection over HTTP/1.1 until it ends; after `ending` it ends with the request that
/// it is at, after `cut` at once.
pub(crate) async fn serve<I, S>(
    io: I,
    service: S,
    heads: Heads,
    ending: impl Future<Output = ()>,
    cut: impl Future<Output = ()>,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    S::Future: Send,
{
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(heads.timeout)
        .max_header_size(heads.bytes_max)
        .max_buf_size(heads.bytes_max.max(READ_BYTES))
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    run(serving, |serving| serving.graceful_shutdown(), ending, cut).await;
}

/// Serves one connection over HTTP/2, as [`serve`] does; what it asks at once is in `tasks`.
pub(crate) async fn serve_http2<I, S>(
    io: I,
    service: S,
    bounds: Bounds,
    tasks: Tasks,
    ending: impl Future<Output = ()>,
    cut: impl Future<Output = ()>,
) where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: HttpService<Incoming, ResBody = Body, Error = Infallible>,
    S::Future: Send + 'static,
{
    let serving = http2::Builder::new(Requests(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams_max)
        .max_header_list_size(bounds.head_bytes_max)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(OWN_RESETS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .serve_connection(TokioIo::new(io), service);
    run(serving, |serving| serving.graceful_shutdown(), ending, cut).await;
}

async fn run<C>(
    serving: C,
    end: impl FnOnce(Pin<&mut C>),
    ending: impl Future<Output = ()>,
    cut: impl Future<Output = ()>,
) where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::pin!(serving, cut);
    let served = tokio::select! {
        served = &mut serving => served,
        () = &mut cut => return,
        () = ending => {
            end(serving.as_mut());
            tokio::select! {
                served = serving => served,
                () = cut => return,
            }
        }
    };
    if let Err(reason) = served {
        debug!(%reason, "a connection ended");
    }
}

/// Starts what answers the requests of a connection.
#[derive(Clone)]
struct Requests(Tasks);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Requests {
    fn execute(&self, request: F) {
        self.0.spawn("request", request);
    }
}
