//! `GET /pub/{doc}`: a public document as a page that needs no script and that caches may keep.
//!
//! A document that is private, one that is deleted and one that never was are one and the same to
//! whoever asks. What a page costs has bounds: a client or a cache that has it costs the document
//! one short message; a page is made once for all who ask meanwhile, at most [`AT_ONCE`] at a time,
//! away from the threads that serve.

mod flights;
mod markdown;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use xxhash_rust::xxh3::xxh3_128;

use crate::doc::{Closed, Handle, Refusal, Shown};
use crate::edge::Config;
use crate::edge::assets::text_of;
use crate::edge::carried::{carried, kind_of, uncarried};
use crate::edge::doors::Caller;
use crate::edge::model::Named;
use crate::edge::pages::flights::Flights;
use crate::edge::pages::markdown::{escaped, render};
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::edge::validator::Validator;
use crate::relay::{self, Blob, Request};
use crate::task::Tasks;
use crate::types::{DocId, NodeId};

/// Where pages are.
const PATH: &str = "/pub/";

/// What is carried of a request's head to the owner.
static ASKED: [HeaderName; 1] = [header::IF_NONE_MATCH];

/// What is carried of its answer's head, beside the body's kind.
static TOLD: [HeaderName; 5] =
    [header::ETAG, header::CACHE_CONTROL, header::RETRY_AFTER, SURROGATE_KEY, CACHE_TAG];

/// How many pages are made at once.
const AT_ONCE: usize = 4;

/// How long a page waits until it is made.
const TURN_MAX: Duration = Duration::from_secs(10);

/// How often a document that closes just now is opened again.
const TRIES: usize = 5;

/// When a page may be asked for again that was not made, in seconds.
const RETRY: HeaderValue = HeaderValue::from_static("1");

/// What is said of a page that was not the newest any more when it was made.
const OLD: &str = "public, max-age=1";

/// Rises when the same text and template make another page: `ETag` stands for every byte.
const RENDERING: u32 = 1;

/// Names what a cache keeps of a document, for [`Purger`](crate::edge::Purger) to name it again.
pub(crate) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

/// The same for caches that know another header.
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

/// The pages that are being made.
pub struct Pages {
    flights: Flights<Made>,
    turns: Arc<Semaphore>,
}

