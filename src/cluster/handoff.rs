//! A planned move, step by step: the machines of the owner and of the target. Pure.
//!
//! The owner drives; either side may crash, and any message may be lost, at any place:
//!
//! ```text
//! owner   Idle ─> Warming ─> Draining ─> Releasing ─> Released ─> Done
//!                    └───────────┴───────────┴───────────┴─────> Undone
//! target  Idle ─> Warming ─> Ready ──────────────> Claiming ─> Owning
//!                    └─────────┴──────────────────────┴─────> GivenUp
//! ```
//!
//! Before its release is in the log, an owner undoes a move by serving on. After that, or when it
//! does not know, it claims the shard again on top of the epoch it released. The target's claim
//! is on top of the same epoch, so the log lets only the first of the two count: whoever of them
//! thinks that the other is gone may claim, and be wrong, without harm.

mod owner;
mod target;

pub use owner::{Deadlines, OwnerEffect, OwnerInput, OwnerSide, OwnerStage, Reason};
pub use target::{Heir, TargetEffect, TargetInput, TargetSide, TargetStage};

#[cfg(test)]
mod steps;
#[cfg(test)]
mod tests;
