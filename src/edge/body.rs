//! The body of a request: it is read into room that all bodies share, in its time, and no faster
//! than whoever sends it may send.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use bytes::BytesMut;
use futures_util::{Stream, StreamExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use crate::edge::Remote;
use crate::edge::doors::{Caller, Refused};
use crate::edge::metrics::Reason;
use crate::edge::port::activity::Activity;
use crate::edge::problem::Problem;
use crate::edge::room;
use crate::edge::routes::Shared;
use crate::edge::tenants::Tenant;
use crate::edge::tenants::counted::Permit;
use crate::edge::trail::turned_away;

/// The room that a body takes until it is dropped, among all bodies and among those of its tenant.
pub(crate) struct Room {
    _all: OwnedSemaphorePermit,
    _own: Permit<u64>,
}

/// Reads a body, and returns the room that it takes among all bodies.
///
/// It is paid for by whom the request counts for, where that is known: another node that carries
/// it has paid already. What comes too fast waits unread, and for as long its time does not run.
/// Nothing is done with it where its sender may not stay until it has come: this is the one way to
/// a body, and what was waited for before it, a turn and the document, counts as well.
pub(crate) async fn body_bytes(
    request: Request,
    shared: &Arc<Shared>,
) -> Result<(Bytes, Room), Problem> {
    let most = shared.config.body_bytes_max.as_u64();
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    let tenant = request.extensions().get::<Tenant>().copied();
    let bytes = if request.body().is_end_stream() { 0 } else { declared.unwrap_or(most) };
    let from = request.extensions().get::<Remote>().map(|remote| remote.address);
    let room = room(bytes.min(most), (tenant, from), shared)?;
    let activity = request.extensions().get::<Arc<Activity>>().cloned();
    let stay = shared.doors.stay(request.extensions().get::<Caller>());
    let pieces = request.into_body().into_data_stream();
    let charge = |bytes| {
        // What waits here is no connection that nobody uses.
        activity.iter().for_each(|activity| activity.ask());
        tenant.map_or(Duration::ZERO, |tenant| charge(tenant, bytes, shared))
    };
    let reading = whole(pieces, most, shared.config.body_timeout, charge);
    match shared.doors.as_long_as_let_in(stay, reading).await? {
        Ok(bytes) => Ok((bytes, room)),
        Err(Cut::Late) => {
            refused(shared, Reason::SlowBody, from);
            let detail = "the body did not come in time";
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
        Err(Cut::Broken) => {
            let detail = "the body did not come to its end";
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
        Err(Cut::Long) => {
            refused(shared, Reason::LongBody, from);
            let detail = format!("the body is longer than {most} bytes");
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, &detail))
        }
    }
}

/// Why a body is not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Late,
    Broken,
    Long,
}

/// Reads pieces of at most so many bytes together, which come within a time; for as long as
/// `charge` has each of them wait, nothing is read, and the time does not run.
async fn whole<E>(
    mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    most: u64,
    within: Duration,
    charge: impl Fn(u64) -> Duration,
) -> Result<Bytes, Cut> {
    let (mut whole, mut left) = (BytesMut::new(), within);
    loop {
        let began = Instant::now();
        let next = timeout(left, pieces.next()).await.map_err(|_| Cut::Late)?;
        left = left.saturating_sub(began.elapsed());
        let Some(piece) = next else { return Ok(whole.freeze()) };
        let piece = piece.map_err(|_| Cut::Broken)?;
        if (whole.len() + piece.len()) as u64 > most {
            return Err(Cut::Long);
        }
        whole.extend_from_slice(&piece);
        let wait = charge(piece.len() as u64);
        // A sleep of no length takes a millisecond.
        if !wait.is_zero() {
            sleep(wait).await;
        }
    }
}

/// Takes room for so many bytes among all bodies, of which one tenant cannot take all.
fn room(
    bytes: u64,
    (tenant, from): (Option<Tenant>, Option<IpAddr>),
    shared: &Shared,
) -> Result<Room, Problem> {
    let kib = room::kib(bytes);
    let own = match tenant {
        Some(tenant) => shared.tenants.body(tenant, kib as usize).map_err(|spent| {
            refused(shared, spent.reason(), from);
            Problem::from(Refused::from(spent))
        })?,
        None => Permit::free(),
    };
    let all = shared.bodies.take(kib).ok_or_else(|| {
        refused(shared, Reason::Bodies, from);
        let full = "too much is being written to this node: try again in a second";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, full).retry(room::RETRY)
    })?;
    Ok(Room { _all: all, _own: own })
}

/// Counts what is refused, and writes it down where it is known who sent it.
fn refused(shared: &Shared, reason: Reason, from: Option<IpAddr>) {
    match from {
        Some(from) => turned_away(&shared.metrics, reason, from),
        None => shared.metrics.refuse(reason),
    }
}

/// Counts what has come, and returns how long it waits until what came before it is paid for.
fn charge(tenant: Tenant, bytes: u64, shared: &Shared) -> Duration {
    let wait = shared.tenants.bytes(tenant, bytes);
    if !wait.is_zero() {
        shared.metrics.held.inc();
    }
    wait
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::unfold;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    /// Reads pieces of 4 bytes, each of which comes so long after the one before was asked for.
    async fn read(count: u32, each: Duration, wait: Duration) -> Result<usize, Cut> {
        let pieces = unfold(0, |nth| async move {
            sleep(each).await;
            let piece = Ok::<_, Infallible>(Bytes::from_static(b"four"));
            (nth < count).then_some((piece, nth + 1))
        });
        whole(Box::pin(pieces), 20, WITHIN, |_| wait).await.map(|bytes| bytes.len())
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_body_runs_while_it_is_read_and_not_while_it_waits() {
        let (second, none) = (Duration::from_secs(1), Duration::ZERO);
        assert_eq!(read(5, second, none).await, Ok(20));
        let began = Instant::now();
        assert_eq!(read(5, second, 10 * WITHIN).await, Ok(20));
        assert!(began.elapsed() >= 50 * WITHIN, "it waits");
        assert_eq!(read(5, 2 * second, none).await, Err(Cut::Late));
        assert_eq!(read(6, none, none).await, Err(Cut::Long));
    }
}
