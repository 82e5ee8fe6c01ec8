//! Whoever has dialled the peer port and has not said yet who it is.
//!
//! A node says so at once. Where many strangers say nothing, the one that has waited longest makes
//! room, so that a node always finds a place, from whatever address they come.

use std::collections::{HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::relay::error::HelloError;

/// How many there are at once.
const WAITING_MAX: usize = 128;

/// How many reasons are remembered; then all are forgotten, and logged once more.
const KNOWN_MAX: usize = 1_024;

/// Knows all strangers of a port.
#[derive(Default)]
pub(crate) struct Strangers {
    waiting: Mutex<VecDeque<CancellationToken>>,
    /// Whose connections were not taken, and why: each is logged once.
    known: Mutex<HashSet<(IpAddr, &'static str)>>,
}

/// One of them; its place goes with this.
pub(crate) struct Stranger {
    strangers: Arc<Strangers>,
    end: CancellationToken,
}

impl Strangers {
    /// Gives one that has just come a place.
    pub(crate) fn enter(self: &Arc<Self>) -> Stranger {
        let end = CancellationToken::new();
        let mut waiting = self.waiting.lock();
        if waiting.len() >= WAITING_MAX
            && let Some(longest) = waiting.pop_front()
        {
            longest.cancel();
        }
        waiting.push_back(end.clone());
        Stranger { strangers: self.clone(), end }
    }

    /// Takes note of a connection that is not taken.
    pub(crate) fn note(&self, from: SocketAddr, error: &HelloError) {
        let mut known = self.known.lock();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        if known.insert((from.ip(), error.reason())) {
            warn!(%from, reason = %error, "a connection to the peer port is not taken");
        } else {
            debug!(%from, reason = %error, "a connection to the peer port is not taken");
        }
    }
}

impl Stranger {
    /// Greets the stranger for as long as it has its place.
    pub(crate) async fn keep<T>(
        &self,
        greeting: impl Future<Output = Result<T, HelloError>>,
    ) -> Result<T, HelloError> {
        let greeted = self.end.run_until_cancelled(greeting).await;
        greeted.unwrap_or(Err(HelloError::Displaced))
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        // Tokens are told apart by what is cancelled with them.
        self.end.cancel();
        self.strangers.waiting.lock().retain(|end| !end.is_cancelled());
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn who_has_waited_longest_makes_room() {
        let strangers = Arc::<Strangers>::default();
        let places: Vec<_> = (0..WAITING_MAX).map(|_| strangers.enter()).collect();
        assert_eq!(places[0].keep(ready(Ok(()))).await, Ok(()));
        let newer = [strangers.enter(), strangers.enter()];
        for place in &places[..2] {
            assert_eq!(place.keep(pending::<Result<(), _>>()).await, Err(HelloError::Displaced));
        }
        for place in places[2..].iter().chain(&newer) {
            assert_eq!(place.keep(ready(Ok(()))).await, Ok(()));
        }
        // Whoever goes makes room, too.
        drop(places);
        assert_eq!(strangers.waiting.lock().len(), 2);
    }
}
