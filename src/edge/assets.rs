//! The browser editor, embedded: pages, and assets whose names carry their hash.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use rust_embed::RustEmbed;

use crate::edge::model::Named;
use crate::edge::problem::Problem;
use crate::types::DocId;

/// What a page may load and talk to: only its own origin.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "src/web/dist/"]
struct Dist;

/// Answers `GET /`: recent and new documents.
#[utoipa::path(
    get, path = "/", tag = "pages",
    responses((status = 200, description = "A page", body = String,
        content_type = "text/html; charset=utf-8"))
)]
pub(crate) async fn index() -> axum::response::Response {
    page("index.html")
}

/// Answers `GET /login`: where a token becomes a login.
#[utoipa::path(
    get, path = "/login", tag = "pages",
    responses((status = 200, description = "A page", body = String,
        content_type = "text/html; charset=utf-8"))
)]
pub(crate) async fn login() -> axum::response::Response {
    page("login.html")
}

/// Answers `GET /d/{doc}`: the editor.
#[utoipa::path(
    get, path = "/d/{doc}", tag = "pages", params(Named),
    responses((status = 200, description = "A page", body = String,
        content_type = "text/html; charset=utf-8"))
)]
pub(crate) async fn editor(Path(doc): Path<String>) -> axum::response::Response {
    match doc.parse::<DocId>() {
        Ok(_) => page("editor.html"),
        Err(bad) => Problem::new(StatusCode::NOT_FOUND, &bad.to_string()).into_response(),
    }
}

/// Answers `GET /assets/{name}`.
#[utoipa::path(
    get, path = "/assets/{name}", tag = "pages",
    params(("name" = String, Path, description = "A name that holds a hash")),
    responses((status = 200, description = "A part of a page", content(
        (String = "text/javascript; charset=utf-8"),
        (String = "text/css; charset=utf-8"),
        (String = "text/html; charset=utf-8"),
        (String = "image/svg+xml"),
    )))
)]
pub(crate) async fn asset(Path(name): Path<String>) -> axum::response::Response {
    match file(&format!("assets/{name}")) {
        Some(response) => with(response, "public, max-age=31536000, immutable"),
        None => Problem::new(StatusCode::NOT_FOUND, "there is no such asset").into_response(),
    }
}

fn page(name: &str) -> axum::response::Response {
    let Some(response) = file(name) else {
        let detail = "this build has no browser editor: build src/web first";
        return Problem::new(StatusCode::NOT_FOUND, detail).into_response();
    };
    let mut response = with(response, "no-cache");
    let policy = HeaderValue::from_static(CONTENT_SECURITY_POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    let referrer = HeaderValue::from_static("same-origin");
    response.headers_mut().insert(header::REFERRER_POLICY, referrer);
    response
}

fn file(path: &str) -> Option<axum::response::Response> {
    let file = Dist::get(path)?;
    let kind = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let body = match file.data {
        std::borrow::Cow::Borrowed(bytes) => Body::from(bytes),
        std::borrow::Cow::Owned(bytes) => Body::from(bytes),
    };
    let response = Response::builder().header(header::CONTENT_TYPE, kind).body(body);
    Some(response.expect("the headers are valid: constants"))
}

fn with(mut response: axum::response::Response, caching: &'static str) -> axum::response::Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
