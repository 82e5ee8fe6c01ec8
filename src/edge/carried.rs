//! Requests about documents of other nodes: carried to the owner, and answered there.
//!
//! Whether a page may ask at all was decided where its request came in.

use std::convert::Infallible;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::extract::{Request as Asked, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response as Answer};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use crate::edge::doors::Caller;
use crate::edge::extract::body_bytes;
use crate::edge::problem::Problem;
use crate::edge::routes::{Shared, documents};
use crate::relay::{Blob, Pages, PeerError, Request, Response};
use crate::types::DocId;

/// When a request may be made again that could not be carried, in seconds.
const RETRY: HeaderValue = HeaderValue::from_static("1");

/// Marks a request that was carried once: it is not carried on.
#[derive(Clone, Copy)]
struct Once;

/// Answers requests that came in at other nodes.
pub struct Carried {
    routes: axum::Router,
    body_bytes_max: usize,
}

impl Carried {
    /// Returns what answers with the edge's own routes.
    pub fn new(shared: Arc<Shared>) -> Self {
        // What is answered was taken out of memory, and a message bounds it.
        let routes = documents(shared.clone()).with_state(shared);
        Self { routes, body_bytes_max: usize::MAX }
    }
}

#[async_trait]
impl Pages for Carried {
    async fn answer(&self, request: Request) -> Response {
        let Request { method, target, content_type, who, body } = request;
        let is_own = target.starts_with("/v1/docs/");
        let builder = Asked::builder().method(&*method).uri(&*target).extension(Once);
        let mut builder = builder.extension(Caller::carried(who));
        if let Some(kind) = content_type {
            builder = builder.header(header::CONTENT_TYPE, kind);
        }
        let builder = builder.header(header::CONTENT_LENGTH, body.0.len());
        let request = match builder.body(Body::from(body.0)) {
            Ok(request) if is_own => request,
            Ok(_) | Err(_) => return problem("the request that was carried is none"),
        };
        let service = TowerToHyperService::new(self.routes.clone());
        let answered: Result<Answer, Infallible> = service.call(request).await;
        let answer = answered.unwrap_or_else(|never| match never {});
        let (head, body) = answer.into_parts();
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
        match to_bytes(body, self.body_bytes_max).await {
            Ok(bytes) => Response { status: head.status.as_u16(), content_type, body: Blob(bytes) },
            Err(_) => problem("the answer could not be read"),
        }
    }
}

fn problem(detail: &str) -> Response {
    let body = Blob(format!("{detail}\n").into());
    Response { status: 500, content_type: Some("text/plain".to_owned()), body }
}

/// Has the owner answer what is asked about a document of another node.
pub(crate) async fn carry(State(shared): State<Arc<Shared>>, request: Asked, next: Next) -> Answer {
    let name = request.uri().path().split('/').nth(3);
    let doc = name.and_then(|name| name.parse::<DocId>().ok());
    let owner = doc.and_then(|doc| Some((shared.router.elsewhere(&doc)?, doc)));
    let Some((owner, doc)) = owner else { return next.run(request).await };
    if request.extensions().get::<Once>().is_some() {
        return unavailable("the document is changing its place: try again");
    }
    // A route that forgot to ask lets nobody do anything.
    let caller = request.extensions().get::<Caller>().cloned();
    let who = caller.unwrap_or_else(Caller::anonymous).who(&doc);
    let method = request.method().clone();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|kind| kind.to_str().ok()).map(str::to_owned);
    let body = match body_bytes(request, &shared).await {
        Ok((body, _room)) => Blob(body),
        Err(problem) => return problem.into_response(),
    };
    let carried = Request { method: method.to_string(), target, content_type, who, body };
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
    let mut answer = (status, response.body.0).into_response();
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    if let Some(kind) = response.content_type.and_then(|kind| kind.parse().ok()) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn unavailable(detail: &str) -> Answer {
    let mut answer = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).into_response();
    answer.headers_mut().insert(header::RETRY_AFTER, RETRY);
    answer
}
