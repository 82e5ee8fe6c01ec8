//! Which pages may use this server: those that it served itself.
//!
//! Until there are accounts, whoever reaches the port may write; a page of somebody else's in the
//! browser of someone who reaches it may not.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::edge::problem::Problem;

/// Refuses what a page of another origin asks for.
pub(crate) async fn own_only(request: Request, next: Next) -> Response {
    if is_own(request.headers()) {
        return next.run(request).await;
    }
    let detail = "a page of another origin may not use this server: open the one it serves";
    Problem::new(StatusCode::FORBIDDEN, detail).into_response()
}

/// Tells whether a request comes from a page of this server, or from no page.
fn is_own(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match (authority, host) {
        (Some((_, authority)), Some(host)) => authority.eq_ignore_ascii_case(host),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_of_the_server_that_it_names() {
        for (origin, host, own) in [
            (None, "localhost:8080", true),
            (Some("http://localhost:8080"), "localhost:8080", true),
            (Some("https://Docs.example"), "docs.example", true),
            (Some("http://localhost:3000"), "localhost:8080", false),
            (Some("http://evil.example"), "localhost:8080", false),
            (Some("null"), "localhost:8080", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(is_own(&headers), own, "{origin:?}");
        }
    }
}
