//! The way to a shard: opening its documents, and what its documents need of it.

use std::sync::Arc;

use ractor::{Actor, ActorRef};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::checkpoint::{Progress, Store};
use crate::clock::Clock;
use crate::doc::{self, Access, Append, Refusal};
use crate::log::{Fence, Log, Marks};
use crate::shard::actor::{Message, ShardActor, Start};
use crate::shard::claim::{Claimant, Claimed, Claiming, claim, index, stored_below};
use crate::shard::tail::Room;
use crate::shard::writer::{Command, Writer};
use crate::shard::{Config, HandOverError, Metrics, StartError, Tail};
use crate::task::{Fatal, Tasks};
use crate::types::{DocId, NodeId, Offset, ShardId};

/// What a shard works with; shared by all shards of a node.
#[derive(Clone)]
pub struct Ports {
    /// The durable log.
    pub log: Arc<dyn Log>,
    /// The checkpoint store.
    pub store: Arc<dyn Store>,
    /// Who claims the shards.
    pub claimant: Claimant,
    /// Tells the time that records carry.
    pub clock: Clock,
    /// The limits of shards.
    pub config: Arc<Config>,
    /// The limits of documents.
    pub doc_config: Arc<doc::Config>,
    /// What is counted of shards.
    pub metrics: Metrics,
    /// What is counted of documents.
    pub doc_metrics: doc::Metrics,
    /// Owns the tasks of the shards.
    pub tasks: Tasks,
    /// The room that batches of all documents take until they are settled.
    pub budget: doc::Budget,
    /// The room that records take until checkpoints cover them.
    pub room: Arc<Room>,
    /// Ends the process where it cannot go on.
    pub fatal: Fatal,
}

/// Reaches one shard that this node owns; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shard: ShardId,
    actor: ActorRef<Message>,
    writer: mpsc::UnboundedSender<Command>,
    room: Arc<Room>,
}