impl Default for Pages {
    fn default() -> Self {
        Self { flights: Flights::default(), turns: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

/// A page; nothing where there is none any more.
type Made = Result<Option<(Validator, Bytes)>, NotMade>;

#[derive(Debug, Clone, Copy)]
enum NotMade {
    /// The document closed.
    Closed,
    /// Too many others are being made.
    Busy,
}

impl From<Closed> for NotMade {
    fn from(Closed: Closed) -> Self {
        Self::Closed
    }
}

/// The page without its title and text.
static TEMPLATE: LazyLock<Option<[String; 3]>> = LazyLock::new(|| {
    let template = text_of("page.html")?;
    let (head, rest) = template.split_once("%title%")?;
    let (between, foot) = rest.split_once("%text%")?;
    Some([head, between, foot].map(str::to_owned))
});

/// Answers `GET /pub/{doc}`.
#[utoipa::path(
    get, path = "/pub/{doc}", tag = "pages", params(Named),
    responses(
        (status = 200, description = "The newest text of a public document as a page",
            body = String, content_type = "text/html; charset=utf-8"),
        (status = 304, description = "The client has it"),
    )
)]
pub(crate) async fn page(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Ok(doc) = name.parse::<DocId>() else { return nothing() };
    let mut answer = match shared.router.elsewhere(&doc) {
        Some(owner) => carry(&shared, &owner, &doc, &headers).await,
        None => here(&shared, &doc, &headers).await,
    };
    // Caches are told of changes at one address: what came by another, nobody keeps.
    if uri.path_and_query().is_none_or(|target| target.as_str() != format!("{PATH}{doc}")) {
        answer.headers_mut().remove(header::CACHE_CONTROL);
    }
    answer
}

/// Answers what came in at another node, if it is about a page.
pub(crate) async fn answer_carried(
    shared: &Arc<Shared>,
    request: &Request,
) -> Option<relay::Response> {
    let doc = request.target.strip_prefix(PATH)?.parse::<DocId>().ok()?;
    let headers = uncarried(&request.headers, &ASKED);
    let headers = headers.map(|(name, value)| (name.clone(), value)).collect();
    let answer = match shared.router.elsewhere(&doc) {
        // It is not carried on.
        Some(_) => busy("the document is changing its place: try again"),
        None => here(shared, &doc, &headers).await,
    };
    let (head, body) = answer.into_parts();
    // It was taken out of memory, and a message bounds it.
    let body = Blob(to_bytes(body, usize::MAX).await.unwrap_or_default());
    let (content_type, headers) = (kind_of(&head.headers), carried(&head.headers, &TOLD));
    Some(relay::Response { status: head.status.as_u16(), content_type, headers, body })
}

/// Has the owner of a document answer.
async fn carry(shared: &Shared, owner: &NodeId, doc: &DocId, headers: &HeaderMap) -> Response {
    let request = Request {
        method: "GET".to_owned(),
        target: format!("{PATH}{doc}"),
        content_type: None,
        headers: carried(headers, &ASKED),
        // A page is the same whoever asks.
        who: Caller::anonymous().who(doc),
        body: Blob(Bytes::new()),
    };
    let told = match shared.router.carry(owner, request).await {
        Ok(told) => told,
        Err(error) => return busy(&format!("the document's owner does not answer: {error}")),
    };
    let mut answer = Response::new(Body::from(told.body.0));
    *answer.status_mut() = StatusCode::from_u16(told.status).unwrap_or(StatusCode::BAD_GATEWAY);
    for (name, value) in uncarried(&told.headers, &TOLD) {
        answer.headers_mut().append(name, value);
    }
    if let Some(kind) = told.content_type.and_then(|kind| kind.parse().ok()) {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    answer
}

/// Answers on the node that the document is on.
async fn here(shared: &Arc<Shared>, doc: &DocId, headers: &HeaderMap) -> Response {
    for _ in 0..TRIES {
        let handle = match shared.router.open(doc).await {
            Ok(handle) => handle,
            Err(refusal) => return refused(refusal),
        };
        match answer(shared, &handle, headers).await {
            Ok(answer) => return answer,
            Err(NotMade::Closed) => tokio::task::yield_now().await,
            Err(NotMade::Busy) => return busy("too many pages are being made: try again"),
        }
    }
    busy("the document is closing: try again")
}

async fn answer(
    shared: &Arc<Shared>,
    handle: &Handle,
    headers: &HeaderMap,
) -> Result<Response, NotMade> {
    let doc = handle.doc();
    let Some(shown) = handle.shown().await? else { return Ok(nothing()) };
    let validator = validator(doc, shown);
    if validator.is_had(headers) {
        return Ok(kept(validator.not_modified(), doc, said(&shared.config)));
    }
    let made = shared.pages.flights.join(doc, shown.head, || make(shared, handle)).await?;
    let Some((validator, page)) = made else { return Ok(nothing()) };
    let mut answer = Response::new(Body::from(page));
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer.headers_mut().insert(header::ETAG, validator.value());
    // A page that is old when it comes may come to a cache after that was told of the change.
    let newest = handle.shown().await?.map(|shown| self::validator(doc, shown));
    let is_newest = newest == Some(validator);
    let said = if is_newest { said(&shared.config) } else { OLD.to_owned() };
    Ok(kept(answer, doc, said))
}

/// Makes a page of the document as it is now.
async fn make(shared: &Arc<Shared>, handle: &Handle) -> Made {
    let turn = timeout(TURN_MAX, shared.pages.turns.clone().acquire_owned()).await;
    let Ok(Ok(turn)) = turn else { return Err(NotMade::Busy) };
    let Some((shown, text)) = handle.page().await? else { return Ok(None) };
    shared.metrics.pages_made.inc();
    let doc = handle.doc().clone();
    let page = Tasks::offload(move || {
        let page = whole(&doc, &text);
        // Given back when the work is over, also where nobody waits for it any more.
        drop(turn);
        page
    });
    Ok(Some((validator(handle.doc(), shown), page.await)))
}

fn whole(doc: &DocId, text: &str) -> Bytes {
    let rendered = render(text);
    let title = rendered.title.as_deref().unwrap_or(doc.as_str());
    let (title, body) = (escaped(title), rendered.body);
    match &*TEMPLATE {
        Some([head, between, foot]) => {
            [head.as_str(), &title, between, &body, foot].concat().into()
        }
        None => body.into(),
    }
}

/// Returns what stands for a document's page at a revision: also where the revision was counted,
/// and how the page is made.
fn validator(doc: &DocId, Shown { head, log }: Shown) -> Validator {
    static MAKING: LazyLock<u128> = LazyLock::new(|| {
        let template = TEMPLATE.as_ref().map(|parts| parts.concat()).unwrap_or_default();
        xxh3_128(format!("{RENDERING} {template}").as_bytes())
    });
    let all = format!("{:032x} {:032x} {} {doc}", *MAKING, log.0, head.0);
    Validator::of_hash(xxh3_128(all.as_bytes()))
}

/// Says who may keep the newest page, and for how long.
fn said(config: &Config) -> String {
    let (fresh, stale) = (config.page_max_age.as_secs(), config.page_stale.as_secs());
    match stale {
        0 => format!("public, max-age={fresh}"),
        stale => format!("public, max-age={fresh}, stale-while-revalidate={stale}"),
    }
}

/// Says who may keep an answer, and under which name.
fn kept(mut answer: Response, doc: &DocId, said: String) -> Response {
    let key = surrogate_key(doc);
    for (name, value) in
        [(header::CACHE_CONTROL, said), (SURROGATE_KEY, key.clone()), (CACHE_TAG, key)]
    {
        let value = HeaderValue::from_str(&value).expect("a document's id is visible ASCII");
        answer.headers_mut().insert(name, value);
    }
    answer
}

/// Names what caches keep of a document.
pub(crate) fn surrogate_key(doc: &DocId) -> String {
    format!("doc-{doc}")
}

/// Says that there is no page, and not why.
fn nothing() -> Response {
    let detail = "there is no such page: it is not public, or there is none";
    Problem::new(StatusCode::NOT_FOUND, detail).into_response()
}

fn refused(refusal: Refusal) -> Response {
    match refusal {
        Refusal::NoDocument | Refusal::Quarantined { .. } => nothing(),
        Refusal::Unavailable { .. } | Refusal::Moved | Refusal::Full { .. } => {
            busy("the document cannot be read just now: try again")
        }
        other => Problem::from(other).into_response(),
    }
}

fn busy(detail: &str) -> Response {
    let mut answer = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    answer.headers_mut().insert(header::RETRY_AFTER, RETRY);
    answer
}
