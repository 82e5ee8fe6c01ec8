//! A document's past: who wrote what and when, what changed, and whether it is all there.

use std::sync::Arc;

use axum::extract::State;

use crate::access::Right;
use crate::doc::{Blamed, EventKind, Hunk, HunkKind, Row, Write};
use crate::edge::api::documents::leading_to;
use crate::edge::api::tag::Tag;
use crate::edge::api::versions::version_row;
use crate::edge::api::{Answer, page, rows, spelled};
use crate::edge::extract::{Asked, Body, Doc, Fresh, Made, Nothing};
use crate::edge::long::Long;
use crate::edge::model::{
    Between, BlameBody, Blaming, Changed, Cut, CutBody, Difference, History, HunkRow, Listing,
    Named, Restore, RevisionRow, Span, VerifyBody,
};
use crate::edge::routes::Shared;
use crate::types::Revision;

/// How many revisions a page has where nothing is said, and at most.
const PAGE_ROWS: (usize, usize) = (100, 1_000);

/// How many pieces of a text a page has where nothing is said, and at most.
const PAGE_PIECES: (usize, usize) = (1_000, 10_000);

/// Lists revisions.
#[utoipa::path(
    get, path = "/v1/docs/{doc}/history", tag = "history", params(Named, Listing),
    responses((status = 200, description = "A page of them, and all named versions",
        body = History))
)]
pub(crate) async fn history(
    doc: Doc,
    long: Long,
    Asked(listing): Asked<Listing>,
) -> Answer<Fresh<History>> {
    let rows = rows(listing.limit, PAGE_ROWS.0, PAGE_ROWS.1)?;
    let listed = async move {
        let past = doc.existing(Right::History).await?;
        let from = listing.from.map_or(Revision(1), |from| from.0);
        let page = past.page(from, rows).await?;
        Ok(Fresh(History {
            head: past.head().0,
            revisions: page.rows.into_iter().map(revision_row).collect(),
            versions: past.versions().iter().map(version_row).collect(),
            next: page.next.map(|rev| rev.0),
        }))
    };
    long.work(listed).await
}

pub(in crate::edge::api) fn revision_row(row: Row) -> RevisionRow {
    RevisionRow {
        rev: row.rev.0,
        author: row.author.to_string(),
        at: spelled(row.at),
        participant: row.participant.0,
        base: row.base.0,
        inserted: row.inserted,
        deleted: row.deleted,
    }
}

/// Tells who wrote each piece of a text.
#[utoipa::path(
    get, path = "/v1/docs/{doc}/blame", tag = "history", params(Named, Blaming),
    responses((status = 200, description = "A page of pieces", body = BlameBody))
)]
pub(crate) async fn blame(
    doc: Doc,
    long: Long,
    Asked(asked): Asked<Blaming>,
) -> Answer<Fresh<BlameBody>> {
    let rows = rows(asked.limit, PAGE_PIECES.0, PAGE_PIECES.1)?;
    let blamed = async move {
        let past = doc.existing(Right::History).await?;
        let rev = asked.rev.map_or(past.head(), |rev| rev.0);
        let (spans, next) = page(past.blame(rev).await?, asked.from, rows);
        Ok(Fresh(BlameBody { rev: rev.0, spans: spans.into_iter().map(span).collect(), next }))
    };
    long.work(blamed).await
}

fn span(blamed: Blamed) -> Span {
    let Blamed { text, by } = blamed;
    match by {
        Some((rev, author, at)) => {
            Span { text, rev: Some(rev.0), author: Some(author.to_string()), at: Some(spelled(at)) }
        }
        None => Span { text, rev: None, author: None, at: None },
    }
}

