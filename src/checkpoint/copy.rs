//! Moving a document's newest checkpoint from one store to another.

use std::sync::Arc;

use crate::checkpoint::Store;
use crate::checkpoint::chunks::{load_segment, save_segment};
use crate::checkpoint::error::Error;
use crate::checkpoint::load::load;
use crate::checkpoint::save::save;
use crate::types::{DocId, LogId, Revision};

/// What was copied of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The revision of its newest checkpoint.
    pub revision: Revision,
    /// The hash of the text at that revision.
    pub text_hash: u64,
    /// The bytes that were copied or were there already.
    pub bytes: u64,
}

/// Copies a document's newest checkpoint of `log`, with the segments that it lists. Each piece is
/// believed only when its hash holds, where it comes from and where it goes to. What is whole there
/// is not written again, so that a copy that was cut off goes on.
///
/// # Errors
/// If a store fails, a piece is missing or damaged, what was written does not read back, or
/// another document is in its place; copying again completes it. `None` where the document has no
/// checkpoint.
pub async fn copy(
    from: &dyn Store,
    to: &dyn Store,
    doc: &DocId,
    log: LogId,
) -> Result<Option<Copied>, Error> {
    let Some(loaded) = load(from, doc, log).await? else { return Ok(None) };
    if loaded.skipped > 0 {
        return Err(Error::Skipped { doc: doc.clone(), skipped: loaded.skipped });
    }
    let newest = Arc::new(loaded.snapshot);
    let there = to.manifests(doc, 1).await?;
    if let Some(there) = there.first().filter(|there| there.id.revision > newest.revision) {
        return Err(Error::Taken { doc: doc.clone(), revision: there.id.revision });
    }
    let mut bytes = 0;
    for segment in &newest.sealed {
        let piece = load_segment(from, doc, segment).await?;
        bytes += save_segment(to, doc, (segment.base, segment.head), &piece).await?.bytes;
    }
    bytes += save(to, &newest).await?.bytes;
    Ok(Some(Copied { revision: newest.revision, text_hash: newest.text_hash, bytes }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::checkpoint::Memory;
    use crate::checkpoint::contract::{LOG, doc, snapshot};

    async fn segmented(store: &Memory) -> Arc<crate::checkpoint::Snapshot> {
        let bytes = Bytes::from(vec![3; 300_000]);
        let segment = save_segment(store, &doc("a"), (Revision(0), Revision(50)), &bytes).await;
        let mut newest = snapshot(&doc("a"), 60, 300_000);
        newest.sealed = vec![segment.unwrap()];
        let newest = Arc::new(newest);
        save(store, &newest).await.unwrap();
        newest
    }

    #[tokio::test]
    async fn a_document_is_copied_whole_also_where_a_copy_was_cut_off() {
        let (from, to) = (Memory::new(), Memory::new());
        let newest = segmented(&from).await;
        let segment = newest.sealed[0].blob(&doc("a"));
        // A part of the segment is there, and damaged.
        to.put_chunk(&segment, 0, Bytes::from_static(b"torn")).await.unwrap();
        for _ in 0..2 {
            let copied = copy(&from, &to, &doc("a"), LOG).await.unwrap().unwrap();
            assert_eq!(copied.revision, Revision(60));
        }
        assert_eq!(load(&to, &doc("a"), LOG).await.unwrap().unwrap().snapshot, *newest);
        load_segment(&to, &doc("a"), &newest.sealed[0]).await.unwrap();
        assert_eq!(copy(&from, &to, &doc("b"), LOG).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_not_whole_or_not_expected_is_no_success() {
        let (from, to) = (Memory::new(), Memory::new());
        let newest = segmented(&from).await;
        save(&to, &Arc::new(snapshot(&doc("a"), 61, 10))).await.unwrap();
        let taken = copy(&from, &to, &doc("a"), LOG).await;
        assert!(matches!(taken, Err(Error::Taken { .. })), "{taken:?}");
        let to = Memory::new();
        from.remove_blob(&newest.sealed[0].blob(&doc("a"))).await.unwrap();
        let missing = copy(&from, &to, &doc("a"), LOG).await;
        assert!(matches!(missing, Err(Error::Segment { .. })), "{missing:?}");
        let damaged = crate::checkpoint::CheckpointId {
            doc: doc("a"),
            revision: Revision(62),
            offset: crate::types::Offset(1),
        };
        from.put_manifest(&damaged, Bytes::from_static(b"rot")).await.unwrap();
        let skipped = copy(&from, &to, &doc("a"), LOG).await;
        assert!(matches!(skipped, Err(Error::Skipped { skipped: 1, .. })), "{skipped:?}");
    }
}
