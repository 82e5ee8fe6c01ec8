//! The way to a document for the rest of the program: typed methods, room before messages.

use std::sync::Arc;
use std::time::Duration;

use ractor::ActorRef;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use crate::access::{Access, Asker, Right, Rights};
use crate::doc::actor::Message;
use crate::doc::join::Seat;
use crate::doc::{
    Batch, Change, ConnId, Failure, Mode, Outbox, Past, Refusal, Shown, User, Visit, Write,
};
use crate::log::{Record, entry_bytes_max};
use crate::types::{Author, DocId, Epoch, Offset, ParticipantId, Revision, Seq, SessionId};

/// Reaches one open document; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    doc: DocId,
    actor: ActorRef<Message>,
    permits: Arc<Semaphore>,
    permits_max: usize,
    budget: Budget,
}

/// Asks for a connection to a document.
pub struct Join {
    /// The client's session.
    pub session: SessionId,
    /// The client's socket.
    pub socket: Socket,
    /// Who asks.
    pub asker: Asker,
    /// The last revision that the client has.
    pub rev: Option<Revision>,
    /// Whether it is this server that knows so. A client's own word is taken of those who may write
    /// or see the history: what was written since may have been deleted again.
    pub resumes: bool,
    /// What the client wants to do: without the right to write it gets [`Mode::View`].
    pub mode: Mode,
    /// Whether it wants to know when a batch is ordered.
    pub ordered: bool,
    /// How it is shown to others.
    pub user: Option<User>,
    /// Under which name its batches are kept.
    pub author: Author,
    /// The copy of another node that tells it everything but what is for it alone.
    pub through: Option<ConnId>,
    /// Whether the content of its welcome is left out: nobody reads it, or a copy has it.
    pub without_content: bool,
    /// Where it is told what happens.
    pub outbox: Arc<dyn Outbox>,
}

/// Names a client's socket, at whichever node it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Socket {
    /// Tells it from other connections of its session.
    pub id: u64,
    /// The socket whose place it takes: its client has shown that it is at this one since that one
    /// was taken. A join may come late, when its client is somewhere else already, so that the
    /// last one to come need not be the newest.
    pub replaces: Option<u64>,
}

impl Join {
    /// Tells whether a client with these rights may have revisions since one that it names.
    pub fn sees_past(&self, rights: Rights) -> bool {
        self.resumes || rights.has(Right::Write) || rights.has(Right::History)
    }

    /// Returns what asks for a whole document, to edit it without a name and with every right.
    pub fn new(session: SessionId, outbox: Arc<dyn Outbox>) -> Self {
        Self {
            session,
            socket: Socket::default(),
            asker: Asker::anything(),
            rev: None,
            resumes: false,
            mode: Mode::Edit,
            ordered: false,
            user: None,
            author: Author::anonymous(),
            through: None,
            without_content: false,
            outbox,
        }
    }
}

/// Asks to be told everything, for a copy of the document on another node.
pub struct Listen {
    /// Who is behind the copy.
    pub asker: Asker,
    /// What they want to do.
    pub mode: Mode,
    /// The last revision that the copy has.
    pub from: Option<Revision>,
    /// Where it is told what happens.
    pub outbox: Arc<dyn Outbox>,
}

/// Answers a [`Listen`].
#[derive(Debug)]
pub struct Heard {
    /// Names the copy from now on.
    pub conn: ConnId,
    /// The newest durable revision; events go on after it.
    pub head: Revision,
    /// What the copy needs to be at `head`.
    pub content: Content,
}

/// Answers a [`Join`].
#[derive(Debug)]
pub struct Welcome {
    /// Names the connection from now on.
    pub conn: ConnId,
    /// The revision that the content begins at: the text's, or the one before the first change.
    pub rev: Revision,
    /// The newest durable revision; events go on after it.
    pub head: Revision,
    /// The session's last durable batch.
    pub seq: Seq,
    /// What the client needs to be at `head`.
    pub content: Content,
    /// What was granted.
    pub mode: Mode,
    /// The client's public id.
    pub you: ParticipantId,
}

/// What brings a client to the newest durable revision.
#[derive(Debug)]
pub enum Content {
    /// The whole text.
    Text(String),
    /// The revisions it has missed.
    Changes(Vec<Arc<Change>>),
}

/// What became of the records that a document handed over.
#[derive(Debug)]
pub enum Outcome {
    /// The oldest open one is accepted, at this offset.
    Accepted(Offset),
    /// A record of the document was found in the log when the shard was claimed again.
    Recovered(Offset, Arc<Record>),
    /// The shard was claimed again: what is open now was not written.
    Reclaimed(Epoch),
    /// The log takes no record as long as one that is open, which was not written.
    TooLong,
    /// The log cannot be written for the time being; what is open stays open.
    Stalled,
    /// Another node owns the shard.
    Fenced,
}

/// The document is closed: open it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the document was closed meanwhile")]
pub struct Closed;

