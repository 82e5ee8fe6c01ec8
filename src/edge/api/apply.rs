//! Edits by request: each is a client that comes, has one batch acknowledged, and goes.
//!
//! So an edit is rebased, merged and counted once as one of a socket is: a request with an
//! idempotency key is the first batch of a session that follows from the key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::access::Right;
use crate::doc::{self, Batch, ConnId, Event, Failure, Handle, Join, Mode, NotTaken, Refusal};
use crate::edge::api::Answer;
use crate::edge::api::tag::Tag;
use crate::edge::extract::{Asked, Body, Doc, Made, Nothing};
use crate::edge::model::{Apply, Changed, Deletion, Named, Part};
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::edge::validator::Expected;
use crate::text::{Component, Invalid, Operation};
use crate::types::{Author, Revision, Seq, SessionId};

/// Has a request that comes twice count once.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest idempotency key, in bytes.
const KEY_BYTES_MAX: usize = 128;

/// What a client is told that cannot know what became of its edit.
const IN_DOUBT: &str = "what was asked may have been done: ask again with the same \
                        Idempotency-Key, or look first";

/// Applies an operation.
///
/// It is rebased over the revisions since its base, as one that comes over a socket is. With
/// `If-Match`, it is taken only if its base is the newest revision. With `Idempotency-Key`, the
/// same request may be made again, also at another node, and counts once: the answer is that of
/// the first one for as long as the document remembers sessions (`document.session-expiry`, and no
/// more than `document.sessions-max` of them).
#[utoipa::path(
    post, path = "/v1/docs/{doc}/ops", tag = "documents",
    params(
        Named,
        ("If-Match" = Option<String>, Header, description = "An `ETag` of the revision `base`"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII \
          characters, new for each edit", max_length = 128, pattern = "^[!-~]{1,128}$"),
    ),
    request_body = Apply,
    responses((status = 200, description = "The edit is durable", body = Changed,
        headers(("ETag" = String, description = "Names the revision"))))
)]
pub(crate) async fn apply(
    State(shared): State<Arc<Shared>>,
    doc: Doc,
    headers: HeaderMap,
    _: Asked<Nothing>,
    Body(Apply { base, op, author }): Body<Apply>,
) -> Answer<Made<Changed>> {
    let session = session(&shared, &doc, &headers)?;
    let (op, bytes) = operation(op, shared.limits().op_bytes)?;
    let author = doc.author(&author)?;
    let placed = placed(&doc, &Tag::expected(&headers), base.0).await?;
    let edit = Edit { session, author, base: base.0, op, bytes, placed };
    let rev = edit.write(&doc).await?;
    Ok(Made::changed(Tag::newest(rev), Changed { rev: rev.0 }))
}

/// Returns the session that a request's key stands for, or a fresh one.
fn session(shared: &Shared, doc: &Doc, headers: &HeaderMap) -> Result<SessionId, Problem> {
    let mut keys = headers.get_all(IDEMPOTENCY_KEY).iter();
    let key = match (keys.next(), keys.next()) {
        (None, _) => return Ok(SessionId(rand::random())),
        (Some(key), None) => key.as_bytes(),
        (Some(_), Some(_)) => &[],
    };
    let fits = (1..=KEY_BYTES_MAX).contains(&key.len()) && key.iter().all(u8::is_ascii_graphic);
    match std::str::from_utf8(key) {
        Ok(key) if fits => Ok(shared.doors.repeated(doc.subject(), &doc.id, key)),
        Ok(_) | Err(_) => {
            let detail = "Idempotency-Key has to be there once, with 1 to 128 visible characters";
            Err(Problem::bad_request("bad-idempotency-key", detail))
        }
    }
}

/// Builds an operation, and tells how much room it takes.
fn operation(parts: Vec<Part>, insert_bytes_max: usize) -> Result<(Operation, usize), Problem> {
    const COMPONENTS_MAX: usize = 1 << 16;
    const COMPONENT_BYTES: usize = 16;
    let text = |part: &Part| match part {
        Part::Insert(text) => text.len(),
        Part::Retain(_) | Part::Delete(_) => 0,
    };
    let inserted = parts.iter().map(text).sum::<usize>();
    if inserted > insert_bytes_max || parts.len() > COMPONENTS_MAX {
        let detail = format!(
            "an operation has at most {COMPONENTS_MAX} components and inserts at most \
             {insert_bytes_max} bytes: send it in pieces, or import the text"
        );
        return Err(Problem::too_large(&detail));
    }
    let bytes = inserted + parts.len() * COMPONENT_BYTES;
    let component = |part| match part {
        Part::Retain(chars) => Component::Retain(chars.0),
        Part::Insert(text) => Component::Insert(text.into()),
        Part::Delete(Deletion::Chars(chars)) => Component::Delete(chars.0),
    };
    let op = Operation::from_components(parts.into_iter().map(component));
    let op = op.map_err(|bad| match bad {
        // No schema can say so.
        Invalid::TooLong => Problem::unfit("bad-op", &bad.to_string()),
        _ => Problem::bad_request("bad-op", &bad.to_string()),
    })?;
    Ok((op, bytes))
}

