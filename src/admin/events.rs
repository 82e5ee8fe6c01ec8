//! What happened, in the order of the control topic: a bounded history, and who waits for more.
//! What lasts of a command is the line that each node logs of it.

mod kept;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

pub(crate) use self::kept::{Cursor, Page};
use crate::admin::events::kept::{Kept, Ring};
use crate::admin::model::{Event, Placed};
use crate::admin::order::{spelled, time};
use crate::clock::Clock;
use crate::cluster::{
    Change, Command, Control, Limits, Observer, Order, Outcome, Record, Status, Token, Void,
};
use crate::types::{NodeId, Offset, ShardId, Timestamp};

/// How many moves are measured, the last ones.
const MEASURED: usize = 100;

/// Keeps the last events, and tells who follows them.
pub struct Events {
    clock: Clock,
    kept: Mutex<Kept>,
    moves: Mutex<Moves>,
    /// How many events there have been.
    count: watch::Sender<u64>,
}

/// How long moves take.
#[derive(Default)]
struct Moves {
    begun: BTreeMap<ShardId, Instant>,
    took: VecDeque<Duration>,
}

impl Events {
    /// Returns no events, of which the last `kept_max` are kept, and as many commands.
    pub(crate) fn new(kept_max: usize, clock: Clock) -> Self {
        let (kept, moves) = (Mutex::new(Kept::new(kept_max)), Mutex::default());
        Self { clock, kept, moves, count: watch::Sender::new(0) }
    }

    /// Returns the place behind the events of a control offset, or of the first one that is kept.
    pub(crate) fn after(&self, at: Option<u64>) -> Cursor {
        self.kept.lock().after(at)
    }

    /// Returns some events from a place on, none where there are no more.
    pub(crate) fn page(&self, from: Cursor) -> Page {
        self.kept.lock().page(from)
    }

    /// Waits until there are events behind a place.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(crate) async fn more(&self, than: Cursor) {
        let mut count = self.count.subscribe();
        // The sender is here: it cannot have gone.
        let _ = count.wait_for(|count| *count > than.0).await;
    }

    /// Returns the median of how long the last moves took, if there were any.
    pub(crate) fn move_took(&self) -> Option<Duration> {
        let mut took: Vec<_> = self.moves.lock().took.iter().copied().collect();
        took.sort();
        took.get(took.len() / 2).copied()
    }

    fn note(&self, ring: Ring, event: Event) {
        let count = self.kept.lock().note(ring, event);
        self.count.send_replace(count);
    }

    fn measure(&self, change: &Change) {
        let mut moves = self.moves.lock();
        match change {
            Change::MoveBegun { shard, .. } => {
                moves.begun.insert(*shard, Instant::now());
            }
            Change::MoveEnded { shard, outcome, .. } => {
                let begun = moves.begun.remove(shard);
                if let (Some(begun), Outcome::Done) = (begun, outcome) {
                    if moves.took.len() == MEASURED {
                        moves.took.pop_front();
                    }
                    moves.took.push_back(begun.elapsed());
                }
            }
            _ => {}
        }
    }
}

impl Observer for Events {
    fn observe(&self, record: &Record, outcome: &Result<Vec<Change>, Void>, control: &Control) {
        self.take(control.at().unwrap_or(Offset(0)).0, record, (outcome, control));
    }
}

impl Events {
    /// Takes note of a command that counts on a node that is alone; `at` numbers it.
    pub(crate) fn alone(&self, at: u64, command: Command, changes: Vec<Change>) {
        self.take(at, &Record::Command(command), (&Ok(changes), &Control::default()));
    }

    fn take(
        &self,
        at: u64,
        record: &Record,
        (outcome, control): (&Result<Vec<Change>, Void>, &Control),
    ) {
        let time = time(self.clock.now());
        if let Record::Command(command) = record {
            let refused = outcome.as_ref().err();
            log(at, command, refused);
            let event = Event { at, time: time.clone(), ..commanded(command, refused) };
            self.note(ring(&command.order), event);
        }
        for change in outcome.iter().flatten() {
            self.measure(change);
            if let Some(event) = told(change, control) {
                self.note(Ring::Other, Event { at, time: time.clone(), ..event });
            }
        }
    }
}

/// Returns where a command is kept: what nodes stop and let go on again and again, because
/// acknowledgements are slow, must not push out what people did.
fn ring(order: &Order) -> Ring {
    match order {
        Order::Guard { .. } => Ring::Other,
        Order::Weight { .. }
        | Order::Pin { .. }
        | Order::Unpin { .. }
        | Order::Drain { .. }
        | Order::Undrain { .. }
        | Order::Limits(_)
        | Order::Pause
        | Order::Resume
        | Order::Move { .. }
        | Order::Revoke { .. } => Ring::Command,
    }
}

/// Logs a command: the control topic is trimmed, and the events are forgotten with the process.
fn log(at: u64, command: &Command, refused: Option<&Void>) {
    let Command { by, order, .. } = command;
    info!(
        at,
        by = by.name.as_str(),
        why = by.why.as_str(),
        what = spelled(order),
        given_at = time(by.at),
        refused = refused.map(tracing::field::display),
        "a command"
    );
}

fn commanded(command: &Command, refused: Option<&Void>) -> Event {
    let (order, by) = (spelled(&command.order), command.by.name.to_string());
    let why = command.by.why.to_string();
    let (kind, text) = match refused {
        None => ("command", format!("{by} gave the command: {order}")),
        Some(reason) => ("refused", format!("{by} was refused: {order}: {reason}")),
    };
    let why = (!why.is_empty()).then_some(why);
    let given_at = Some(time(command.by.at));
    Event { by: Some(by), why, given_at, ..of(kind, text) }
}

