//! Whose log the checkpoints belong to.

use crate::checkpoint::{Progress, Store};
use crate::log::Log;
use crate::types::{Offset, ShardId};

/// Where the store keeps, as if it were a shard's progress, how many logs it had before each log:
/// the current one has the highest number.
const LOGS: ShardId = ShardId(i32::MAX as u32);

/// Refuses checkpoints of another log, also of one before: what only that log had would be missing
/// without a word.
pub(crate) async fn check_log(log: &dyn Log, store: &dyn Store, adopt: bool) -> anyhow::Result<()> {
    let (mut own, mut newest, mut any) = (None, 0, false);
    for known in store.logs().await? {
        let number = store.progress(LOGS, known).await?.map_or(0, |row| row.low_water.0);
        any = true;
        newest = newest.max(number);
        own = if known == log.id() { Some(number) } else { own };
    }
    if own.is_some_and(|own| own == newest && own > 0) {
        return Ok(());
    }
    if adopt || !any || own.is_some_and(|own| own == newest) {
        let (log, low_water) = (log.id(), Offset(newest + 1));
        let row = Progress { log, low_water, epoch: None, released: false };
        return Ok(store.advance(LOGS, row).await?);
    }
    anyhow::bail!(
        "the checkpoints belong to another log than the one that was found ({:032x}): it was made \
         anew, is one from before, or another cluster's; correct --log or --checkpoints, move both \
         with quire migrate, or, where the other log is lost, start once with --adopt-log",
        log.id().0
    )
}
