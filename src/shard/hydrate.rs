//! Opening a document: its newest usable checkpoint, then the accepted records after it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, warn};

use crate::checkpoint::{self, CheckpointId, Loaded, Store, load};
use crate::doc::{self, Refusal, State};
use crate::log::{Fence, Log, ReadError, Stored, fence_at};
use crate::shard::claim::decode;
use crate::shard::tail::Indexed;
use crate::task::Tasks;
use crate::types::{Chain, DocId, Offset, ShardId};

/// When a client may try again whose document could not be read.
const RETRY: Duration = Duration::from_secs(2);

/// How many checkpoints of a document are looked at: more than are kept.
const DAMAGED_MAX: usize = 16;

/// How many bytes of the log are read at once.
const READ_BYTES: usize = 1 << 20;

/// How often a document is read again because the log was trimmed meanwhile.
const TRIES: usize = 10;

/// Why there is no state.
enum Miss {
    Refused(Refusal),
    /// Records below this offset are needed and were trimmed.
    Trimmed(Offset),
}

impl From<Refusal> for Miss {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Rebuilds a document's state; `indexed` is what the shard knows of its records.
///
/// A checkpoint that cannot be read still tells which revision there was, and the shard how far
/// the newest one must reach: an older one, or none, is good enough where the log leads from it
/// to there without a gap. Where the log is trimmed meanwhile, because others of the shard were
/// saved, it begins again with what is left.
///
/// # Errors
/// [`Refusal::Quarantined`] where what is stored does not give the state back,
/// [`Refusal::Unavailable`] where a store does not answer.
pub async fn hydrate(
    log: &dyn Log,
    store: &dyn Store,
    shard: ShardId,
    doc: &DocId,
    indexed: &Indexed,
    config: &Arc<doc::Config>,
) -> Result<State, Refusal> {
    let mut tries = 1;
    loop {
        match rebuild(log, store, shard, doc, indexed, config).await {
            Ok(state) => return Ok(state),
            Err(Miss::Refused(refusal)) => return Err(refusal),
            Err(Miss::Trimmed(_)) if tries < TRIES => tries += 1,
            Err(Miss::Trimmed(low)) => {
                let reason = format!("records below {low} are needed and were trimmed");
                return Err(quarantined(doc, reason));
            }
        }
    }
}

async fn rebuild(
    log: &dyn Log,
    store: &dyn Store,
    shard: ShardId,
    doc: &DocId,
    indexed: &Indexed,
    config: &Arc<doc::Config>,
) -> Result<State, Miss> {
    let (snapshot, skipped) = match load(store, doc, log.id()).await {
        Ok(Some(Loaded { snapshot, skipped })) => (Some(snapshot), skipped),
        Ok(None) => (None, 0),
        Err(checkpoint::Error::AllDamaged { skipped, .. }) => (None, skipped),
        Err(error) => return Err(stored_badly(doc, &error).into()),
    };
    let mut state = match &snapshot {
        Some(snapshot) => {
            let restored = Tasks::at_length(|| State::restore(snapshot, config.clone()));
            restored.map_err(|failure| quarantined(doc, failure.to_string()))?
        }
        None => State::new(doc.clone(), config.clone()),
    };
    if snapshot.is_some_and(|snapshot| snapshot.log != log.id()) {
        debug!(%doc, "checkpoint of another log: every record here is newer");
        state.forget_offset();
    }
    if state.offset() > indexed.next {
        check_end(log, shard, &mut state).await?;
    }
    let forgotten = indexed.stored.is_some_and(|stored| state.offset() < stored);
    if skipped == 0 && !forgotten {
        replay(log, shard, &mut state, &indexed.offsets).await?;
    } else {
        warn!(%doc, skipped, forgotten, "newest checkpoint is damaged or gone, replaying more");
        if skipped > 0 {
            check_reach(log, store, shard, &state, indexed).await?;
        }
        replay_more(log, shard, &mut state, &indexed.offsets).await?;
    }
    debug!(%doc, revision = %state.head(), records = indexed.offsets.len(), "opened");
    Ok(state)
}

/// Looks why a checkpoint stands above all that the shard has read. Where the log ends below it,
/// records are gone, of which this one was not the last: what is left can only be read.
async fn check_end(log: &dyn Log, shard: ShardId, state: &mut State) -> Result<(), Miss> {
    let (doc, at) = (state.doc().clone(), state.offset());
    let high = log.marks(shard).await.map_err(|error| unread(&error))?.high;
    if high >= at {
        let reason = "another node writes to the shard".to_owned();
        return Err(Refusal::Unavailable { reason, retry: RETRY }.into());
    }
    error!(
        %doc, %at, %high,
        "the log ends before the checkpoint: acknowledged records are lost; the document can only \
         be read until the log is restored"
    );
    state.only_read();
    Ok(())
}

/// Checks that what the damaged checkpoints held is still in the log: every record after the one
/// that was read, or that none of them was ever verified. One that stands above the log's first
/// record and that the shard does not know of was not.
async fn check_reach(
    log: &dyn Log,
    store: &dyn Store,
    shard: ShardId,
    state: &State,
    indexed: &Indexed,
) -> Result<(), Miss> {
    let (doc, reached) = (state.doc(), state.offset());
    let low = log.marks(shard).await.map_err(|error| unread(&error))?.low;
    if low <= reached {
        return Ok(());
    }
    let manifests = store.manifests(doc, DAMAGED_MAX).await;
    let manifests = manifests.map_err(|error| stored_badly(doc, &error.into()))?;
    let known = indexed.stored.unwrap_or_default().max(low);
    let lost = |id: &&CheckpointId| reached < id.offset && id.offset <= known;
    let Some(lost) = manifests.iter().map(|stored| &stored.id).find(lost) else { return Ok(()) };
    let (wanted, head) = (lost.revision, state.head());
    let reason = format!(
        "the checkpoint of revision {wanted} is damaged, the one before is of revision {head}, and \
         the log begins above it"
    );
    Err(quarantined(doc, reason).into())
}

/// Replays from an older checkpoint, or none: what lies below the low-water mark, too, as far as
/// the log still has it.
async fn replay_more(
    log: &dyn Log,
    shard: ShardId,
    state: &mut State,
    offsets: &[Offset],
) -> Result<(), Miss> {
    let doc = state.doc().clone();
    let marks = log.marks(shard).await.map_err(|error| unread(&error))?;
    let until = offsets.first().copied().unwrap_or(marks.high);
    let (mut next, mut fence) = (state.offset(), Fence::default());
    let whole = marks.low <= next;
    if whole {
        fence.epoch = state.epoch_at_rest();
    } else {
        next = marks.low;
        fence = fence_at(log, shard, marks).await.map_err(|error| unread(&error))?;
    }
    while next < until {
        let batch = log.read(shard, next, READ_BYTES).await;
        let batch = batch.map_err(|error| unread(&error))?;
        let apply_those = || {
            for stored in batch.records.iter().filter(|stored| stored.offset < until) {
                let Some(record) = decode(shard, stored) else { continue };
                let counts = fence.observe(stored.offset, &record).is_ok();
                if !counts || record.doc() != Some(&doc) {
                    continue;
                }
                if !whole && record.base_rev().is_some_and(|base| base > state.head()) {
                    let head = state.head();
                    let reason = format!("records between revision {head} and {next} are gone");
                    return Err(quarantined(&doc, reason));
                }
                apply(shard, state, stored);
            }
            Ok(())
        };
        Tasks::at_length(apply_those)?;
        if batch.next == next {
            break;
        }
        next = batch.next;
    }
    replay(log, shard, state, offsets).await
}

/// Replays the records at known offsets; those that a checkpoint covers are passed over.
async fn replay(
    log: &dyn Log,
    shard: ShardId,
    state: &mut State,
    offsets: &[Offset],
) -> Result<(), Miss> {
    let wanted = &offsets[offsets.partition_point(|offset| *offset < state.offset())..];
    for some in wanted.chunks(1024) {
        let records = log.fetch(shard, some).await.map_err(|error| unread(&error))?;
        Tasks::at_length(|| records.iter().for_each(|stored| apply(shard, state, stored)));
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
        other => Refusal::Unavailable { reason: Chain(other).to_string(), retry: RETRY },
    }
}

fn unread(error: &ReadError) -> Miss {
    match error {
        ReadError::Trimmed { low, .. } => Miss::Trimmed(*low),
        other => Refusal::Unavailable { reason: Chain(other).to_string(), retry: RETRY }.into(),
    }
}

pub(crate) fn quarantined(doc: &DocId, reason: String) -> Refusal {
    tracing::error!(%doc, %reason, "quarantined: its state cannot be rebuilt");
    Refusal::Quarantined { reason }
}
