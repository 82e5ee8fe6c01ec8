//! The WebSocket upgrade: from an HTTP request to a session.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::{Instrument, debug};

use crate::edge::doors::Refused;
use crate::edge::doors::layer::judged;
use crate::edge::model::Named;
use crate::edge::port::gate::Crowded;
use crate::edge::port::listener::Admitted;
use crate::edge::port::remote::Remote;
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::edge::session::metered::{Metered, Traffic};
use crate::edge::session::{self, Guest};
use crate::edge::tenants::Spent;
use crate::edge::trail::Address;
use crate::wire::{Rejected, choose_subprotocol, doc_from_path};

/// How much of a socket is read at once: most frames are a keystroke, and there may be very many
/// sockets.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// How much is gathered before it is written.
const WRITE_BUFFER_BYTES: usize = 8 << 10;

/// Answers `GET /ws/{doc}`.
#[utoipa::path(
    get, path = "/ws/{doc}", tag = "documents",
    params(Named, ("ticket" = Option<String>, Query, description = "What opens it once")),
    responses((status = 101, description = "A WebSocket, as docs/PROTOCOL.md has it"))
)]
pub(crate) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    mut request: Request,
) -> axum::response::Response {
    let doc = match doc_from_path(request.uri().path()) {
        Ok(doc) => doc,
        Err(rejected) => return refuse(rejected),
    };
    let values = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let values: Vec<String> = values.iter().map(lossless).collect();
    let offer = match choose_subprotocol(values.iter().map(String::as_str)) {
        Ok(offer) => offer,
        Err(rejected) => return refuse(rejected),
    };
    let (codec, echo) = (offer.codec, offer.echo);
    let Some(accept) = accept_key(request.headers()) else {
        let detail = "this is a WebSocket address: connect with version 13 of the protocol";
        let mut answer = Problem::new(StatusCode::UPGRADE_REQUIRED, detail).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return answer;
    };
    let remote = request.extensions().get::<Remote>().copied().expect("the port tells");
    let (headers, query) = (request.headers(), request.uri().query());
    let caller = match request.extensions().get::<Crowded>() {
        // A ticket is not used up for it.
        Some(crowded) => Err(Refused::Crowded(*crowded)),
        None => {
            let asks = shared.doors.socket_caller(headers, query, offer.csrf, &shared.router);
            let shows = headers.contains_key(header::AUTHORIZATION) || query.is_some();
            judged(&shared, (Some(remote), shows), asks).await
        }
    };
    let guest = caller.and_then(|caller| {
        let tenant = shared.tenants.of(&caller, remote);
        let spent = |spent: Spent| {
            shared.metrics.refuse(spent.reason());
            Refused::from(spent)
        };
        let place = shared.tenants.socket(tenant).map_err(spent)?;
        let document = shared.tenants.document(tenant, &doc).map_err(spent)?;
        Ok(Guest { caller, tenant, place: (place, document) })
    });
    let address = Address::of(request.extensions());
    let admitted = request.extensions_mut().remove::<Admitted>();
    let upgraded = hyper::upgrade::on(&mut request);
    let config = socket_config(&shared);
    let span = tracing::debug_span!("session", %doc);
    let tasks = shared.tasks.clone();
    tasks.spawn(
        "session",
        async move {
            match upgraded.await {
                Ok(io) => {
                    let traffic = Traffic::new(shared.config.hello_bytes_max.as_u64());
                    let traffic = Arc::new(traffic);
                    let io = Metered::new(TokioIo::new(io), Arc::clone(&traffic));
                    let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config));
                    let who = (doc, address, guest);
                    session::run(socket.await, traffic, who, codec, shared).await;
                    drop(admitted);
                }
                Err(reason) => debug!(%reason, "connection ended before its upgrade"),
            }
        }
        .instrument(span),
    );
    switching(&accept, echo)
}

fn switching(accept: &str, echo: Option<&'static str>) -> axum::response::Response {
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(name) = echo {
        response = response.header(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    response.body(Body::empty()).expect("the headers are valid: base64 and constants")
}

/// Returns the answer to the client's key, where the request is an upgrade to a WebSocket.
fn accept_key(headers: &HeaderMap) -> Option<String> {
    let holds = |name, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(wanted)))
    };
    let asked = holds(header::CONNECTION, "upgrade") && holds(header::UPGRADE, "websocket");
    let version = headers.get(header::SEC_WEBSOCKET_VERSION)?.as_bytes() == b"13";
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.as_bytes();
    (asked && version && key.len() == 24).then(|| derive_accept_key(key))
}

fn socket_config(shared: &Shared) -> WebSocketConfig {
    let bytes_max = shared.limits().frame_bytes;
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_message_size(Some(bytes_max))
        .max_frame_size(Some(bytes_max))
}

/// Reads a header value; one that is no text becomes one that no list allows.
fn lossless(value: &HeaderValue) -> String {
    value.to_str().map_or_else(|_| "\u{0}".to_owned(), str::to_owned)
}

fn refuse(rejected: Rejected) -> axum::response::Response {
    let status = StatusCode::from_u16(rejected.status()).unwrap_or(StatusCode::BAD_REQUEST);
    Problem::new(status, &rejected.to_string()).into_response()
}
