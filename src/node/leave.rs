//! How a node of a cluster goes.
//!
//! ```text
//! told to stop ─► Drain ─► moves ─┬─ none is left ───────────────────────────┐
//!                                 └─ they do not get on, or the time is over │
//!                                     └─► documents settle ─► nothing is served ─► Leave
//!                                                                                    └─► heirs
//! ```
//! A move costs its clients least, so moves come first, as long as they get on: until then clients
//! are served. What is left then goes at once, as after a crash, but without the silence that a
//! crash is noticed by. Nothing is saved: the log has what the next owners need, and a checkpoint
//! would only keep them waiting.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::cluster::{
    Command, Control, Operator, Order, Plan, Record, Text, Void, WriteError, member,
};
use crate::shard::{self, Directory, Keeper};
use crate::types::ShardId;

/// How long the control topic may take to take a record of a node that goes, and how soon one that
/// was not written is written again.
const WRITTEN_MAX: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);

/// How long a node that goes and does not hear of itself waits until it does.
const HEARD_MAX: Duration = Duration::from_secs(3);

/// How long a node that goes waits for the guard to let its moves begin: what is slow may be the
/// node itself, which counts no more.
const GUARD_MAX: Duration = Duration::from_secs(1);

/// What the shards that are left take of the grace until nothing is open in them: all, and each, so
/// that the more are left, the earlier they stop to move. It is half of the grace at most.
const SETTLE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(10));

/// How long a node waits for others that have nothing left to hand over to leave before it.
const GOING_MAX: Duration = Duration::from_secs(1);

/// How long a node that has left waits until others have what was left: its clients reach their
/// documents there through it.
const HEIRS_MAX: Duration = Duration::from_secs(3);

/// What has become of the shards of a node that goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// Others have them, or will.
    Everything,
    /// It serves them on: nobody is there to take them.
    Nothing,
    /// It serves them no more, and whoever was to take them has gone, too: the log has them.
    ToNobody,
}

/// Hands every shard over, moves first and for no longer than `grace`, and leaves the cluster; does
/// nothing where nobody else is up, or the others cannot be told.
pub async fn hand_over(
    member: &member::Handle,
    keeper: &Keeper,
    clock: &Clock,
    grace: Duration,
) -> Handed {
    let until = Instant::now() + grace;
    // It may only just have been away: who is up, and who has its shards, is known in a moment.
    let _ = timeout(HEARD_MAX, heard(member)).await;
    if !has_others(member) {
        return alone(member, keeper).await;
    }
    let order = Order::Drain { node: member.node().clone(), deadline: None };
    let drain = command(member, "the node stops", clock, order);
    match timeout(WRITTEN_MAX, until_taken(|| member.write(&drain))).await {
        Ok(Ok(())) => moved(member, keeper, until, grace).await,
        Ok(Err(WriteError::Void(Void::LastNode { .. }))) => {
            let left = member.control().shards() as usize;
            // Those that do not go take what is nobody's, although they are being emptied.
            let _ = timeout_at(until - settling(left, grace), last(member)).await;
        }
        Ok(Err(reason)) => warn!(%reason, "could not ask the others to take the shards"),
        Err(_) => {
            warn!("the others could not be asked in time to take the shards");
            return Handed::Nothing;
        }
    }
    if !has_others(member) {
        return alone(member, keeper).await;
    }
    give_up(member, keeper, grace).await
}

/// Waits until this node hears of itself.
async fn heard(member: &member::Handle) {
    while member.is_suspended() {
        sleep(AGAIN).await;
    }
}

