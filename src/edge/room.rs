//! Room in memory that all share: that of the bodies that are read, and that of the answers that
//! are on their way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// When a request may come again that finds no room.
pub(in crate::edge) const RETRY: Duration = Duration::from_secs(1);

/// So much room, in KiB.
#[derive(Debug)]
pub struct Pool {
    kib: u32,
    left: Arc<Semaphore>,
}

impl Pool {
    /// Returns so much, at most [`Semaphore::MAX_PERMITS`].
    pub fn new(kib: usize) -> Self {
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        Self { kib, left: Arc::new(Semaphore::new(kib as usize)) }
    }

    /// Takes so much, where it is left: what is longer than all takes all.
    pub(in crate::edge) fn take(&self, kib: u32) -> Option<OwnedSemaphorePermit> {
        self.left.clone().try_acquire_many_owned(kib.min(self.kib)).ok()
    }
}

/// Returns how much room so many bytes take, in KiB.
pub(in crate::edge) fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX)
}
