//! Saving a checkpoint, and removing what it makes superfluous.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::checkpoint::Store;
use crate::checkpoint::chunks;
use crate::checkpoint::error::{Damage, DecodeError, Error, StoreError};
use crate::checkpoint::key::{BlobId, BlobKind, StoredManifest};
use crate::checkpoint::load::{MANIFESTS_MAX, newest_first};
use crate::checkpoint::manifest::{BODY_BYTES_MAX, MANIFEST_BYTES_MAX, Manifest};
use crate::checkpoint::snapshot::Snapshot;
use crate::task::Tasks;
use crate::types::DocId;

/// How many checkpoints of a document are kept: the newest, and the one to fall back to.
const CHECKPOINTS_KEPT: usize = 2;

/// More manifests than any document has.
const ERASED_MAX: usize = 4096;

/// Encoding more than this may hold up an async thread for too long.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Tells what saving a checkpoint took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Saved {
    /// The bytes of body and manifest.
    pub bytes: u64,
}

/// Saves a checkpoint and reads it back, then removes those older than the one before it, and
/// blobs that nothing names. What is left of a document is its newest checkpoint, the one before,
/// and the segments that they list.
///
/// A repeated save of one revision is fine, at the same offset or another; so is the late save of
/// a stale owner, which is old and not wrong. A history cut takes the checkpoints from before it
/// along, with the segments that only they list.
///
/// # Errors
/// [`Error::Conflict`] if a checkpoint of this revision has another text; else if the store fails,
/// the snapshot is over a limit, or does not read back. Nothing older is removed then.
///
/// # Cancel safety
/// Stopped at any point, it leaves older checkpoints readable; saving again completes it.
pub async fn save(store: &dyn Store, snapshot: &Arc<Snapshot>) -> Result<Saved, Error> {
    check_conflict(store, snapshot).await?;
    if is_saved(store, snapshot).await? {
        return Ok(Saved { bytes: 0 });
    }
    let (manifest, body) = encode(snapshot).await;
    let encoded = Bytes::from(manifest.encode());
    check_size(&snapshot.doc, body.len(), BODY_BYTES_MAX)?;
    check_size(&snapshot.doc, encoded.len(), MANIFEST_BYTES_MAX)?;
    let bytes = u64::try_from(body.len() + encoded.len()).expect("a length fits 64 bits");
    chunks::write(store, &manifest.body(), &body).await?;
    store.put_manifest(&manifest.id(), encoded.clone()).await?;
    if let Err(source) = verify(store, &manifest, &encoded).await? {
        let (doc, revision) = (snapshot.doc.clone(), snapshot.revision);
        return Err(Error::NotVerified { doc, revision, source });
    }
    // Of two owners who save one revision at once, at least one sees the other's here.
    check_conflict(store, snapshot).await?;
    clean(store, &manifest).await?;
    Ok(Saved { bytes })
}

/// Removes everything that is stored of a document.
///
/// # Errors
/// If the store fails; erasing again completes it.
pub async fn erase(store: &dyn Store, doc: &DocId) -> Result<(), StoreError> {
    for manifest in store.manifests(doc, ERASED_MAX).await? {
        store.remove_manifest(&manifest.id).await?;
    }
    for blob in store.blobs(doc).await? {
        store.remove_blob(&blob).await?;
    }
    Ok(())
}

async fn encode(snapshot: &Arc<Snapshot>) -> (Manifest, Bytes) {
    // A row takes some 64 bytes before it is packed; a small snapshot is not worth a thread.
    let rows = snapshot.window.len() + snapshot.sessions.len();
    if snapshot.live.len() + rows * 64 <= INLINE_BYTES_MAX {
        return snapshot.encode();
    }
    let snapshot = Arc::clone(snapshot);
    Tasks::offload(move || snapshot.encode()).await
}

fn check_size(doc: &DocId, bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes <= limit { Ok(()) } else { Err(Error::TooLarge { doc: doc.clone(), bytes, limit }) }
}

async fn check_conflict(store: &dyn Store, snapshot: &Snapshot) -> Result<(), Error> {
    for StoredManifest { id, bytes } in store.manifests(&snapshot.doc, MANIFESTS_MAX).await? {
        let Ok(manifest) = Manifest::decode(&bytes) else { continue };
        if id.revision == snapshot.revision && manifest.text_hash != snapshot.text_hash {
            return Err(Error::Conflict {
                doc: id.doc,
                revision: id.revision,
                stored: manifest.text_hash,
                ours: snapshot.text_hash,
            });
        }
    }
    Ok(())
}

/// Tells whether a whole checkpoint of just this revision and offset is there: writing it again
/// could only damage it.
async fn is_saved(store: &dyn Store, snapshot: &Snapshot) -> Result<bool, StoreError> {
    for StoredManifest { id, bytes } in store.manifests(&snapshot.doc, MANIFESTS_MAX).await? {
        if (id.revision, id.offset) != (snapshot.revision, snapshot.offset) {
            continue;
        }
        let Ok(manifest) = Manifest::decode(&bytes) else { continue };
        let same = manifest.log == snapshot.log && manifest.id() == id;
        return Ok(
            same && chunks::read(store, &manifest.body(), manifest.body_bytes).await?.is_ok()
        );
    }
    Ok(false)
}

