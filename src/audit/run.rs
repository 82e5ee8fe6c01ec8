//! Makes an audit of a log and a store.

use rustc_hash::FxHashMap;

use crate::audit::Error;
use crate::audit::check::Audit;
use crate::audit::checkpoints::Checkpoint;
use crate::audit::history::History;
use crate::audit::model::Report;
use crate::audit::shard::{Covered, Opening, Range};
use crate::checkpoint::Store;
use crate::log::{Log, Reader};
use crate::types::{DocId, Offset, ShardId};

/// How many documents are listed at once.
const PAGE: usize = 500;

/// What is audited.
pub struct Sources<'a> {
    /// The log.
    pub log: &'a dyn Log,
    /// Its checkpoints, where they are asked.
    pub store: Option<&'a dyn Store>,
    /// What clients saw.
    pub histories: Vec<History>,
    /// Which records.
    pub range: Range,
}

/// Reads everything once and decides; `progress` is told of records as they are read.
///
/// # Errors
/// Where something cannot be read. A violation is no error.
pub async fn run(sources: Sources<'_>, mut progress: impl FnMut(u64)) -> Result<Report, Error> {
    let Sources { log, store, histories, range } = sources;
    let mut audit = Audit::new(log.shards(), range);
    for mut history in histories {
        let file = audit.file(&history.path().display().to_string());
        while let Some((number, line)) = history.read()? {
            audit.event(file, number, &line);
        }
        if history.is_torn() {
            audit.torn();
        }
    }
    let mut docs = match store {
        Some(store) => documents(store, log.shards()).await?,
        None => FxHashMap::default(),
    };
    for shard in (0..log.shards()).map(ShardId) {
        let mut reader = Reader::begin(log, shard).await?;
        let low = log.marks(shard).await?.low;
        let covered = match store {
            Some(store) => {
                let docs = docs.remove(&shard).unwrap_or_default();
                Some(covered(log, store, shard, &docs).await?)
            }
            None => None,
        };
        audit.begin(Opening { shard, low, covered });
        'records: while let Some(batch) = reader.next().await? {
            progress(batch.len() as u64);
            for judged in &batch {
                if range.to.is_some_and(|to| judged.stored.offset > to) {
                    break 'records;
                }
                audit.record(judged);
            }
        }
    }
    Ok(audit.finish())
}

/// Lists the documents that have checkpoints, by shard.
async fn documents(
    store: &dyn Store,
    shards: u32,
) -> Result<FxHashMap<ShardId, Vec<DocId>>, Error> {
    let mut all: FxHashMap<ShardId, Vec<DocId>> = FxHashMap::default();
    let mut after = None;
    loop {
        let page = store.docs(after.as_ref(), PAGE).await?;
        let Some(last) = page.last().cloned() else { return Ok(all) };
        for doc in page {
            all.entry(doc.shard(shards)).or_default().push(doc);
        }
        after = Some(last);
    }
}

async fn covered(
    log: &dyn Log,
    store: &dyn Store,
    shard: ShardId,
    docs: &[DocId],
) -> Result<Covered, Error> {
    let progress = store.progress(shard, log.id()).await?;
    let low_water = progress.map_or(Offset(0), |progress| progress.low_water);
    let mut read = Vec::with_capacity(docs.len());
    for doc in docs {
        read.push(Checkpoint::read(store, doc, log.id()).await?);
    }
    Ok(Covered { low_water, docs: read })
}
