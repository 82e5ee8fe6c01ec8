//! Who owns a shard, told once more and without a line of `log::Fence`, by which it is judged.

use crate::log::{Record, Void};
use crate::types::{Epoch, Offset};

/// Knows the shard's ownership after the records so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Epochs {
    /// The records that would tell are gone.
    Unknown,
    /// Nobody ever claimed it.
    Nobody,
    Owned(Epoch),
    /// Given up by its owner, and not claimed since.
    Released(Epoch),
}

impl Epochs {
    /// Tells whether a record's epoch lets it count; nothing where that is not known.
    pub(crate) fn judge(self, record: &Record) -> Option<Result<(), Void>> {
        let (current, released) = match self {
            Self::Unknown => return None,
            Self::Nobody => (None, false),
            Self::Owned(epoch) => (Some(epoch), false),
            Self::Released(epoch) => (Some(epoch), true),
        };
        Some(match record {
            Record::Claim(claim) if claim.prev == current => Ok(()),
            Record::Claim(_) => Err(Void::Claim),
            Record::Frame(_) | Record::Event(_) | Record::Release(_) => {
                if record.epoch() != current {
                    Err(Void::StaleEpoch)
                } else if released {
                    Err(Void::Released)
                } else {
                    Ok(())
                }
            }
        })
    }

    /// Goes on by a record that counts.
    pub(crate) fn follow(&mut self, offset: Offset, record: &Record) {
        *self = match record {
            Record::Claim(_) => Self::Owned(Epoch(offset.0)),
            Record::Release(release) => Self::Released(release.epoch),
            Record::Frame(frame) => Self::Owned(frame.epoch),
            Record::Event(event) => Self::Owned(event.epoch),
        };
    }

    /// Returns the claim that is in force.
    pub(crate) fn claim(self) -> Option<Offset> {
        match self {
            Self::Unknown | Self::Nobody => None,
            Self::Owned(epoch) | Self::Released(epoch) => Some(Offset(epoch.0)),
        }
    }
}
