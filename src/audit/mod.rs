//! The offline auditor: whether what a log, its checkpoints and its clients' histories say agrees.
//!
//! It is fed with everything in one pass, first the histories ([`Audit::event`]), then shard by
//! shard what the checkpoints hold and the records as the log's own reader judged them
//! ([`Audit::record`]); [`run`] does that for a log and a store. The checks are pure. Time is
//! linear in events and records. Memory: one shard's documents and sessions, never its records; of
//! the histories their acknowledgements and text hashes (some 60 bytes each), not the rest.
//!
//! * **I1** each `ack` names a revision: the accepted batch there is that session's, with that
//!   number. What a `welcome` says to be durable was accepted.
//! * **I2** the numbers accepted of each session of a document are kept as runs (1..=n is one):
//!   one that is in them comes again.
//! * **I3** each accepted frame begins at the revision that the one before ended with.
//! * **I4** each accepted batch is the session's next by the session table, which expiry and
//!   return change.
//! * **I5** after a `welcome`, the revisions of a client's `op` and `ack` go up one by one, over
//!   connections, too.
//! * **I6** all hashes of one revision are equal: of clients, of manifests, and of a replay of the
//!   accepted log, which is made for documents of which hashes are asked for. A replay costs the
//!   length of the text for each revision that is asked for.
//! * **I7** the epochs are followed by a few lines of the auditor's own: where the reader takes a
//!   record that they do not, or the other way round, one of them is wrong. A claim on top of an
//!   epoch ends it, so that one at most is effective on each.
//! * **I8** what an `op` or a `welcome` showed is not above the accepted head.
//! * **I9** a shard's first record is not above the low-water mark of its checkpoints.
//! * **I10** the newest whole checkpoint stands at an offset: there the replay has its revision,
//!   its text and its sessions, so that the tail makes the same of both.
//! * **I14** a batch that was sent and never acknowledged was accepted once or not at all; both
//!   are counted.
//!
//! Not decided, and counted as such: what lies at or below a document's first record that is left
//! or below the range; what would lie above its end; sessions whose first batches are gone; the
//! ownership before the first record that counts, where older ones are gone (it is taken from that
//! record). A session is known to histories by its participant id: where two of one document
//! share it (one pair in 2^32), what only the id tells apart is not decided.
//!
//! Not decided here at all: I11 (times), I12 (the control topic), I13 (budgets of processes). The
//! contents of a revision as a client saw it are compared by text hashes only. What the log has
//! lost without a trace, and nobody was promised, is not missed; missing offsets are counted.

mod check;
mod checkpoints;
mod clients;
mod document;
mod ending;
mod epochs;
mod erased;
mod error;
mod history;
mod ledger;
mod model;
mod names;
mod replay;
mod report;
mod run;
mod runs;
mod session;
mod shard;

#[cfg(test)]
mod naive;
#[cfg(test)]
mod tests;

pub use check::Audit;
pub use checkpoints::{Checkpoint, Newest};
pub use erased::{Wanted, erased, holds};
pub use error::Error;
pub use history::{History, Recorder, Tape};
pub use model::{Erasure, Event, Invariant, Line, Report, Tally, Trace, Unacknowledged, Violation};
pub use run::{Sources, run};
pub use shard::{Covered, Opening, Range};
