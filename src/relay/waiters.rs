//! Those who wait until a copy follows its owner. The owner is asked for the first of them, and
//! where that one may not read, for the next: nothing comes here for somebody who may not see it.

use std::collections::VecDeque;

use tokio::sync::oneshot;

use crate::access::Asker;
use crate::doc::{Mode, Refusal};
use crate::relay::handle::Handle;
use crate::relay::message::Who;
use crate::types::Author;

/// Who is behind a copy, and what they want to do.
#[derive(Debug, Clone)]
pub(crate) struct Behind {
    pub(crate) asker: Asker,
    pub(crate) mode: Mode,
}

impl Behind {
    /// Returns somebody who may do everything: a node of version 2 does not say who it is.
    pub(crate) fn anybody() -> Self {
        Self { asker: Asker::anything(), mode: Mode::Edit }
    }

    /// Returns what the owner is told of them.
    pub(crate) fn who(&self) -> Who {
        let Asker { subject, granted } = self.asker.clone();
        Who { subject, granted, name: Author::anonymous() }
    }
}

/// Where somebody who waits is told the way to the document.
pub(crate) type Reply = oneshot::Sender<Result<Handle, Refusal>>;

/// Whoever waits, in the order in which they came.
pub(crate) struct Waiters(VecDeque<(Behind, Reply)>);

impl Waiters {
    pub(crate) fn first(behind: Behind, reply: Reply) -> Self {
        Self(VecDeque::from([(behind, reply)]))
    }

    pub(crate) fn add(&mut self, behind: Behind, reply: Reply) {
        self.0.push_back((behind, reply));
    }

    /// Turns the first one away, and returns for whom the owner is to be asked next.
    pub(crate) fn turn_away(&mut self, refusal: Refusal) -> Option<&Behind> {
        if let Some((_, reply)) = self.0.pop_front() {
            // Whoever asked may have gone.
            let _ = reply.send(Err(refusal));
        }
        self.0.retain(|(_, reply)| !reply.is_closed());
        self.0.front().map(|(behind, _)| behind)
    }

    /// Tells all of them the same.
    pub(crate) fn tell(self, told: impl Fn() -> Result<Handle, Refusal>) {
        for (_, reply) in self.0 {
            // Whoever asked may have gone.
            let _ = reply.send(told());
        }
    }
}

/// Tells whether a refusal is about the one for whom the owner was asked, and not about the
/// document or the way to it.
pub(crate) fn is_for_one(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Denied(_) | Refusal::NoDocument)
}
