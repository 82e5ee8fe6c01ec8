//! What handlers of the HTTP API take and give: a document, a query, a body, a fresh answer; their
//! mistakes are told as problems.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::access::{Access, Asker, Right, Subject};
use crate::doc::{Closed, EventKind, Failure, Handle, Join, Past, Refusal, Visit, Welcome, Write};
use crate::edge::api::tag::Tag;
use crate::edge::body::{Room, body_bytes};
use crate::edge::doors::Caller;
use crate::edge::model::Import;
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::types::{Author, DocId, Revision, SessionId};

/// A JSON answer, made for this request.
pub(crate) struct Fresh<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Fresh<T> {
    fn into_response(self) -> Response {
        Json(self.0).into_response()
    }
}

/// The answer to what has made a revision.
pub(crate) struct Made<T> {
    /// Where the document is, if it is new.
    created: Option<DocId>,
    tag: Tag,
    body: T,
}

impl<T> Made<T> {
    pub(crate) fn changed(tag: Tag, body: T) -> Self {
        Self { created: None, tag, body }
    }

    pub(crate) fn created(doc: DocId, tag: Tag, body: T) -> Self {
        Self { created: Some(doc), tag, body }
    }
}

impl<T: Serialize> IntoResponse for Made<T> {
    fn into_response(self) -> Response {
        let mut answer = Fresh(self.body).into_response();
        answer.headers_mut().insert(header::ETAG, self.tag.value());
        if let Some(doc) = self.created {
            *answer.status_mut() = StatusCode::CREATED;
            let location = HeaderValue::from_str(&format!("/v1/docs/{doc}"));
            let location = location.expect("a document's id is visible ASCII");
            answer.headers_mut().insert(header::LOCATION, location);
        }
        answer
    }
}

/// The document that a path names, for whoever asks: the only way of the HTTP API to documents.
pub(crate) struct Doc {
    pub(crate) id: DocId,
    asker: Asker,
    /// Under which name they write, where their token says it.
    name: Option<Author>,
    /// Keeps it open until the request is answered, and no longer where there is none.
    visit: Visit,
}

impl FromRequestParts<Arc<Shared>> for Doc {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let id = doc_id(parts).await?;
        let caller = Caller::from_request_parts(parts, shared).await?;
        let (asker, name) = (caller.asks(&id), caller.name().cloned());
        let visit = shared.router.visit(&id).await?;
        Ok(Self { id, asker, name, visit })
    }
}

/// Returns the document that a path names.
pub(crate) async fn doc_id(parts: &mut Parts) -> Result<DocId, Problem> {
    let not_found =
        |detail: &str| Problem::new(StatusCode::NOT_FOUND, detail).code("bad-document-id");
    let Path(name) = Path::<String>::from_request_parts(parts, &())
        .await
        .map_err(|rejection| not_found(&rejection.body_text()))?;
    name.parse().map_err(|bad: crate::types::BadDocId| not_found(&bad.to_string()))
}

impl Doc {
    /// Returns who asks, where that is known.
    pub(crate) fn subject(&self) -> Option<&Subject> {
        self.asker.subject.as_ref()
    }

    /// Asks whether a right was granted to whoever asks, whatever the document says itself.
    pub(crate) fn check_granted(&self, right: Right) -> Result<(), Problem> {
        Access::default().check(&self.asker, right).map_err(|denied| Refusal::Denied(denied).into())
    }

    /// Returns under which name something is kept: it is not for the client to choose where its
    /// token says it.
    pub(crate) fn author(&self, said: &str) -> Result<Author, Problem> {
        let said = said.parse();
        let said = said.map_err(|bad: crate::types::BadAuthor| {
            Problem::unfit("bad-author", &bad.to_string())
        })?;
        Ok(self.name.clone().unwrap_or(said))
    }

    /// Returns the history as it is now, whether there is a document or not.
    pub(crate) async fn past(&self, right: Right) -> Result<Past, Problem> {
        Ok(self.handle().past(&self.asker, right).await?)
    }

    /// Refuses a revision that a body names and that is not in the history.
    pub(crate) fn check_named(past: &Past, rev: Revision) -> Result<(), Problem> {
        past.check_revision(rev).map_err(|failure| match failure {
            Failure::NoRevision { .. } => Problem::unfit("no-revision", &failure.to_string()),
            other => other.into(),
        })
    }

    /// Returns the history of a document that exists.
    pub(crate) async fn existing(&self, right: Right) -> Result<Past, Problem> {
        let past = self.past(right).await?;
        past.check_exists()?;
        Ok(past)
    }

