//! The answers that are on their way: each takes room that all share until its last byte was
//! written, and has to be taken in its time.
//!
//! What is always there, the files of the editor, takes none; nor does what is very short.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

use crate::edge::doors::Refused;
use crate::edge::metrics::Reason;
use crate::edge::port::activity::{Activity, UnderWay};
use crate::edge::problem::Problem;
use crate::edge::room::{self, Pool};
use crate::edge::routes::Shared;
use crate::edge::tenants::counted::Permit;
use crate::edge::tenants::{Spent, Tenant};
use crate::edge::trail::turned_away;
use crate::edge::{Config, Remote};

/// How long an answer is that takes no room, in bytes: problems, and what the node says of itself.
const SHORT_BYTES: u64 = 1 << 10;

/// How much of an answer is given to its connection at once, in bytes: that much is held there
/// where the client takes nothing.
const PIECE_BYTES: usize = 16 << 10;

/// The room of all answers that are on their way, in KiB.
#[derive(Debug)]
pub struct AnswerRoom {
    all: Pool,
    /// What those may take together of whom nothing is known: half of it.
    unknown: Pool,
}

/// The room that an answer takes until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Room {
    _all: Option<OwnedSemaphorePermit>,
    _unknown: Option<OwnedSemaphorePermit>,
    _own: Option<Permit<u64>>,
}

/// Why there is no room for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::edge) enum NoRoom {
    /// Whoever it is for has as much on its way as it may have.
    #[error(transparent)]
    Own(#[from] Spent),
    /// All together have.
    #[error("too much is being read from this node: try again in a second")]
    All,
}

/// Marks an answer whose bytes are there whether it is sent or not.
#[derive(Debug, Clone, Copy)]
pub(in crate::edge) struct Lasting;

impl AnswerRoom {
    /// Returns the room that the limits say.
    pub fn new(config: &Config) -> Self {
        let kib = config.answers_kib();
        Self { all: Pool::new(kib), unknown: Pool::new(kib / 2) }
    }
}

impl NoRoom {
    /// Returns what is counted.
    pub(in crate::edge) fn reason(self) -> Reason {
        match self {
            Self::Own(spent) => spent.reason(),
            Self::All => Reason::Answers,
        }
    }
}

impl From<NoRoom> for Problem {
    fn from(none: NoRoom) -> Self {
        match none {
            NoRoom::Own(spent) => Refused::from(spent).into(),
            NoRoom::All => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, &none.to_string()).retry(room::RETRY)
            }
        }
    }
}

/// Takes room for so many bytes among all answers, of which one tenant cannot take all; one that
/// has none on its way may have one of any length.
pub(in crate::edge) fn room(bytes: u64, tenant: Tenant, shared: &Shared) -> Result<Room, NoRoom> {
    if bytes <= SHORT_BYTES {
        return Ok(Room::default());
    }
    let kib = room::kib(bytes);
    let own = shared.tenants.answer(tenant, kib as usize)?;
    let take = |pool: &Pool| pool.take(kib).ok_or(NoRoom::All);
    let unknown = if tenant.is_user() { None } else { Some(take(&shared.answers.unknown)?) };
    Ok(Room { _all: Some(take(&shared.answers.all)?), _unknown: unknown, _own: Some(own) })
}

/// Has each answer take its room, and its connection know that it is under way. One that finds no
/// room is not sent, unless it tells of something that was done.
pub(crate) async fn in_room(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let remote = request.extensions().get::<Remote>().copied();
    let activity = request.extensions().get::<Arc<Activity>>().cloned();
    let is_safe = request.method().is_safe();
    let answer = next.run(request).await;
    let length = answer.body().size_hint().exact().filter(|bytes| *bytes > 0);
    let (Some(bytes), Some(remote)) = (length, remote) else { return answer };
    let tenant = answer.extensions().get::<Tenant>().copied();
    let room = match answer.extensions().get::<Lasting>() {
        Some(Lasting) => Room::default(),
        None => match room(bytes, tenant.unwrap_or_else(|| shared.tenants.at(remote)), &shared) {
            Ok(room) => room,
            Err(none) if is_safe => {
                turned_away(&shared.metrics, none.reason(), remote.address);
                return Problem::from(none).into_response();
            }
            Err(_) => Room::default(),
        },
    };
    let (head, body) = answer.into_parts();
    // It was made as a whole.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        let detail = "the answer could not be made: ask again";
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
    };
    let under_way = activity.map(|activity| activity.begin(bytes.len() as u64));
    let whole = Bytes::from_owner(Sent { bytes, _room: room, _under_way: under_way });
    Response::from_parts(head, Body::new(Pieces(whole)))
}

/// The bytes of an answer, and what is held for as long as one of them is to be written.
struct Sent {
    bytes: Bytes,
    _room: Room,
    _under_way: Option<UnderWay>,
}

impl AsRef<[u8]> for Sent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body that is given to its connection in pieces.
struct Pieces(Bytes);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0.is_empty() {
            return Poll::Ready(None);
        }
        let most = self.0.len().min(PIECE_BYTES);
        let piece = self.0.split_to(most);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}