/// Tells of a change; of a snapshot there is nothing to tell.
fn draining(node: &NodeId, deadline: Option<Timestamp>) -> Event {
    let by = deadline.map(|at| format!(", by {}", time(at))).unwrap_or_default();
    on("draining", node, format!("{} is being emptied{by}", node.0))
}

fn limited(limits: &Limits) -> Event {
    let (node, all) = (limits.per_node, limits.cluster);
    of("limited", format!("{node} moves of a node and {all} in all run at once"))
}

fn told(change: &Change, control: &Control) -> Option<Event> {
    let with = |shard: &ShardId, event: Event| Event { shard: Some(shard.0), ..event };
    Some(match change {
        Change::Founded { shards, .. } => {
            of("founded", format!("the cluster begins, with {shards} shards"))
        }
        Change::Joined { node, .. } => on("joined", node, format!("{} is up", node.0)),
        Change::Ruled { rules } => of("ruled", format!("version {rules} of the rules is in force")),
        Change::Voted { node, by } => {
            on("voted", node, format!("{} does not hear of {}", by.0, node.0))
        }
        Change::Heard { node } => on("heard", node, format!("{} is heard of again", node.0)),
        Change::Gone { node, status: Status::Left, .. } => {
            on("left", node, format!("{} has left", node.0))
        }
        Change::Gone { node, status: Status::Down | Status::Up, .. } => {
            on("down", node, format!("{} is held for dead", node.0))
        }
        Change::Forgotten { node } => {
            on("forgotten", node, format!("{} is forgotten: there are too many", node.0))
        }
        Change::Owned { shard, node, epoch } => {
            let text = format!("{} serves shard {shard}, epoch {epoch}", node.0);
            with(shard, on("owned", node, text))
        }
        Change::Disowned { shard, node } => {
            let text = format!("{} does not serve shard {shard} any more", node.0);
            with(shard, on("disowned", node, text))
        }
        Change::MoveBegun { shard, from, to } => {
            let text = format!("shard {shard} begins to move from {} to {}", from.0, to.0);
            moved("move-begun", (shard, from, to), text)
        }
        Change::MoveEnded { shard, from, to, outcome } => ended((shard, from, to), outcome),
        Change::Placed { shards } => placed(shards, control),
        Change::Weighted { node, weight } => {
            on("weighted", node, format!("{} has weight {weight}", node.0))
        }
        Change::Pinned { shard, node } => {
            let text = format!("shard {shard} is to be on {}", node.0);
            with(shard, on("pinned", node, text))
        }
        Change::Unpinned { shard, node } => {
            let text = format!("shard {shard} is not pinned to {} any more", node.0);
            with(shard, on("unpinned", node, text))
        }
        Change::Draining { node, deadline } => draining(node, *deadline),
        Change::Undrained { node } => {
            on("undrained", node, format!("{} takes shards again", node.0))
        }
        Change::Limited(limits) => limited(limits),
        Change::Paused => of("paused", "no move begins any more".to_owned()),
        Change::Resumed => of("resumed", "moves begin again".to_owned()),
        Change::GuardOn => of("guard-on", "no move begins: acknowledgements are slow".to_owned()),
        Change::GuardOff => {
            of("guard-off", "moves begin again: acknowledgements are fast".to_owned())
        }
        Change::Revoked { token } => revoked(token),
        Change::Corrected => {
            of("corrected", "a record was damaged: what the others know is taken over".to_owned())
        }
        Change::Snapshot => return None,
    })
}

fn revoked(token: &Token) -> Event {
    let text = match token {
        Token::Id(id) => format!("token {id} is revoked"),
        Token::Subject { subject, issued } => {
            let issued = time(*issued);
            format!("tokens of {subject} that were issued up to {issued} are revoked")
        }
    };
    of("revoked", text)
}

fn of(kind: &str, text: String) -> Event {
    Event { kind: kind.to_owned(), text, ..Event::default() }
}

fn on(kind: &str, node: &NodeId, text: String) -> Event {
    Event { node: Some(node.0.to_string()), ..of(kind, text) }
}

fn moved(kind: &str, (shard, from, to): (&ShardId, &NodeId, &NodeId), text: String) -> Event {
    let from = Some(from.0.to_string());
    Event { shard: Some(shard.0), from, ..on(kind, to, text) }
}

fn ended(of: (&ShardId, &NodeId, &NodeId), outcome: &Outcome) -> Event {
    let (shard, from, to) = of;
    match outcome {
        Outcome::Done => {
            moved("moved", of, format!("shard {shard} has moved from {} to {}", from.0, to.0))
        }
        Outcome::Undone(why) => {
            let event =
                moved("move-undone", of, format!("shard {shard} stays on {}: {why}", from.0));
            Event { why: Some(why.to_string()), ..event }
        }
    }
}

fn placed(shards: &[ShardId], control: &Control) -> Event {
    let place = |shard: &ShardId| Placed {
        shard: shard.0,
        node: control.placement(*shard).map(|node| node.0.to_string()),
    };
    let text = match shards {
        [shard] => format!("shard {shard} is to be elsewhere"),
        _ => format!("{} shards are to be elsewhere", shards.len()),
    };
    let placed = shards.iter().map(place).collect();
    Event { placed, ..of("placed", text) }
}

#[cfg(test)]
mod tests;
