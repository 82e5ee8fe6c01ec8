//! Blobs in chunks: stored and read several at a time, believed only when their hash holds.

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::checkpoint::Store;
use crate::checkpoint::error::{Damage, Error, StoreError};
use crate::checkpoint::key::{BlobId, BlobKind};
use crate::checkpoint::manifest::{BODY_BYTES_MAX, hash};
use crate::checkpoint::snapshot::SealedSegment;
use crate::types::{DocId, Revision};

/// The length of every chunk but the last: 256 KiB, less what a store needs beside it, so that
/// neither a page of redb nor a cell of a CQL store is doubled for a key. Part of the format.
pub const CHUNK_BYTES: usize = 255 * 1024;

/// How many chunks of one blob are on their way at a time.
const CHUNKS_AT_ONCE: usize = 8;

/// Stores a sealed segment and reads it back. Repeating it is fine, and writes nothing where it is
/// whole; segments of one base and different bytes do not disturb each other.
///
/// # Errors
/// If the store fails, the segment is over a limit, or does not read back.
pub async fn save_segment(
    store: &dyn Store,
    doc: &DocId,
    (base, head): (Revision, Revision),
    bytes: &Bytes,
) -> Result<SealedSegment, Error> {
    if bytes.len() > BODY_BYTES_MAX {
        let (bytes, limit) = (bytes.len(), BODY_BYTES_MAX);
        return Err(Error::TooLarge { doc: doc.clone(), bytes, limit });
    }
    let hash = hash([&**bytes]);
    let length = u64::try_from(bytes.len()).expect("a length fits 64 bits");
    let segment = SealedSegment { base, head, bytes: length, hash };
    let blob = segment.blob(doc);
    // A manifest that was stored and reported as failed may name it: writing could only damage it.
    if read(store, &blob, length).await?.is_ok() {
        return Ok(segment);
    }
    write(store, &blob, bytes).await?;
    match read(store, &blob, length).await? {
        Ok(_) => Ok(segment),
        Err(source) => Err(Error::NotVerified { doc: doc.clone(), revision: base, source }),
    }
}

/// Loads a sealed segment that a manifest lists.
///
/// # Errors
/// If the store fails, or the segment is missing or damaged.
pub async fn load_segment(
    store: &dyn Store,
    doc: &DocId,
    segment: &SealedSegment,
) -> Result<Bytes, Error> {
    match read(store, &segment.blob(doc), segment.bytes).await? {
        Ok(chunks) => Ok(join(chunks)),
        Err(source) => Err(Error::Segment { doc: doc.clone(), base: segment.base, source }),
    }
}

/// Loads a blob that no manifest tells the length of.
///
/// # Errors
/// If the store fails. What is missing or damaged is an answer.
pub async fn load_blob(
    store: &dyn Store,
    blob: &BlobId,
) -> Result<Result<Bytes, Damage>, StoreError> {
    let mut chunks = Vec::new();
    for index in 0..u32::try_from(BODY_BYTES_MAX.div_ceil(CHUNK_BYTES)).unwrap_or(u32::MAX) {
        let Some(chunk) = store.chunk(blob, index).await? else { break };
        let is_last = chunk.len() < CHUNK_BYTES;
        chunks.push(chunk);
        if is_last {
            break;
        }
    }
    let found = hash(chunks.iter().map(|chunk| &**chunk));
    Ok(if found == blob.hash { Ok(join(chunks)) } else { Err(Damage::Hash) })
}

impl SealedSegment {
    /// Returns the key of the segment.
    pub(crate) fn blob(&self, doc: &DocId) -> BlobId {
        let Self { base, hash, .. } = *self;
        BlobId { doc: doc.clone(), kind: BlobKind::Segment, revision: base, hash }
    }
}

/// Stores a blob's chunks.
pub(crate) async fn write(
    store: &dyn Store,
    blob: &BlobId,
    bytes: &Bytes,
) -> Result<(), StoreError> {
    let chunks = (0..).zip(0..bytes.len().div_ceil(CHUNK_BYTES)).map(|(index, chunk)| {
        let start = chunk * CHUNK_BYTES;
        (index, bytes.slice(start..bytes.len().min(start + CHUNK_BYTES)))
    });
    stream::iter(chunks)
        .map(|(index, chunk)| store.put_chunk(blob, index, chunk))
        .buffer_unordered(CHUNKS_AT_ONCE)
        .try_collect()
        .await
}

/// Reads a blob's chunks, or tells what is wrong with them.
pub(crate) async fn read(
    store: &dyn Store,
    blob: &BlobId,
    length: u64,
) -> Result<Result<Vec<Bytes>, Damage>, StoreError> {
    let Some(length) = usize::try_from(length).ok().filter(|&length| length <= BODY_BYTES_MAX)
    else {
        return Ok(Err(Damage::Hash));
    };
    let count = u32::try_from(length.div_ceil(CHUNK_BYTES)).expect("the limit is far below");
    let mut reads = stream::iter(0..count)
        .map(|index| async move { (index, store.chunk(blob, index).await) })
        .buffered(CHUNKS_AT_ONCE);
    let mut chunks = Vec::new();
    let mut left = length;
    while let Some((index, chunk)) = reads.next().await {
        let Some(chunk) = chunk? else { return Ok(Err(Damage::Chunk { index })) };
        if chunk.len() != left.min(CHUNK_BYTES) {
            return Ok(Err(Damage::Hash));
        }
        left -= chunk.len();
        chunks.push(chunk);
    }
    let found = hash(chunks.iter().map(|chunk| &**chunk));
    Ok(if found == blob.hash { Ok(chunks) } else { Err(Damage::Hash) })
}

/// Joins chunks; a single one is not copied.
pub(crate) fn join(mut chunks: Vec<Bytes>) -> Bytes {
    if let [_] = chunks[..] {
        return chunks.remove(0);
    }
    let mut joined = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| joined.extend_from_slice(chunk));
    joined.freeze()
}
