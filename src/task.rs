//! Named tasks with an owner: spawned here, cancelled by a token, awaited at shutdown.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Ends the process where it cannot go on without risking what it has promised.
#[derive(Clone, Debug, Default)]
pub struct Fatal {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl Fatal {
    /// Tells that the process has to end, and why; the first reason is kept.
    pub fn stop_with(&self, reason: &str) {
        self.reason.get_or_init(|| reason.to_owned());
        self.token.cancel();
    }

    /// Waits until the process has to end, and tells why.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn wait(&self) -> &str {
        self.token.cancelled().await;
        self.reason.get().map_or("no reason was given", String::as_str)
    }
}

/// Owns a group of tasks: they see one shutdown token and are awaited together.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
}

impl Tasks {
    /// Returns an empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a group that is told to stop when this one is, and can be stopped before it.
    pub fn child(&self) -> Self {
        Self { tracker: TaskTracker::new(), token: self.token.child_token() }
    }

    /// Returns the token that is cancelled when the group is to stop.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Starts a task of the group under a name that its log lines carry.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let span = tracing::debug_span!("task", name);
        tokio::spawn(self.tracker.track_future(future.instrument(span)))
    }

    /// Runs blocking or long work off the async threads and returns what it gives. On a runtime of
    /// one thread it runs right here, so that a simulation is the same every time.
    ///
    /// # Panics
    /// If the work panics, the panic goes on here.
    pub async fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return work();
        }
        match tokio::task::spawn_blocking(work).await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Tells the group to stop and waits until every task has ended.
    pub async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}