/// Waits until the others, all of which are being emptied, have gone, or do not seem to: one node
/// is to save what all have handed over.
async fn last(member: &member::Handle) {
    let (mut control, mut until) = (member.control(), Instant::now() + GOING_MAX);
    while has_others(member) {
        let plan = Plan::of(&control);
        let going = control.up().any(|(node, _)| node != member.node() && plan.goes_on(node));
        if going {
            until = Instant::now() + GOING_MAX;
        }
        match timeout_at(until, member.newer(control.at())).await {
            Ok(Ok(newer)) => control = newer,
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Waits for what those who went before had not handed over: it is to be saved with the rest.
async fn alone(member: &member::Handle, keeper: &Keeper) -> Handed {
    let all = member.control().shards() as usize;
    let mut changes = keeper.changes();
    let here = async {
        while keeper.here().len() < all && !member.is_suspended() {
            // A keeper ends with its node.
            let _ = changes.changed().await;
        }
    };
    // What does not come in time is in the log.
    let _ = timeout(HEIRS_MAX, here).await;
    Handed::Nothing
}

/// Settles the shards that are left, serves nothing any more, and leaves.
async fn give_up(member: &member::Handle, keeper: &Keeper, grace: Duration) -> Handed {
    let left: BTreeSet<_> = keeper.here().iter().map(shard::Handle::shard).collect();
    if !left.is_empty() {
        let left = left.len();
        info!(left, "the shards that are left are given up where they are");
    }
    let open = keeper.give_up(settling(left.len(), grace)).await;
    if open > 0 {
        warn!(open, "not every shard has settled in time: the log has what is on its way");
    }
    let told = leave(member).await;
    if left.is_empty() || !told {
        return Handed::Everything;
    }
    if timeout(HEIRS_MAX, heirs(member, &left)).await.is_err() {
        warn!("not every shard that was left has another owner yet");
    }
    let anybody = member.control().up().next().is_some();
    if anybody { Handed::Everything } else { Handed::ToNobody }
}

/// Leaves the cluster; tells whether the others know.
pub async fn leave(member: &member::Handle) -> bool {
    match timeout(WRITTEN_MAX, until_taken(|| member.leave())).await {
        // The others have found out already.
        Ok(Ok(()) | Err(WriteError::Void(Void::NotUp { .. }))) => return true,
        Ok(Err(reason)) => warn!(%reason, "could not leave: the others will find out"),
        Err(_) => warn!("could not leave in time: the others will find out"),
    }
    false
}

/// Lets a node that starts take shards again, where it was ended while it was being emptied.
///
/// # Errors
/// Where that could not be written.
pub async fn stay(member: &member::Handle, clock: &Clock) -> Result<(), WriteError> {
    let control = member.control();
    if control.member(member.node()).is_none_or(|own| own.drain.is_none()) {
        return Ok(());
    }
    let order = Order::Undrain { node: member.node().clone() };
    match member.write(&command(member, "the node starts", clock, order)).await {
        // Somebody else was quicker.
        Ok(()) | Err(WriteError::Void(Void::NotDraining { .. })) => Ok(()),
        Err(reason) => Err(reason),
    }
}

/// Returns a command that a node gives of itself.
pub(crate) fn command(member: &member::Handle, why: &str, clock: &Clock, order: Order) -> Record {
    let name = text(member.node().0.as_str());
    let by = Operator { name, why: text(why), at: clock.now() };
    Record::Command(Command { by, expected: None, order })
}

pub(crate) fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    text[..text.floor_char_boundary(MAX)]
        .parse()
        .expect("names and reasons have no control characters")
}

/// Tells whether others are up, as far as this node can know.
fn has_others(member: &member::Handle) -> bool {
    let control = member.control();
    !member.is_suspended() && control.up().any(|(node, _)| node != member.node())
}

/// Writes, again and again where the log does not take it.
async fn until_taken<F>(write: impl Fn() -> F) -> Result<(), WriteError>
where
    F: Future<Output = Result<(), WriteError>>,
{
    loop {
        match write().await {
            Err(WriteError::Append(reason)) => {
                warn!(%reason, "the control topic does not take it, trying again");
                sleep(AGAIN).await;
            }
            done => return done,
        }
    }
}

fn settling(left: usize, grace: Duration) -> Duration {
    let each = SETTLE.1.saturating_mul(u32::try_from(left).unwrap_or(u32::MAX));
    SETTLE.0.saturating_add(each).min(grace / 2)
}

/// Waits until no shard is here, or moves do not get on, or those that are left need the rest of
/// the time.
async fn moved(member: &member::Handle, keeper: &Keeper, until: Instant, grace: Duration) {
    let (mut control, mut changes) = (member.control(), keeper.changes());
    let mut plan = Plan::of(&control);
    let guard_until = Instant::now() + GUARD_MAX;
    loop {
        let left = keeper.here().len();
        let guarded = control.is_guarded() && !control.is_paused();
        let wait = guarded && Instant::now() < guard_until;
        if left == 0 || !(wait || plan.goes_on(member.node())) {
            return;
        }
        let mut wake = until - settling(left, grace);
        if Instant::now() >= wake {
            return;
        }
        if wait {
            wake = wake.min(guard_until);
        }
        let news = async {
            tokio::select! {
                newer = member.newer(control.at()) => newer.ok(),
                // What is here may have changed.
                _ = changes.changed() => Some(member.control()),
            }
        };
        match timeout_at(wake, news).await {
            Ok(Some(newer)) if newer.at() > control.at() => {
                plan = Plan::of(&newer);
                control = newer;
            }
            Ok(None) => return,
            Ok(Some(_)) | Err(_) => {}
        }
    }
}

/// Waits until shards have other owners, or nobody is left who could be one.
async fn heirs(member: &member::Handle, left: &BTreeSet<ShardId>) {
    let mut control = member.control();
    let waits = |control: &Control| {
        let other = |shard: &ShardId| {
            control.owner(*shard).is_some_and(|owner| owner.node != *member.node())
        };
        control.up().next().is_some() && !left.iter().all(other)
    };
    while waits(&control) {
        match member.newer(control.at()).await {
            Ok(newer) => control = newer,
            Err(_) => return,
        }
    }
}
