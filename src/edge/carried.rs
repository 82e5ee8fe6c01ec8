//! Requests about documents of other nodes: carried to the owner, and answered there; beside them,
//! what nodes ask each other on clients' behalf.
//!
//! Whether a page may ask at all was decided where its request came in.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request as Asked, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response as Answer};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::edge::body::body_bytes;
use crate::edge::doors::{Caller, between};
use crate::edge::extract::doc_id;
use crate::edge::pages;
use crate::edge::problem::Problem;
use crate::edge::routes::{Shared, documents};
use crate::relay::{Answers, Blob, PeerError, Request, Response};

/// When a request may be made again that could not be carried.
const RETRY: Duration = Duration::from_secs(1);

/// What is carried of a request's head, beside the body's kind.
static ASKED: [HeaderName; 4] = [
    header::ACCEPT,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("idempotency-key"),
];

/// What is carried of an answer's head, beside the body's kind.
static TOLD: [HeaderName; 7] = [
    header::ALLOW,
    header::CONTENT_DISPOSITION,
    header::ETAG,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
    header::WWW_AUTHENTICATE,
];

/// Marks a request that was carried once: it is not carried on.
#[derive(Clone, Copy)]
struct Once;

/// Answers requests that came in at other nodes.
pub struct Carried {
    shared: Arc<Shared>,
    routes: axum::Router,
    body_bytes_max: usize,
}

impl Carried {
    /// Returns what answers with the edge's own routes.
    pub fn new(shared: Arc<Shared>) -> Self {
        // What is answered was taken out of memory, and a message bounds it.
        let routes = documents(shared.clone()).with_state(shared.clone());
        Self { shared, routes, body_bytes_max: usize::MAX }
    }
}

#[async_trait]
impl Answers for Carried {
    async fn answer(&self, request: Request) -> Response {
        if let Some(answer) = pages::answer_carried(&self.shared, &request).await {
            return answer;
        }
        if let Some(answer) = between::answer_carried(&self.shared.doors, &request).await {
            return answer;
        }
        let Request { method, target, content_type, headers, who, body } = request;
        let is_own = target.starts_with("/v1/docs/");
        let builder = Asked::builder().method(&*method).uri(&*target).extension(Once);
        let mut builder = builder.extension(Caller::carried(who));
        if let Some(kind) = content_type {
            builder = builder.header(header::CONTENT_TYPE, kind);
        }
        let mut builder = builder.header(header::CONTENT_LENGTH, body.0.len());
        for (name, value) in uncarried(&headers, &ASKED) {
            builder = builder.header(name, value);
        }
        let request = match builder.body(Body::from(body.0)) {
            Ok(request) if is_own => request,
            Ok(_) | Err(_) => return problem("the request that was carried is none"),
        };
        let service = TowerToHyperService::new(self.routes.clone());
        let answered: Result<Answer, Infallible> = service.call(request).await;
        let answer = answered.unwrap_or_else(|never| match never {});
        let (head, body) = answer.into_parts();
        let (status, content_type) = (head.status.as_u16(), kind_of(&head.headers));
        let headers = carried(&head.headers, &TOLD);
        match to_bytes(body, self.body_bytes_max).await {
            Ok(bytes) => Response { status, content_type, headers, body: Blob(bytes) },
            Err(_) => problem("the answer could not be read"),
        }
    }

    fn is_of_nodes(&self, request: &Request) -> bool {
        between::is_of_nodes(request)
    }
}

fn problem(detail: &str) -> Response {
    let (content_type, headers) = (Some("text/plain".to_owned()), Vec::new());
    let body = Blob(format!("{detail}\n").into());
    Response { status: 500, content_type, headers, body }
}

pub(in crate::edge) fn kind_of(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(header::CONTENT_TYPE)?;
    kind.to_str().ok().map(str::to_owned)
}

/// Takes those headers along that are listed.
pub(in crate::edge) fn carried(
    headers: &HeaderMap,
    listed: &[HeaderName],
) -> Vec<(String, String)> {
    let all = listed.iter().flat_map(|name| headers.get_all(name).iter().map(move |it| (name, it)));
    let text = all.filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?)));
    text.map(|(name, value)| (name, value.to_owned())).collect()
}

/// Returns the headers that came along, as far as they are listed.
pub(in crate::edge) fn uncarried(
    headers: &[(String, String)],
    listed: &'static [HeaderName],
) -> impl Iterator<Item = (&'static HeaderName, HeaderValue)> {
    headers.iter().filter_map(|(name, value)| {
        let name = listed.iter().find(|one| one.as_str() == name)?;
        Some((name, value.parse().ok()?))
    })
}

/// Has the owner answer what is asked about a document of another node.
pub(crate) async fn carry(State(shared): State<Arc<Shared>>, request: Asked, next: Next) -> Answer {
    let (mut parts, body) = request.into_parts();
    let doc = doc_id(&mut parts).await.ok();
    let request = Asked::from_parts(parts, body);
    let owner = doc.and_then(|doc| Some((shared.router.elsewhere(&doc)?, doc)));
    let Some((owner, doc)) = owner else { return next.run(request).await };
    if request.extensions().get::<Once>().is_some() {
        return unavailable("the document is changing its place: try again");
    }
    // A route that forgot to ask lets nobody do anything.
    let caller = request.extensions().get::<Caller>().cloned();
    let who = caller.unwrap_or_else(Caller::anonymous).who(&doc);
    // Of what is answered to HEAD, the body is left out here.
    let method = match request.method() {
        &Method::HEAD => Method::GET,
        other => other.clone(),
    };
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let content_type = kind_of(request.headers());
    let headers = carried(request.headers(), &ASKED);
    // What only asks has none that is read. Any other takes its room until it is answered.
    let (body, _room) = match request.method().is_safe() {
        true => (Blob(Bytes::new()), None),
        false => match body_bytes(request, &shared).await {
            Ok((body, room)) => (Blob(body), Some(room)),
            Err(problem) => return problem.into_response(),
        },
    };
    let carried = Request { method: method.to_string(), target, content_type, headers, who, body };
    match shared.router.carry(&owner, carried).await {
        Ok(response) => answer(response),
        Err(PeerError::Lost) if method != Method::GET => {
            unavailable("the owner did not answer: what was asked may have been done, look first")
        }
        Err(error) => unavailable(&format!("the document's owner does not answer: {error}")),
    }
}

fn answer(response: Response) -> Answer {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::BAD_GATEWAY);
    if status.is_server_error() && response.content_type.as_deref() == Some("text/plain") {
        // It was made on the way.
        let detail = String::from_utf8_lossy(&response.body.0);
        return Problem::new(status, detail.trim_end()).retry(RETRY).into_response();
    }
    let mut answer = (status, response.body.0).into_response();
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.extend(uncarried(&response.headers, &TOLD).map(|(name, value)| (name.clone(), value)));
    if let Some(kind) = response.content_type.and_then(|kind| kind.parse().ok()) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    answer
}

fn unavailable(detail: &str) -> Answer {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(RETRY).into_response()
}
