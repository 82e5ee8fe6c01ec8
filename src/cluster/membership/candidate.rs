//! A process that wants a node's name: it takes it from a run that is silent, never from one that
//! is alive. Pure.

use std::time::Duration;

use crate::cluster::control::Control;
use crate::cluster::error::Refusal;
use crate::cluster::membership::{Timing, reached};
use crate::types::NodeId;

/// How many heartbeats show that the other run is alive: one may have been under way when it died.
const ALIVE: u32 = 2;

/// Is a starting process that has read the control topic to its end and is not a member yet.
#[derive(Debug, Clone)]
pub struct Candidate {
    node: NodeId,
    boot: u64,
    patience: Duration,
    holder: Option<Holder>,
}

/// Is the run that has the name.
#[derive(Debug, Clone, Copy)]
struct Holder {
    boot: u64,
    silent_since: Duration,
    beats: u32,
}

/// Is what a candidate does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It joins.
    Join {
        /// The silent run that it takes the name from.
        replaces: Option<u64>,
    },
    /// Its join has been read: it is a member.
    Joined,
    /// It stops.
    Refused(Refusal),
}

impl Candidate {
    /// Begins, at the end of the control topic.
    pub fn new(node: NodeId, boot: u64, timing: Timing, now: Duration, control: &Control) -> Self {
        let patience = timing.suspect_after * 3 / 2;
        let mut candidate = Self { node, boot, patience, holder: None };
        candidate.look(now, control);
        candidate
    }

    /// Notes that a heartbeat was read; it must have counted.
    pub fn heard(&mut self, node: &NodeId, boot: u64, now: Duration) {
        let holder = self.holder.as_mut().filter(|holder| holder.boot == boot);
        if let Some(holder) = holder
            && *node == self.node
        {
            holder.silent_since = now;
            holder.beats += 1;
        }
    }

    /// Decides, once enough is known.
    pub fn tick(&mut self, now: Duration, control: &Control) -> Option<Decision> {
        if control.is_up(&self.node, self.boot) {
            return Some(Decision::Joined);
        }
        self.look(now, control);
        let Some(holder) = self.holder else { return Some(Decision::Join { replaces: None }) };
        if holder.beats >= ALIVE {
            let (node, boot) = (self.node.clone(), holder.boot);
            return Some(Decision::Refused(Refusal::NameTaken { node, boot }));
        }
        let silent = reached(holder.silent_since, now, self.patience);
        silent.then_some(Decision::Join { replaces: Some(holder.boot) })
    }

    /// Looks which run has the name now.
    fn look(&mut self, now: Duration, control: &Control) {
        let member = control.member(&self.node).filter(|member| member.is_up());
        let boot = member.map(|member| member.boot);
        if self.holder.map(|holder| holder.boot) != boot {
            self.holder = boot.map(|boot| Holder { boot, silent_since: now, beats: 0 });
        }
    }
}