    /// Returns what the document grants by itself.
    pub(crate) async fn access(&self) -> Result<Access, Problem> {
        Ok(self.handle().access(&self.asker).await?)
    }

    /// Writes something, and returns the newest revision once that is durable.
    pub(crate) async fn write(&self, write: Write) -> Result<Revision, Failure> {
        self.handle().write(SessionId(rand::random()), self.asker.clone(), write).await
    }

    /// Writes down what takes no revision, and returns the newest one.
    pub(crate) async fn event(&self, author: Author, kind: EventKind) -> Result<Revision, Failure> {
        self.write(Write::Event { author, kind }).await
    }

    /// Writes down that it was exported, where whoever asks has the right to its history: everybody
    /// who may read could have its log grow.
    pub(crate) async fn note_export(&self, rev: Revision) -> Result<(), Failure> {
        match self.event(Author::anonymous(), EventKind::Exported { rev }).await {
            Ok(_) | Err(Failure::Refused(Refusal::Denied(_))) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Connects whoever asks.
    pub(crate) async fn join(&self, join: Join) -> Result<Welcome, Failure> {
        let join = Join { asker: self.asker.clone(), ..join };
        Ok(self.handle().join(join).await.map_err(|Closed| Failure::Closed)??)
    }

    /// Returns the way to the document for what this does not do.
    pub(crate) fn handle(&self) -> &Handle {
        self.visit.handle()
    }
}

/// A query whose mistakes are told as a problem; what is not known is one.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Shared>> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        match Query::<T>::from_request_parts(parts, shared).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(bad) => Err(Problem::bad_request("bad-query", &bad.body_text())),
        }
    }
}

/// Says that a request asks for nothing: no query is known.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// A JSON body whose mistakes are told as a problem; an empty body counts as `{}`.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<Shared>> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let kind = kind(request.headers())?;
        let (bytes, _room) = body_bytes(request, shared).await?;
        match kind {
            Kind::Json => json(&bytes).map(Self),
            Kind::Unsaid if bytes.is_empty() => json(&bytes).map(Self),
            Kind::Unsaid | Kind::Text => Err(unsupported("application/json")),
        }
    }
}

/// A whole text, bare or in JSON, and the room that it takes.
pub(crate) struct Whole(pub(crate) Import, pub(crate) Room);

impl FromRequest<Arc<Shared>> for Whole {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let kind = kind(request.headers())?;
        let (bytes, room) = body_bytes(request, shared).await?;
        match kind {
            Kind::Json => json(&bytes).map(|import| Self(import, room)),
            Kind::Text => match String::from_utf8(bytes.into()) {
                Ok(text) => Ok(Self(Import { text, author: String::new() }, room)),
                Err(_) => Err(Problem::bad_request("bad-body", "the body is not UTF-8")),
            },
            Kind::Unsaid => Err(unsupported("application/json or text/plain")),
        }
    }
}

/// What a body is, as its sender says.
enum Kind {
    Json,
    Text,
    Unsaid,
}

fn kind(headers: &HeaderMap) -> Result<Kind, Problem> {
    let mut said = headers.get_all(header::CONTENT_TYPE).iter();
    let said = match (said.next(), said.next()) {
        (None, _) => return Ok(Kind::Unsaid),
        (Some(said), None) => said.to_str().unwrap_or_default(),
        (Some(_), Some(_)) => "",
    };
    let mut parts = said.split(';').map(|part| part.trim().to_ascii_lowercase());
    let essence = parts.next().unwrap_or_default();
    let other_charset = |part: &String| {
        let charset = part.strip_prefix("charset=").map(|name| name.trim_matches('"'));
        charset.is_some_and(|name| name != "utf-8")
    };
    match &*essence {
        _ if parts.any(|part| other_charset(&part)) => Err(unsupported("UTF-8")),
        "application/json" => Ok(Kind::Json),
        "text/plain" => Ok(Kind::Text),
        _ => Err(unsupported("application/json")),
    }
}

fn unsupported(wanted: &str) -> Problem {
    let detail = format!("the body has to be {wanted}, and the header Content-Type to say so");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, &detail)
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let bytes = if bytes.is_empty() { b"{}" } else { bytes };
    // A list of its fields would pass for an object.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Problem::bad_request("bad-body", "the body has to be a JSON object"));
    }
    serde_json::from_slice(bytes).map_err(|bad| {
        let detail = format!("the body is not the JSON that this address takes: {bad}");
        Problem::bad_request("bad-body", &detail)
    })
}
