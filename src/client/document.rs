//! A document at a client: edits are taken at once, and become durable whenever there is a server.
//!
//! ```text
//! connecting ──welcome──► online ──lost──► offline ──back-off──► connecting
//!      └───────refused──────┴──► failed
//! ```
//! One task owns the socket; the replica is shared with the caller under a short lock.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::replica::{
    Batch, Effects, Keep, Missed, Replica, Snapshot, StreamError, Welcome,
};
use crate::client::{Backoff, Connection, Error};
use crate::task::Tasks;
use crate::text::{Operation, OutOfBounds};
use crate::types::{DocId, SessionId};
use crate::wire::{self, CatchUp, ClientMessage, Codec, Hello, Mode, ServerMessage, User, VERSION};

/// How many changes a subscriber may be behind before it is told that it missed some.
const CHANGES_MAX: usize = 1024;

/// A server is given up that has been silent for so long: it pings every 30 s.
const SILENT_MAX: Duration = Duration::from_secs(75);

/// How a document is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers, `http://host:port`, tried in turn.
    pub urls: Vec<String>,
    /// The encoding.
    pub codec: Codec,
    /// What the client wants to do.
    pub mode: Mode,
    /// How it is shown to others.
    pub user: Option<User>,
}

impl Options {
    /// Returns the options for one server: the binary encoding, editing, no name.
    pub fn new(url: &str) -> Self {
        let urls = vec![url.to_owned()];
        Self { urls, codec: Codec::Binary, mode: Mode::Edit, user: None }
    }
}

/// Where the client is with its server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Not connected; the next try follows by itself.
    Offline,
    /// Connected and welcomed.
    Online,
    /// The server does not take the client: nothing more is tried.
    Failed(Error),
}

/// What happened to the view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// A change that was not made here.
    pub op: Operation,
}

/// One document, open for reading and editing.
pub struct Document {
    shared: Arc<Shared>,
    tasks: Tasks,
}

struct Shared {
    replica: Mutex<Replica>,
    outgoing: mpsc::UnboundedSender<Batch>,
    status: watch::Sender<Status>,
    durable: watch::Sender<u64>,
    shown: broadcast::Sender<Shown>,
}

