//! What a read gives: where the records are, and the records.

use bytes::Bytes;

use crate::log::ReadError;
use crate::types::Offset;

/// Tells where a shard's records begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Marks {
    /// The first record that is there.
    pub low: Offset,
    /// The next record to be written.
    pub high: Offset,
}

/// Is a run of records as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Batch {
    /// The records, by offset.
    pub records: Vec<Stored>,
    /// Where to read on.
    pub next: Offset,
}

/// Is a record as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the shard.
    pub offset: Offset,
    /// Its bytes, as they were appended.
    pub bytes: Bytes,
}

impl Marks {
    /// Checks that a read may begin at `from`: inside the marks, or right at the end.
    ///
    /// # Errors
    /// [`ReadError::Trimmed`] or [`ReadError::Beyond`].
    pub(in crate::log) fn check_start(self, from: Offset) -> Result<(), ReadError> {
        if from < self.low {
            Err(ReadError::Trimmed { low: self.low })
        } else if from > self.high {
            Err(ReadError::Beyond { offset: from, high: self.high })
        } else {
            Ok(())
        }
    }

    /// Checks that each of the ascending `offsets` is inside the marks.
    pub(in crate::log) fn check_each(self, offsets: &[Offset]) -> Result<(), ReadError> {
        match offsets.iter().find(|&&offset| offset < self.low || offset >= self.high) {
            Some(&offset) if offset < self.low => Err(ReadError::Trimmed { low: self.low }),
            Some(&offset) => Err(ReadError::Beyond { offset, high: self.high }),
            None => Ok(()),
        }
    }
}
