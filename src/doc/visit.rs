//! Requests that come and go: a document stays open while one is about it, and no longer than that
//! where there is no document.

use tokio::sync::oneshot;

use crate::doc::Handle;
use crate::doc::actor::Running;

/// A request about a document, which is not closed for want of use while this lasts.
#[derive(Debug)]
pub struct Visit {
    handle: Handle,
}

impl Visit {
    /// Returns the way to the document.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.handle.end_visit();
    }
}

impl Running {
    pub(in crate::doc) fn visited(&mut self, handle: Handle, reply: oneshot::Sender<Visit>) {
        self.visits += 1;
        // Where whoever asked has gone, the visit ends at once.
        let _ = reply.send(Visit { handle });
    }

    pub(in crate::doc) fn visit_over(&mut self) {
        self.visits -= 1;
        self.let_go_if_nothing();
        self.watch_idle();
    }

    /// Tells whether nobody is here and nothing is open.
    pub(in crate::doc) fn is_unused(&self) -> bool {
        self.state.is_idle() && self.visits == 0
    }

    /// Lets go of a document that was only looked for, and never was there: whoever asks for names
    /// would fill the memory with them.
    pub(in crate::doc) fn let_go_if_nothing(&self) {
        let unused = self.is_unused() && self.audience.is_empty() && !self.saving.is_running();
        if unused && self.state.is_nothing() {
            self.ports.shard.idle(self.state.doc());
        }
    }
}
