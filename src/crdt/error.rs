//! What can go wrong with a segment: a fork that cannot be merged, bytes that cannot be read.
//!
//! Not here: an operation that does not fit its text, which is [`OutOfBounds`] of `text`.

use diamond_types::list::encoding::encode_tools::ParseError;
use thiserror::Error;

use crate::text::OutOfBounds;
use crate::types::Revision;

/// Tells why a fork was not merged; the segment is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ForkError {
    /// The segment does not hold the revision the fork was made at.
    #[error("revision {base} is not one of {first} to {head}: look for the segment that holds it")]
    NotHeld {
        /// The revision the fork was made at.
        base: Revision,
        /// The oldest revision whose text the segment holds.
        first: Revision,
        /// The newest one.
        head: Revision,
    },
    /// The fork reaches past the end of the text at its base.
    #[error("the fork does not fit the text at its base")]
    OutOfBounds(#[from] OutOfBounds),
}

/// Tells why bytes are not an encoded segment.
///
/// Up to [`Checksum`](DecodeError::Checksum) the bytes are foreign or damaged. Past it they are
/// what some version of this program wrote, and the rest says how that version was wrong.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// There are too few bytes for any segment.
    #[error("{found} bytes are too few for a segment: take an older copy")]
    Short {
        /// How many bytes there are.
        found: usize,
    },
    /// The checksum does not hold.
    #[error("the checksum of the segment does not hold: take an older copy")]
    Checksum,
    /// The format is of a later version of this program.
    #[error("segment format {found} is newer than this program: update it")]
    Version {
        /// The format's number.
        found: u8,
    },
    /// The segment claims to be larger than any segment may be.
    #[error("a segment of {claimed} bytes is over the limit")]
    TooLarge {
        /// The claimed size before compression.
        claimed: u64,
    },
    /// The compressed part cannot be read.
    #[error("the segment cannot be decompressed")]
    Compression(#[source] std::io::Error),
    /// The operations cannot be read.
    #[error("the operations of the segment cannot be read")]
    Operations(#[source] ParseError),
    /// The parts contradict each other or their own bounds.
    #[error("the segment is malformed: {0}")]
    Malformed(#[from] Malformed),
}

/// Tells which statement of an encoding does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Malformed {
    /// A length or a number goes past the end of the bytes.
    #[error("it ends too early")]
    Truncated,
    /// Bytes follow the last part.
    #[error("bytes follow its end")]
    Trailing,
    /// A number does not fit where it is used.
    #[error("a number is out of range")]
    Number,
    /// A column of the revision table has not one value for each revision.
    #[error("a column has not one value for each revision")]
    Column,
    /// A writer is named twice, has a bad name, or is missing.
    #[error("the list of writers is wrong")]
    Writers,
    /// The operations are not one line of history as long as the table says.
    #[error("the operations are not what the table describes")]
    History,
}