/// Tells what changed between two revisions.
#[utoipa::path(
    get, path = "/v1/docs/{doc}/diff", tag = "history", params(Named, Between),
    responses((status = 200, description = "A page of pieces", body = Difference))
)]
pub(crate) async fn diff(
    doc: Doc,
    long: Long,
    Asked(between): Asked<Between>,
) -> Answer<Fresh<Difference>> {
    let rows = rows(between.limit, PAGE_PIECES.0, PAGE_PIECES.1)?;
    let from = between.from.0;
    let compared = async move {
        let past = doc.existing(Right::History).await?;
        let to = between.to.map_or(past.head(), |to| to.0);
        let (_, hunks) = past.diff(from, to).await?;
        Ok((to, page(hunks, between.piece, rows)))
    };
    let (to, (hunks, next)) = long.work(compared).await?;
    let row = |Hunk { kind, text }| {
        let kind = match kind {
            HunkKind::Same => "same",
            HunkKind::Inserted => "inserted",
            HunkKind::Deleted => "deleted",
        };
        HunkRow { kind, text }
    };
    let hunks = hunks.into_iter().map(row).collect();
    Ok(Fresh(Difference { from: from.0, to: to.0, hunks, next }))
}

/// Replays a document's records and compares.
#[utoipa::path(
    get, path = "/v1/docs/{doc}/verify", tag = "history", params(Named),
    responses((status = 200, description = "What was found", body = VerifyBody))
)]
pub(crate) async fn verify(
    State(shared): State<Arc<Shared>>,
    doc: Doc,
    long: Long,
    _: Asked<Nothing>,
) -> Answer<Fresh<VerifyBody>> {
    let verified = async move {
        doc.existing(Right::History).await?;
        let rebuilt = shared.router.rebuild(&doc.id).await?;
        let past = doc.existing(Right::History).await?;
        Ok(past.verify((rebuilt.head(), rebuilt.text())).await?)
    };
    let verified = long.work(verified).await?;
    Ok(Fresh(VerifyBody {
        rev: verified.rev.0,
        text_hash: format!("{:016x}", verified.text_hash),
        checkpoint_rev: verified.checkpoint.map(|rev| rev.0),
        replayed: verified.replayed,
        equal: verified.equal,
    }))
}

/// Makes the text of an earlier revision the newest, as a new revision.
#[utoipa::path(
    post, path = "/v1/docs/{doc}/restore", tag = "history", params(Named),
    request_body = Restore,
    responses((status = 200, description = "The text is durable", body = Changed,
        headers(("ETag" = String, description = "Names the revision"))))
)]
pub(crate) async fn restore(
    doc: Doc,
    long: Long,
    _: Asked<Nothing>,
    Body(restore): Body<Restore>,
) -> Answer<Made<Changed>> {
    let rev = restore.rev.0;
    let comparing = async move {
        let past = doc.existing(Right::History).await?;
        Doc::check_named(&past, rev)?;
        let text = past.text_at(rev).await?;
        let op = leading_to(&past, text).await?;
        Ok((doc, past.head(), op))
    };
    let (doc, base, op) = long.work(comparing).await?;
    let author = doc.author(&restore.author)?;
    let rev = doc.write(Write::Restore { author, base, op, rev }).await?;
    Ok(Made::changed(Tag::newest(rev), Changed { rev: rev.0 }))
}

/// Removes the history before a revision, for good.
#[utoipa::path(
    post, path = "/v1/docs/{doc}/cut", tag = "history", params(Named),
    request_body = Cut,
    responses((status = 200, description = "It is gone", body = CutBody))
)]
pub(crate) async fn cut(
    doc: Doc,
    _: Asked<Nothing>,
    Body(cut): Body<Cut>,
) -> Answer<Fresh<CutBody>> {
    let past = doc.existing(Right::Admin).await?;
    let before = cut.before.0;
    Doc::check_named(&past, before)?;
    doc.event(doc.author(&cut.author)?, EventKind::HistoryCut { before }).await?;
    doc.handle().save().await?;
    let past = doc.past(Right::Admin).await?;
    Ok(Fresh(CutBody { base: past.oldest().0 }))
}
