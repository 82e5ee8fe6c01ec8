//! Named versions of a document.

use crate::access::Right;
use crate::doc::{EventKind, NamedVersion};
use crate::edge::api::{Answer, page, rows, spelled};
use crate::edge::extract::{Asked, Body, Doc, Fresh, Nothing};
use crate::edge::model::{Changed, NameVersion, Named, Pieces, VersionRow, Versions};
use crate::edge::problem::Problem;

/// How many versions a page has where nothing is said, and at most.
const PAGE_ROWS: (usize, usize) = (100, 1_000);

/// The longest name of a version, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Lists named versions.
#[utoipa::path(
    get, path = "/v1/docs/{doc}/versions", tag = "history", params(Named, Pieces),
    responses((status = 200, description = "A page of them", body = Versions))
)]
pub(crate) async fn list(doc: Doc, Asked(asked): Asked<Pieces>) -> Answer<Fresh<Versions>> {
    let rows = rows(asked.limit, PAGE_ROWS.0, PAGE_ROWS.1)?;
    let past = doc.existing(Right::History).await?;
    let all = past.versions().iter().map(version_row).collect();
    let (versions, next) = page(all, asked.from, rows);
    Ok(Fresh(Versions { versions, next }))
}

pub(in crate::edge::api) fn version_row(version: &NamedVersion) -> VersionRow {
    VersionRow {
        name: version.name.clone(),
        rev: version.rev.0,
        author: version.author.to_string(),
        at: spelled(version.at),
    }
}

/// Gives a revision a name.
#[utoipa::path(
    post, path = "/v1/docs/{doc}/versions", tag = "history", params(Named),
    request_body = NameVersion,
    responses((status = 200, description = "It has the name", body = Changed))
)]
pub(crate) async fn name(
    doc: Doc,
    _: Asked<Nothing>,
    Body(NameVersion { name, rev, author }): Body<NameVersion>,
) -> Answer<Fresh<Changed>> {
    let past = doc.existing(Right::Read).await?;
    let rev = rev.map_or(past.head(), |rev| rev.0);
    Doc::check_named(&past, rev)?;
    let fits = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    if !fits || name.chars().any(char::is_control) {
        let detail = "a version's name has 1 to 128 bytes and no control characters";
        return Err(Problem::unfit("bad-name", detail));
    }
    doc.event(doc.author(&author)?, EventKind::VersionNamed { name, rev }).await?;
    Ok(Fresh(Changed { rev: rev.0 }))
}
