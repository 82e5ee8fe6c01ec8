//! The routes, and what all of them share.

use std::sync::Arc;
use std::time::Duration;

use axum::Router as Routes;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower_http::cors::CorsLayer;

use crate::edge::api::documents::{create, import, text};
use crate::edge::carried::carry;
use crate::edge::doors::layer::{admit, admit_out, at_a_rate, known_writers, own_pages};
use crate::edge::doors::{Doors, login};
use crate::edge::headers::held_to_the_table;
use crate::edge::metrics::Reason;
use crate::edge::problem::Problem;
use crate::edge::room::Pool;
use crate::edge::trail::write_down;
use crate::edge::{
    AnswerRoom, Config, Health, Metrics, Pages, Readiness, Tenants, answers, api, assets, pages,
    socket,
};
use crate::router::Router;
use crate::task::Tasks;
use crate::wire::{Allowance, Limits};

/// What a node says that is suspended.
const SUSPENDED: &str = "suspended: this node does not read its own heartbeats from Kafka, so \
     that its documents take nothing; look at the brokers and the way to them, it goes on by \
     itself\n";

/// What every request can reach.
pub struct Shared {
    /// Reaches the documents.
    pub router: Router,
    /// Whom the node lets in.
    pub doors: Arc<Doors>,
    /// What each of them may take.
    pub tenants: Tenants,
    /// The limits.
    pub config: Config,
    /// The longest document, in characters.
    pub doc_chars_max: u64,
    /// One document is erased at a time.
    pub erasing: Semaphore,
    /// The room of all bodies that are being read, in KiB.
    pub bodies: Pool,
    /// The room of all answers that are on their way.
    pub answers: AnswerRoom,
    /// The pages of public documents that are being made.
    pub pages: Pages,
    /// What is counted at the edge.
    pub metrics: Metrics,
    /// Whether the node is ready.
    pub health: Health,
    /// Owns the sessions.
    pub tasks: Tasks,
    /// Is cancelled when the sessions have to end.
    pub token: CancellationToken,
}

impl Shared {
    /// Returns the bounds on what a client sends in one frame.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            frame_bytes: self.config.frame_bytes_max.as_u64() as usize,
            op_bytes: self.config.op_bytes_max.as_u64() as usize,
            ..Limits::default()
        }
    }

    /// Returns what a client is told to keep to.
    pub(crate) fn allowance(&self) -> Allowance {
        Allowance {
            op_bytes: self.config.op_bytes_max.as_u64(),
            doc_chars: self.doc_chars_max,
            ops_per_second: self.config.ops_per_second,
        }
    }
}

/// Returns all routes.
pub(crate) fn routes(shared: Arc<Shared>) -> Routes {
    let rate = from_fn_with_state(shared.clone(), at_a_rate);
    let written_down = from_fn_with_state(shared.clone(), write_down);
    let out = from_fn_with_state(shared.clone(), admit_out);
    let auth = Routes::new()
        .route("/auth/ticket", post(login::ticket))
        .layer(written_down.clone())
        .layer(from_fn_with_state(shared.clone(), admit))
        .route("/auth/session", delete(login::sign_out).layer(written_down.clone()).layer(out))
        // These judge what they are sent by themselves.
        .route("/auth/session", get(login::session).post(login::sign_in).route_layer(rate.clone()))
        .method_not_allowed_fallback(no_method);
    let documents = documents(shared.clone())
        .layer(from_fn_with_state(shared.clone(), known_writers))
        .layer(written_down)
        .layer(from_fn_with_state(shared.clone(), admit));
    let unasked = Routes::new()
        .route("/", get(assets::index))
        .route("/login", get(assets::login))
        .route("/d/{doc}", get(assets::editor))
        .route("/pub/{doc}", get(pages::page))
        .route("/metrics", get(metrics))
        .route("/v1/openapi.json", get(api::openapi::described))
        .route_layer(rate.clone())
        .method_not_allowed_fallback(no_method);
    Routes::new()
        .route("/ws/{doc}", get(socket::upgrade))
        // A page loads many at once, and a cache keeps them for ever.
        .route("/assets/{name}", get(assets::asset))
        // Whoever runs the node asks these, from wherever clients come.
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .method_not_allowed_fallback(no_method)
        .merge(unasked)
        .merge(auth)
        .merge(documents)
        .fallback(nothing.layer(rate))
        .layer(from_fn_with_state(shared.clone(), own_pages))
        .layer(from_fn_with_state(shared.clone(), answers::in_room))
        .layer(cors(&shared.doors))
        .layer(from_fn(held_to_the_table))
        .with_state(shared)
}

