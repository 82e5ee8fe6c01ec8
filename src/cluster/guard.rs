//! When moves are to stop because acknowledgements got slow, and when they may begin again. Pure.
//!
//! ```text
//! off ── some member is slower than the objective for a second ──> on: no move begins
//!  ^                                                               │
//!  └── every member has been faster for ten seconds ───────────────┘
//! ```
//! Every member watches; the first of those that are up writes. What has begun is not stopped: a
//! shard between two nodes serves nobody.

use std::time::Duration;

use crate::cluster::control::Control;
use crate::types::NodeId;

/// How long acknowledgements are slow until moves stop: a move itself takes less.
const SLOW: Duration = Duration::from_secs(1);

/// How long they are fast until moves begin again.
const FAST: Duration = Duration::from_secs(10);

/// Watches what the members say of their acknowledgements.
#[derive(Debug)]
pub struct Guard {
    objective: Duration,
    /// Whether they were slow when it was looked last, and since when it has been so.
    since: Option<(bool, Duration)>,
}

/// Is what a guard wants to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// No move is to begin: this member is slow.
    Stop {
        /// The slowest.
        node: NodeId,
        /// What 99 of 100 of its acknowledgements took at most.
        ack_p99: Duration,
    },
    /// Moves may begin.
    GoOn,
}

impl Guard {
    /// Returns a guard that wants 99 of 100 acknowledgements within `objective`.
    pub fn new(objective: Duration) -> Self {
        Self { objective, since: None }
    }

    /// Looks at a state; returns what `node` is to write, if it is the one to do so.
    pub fn look(&mut self, node: &NodeId, control: &Control, now: Duration) -> Option<Advice> {
        let loads = control.up().filter_map(|(node, member)| Some((node, member.load?.ack_p99)));
        let slowest = loads.max_by_key(|(_, ack_p99)| *ack_p99);
        let slow = slowest.filter(|(_, ack_p99)| *ack_p99 > self.objective);
        let since = match self.since {
            Some((before, since)) if before == slow.is_some() => since,
            Some(_) | None => now,
        };
        self.since = Some((slow.is_some(), since));
        let lasted = now.saturating_sub(since);
        if control.up().next().map(|(first, _)| first) != Some(node) {
            return None;
        }
        match slow {
            Some((node, ack_p99)) if !control.is_guarded() && lasted >= SLOW => {
                Some(Advice::Stop { node: node.clone(), ack_p99 })
            }
            None if control.is_guarded() && lasted >= FAST => Some(Advice::GoOn),
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::record::{Heartbeat, Order, Record};
    use crate::cluster::testing::{Topic, command, leave, node};

    const OBJECTIVE: Duration = Duration::from_millis(500);

    fn beat(topic: &mut Topic, name: &str, ack_p99_ms: u32) {
        let (node, boot) = (node(name), 1);
        topic.ok(&Record::Heartbeat(Heartbeat {
            node,
            boot,
            ack_p99_ms,
            sessions: 1,
            documents: 1,
        }));
    }

    fn looks(guard: &mut Guard, name: &str, topic: &Topic, millis: u64) -> Option<Advice> {
        guard.look(&node(name), &topic.control, Duration::from_millis(millis))
    }

    #[test]
    fn moves_stop_once_some_member_is_slow_for_long_enough() {
        let mut topic = Topic::with(6, &["a", "b"]);
        let (mut first, mut second) = (Guard::new(OBJECTIVE), Guard::new(OBJECTIVE));
        assert_eq!(looks(&mut first, "a", &topic, 0), None, "nobody has said anything yet");
        beat(&mut topic, "a", 500);
        beat(&mut topic, "b", 501);
        for (at, advised) in [(100, false), (1_099, false), (1_100, true)] {
            assert_eq!(looks(&mut second, "b", &topic, at), None, "another one writes");
            let advice = looks(&mut first, "a", &topic, at);
            assert_eq!(advice.is_some(), advised, "{at}");
        }
        let advice = looks(&mut first, "a", &topic, 1_200);
        let ack_p99 = Duration::from_millis(501);
        assert_eq!(advice, Some(Advice::Stop { node: node("b"), ack_p99 }));
        // It has no effect twice, and who writes may go.
        topic.ok(&leave("a", 1));
        assert!(looks(&mut second, "b", &topic, 1_300).is_some());
        topic.ok(&command(Order::Guard { on: true }));
        assert_eq!(looks(&mut second, "b", &topic, 1_400), None);
    }

    #[test]
    fn moves_go_on_once_everybody_has_been_fast_for_long_enough() {
        let mut topic = Topic::with(6, &["a", "b"]);
        let mut guard = Guard::new(OBJECTIVE);
        topic.ok(&command(Order::Guard { on: true }));
        beat(&mut topic, "a", 1);
        beat(&mut topic, "b", 1);
        assert_eq!(looks(&mut guard, "a", &topic, 0), None);
        assert_eq!(looks(&mut guard, "a", &topic, 9_000), None);
        beat(&mut topic, "b", 900);
        assert_eq!(looks(&mut guard, "a", &topic, 9_500), None);
        beat(&mut topic, "b", 1);
        assert_eq!(looks(&mut guard, "a", &topic, 9_600), None);
        assert_eq!(looks(&mut guard, "a", &topic, 19_500), None);
        assert_eq!(looks(&mut guard, "a", &topic, 19_600), Some(Advice::GoOn));
    }
}
