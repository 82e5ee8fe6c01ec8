//! Moving a document's checkpoints from one store to another.

use crate::checkpoint::error::Error;
use crate::checkpoint::load::{MANIFESTS_MAX, load};
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::{BlobId, Store};
use crate::types::{DocId, Revision};

/// What was copied of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The revision of its newest checkpoint.
    pub revision: Revision,
    /// The hash of the text at that revision, as it reads back from where it was copied to.
    pub text_hash: u64,
    /// The bytes that were not there before.
    pub bytes: u64,
}

/// Copies a document's newest checkpoint that can be read, with the segments that it lists, and
/// reads it back. What is there already is not written again, so that a copy that was cut off
/// goes on.
///
/// # Errors
/// If a store fails, or what was written does not read back; copying again completes it. `None`
/// where the document has no checkpoint.
pub async fn copy(from: &dyn Store, to: &dyn Store, doc: &DocId) -> Result<Option<Copied>, Error> {
    let Some(loaded) = load(from, doc).await? else { return Ok(None) };
    let newest = &loaded.snapshot;
    let (revision, text_hash) = (newest.revision, newest.text_hash);
    let mut bytes = 0;
    for stored in from.manifests(doc, MANIFESTS_MAX).await? {
        let Ok(manifest) = Manifest::decode(&stored.bytes) else { continue };
        if (manifest.revision, manifest.text_hash) != (revision, text_hash) {
            continue;
        }
        let segments = manifest.sealed.iter().map(|segment| segment.blob(doc));
        for blob in segments.chain([manifest.body()]) {
            bytes += copy_blob(from, to, &blob).await?;
        }
        to.put_manifest(&stored.id, stored.bytes.clone()).await?;
        bytes += stored.bytes.len() as u64;
        break;
    }
    let back = load(to, doc).await?;
    match back {
        Some(back)
            if (back.snapshot.revision, back.snapshot.text_hash) == (revision, text_hash) =>
        {
            Ok(Some(Copied { revision, text_hash, bytes }))
        }
        Some(back) if back.snapshot.revision > revision => {
            // It was written to since it was copied.
            let (revision, text_hash) = (back.snapshot.revision, back.snapshot.text_hash);
            Ok(Some(Copied { revision, text_hash, bytes }))
        }
        Some(_) | None => Err(Error::NotVerified {
            doc: doc.clone(),
            revision,
            source: crate::checkpoint::Damage::NoManifest,
        }),
    }
}

async fn copy_blob(from: &dyn Store, to: &dyn Store, blob: &BlobId) -> Result<u64, Error> {
    let mut bytes = 0;
    for index in 0.. {
        let Some(chunk) = from.chunk(blob, index).await? else { break };
        // A blob's id holds the hash of its bytes: a chunk that is there is the same.
        if to.chunk(blob, index).await?.is_none() {
            bytes += chunk.len() as u64;
            to.put_chunk(blob, index, chunk).await?;
        }
    }
    Ok(bytes)
}
