//! When moves are to stop because acknowledgements got slow, and when they may begin again. Pure.
//!
//! ```text
//! off ── one member is slower than the objective in three windows on end ──> on: no move begins
//!  ^                                                                      │
//!  └────────── every member has been faster for ten seconds ──────────────┘
//! ```
//! Every member watches; the first of those that are up writes. What has begun is not stopped: a
//! shard between two nodes serves nobody. A member that is being emptied, or stops, does not count:
//! moves are what helps its clients.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::control::Control;
use crate::types::NodeId;

/// How long the window is that a member tells of, heartbeat by heartbeat, until the next is over.
pub const WINDOW: Duration = Duration::from_secs(2);

/// How long a member is slow until moves stop. What a fail-over delays is acknowledged in one
/// window, or around the end of one; who tells the same for so long tells of a third.
const SLOW: Duration = Duration::from_millis(5_000);

/// How long all are fast until moves begin again.
const FAST: Duration = Duration::from_secs(10);

/// What a look stands for at most: while nothing is read, nobody is slow or fast.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Watches what the members say of their acknowledgements.
#[derive(Debug)]
pub struct Guard {
    objective: Duration,
    /// When it was looked last.
    looked: Option<Duration>,
    /// Whether each member was slow then, and how long on end it had been as it was.
    members: BTreeMap<NodeId, (bool, Duration)>,
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
        Self { objective, looked: None, members: BTreeMap::new() }
    }

    /// Looks at a state; returns what `node` is to write, if it is the one to do so.
    pub fn look(&mut self, node: &NodeId, control: &Control, now: Duration) -> Option<Advice> {
        let step = now.saturating_sub(self.looked.unwrap_or(now)).min(LOOK_MAX);
        let before = std::mem::take(&mut self.members);
        let mut counted = Vec::new();
        for (node, member) in control.up() {
            let Some(ack_p99) = member.load.map(|load| load.ack_p99) else { continue };
            let slow = ack_p99 > self.objective;
            let long = match before.get(node) {
                Some((was, long)) if *was == slow => *long + step,
                Some(_) | None => Duration::ZERO,
            };
            self.members.insert(node.clone(), (slow, long));
            if member.drain.is_none() {
                counted.push((node, slow, long, ack_p99));
            }
        }
        self.looked = Some(now);
        if control.up().next().map(|(first, _)| first) != Some(node) {
            return None;
        }
        if control.is_guarded() {
            let fast = counted.iter().all(|(_, slow, long, _)| !slow && *long >= FAST);
            // Where nobody has said anything, nobody is fast.
            return (fast && !self.members.is_empty()).then_some(Advice::GoOn);
        }
        let long = counted.into_iter().filter(|(_, slow, long, _)| *slow && *long >= SLOW);
        let (node, .., ack_p99) = long.max_by_key(|(.., ack_p99)| *ack_p99)?;
        Some(Advice::Stop { node: node.clone(), ack_p99 })
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

    /// Looks every 300 ms for so long; returns when there was advice first, and which.
    fn looks(
        guard: &mut Guard,
        name: &str,
        topic: &Topic,
        (from, to): (u64, u64),
    ) -> Option<(u64, Advice)> {
        let look = |at| {
            let advice = guard.look(&node(name), &topic.control, Duration::from_millis(at));
            advice.map(|advice| (at, advice))
        };
        (from..to).step_by(300).map(look).collect::<Vec<_>>().into_iter().flatten().next()
    }

    #[test]
    fn moves_stop_once_some_member_is_slow_for_long_enough() {
        let mut topic = Topic::with(6, &["a", "b"]);
        let (mut first, mut second) = (Guard::new(OBJECTIVE), Guard::new(OBJECTIVE));
        assert_eq!(looks(&mut first, "a", &topic, (0, 9_000)), None, "nobody has said anything");
        beat(&mut topic, "a", 500);
        beat(&mut topic, "b", 501);
        assert_eq!(looks(&mut second, "b", &topic, (9_000, 15_000)), None, "another one writes");
        let (at, advice) = looks(&mut first, "a", &topic, (9_000, 15_000)).unwrap();
        let ack_p99 = Duration::from_millis(501);
        assert_eq!((at, advice), (14_100, Advice::Stop { node: node("b"), ack_p99 }));
        assert!(at - 9_000 > 2 * (u64::try_from(WINDOW.as_millis()).unwrap() + 300), "a third");
        // Who writes may go; what is done is not wanted again.
        topic.ok(&leave("a", 1));
        assert!(looks(&mut second, "b", &topic, (15_000, 15_001)).is_some());
        topic.ok(&command(Order::Guard { on: true }));
        assert_eq!(looks(&mut second, "b", &topic, (15_300, 25_000)), None);
    }

    #[test]
    fn a_fail_over_stops_nothing() {
        let mut topic = Topic::with(6, &["a", "b"]);
        let mut guard = Guard::new(OBJECTIVE);
        // It is seen in two windows of one member, then in those of another.
        for (name, from) in [("a", 0), ("b", 4_500), ("a", 9_000)] {
            beat(&mut topic, name, 4_000);
            assert_eq!(looks(&mut guard, "a", &topic, (from, from + 4_500)), None, "{name}");
            beat(&mut topic, name, 1);
        }
        // While nobody is heard of, nobody is slow.
        beat(&mut topic, "b", 4_000);
        assert_eq!(looks(&mut guard, "a", &topic, (13_500, 17_000)), None);
        assert_eq!(looks(&mut guard, "a", &topic, (60_000, 60_001)), None);
        beat(&mut topic, "b", 1);
        assert_eq!(looks(&mut guard, "a", &topic, (60_300, 70_000)), None);
    }

    #[test]
    fn moves_go_on_once_everybody_has_been_fast_for_long_enough() {
        let mut topic = Topic::with(6, &["a", "b"]);
        let mut guard = Guard::new(OBJECTIVE);
        topic.ok(&command(Order::Guard { on: true }));
        beat(&mut topic, "a", 1);
        beat(&mut topic, "b", 1);
        assert_eq!(looks(&mut guard, "a", &topic, (0, 9_300)), None);
        beat(&mut topic, "b", 900);
        assert_eq!(looks(&mut guard, "a", &topic, (9_300, 9_600)), None);
        beat(&mut topic, "b", 1);
        let advice = looks(&mut guard, "a", &topic, (9_600, 30_000));
        assert_eq!(advice, Some((19_800, Advice::GoOn)));
    }

    #[test]
    fn a_member_that_is_being_emptied_does_not_count() {
        let mut topic = Topic::with(6, &["a", "b", "c"]);
        let mut guard = Guard::new(OBJECTIVE);
        for (name, millis) in [("a", 1), ("b", 1), ("c", 900)] {
            beat(&mut topic, name, millis);
        }
        let advice = looks(&mut guard, "a", &topic, (0, 12_000));
        assert!(matches!(advice, Some((5_100, Advice::Stop { .. }))), "{advice:?}");
        topic.ok(&command(Order::Guard { on: true }));
        assert_eq!(looks(&mut guard, "a", &topic, (12_000, 18_000)), None);
        // The one that is slow is to go: the others have been fast for long enough.
        topic.ok(&command(Order::Drain { node: node("c"), deadline: None }));
        let advice = looks(&mut guard, "a", &topic, (18_000, 18_001));
        assert_eq!(advice, Some((18_000, Advice::GoOn)));
        topic.ok(&command(Order::Guard { on: false }));
        assert_eq!(looks(&mut guard, "a", &topic, (18_300, 30_000)), None, "it trips nothing");
        beat(&mut topic, "b", 900);
        let advice = looks(&mut guard, "a", &topic, (30_000, 40_000));
        assert!(matches!(advice, Some((35_100, Advice::Stop { .. }))), "{advice:?}");
        topic.ok(&command(Order::Guard { on: true }));
        beat(&mut topic, "b", 1);
        let advice = looks(&mut guard, "a", &topic, (40_200, 60_000));
        assert_eq!(advice, Some((50_400, Advice::GoOn)), "b counts");
    }
}
