//! The load tool: recorded traces and made-up typing, replayed through real client sessions.
//!
//! ```text
//! trace or profile ─► runner (one task a client) ─► server ─► acknowledgements ─► report
//!                                                         └─► final texts ─► oracle
//! ```
//! Latency of a trace is from sending a batch to its acknowledgement (closed loop, one batch in
//! flight); of typing it is from the moment a key was meant to be pressed (open loop).

mod concurrent;
mod floor;
mod history;
mod model;
mod oracle;
mod progress;
mod recording;
mod replay;
mod report;
mod sequential;
mod slo;
mod target;
mod trace;
mod typing;

pub use concurrent::replay as replay_concurrent;
pub use floor::Floor;
pub use history::Scribe;
pub use model::Report;
pub use progress::Progress;
pub use recording::{Recording, Step};
pub use replay::{Pace, replay as replay_recording};
pub use report::Measured;
pub use sequential::replay as replay_sequential;
pub use slo::Slo;
pub use target::Target;
pub use trace::{Concurrent, Sequential, Trace};
pub use typing::{Typing, run as run_typing};