/// The room that the batches of all documents of a node take together.
#[derive(Debug, Clone)]
pub struct Budget {
    permits: Arc<Semaphore>,
    bytes: usize,
}

impl Budget {
    /// Returns room for so many bytes, at least one and at most 4 GiB.
    pub fn new(bytes: u64) -> Self {
        let bytes = usize::try_from(bytes.clamp(1, u32::MAX.into())).unwrap_or(usize::MAX);
        Self { permits: Arc::new(Semaphore::new(bytes)), bytes }
    }
}

/// The room that a batch takes until it is settled: of its document's, and of all documents'.
#[derive(Debug)]
pub struct Room {
    #[expect(dead_code, reason = "held, not read")]
    own: OwnedSemaphorePermit,
    #[expect(dead_code, reason = "held, not read")]
    shared: OwnedSemaphorePermit,
}

/// Tells why a document did not take something over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is closed: open it again.
    #[error("the document was closed meanwhile")]
    Closed,
    /// There was no room in its queue for a while.
    #[error(transparent)]
    Full(Refusal),
}

/// How long a batch waits for room in the document's queue.
const ROOM_MAX: Duration = Duration::from_secs(1);

impl Handle {
    pub(in crate::doc) fn new(
        doc: DocId,
        actor: ActorRef<Message>,
        permits_max: usize,
        budget: Budget,
    ) -> Self {
        let permits_max = permits_max.min(budget.bytes);
        let permits = Arc::new(Semaphore::new(permits_max));
        Self { doc, actor, permits, permits_max, budget }
    }

    /// Returns the document's id.
    pub fn doc(&self) -> &DocId {
        &self.doc
    }

    /// Connects a client.
    ///
    /// # Errors
    /// [`Closed`] outside where the document must be opened again, a [`Refusal`] inside where it
    /// does not take the client.
    pub async fn join(&self, join: Join) -> Result<Result<Welcome, Refusal>, Closed> {
        let seat = self.ask(|reply| Message::Join(join, reply)).await?;
        Ok(seat.map(Seat::take))
    }

    /// Has a copy on another node told everything.
    ///
    /// # Errors
    /// [`Closed`] outside where the document must be opened again, a [`Refusal`] inside where it
    /// does not take whoever is behind the copy.
    pub async fn listen(&self, listen: Listen) -> Result<Result<Heard, Refusal>, Closed> {
        self.ask(|reply| Message::Listen(listen, reply)).await
    }

    /// Hands a batch over, once there is room for it; what becomes of it is told to the outbox.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing of the batch was taken.
    ///
    /// # Cancel safety
    /// A call that is dropped while it waits for room has not handed the batch over.
    pub async fn submit(
        &self,
        conn: ConnId,
        mut batch: Batch,
        bytes: usize,
    ) -> Result<(), NotTaken> {
        batch.permit = Some(self.room(bytes).await?);
        self.send(Message::Submit(conn, batch)).map_err(|Closed| NotTaken::Closed)
    }

    /// Hands a batch over as [`Self::submit`] does, to be refused with `BadBase` unless its base is
    /// the newest revision.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing of the batch was taken.
    pub async fn submit_on_head(
        &self,
        conn: ConnId,
        mut batch: Batch,
        bytes: usize,
    ) -> Result<(), NotTaken> {
        batch.permit = Some(self.room(bytes).await?);
        self.send(Message::SubmitOnHead(conn, batch)).map_err(|Closed| NotTaken::Closed)
    }

    /// Waits for room in the document's queue, and not for long.
    async fn room(&self, bytes: usize) -> Result<Room, NotTaken> {
        let room = u32::try_from(bytes.clamp(1, self.permits_max)).unwrap_or(u32::MAX);
        let waiting = async {
            let own = self.permits.clone().acquire_many_owned(room).await?;
            let shared = self.budget.permits.clone().acquire_many_owned(room).await?;
            Ok::<_, AcquireError>(Room { own, shared })
        };
        match timeout(ROOM_MAX, waiting).await {
            Ok(room) => room.map_err(|_| NotTaken::Closed),
            Err(_) => Err(NotTaken::Full(Refusal::Full { retry: ROOM_MAX })),
        }
    }

