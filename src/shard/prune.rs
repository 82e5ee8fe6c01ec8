//! Removing from the store what tells of a document's history before a revision.
//!
//! Only what no owner can ever need is removed, whoever else saves the document meanwhile: an owner
//! that may still serve it has the cut in its log, so that nothing it saves tells of what was
//! before. So a manifest goes by its cut, a segment by its first revision, and a body that nothing
//! names by what is in it, never by its age.

use std::collections::HashSet;

use crate::checkpoint::{
    self, BlobId, BlobKind, CheckpointId, DecodeError, Loaded, Manifest, Snapshot, Store,
    StoreError, load, load_blob,
};
use crate::crdt::Segment;
use crate::doc::Failure;
use crate::task::Tasks;
use crate::types::{Chain, DocId, LogId, Revision};

/// More manifests than any document has.
const MANIFESTS_MAX: usize = 4_096;

/// What a pruning has left, and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The checkpoints that are left, newest first.
    pub kept: Vec<Kept>,
    /// The checkpoints that were removed by this one.
    pub checkpoints: Vec<CheckpointId>,
    /// The blobs that were removed by this one.
    pub blobs: Vec<BlobId>,
    /// Bodies that nothing names and nobody can read: a save that was cut off, or is under way. The
    /// next one of a later revision removes them.
    pub torn: Vec<BlobId>,
}

/// A checkpoint that is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which.
    pub id: CheckpointId,
    /// Where its history begins.
    pub cut: Revision,
    /// What it is made of.
    pub blobs: Vec<BlobId>,
}

/// What a blob tells that nothing names.
enum Tells {
    OfBefore,
    OfAfter,
    Nothing,
}

/// Removes what tells of a document's history before a revision, where a whole checkpoint does not,
/// and reads back that it is gone.
///
/// # Errors
/// Where there is no such checkpoint, or the store does not answer; purging again completes it.
pub(in crate::shard) async fn prune(
    store: &dyn Store,
    (doc, log): (&DocId, LogId),
    before: Revision,
) -> Result<Pruned, Failure> {
    check_whole(store, (doc, log), before).await?;
    let mut pruned = Pruned::default();
    for stored in store.manifests(doc, MANIFESTS_MAX).await.map_err(unanswered)? {
        match Manifest::decode(&stored.bytes) {
            Ok(manifest) if manifest.cut >= before => pruned.kept.push(kept(&manifest, before)?),
            Ok(_) => pruned.checkpoints.push(stored.id),
            Err(error @ DecodeError::Newer { .. }) => {
                return Err(Failure::Damaged { detail: error.to_string() });
            }
            // It holds no text; what it named is looked at by itself.
            Err(_) if pruned.kept.is_empty() => {}
            Err(_) => pruned.checkpoints.push(stored.id),
        }
    }
    for id in &pruned.checkpoints {
        store.remove_manifest(id).await.map_err(unanswered)?;
    }
    let named: HashSet<_> = pruned.kept.iter().flat_map(|kept| &kept.blobs).cloned().collect();
    for blob in store.blobs(doc).await.map_err(unanswered)? {
        if named.contains(&blob) {
            continue;
        }
        match told(store, &blob, before).await.map_err(unanswered)? {
            Tells::OfAfter => {}
            Tells::Nothing => pruned.torn.push(blob),
            Tells::OfBefore => {
                store.remove_blob(&blob).await.map_err(unanswered)?;
                pruned.blobs.push(blob);
            }
        }
    }
    check_gone(store, doc, &pruned).await?;
    Ok(pruned)
}

/// Checks that the checkpoint which the document is opened from is whole and tells nothing of what
/// was before.
async fn check_whole(
    store: &dyn Store,
    (doc, log): (&DocId, LogId),
    before: Revision,
) -> Result<(), Failure> {
    let loaded = load(store, doc, log).await.map_err(|error| match error {
        checkpoint::Error::Store(error) => unanswered(error),
        error => Failure::Damaged { detail: Chain(&error).to_string() },
    })?;
    let snapshot = loaded.map(|Loaded { snapshot, .. }| snapshot);
    let Some(snapshot) = snapshot.filter(|snapshot| snapshot.cut >= before) else {
        return Err(Failure::Store { detail: "no checkpoint is without it yet".to_owned() });
    };
    let revision = snapshot.revision;
    match Tasks::offload(move || tells(&snapshot, before)).await {
        Tells::OfAfter => Ok(()),
        Tells::OfBefore | Tells::Nothing => {
            let detail = format!("the checkpoint of revision {revision} is not cut as it says");
            Err(Failure::Damaged { detail })
        }
    }
}

fn kept(manifest: &Manifest, before: Revision) -> Result<Kept, Failure> {
    if let Some(uncut) = manifest.sealed.iter().find(|segment| segment.base < before) {
        let detail = format!(
            "the segment from revision {} cannot be read, so that it cannot be cut: erase before \
             revision {} instead",
            uncut.base, uncut.head
        );
        return Err(Failure::Damaged { detail });
    }
    let segments = manifest.sealed.iter().map(|segment| segment.blob(&manifest.doc));
    let blobs = std::iter::once(manifest.body()).chain(segments).collect();
    Ok(Kept { id: manifest.id(), cut: manifest.cut, blobs })
}

async fn told(store: &dyn Store, blob: &BlobId, before: Revision) -> Result<Tells, StoreError> {
    if blob.revision < before {
        return Ok(Tells::OfBefore);
    }
    match blob.kind {
        BlobKind::Segment => Ok(Tells::OfAfter),
        BlobKind::Body => {
            let Ok(body) = load_blob(store, blob).await? else { return Ok(Tells::Nothing) };
            let blob = blob.clone();
            Ok(Tasks::offload(move || match Snapshot::decode_body(&blob, &body) {
                Ok(snapshot) => tells(&snapshot, before),
                Err(_) => Tells::Nothing,
            })
            .await)
        }
    }
}

/// Tells of what the live segment and the window tell.
fn tells(snapshot: &Snapshot, before: Revision) -> Tells {
    let first = snapshot.revision.0.saturating_sub(snapshot.window.len() as u64);
    match Segment::decode(&snapshot.live) {
        Ok(live) if live.base() >= before && Revision(first) >= before => Tells::OfAfter,
        Ok(_) => Tells::OfBefore,
        Err(_) => Tells::Nothing,
    }
}

async fn check_gone(store: &dyn Store, doc: &DocId, pruned: &Pruned) -> Result<(), Failure> {
    let manifests = store.manifests(doc, MANIFESTS_MAX).await.map_err(unanswered)?;
    let blobs = store.blobs(doc).await.map_err(unanswered)?;
    let stays = manifests.iter().any(|stored| pruned.checkpoints.contains(&stored.id))
        || blobs.iter().any(|blob| pruned.blobs.contains(blob));
    if !stays {
        return Ok(());
    }
    let detail = "what was removed is still there: the clock of the node that wrote it was ahead, \
                  it goes when it is removed later";
    Err(Failure::Store { detail: detail.to_owned() })
}

fn unanswered(error: StoreError) -> Failure {
    Failure::Store { detail: Chain(&error).to_string() }
}
