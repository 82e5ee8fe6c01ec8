//! What a document shows to everybody, and who is told that it has changed.
//!
//! Nobody's session is behind this: it is what a page of the document may show that is kept by
//! caches, whoever asked for it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::access::Visibility;
use crate::doc::actor::Running;
use crate::types::{DocId, LogId, Revision};

/// Tells at which revision of which log a document stands that all may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// The newest durable revision.
    pub head: Revision,
    /// The log that numbered it.
    pub log: LogId,
}

/// Says which documents all may read, and who is told that they have changed.
#[derive(Clone, Default)]
pub struct Public {
    /// Whether it is all of them: everybody may do everything.
    pub all: bool,
    /// Who is told.
    pub herald: Option<Arc<dyn Herald>>,
}

/// Is told which documents show something else to everybody than before, so that caches are.
pub trait Herald: Send + Sync {
    /// Notes that a document has changed that all may or might read. It is called before those who
    /// wait for the change are answered: it may not wait, and does next to nothing.
    fn changed(&self, doc: &DocId);
}

impl Running {
    /// Returns at which revision the document stands, where all may read it.
    fn shown(&self) -> Option<Shown> {
        self.is_public().then(|| Shown { head: self.state.head(), log: self.ports.log })
    }

    /// Tells whether all may read the document.
    fn is_public(&self) -> bool {
        let is_theirs = match self.state.access().visibility {
            Visibility::Public => true,
            Visibility::Private => self.ports.public.all,
        };
        self.state.exists() && is_theirs
    }

    pub(in crate::doc) fn page(&self) -> Option<(Shown, String)> {
        self.shown().map(|shown| (shown, self.state.text()))
    }

    pub(in crate::doc) fn tell_what_is_shown(&self, reply: oneshot::Sender<Option<Shown>>) {
        // Whoever asked may have gone.
        let _ = reply.send(self.shown());
        self.let_go_if_nothing();
    }

    /// Does something, and tells the herald where the document shows something else than before.
    pub(in crate::doc) fn telling_herald(&mut self, act: impl FnOnce(&mut Self)) {
        let before = self.shown();
        act(self);
        if let Some(herald) = &self.ports.public.herald
            && self.shown() != before
        {
            herald.changed(self.state.doc());
        }
    }

    /// Tells the herald of what the document's last owner may not have told any more: it ended
    /// before the document was in a checkpoint. What all might read then nobody knows.
    pub(in crate::doc) fn tell_herald_of_the_rest(&self) {
        if let Some(herald) = &self.ports.public.herald
            && self.state.is_unsaved()
        {
            herald.changed(self.state.doc());
        }
    }
}
