//! The target's side of a move.

use crate::types::{Epoch, Offset};

/// Takes one shard over from its owner.
///
/// It waits without deadlines of its own: the owner has them, and control tells when the owner or
/// the move is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TargetSide {
    stage: TargetStage,
}

/// Tells how far the target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TargetStage {
    /// It has not been asked.
    #[default]
    Idle,
    /// It reads what it will need.
    Warming,
    /// It waits for the owner's release.
    Ready,
    /// It claims; how that ends is awaited whatever else happens.
    Claiming,
    /// It owns the shard.
    Owning(Epoch),
    /// It does not get the shard.
    GivenUp,
}

/// Tells who takes the shards of an owner that went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heir {
    /// The placement of the shard is this node.
    ThisNode,
    /// It is another one.
    Another,
}

/// Is what happens to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetInput {
    /// The owner asks it to warm up.
    AskedToWarm,
    /// It is warm.
    Warmed,
    /// The owner's release is in the log.
    ToldReleased(Offset),
    /// The claim counts, and begins this ownership.
    Claimed(Epoch),
    /// Another claim came first.
    Fenced,
    /// The owner went down or left; this is not a [`TargetInput::MoveGone`].
    OwnerDown(Heir),
    /// The move is no longer in control.
    MoveGone,
}

/// Is what the target has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetEffect {
    /// Read the tail.
    WarmUp,
    /// Tell the owner that it is warm.
    SayReady,
    /// Claim the shard; where the outcome is unknown, again.
    Claim,
    /// Write into control that it owns the shard.
    Publish(Epoch),
    /// Drop what was warmed up.
    Forget,
}

impl TargetSide {
    /// Returns how far it is.
    pub fn stage(&self) -> TargetStage {
        self.stage
    }

    /// Takes in what happened and tells what to do.
    pub fn take(&mut self, input: TargetInput) -> Option<TargetEffect> {
        match self.stage {
            TargetStage::Idle | TargetStage::Warming | TargetStage::Ready => self.before(input),
            TargetStage::Claiming => self.claiming(input),
            TargetStage::Owning(_) | TargetStage::GivenUp => None,
        }
    }

    fn before(&mut self, input: TargetInput) -> Option<TargetEffect> {
        let (stage, effect) = match input {
            TargetInput::AskedToWarm if self.stage == TargetStage::Idle => {
                (TargetStage::Warming, TargetEffect::WarmUp)
            }
            TargetInput::Warmed if self.stage == TargetStage::Warming => {
                (TargetStage::Ready, TargetEffect::SayReady)
            }
            // Cold or warm, somebody has to claim what is released.
            TargetInput::ToldReleased(_) | TargetInput::OwnerDown(Heir::ThisNode) => {
                (TargetStage::Claiming, TargetEffect::Claim)
            }
            TargetInput::OwnerDown(Heir::Another) | TargetInput::MoveGone => {
                (TargetStage::GivenUp, TargetEffect::Forget)
            }
            TargetInput::AskedToWarm
            | TargetInput::Warmed
            | TargetInput::Claimed(_)
            | TargetInput::Fenced => return None,
        };
        self.stage = stage;
        Some(effect)
    }

    fn claiming(&mut self, input: TargetInput) -> Option<TargetEffect> {
        let (stage, effect) = match input {
            TargetInput::Claimed(epoch) => {
                (TargetStage::Owning(epoch), TargetEffect::Publish(epoch))
            }
            TargetInput::Fenced => (TargetStage::GivenUp, TargetEffect::Forget),
            TargetInput::AskedToWarm
            | TargetInput::Warmed
            | TargetInput::ToldReleased(_)
            | TargetInput::OwnerDown(_)
            | TargetInput::MoveGone => return None,
        };
        self.stage = stage;
        Some(effect)
    }
}