/// Claims a shard and serves it. A shard whose log has lost records that no checkpoint covers is
/// not claimed: what is left of its documents can be read.
///
/// # Errors
/// [`StartError`]; nothing is served then.
pub async fn start(shard: ShardId, ports: Ports) -> Result<Handle, StartError> {
    let mut tries = 1;
    let claimed = loop {
        match look_and_claim(shard, &ports).await {
            Ok(Looked::Claimed(claimed)) => break *claimed,
            Ok(Looked::Lost(marks, low_water)) => {
                return serve_what_is_left(shard, ports, marks, low_water).await;
            }
            // An owner that lives has trimmed what was about to be read.
            Err(error) if error.is_trimmed() && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    };
    let (commands, inbox) = mpsc::unbounded_channel();
    let (sweep, sweeps) = mpsc::unbounded_channel();
    let writer = Writer::new(ports.clone(), shard, claimed, (commands.clone(), inbox), sweep);
    let (tasks, fatal) = (ports.tasks.clone(), ports.fatal.clone());
    let start = Start { shard, ports, writer: commands, access: Access::Full };
    let handle = spawn(start).await?;
    tasks.spawn_vital("writer", fatal.clone(), writer.run());
    tasks.spawn_vital("janitor", fatal, janitor(handle.clone(), sweeps, tasks.token().clone()));
    Ok(handle)
}

/// How often a start begins again because the log was trimmed under it.
const TRIES: usize = 10;

/// What a start has found.
enum Looked {
    /// The shard is this node's.
    Claimed(Box<Claimed>),
    /// Its low-water mark is outside its log.
    Lost(Marks, Offset),
}

async fn look_and_claim(shard: ShardId, ports: &Ports) -> Result<Looked, StartError> {
    let (mut progress, mut marks) = look(shard, ports).await?;
    while !covers(marks, &progress) {
        // An owner that lives may have gone on, and trimmed, between the two looks.
        let before = progress;
        (progress, marks) = look(shard, ports).await?;
        if progress == before && !covers(marks, &progress) {
            return Ok(Looked::Lost(marks, progress.low_water));
        }
    }
    let Progress { low_water: from, epoch, released, .. } = progress;
    let bytes_max = ports.config.recovery_read_bytes.as_u64() as usize;
    let stored = stored_below(&*ports.log, shard, (marks.low, from), bytes_max).await?;
    let (claimant, fence) = ((&ports.claimant, Claiming::First), Fence { epoch, released });
    let mut claimed = claim(&*ports.log, shard, claimant, (from, fence), bytes_max).await?;
    stored.iter().for_each(|(doc, offset)| claimed.tail.store(doc, *offset));
    Ok(Looked::Claimed(Box::new(claimed)))
}

/// Reads how far a shard is covered, and then where its log begins and ends.
async fn look(shard: ShardId, ports: &Ports) -> Result<(Progress, Marks), StartError> {
    let log = ports.log.id();
    let progress = ports.store.progress(shard, log).await;
    let progress = progress.map_err(|source| StartError::Progress { shard, source })?;
    let never = Progress { log, low_water: Offset(0), epoch: None, released: false };
    let marks = ports.log.marks(shard).await;
    let marks = marks.map_err(|source| StartError::Read { shard, source })?;
    Ok((progress.unwrap_or(never), marks))
}

fn covers(marks: Marks, progress: &Progress) -> bool {
    (marks.low..=marks.high).contains(&progress.low_water)
}

async fn spawn(start: Start) -> Result<Handle, StartError> {
    let (shard, writer, room) = (start.shard, start.writer.clone(), start.ports.room.clone());
    let spawned = Actor::spawn(None, ShardActor, start).await;
    let (actor, _) = spawned.map_err(|_| StartError::Stopping { shard })?;
    Ok(Handle::new(shard, actor, writer, room))
}

/// Serves a shard without owning it, for reading: checkpoints, and the records that go on from
/// them without a gap.
async fn serve_what_is_left(
    shard: ShardId,
    ports: Ports,
    marks: Marks,
    low_water: Offset,
) -> Result<Handle, StartError> {
    let Marks { low, high } = marks;
    error!(
        %shard, %low, %high, %low_water,
        "the low-water mark is outside the log: acknowledged records are lost; documents can only \
         be read until the log is restored"
    );
    ports.metrics.lost.inc();
    let bytes_max = ports.config.recovery_read_bytes.as_u64() as usize;
    let left = if high < low_water { Marks { low: high, high } } else { marks };
    let tail = index(&*ports.log, shard, left, bytes_max).await?;
    let (writer, inbox) = mpsc::unbounded_channel();
    let (tasks, fatal) = (ports.tasks.clone(), ports.fatal.clone());
    tasks.spawn_vital("index", fatal, tell_offsets(tail, inbox, tasks.token().clone()));
    spawn(Start { shard, ports, writer, access: Access::ReadOnly }).await
}

/// Takes the writer's place where nothing is written: tells which records a document has.
async fn tell_offsets(
    tail: Tail,
    mut commands: mpsc::UnboundedReceiver<Command>,
    token: CancellationToken,
) {
    loop {
        let command = tokio::select! {
            biased;
            () = token.cancelled() => return,
            command = commands.recv() => command,
        };
        match command {
            // Whoever asked may have gone.
            Some(Command::Offsets(doc, reply)) => drop(reply.send(tail.indexed(&doc))),
            Some(
                Command::Append(_)
                | Command::Opened(_)
                | Command::Ended(_)
                | Command::Stored(..)
                | Command::Covered(..)
                | Command::Release(..)
                | Command::Advanced { .. }
                | Command::Swept { .. },
            ) => {}
            None => return,
        }
    }
}

impl Handle {
    pub(crate) fn new(
        shard: ShardId,
        actor: ActorRef<Message>,
        writer: mpsc::UnboundedSender<Command>,
        room: Arc<Room>,
    ) -> Self {
        Self { shard, actor, writer, room }
    }

    /// Returns the shard's number.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Opens a document, or returns it where it is open.
    ///
    /// # Errors
    /// [`Refusal`] where the document's state cannot be had, or the shard is stopping.
    pub async fn open(&self, doc: DocId) -> Result<doc::Handle, Refusal> {
        let (reply, answer) = oneshot::channel();
        let sent = self.actor.send_message(Message::Open(doc, reply));
        match sent {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(stopping())),
            Err(_) => Err(stopping()),
        }
    }

    /// Rebuilds a document's state from its checkpoint and the log, beside the one that is open.
    ///
    /// # Errors
    /// [`Refusal`] where the state cannot be had, or the shard is stopping.
    pub async fn rebuild(&self, doc: DocId) -> Result<doc::State, Refusal> {
        let (reply, answer) = oneshot::channel();
        match self.actor.send_message(Message::Rebuild(doc, reply)) {
            Ok(()) => answer.await.unwrap_or_else(|_| Err(stopping())),
            Err(_) => Err(stopping()),
        }
    }

    /// Sends all clients away, saves every open document and stops the shard.
    pub async fn drain(&self) {
        let (reply, drained) = oneshot::channel();
        if self.actor.send_message(Message::Drain(reply)).is_ok() {
            // A shard that ended before it answered is drained too.
            let _ = drained.await;
        }
    }

    /// Gives the shard up: its documents take nothing new, settle what is open and stop, their
    /// clients are told that they move, and the ownership is released in favour of `to`. Returns
    /// the release's offset; whoever claims the shard then reads from there.
    ///
    /// # Errors
    /// [`HandOverError`]; after `Undone` the shard is served on.
    pub async fn hand_over(&self, to: Option<NodeId>) -> Result<Offset, HandOverError> {
        let ended = |_| HandOverError::Ended;
        let (reply, settled) = oneshot::channel();
        self.actor.send_message(Message::HandOver(reply)).map_err(|_| HandOverError::Ended)?;
        settled.await.map_err(ended)?;
        let (reply, released) = oneshot::channel();
        self.tell_writer(Command::Release(to, reply));
        let released = released.await.map_err(ended).flatten();
        if released == Err(HandOverError::Undone) {
            // A shard that has ended meanwhile has nothing to do.
            let _ = self.actor.send_message(Message::Resume);
        }
        released
    }

    /// Ends a shard that was handed over: until then it tells everybody that documents move.
    pub fn end(&self) {
        // One that has ended already is what was asked for.
        let _ = self.actor.send_message(Message::Stop);
    }

    /// Ends the shard as a crash would: nothing is saved, nobody is told.
    pub fn kill(&self) {
        self.actor.kill();
    }

    fn tell_writer(&self, command: Command) {
        // A writer that has ended acknowledges nothing; the log is read when the shard starts.
        let _ = self.writer.send(command);
    }
}

