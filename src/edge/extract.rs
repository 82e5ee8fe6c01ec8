//! What handlers of the HTTP API take and give: a document, a query, a body, a fresh answer; their
//! mistakes are told as problems.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::access::Right;
use crate::doc::Handle;
use crate::edge::doors::Caller;
use crate::edge::metrics::Reason;
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::types::DocId;

/// A JSON answer that no cache may keep.
pub(crate) struct Fresh<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Fresh<T> {
    fn into_response(self) -> Response {
        ([(header::CACHE_CONTROL, "no-store")], Json(self.0)).into_response()
    }
}

/// The document that a path names.
pub(crate) struct Doc {
    pub(crate) id: DocId,
    pub(crate) handle: Handle,
}

impl FromRequestParts<Arc<Shared>> for Doc {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let not_found = |detail: &str| Problem::new(StatusCode::NOT_FOUND, detail);
        let Path(name) = Path::<String>::from_request_parts(parts, shared)
            .await
            .map_err(|rejection| not_found(&rejection.body_text()))?;
        let id: DocId =
            name.parse().map_err(|bad: crate::types::BadDocId| not_found(&bad.to_string()))?;
        let caller = parts.extensions.get::<Caller>().cloned();
        if !caller.is_some_and(|caller| caller.asks(&id).granted.has(Right::Admin)) {
            return Err(Problem::new(StatusCode::FORBIDDEN, "no right to this document"));
        }
        let handle = shared.router.open(&id).await?;
        Ok(Self { id, handle })
    }
}

/// A query whose mistakes are told as a problem.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Shared>> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, shared).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(bad) => Err(Problem::new(StatusCode::BAD_REQUEST, &bad.body_text())),
        }
    }
}

/// A JSON body whose mistakes are told as a problem; an empty body counts as `{}`.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let (bytes, _room) = body_bytes(request, shared).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        match serde_json::from_slice(bytes) {
            Ok(body) => Ok(Self(body)),
            Err(bad) => {
                let detail = format!("the body is not the JSON this address takes: {bad}");
                Err(Problem::new(StatusCode::BAD_REQUEST, &detail))
            }
        }
    }
}

/// Reads a body, and returns the room that it takes among all bodies.
pub(crate) async fn body_bytes(
    request: Request,
    shared: &Arc<Shared>,
) -> Result<(Bytes, OwnedSemaphorePermit), Problem> {
    let most = shared.config.body_bytes_max.as_u64();
    let declared = request.headers().get(header::CONTENT_LENGTH);
    let declared = declared.and_then(|length| length.to_str().ok()?.parse().ok());
    let kib = declared.unwrap_or(most).min(most).div_ceil(1_024).max(1);
    let room = u32::try_from(kib).unwrap_or(u32::MAX);
    let Ok(room) = shared.bodies.clone().try_acquire_many_owned(room) else {
        let full = "too much is being written to this node: try again in a second";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, full));
    };
    let reading = Bytes::from_request(request, shared);
    let coming = timeout(shared.config.body_timeout, reading).await;
    let late = |_| {
        shared.metrics.refuse(Reason::SlowBody);
        Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time")
    };
    let bytes =
        coming.map_err(late)?.map_err(|bad| Problem::new(bad.status(), &bad.body_text()))?;
    Ok((bytes, room))
}
