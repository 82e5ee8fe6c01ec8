//! Documents as a whole: created, read, imported, deleted and brought back.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::access::Right;
use crate::doc::{EventKind, Failure, Past, Refusal, check_first};
use crate::edge::api::Answer;
use crate::edge::api::apply::{Edit, Placed, failed, placed};
use crate::edge::api::tag::{Form, Tag};
use crate::edge::extract::{Asked, Body, Doc, Fresh, Made, Nothing, Whole};
use crate::edge::long::Long;
use crate::edge::model::{AtRev, By, Changed, Create, Import, Named, ProblemBody, Text};
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::edge::validator::Expected;
use crate::task::Tasks;
use crate::text::{Operation, diff};
use crate::types::{Revision, SessionId};

/// Creates a document.
///
/// A text is written into it as its first revision.
#[utoipa::path(
    post, path = "/v1/docs/{doc}", tag = "documents", params(Named),
    request_body = Create,
    responses(
        (status = 201, description = "It is there", body = Changed, headers(
            ("ETag" = String, description = "Names the revision"),
            ("Location" = String, description = "Where it is")
        )),
        (status = 409, description = "It is there already, or deleted", body = ProblemBody,
            content_type = "application/problem+json"),
    )
)]
pub(crate) async fn create(
    State(shared): State<Arc<Shared>>,
    doc: Doc,
    _: Asked<Nothing>,
    Body(Create { text, author }): Body<Create>,
) -> Answer<Made<Changed>> {
    let author = doc.author(&author)?;
    let (bytes, op) = (text.len(), Operation::builder().insert(&text).build());
    // Both, or nothing.
    check_first(&author, &op, shared.doc_chars_max)?;
    let created = doc.event(author.clone(), EventKind::Created).await;
    let mut rev = created.map_err(|failure| match failure {
        Failure::Refused(Refusal::NoDocument) => {
            let detail = "the document is deleted: undelete it";
            Problem::new(StatusCode::CONFLICT, detail).code("deleted")
        }
        other => other.into(),
    })?;
    if !text.is_empty() {
        let (session, base, placed) = (SessionId(rand::random()), Revision(0), Placed::Rebased);
        rev = Edit { session, author, base, op, bytes, placed }.write(&doc).await?;
    }
    Ok(Made::created(doc.id, Tag::newest(rev), Changed { rev: rev.0 }))
}

/// Returns a document's text.
///
/// It comes by itself to who prefers `text/plain`, and as JSON to all others. Older texts than the
/// newest take the right `history`.
#[utoipa::path(
    get, path = "/v1/docs/{doc}", tag = "documents",
    params(Named, AtRev, ("If-None-Match" = Option<String>, Header,
        description = "The `ETag` of what the client has")),
    responses(
        (status = 200, description = "The text", headers(
            ("ETag" = String, description = "Names revision and form")
        ), content(
            (Text = "application/json"),
            (String = "text/plain; charset=utf-8"),
        )),
        (status = 304, description = "The client has it"),
    )
)]
pub(crate) async fn text(
    doc: Doc,
    long: Long,
    Asked(at): Asked<AtRev>,
    headers: HeaderMap,
) -> Answer<Response> {
    match at.rev {
        // It is at hand.
        None => text_at(doc, None, headers).await,
        Some(rev) => long.work(text_at(doc, Some(rev.0), headers)).await,
    }
}

async fn text_at(doc: Doc, rev: Option<Revision>, headers: HeaderMap) -> Answer<Response> {
    let past = doc.existing(Right::Read).await?;
    let (rev, head) = (rev.unwrap_or(past.head()), past.head());
    past.check_revision(rev)?;
    let form = if prefers_text(&headers) { Form::Bare } else { Form::Json { head } };
    let tag = Tag { rev, form };
    let mut answer = if tag.is_had(&headers) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let text = past.text_at(rev).await?;
        match form {
            Form::Bare => bare(text, "text/plain; charset=utf-8"),
            Form::Json { .. } => {
                let doc = doc.id.to_string();
                Fresh(Text { doc, rev: rev.0, head: head.0, text }).into_response()
            }
        }
    };
    let names = answer.headers_mut();
    names.insert(header::ETAG, tag.value());
    names.insert(header::VARY, HeaderValue::from_static("accept"));
    Ok(answer)
}

/// Returns a text by itself.
pub(in crate::edge::api) fn bare(text: String, kind: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

/// Tells whether a client would rather have the bare text than JSON.
fn prefers_text(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut text, mut json, mut any) = (None, None, None);
    for range in accepted.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
        let weight: f32 = weight.unwrap_or(1.0);
        match &*essence {
            "text/plain" | "text/*" => text = text.or(Some(weight)),
            "application/json" | "application/*" => json = json.or(Some(weight)),
            "*/*" => any = Some(weight),
            _ => {}
        }
    }
    text.is_some_and(|text| text > 0.0 && text > json.or(any).unwrap_or(0.0))
}

