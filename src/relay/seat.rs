//! A client that a copy has taken, until somebody takes the seat.

use crate::doc::{Content, Welcome};
use crate::relay::handle::Handle;
use crate::types::Revision;

/// A client that was taken; it leaves where nobody takes the seat.
pub(crate) struct Seat {
    pub(crate) handle: Handle,
    pub(crate) welcome: Option<Welcome>,
}

impl Seat {
    /// Has the owner tell the revisions since `from` where the copy is younger than that, so that
    /// the client needs no text.
    pub(crate) async fn resume(&mut self, from: Revision) {
        let Some(welcome) = &mut self.welcome else { return };
        if matches!(welcome.content, Content::Changes(_)) || from > welcome.head {
            return;
        }
        if let Ok(Some(mut changes)) = self.handle.ask_missed(from).await {
            // What came meanwhile is in the outbox.
            changes.retain(|change| change.rev <= welcome.head);
            (welcome.rev, welcome.content) = (from, Content::Changes(changes));
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(welcome) = &self.welcome {
            self.handle.leave(welcome.conn);
        }
    }
}
