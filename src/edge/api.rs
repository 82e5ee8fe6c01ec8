//! The HTTP API for documents: text, history and changes on somebody's behalf.
//!
//! Every answer is `Cache-Control: no-store`: a cache never serves a stale document.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp as Time;

use crate::access::Right;
use crate::doc::{Blamed, EventKind, Handle, Hunk, HunkKind, Past, Row, Write};
use crate::edge::asker::asker_for_now;
use crate::edge::extract::{Asked, Body, Doc, Fresh};
use crate::edge::model::{
    AtRev, Between, BlameBody, By, Changed, Cut, CutBody, Difference, History, HunkRow, Import,
    Listing, NameVersion, Restore, RevisionRow, Span, Text, VerifyBody, VersionRow,
};
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::task::Tasks;
use crate::text::{Operation, diff as text_diff};
use crate::types::{Author, Revision, SessionId, Timestamp};

/// How many revisions a page lists where nothing is said.
const PAGE_ROWS: usize = 100;

/// The longest name of a version, in bytes.
const VERSION_NAME_BYTES_MAX: usize = 128;

type Answer<T> = Result<Fresh<T>, Problem>;

pub(crate) async fn text(doc: Doc, Asked(at): Asked<AtRev>) -> Answer<Text> {
    let past = existing(&doc.handle, Right::Read).await?;
    let rev = at.rev.map_or(past.head(), Revision);
    let text = past.text_at(rev).await?;
    Ok(Fresh(Text { doc: doc.id.to_string(), rev: rev.0, head: past.head().0, text }))
}

pub(crate) async fn history(doc: Doc, Asked(listing): Asked<Listing>) -> Answer<History> {
    let past = existing(&doc.handle, Right::History).await?;
    let from = Revision(listing.from.unwrap_or(1));
    let page = past.page(from, listing.limit.unwrap_or(PAGE_ROWS)).await?;
    let versions = past.versions().iter().map(|version| VersionRow {
        name: version.name.clone(),
        rev: version.rev.0,
        author: version.author.to_string(),
        at: spelled(version.at),
    });
    Ok(Fresh(History {
        head: past.head().0,
        revisions: page.rows.into_iter().map(revision_row).collect(),
        versions: versions.collect(),
        next: page.next.map(|rev| rev.0),
    }))
}

pub(crate) async fn blame(doc: Doc, Asked(at): Asked<AtRev>) -> Answer<BlameBody> {
    let past = existing(&doc.handle, Right::History).await?;
    let rev = at.rev.map_or(past.head(), Revision);
    let spans = past.blame(rev).await?;
    Ok(Fresh(BlameBody { rev: rev.0, spans: spans.into_iter().map(span).collect() }))
}

pub(crate) async fn diff(doc: Doc, Asked(between): Asked<Between>) -> Answer<Difference> {
    let past = existing(&doc.handle, Right::History).await?;
    let (from, to) = (Revision(between.from), between.to.map_or(past.head(), Revision));
    let (_, hunks) = past.diff(from, to).await?;
    let row = |Hunk { kind, text }| {
        let kind = match kind {
            HunkKind::Same => "same",
            HunkKind::Inserted => "inserted",
            HunkKind::Deleted => "deleted",
        };
        HunkRow { kind, text }
    };
    Ok(Fresh(Difference { from: from.0, to: to.0, hunks: hunks.into_iter().map(row).collect() }))
}

pub(crate) async fn verify(State(shared): State<Arc<Shared>>, doc: Doc) -> Answer<VerifyBody> {
    let rebuilt = shared.router.rebuild(&doc.id).await?;
    let past = existing(&doc.handle, Right::History).await?;
    let verified = past.verify((rebuilt.head(), rebuilt.text())).await?;
    Ok(Fresh(VerifyBody {
        rev: verified.rev.0,
        text_hash: format!("{:016x}", verified.text_hash),
        checkpoint_rev: verified.checkpoint.map(|rev| rev.0),
        replayed: verified.replayed,
        equal: verified.equal,
    }))
}

pub(crate) async fn import(doc: Doc, Body(import): Body<Import>) -> Answer<Changed> {
    let past = doc.handle.past(&asker_for_now(), Right::Read).await?;
    let (base, op) = leading_to(&past, import.text).await?;
    let edit = Write::Edit { author: author(&import.author)?, base, op };
    write(&doc.handle, edit).await
}

