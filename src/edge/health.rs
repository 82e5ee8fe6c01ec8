//! Whether the node is ready for traffic; alive it is while it answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Tells load balancers whether to send traffic here.
#[derive(Clone, Default)]
pub struct Health {
    serves: Arc<AtomicBool>,
    suspended: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
}

/// Tells whether a node is to get traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Ready,
    /// It does not serve yet, or is about to stop.
    Stopping,
    /// It is one of a cluster and does not hear of itself, so that its documents take nothing.
    Suspended,
}

impl Health {
    /// Begins with a node that does not serve yet, and asks whether it is suspended.
    pub fn of(suspended: Arc<dyn Fn() -> bool + Send + Sync>) -> Self {
        Self { serves: Arc::default(), suspended: Some(suspended) }
    }

    /// Notes that the node serves, or that it is about to stop.
    pub fn set_ready(&self, ready: bool) {
        self.serves.store(ready, Ordering::Release);
    }

    /// Tells whether the node is to get traffic.
    pub fn readiness(&self) -> Readiness {
        if !self.serves.load(Ordering::Acquire) {
            return Readiness::Stopping;
        }
        let suspended = self.suspended.as_ref().is_some_and(|suspended| suspended());
        if suspended { Readiness::Suspended } else { Readiness::Ready }
    }
}
