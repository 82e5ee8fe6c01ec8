//! The keys that are configured: those of files, which are read again while the node serves.

use std::future::pending;
use std::sync::Arc;

use tokio::sync::watch;

use crate::auth::keys::KeySet;

/// Holds the newest keys that are configured.
#[derive(Debug, Clone)]
pub struct OwnKeys(watch::Receiver<Arc<KeySet>>);

impl OwnKeys {
    /// Returns what holds these keys, and what puts others in their place.
    pub fn new(keys: KeySet) -> (watch::Sender<Arc<KeySet>>, Self) {
        let (publish, held) = watch::channel(Arc::new(keys));
        (publish, Self(held))
    }

    /// Returns the keys.
    pub fn keys(&self) -> Arc<KeySet> {
        self.0.borrow().clone()
    }

    /// Waits until they are others; where nothing changes them, for ever.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            pending::<()>().await;
        }
    }
}

/// Keys that stay as they are.
impl From<KeySet> for OwnKeys {
    fn from(keys: KeySet) -> Self {
        Self::new(keys).1
    }
}
