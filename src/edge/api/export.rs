//! Documents to take away: the text as a file, or all that is known, in pages.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::access::Right;
use crate::edge::api::documents::bare;
use crate::edge::api::history::revision_row;
use crate::edge::api::tag::{Form, Tag};
use crate::edge::api::versions::version_row;
use crate::edge::api::{Answer, rows};
use crate::edge::extract::{Asked, Doc, Fresh};
use crate::edge::long::Long;
use crate::edge::model::{Export, Exporting, Format, Named};
use crate::edge::problem::Problem;
use crate::types::Revision;

/// How many revisions a page has at most, and where nothing is said.
const PAGE_ROWS: usize = 1_000;

/// Exports a document.
///
/// That it was exported, and by whom, is written into its log before it is answered, where whoever
/// asks has the right to the history.
///
/// `json` has text, named versions and history, in pages: the first one has the text, and all
/// belong together that are asked for with the same `rev`.
#[utoipa::path(
    get, path = "/v1/docs/{doc}/export", tag = "documents", params(Named, Exporting),
    responses((status = 200, description = "The document", headers(
        ("ETag" = String, description = "Names the revision of a text"),
        ("Content-Disposition" = String, description = "A name for the file")
    ), content(
        (String = "text/plain; charset=utf-8"),
        (String = "text/markdown; charset=utf-8"),
        (Export = "application/json"),
    )))
)]
pub(crate) async fn export(
    doc: Doc,
    long: Long,
    Asked(asked): Asked<Exporting>,
) -> Answer<Response> {
    let format = asked.format.unwrap_or(Format::Text);
    if format != Format::Json && (asked.from.is_some() || asked.limit.is_some()) {
        let detail = "from and limit: only with format=json, which has a history";
        return Err(Problem::unfit("bad-query", detail));
    }
    let exporting = async move {
        let (answer, noted) = match format {
            Format::Text => text(&doc, &asked, "text/plain; charset=utf-8").await?,
            Format::Markdown => text(&doc, &asked, "text/markdown; charset=utf-8").await?,
            Format::Json => all(&doc, &asked).await?,
        };
        Ok((doc, answer, noted))
    };
    let (doc, mut answer, noted) = long.work(exporting).await?;
    // The log is not waited for at a place that others need.
    if let Some(rev) = noted {
        doc.note_export(rev).await?;
    }
    let ending = match format {
        Format::Text => "txt",
        Format::Markdown => "md",
        Format::Json => "json",
    };
    let name = format!("attachment; filename=\"{}.{ending}\"", doc.id);
    let name = HeaderValue::from_str(&name).expect("a document's id is visible ASCII");
    answer.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(answer)
}

/// What is answered, and the export of which revision is noted before.
type Exported = (Response, Option<Revision>);

async fn text(doc: &Doc, asked: &Exporting, kind: &'static str) -> Answer<Exported> {
    let past = doc.existing(Right::Read).await?;
    let rev = asked.rev.map_or(past.head(), |rev| rev.0);
    let mut answer = bare(past.text_at(rev).await?, kind);
    let tag = Tag { rev, form: Form::Bare };
    answer.headers_mut().insert(header::ETAG, tag.value());
    Ok((answer, Some(rev)))
}

async fn all(doc: &Doc, asked: &Exporting) -> Answer<Exported> {
    let rows_max = rows(asked.limit, PAGE_ROWS, PAGE_ROWS)?;
    let past = doc.existing(Right::History).await?;
    let rev = asked.rev.map_or(past.head(), |rev| rev.0);
    past.check_revision(rev)?;
    // Who has the history from its beginning has the text as well.
    let is_whole = asked.from.is_none_or(|from| from.0 <= past.oldest().next());
    let (text, versions) = match asked.from {
        Some(_) => (None, None),
        None => {
            let versions = past.versions().iter().map(version_row).collect();
            (Some(past.text_at(rev).await?), Some(versions))
        }
    };
    let from = asked.from.map_or(Revision(1), |from| from.0);
    let mut page = past.page(from, rows_max).await?;
    page.rows.retain(|row| row.rev <= rev);
    let export = Export {
        doc: doc.id.to_string(),
        rev: rev.0,
        text,
        versions,
        revisions: page.rows.into_iter().map(revision_row).collect(),
        next: page.next.filter(|next| *next <= rev).map(|next| next.0),
    };
    Ok((Fresh(export).into_response(), is_whole.then_some(rev)))
}
