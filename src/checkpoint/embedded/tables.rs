//! What is stored, and how it is read and written: plain blocking calls on the database.
//!
//! ```text
//! manifests  (doc, revision, offset)          -> manifest
//! blobs      (doc, kind, revision, hash)      -> ()           so that listing reads no chunk
//! chunks     (doc, kind, revision, hash, n)   -> chunk
//! progress   (shard, log)                     -> (low-water, epoch, released)
//! meta       "format"                         -> number
//! ```

use std::collections::BTreeSet;

use bytes::Bytes;
use redb::{
    Database, Durability, Error, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase,
    ReadableTable, TableDefinition, Value, WriteTransaction,
};

use crate::checkpoint::key::{BlobId, BlobKind, CheckpointId, Progress, StoredManifest};
use crate::types::{DocId, Epoch, LogId, Offset, Revision, ShardId};

/// The newest format that this program reads and writes.
pub(crate) const FORMAT: u64 = 1;

type ManifestKey = (&'static str, u64, u64);
type BlobKey = (&'static str, u8, u64, u64);
type ChunkKey = (&'static str, u8, u64, u64, u32);
type ProgressRow = (u64, Option<u64>, bool);

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
const MANIFESTS: TableDefinition<'_, ManifestKey, &[u8]> = TableDefinition::new("manifests");
const BLOBS: TableDefinition<'_, BlobKey, ()> = TableDefinition::new("blobs");
const CHUNKS: TableDefinition<'_, ChunkKey, &[u8]> = TableDefinition::new("chunks");
const PROGRESS: TableDefinition<'_, (u32, u128), ProgressRow> = TableDefinition::new("progress");

/// Is one write; several go into one commit.
#[derive(Debug)]
pub(crate) enum Write {
    Chunk(BlobId, u32, Bytes),
    RemoveBlob(BlobId),
    Manifest(CheckpointId, Bytes),
    RemoveManifest(CheckpointId),
    Advance(ShardId, Progress),
}

impl Write {
    /// Tells whether it must be durable when it is reported done.
    fn is_durable(&self) -> bool {
        match self {
            Write::Manifest(..) | Write::Advance(..) => true,
            Write::Chunk(..) | Write::RemoveBlob(_) | Write::RemoveManifest(_) => false,
        }
    }

    /// Returns about how many bytes it writes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Write::Chunk(_, _, bytes) | Write::Manifest(_, bytes) => bytes.len(),
            Write::RemoveBlob(_) | Write::RemoveManifest(_) | Write::Advance(..) => 0,
        }
    }

    fn apply(&self, txn: &WriteTransaction) -> Result<(), Error> {
        match self {
            Write::Chunk(blob, index, bytes) => {
                let (doc, kind, revision, hash) = blob_key(blob);
                txn.open_table(BLOBS)?.insert((doc, kind, revision, hash), ())?;
                let mut chunks = txn.open_table(CHUNKS)?;
                chunks.insert((doc, kind, revision, hash, *index), &**bytes)?;
            }
            Write::RemoveBlob(blob) => {
                let (doc, kind, revision, hash) = blob_key(blob);
                let all = (doc, kind, revision, hash, 0)..=(doc, kind, revision, hash, u32::MAX);
                txn.open_table(CHUNKS)?.retain_in(all, |_, _| false)?;
                txn.open_table(BLOBS)?.remove((doc, kind, revision, hash))?;
            }
            Write::Manifest(id, bytes) => {
                txn.open_table(MANIFESTS)?.insert(manifest_key(id), &**bytes)?;
            }
            Write::RemoveManifest(id) => {
                txn.open_table(MANIFESTS)?.remove(manifest_key(id))?;
            }
            Write::Advance(shard, progress) => {
                let mut table = txn.open_table(PROGRESS)?;
                let key = (shard.0, progress.log.0);
                let stored = table.get(key)?.map(|row| row.value().0);
                if stored.is_none_or(|low_water| low_water < progress.low_water.0) {
                    let epoch = progress.epoch.map(|epoch| epoch.0);
                    table.insert(key, (progress.low_water.0, epoch, progress.released))?;
                }
            }
        }
        Ok(())
    }
}

/// Creates what is missing in a new database and returns the format of the database.
pub(crate) fn prepare(db: &Database) -> Result<u64, Error> {
    let txn = db.begin_write()?;
    let found = {
        let mut meta = txn.open_table(META)?;
        let found = meta.get("format")?.map(|format| format.value());
        if found.is_none() {
            meta.insert("format", FORMAT)?;
        }
        found
    };
    if let Some(found) = found {
        txn.abort()?;
        return Ok(found);
    }
    txn.open_table(MANIFESTS)?;
    txn.open_table(BLOBS)?;
    txn.open_table(CHUNKS)?;
    txn.open_table(PROGRESS)?;
    txn.commit()?;
    Ok(FORMAT)
}

/// Commits writes as one, with a sync if one of them needs it.
pub(crate) fn commit(db: &Database, writes: &[Write]) -> Result<(), Error> {
    let mut txn = db.begin_write()?;
    if !writes.iter().any(Write::is_durable) {
        txn.set_durability(Durability::None)?;
    }
    writes.iter().try_for_each(|write| write.apply(&txn))?;
    txn.commit()?;
    Ok(())
}

/// Copies everything into a new database, durably.
pub(crate) fn copy_all(from: &Database, to: &Database) -> Result<(), Error> {
    let (from, to) = (from.begin_read()?, to.begin_write()?);
    copy(&from, &to, META)?;
    copy(&from, &to, MANIFESTS)?;
    copy(&from, &to, BLOBS)?;
    copy(&from, &to, CHUNKS)?;
    copy(&from, &to, PROGRESS)?;
    to.commit()?;
    Ok(())
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    to: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), Error> {
    let mut to = to.open_table(table)?;
    for row in from.open_table(table)?.iter()? {
        let (key, value) = row?;
        to.insert(key.value(), value.value())?;
    }
    Ok(())
}

pub(crate) fn chunk(db: &Database, blob: &BlobId, index: u32) -> Result<Option<Bytes>, Error> {
    let (doc, kind, revision, hash) = blob_key(blob);
    let chunk = db.begin_read()?.open_table(CHUNKS)?.get((doc, kind, revision, hash, index))?;
    Ok(chunk.map(|chunk| Bytes::copy_from_slice(chunk.value())))
}

pub(crate) fn blobs(db: &Database, doc: &DocId) -> Result<Vec<BlobId>, Error> {
    let name = doc.as_str();
    let all = (name, 0, 0, 0)..=(name, u8::MAX, u64::MAX, u64::MAX);
    let mut blobs = Vec::new();
    for row in db.begin_read()?.open_table(BLOBS)?.range(all)? {
        let key = row?.0;
        let (_, kind, revision, hash) = key.value();
        let Some(kind) = kind_of(kind) else { continue };
        blobs.push(BlobId { doc: doc.clone(), kind, revision: Revision(revision), hash });
    }
    Ok(blobs)
}

pub(crate) fn manifests(
    db: &Database,
    doc: &DocId,
    limit: usize,
) -> Result<Vec<StoredManifest>, Error> {
    let name = doc.as_str();
    let all = (name, 0, 0)..=(name, u64::MAX, u64::MAX);
    let mut manifests = Vec::new();
    for row in db.begin_read()?.open_table(MANIFESTS)?.range(all)?.rev().take(limit) {
        let (key, bytes) = row?;
        let (_, revision, offset) = key.value();
        let (revision, offset) = (Revision(revision), Offset(offset));
        let id = CheckpointId { doc: doc.clone(), revision, offset };
        manifests.push(StoredManifest { id, bytes: Bytes::copy_from_slice(bytes.value()) });
    }
    Ok(manifests)
}

pub(crate) fn progress(
    db: &Database,
    shard: ShardId,
    log: LogId,
) -> Result<Option<Progress>, Error> {
    let row = db.begin_read()?.open_table(PROGRESS)?.get((shard.0, log.0))?;
    Ok(row.map(|row| {
        let (low_water, epoch, released) = row.value();
        Progress { log, low_water: Offset(low_water), epoch: epoch.map(Epoch), released }
    }))
}

/// Lists the logs of which progress is kept.
pub(crate) fn logs(db: &Database) -> Result<Vec<LogId>, Error> {
    let mut logs = BTreeSet::new();
    for row in db.begin_read()?.open_table(PROGRESS)?.iter()? {
        logs.insert(LogId(row?.0.value().1));
    }
    Ok(logs.into_iter().collect())
}

/// Lists documents, by one look-up each: a document has few manifests, but not always one.
pub(crate) fn docs(
    db: &Database,
    after: Option<&DocId>,
    limit: usize,
) -> Result<Vec<DocId>, Error> {
    let table = db.begin_read()?.open_table(MANIFESTS)?;
    let mut docs = Vec::new();
    let mut last = after.map(|doc| doc.as_str().to_owned());
    while docs.len() < limit {
        let Some(name) = doc_after(&table, last.as_deref())? else { break };
        docs.extend(name.parse::<DocId>());
        last = Some(name);
    }
    Ok(docs)
}

fn doc_after(
    table: &ReadOnlyTable<ManifestKey, &'static [u8]>,
    last: Option<&str>,
) -> Result<Option<String>, Error> {
    let first = match last {
        // Every key of the last document is below this one, and no id has a NUL.
        Some(name) => table.range((&*format!("{name}\0"), 0, 0)..)?.next(),
        None => table.iter()?.next(),
    };
    Ok(first.transpose()?.map(|(key, _)| key.value().0.to_owned()))
}

fn manifest_key(id: &CheckpointId) -> (&str, u64, u64) {
    (id.doc.as_str(), id.revision.0, id.offset.0)
}

fn blob_key(blob: &BlobId) -> (&str, u8, u64, u64) {
    let kind = match blob.kind {
        BlobKind::Body => 0,
        BlobKind::Segment => 1,
    };
    (blob.doc.as_str(), kind, blob.revision.0, blob.hash)
}

fn kind_of(number: u8) -> Option<BlobKind> {
    match number {
        0 => Some(BlobKind::Body),
        1 => Some(BlobKind::Segment),
        _ => None,
    }
}
