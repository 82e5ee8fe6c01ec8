//! When moves are to stop because acknowledgements got slow, and when they may begin again. Pure.
//!
//! ```text
//! off ── some member is slower than the objective for a second ──> on: no move begins
//!  ^                                                               │
//!  └── every member has been faster for ten seconds ───────────────┘
//! ```
//! Every member watches; the first of those that are up writes. What has begun is not stopped: a
//! shard between two nodes serves nobody. A member that is being emptied, or stops, does not count:
//! moves are what helps its clients.

use std::collections::BTreeMap;
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
    /// Since when each member has been fast; nothing where it is slow.
    fast: BTreeMap<NodeId, Option<Duration>>,
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
        Self { objective, since: None, fast: BTreeMap::new() }
    }

    /// Looks at a state; returns what `node` is to write, if it is the one to do so.
    pub fn look(&mut self, node: &NodeId, control: &Control, now: Duration) -> Option<Advice> {
        let loads = control.up().filter_map(|(node, member)| {
            let ack_p99 = member.load?.ack_p99;
            Some((node, member.drain.is_some(), ack_p99))
        });
        let loads: Vec<_> = loads.collect();
        self.note(&loads, now);
        let counts = || loads.iter().filter(|(_, drains, _)| !drains);
        let slowest = counts().map(|(node, _, ack_p99)| (*node, *ack_p99)).max_by_key(|one| one.1);
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
            None if control.is_guarded() && !loads.is_empty() => {
                let fast = |node| self.fast.get(node).copied().flatten();
                let fast = |node| fast(node).is_some_and(|since| now.saturating_sub(since) >= FAST);
                counts().all(|(node, ..)| fast(*node)).then_some(Advice::GoOn)
            }
            Some(_) | None => None,
        }
    }

    /// Takes note of who is fast.
    fn note(&mut self, loads: &[(&NodeId, bool, Duration)], now: Duration) {
        let before = std::mem::take(&mut self.fast);
        self.fast = loads
            .iter()
            .map(|&(node, _, ack_p99)| {
                let since = before.get(node).copied().flatten().unwrap_or(now);
                (node.clone(), (ack_p99 <= self.objective).then_some(since))
            })
            .collect();
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

    #[test]
    fn a_member_that_is_being_emptied_does_not_count() {
        let mut topic = Topic::with(6, &["a", "b", "c"]);
        let mut guard = Guard::new(OBJECTIVE);
        for (name, millis) in [("a", 1), ("b", 1), ("c", 900)] {
            beat(&mut topic, name, millis);
        }
        assert_eq!(looks(&mut guard, "a", &topic, 0), None);
        assert!(matches!(looks(&mut guard, "a", &topic, 1_000), Some(Advice::Stop { .. })));
        topic.ok(&command(Order::Guard { on: true }));
        assert_eq!(looks(&mut guard, "a", &topic, 12_000), None);
        // The one that is slow is to go: the others have been fast for long enough.
        let drain = |name| command(Order::Drain { node: node(name), deadline: None });
        topic.ok(&drain("c"));
        assert_eq!(looks(&mut guard, "a", &topic, 12_100), Some(Advice::GoOn));
        topic.ok(&command(Order::Guard { on: false }));
        assert_eq!(looks(&mut guard, "a", &topic, 14_000), None, "it trips nothing");
        beat(&mut topic, "b", 900);
        assert_eq!(looks(&mut guard, "a", &topic, 14_100), None);
        assert!(matches!(looks(&mut guard, "a", &topic, 15_100), Some(Advice::Stop { .. })));
        topic.ok(&command(Order::Guard { on: true }));
        beat(&mut topic, "b", 1);
        assert_eq!(looks(&mut guard, "a", &topic, 15_200), None);
        assert_eq!(looks(&mut guard, "a", &topic, 25_100), None, "b counts");
        assert_eq!(looks(&mut guard, "a", &topic, 25_200), Some(Advice::GoOn));
    }
}
