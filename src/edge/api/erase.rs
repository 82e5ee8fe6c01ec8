//! Erasing a document's history before a revision, answered with a proof.
//!
//! It is done by the owner. Where it takes longer than an answer may, it is answered with what it
//! waits for (202), and goes on when it is asked again.

mod model;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::access::Right;
use crate::doc::{EventKind, Write};
use crate::edge::api::erase::model::{Erasure, InLog, InStore, Left};
use crate::edge::extract::{Asked, Body, Doc, Fresh, Nothing};
use crate::edge::model::{Cut, Named};
use crate::edge::problem::Problem;
use crate::edge::routes::Shared;
use crate::router::{Erased, Kept, Wait};
use crate::types::{DocId, Revision};

/// When an erasure may be asked for again that has to wait for another one.
const ERASE_RETRY: Duration = Duration::from_secs(5);

const COPIES: &str = "copies of the document at other nodes began again when it was cut; one that \
     nobody uses is dropped after relay.copy-idle";

const ELSEWHERE: &str = "not looked at: what clients have, recordings, backups, replicas outside \
     the cluster, and the free space of disks";

/// Removes the history before a revision also from log and checkpoints, and proves it.
///
/// Of a document that is deleted, the revision may be the one behind its last: then that one is
/// made, without text, and all that there was is erased.
#[utoipa::path(
    post, path = "/v1/docs/{doc}/erase", tag = "history", params(Named),
    request_body = Cut,
    responses(
        (status = 200, description = "It is gone", body = Erasure),
        (status = 202, description = "Not yet: it goes on when it is asked again", body = Erasure),
    )
)]
pub(crate) async fn erase(
    State(shared): State<Arc<Shared>>,
    doc: Doc,
    _: Asked<Nothing>,
    Body(asked): Body<Cut>,
) -> Result<Response, Problem> {
    // It makes work for everybody's documents of the shard: that is not for any owner to ask for.
    doc.check_granted(Right::Admin)?;
    let Ok(_one) = shared.erasing.try_acquire() else {
        let detail = "another document is being erased at this node: try again in a while";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry(ERASE_RETRY));
    };
    let author = doc.author(&asked.author)?;
    let (mut past, before) = (doc.past(Right::Admin).await?, asked.before.0);
    if !past.is_deleted() {
        past.check_exists()?;
    } else if before == past.head().next() {
        doc.write(Write::Blank { author: author.clone(), base: past.head() }).await?;
        past = doc.past(Right::Admin).await?;
    }
    if past.oldest() < before {
        Doc::check_named(&past, before)?;
        doc.event(author, EventKind::HistoryCut { before }).await?;
    }
    let erased = shared.router.erase(&doc.id, before).await?;
    let proof = proof(&doc.id, before, erased);
    let status = if proof.complete { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Fresh(proof)).into_response())
}

fn proof(doc: &DocId, before: Revision, erased: Erased) -> Erasure {
    let Erased { shard, log, marks, cut, checkpoints, in_log, in_store, waits } = erased;
    let manifests = checkpoints.checkpoints.iter();
    let manifests =
        manifests.map(|id| format!("checkpoint of revision {} at {}", id.revision, id.offset));
    let removed = manifests.chain(checkpoints.blobs.iter().map(ToString::to_string)).collect();
    let left = |kept: Kept| Left {
        rev: kept.id.revision.0,
        offset: kept.id.offset.0,
        cut: kept.cut.0,
        blobs: kept.blobs.iter().map(ToString::to_string).collect(),
    };
    Erasure {
        doc: doc.to_string(),
        before: before.0,
        complete: waits.is_empty(),
        waits_for: waits.iter().map(waits_for).collect(),
        log: InLog {
            id: format!("{:032x}", log.0),
            shard: shard.0,
            start: marks.low.0,
            end: marks.high.0,
            cut: cut.map(|offset| offset.0),
            may_hold: in_log,
        },
        checkpoints: InStore {
            left: checkpoints.kept.into_iter().map(left).collect(),
            removed,
            may_hold: in_store,
        },
        copies: COPIES,
        elsewhere: ELSEWHERE,
    }
}

fn waits_for(wait: &Wait) -> String {
    match wait {
        Wait::Trim(below) => format!(
            "the log to be trimmed below {below}, once a low-water mark above it is older than \
             shard.trim-delay"
        ),
        // Which ones the log of the process says: they may be others'.
        Wait::Unsaved(docs) => {
            format!("documents of the shard to be saved that need the log: {}", docs.len())
        }
        Wait::Torn => {
            "a checkpoint that was cut off to be replaced by one of a later revision".to_owned()
        }
    }
}
