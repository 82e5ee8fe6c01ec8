//! Errors of the HTTP API: `application/problem+json` (RFC 9457), with a word for programs.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::access::Denied;
use crate::doc::{Failure, Refusal};
use crate::edge::metrics::Reason;
use crate::edge::model::ProblemBody;
use crate::edge::refusal;

/// When a request may be made again that came while the same one was under way, or that found its
/// document closing.
const SOON: Duration = Duration::from_secs(1);

/// What a problem is sent as.
const KIND: &str = "application/problem+json";

/// Says what went wrong, and what to do next.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    retry: Option<Duration>,
    /// What it is counted under, where nobody has counted it before it is told.
    reason: Option<Reason>,
}

impl Problem {
    /// Returns a problem whose code follows from its status.
    pub(crate) fn new(status: StatusCode, detail: &str) -> Self {
        let code = match status {
            StatusCode::BAD_REQUEST => "bad-request",
            StatusCode::UNAUTHORIZED => "unauthenticated",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not-found",
            StatusCode::METHOD_NOT_ALLOWED => "method-not-allowed",
            StatusCode::REQUEST_TIMEOUT => "timeout",
            StatusCode::CONFLICT => "conflict",
            StatusCode::PRECONDITION_FAILED => "precondition-failed",
            StatusCode::PAYLOAD_TOO_LARGE => "too-large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported-media-type",
            StatusCode::UPGRADE_REQUIRED => "upgrade-required",
            StatusCode::TOO_MANY_REQUESTS => "rate",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            _ => "internal",
        };
        Self { status, code, detail: Cow::Owned(detail.to_owned()), retry: None, reason: None }
    }

    /// Gives it another code than its status has.
    pub(crate) fn code(self, code: &'static str) -> Self {
        Self { code, ..self }
    }

    /// Says when the same may be asked again.
    pub(crate) fn retry(self, after: Duration) -> Self {
        Self { retry: Some(after), ..self }
    }

    /// Refuses what a request would write: it is too long, which is counted.
    pub(crate) fn too_large(detail: &str) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail).counted(Reason::TooLarge)
    }

    /// Says what it is counted under.
    pub(crate) fn counted(self, reason: Reason) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// Adds to what it says.
    pub(crate) fn and(self, more: &str) -> Self {
        Self { detail: Cow::Owned(format!("{}; {more}", self.detail)), ..self }
    }

    /// Refuses what cannot be read as what an address takes.
    pub(crate) fn bad_request(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail).code(code)
    }

    /// Refuses what can be read and does not fit.
    pub(crate) fn unfit(code: &'static str, detail: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail).code(code)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::TooLarge { .. } | Refusal::TooLong { .. } => {
                return Self::too_large(&refusal.to_string());
            }
            Refusal::BadOp { .. } | Refusal::BadBase { .. } => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::Pipelined { .. }
            | Refusal::Gap { .. }
            | Refusal::Replaced
            | Refusal::Occupied { .. }
            | Refusal::Exists
            | Refusal::TooManyVersions { .. } => StatusCode::CONFLICT,
            Refusal::TooManyMembers(_) => StatusCode::CONFLICT,
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
        let code = match &refusal {
            Refusal::Exists => "exists",
            Refusal::Occupied { .. } => "under-way",
            other => refusal::code(other).name(),
        };
        let problem = Self::new(status, &refusal.to_string()).code(code);
        match refusal::retry(&refusal) {
            Some(retry) => problem.retry(retry),
            None => problem,
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let detail = failure.to_string();
        let unavailable = || Self::new(StatusCode::SERVICE_UNAVAILABLE, &detail).retry(SOON);
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::NoRevision { .. } => {
                Self::new(StatusCode::NOT_FOUND, &detail).code("no-revision")
            }
            Failure::OtherAccess => Self::new(StatusCode::PRECONDITION_FAILED, &detail),
            Failure::Damaged { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, &detail).code("damaged")
            }
            Failure::Store { .. } | Failure::Closed => unavailable(),
        }
    }
}

impl Problem {
    /// Spells it over HTTP/1.1 for whoever has asked nothing yet; the connection ends with it.
    pub(crate) fn unasked(&self) -> String {
        let body = serde_json::to_string(&self.body()).expect("words and numbers are JSON");
        let retry = self.retry.map(seconds).map(|after| format!("retry-after: {after}\r\n"));
        format!(
            "HTTP/1.1 {}\r\n{}content-length: {}\r\ncontent-type: {KIND}\r\n\
             cache-control: no-store\r\nconnection: close\r\n\r\n{body}",
            self.status,
            retry.unwrap_or_default(),
            body.len(),
        )
    }

    fn body(&self) -> ProblemBody<'_> {
        ProblemBody {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("error"),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
        }
    }
}

/// Returns a time in whole seconds, at least one.
fn seconds(span: Duration) -> u64 {
    (span.as_secs() + u64::from(span.subsec_nanos() > 0)).max(1)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body())).into_response();
        if let Some(reason) = self.reason {
            response.extensions_mut().insert(reason);
        }
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(KIND));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(retry) = self.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(retry)));
        }
        response
    }
}
