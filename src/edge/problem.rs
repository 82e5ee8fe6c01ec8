//! Errors of the HTTP API: `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::access::Denied;
use crate::doc::{Failure, Refusal};
use crate::edge::model::ProblemBody;

/// Says what went wrong, and what to do next.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: &str) -> Self {
        Self { status, detail: detail.to_owned() }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::BadOp { .. } | Refusal::BadBase { .. } => StatusCode::BAD_REQUEST,
            Refusal::Pipelined { .. }
            | Refusal::Gap { .. }
            | Refusal::Replaced
            | Refusal::Occupied { .. } => StatusCode::CONFLICT,
            Refusal::TooLarge { .. } | Refusal::TooLong { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::TooManyVersions { .. } | Refusal::TooManyMembers(_) => StatusCode::CONFLICT,
            Refusal::Denied(Denied::Unknown(_)) => StatusCode::UNAUTHORIZED,
            Refusal::Denied(Denied::Forbidden(_)) => StatusCode::FORBIDDEN,
            Refusal::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Refusal::ReadOnly => StatusCode::FORBIDDEN,
            Refusal::NoDocument => StatusCode::NOT_FOUND,
            Refusal::Full { .. }
            | Refusal::Moved
            | Refusal::Quarantined { .. }
            | Refusal::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, &refusal.to_string())
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let status = match failure {
            Failure::Refused(refusal) => return refusal.into(),
            Failure::NoRevision { .. } => StatusCode::NOT_FOUND,
            Failure::Damaged { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Failure::Store { .. } | Failure::Closed => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, &failure.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            title: self.status.canonical_reason().unwrap_or("error").to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
        };
        let mut response = (self.status, axum::Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }
}
