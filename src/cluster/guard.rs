//! When moves are to stop because acknowledgements got slow, and when they may begin again. Pure.
//!
//! ```text
//! off ── one member is slower than the objective in four windows on end ──> on: no move begins
//!  ^                                                                      │
//!  └── no member has been slow while each was fast for ten seconds, or ────┘
//!      nothing was known of it for a minute
//! ```
//! Every member watches; the first of those that are up writes. What has begun is not stopped: a
//! shard between two nodes serves nobody. A member that is being emptied, or stops, does not count:
//! moves are what helps its clients. Nor do they hurt where nobody types, which is where nothing is
//! known; but that is believed late, for who is silent may only stand still.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::cluster::control::Control;
use crate::types::NodeId;

/// How long the window is that a member tells of, heartbeat by heartbeat, until the next is over.
pub const WINDOW: Duration = Duration::from_secs(2);

/// How long a member is slow until moves stop. What a fail-over delays, up to four seconds, is told
/// at the end of two windows as what waits, and of a third as what was acknowledged; who tells the
/// same for so long tells of a fourth.
const SLOW: Duration = Duration::from_millis(7_000);

/// How long all are fast until moves begin again.
const FAST: Duration = Duration::from_secs(10);

/// How long nothing is known of a member until it counts as fast.
const QUIET: Duration = Duration::from_secs(60);

/// What a look stands for at most: while nothing is read, nobody is slow or fast.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// Watches what the members say of their acknowledgements.
#[derive(Debug)]
pub struct Guard {
    objective: Duration,
    /// When it was looked last.
    looked: Option<Duration>,
    /// What was seen of each member then.
    members: BTreeMap<NodeId, Seen>,
}

/// What was seen of a member, and for how long on end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// It was slow.
    Slow(Duration),
    /// It was not; and how much of that it was known to be fast.
    Calm { long: Duration, fast: Duration },
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
            let seen = self.seen(before.get(node).copied(), ack_p99, step);
            self.members.insert(node.clone(), seen);
            if member.drain.is_none() {
                counted.push((node, seen, ack_p99));
            }
        }
        self.looked = Some(now);
        if control.up().next().map(|(first, _)| first) != Some(node) {
            return None;
        }
        if control.is_guarded() {
            let fast = counted.iter().all(|(_, seen, _)| seen.is_fast());
            // Where nobody has said anything, nobody is fast.
            return (fast && !self.members.is_empty()).then_some(Advice::GoOn);
        }
        let slow = counted.into_iter().filter(|(_, seen, _)| seen.is_slow());
        let (node, _, ack_p99) = slow.max_by_key(|(.., ack_p99)| *ack_p99)?;
        Some(Advice::Stop { node: node.clone(), ack_p99 })
    }

    /// Returns what is seen of a member that says so now, after what was seen of it before.
    fn seen(&self, before: Option<Seen>, ack_p99: Duration, step: Duration) -> Seen {
        let slow = ack_p99 > self.objective;
        match before {
            Some(Seen::Slow(long)) if slow => Seen::Slow(long + step),
            Some(Seen::Calm { long, fast }) if !slow => {
                let known = if ack_p99.is_zero() { Duration::ZERO } else { step };
                Seen::Calm { long: long + step, fast: fast + known }
            }
            Some(_) | None if slow => Seen::Slow(Duration::ZERO),
            Some(_) | None => Seen::Calm { long: Duration::ZERO, fast: Duration::ZERO },
        }
    }
}

impl Seen {
    /// Tells whether it has been slow for long enough.
    fn is_slow(&self) -> bool {
        match self {
            Self::Slow(long) => *long >= SLOW,
            Self::Calm { .. } => false,
        }
    }

    /// Tells whether it has been fast for long enough, or nothing is known of it for longer.
    fn is_fast(&self) -> bool {
        match self {
            Self::Slow(_) => false,
            Self::Calm { long, fast } => *fast >= FAST || *long >= QUIET,
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
        assert_eq!(looks(&mut second, "b", &topic, (9_000, 17_000)), None, "another one writes");
        let (at, advice) = looks(&mut first, "a", &topic, (9_000, 17_000)).unwrap();
        let ack_p99 = Duration::from_millis(501);
        assert_eq!((at, advice), (16_200, Advice::Stop { node: node("b"), ack_p99 }));
        assert!(at - 9_000 > 3 * (u64::try_from(WINDOW.as_millis()).unwrap() + 300), "a fourth");
        // Who writes may go; what is done is not wanted again.
        topic.ok(&leave("a", 1));
        assert!(looks(&mut second, "b", &topic, (17_100, 17_101)).is_some());
        topic.ok(&command(Order::Guard { on: true }));
        assert_eq!(looks(&mut second, "b", &topic, (17_400, 27_000)), None);
    }

    #[test]
    fn a_fail_over_stops_nothing() {
        let mut topic = Topic::with(6, &["a", "b"]);
        let mut guard = Guard::new(OBJECTIVE);
        // It is seen in three windows of one member, then in those of another.
        for (name, from) in [("a", 0), ("b", 6_900), ("a", 13_800)] {
            beat(&mut topic, name, 4_000);
            assert_eq!(looks(&mut guard, "a", &topic, (from, from + 6_900)), None, "{name}");
            beat(&mut topic, name, 1);
        }
        // While nobody is heard of, nobody is slow.
        beat(&mut topic, "b", 4_000);
        assert_eq!(looks(&mut guard, "a", &topic, (20_700, 25_500)), None);
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
    fn where_nothing_is_known_nobody_is_fast_for_a_minute() {
        let mut topic = Topic::with(6, &["a", "b"]);
        let mut guard = Guard::new(OBJECTIVE);
        topic.ok(&command(Order::Guard { on: true }));
        beat(&mut topic, "a", 1);
        beat(&mut topic, "b", 0);
        assert_eq!(looks(&mut guard, "a", &topic, (0, 50_100)), None);
        // It was not idle, it stood still.
        beat(&mut topic, "b", 900);
        assert_eq!(looks(&mut guard, "a", &topic, (50_100, 50_400)), None);
        beat(&mut topic, "b", 0);
        let advice = looks(&mut guard, "a", &topic, (50_400, 120_000));
        assert_eq!(advice, Some((110_400, Advice::GoOn)));
        // Of a few people something is known now and then.
        let mut guard = Guard::new(OBJECTIVE);
        let advice = (0..20).find_map(|turn| {
            beat(&mut topic, "b", [0, 7][turn % 2]);
            let from = turn as u64 * 3_000;
            looks(&mut guard, "a", &topic, (from, from + 3_000))
        });
        assert_eq!(advice, Some((21_900, Advice::GoOn)));
    }

    #[test]
    fn a_member_that_is_being_emptied_does_not_count() {
        let mut topic = Topic::with(6, &["a", "b", "c"]);
        let mut guard = Guard::new(OBJECTIVE);
        for (name, millis) in [("a", 1), ("b", 1), ("c", 900)] {
            beat(&mut topic, name, millis);
        }
        let advice = looks(&mut guard, "a", &topic, (0, 12_000));
        assert!(matches!(advice, Some((7_200, Advice::Stop { .. }))), "{advice:?}");
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
        assert!(matches!(advice, Some((37_200, Advice::Stop { .. }))), "{advice:?}");
        topic.ok(&command(Order::Guard { on: true }));
        beat(&mut topic, "b", 1);
        let advice = looks(&mut guard, "a", &topic, (40_200, 60_000));
        assert_eq!(advice, Some((50_400, Advice::GoOn)), "b counts");
    }
}
