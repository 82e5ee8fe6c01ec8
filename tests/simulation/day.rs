//! How far the day of a run has come. Not a `watch`: that wakes those who wait in random order.

use std::sync::Mutex;

use quire::types::Revision;
use tokio::sync::Notify;

/// A part of the day.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) enum Stage {
    /// Everybody writes, and everything fails.
    #[default]
    Morning,
    /// Everybody writes once more.
    Afternoon,
    /// All go to these revisions, and then home.
    Evening(Vec<Revision>),
}

/// Tells everybody what time of the day it is.
#[derive(Debug, Default)]
pub(crate) struct Day {
    stage: Mutex<Stage>,
    turned: Notify,
}

impl Day {
    pub(crate) fn stage(&self) -> Stage {
        self.stage.lock().expect("nobody panicked").clone()
    }

    pub(crate) fn turn(&self, stage: Stage) {
        *self.stage.lock().expect("nobody panicked") = stage;
        self.turned.notify_waiters();
    }

    /// Waits for the next turn after this call, whenever the answer is first asked for.
    pub(crate) fn turned(&self) -> impl Future<Output = ()> {
        self.turned.notified()
    }
}
