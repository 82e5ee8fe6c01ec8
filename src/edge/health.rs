//! Whether the node is ready for traffic; alive it is while it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells load balancers whether to send traffic here.
#[derive(Clone, Debug, Default)]
pub struct Health {
    ready: Arc<AtomicBool>,
}

impl Health {
    /// Notes that the node serves, or that it is about to stop.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Tells whether the node serves.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