impl Document {
    /// Opens a document; the connection is made, and kept, in the background.
    pub fn open(doc: DocId, options: Options) -> Self {
        let (outgoing, batches) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            replica: Mutex::new(Replica::new(Keep::Text)),
            outgoing,
            status: watch::Sender::new(Status::Offline),
            durable: watch::Sender::new(0),
            shown: broadcast::Sender::new(CHANGES_MAX),
        });
        let tasks = Tasks::new();
        let session = SessionId(rand::random());
        let link = Link { doc, options, session, shared: shared.clone(), batches };
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

    /// Edits what is seen here; never waits for the network.
    ///
    /// # Errors
    /// If the edit reaches past the end of the text.
    pub fn edit(&self, op: &Operation) -> Result<(), OutOfBounds> {
        let mut replica = self.shared.replica.lock();
        if let Some(batch) = replica.edit(op)? {
            // The link's task lives as long as this handle.
            let _ = self.shared.outgoing.send(batch);
        }
        Ok(())
    }

    /// Returns what is seen here; it costs the length of the text.
    pub fn text(&self) -> String {
        self.shared.replica.lock().view().expect("the replica keeps its text")
    }

    /// Returns the length of what is seen here.
    pub fn chars(&self) -> u64 {
        self.shared.replica.lock().view_chars()
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
    pub async fn wait_durable(&self) -> Result<(), Error> {
        let wanted = self.shared.replica.lock().edits();
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

/// The task that keeps a document connected.
struct Link {
    doc: DocId,
    options: Options,
    session: SessionId,
    shared: Arc<Shared>,
    batches: mpsc::UnboundedReceiver<Batch>,
}

impl Link {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        for url in self.options.urls.clone().iter().cycle() {
            let Err(error) = self.serve(url, &mut backoff).await;
            self.shared.replica.lock().disconnected();
            // What was to be sent is part of the replica's state and comes again after the welcome.
            while self.batches.try_recv().is_ok() {}
            match error {
                Error::Lost { reason, retry } => {
                    tracing::debug!(doc = %self.doc, %reason, "offline");
                    self.shared.status.send_replace(Status::Offline);
                    sleep(backoff.wait(retry)).await;
                }
                fatal @ (Error::Refused { .. } | Error::Url { .. }) => {
                    self.shared.status.send_replace(Status::Failed(fatal));
                    return;
                }
            }
        }
    }

    /// Connects and works until the connection ends.
    async fn serve(&mut self, url: &str, backoff: &mut Backoff) -> Result<Never, Error> {
        let hello = Hello {
            v: VERSION,
            session: self.session,
            rev: self.shared.replica.lock().resume_from(),
            mode: self.options.mode,
            ordered: false,
            user: self.options.user.clone(),
        };
        let opened = Connection::open(url, &self.doc, self.options.codec, hello).await?;
        let (mut connection, welcome) = opened;
        backoff.reset();
        let effects = self.shared.replica.lock().welcome(welcomed(welcome));
        self.carry_out(&mut connection, effects).await?;
        self.shared.status.send_replace(Status::Online);
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                biased;
                message = connection.receive() => {
                    heard = Instant::now();
                    if let Some(message) = message? {
                        self.take(&mut connection, message).await?;
                    }
                }
                Some(batch) = self.batches.recv() => send(&mut connection, batch).await?,
                () = sleep_until(heard + SILENT_MAX) => {
                    return Err(Error::lost("the server is silent"));
                }
            }
        }
    }

    async fn take(
        &mut self,
        connection: &mut Connection,
        message: ServerMessage,
    ) -> Result<(), Error> {
        let effects = match message {
            ServerMessage::Op { rev, base, op, .. } => {
                self.shared.replica.lock().remote(rev, base, op).map(shown)
            }
            ServerMessage::Ops { rev, list } => {
                let mut replica = self.shared.replica.lock();
                let mut all = Effects::default();
                for (next, edit) in (rev.0..).zip(list) {
                    let rev = crate::types::Revision(next);
                    all.show.push(replica.remote(rev, edit.base, edit.op).map_err(Error::lost)?);
                }
                Ok(all)
            }
            ServerMessage::Merged { rev, op } => {
                self.shared.replica.lock().merged(rev, op).map(shown)
            }
            ServerMessage::Ack { seq, rev, op } => self.shared.replica.lock().ack(seq, rev, op),
            ServerMessage::Error { fatal: false, retry, .. } => {
                if let Some(retry) = retry {
                    sleep(Duration::from(retry)).await;
                }
                let send = self.shared.replica.lock().resend();
                Ok(Effects { show: Vec::new(), send })
            }
            ServerMessage::Error { code, msg, retry, .. } => {
                return Err(Error::told(code, msg, retry.map(Duration::from)));
            }
            ServerMessage::Moved { retry, .. } => {
                let reason = "the document changes its node".to_owned();
                return Err(Error::Lost { reason, retry: Some(retry.into()) });
            }
            ServerMessage::Welcome(_)
            | ServerMessage::Ordered { .. }
            | ServerMessage::Presence { .. }
            | ServerMessage::Pong { .. } => return Ok(()),
        };
        self.carry_out(connection, effects).await
    }

    async fn carry_out(
        &self,
        connection: &mut Connection,
        effects: Result<Effects, StreamError>,
    ) -> Result<(), Error> {
        let Effects { show, send: batch } = effects.map_err(Error::lost)?;
        for op in show.into_iter().filter(|op| !op.is_identity()) {
            // Nobody may be subscribed.
            let _ = self.shared.shown.send(Shown { op });
        }
        let durable = self.shared.replica.lock().durable_edits();
        self.shared.durable.send_if_modified(|edits| std::mem::replace(edits, durable) != durable);
        match batch {
            Some(batch) => send(connection, batch).await,
            None => Ok(()),
        }
    }
}

/// What never comes: a link ends by an error only.
enum Never {}

async fn send(connection: &mut Connection, batch: Batch) -> Result<(), Error> {
    let Batch { seq, base, op } = batch;
    connection.send(&ClientMessage::Op { seq, base, op }).await
}

fn shown(op: Operation) -> Effects {
    Effects { show: vec![op], send: None }
}

/// Turns a welcome off the wire into the replica's.
pub(crate) fn welcomed(welcome: wire::Welcome) -> Welcome {
    let missed = |edit: wire::PastEdit| Missed { base: edit.base, op: edit.op, own: edit.own };
    let snapshot = match welcome.catch_up {
        CatchUp::Text(text) => Snapshot::Text(text),
        CatchUp::Ops(list) => {
            Snapshot::Missed { after: welcome.rev, list: list.into_iter().map(missed).collect() }
        }
    };
    let op_bytes = usize::try_from(welcome.limits.op_bytes).unwrap_or(usize::MAX);
    Welcome { head: welcome.head, seq: welcome.seq, op_bytes, snapshot }
}
