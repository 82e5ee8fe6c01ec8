//! Opening a document: its newest usable checkpoint, then the accepted records after it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};

use crate::checkpoint::{self, Loaded, Store, load};
use crate::doc::{self, Refusal, State};
use crate::log::{Fence, Log, ReadError, Stored};
use crate::shard::claim::decode;
use crate::types::{DocId, Offset, ShardId};

/// When a client may try again whose document could not be read.
const RETRY: Duration = Duration::from_secs(2);

/// How many bytes of the log are read at once.
const READ_BYTES: usize = 1 << 20;

/// Rebuilds a document's state; `offsets` are its records above the shard's low-water mark.
///
/// A checkpoint that cannot be read still tells which revision there was: an older one, or none,
/// is good enough where the log leads from it at least to there.
///
/// # Errors
/// [`Refusal::Quarantined`] where what is stored does not give the state back,
/// [`Refusal::Unavailable`] where a store does not answer.
pub async fn hydrate(
    log: &dyn Log,
    store: &dyn Store,
    shard: ShardId,
    doc: &DocId,
    offsets: &[Offset],
    config: &Arc<doc::Config>,
) -> Result<State, Refusal> {
    let (snapshot, skipped) = match load(store, doc).await {
        Ok(Some(Loaded { snapshot, skipped })) => (Some(snapshot), skipped),
        Ok(None) => (None, 0),
        Err(checkpoint::Error::AllDamaged { skipped, .. }) => (None, skipped),
        Err(error) => return Err(stored_badly(doc, &error)),
    };
    let mut state = match &snapshot {
        Some(snapshot) => State::restore(snapshot, config.clone())
            .map_err(|failure| quarantined(doc, failure.to_string()))?,
        None => State::new(doc.clone(), config.clone()),
    };
    if snapshot.is_some_and(|snapshot| snapshot.log != log.id()) {
        warn!(%doc, "checkpoint of another log: every record here is newer");
        state.forget_offset();
    }
    if skipped == 0 {
        replay(log, shard, &mut state, offsets).await?;
    } else {
        warn!(%doc, skipped, "newest checkpoint is damaged, replaying more");
        replay_more(log, shard, &mut state, offsets).await?;
        check_reached(store, &state).await?;
    }
    debug!(%doc, revision = %state.head(), records = offsets.len(), "opened");
    Ok(state)
}

/// Replays from an older checkpoint, or none: what lies below the low-water mark, too, as far as
/// the log still has it.
async fn replay_more(
    log: &dyn Log,
    shard: ShardId,
    state: &mut State,
    offsets: &[Offset],
) -> Result<(), Refusal> {
    let marks = log.marks(shard).await.map_err(|error| unread(state.doc(), &error))?;
    if marks.low <= state.offset() {
        let from = state.offset();
        replay_from(log, shard, state, from, offsets.first().copied()).await?;
    }
    replay(log, shard, state, offsets).await
}

/// Checks that the state is at least as new as the newest checkpoint, readable or not.
async fn check_reached(store: &dyn Store, state: &State) -> Result<(), Refusal> {
    let newest = store.manifests(state.doc(), 1).await;
    let newest = newest.map_err(|error| stored_badly(state.doc(), &error.into()))?;
    let wanted = newest.first().map(|manifest| manifest.id.revision).unwrap_or_default();
    if state.head() >= wanted {
        return Ok(());
    }
    let head = state.head();
    let reason = format!("the checkpoint of revision {wanted} is damaged, the log leads to {head}");
    Err(quarantined(state.doc(), reason))
}

/// Replays the records at known offsets; those that a checkpoint covers are passed over.
async fn replay(
    log: &dyn Log,
    shard: ShardId,
    state: &mut State,
    offsets: &[Offset],
) -> Result<(), Refusal> {
    let doc = state.doc().clone();
    let wanted = &offsets[offsets.partition_point(|offset| *offset < state.offset())..];
    for some in wanted.chunks(1024) {
        let records = log.fetch(shard, some).await.map_err(|error| unread(&doc, &error))?;
        for stored in &records {
            apply(shard, state, stored);
        }
    }
    Ok(())
}

/// Replays what lies between an older checkpoint and the records that are indexed.
async fn replay_from(
    log: &dyn Log,
    shard: ShardId,
    state: &mut State,
    from: Offset,
    until: Option<Offset>,
) -> Result<(), Refusal> {
    let doc = state.doc().clone();
    let marks = log.marks(shard).await.map_err(|error| unread(&doc, &error))?;
    let until = until.unwrap_or(marks.high);
    let mut fence = Fence { epoch: state.epoch_at_rest(), released: false };
    let mut next = from;
    while next < until {
        let batch = match log.read(shard, next, READ_BYTES).await {
            Ok(batch) => batch,
            Err(error) => return Err(unread(&doc, &error)),
        };
        for stored in batch.records.iter().filter(|stored| stored.offset < until) {
            let Some(record) = decode(shard, stored) else { continue };
            let current = fence.observe(stored.offset, &record).is_ok();
            if current && record.doc() == Some(&doc) {
                apply(shard, state, stored);
            }
        }
        next = batch.next;
    }
    Ok(())
}

fn apply(shard: ShardId, state: &mut State, stored: &Stored) {
    let Some(record) = decode(shard, stored) else { return };
    if let Err(void) = state.replay(stored.offset, &record, stored.bytes.len()) {
        debug!(doc = %state.doc(), offset = %stored.offset, ?void, "void record");
    }
}

fn stored_badly(doc: &DocId, error: &checkpoint::Error) -> Refusal {
    match error {
        checkpoint::Error::Newer { .. } => quarantined(doc, error.to_string()),
        other => Refusal::Unavailable { reason: other.to_string(), retry: RETRY },
    }
}

fn unread(doc: &DocId, error: &ReadError) -> Refusal {
    match error {
        ReadError::Trimmed { low, .. } => {
            quarantined(doc, format!("records below {low} are needed and were trimmed"))
        }
        other => Refusal::Unavailable { reason: other.to_string(), retry: RETRY },
    }
}

pub(crate) fn quarantined(doc: &DocId, reason: String) -> Refusal {
    tracing::error!(%doc, %reason, "quarantined: its state cannot be rebuilt");
    Refusal::Quarantined { reason }
}
