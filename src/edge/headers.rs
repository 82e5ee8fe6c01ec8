//! The headers that every answer has, and who may keep it: one layer around all routes.

pub(in crate::edge) mod table;

use axum::extract::{MatchedPath, Request};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use crate::edge::headers::table::{ELSEWHERE, Keeping, Row, find};
use crate::edge::port::remote::Remote;

/// What a browser may let the pages use: the clipboard, to copy a link, and nothing else.
const PERMISSIONS: &str = "accelerometer=(), autoplay=(), bluetooth=(), browsing-topics=(), \
    camera=(), clipboard-read=(), clipboard-write=(self), display-capture=(), \
    encrypted-media=(), fullscreen=(), gamepad=(), geolocation=(), gyroscope=(), hid=(), \
    identity-credentials-get=(), idle-detection=(), local-fonts=(), magnetometer=(), \
    microphone=(), midi=(), otp-credentials=(), payment=(), picture-in-picture=(), \
    publickey-credentials-create=(), publickey-credentials-get=(), screen-wake-lock=(), \
    serial=(), storage-access=(), usb=(), web-share=(), xr-spatial-tracking=()";

/// For how long a browser comes back over TLS only, once it has come over TLS: a year.
const TLS_ONLY: &str = "max-age=31536000";

/// Headers that are the same on every answer.
///
/// The referrer stays with this server: with none at all, browsers would call the origin of its
/// own forms `null`.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("permissions-policy"), PERMISSIONS),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Gives every answer its headers, whatever its route says.
pub(crate) async fn held_to_the_table(request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let row = matched.and_then(|path| find(path.as_str())).unwrap_or(&ELSEWHERE);
    let to = request.extensions().get::<Remote>().copied();
    let mut answer = next.run(request).await;
    answer_with(&mut answer, row, to);
    answer
}

/// Gives an answer that no route has given its headers.
pub(crate) fn of_a_refusal(answer: &mut Response, to: Remote) {
    answer_with(answer, &ELSEWHERE, Some(to));
}

/// Gives an answer its headers, and where it goes over TLS, from this port or from a proxy that is
/// trusted to say so, for how long to come so again.
fn answer_with(answer: &mut Response, row: &Row, to: Option<Remote>) {
    let status = answer.status();
    dress(answer.headers_mut(), row, status);
    if to.is_some_and(|peer| peer.secure) {
        let value = HeaderValue::from_static(TLS_ONLY);
        answer.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value);
    }
}

fn dress(headers: &mut HeaderMap, row: &Row, status: StatusCode) {
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let policy = HeaderValue::from_static(row.loads.policy());
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    let as_it_should_be = status.is_success() || status == StatusCode::NOT_MODIFIED;
    let keeping =
        if as_it_should_be || !row.keeping.keeps() { row.keeping } else { Keeping::Nobody };
    // A route that is to say it and does not has nothing that is kept.
    let said = match keeping.said() {
        None if headers.contains_key(header::CACHE_CONTROL) => return,
        said => said.unwrap_or("no-store"),
    };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(said));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::headers::table::Loads;

    #[track_caller]
    fn check(keeping: Keeping, status: u16, by_route: Option<&'static str>, expected: &str) {
        let row = Row { methods: "GET", path: "/", keeping, loads: Loads::Nothing };
        let mut headers = HeaderMap::new();
        if let Some(said) = by_route {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(said));
        }
        dress(&mut headers, &row, StatusCode::from_u16(status).unwrap());
        assert_eq!(headers[header::CACHE_CONTROL], expected, "{keeping:?} {status} {by_route:?}");
    }

    #[test]
    fn nothing_is_kept_but_what_the_table_lets_be_kept() {
        let public = "public, max-age=30";
        for status in [101, 200, 204, 304, 400, 404, 500] {
            check(Keeping::Nobody, status, Some(public), "no-store");
            check(Keeping::NobodyElse, status, Some(public), "private, no-store");
        }
        for (keeping, expected) in [
            (Keeping::Checked, "no-cache"),
            (Keeping::Forever, "public, max-age=31536000, immutable"),
            (Keeping::AsSaid, public),
        ] {
            check(keeping, 200, Some(public), expected);
            check(keeping, 304, Some(public), expected);
            for status in [302, 403, 404, 500, 503] {
                check(keeping, status, Some(public), "no-store");
            }
        }
        check(Keeping::AsSaid, 200, None, "no-store");
    }
}
