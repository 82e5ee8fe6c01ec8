//! The addresses of the admin port.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router as Routes;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream::unfold;
use tokio::time::timeout;

use crate::admin::events::Cursor;
use crate::admin::extract::{Asked, body};
use crate::admin::model::{Chosen, Done, Dry, Event, Explained, Given, Listed, Node, Part, Plan};
use crate::admin::model::{Problem, Shard, Status, Wanted, Where};
use crate::admin::{Desk, Refused};

/// After how much silence a stream of events sends an empty line: who has gone is noticed.
const SILENCE_MAX: Duration = Duration::from_secs(5);

type Answer<T> = Result<Json<T>, Refused>;

pub(crate) fn routes(desk: Arc<Desk>) -> Routes {
    Routes::new()
        .route("/v1/status", get(status))
        .route("/v1/nodes", get(nodes))
        .route("/v1/shards", get(shards))
        .route("/v1/where/{doc}", get(find))
        .route("/v1/explain/{what}", get(explain))
        .route("/v1/plan", post(plan))
        .route("/v1/commands", post(give))
        .route("/v1/revoked", get(revoked))
        .route("/v1/events", get(events))
        .fallback(async || Refused::NoAddress)
        .layer(from_fn_with_state(desk.clone(), programs_only))
        .with_state(desk)
}

/// Refuses browsers: a page that somebody opens must not move shards, nor read what there is by a
/// name of its own that it has made point here.
async fn programs_only(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let host = headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    if host.is_some_and(|host| !desk.is_asked_by(host)) {
        return Refused::Host.into_response();
    }
    if headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Refused::Browser.into_response();
    }
    let mut response = next.run(request).await;
    let no_store = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, no_store);
    response
}

async fn status(State(desk): State<Arc<Desk>>) -> Answer<Status> {
    desk.status().map(Json)
}

async fn nodes(State(desk): State<Arc<Desk>>) -> Answer<Vec<Node>> {
    desk.nodes().map(Json)
}

async fn shards(State(desk): State<Arc<Desk>>, Asked(chosen): Asked<Chosen>) -> Answer<Vec<Shard>> {
    desk.shards(&chosen).map(Json)
}

async fn find(State(desk): State<Arc<Desk>>, Path(doc): Path<String>) -> Answer<Where> {
    desk.find(&doc).await.map(Json)
}

async fn explain(State(desk): State<Arc<Desk>>, Path(what): Path<String>) -> Answer<Explained> {
    desk.explain(&what).await.map(Json)
}

async fn plan(State(desk): State<Arc<Desk>>, request: Request) -> Answer<Plan> {
    let dry: Dry = body(request).await?;
    desk.plan(&dry).await.map(Json)
}

async fn give(State(desk): State<Arc<Desk>>, request: Request) -> Answer<Done> {
    let given: Given = body(request).await?;
    desk.give(&given).await.map(Json)
}

async fn revoked(State(desk): State<Arc<Desk>>, Asked(part): Asked<Part>) -> Answer<Listed> {
    desk.revoked(&part).map(Json)
}

/// Streams events, one JSON object a line; where it follows, it ends when the node stops.
async fn events(State(desk): State<Arc<Desk>>, Asked(wanted): Asked<Wanted>) -> Response {
    let from = desk.events().after(wanted.after);
    let follow = wanted.follow;
    let lines = unfold((desk, from), move |(desk, from)| async move {
        let (lines, next) = lines(&desk, from, follow).await?;
        Some((Ok::<_, Infallible>(lines), (desk, next)))
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::from_stream(lines)).into_response()
}

/// Returns the next lines and the place behind them; none at the end.
async fn lines(desk: &Desk, from: Cursor, follow: bool) -> Option<(Bytes, Cursor)> {
    let mut page = desk.events().page(from);
    if page.events.is_empty() && !page.lost {
        if !follow {
            return None;
        }
        let more = timeout(SILENCE_MAX, desk.events().more(page.next));
        let more = tokio::select! {
            () = desk.token().cancelled() => return None,
            more = more => more,
        };
        if more.is_err() {
            return Some((Bytes::from_static(b"\n"), page.next));
        }
        page = desk.events().page(page.next);
    }
    let mut out = Vec::new();
    page.events.iter().for_each(|event| line(&mut out, event));
    if page.lost {
        let text = "events are missing here: this node keeps only the last ones".to_owned();
        line(&mut out, &Event { kind: "lost".to_owned(), text, ..Event::default() });
    }
    Some((out.into(), page.next))
}

fn line(out: &mut Vec<u8>, event: &Event) {
    out.extend(serde_json::to_vec(event).expect("an event has only texts and numbers"));
    out.push(b'\n');
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = self.status();
        let (detail, next) = self.parts();
        let title = status.canonical_reason().unwrap_or("error").to_owned();
        let problem = Problem { title, status: status.as_u16(), detail, next };
        let mut response = (status, Json(problem)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
