//! One shard: the part of the log that holds some documents, and the owner of those documents.
//!
//! ```text
//! start: read from low-water ─► Claim ─► read to the claim ─► serve
//! serve: documents' records ─► writer ─► log ─► offsets prove acceptance ─► documents
//!        unknown outcome ─► Claim on top of the own epoch ─► read to it ─► serve
//!        another's claim ─► fenced: nothing is acknowledged any more
//!        handed over ─► documents settle and stop ─► Release ─► another's claim
//! ```
//! Documents are opened on first use (checkpoint, then the records after it) and stopped when idle.

mod actor;
mod claim;
mod config;
mod directory;
mod erase;
mod error;
mod follower;
mod handle;
mod heirs;
mod hydrate;
mod keeper;
mod mark;
mod metrics;
mod prune;
mod tail;
mod writer;

pub use claim::{Claimant, Claimed, Claiming, claim};
pub use config::Config;
pub use directory::{Alone, Directory, Place, Whereabouts};
pub use erase::{Erased, Wait};
pub use error::{HandOverError, StartError};
pub use follower::{Begun, Follower};
pub use handle::{Burden, Handle, Ports, WhenFenced, start};
pub use heirs::{Heirs, PeerError, Peers};
pub use hydrate::hydrate;
pub use keeper::{Keeper, Keeping, keep};
pub use metrics::Metrics;
pub use prune::{Kept, Pruned};
pub use tail::{Indexed, Room, Tail};
