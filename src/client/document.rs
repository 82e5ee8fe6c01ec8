//! A document at a client: edits are taken at once, and become durable whenever there is a server.
//!
//! ```text
//! connecting ──welcome──► online ──lost──► offline ──back-off, another token──► connecting
//!      └───────refused──────┴──► failed
//! ```
//! A token that is not taken any more (4401) is read again until there is another one, for a
//! minute: whoever renews it may come late. A first one that is not taken fails at once.
//!
//! One task owns the socket (`link`); the replica is shared with the caller under a short lock, so
//! that an edit never waits for the network.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast, watch};

use crate::client::link::Link;
use crate::client::observer::{Seen, Watcher};
use crate::client::replica::{Batch, Effects, Keep, Replica, StreamError};
use crate::client::{Credentials, Error};
use crate::task::Tasks;
use crate::text::{Operation, OutOfBounds};
use crate::types::{DocId, ParticipantId, Revision, SessionId};
use crate::wire::{Codec, Mode, User};

/// How many changes a subscriber may be behind before it is told that it missed some.
const CHANGES_MAX: usize = 1024;

/// How a document is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers, `http://host:port` or `https://host`, tried in turn.
    pub urls: Vec<String>,
    /// What is shown to them, and by what they are believed.
    pub credentials: Credentials,
    /// The encoding.
    pub codec: Codec,
    /// What the client wants to do.
    pub mode: Mode,
    /// How it is shown to others.
    pub user: Option<User>,
    /// Who is told what the client sees.
    pub watcher: Option<Watcher>,
}

impl Options {
    /// Returns the options for one server: no token, the binary encoding, editing, no name.
    pub fn new(url: &str) -> Self {
        Self {
            urls: vec![url.to_owned()],
            credentials: Credentials::default(),
            codec: Codec::Binary,
            mode: Mode::Edit,
            user: None,
            watcher: None,
        }
    }
}

/// Where the client is with its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not connected; the next try follows by itself.
    Offline,
    /// Connected and welcomed.
    Online,
    /// The server does not take the client: nothing more is tried. What was written stays here.
    Failed(Error),
}

/// Why an edit was not taken; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// It does not fit the text.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    /// The document was opened for viewing.
    #[error("the document was opened for viewing: open it with Mode::Edit to write")]
    ReadOnly,
}

/// What happened to the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// A change that was not made here.
    pub op: Operation,
}

/// What is seen at one moment, while an edit is made of it.
#[derive(Debug)]
pub struct View<'a> {
    replica: &'a Replica,
}

/// One document, open for reading and editing; dropping it ends its connection.
pub struct Document {
    shared: Arc<Shared>,
    tasks: Tasks,
}

/// What the handle and the link have in common.
pub(crate) struct Shared {
    doc: DocId,
    participant: ParticipantId,
    watcher: Option<Watcher>,
    mode: Mode,
    local: Mutex<Local>,
    /// Tells the link that there is a batch to send.
    pub(crate) unsent: Notify,
    pub(crate) status: watch::Sender<Status>,
    durable: watch::Sender<u64>,
    shown: broadcast::Sender<Shown>,
}

struct Local {
    replica: Replica,
    /// The batch in flight where the link has not sent it yet.
    unsent: Option<Batch>,
}

