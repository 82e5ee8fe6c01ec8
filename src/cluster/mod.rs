//! The cluster: who is a member, which shard belongs where, and how shards move. Pure.
//!
//! Everything here follows from the records of the control topic, the same for every node:
//!
//! ```text
//! a member   Candidate ── Join ──> up ── Heartbeat* ──┬── Leave ───────────────> left ─┐
//!                ^                                    └── Down, voters agree ──> down ─┤
//!                └──────────────────────────────── starts again, with another boot ────┘
//! a shard    placed (ring, weights, pins, drains) ── its node claims it in its log, Owned ──>
//!            owned ── placed elsewhere: a move ──> owned by another
//!                  └─ its node goes, Disowned ───> without owner until its heir's Owned
//! a move     MoveBegun ─> target warms up ─> owner drains ─> Release ─> target claims ─> Owned
//!                └── something fails: the owner serves on, or claims again ─> MoveEnded
//! ```
//!
//! Ownership itself is decided by the claims in a shard's own log; what control says of it is news.
//! No async, I/O, clock or randomness here: time comes in, effects go out.

mod config;
mod control;
mod error;
mod guard;
pub mod handoff;
pub mod member;
mod membership;
mod message;
mod placement;
mod plan;
mod record;
mod ring;
mod snapshot;
#[cfg(test)]
mod testing;
mod topic;

pub use config::Config;
pub use control::{
    Change, Control, Drain, Lasts, Load, MEMBERS_MAX, Member, Move, Owner, Pin, REVOKED_BYTES_MAX,
    Revoked, SNAPSHOT_EVERY, Status,
};
pub use error::{Refusal, Void};
pub use guard::{Advice, Guard, WINDOW};
pub use membership::{Candidate, Decision, Detector, Timing, Verdict};
pub use message::{DecodeError, RECORD_BYTES_MAX};
pub use placement::{Placement, Standing};
pub use plan::{Pending, Plan, Stage, Why};
pub use record::{
    Addresses, BadText, Command, Disowned, Down, Founded, Heartbeat, Join, Leave, Limits,
    MoveBegun, MoveEnded, Operator, Order, Outcome, Owned, RULES, Record, SHARDS_MAX, Snapshot,
    Text, Token, Version,
};
pub use ring::{POINTS_PER_WEIGHT, Ring};
pub use topic::{Observer, Topic, Unread, WriteError};
