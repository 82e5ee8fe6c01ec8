//! Loading a document's newest checkpoint that is whole.

use std::cmp::Reverse;

use crate::checkpoint::Store;
use crate::checkpoint::chunks;
use crate::checkpoint::error::{Damage, DecodeError, Error, StoreError};
use crate::checkpoint::key::{CheckpointId, StoredManifest};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::snapshot::Snapshot;
use crate::task::Tasks;
use crate::types::{DocId, LogId};

/// How many manifests of a document are looked at: more than are kept, for savers that died.
pub(crate) const MANIFESTS_MAX: usize = 16;

/// How often to begin again because checkpoints were replaced while they were being read.
const ATTEMPTS_MAX: usize = 5;

/// Decoding more than this may hold up an async thread for too long.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Is a checkpoint that was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The newest that is whole.
    pub snapshot: Snapshot,
    /// How many newer ones are damaged: worth an alarm, and the log must reach back further.
    pub skipped: u32,
}

/// Loads the newest checkpoint of a document whose chunks are all there and whose hash holds, or
/// none if there is no manifest. At one revision, those of `log` are newer than those of logs
/// before it, whose offsets tell nothing.
///
/// # Errors
/// If the store fails, if there are checkpoints and none is whole, or if a newer program wrote
/// the newest one.
pub async fn load(store: &dyn Store, doc: &DocId, log: LogId) -> Result<Option<Loaded>, Error> {
    let mut manifests = newest_first(store, doc, log).await?;
    for _ in 1..ATTEMPTS_MAX {
        let outcome = newest_whole(store, doc, &manifests).await;
        if matches!(&outcome, Ok(None) | Ok(Some(Loaded { skipped: 0, .. })) | Err(Error::Store(_)))
        {
            return outcome;
        }
        // What looks damaged may have been removed by a save of a newer one meanwhile.
        let now = newest_first(store, doc, log).await?;
        if now == manifests {
            return outcome;
        }
        manifests = now;
    }
    newest_whole(store, doc, &manifests).await
}

/// Lists the manifests of a document, newest first.
pub(crate) async fn newest_first(
    store: &dyn Store,
    doc: &DocId,
    log: LogId,
) -> Result<Vec<StoredManifest>, StoreError> {
    let mut manifests = store.manifests(doc, MANIFESTS_MAX).await?;
    if manifests.windows(2).any(|two| two[0].id.revision == two[1].id.revision) {
        // One that cannot be read may be of this log.
        let is_older = |stored: &StoredManifest| {
            Manifest::decode(&stored.bytes).is_ok_and(|manifest| manifest.log != log)
        };
        manifests.sort_by_cached_key(|stored| {
            let StoredManifest { id, .. } = stored;
            (Reverse(id.revision), is_older(stored), Reverse(id.offset))
        });
    }
    Ok(manifests)
}

async fn newest_whole(
    store: &dyn Store,
    doc: &DocId,
    manifests: &[StoredManifest],
) -> Result<Option<Loaded>, Error> {
    let mut newest = None;
    let mut skipped = 0;
    for stored in manifests {
        match read(store, stored).await? {
            Ok(snapshot) => return Ok(Some(Loaded { snapshot, skipped })),
            Err(
                Damage::Manifest(DecodeError::Newer { found })
                | Damage::Body(DecodeError::Newer { found }),
            ) => return Err(Error::Newer { doc: doc.clone(), found }),
            Err(damage) => {
                newest.get_or_insert(damage);
                skipped += 1;
            }
        }
    }
    match newest {
        None => Ok(None),
        Some(source) => Err(Error::AllDamaged { doc: doc.clone(), skipped, source }),
    }
}

async fn read(
    store: &dyn Store,
    stored: &StoredManifest,
) -> Result<Result<Snapshot, Damage>, StoreError> {
    let manifest = match manifest(&stored.id, &stored.bytes) {
        Ok(manifest) => manifest,
        Err(damage) => return Ok(Err(damage)),
    };
    let body = match chunks::read(store, &manifest.body(), manifest.body_bytes).await? {
        Ok(chunks) => chunks::join(chunks),
        Err(damage) => return Ok(Err(damage)),
    };
    if body.len() <= INLINE_BYTES_MAX {
        return Ok(Snapshot::decode(manifest, &body));
    }
    Ok(Tasks::offload(move || Snapshot::decode(manifest, &body)).await)
}

fn manifest(id: &CheckpointId, bytes: &[u8]) -> Result<Manifest, Damage> {
    let manifest = Manifest::decode(bytes).map_err(Damage::Manifest)?;
    if manifest.id() == *id { Ok(manifest) } else { Err(Damage::Misplaced) }
}
