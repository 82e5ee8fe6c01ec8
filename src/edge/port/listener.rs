//! The port: accepts connections up to its limits, finds out who is at the other end, and serves
//! HTTP on each.
//!
//! ```text
//! accept ─► what a proxy says first ─► room for the address ─► TLS ─► HTTP/1.1 or HTTP/2
//!    └ full └ nothing, or no proxy     └ too many, too quick   └ not agreed on
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router as Routes;
use axum::http::StatusCode;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::edge::metrics::Reason;
use crate::edge::port::activity::Activity;
use crate::edge::port::entry::Entry;
use crate::edge::port::gate::{Crowded, Gate, Place};
use crate::edge::port::proxy;
use crate::edge::port::remote::Remote;
use crate::edge::port::strict::Strict;
use crate::edge::port::tls::{Tls, wants_http2};
use crate::edge::problem::Problem;
use crate::edge::routes::{Shared, routes};
use crate::edge::trail::turned_away;
use crate::listener::{self, BindError, Bound, Bounds, Heads};

/// How many connections are accepted before others have a turn: each takes some 40 us.
const ACCEPTED_AT_ONCE: usize = 8;

/// When a client may come again that finds too many connections.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// A connection's place among those allowed; whoever keeps the connection keeps this.
#[derive(Clone)]
pub(crate) struct Admitted {
    #[expect(dead_code, reason = "held, not read")]
    connection: Arc<(OwnedSemaphorePermit, Place)>,
    /// The place of somebody behind a proxy.
    behind: Option<Arc<Place>>,
}

/// Serves connections alike.
struct Port {
    shared: Arc<Shared>,
    gate: Arc<Gate>,
    tls: Option<Tls>,
    routes: Routes,
}

/// A connection of which it is known who is at its other end.
struct Line {
    stream: Box<dyn Stream>,
    peer: Remote,
    place: Place,
    http2: bool,
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why a connection is not served.
enum Closed {
    /// It is refused.
    Refused(Reason, String),
    /// There is no room for its address, which it is told where it is plain.
    Crowded(Crowded, IpAddr, TcpStream),
}

impl Admitted {
    /// Keeps the place of somebody behind a proxy, too.
    pub(crate) fn keep(&mut self, place: Place) {
        self.behind = Some(Arc::new(place));
    }

    /// Returns what keeps no place, for tests.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().expect("there is one");
        Self { connection: Arc::new((permit, Place::free())), behind: None }
    }

    /// Tells whether it keeps the place of somebody behind a proxy, for tests.
    #[cfg(test)]
    pub(crate) fn is_behind(&self) -> bool {
        self.behind.is_some()
    }
}

/// Opens the port.
///
/// # Errors
/// [`BindError`], for instance where another process has it.
pub async fn bind(address: SocketAddr) -> Result<Bound, BindError> {
    Bound::new(address, "--listen").await
}

/// Serves the port until `stop` is cancelled; connections that are open then go on.
pub async fn serve(bound: Bound, tls: Option<Tls>, shared: Arc<Shared>, stop: CancellationToken) {
    let config = &shared.config;
    let room = Arc::new(Semaphore::new(config.connections_max));
    let gate = Arc::new(Gate::new(config.connections_per_address, config.handshakes_per_second));
    let routes = routes(shared.clone());
    let port = Arc::new(Port { shared: shared.clone(), gate, tls, routes });
    let full = "there are too many connections to this node: try again in a second";
    let full = Problem::new(StatusCode::SERVICE_UNAVAILABLE, full).retry(FULL_RETRY).unasked();
    let mut accepted: usize = 0;
    while let Some((stream, from)) = bound.accept(&stop).await {
        accepted = accepted.wrapping_add(1);
        if accepted.is_multiple_of(ACCEPTED_AT_ONCE) {
            yield_now().await;
        }
        let Ok(permit) = room.clone().try_acquire_owned() else {
            turned_away(&shared.metrics, Reason::Full, from);
            if port.tls.is_none() {
                // A fresh socket takes so little at once; who is not told sees the end.
                let _ = stream.try_write(full.as_bytes());
            }
            continue;
        };
        shared.tasks.spawn("connection", port.clone().connection(stream, from, permit));
    }
}

