//! The browser editor, embedded: pages, and assets whose names carry their hash.

mod coding;

use std::borrow::Cow;

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::edge::answers::Lasting;
use crate::edge::assets::coding::Coding;
use crate::edge::model::Named;
use crate::edge::problem::Problem;
use crate::edge::validator::Validator;
use crate::types::DocId;

#[derive(RustEmbed)]
#[folder = "src/web/dist/"]
struct Dist;

/// Answers `GET /`: recent and new documents.
#[utoipa::path(
    get, path = "/", tag = "pages",
    responses(
        (status = 200, description = "A page", body = String,
            content_type = "text/html; charset=utf-8"),
        (status = 304, description = "The client has it"),
    )
)]
pub(crate) async fn index(headers: HeaderMap) -> Response {
    page("index.html", &headers)
}

/// Answers `GET /login`: where a token becomes a login.
#[utoipa::path(
    get, path = "/login", tag = "pages",
    responses(
        (status = 200, description = "A page", body = String,
            content_type = "text/html; charset=utf-8"),
        (status = 304, description = "The client has it"),
    )
)]
pub(crate) async fn login(headers: HeaderMap) -> Response {
    page("login.html", &headers)
}

/// Answers `GET /d/{doc}`: the editor.
#[utoipa::path(
    get, path = "/d/{doc}", tag = "pages", params(Named),
    responses(
        (status = 200, description = "A page", body = String,
            content_type = "text/html; charset=utf-8"),
        (status = 304, description = "The client has it"),
    )
)]
pub(crate) async fn editor(Path(doc): Path<String>, headers: HeaderMap) -> Response {
    match doc.parse::<DocId>() {
        Ok(_) => page("editor.html", &headers),
        Err(bad) => Problem::new(StatusCode::NOT_FOUND, &bad.to_string()).into_response(),
    }
}

/// Answers `GET /assets/{name}`, in the best coding that the client takes.
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
pub(crate) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    // A coded file has no address of its own; nor has what is in another folder, where a build for
    // tests reads them from the disk.
    let [brotli, gzip] = [Coding::Brotli, Coding::Gzip].map(Coding::ending);
    let is_none = name.contains('/') || name.ends_with(brotli) || name.ends_with(gzip);
    let path = format!("assets/{name}");
    let coded = |coding: Coding| {
        let file = Dist::get(&format!("{path}{}", coding.ending()))?;
        Some((coding, file))
    };
    let found = Coding::taken(&headers).into_iter().find_map(coded);
    let Some((coding, file)) = found.filter(|_| !is_none) else {
        return Problem::new(StatusCode::NOT_FOUND, "there is no such asset").into_response();
    };
    let mut answer = whole(&path, file);
    let headers = answer.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_name(header::ACCEPT_ENCODING));
    if coding != Coding::Plain {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    answer
}

/// Answers with a page, unless the client has it.
fn page(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = Dist::get(name) else {
        let detail = "this build has no browser editor: build src/web first";
        return Problem::new(StatusCode::NOT_FOUND, detail).into_response();
    };
    let hash = file.metadata.sha256_hash();
    let half = hash.first_chunk().expect("SHA-256 has 32 bytes");
    let validator = Validator::of_hash(u128::from_be_bytes(*half));
    if validator.is_had(headers) {
        return validator.not_modified();
    }
    let mut answer = whole(name, file);
    answer.headers_mut().insert(header::ETAG, validator.value());
    answer
}

/// Returns the text of a page.
pub(crate) fn text_of(name: &str) -> Option<String> {
    let file = Dist::get(name)?;
    String::from_utf8(file.data.into_owned()).ok()
}

fn whole(path: &str, file: EmbeddedFile) -> Response {
    let kind = match path.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    };
    let body = match file.data {
        Cow::Borrowed(bytes) => Body::from(bytes),
        Cow::Owned(bytes) => Body::from(bytes),
    };
    let mut answer = Response::new(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.extensions_mut().insert(Lasting);
    answer
}