/// Says where an edit may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placed {
    /// After whatever was written since its base.
    Rebased,
    /// On top of its base, or nowhere.
    OnHead,
}

/// Judges what a request expects of an edit's base.
pub(crate) async fn placed(
    doc: &Doc,
    expected: &Expected<Revision>,
    base: Revision,
) -> Result<Placed, Problem> {
    match expected {
        Expected::Anything => Ok(Placed::Rebased),
        Expected::OneOf(revs) if revs.contains(&base) => Ok(Placed::OnHead),
        Expected::OneOf(_) => Err(failed("If-Match does not name the revision that is edited")),
        Expected::Existing => match doc.past(Right::Read).await?.check_exists() {
            Ok(()) => Ok(Placed::Rebased),
            Err(_) => Err(failed("there is no such document")),
        },
    }
}

/// Says that nothing was changed, and which condition does not hold.
pub(crate) fn failed(detail: &str) -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, detail)
}

/// An edit that a request makes.
pub(crate) struct Edit {
    pub(crate) session: SessionId,
    pub(crate) author: Author,
    pub(crate) base: Revision,
    pub(crate) op: Operation,
    /// About how much memory it takes.
    pub(crate) bytes: usize,
    pub(crate) placed: Placed,
}

impl Edit {
    /// Has a document take the edit, and returns its revision once that is durable.
    pub(crate) async fn write(self, doc: &Doc) -> Result<Revision, Problem> {
        let Self { session, author, base, op, bytes, placed } = self;
        let (told, outcome) = oneshot::channel();
        let outbox = Arc::new(Waiter { session, told: Mutex::new(Some(told)) });
        let join = Join { author, without_content: true, ..Join::new(session, outbox) };
        let welcome = doc.join(join).await?;
        let seat = Seat { handle: doc.handle(), conn: welcome.conn };
        if welcome.mode == Mode::View {
            // Without the right to write, and where nobody may write: which of the two is told.
            doc.past(Right::Write).await?;
            return Err(Refusal::only_read().into());
        }
        let batch = Batch { seq: Seq(1), base, op, received: Instant::now(), permit: None };
        let submitted = match placed {
            Placed::Rebased => seat.handle.submit(seat.conn, batch, bytes).await,
            Placed::OnHead => seat.handle.submit_on_head(seat.conn, batch, bytes).await,
        };
        submitted.map_err(|reason| match reason {
            NotTaken::Closed => Problem::from(Failure::Closed),
            NotTaken::Full(refusal) => Problem::from(refusal),
        })?;
        match outcome.await {
            Ok(Outcome::Durable(rev)) => Ok(rev),
            Ok(Outcome::Refused(Refusal::BadBase { head, .. })) if placed == Placed::OnHead => {
                Err(failed(&format!("revision {base} is not the newest one: that is {head}")))
            }
            Ok(Outcome::Refused(Refusal::BadBase { base, oldest, head })) => {
                let detail = format!("base {base} is not between {oldest} and {head}");
                Err(Problem::unfit("bad-base", &detail))
            }
            Ok(Outcome::Refused(refusal)) => Err(refusal.into()),
            Ok(Outcome::Closed(Refusal::Replaced)) => {
                let detail = "the same request came again, and is answered there";
                Err(Problem::new(StatusCode::CONFLICT, detail).code("under-way"))
            }
            Ok(Outcome::Closed(refusal)) => Err(Problem::from(refusal).and(IN_DOUBT)),
            Err(_) => Err(Problem::from(Failure::Closed).and(IN_DOUBT)),
        }
    }
}

/// A connection that ends with the request, also where the client does not wait for the answer.
struct Seat<'a> {
    handle: &'a Handle,
    conn: ConnId,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.handle.leave(self.conn);
    }
}

/// What became of the batch.
enum Outcome {
    Durable(Revision),
    Refused(Refusal),
    /// The document lets go of its clients; the batch may be durable or not.
    Closed(Refusal),
}

/// Hears what becomes of the first batch of a session, and nothing else.
struct Waiter {
    session: SessionId,
    told: Mutex<Option<oneshot::Sender<Outcome>>>,
}

impl doc::Outbox for Waiter {
    fn push(&self, event: Event) {
        let outcome = match event {
            Event::Changed(update) => {
                let own = update.changes.iter().find(|change| change.session == self.session);
                let Some(own) = own else { return };
                Outcome::Durable(own.rev)
            }
            Event::Repeated { rev, .. } => Outcome::Durable(rev),
            Event::Refused { refusal, .. } => Outcome::Refused(refusal),
            Event::Closed(refusal) => Outcome::Closed(refusal),
            Event::Merged(_) | Event::Ordered { .. } | Event::Presence(_) => return,
        };
        if let Some(told) = self.told.lock().take() {
            // The request may have gone.
            let _ = told.send(outcome);
        }
    }
}