impl Port {
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        from: IpAddr,
        permit: OwnedSemaphorePermit,
    ) {
        if let Err(reason) = stream.set_nodelay(true) {
            debug!(%reason, "connection is gone");
            return;
        }
        let within = self.shared.config.handshake_timeout;
        let opened = tokio::select! {
            biased;
            () = self.shared.token.cancelled() => return,
            opened = timeout(within, self.open(stream, from)) => opened,
        };
        let late = || Closed::Refused(Reason::SlowHandshake, "it took too long".to_owned());
        match opened.unwrap_or_else(|_| Err(late())) {
            Ok(line) => self.serve(line, permit).await,
            Err(Closed::Refused(reason, why)) => {
                turned_away(&self.shared.metrics, reason, from);
                debug!(%from, why, "a connection is refused");
            }
            Err(Closed::Crowded(crowded, address, stream)) => {
                turned_away(&self.shared.metrics, crowded.reason(), address);
                if self.tls.is_none() {
                    tell(stream, crowded).await;
                }
            }
        }
    }

    /// Finds out who is at the other end of a connection.
    async fn open(&self, mut stream: TcpStream, from: IpAddr) -> Result<Line, Closed> {
        let config = &self.shared.config;
        let mut peer = Remote { address: from, secure: false };
        if config.proxy_protocol {
            let refused = |why: String| Closed::Refused(Reason::Proxy, why);
            if !config.trusted_proxies.contain(from) {
                return Err(refused("it is no trusted proxy".to_owned()));
            }
            let header = proxy::read(&mut stream).await.map_err(|bad| refused(bad.to_string()))?;
            if let Some(address) = header.source {
                peer = Remote { address, secure: header.secure };
            }
        }
        let place = match config.trusted_proxies.contain(peer.address) {
            true => Ok(Place::free()),
            false => self.gate.admit(peer.address).await,
        };
        let place = match place {
            Ok(place) => place,
            Err(crowded) => return Err(Closed::Crowded(crowded, peer.address, stream)),
        };
        let Some(tls) = &self.tls else {
            return Ok(Line { stream: Box::new(stream), peer, place, http2: false });
        };
        let secured = tls.accept(stream).await;
        let secured = secured.map_err(|error| Closed::Refused(Reason::Tls, error.to_string()))?;
        peer.secure = true;
        let http2 = wants_http2(&secured);
        Ok(Line { stream: Box::new(secured), peer, place, http2 })
    }

    async fn serve(&self, line: Line, permit: OwnedSemaphorePermit) {
        let Line { stream, peer, place, http2 } = line;
        let shared = &self.shared;
        let (config, metrics) = (&shared.config, &shared.metrics);
        let answers_max = if http2 { config.streams_max } else { 1 };
        let activity = Arc::new(Activity::new(config.idle_timeout, answers_max));
        let entry = Arc::new(Entry {
            peer,
            admitted: Admitted { connection: Arc::new((permit, place)), behind: None },
            activity: activity.clone(),
            gate: self.gate.clone(),
            config: config.clone(),
            metrics: metrics.clone(),
            routes: self.routes.clone(),
        });
        let service = service_fn(move |request| {
            let entry = entry.clone();
            async move { entry.answer(request).await }
        });
        let ending = activity.idle(&shared.token);
        let cut = async {
            activity.stalled().await;
            turned_away(metrics, Reason::SlowReader, peer.address);
        };
        let bytes_max = usize::try_from(config.head_bytes_max.as_u64()).unwrap_or(usize::MAX);
        let heads = Heads { timeout: Some(config.header_timeout), bytes_max };
        let known = (peer.address, metrics.clone());
        if http2 {
            let io = Strict::http2(stream, heads, activity.clone(), known);
            let head_bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX);
            let bounds = Bounds { streams_max: config.streams_max, head_bytes_max };
            let tasks = shared.tasks.clone();
            listener::serve_http2(io, service, bounds, tasks, ending, cut).await;
        } else {
            let io = Strict::http1(stream, heads, activity.clone(), known);
            listener::serve(io, service, Heads { timeout: None, ..heads }, ending, cut).await;
        }
    }
}

/// Tells a client why its connection ends.
async fn tell(mut stream: TcpStream, crowded: Crowded) {
    let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, &crowded.to_string());
    let answer = problem.retry(crowded.retry()).unasked();
    // It takes so little at once, or is gone.
    let _ = stream.write_all(answer.as_bytes()).await;
}