async fn verify(
    store: &dyn Store,
    manifest: &Manifest,
    encoded: &Bytes,
) -> Result<Result<(), Damage>, StoreError> {
    let id = manifest.id();
    let stored = store.manifests(&manifest.doc, MANIFESTS_MAX).await?;
    match stored.iter().find(|stored| stored.id == id) {
        None => Ok(Err(Damage::NoManifest)),
        Some(stored) if stored.bytes != encoded => Ok(Err(Damage::Misplaced)),
        Some(_) => {
            let body = chunks::read(store, &manifest.body(), manifest.body_bytes).await?;
            Ok(body.map(drop))
        }
    }
}

/// Removes what `saved`, which is known to be good, makes superfluous.
async fn clean(store: &dyn Store, saved: &Manifest) -> Result<(), StoreError> {
    let id = saved.id();
    let mut named = names(saved);
    let mut all_readable = true;
    let mut left = CHECKPOINTS_KEPT - 1;
    let newer = |manifest: &Manifest| {
        let age = |one: &Manifest| (one.revision, one.log == saved.log, one.offset);
        age(manifest) >= age(saved)
    };
    for stored in newest_first(store, &saved.doc, saved.log).await? {
        let keep = match Manifest::decode(&stored.bytes) {
            Ok(manifest) if newer(&manifest) || (left > 0 && manifest.cut >= saved.cut) => {
                left -= usize::from(!newer(&manifest));
                named.extend(names(&manifest));
                true
            }
            Ok(_) => false,
            Err(error) => {
                let damaged = !matches!(error, DecodeError::Newer { .. });
                let keep = stored.id >= id || !damaged;
                all_readable &= !keep;
                keep
            }
        };
        if !keep {
            store.remove_manifest(&stored.id).await?;
        }
    }
    if all_readable {
        sweep(store, saved, &named).await?;
    }
    Ok(())
}

/// Removes the blobs that no kept manifest names, but for those that a save on its way may be
/// about to name: bodies from the saved revision on, and segments that begin where none is sealed.
async fn sweep(
    store: &dyn Store,
    saved: &Manifest,
    named: &HashSet<BlobId>,
) -> Result<(), StoreError> {
    let sealed = saved.sealed.last().map_or(saved.cut, |last| last.head.max(saved.cut));
    for blob in store.blobs(&saved.doc).await? {
        let end = match blob.kind {
            BlobKind::Body => saved.revision,
            BlobKind::Segment => sealed,
        };
        if blob.revision < end && !named.contains(&blob) {
            store.remove_blob(&blob).await?;
        }
    }
    Ok(())
}

/// Lists the blobs that a manifest names.
fn names(manifest: &Manifest) -> HashSet<BlobId> {
    let segments = manifest.sealed.iter().map(|segment| segment.blob(&manifest.doc));
    segments.chain([manifest.body()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::contract::{LOG, doc, snapshot};
    use crate::checkpoint::{Memory, NamedVersion, load};
    use crate::testing::{FaultyStore, StoreFaults};
    use crate::types::Author;

    #[tokio::test]
    async fn what_does_not_read_back_is_an_error_and_nothing_older_goes() {
        let store = FaultyStore::new(Memory::new(), StoreFaults::default(), 1);
        for revision in 1..=2 {
            save(&store, &Arc::new(snapshot(&doc("a"), revision, 10))).await.unwrap();
        }
        store.set_faults(StoreFaults { torn: 1.0, ..StoreFaults::default() });
        let next = Arc::new(snapshot(&doc("a"), 3, 10));
        let error = save(&store, &next).await.unwrap_err();
        assert!(matches!(error, Error::NotVerified { .. }), "{error:?}");
        assert_eq!(store.manifests(&doc("a"), 9).await.unwrap().len(), 3);
        let loaded = load(&store, &doc("a"), LOG).await.unwrap().unwrap();
        assert_eq!((loaded.snapshot.revision.0, loaded.skipped), (2, 1));
        store.set_faults(StoreFaults::default());
        save(&store, &next).await.unwrap();
        assert_eq!(load(&store, &doc("a"), LOG).await.unwrap().unwrap().snapshot, *next);
    }

    #[tokio::test]
    async fn what_no_cell_would_hold_is_refused_before_anything_is_written() {
        let store = Memory::new();
        let mut large = snapshot(&doc("a"), 1, MANIFEST_BYTES_MAX * 2);
        let name = large.live.iter().map(|byte| char::from(byte % 64 + 32)).collect();
        let (rev, at, author) = (large.revision, large.created, Author::anonymous());
        large.versions = vec![NamedVersion { name, rev, author, at }];
        let error = save(&store, &Arc::new(large)).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: MANIFEST_BYTES_MAX, .. }), "{error:?}");
        assert_eq!(store.blobs(&doc("a")).await.unwrap(), []);
    }
}