pub(crate) async fn restore(doc: Doc, Body(restore): Body<Restore>) -> Answer<Changed> {
    let past = existing(&doc.handle, Right::History).await?;
    let rev = Revision(restore.rev);
    let (base, op) = leading_to(&past, past.text_at(rev).await?).await?;
    let restored = Write::Restore { author: author(&restore.author)?, base, op, rev };
    write(&doc.handle, restored).await
}

pub(crate) async fn name_version(doc: Doc, Body(named): Body<NameVersion>) -> Answer<Changed> {
    let past = existing(&doc.handle, Right::Read).await?;
    let rev = named.rev.map_or(past.head(), Revision);
    past.check_revision(rev)?;
    let name = named.name;
    let fits = !name.is_empty() && name.len() <= VERSION_NAME_BYTES_MAX;
    if !fits || name.chars().any(char::is_control) {
        let detail = "a version's name has 1 to 128 bytes and no control characters";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    event(&doc.handle, EventKind::VersionNamed { name, rev }, author(&named.author)?).await?;
    Ok(Fresh(Changed { rev: rev.0 }))
}

pub(crate) async fn cut(doc: Doc, Body(cut): Body<Cut>) -> Answer<CutBody> {
    let past = existing(&doc.handle, Right::Admin).await?;
    let before = Revision(cut.before);
    past.check_revision(before)?;
    event(&doc.handle, EventKind::HistoryCut { before }, author(&cut.author)?).await?;
    doc.handle.save().await?;
    let past = doc.handle.past(&asker_for_now(), Right::Admin).await?;
    Ok(Fresh(CutBody { base: past.oldest().0 }))
}

pub(crate) async fn delete(doc: Doc, Body(by): Body<By>) -> Answer<Changed> {
    existing(&doc.handle, Right::Admin).await?;
    let rev = event(&doc.handle, EventKind::Deleted, author(&by.author)?).await?;
    Ok(Fresh(Changed { rev: rev.0 }))
}

pub(crate) async fn undelete(doc: Doc, Body(by): Body<By>) -> Answer<Changed> {
    let rev = event(&doc.handle, EventKind::Undeleted, author(&by.author)?).await?;
    Ok(Fresh(Changed { rev: rev.0 }))
}

pub(crate) async fn existing(handle: &Handle, right: Right) -> Result<Past, Problem> {
    let past = handle.past(&asker_for_now(), right).await?;
    past.check_exists()?;
    Ok(past)
}

/// Returns the operation that makes a text of the newest one.
async fn leading_to(past: &Past, target: String) -> Result<(Revision, Operation), Problem> {
    let base = past.head();
    let current = past.text_at(base).await?;
    let op = Tasks::offload(move || text_diff(&current, &target)).await;
    Ok((base, op))
}

async fn write(handle: &Handle, write: Write) -> Answer<Changed> {
    let rev = handle.write(fresh_session(), asker_for_now(), write).await?;
    Ok(Fresh(Changed { rev: rev.0 }))
}

pub(crate) async fn event(
    handle: &Handle,
    kind: EventKind,
    author: Author,
) -> Result<Revision, Problem> {
    Ok(handle.write(fresh_session(), asker_for_now(), Write::Event { author, kind }).await?)
}

fn fresh_session() -> SessionId {
    SessionId(rand::random())
}

pub(crate) fn author(name: &str) -> Result<Author, Problem> {
    name.parse().map_err(|bad: crate::types::BadAuthor| {
        Problem::new(StatusCode::BAD_REQUEST, &bad.to_string())
    })
}

fn revision_row(row: Row) -> RevisionRow {
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

fn span(blamed: Blamed) -> Span {
    let Blamed { text, by } = blamed;
    match by {
        Some((rev, author, at)) => {
            Span { text, rev: Some(rev.0), author: Some(author.to_string()), at: Some(spelled(at)) }
        }
        None => Span { text, rev: None, author: None, at: None },
    }
}

/// Spells a time as RFC 3339.
pub(crate) fn spelled(at: Timestamp) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    Time::from_millisecond(millis).map(|time| time.to_string()).unwrap_or_default()
}