impl doc::Shard for Handle {
    fn append(&self, append: Append) {
        self.tell_writer(Command::Append(append));
    }

    fn stored(&self, doc: &DocId, offset: Offset) {
        self.tell_writer(Command::Stored(doc.clone(), offset));
    }

    fn covered(&self, doc: &DocId, offset: Offset) {
        self.tell_writer(Command::Covered(doc.clone(), offset));
    }

    fn has_room(&self) -> bool {
        self.room.is_left()
    }

    fn idle(&self, doc: &DocId) {
        // A shard that has ended has no documents.
        let _ = self.actor.send_message(Message::Idle(doc.clone()));
    }

    fn busy(&self, doc: &DocId) {
        // A shard that has ended has no documents.
        let _ = self.actor.send_message(Message::Busy(doc.clone()));
    }
}

/// Has the documents saved that hold the low-water mark, one at a time.
async fn janitor(
    shard: Handle,
    mut sweeps: mpsc::UnboundedReceiver<DocId>,
    token: CancellationToken,
) {
    loop {
        let doc = tokio::select! {
            biased;
            () = token.cancelled() => return,
            doc = sweeps.recv() => match doc {
                Some(doc) => doc,
                None => return,
            },
        };
        let saved = match shard.open(doc.clone()).await {
            Ok(handle) => handle.save().await,
            Err(refusal) => Err(refusal.into()),
        };
        // One that closed meanwhile was saved.
        let failed = saved.err().filter(|failure| *failure != doc::Failure::Closed);
        if let Some(reason) = &failed {
            tracing::warn!(%doc, %reason, "could not save the oldest document");
        }
        shard.tell_writer(Command::Swept { doc, well: failed.is_none() });
    }
}

pub(crate) fn stopping() -> Refusal {
    let reason = "the shard is stopping".to_owned();
    Refusal::Unavailable { reason, retry: std::time::Duration::from_secs(1) }
}