    /// Notes a client's selection, made at a revision.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn place(
        &self,
        conn: ConnId,
        rev: Revision,
        sel: Option<(u64, u64)>,
    ) -> Result<(), Closed> {
        self.send(Message::Place(conn, rev, sel))
    }

    /// Ends a connection.
    pub fn leave(&self, conn: ConnId) {
        // A document that is closed has no connections.
        let _ = self.send(Message::Leave(conn));
    }

    /// Returns the revisions after `from` for a connection, or nothing where they are no longer at
    /// hand.
    ///
    /// # Errors
    /// [`Closed`], also where the connection is over.
    pub async fn missed(
        &self,
        conn: ConnId,
        from: Revision,
    ) -> Result<Option<Vec<Arc<Change>>>, Closed> {
        self.ask(|reply| Message::Missed(conn, from, reply)).await
    }

    /// Keeps the document open for a request, for as long as what is returned lasts.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn visit(&self) -> Result<Visit, Closed> {
        let visitor = self.clone();
        self.ask(|reply| Message::Visit(visitor, reply)).await
    }

    pub(in crate::doc) fn end_visit(&self) {
        // A document that is closed has no visits.
        let _ = self.send(Message::VisitOver);
    }

    /// Returns how many clients are connected, also through other nodes.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn clients(&self) -> Result<usize, Closed> {
        self.ask(Message::Clients).await
    }

    /// Returns at which revision the document stands, where all may read it.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn shown(&self) -> Result<Option<Shown>, Closed> {
        self.ask(Message::Shown).await
    }

    /// Returns the newest text, where all may read it.
    ///
    /// # Errors
    /// [`Closed`].
    pub async fn page(&self) -> Result<Option<(Shown, String)>, Closed> {
        self.ask(Message::Page).await
    }

    /// Returns a view of the history as it is now for somebody who has a right; older texts than
    /// the newest take the right `history` whichever is asked for here.
    ///
    /// # Errors
    /// The [`Failure`]: `Denied`, or `Closed` where the document must be opened again.
    pub async fn past(&self, asker: &Asker, right: Right) -> Result<Past, Failure> {
        let asker = asker.clone();
        let past = self.ask(|reply| Message::Past(asker, right, reply)).await;
        Ok(past.map_err(|Closed| Failure::Closed)??)
    }

    /// Returns what the document grants by itself, to somebody who may change it.
    ///
    /// # Errors
    /// The [`Failure`]: `Denied`, or `Closed` where the document must be opened again.
    pub async fn access(&self, asker: &Asker) -> Result<Access, Failure> {
        let asker = asker.clone();
        let access = self.ask(|reply| Message::Access(asker, reply)).await;
        Ok(access.map_err(|Closed| Failure::Closed)??)
    }

    /// Changes the document on somebody's behalf and returns its head once that is durable.
    ///
    /// # Errors
    /// The [`Failure`], after which nothing was changed; except for `Closed`, after which it may
    /// have been.
    pub async fn write(
        &self,
        session: SessionId,
        asker: Asker,
        write: Write,
    ) -> Result<Revision, Failure> {
        let bytes = match &write {
            Write::Edit { author, op, .. } | Write::Restore { author, op, .. } => {
                entry_bytes_max(author, op)
            }
            Write::Blank { .. } | Write::Event { .. } => 1,
            Write::Grant { wanted, .. } => grant_bytes(wanted),
        };
        let permit = self.room(bytes).await.map_err(|reason| match reason {
            NotTaken::Closed => Failure::Closed,
            NotTaken::Full(refusal) => Failure::Refused(refusal),
        })?;
        let (done, outcome) = oneshot::channel();
        let message = Message::Write(session, asker, write, Some(permit), done);
        self.send(message).map_err(|Closed| Failure::Closed)?;
        outcome.await.unwrap_or(Err(Failure::Closed))
    }

    /// Takes a checkpoint if anything is not covered by one, and waits for it.
    ///
    /// # Errors
    /// The [`Failure`] where none could be taken; `Closed` where the document must be opened again.
    pub async fn save(&self) -> Result<(), Failure> {
        self.ask(Message::Save).await.map_err(|Closed| Failure::Closed)?
    }

    /// Tells what became of a record; for the shard.
    pub fn settle(&self, outcome: Outcome) {
        // A document that ended meanwhile is rebuilt from the log when it is opened again.
        let _ = self.send(Message::Settle(outcome));
    }

    /// Stops the document if it is still idle, else it answers [`crate::doc::Shard::busy`].
    pub fn retire(&self) {
        // One that has ended already is what was asked for.
        let _ = self.send(Message::Retire);
    }

    /// Sends all clients away, settles what is open, takes a checkpoint and stops.
    pub fn drain(&self) {
        // One that has ended already is what was asked for.
        let _ = self.send(Message::Drain);
    }

    /// Has the document take nothing new, settle what is open and stop, without a checkpoint: it is
    /// opened again by whoever owns its shard then. Clients are told [`Refusal::Moved`].
    pub fn hand_over(&self) {
        // One that has ended already is what was asked for.
        let _ = self.send(Message::HandOver);
    }

    fn send(&self, message: Message) -> Result<(), Closed> {
        self.actor.send_message(message).map_err(|_| Closed)
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        self.send(make(reply))?;
        answer.await.map_err(|_| Closed)
    }
}

/// Returns about how much memory it takes to make this of what a document grants.
fn grant_bytes(wanted: &Access) -> usize {
    const CHANGE_BYTES: usize = 256;
    wanted.members().keys().map(|name| name.as_str().len() + CHANGE_BYTES).sum()
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({})", self.doc)
    }
}
