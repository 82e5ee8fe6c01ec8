//! The owner's side of a move.

use std::time::Duration;

use crate::cluster::record::{Outcome, Text};
use crate::types::{Epoch, NodeId, Offset};

/// Bounds the steps that wait for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For the target to warm up.
    pub warm: Duration,
    /// For the owner's last frames to be accepted.
    pub drain: Duration,
    /// For the target to own the shard, from the release on.
    pub claim: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self { warm: secs(30), drain: secs(5), claim: secs(3) }
    }
}

/// Hands one shard over to a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerSide {
    to: NodeId,
    epoch: Epoch,
    deadlines: Deadlines,
    stage: OwnerStage,
}

/// Tells how far the owner is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerStage {
    /// The move is not in control yet.
    Idle,
    /// The target warms up, the owner serves.
    Warming {
        /// Since when.
        since: Duration,
    },
    /// The owner takes nothing new and waits for what is under way.
    Draining {
        /// Since when.
        since: Duration,
    },
    /// The release is being appended; how that ends is awaited whatever else happens.
    Releasing {
        /// Why the move is to be undone then, if it is.
        undo: Option<Reason>,
    },
    /// The release is in the log.
    Released {
        /// The ownership that it ended.
        epoch: Epoch,
        /// Since when.
        since: Duration,
    },
    /// Another node has the shard.
    Done,
    /// The owner has the shard, or claims it again, or lost it to a claim outside this move.
    Undone(Reason),
}

/// Tells why a move was undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The target would not take the shard.
    #[error("the target refuses: {0}")]
    Refused(Text<128>),
    /// The link to the target is cut.
    #[error("the link to the target is cut")]
    PeerGone,
    /// The target is not a member any more.
    #[error("the target is down")]
    TargetDown,
    /// Control has ended the move.
    #[error("the move has ended in the control topic")]
    MoveGone,
    /// The target did not get warm in time.
    #[error("the target did not warm up in time")]
    WarmedLate,
    /// The last frames were not accepted in time.
    #[error("the last frames were not accepted in time")]
    DrainedLate,
    /// The target did not own the shard in time.
    #[error("the target did not claim in time")]
    ClaimedLate,
    /// Somebody else has claimed the shard.
    #[error("another node has claimed the shard")]
    Fenced,
    /// Whether something is in the log is not known.
    #[error("the outcome of an append is unknown")]
    Unknown,
}

/// Is what happens to the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerInput {
    /// The own `MoveBegun` was read back and counts.
    Begun,
    /// The target is warm.
    Ready,
    /// The target will not take the shard.
    Refused(Text<128>),
    /// The link to the target is cut.
    PeerGone,
    /// All that was taken is accepted.
    Drained,
    /// The release is in the log, and counts.
    Landed(Offset),
    /// A newer claim is in the log.
    Fenced,
    /// Whether the release, or a frame before it, is in the log is not known.
    Unknown,
    /// The target's `Owned` was read; this is not a [`OwnerInput::MoveGone`].
    TargetOwned,
    /// The target went down or left; this is not a [`OwnerInput::MoveGone`].
    TargetDown,
    /// The move is no longer in control.
    MoveGone,
    /// Time has passed.
    Tick,
}

/// Is what the owner has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnerEffect {
    /// Ask the target to warm up.
    AskWarm(NodeId),
    /// Take nothing new, and say when all is accepted.
    Drain,
    /// Append the release.
    AppendRelease,
    /// Tell the target where the release is.
    TellReleased(NodeId, Offset),
    /// Serve on under the same ownership.
    Resume,
    /// Claim the shard again, on top of the ownership that may be released, and serve if the claim
    /// counts. If another one came first, give the shard up as after any newer claim: where that
    /// claim is of a run that is down, the placement's heir is to claim once more.
    Reclaim,
    /// Write this end of the move into control.
    EndMove(Outcome),
}