/// Makes a document's text another one, as one revision on top of what is there.
///
/// Where there is no document, it is created.
#[utoipa::path(
    put, path = "/v1/docs/{doc}", tag = "documents",
    params(
        Named,
        ("If-Match" = Option<String>, Header,
            description = "An `ETag` of the newest revision: what was written since is kept"),
        ("If-None-Match" = Option<String>, Header,
            description = "`*`: only if there is no document; an `ETag`: unless it is the newest"),
    ),
    request_body(content((Import = "application/json"), (String = "text/plain"))),
    responses(
        (status = 200, description = "The text is durable", body = Changed,
            headers(("ETag" = String, description = "Names the revision"))),
        (status = 201, description = "There was no document", body = Changed, headers(
            ("ETag" = String, description = "Names the revision"),
            ("Location" = String, description = "Where it is")
        )),
    )
)]
pub(crate) async fn import(
    doc: Doc,
    long: Long,
    headers: HeaderMap,
    _: Asked<Nothing>,
    Whole(Import { text, author }, room): Whole,
) -> Answer<Made<Changed>> {
    let author = doc.author(&author)?;
    let comparing = async move {
        let past = doc.past(Right::Read).await?;
        let base = past.head();
        let exists = past.check_exists().is_ok();
        if exists && Tag::unwanted(&headers, base) {
            return Err(failed("If-None-Match names what is there: read it first"));
        }
        let mut placed = match Tag::expected(&headers) {
            Expected::Existing if exists => Placed::Rebased,
            expected => placed(&doc, &expected, base).await?,
        };
        if headers.contains_key(header::IF_NONE_MATCH) {
            // Nothing may come in between.
            placed = Placed::OnHead;
        }
        let (session, bytes) = (SessionId(rand::random()), text.len());
        let op = leading_to(&past, text).await?;
        // What waits for a place takes it, too.
        drop(room);
        let edit = Edit { session, author, base, op, bytes, placed };
        Ok((doc, exists, edit))
    };
    // The log is not waited for at a place that others need.
    let (doc, exists, edit) = long.work(comparing).await?;
    let rev = edit.write(&doc).await?;
    let (tag, changed) = (Tag::newest(rev), Changed { rev: rev.0 });
    match exists {
        true => Ok(Made::changed(tag, changed)),
        false => Ok(Made::created(doc.id, tag, changed)),
    }
}

/// Returns the operation that makes a text of the newest one.
pub(in crate::edge::api) async fn leading_to(
    past: &Past,
    target: String,
) -> Result<Operation, Problem> {
    let current = past.text_at(past.head()).await?;
    Ok(Tasks::offload(move || diff(&current, &target)).await)
}

/// Deletes a document; `undelete` brings it back.
#[utoipa::path(
    delete, path = "/v1/docs/{doc}", tag = "documents", params(Named),
    request_body = By,
    responses((status = 200, description = "It is deleted", body = Changed))
)]
pub(crate) async fn delete(
    doc: Doc,
    _: Asked<Nothing>,
    Body(By { author }): Body<By>,
) -> Answer<Fresh<Changed>> {
    doc.existing(Right::Admin).await?;
    let rev = doc.event(doc.author(&author)?, EventKind::Deleted).await?;
    Ok(Fresh(Changed { rev: rev.0 }))
}

/// Brings a deleted document back.
#[utoipa::path(
    post, path = "/v1/docs/{doc}/undelete", tag = "documents", params(Named),
    request_body = By,
    responses((status = 200, description = "It is there again", body = Changed))
)]
pub(crate) async fn undelete(
    doc: Doc,
    _: Asked<Nothing>,
    Body(By { author }): Body<By>,
) -> Answer<Fresh<Changed>> {
    let rev = doc.event(doc.author(&author)?, EventKind::Undeleted).await?;
    Ok(Fresh(Changed { rev: rev.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_text_is_for_those_who_would_rather_have_it() {
        for (accept, bare) in [
            ("text/plain", true),
            ("text/plain, application/json;q=0.9", true),
            ("TEXT/PLAIN; charset=utf-8", true),
            ("text/*, */*;q=0.1", true),
            ("*/*", false),
            ("", false),
            ("application/json, text/plain", false),
            ("text/plain;q=0.5, application/json", false),
            ("text/plain;q=0", false),
            ("text/html", false),
        ] {
            let value = HeaderValue::from_static(accept);
            let headers = HeaderMap::from_iter([(header::ACCEPT, value)]);
            assert_eq!(prefers_text(&headers), bare, "{accept}");
        }
    }
}
