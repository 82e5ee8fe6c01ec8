//! What the admin port's addresses take: a query, a body; their mistakes are told as refusals.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequestParts, Query, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::admin::Refused;

/// The largest body that is taken.
const BODY_BYTES_MAX: usize = 16 << 10;

/// The largest body that is read, so that whoever sends it hears why it is not taken.
const BODY_BYTES_READ: usize = 1 << 20;

/// How long a body may take.
const BODY_MAX: Duration = Duration::from_secs(10);

/// A query.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(bad) => Err(bad_request(&bad.body_text())),
        }
    }
}

/// Reads a body of JSON; an empty one counts as `{}`.
pub(crate) async fn body<T: DeserializeOwned>(request: Request) -> Result<T, Refused> {
    let reading = to_bytes(request.into_body(), BODY_BYTES_READ);
    let late = |_| bad_request("the body did not come in time");
    let read = timeout(BODY_MAX, reading).await.map_err(late)?;
    let bytes = read.map_err(|bad| bad_request(&format!("the body cannot be read, {bad}")))?;
    if bytes.len() > BODY_BYTES_MAX {
        return Err(bad_request(&format!("the body is longer than {BODY_BYTES_MAX} bytes")));
    }
    let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
    serde_json::from_slice(bytes)
        .map_err(|bad| bad_request(&format!("the body is not what this address takes, {bad}")))
}

fn bad_request(what: &str) -> Refused {
    // What stands before the first colon is the reason.
    Refused::BadRequest { what: what.replace(": ", ", ") }
}