/// Tells what an owner must do to have its shard back.
#[derive(Debug, Clone, Copy)]
enum Back {
    /// Nothing: it never stopped, or has lost the shard.
    Nothing,
    Resume,
    Reclaim,
}

impl OwnerSide {
    /// Prepares to hand the shard that is owned under `epoch` over.
    pub fn new(to: NodeId, epoch: Epoch, deadlines: Deadlines) -> Self {
        Self { to, epoch, deadlines, stage: OwnerStage::Idle }
    }

    /// Returns how far it is.
    pub fn stage(&self) -> &OwnerStage {
        &self.stage
    }

    /// Takes in what happened and tells what to do, in this order.
    pub fn take(&mut self, now: Duration, input: OwnerInput) -> Vec<OwnerEffect> {
        match self.stage.clone() {
            OwnerStage::Idle => self.idle(now, &input),
            OwnerStage::Warming { since } => self.warming(now, since, input),
            OwnerStage::Draining { since } => self.draining(now, since, input),
            OwnerStage::Releasing { undo } => self.releasing(now, undo, input),
            OwnerStage::Released { since, .. } => self.released(now, since, input),
            OwnerStage::Done | OwnerStage::Undone(_) => Vec::new(),
        }
    }

    fn idle(&mut self, now: Duration, input: &OwnerInput) -> Vec<OwnerEffect> {
        if *input != OwnerInput::Begun {
            return Vec::new();
        }
        self.stage = OwnerStage::Warming { since: now };
        vec![OwnerEffect::AskWarm(self.to.clone())]
    }

    fn warming(&mut self, now: Duration, since: Duration, input: OwnerInput) -> Vec<OwnerEffect> {
        match input {
            OwnerInput::Ready => {
                self.stage = OwnerStage::Draining { since: now };
                vec![OwnerEffect::Drain]
            }
            OwnerInput::Refused(why) => self.undo(Reason::Refused(why), Back::Nothing),
            OwnerInput::PeerGone => self.undo(Reason::PeerGone, Back::Nothing),
            OwnerInput::TargetDown => self.undo(Reason::TargetDown, Back::Nothing),
            OwnerInput::MoveGone => self.undo(Reason::MoveGone, Back::Nothing),
            OwnerInput::Fenced => self.undo(Reason::Fenced, Back::Nothing),
            OwnerInput::TargetOwned => self.done(),
            OwnerInput::Tick if passed(since, now, self.deadlines.warm) => {
                self.undo(Reason::WarmedLate, Back::Nothing)
            }
            OwnerInput::Begun
            | OwnerInput::Drained
            | OwnerInput::Landed(_)
            | OwnerInput::Unknown
            | OwnerInput::Tick => Vec::new(),
        }
    }

    fn draining(&mut self, now: Duration, since: Duration, input: OwnerInput) -> Vec<OwnerEffect> {
        match input {
            OwnerInput::Drained => {
                self.stage = OwnerStage::Releasing { undo: None };
                vec![OwnerEffect::AppendRelease]
            }
            OwnerInput::Refused(why) => self.undo(Reason::Refused(why), Back::Resume),
            OwnerInput::PeerGone => self.undo(Reason::PeerGone, Back::Resume),
            OwnerInput::TargetDown => self.undo(Reason::TargetDown, Back::Resume),
            OwnerInput::MoveGone => self.undo(Reason::MoveGone, Back::Resume),
            OwnerInput::Fenced => self.undo(Reason::Fenced, Back::Nothing),
            OwnerInput::Unknown => self.undo(Reason::Unknown, Back::Reclaim),
            OwnerInput::TargetOwned => self.done(),
            OwnerInput::Tick if passed(since, now, self.deadlines.drain) => {
                self.undo(Reason::DrainedLate, Back::Resume)
            }
            OwnerInput::Begun | OwnerInput::Ready | OwnerInput::Landed(_) | OwnerInput::Tick => {
                Vec::new()
            }
        }
    }