/// Returns the routes about documents, where who asks is known already.
pub(crate) fn documents(shared: Arc<Shared>) -> Routes<Arc<Shared>> {
    Routes::new()
        .route("/v1/docs/{doc}", get(text).post(create).put(import).delete(api::documents::delete))
        .route("/v1/docs/{doc}/undelete", post(api::documents::undelete))
        .route("/v1/docs/{doc}/ops", post(api::apply::apply))
        .route("/v1/docs/{doc}/export", get(api::export::export))
        .route("/v1/docs/{doc}/history", get(api::history::history))
        .route("/v1/docs/{doc}/blame", get(api::history::blame))
        .route("/v1/docs/{doc}/diff", get(api::history::diff))
        .route("/v1/docs/{doc}/verify", get(api::history::verify))
        .route("/v1/docs/{doc}/restore", post(api::history::restore))
        .route("/v1/docs/{doc}/cut", post(api::history::cut))
        .route("/v1/docs/{doc}/erase", post(api::erase::erase))
        .route("/v1/docs/{doc}/rights", get(api::rights::read).put(api::rights::change))
        .route("/v1/docs/{doc}/versions", get(api::versions::list).post(api::versions::name))
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(shared.clone(), counted))
        .layer(from_fn_with_state(shared, carry))
}

/// Counts what was refused, at the node that has found out why.
async fn counted(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let answer = next.run(request).await;
    if let Some(reason) = answer.extensions().get::<Reason>() {
        shared.metrics.refuse(*reason);
    }
    answer
}

async fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing at this address").code("no-route")
}

async fn no_method() -> Problem {
    let detail = "this address does not take the method: the header Allow lists those it takes";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

/// Lets pages of the origins that are listed read answers: programs in a browser, with tokens of
/// their own; a login goes along with none of their requests.
fn cors(doors: &Doors) -> CorsLayer {
    let listed = doors.origins().listed().to_vec();
    if listed.is_empty() {
        return CorsLayer::new();
    }
    let headers = ["authorization", "content-type", "if-match", "if-none-match", "idempotency-key"];
    CorsLayer::new()
        .allow_origin(listed)
        .allow_methods([Method::GET, Method::PUT, Method::POST, Method::DELETE])
        .allow_headers(headers.map(HeaderName::from_static))
        .expose_headers([header::ETAG, header::RETRY_AFTER])
        .max_age(Duration::from_mins(10))
}

/// Tells that the process answers.
#[utoipa::path(
    get, path = "/livez", tag = "operators",
    responses((status = 200, description = "It does", body = String,
        content_type = "text/plain; charset=utf-8"))
)]
pub(in crate::edge) async fn livez() -> impl IntoResponse {
    "ok\n"
}

/// Tells whether the node serves.
#[utoipa::path(
    get, path = "/readyz", tag = "operators",
    responses(
        (status = 200, description = "It does", body = String,
            content_type = "text/plain; charset=utf-8"),
        (status = 503, description = "It does not, and why", body = String,
            content_type = "text/plain; charset=utf-8"),
    )
)]
pub(in crate::edge) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let (status, text) = match shared.health.readiness() {
        Readiness::Ready => (StatusCode::OK, "ready\n"),
        Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
        Readiness::Suspended => (StatusCode::SERVICE_UNAVAILABLE, SUSPENDED),
    };
    (status, text).into_response()
}

/// Returns what is counted.
#[utoipa::path(
    get, path = "/metrics", tag = "operators",
    responses((status = 200, description = "Prometheus' text format", body = String,
        content_type = "text/plain; version=0.0.4"))
)]
pub(in crate::edge) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    match shared.metrics.exposition() {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(reason) => {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Problem::new(status, &reason.to_string()).into_response()
        }
    }
}
