//! The body of a request: it is read into room that all bodies share, in its time, and no faster
//! than whoever sends it may send.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use crate::edge::Remote;
use crate::edge::metrics::Reason;
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::edge::tenants::Tenant;
use crate::edge::trail::turned_away;

/// When a request may come again that finds no room for its body.
const ROOM_RETRY: Duration = Duration::from_secs(1);

/// Reads a body, and returns the room that it takes among all bodies.
///
/// It is paid for by whom the request counts for, where that is known: another node that carries
/// it has paid already. What comes too fast waits unread, and for as long its time does not run.
pub(crate) async fn body_bytes(
    request: Request,
    shared: &Arc<Shared>,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let most = shared.config.body_bytes_max.as_u64();
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    let room = room(declared.unwrap_or(most).min(most), shared)?;
    let tenant = request.extensions().get::<Tenant>().copied();
    let from = request.extensions().get::<Remote>().map(|remote| remote.address);
    let mut pieces = request.into_body().into_data_stream();
    let (mut whole, mut left) = (BytesMut::new(), shared.config.body_timeout);
    loop {
        let began = Instant::now();
        let Ok(next) = timeout(left, pieces.next()).await else {
            match from {
                Some(from) => turned_away(&shared.metrics, Reason::SlowBody, from),
                None => shared.metrics.refuse(Reason::SlowBody),
            }
            let detail = "the body did not come in time";
            return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
        };
        left = left.saturating_sub(began.elapsed());
        let Some(piece) = next else { break };
        let broken = |_| Problem::new(StatusCode::BAD_REQUEST, "the body did not come to its end");
        let piece = piece.map_err(broken)?;
        if (whole.len() + piece.len()) as u64 > most {
            let detail = format!("the body is longer than {most} bytes");
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, &detail));
        }
        whole.extend_from_slice(&piece);
        if let Some(tenant) = tenant {
            pay(tenant, piece.len() as u64, shared).await;
        }
    }
    Ok((whole.freeze(), room))
}

/// Takes room for so many bytes among all bodies.
fn room(bytes: u64, shared: &Shared) -> Result<OwnedSemaphorePermit, Problem> {
    let kib = u32::try_from(bytes.div_ceil(1_024).max(1)).unwrap_or(u32::MAX);
    shared.bodies.clone().try_acquire_many_owned(kib).map_err(|_| {
        let full = "too much is being written to this node: try again in a second";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, full).retry(ROOM_RETRY)
    })
}

/// Counts what has come, and waits until what came before it is paid for.
async fn pay(tenant: Tenant, bytes: u64, shared: &Shared) {
    let wait = shared.tenants.bytes(tenant, bytes);
    if !wait.is_zero() {
        shared.metrics.held.inc();
        sleep(wait).await;
    }
}
