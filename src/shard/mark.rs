//! The low-water mark, outside the writer: it is stored before the log is trimmed below it.

use tracing::warn;

#[cfg(any(test, feature = "testing"))]
use crate::broken::{Rule, is_broken};
use crate::checkpoint::Progress;
use crate::shard::handle::Ports;
use crate::types::{Chain, Offset, ShardId};

/// Stores a mark, and trims the log below an offset; tells whether that was done.
pub(crate) async fn advance(
    ports: &Ports,
    shard: ShardId,
    mark: Option<Progress>,
    trim: Option<Offset>,
) -> bool {
    if let Some(mark) = mark
        && let Err(reason) = ports.store.advance(shard, mark).await
    {
        warn!(%shard, reason = %Chain(&reason), "low-water mark was not stored");
        return false;
    }
    let Some(before) = trim else { return true };
    #[cfg(any(test, feature = "testing"))]
    let before = match is_broken(Rule::LowWater) {
        true => ports.log.marks(shard).await.map_or(before, |marks| marks.high),
        false => before,
    };
    let trimmed = ports.log.trim(shard, before).await;
    if let Err(reason) = &trimmed {
        warn!(%shard, reason = %Chain(reason), "log was not trimmed");
    }
    trimmed.is_ok()
}
