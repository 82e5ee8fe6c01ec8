//! Checkpoints in memory: for tests and simulations, and for servers that may forget.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use crate::checkpoint::Store;
use crate::checkpoint::error::StoreError;
use crate::checkpoint::key::{BlobId, CheckpointId, Progress, StoredManifest};
use crate::types::{DocId, LogId, ShardId};

/// Keeps checkpoints until it is dropped.
#[derive(Debug)]
pub struct Memory {
    /// None once it is closed.
    content: Mutex<Option<Arc<Mutex<Content>>>>,
}

#[derive(Debug, Default)]
struct Content {
    manifests: BTreeMap<DocId, BTreeMap<CheckpointId, Bytes>>,
    blobs: BTreeMap<DocId, BTreeMap<BlobId, BTreeMap<u32, Bytes>>>,
    progress: BTreeMap<(ShardId, LogId), Progress>,
}

impl Memory {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self { content: Mutex::new(Some(Arc::default())) }
    }

    /// Opens the same checkpoints again, as another process does; each is closed by itself.
    ///
    /// # Errors
    /// Where this one is closed.
    pub fn reopen(&self) -> Result<Self, StoreError> {
        let content = self.content.lock().clone().ok_or(StoreError::Closed)?;
        Ok(Self { content: Mutex::new(Some(content)) })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Content) -> T) -> Result<T, StoreError> {
        let content = self.content.lock().clone().ok_or(StoreError::Closed)?;
        Ok(work(&mut content.lock()))
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Store for Memory {
    async fn put_chunk(&self, blob: &BlobId, index: u32, bytes: Bytes) -> Result<(), StoreError> {
        self.with(|content| {
            let blobs = content.blobs.entry(blob.doc.clone()).or_default();
            blobs.entry(blob.clone()).or_default().insert(index, bytes);
        })
    }

    async fn chunk(&self, blob: &BlobId, index: u32) -> Result<Option<Bytes>, StoreError> {
        self.with(|content| content.blobs.get(&blob.doc)?.get(blob)?.get(&index).cloned())
    }

    async fn blobs(&self, doc: &DocId) -> Result<Vec<BlobId>, StoreError> {
        self.with(|content| {
            content.blobs.get(doc).into_iter().flatten().map(|b| b.0.clone()).collect()
        })
    }

    async fn remove_blob(&self, blob: &BlobId) -> Result<(), StoreError> {
        self.with(|content| remove_from(&mut content.blobs, &blob.doc, blob))
    }

    async fn put_manifest(&self, id: &CheckpointId, bytes: Bytes) -> Result<(), StoreError> {
        self.with(|content| {
            content.manifests.entry(id.doc.clone()).or_default().insert(id.clone(), bytes);
        })
    }

    async fn manifests(
        &self,
        doc: &DocId,
        limit: usize,
    ) -> Result<Vec<StoredManifest>, StoreError> {
        self.with(|content| {
            let newest_first = content.manifests.get(doc).into_iter().flatten().rev();
            newest_first
                .take(limit)
                .map(|(id, bytes)| StoredManifest { id: id.clone(), bytes: bytes.clone() })
                .collect()
        })
    }

    async fn remove_manifest(&self, id: &CheckpointId) -> Result<(), StoreError> {
        self.with(|content| remove_from(&mut content.manifests, &id.doc, id))
    }

    async fn progress(&self, shard: ShardId, log: LogId) -> Result<Option<Progress>, StoreError> {
        self.with(|content| content.progress.get(&(shard, log)).copied())
    }

    async fn advance(&self, shard: ShardId, progress: Progress) -> Result<(), StoreError> {
        self.with(|content| {
            let stored = content.progress.entry((shard, progress.log)).or_insert(progress);
            if progress.low_water > stored.low_water {
                *stored = progress;
            }
        })
    }

    async fn logs(&self) -> Result<Vec<LogId>, StoreError> {
        self.with(|content| {
            let logs: BTreeSet<_> = content.progress.keys().map(|(_, log)| *log).collect();
            logs.into_iter().collect()
        })
    }

    async fn docs(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        self.with(|content| {
            let start = after.map_or(Bound::Unbounded, Bound::Excluded);
            let docs = content.manifests.range((start, Bound::Unbounded));
            docs.take(limit).map(|(doc, _)| doc.clone()).collect()
        })
    }

    async fn close(&self) -> Result<(), StoreError> {
        *self.content.lock() = None;
        Ok(())
    }
}

fn remove_from<K: Ord, V>(all: &mut BTreeMap<DocId, BTreeMap<K, V>>, doc: &DocId, key: &K) {
    if let Some(of_doc) = all.get_mut(doc) {
        of_doc.remove(key);
        if of_doc.is_empty() {
            all.remove(doc);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::contract;
    use crate::types::Offset;

    #[tokio::test]
    async fn holds_the_contract() {
        for case in contract::CASES {
            case.run(&Memory::new()).await;
        }
    }

    #[tokio::test]
    async fn checkpoints_are_kept_while_somebody_has_them_open() {
        let (first, doc) = (Memory::new(), "doc".parse::<DocId>().unwrap());
        let second = first.reopen().unwrap();
        let log = LogId(1);
        let row = Progress { log, low_water: Offset(7), epoch: None, released: false };
        first.advance(ShardId(0), row).await.unwrap();
        first.close().await.unwrap();
        assert!(first.blobs(&doc).await.is_err() && first.reopen().is_err());
        assert_eq!(second.progress(ShardId(0), log).await.unwrap(), Some(row));
    }
}