    /// Waits for the release to land, which has a deadline of its own.
    fn releasing(
        &mut self,
        now: Duration,
        undo: Option<Reason>,
        input: OwnerInput,
    ) -> Vec<OwnerEffect> {
        let reason = match input {
            OwnerInput::Landed(offset) => {
                if let Some(reason) = undo {
                    return self.undo(reason, Back::Reclaim);
                }
                self.stage = OwnerStage::Released { epoch: self.epoch, since: now };
                return vec![OwnerEffect::TellReleased(self.to.clone(), offset)];
            }
            OwnerInput::Fenced => return self.undo(Reason::Fenced, Back::Nothing),
            OwnerInput::Unknown => {
                return self.undo(undo.unwrap_or(Reason::Unknown), Back::Reclaim);
            }
            OwnerInput::TargetOwned => return self.done(),
            OwnerInput::Refused(why) => Reason::Refused(why),
            OwnerInput::PeerGone => Reason::PeerGone,
            OwnerInput::TargetDown => Reason::TargetDown,
            OwnerInput::MoveGone => Reason::MoveGone,
            OwnerInput::Begun | OwnerInput::Ready | OwnerInput::Drained | OwnerInput::Tick => {
                return Vec::new();
            }
        };
        // What control knows already is worth more: it saves writing the end of the move.
        let undo = undo.filter(|known| !ends_in_control(&reason) || ends_in_control(known));
        self.stage = OwnerStage::Releasing { undo: Some(undo.unwrap_or(reason)) };
        Vec::new()
    }

    fn released(&mut self, now: Duration, since: Duration, input: OwnerInput) -> Vec<OwnerEffect> {
        match input {
            OwnerInput::TargetOwned | OwnerInput::Fenced => self.done(),
            OwnerInput::Refused(why) => self.undo(Reason::Refused(why), Back::Reclaim),
            OwnerInput::PeerGone => self.undo(Reason::PeerGone, Back::Reclaim),
            OwnerInput::TargetDown => self.undo(Reason::TargetDown, Back::Reclaim),
            OwnerInput::MoveGone => self.undo(Reason::MoveGone, Back::Reclaim),
            OwnerInput::Tick if passed(since, now, self.deadlines.claim) => {
                self.undo(Reason::ClaimedLate, Back::Reclaim)
            }
            OwnerInput::Begun
            | OwnerInput::Ready
            | OwnerInput::Drained
            | OwnerInput::Landed(_)
            | OwnerInput::Unknown
            | OwnerInput::Tick => Vec::new(),
        }
    }

    /// The target's `Owned` has ended the move in control.
    fn done(&mut self) -> Vec<OwnerEffect> {
        self.stage = OwnerStage::Done;
        Vec::new()
    }

    fn undo(&mut self, reason: Reason, back: Back) -> Vec<OwnerEffect> {
        let mut effects = match back {
            Back::Nothing => Vec::new(),
            Back::Resume => vec![OwnerEffect::Resume],
            Back::Reclaim => vec![OwnerEffect::Reclaim],
        };
        if !ends_in_control(&reason) {
            let why = reason.to_string().parse().expect("a reason is short");
            effects.push(OwnerEffect::EndMove(Outcome::Undone(why)));
        }
        self.stage = OwnerStage::Undone(reason);
        effects
    }
}

/// Tells whether control has ended the move already where this is the reason.
fn ends_in_control(reason: &Reason) -> bool {
    match reason {
        Reason::TargetDown | Reason::MoveGone => true,
        Reason::Refused(_)
        | Reason::PeerGone
        | Reason::WarmedLate
        | Reason::DrainedLate
        | Reason::ClaimedLate
        | Reason::Fenced
        | Reason::Unknown => false,
    }
}

fn passed(since: Duration, now: Duration, limit: Duration) -> bool {
    now.saturating_sub(since) >= limit
}
