//! Who is alive: when a node votes another one down, when it trusts itself no more, and who may
//! take a name. Pure.
//!
//! Everything is judged by what is read from the control topic, never by what was sent. A node
//! that does not read its own heartbeats back knows nothing of the others, and after an outage of
//! the topic everybody gets time to be heard again:
//!
//! ```text
//! own heartbeats   | | | |               |                | | | | | | |
//!                        '-- lately --> no votes           '-- suspect_after --> votes again
//!                        '---- suspend_after ----> suspended until read back
//! ```

mod candidate;

use std::collections::BTreeMap;
use std::time::Duration;

pub use candidate::{Candidate, Decision};

use crate::cluster::control::Control;
use crate::cluster::record::Down;
use crate::types::NodeId;

/// Says how soon is soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a node writes a heartbeat.
    pub heartbeat_every: Duration,
    /// How long a member may be silent before another one votes it down.
    pub suspect_after: Duration,
    /// How long a node serves without reading its own heartbeat back: so much less than the 2 s
    /// after which nobody may use what was withdrawn that looking, and closing sockets, fit in.
    pub suspend_after: Duration,
    /// How old its own last heartbeat may be, and the gaps between them, for a node to vote.
    pub lately: Duration,
    /// How often a vote is repeated at most.
    pub vote_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat_every: Duration::from_millis(300),
            suspect_after: Duration::from_millis(1_200),
            suspend_after: Duration::from_millis(1_800),
            lately: Duration::from_millis(900),
            vote_every: Duration::from_millis(500),
        }
    }
}

/// Is what a detector has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// A member is to be voted down, with this record.
    Vote(Down),
}

/// Watches the members for one run of a node.
#[derive(Debug, Clone)]
pub struct Detector {
    node: NodeId,
    boot: u64,
    timing: Timing,
    since: Duration,
    own: Option<Own>,
    others: BTreeMap<NodeId, Other>,
}

/// Tells how the own heartbeats are read back.
#[derive(Debug, Clone, Copy)]
struct Own {
    last: Duration,
    /// Since when no two were further apart than [`Timing::lately`].
    steady_since: Duration,
}

/// Tells when another run of a node was heard of.
#[derive(Debug, Clone, Copy)]
struct Other {
    boot: u64,
    last: Duration,
    voted: Option<Duration>,
}

impl Detector {
    /// Begins to watch; nobody has been silent before that.
    pub fn new(node: NodeId, boot: u64, timing: Timing, now: Duration) -> Self {
        Self { node, boot, timing, since: now, own: None, others: BTreeMap::new() }
    }

    /// Notes that a join or a heartbeat was read; it must have counted.
    pub fn heard(&mut self, node: &NodeId, boot: u64, now: Duration) {
        if *node != self.node {
            self.others.insert(node.clone(), Other { boot, last: now, voted: None });
            return;
        }
        if boot != self.boot {
            return;
        }
        let steady = self.own.filter(|own| !longer(own.last, now, self.timing.lately));
        let steady_since = steady.map_or(now, |own| own.steady_since);
        self.own = Some(Own { last: now, steady_since });
    }

    /// Finds the members that are to be voted down.
    pub fn tick(&mut self, now: Duration, control: &Control) -> Vec<Verdict> {
        let timing = self.timing;
        self.others.retain(|node, other| control.is_up(node, other.boot));
        for (node, member) in control.up().filter(|(node, _)| **node != self.node) {
            let new = Other { boot: member.boot, last: now, voted: None };
            self.others.entry(node.clone()).or_insert(new);
        }
        if !self.may_vote(now) || !control.is_up(&self.node, self.boot) {
            return Vec::new();
        }
        let mut verdicts = Vec::new();
        for (node, other) in &mut self.others {
            let repeats = other.voted.is_some_and(|voted| !reached(voted, now, timing.vote_every));
            if longer(other.last, now, timing.suspect_after) && !repeats {
                other.voted = Some(now);
                verdicts.push(Verdict::Vote(Down {
                    node: node.clone(),
                    boot: other.boot,
                    by: self.node.clone(),
                    by_boot: self.boot,
                }));
            }
        }
        verdicts
    }

    /// Tells whether the node must not serve: it has not read its own heartbeat back for long.
    pub fn is_suspended(&self, now: Duration) -> bool {
        let last = self.own.map_or(self.since, |own| own.last);
        longer(last, now, self.timing.suspend_after)
    }

    fn may_vote(&self, now: Duration) -> bool {
        self.own.is_some_and(|own| {
            !longer(own.last, now, self.timing.lately)
                && reached(own.steady_since, now, self.timing.suspect_after)
        })
    }
}

/// Tells whether more than `limit` has passed.
fn longer(since: Duration, now: Duration, limit: Duration) -> bool {
    now.saturating_sub(since) > limit
}

/// Tells whether `limit` has passed.
fn reached(since: Duration, now: Duration, limit: Duration) -> bool {
    now.saturating_sub(since) >= limit
}

#[cfg(test)]
mod tests;