impl Document {
    /// Opens a document; the connection is made, and kept, in the background.
    pub fn open(doc: DocId, options: Options) -> Self {
        let session = SessionId(rand::random());
        let shared = Arc::new(Shared {
            doc: doc.clone(),
            participant: session.participant(),
            watcher: options.watcher.clone(),
            mode: options.mode,
            local: Mutex::new(Local { replica: Replica::new(Keep::Text), unsent: None }),
            unsent: Notify::new(),
            status: watch::Sender::new(Status::Offline),
            durable: watch::Sender::new(0),
            shown: broadcast::Sender::new(CHANGES_MAX),
        });
        let tasks = Tasks::new();
        let link = Link::new(doc, options, session, shared.clone());
        let token = tasks.token().clone();
        tasks.spawn("document", async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = link.run() => {}
            }
        });
        Self { shared, tasks }
    }

    /// Edits what is seen here; never waits for the network. What others write may come between a
    /// look at the text and this call: [`Document::change`] does both at once.
    ///
    /// # Errors
    /// If the edit reaches past the end of the text, or the document was opened for viewing.
    pub fn edit(&self, op: &Operation) -> Result<(), EditError> {
        self.shared.edit(&mut self.shared.local.lock(), op)
    }

    /// Looks and edits at once: nothing of others comes between, and everything that was shown
    /// before is in the subscribers' channels. `make` must not use the document itself.
    ///
    /// # Errors
    /// If the edit reaches past the end of the text, or the document was opened for viewing.
    pub fn change(&self, make: impl FnOnce(View<'_>) -> Operation) -> Result<(), EditError> {
        let mut local = self.shared.local.lock();
        let op = make(View { replica: &local.replica });
        self.shared.edit(&mut local, &op)
    }

    /// Returns what is seen here; it costs the length of the text.
    pub fn text(&self) -> String {
        View { replica: &self.shared.local.lock().replica }.text()
    }

    /// Tells the watcher the text, if every edit is durable; tells whether that was so.
    pub fn witness(&self) -> bool {
        let local = self.shared.local.lock();
        if !local.replica.is_settled() {
            return false;
        }
        let (rev, text) = (local.replica.revision(), View { replica: &local.replica }.text());
        self.shared.saw(Seen::Text { rev, text });
        true
    }

    /// Returns the length of what is seen here.
    pub fn chars(&self) -> u64 {
        View { replica: &self.shared.local.lock().replica }.chars()
    }

    /// Follows the connection.
    pub fn status(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Follows the changes of the view that are not made here. A subscriber that lags more than
    /// 1,024 behind is told so and looks at [`Document::text`].
    pub fn subscribe(&self) -> broadcast::Receiver<Shown> {
        self.shared.shown.subscribe()
    }

    /// Waits until everything edited so far is durable.
    ///
    /// # Errors
    /// Where the server does not take the client.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn wait_durable(&self) -> Result<(), Error> {
        let wanted = self.shared.local.lock().replica.edits();
        let (mut durable, mut status) = (self.shared.durable.subscribe(), self.status());
        tokio::select! {
            biased;
            reached = durable.wait_for(|edits| *edits >= wanted) => {
                reached.map(drop).map_err(Error::lost)
            }
            failed = status.wait_for(|status| matches!(status, Status::Failed(_))) => {
                match failed.map_err(Error::lost)?.clone() {
                    Status::Failed(error) => Err(error),
                    Status::Offline | Status::Online => Ok(()),
                }
            }
        }
    }

    /// Ends the connection; what is not durable by then is lost.
    pub async fn close(self) {
        self.tasks.stop().await;
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl View<'_> {
    /// Returns the text; it costs its length.
    pub fn text(&self) -> String {
        self.replica.view().expect("the replica keeps its text")
    }

    /// Returns the length of the text.
    pub fn chars(&self) -> u64 {
        self.replica.view_chars()
    }
}

impl Shared {
    fn edit(&self, local: &mut Local, op: &Operation) -> Result<(), EditError> {
        if self.mode == Mode::View {
            return Err(EditError::ReadOnly);
        }
        if let Some(batch) = local.replica.edit(op)? {
            local.unsent = Some(batch);
            self.unsent.notify_one();
        }
        self.tell_durable(&local.replica);
        Ok(())
    }

    /// Gives the replica something off the connection; returns what is to be sent.
    pub(crate) fn apply(
        &self,
        message: impl FnOnce(&mut Replica) -> Result<Effects, StreamError>,
    ) -> Result<Option<Batch>, StreamError> {
        let mut local = self.local.lock();
        let Effects { show, send } = message(&mut local.replica)?;
        if send.is_some() {
            // It is the batch in flight, so there is no other one.
            local.unsent = None;
        }
        // Under the lock, so that subscribers see changes in the order of edits.
        for op in show.into_iter().filter(|op| !op.is_identity()) {
            // Nobody may be subscribed.
            let _ = self.shown.send(Shown { op });
        }
        self.tell_durable(&local.replica);
        Ok(send)
    }

    /// Returns the revision that the replica has.
    pub(crate) fn revision(&self) -> Revision {
        self.local.lock().replica.revision()
    }

    /// Tells the watcher, if there is one.
    pub(crate) fn saw(&self, seen: Seen) {
        if let Some(Watcher(observer)) = &self.watcher {
            observer.saw(&self.doc, self.participant, seen);
        }
    }

    /// Takes the batch that waits for the link.
    pub(crate) fn take_unsent(&self) -> Option<Batch> {
        self.local.lock().unsent.take()
    }

    /// Takes note that the connection is gone. What was to be sent stays part of the replica's
    /// state and comes again after the next welcome.
    pub(crate) fn disconnected(&self) {
        let mut local = self.local.lock();
        local.replica.disconnected();
        local.unsent = None;
    }

    /// An edit that undoes others settles them without a message; a later one unsettles nothing.
    fn tell_durable(&self, replica: &Replica) {
        let now = replica.durable_edits();
        self.durable.send_if_modified(|edits| {
            let rises = now > *edits;
            *edits = now.max(*edits);
            rises
        });
    }
}
