//! A document's history on diamond-types, behind a wall.
//!
//! History is a chain of [`Segment`]s. A segment begins with the text at its base revision and
//! holds the revisions after it, one line of them: operations are rebased before they get here.
//! diamond-types keeps the operations, a table beside it who made each revision and when.
//!
//! The wall has two sides. Inwards, nothing reaches diamond-types unchecked: positions are held
//! against the length of the text, and only bytes whose checksum holds are decoded, always into
//! a fresh log. Outwards, none of its types are seen; only this module names the crate.
//!
//! Not here: the order of revisions and their rebase (`doc`), where bytes are kept
//! (`checkpoint`).

mod blame;
mod codec;
mod column;
mod edits;
mod error;
#[cfg(test)]
mod fixture;
mod fork;
mod history;
mod segment;
mod table;
mod varint;

pub use blame::{Blame, BlameRun};
pub use codec::Encoded;
pub use error::{DecodeError, ForkError, Malformed};
pub use history::HistoryEntry;
pub use segment::Segment;
pub use table::Meta;
