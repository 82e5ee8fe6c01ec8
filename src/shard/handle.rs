//! The way to a shard: opening its documents, and what its documents need of it.

use std::sync::Arc;

use futures_util::future::join_all;
use ractor::{Actor, ActorRef};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::checkpoint::Store;
use crate::clock::Clock;
use crate::doc::{self, Append, Refusal, Service};
use crate::log::{Log, Marks};
use crate::shard::actor::{Message, ShardActor, Start};
use crate::shard::claim::{Claimant, Claimed, Claiming, index};
use crate::shard::follower::{Begun, Follower};
use crate::shard::tail::Room;
use crate::shard::writer::{Command, Writer};
use crate::shard::{Config, HandOverError, Metrics, StartError, Tail};
use crate::task::{Fatal, Tasks};
use crate::types::{DocId, Epoch, NodeId, Offset, ShardId};

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
    /// What encodes checkpoints.
    pub encoders: doc::Encoders,
    /// The room that records take until checkpoints cover them.
    pub room: Arc<Room>,
    /// What becomes of the node where another one claims a shard.
    pub when_fenced: WhenFenced,
    /// Which documents all may read, and who is told of them.
    pub public: doc::Public,
    /// Ends the process where it cannot go on.
    pub fatal: Fatal,
}

/// Reaches one shard that this node owns; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shard: ShardId,
    pub(crate) actor: ActorRef<Message>,
    writer: mpsc::UnboundedSender<Command>,
    room: Arc<Room>,
    tasks: Tasks,
    pub(in crate::shard) log: Arc<dyn Log>,
    pub(in crate::shard) store: Arc<dyn Store>,
    /// The ownership that it began with; none where it only reads, and for the shard's documents.
    epoch: Option<Epoch>,
}

/// How much a shard carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Burden {
    /// Bytes of log that no checkpoint covers.
    pub tail_bytes: u64,
    /// Documents in memory.
    pub documents: u32,
    /// Clients connected to them, also through other nodes.
    pub sessions: u32,
}

/// What becomes of a node one of whose shards another one has claimed.
#[derive(Clone)]
pub enum WhenFenced {
    /// It ends: all shards are meant to be its own.
    EndsTheProcess,
    /// It goes on without the shard; whoever keeps its shards is told, with the epoch that ended.
    IsTold(mpsc::UnboundedSender<(ShardId, Epoch)>),
}

/// Claims a shard and serves it. A shard whose log has lost records that no checkpoint covers is
/// not claimed: what is left of its documents can be read.
///
/// # Errors
/// [`StartError`]; nothing is served then.
pub async fn start(shard: ShardId, ports: Ports) -> Result<Handle, StartError> {
    let until = ports.tasks.token().clone();
    start_over(shard, ports, Claiming::First, &until).await
}

/// Does what [`start`] does, where that ends the ownership of whom it may end; claims nothing once
/// `until` is cancelled.
///
/// # Errors
/// [`StartError`]; nothing is served then.
pub(crate) async fn start_over(
    shard: ShardId,
    ports: Ports,
    claiming: Claiming,
    until: &CancellationToken,
) -> Result<Handle, StartError> {
    let mut tries = 1;
    loop {
        let claim = async {
            match Follower::begin(shard, ports.clone()).await? {
                Begun::Following(follower) => follower.claim_only(claiming).await.map(Ok),
                Begun::Lost(marks, low_water) => Ok(Err((marks, low_water))),
            }
        };
        match wanted(shard, until, claim).await {
            Ok(Ok(claimed)) => return serve(shard, ports, claimed).await,
            Ok(Err((marks, low_water))) => {
                return serve_what_is_left(shard, ports, marks, low_water).await;
            }
            // An owner that lives has trimmed what was about to be read.
            Err(error) if error.is_trimmed() && tries < TRIES => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// Claims for as long as that is wanted: a claim whose time is over would end the heir's.
pub(crate) async fn wanted<T>(
    shard: ShardId,
    until: &CancellationToken,
    claim: impl Future<Output = Result<T, StartError>>,
) -> Result<T, StartError> {
    let claimed = until.run_until_cancelled(claim).await;
    claimed.unwrap_or(Err(StartError::Stopping { shard }))
}

/// How often a start begins again because the log was trimmed under it.
const TRIES: usize = 10;

/// Serves a shard that was claimed.
pub(crate) async fn serve(
    shard: ShardId,
    ports: Ports,
    claimed: Claimed,
) -> Result<Handle, StartError> {
    let (ports, epoch) = (ports.of_one_shard(), Some(claimed.epoch));
    let (commands, inbox) = mpsc::unbounded_channel();
    let (sweep, sweeps) = mpsc::unbounded_channel();
    let writer = Writer::new(ports.clone(), shard, claimed, (commands.clone(), inbox), sweep);
    let (tasks, fatal) = (ports.tasks.clone(), ports.fatal.clone());
    let start = Start { shard, ports, writer: commands, service: Service::Full };
    let handle = spawn(start, epoch).await?;
    tasks.spawn_vital("writer", fatal.clone(), writer.run());
    tasks.spawn_vital("janitor", fatal, janitor(handle.clone(), sweeps, tasks.token().clone()));
    Ok(handle)
}

impl Ports {
    /// Starts a task whose end somebody waits for: its panic ends the process.
    pub(crate) fn spawn_vital(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.tasks.spawn_vital(name, self.fatal.clone(), task);
    }

    /// Gives a shard tasks of its own, which end with it or with all others.
    fn of_one_shard(self) -> Self {
        let tasks = self.tasks.child();
        let all = tasks.clone();
        self.tasks.spawn("shard", async move {
            all.token().cancelled().await;
            all.stop().await;
        });
        Self { tasks, ..self }
    }
}

async fn spawn(start: Start, epoch: Option<Epoch>) -> Result<Handle, StartError> {
    let shard = start.shard;
    let (writer, ports) = (start.writer.clone(), start.ports.clone());
    let spawned = Actor::spawn(None, ShardActor, start).await;
    let (actor, _) = spawned.map_err(|_| {
        ports.tasks.token().cancel();
        StartError::Stopping { shard }
    })?;
    Ok(Handle { epoch, ..Handle::new(shard, actor, writer, &ports) })
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
    let bytes_max = ports.config.recovery_read_bytes.as_u64() as usize;
    let left = if high < low_water { Marks { low: high, high } } else { marks };
    let tail = index(ports.log.clone(), shard, left, bytes_max).await?;
    let ports = ports.of_one_shard();
    let (writer, inbox) = mpsc::unbounded_channel();
    let (tasks, fatal) = (ports.tasks.clone(), ports.fatal.clone());
    let (lost, token) = (ports.metrics.lost.clone(), tasks.token().clone());
    lost.inc();
    tasks.spawn_vital("index", fatal, async move {
        tell_offsets(tail, inbox, token).await;
        lost.dec();
    });
    spawn(Start { shard, ports, writer, service: Service::ReadOnly }, None).await
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
            Some(Command::Offsets(doc, reply)) => {
                // Where the log ends says nothing here.
                drop(reply.send(tail.indexed(&doc, Offset(u64::MAX))));
            }
            Some(
                Command::Append(_)
                | Command::Opened(_)
                | Command::Uncovered(_)
                | Command::TailBytes(_)
                | Command::Holding(..)
                | Command::TrimBelow(..)
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
        ports: &Ports,
    ) -> Self {
        let (room, tasks) = (ports.room.clone(), ports.tasks.clone());
        let (log, store) = (ports.log.clone(), ports.store.clone());
        Self { shard, actor, writer, room, tasks, log, store, epoch: None }
    }

    /// Returns the ownership that the shard is served under since it began; none where it can only
    /// be read.
    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch
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

    /// Returns the documents that are in the log above their checkpoints; none where the shard has
    /// ended.
    pub async fn uncovered(&self) -> Vec<DocId> {
        let (reply, docs) = oneshot::channel();
        self.tell_writer(Command::Uncovered(reply));
        docs.await.unwrap_or_default()
    }

    /// Tells how much the shard carries; nothing where it has ended.
    pub async fn burden(&self) -> Burden {
        let ((reply, tail), (listing, docs)) = (oneshot::channel(), oneshot::channel());
        self.tell_writer(Command::TailBytes(reply));
        // A shard that has ended has no documents.
        let _ = self.actor.send_message(Message::List(listing));
        let docs: Vec<doc::Handle> = docs.await.unwrap_or_default();
        let clients = join_all(docs.iter().map(doc::Handle::clients)).await;
        let sessions: usize = clients.into_iter().flatten().sum();
        Burden {
            tail_bytes: tail.await.unwrap_or_default(),
            documents: u32::try_from(docs.len()).unwrap_or(u32::MAX),
            sessions: u32::try_from(sessions).unwrap_or(u32::MAX),
        }
    }

    /// Takes a checkpoint of every document that is in the log above its last one, open or not.
    pub async fn save_all(&self) {
        for doc in self.uncovered().await {
            let saved = match self.open(doc.clone()).await {
                Ok(handle) => handle.save().await,
                Err(refusal) => Err(refusal.into()),
            };
            if let Err(reason) = saved {
                tracing::warn!(%doc, %reason, "not saved, it stays in the log");
            }
        }
    }

    /// Gives the shard up: [`Handle::hold`], then [`Handle::release`].
    ///
    /// # Errors
    /// [`HandOverError`]; after `Undone` the shard is served on.
    pub async fn hand_over(&self, to: Option<NodeId>) -> Result<Offset, HandOverError> {
        self.hold().await?;
        self.release(to).await
    }

    /// Has the documents take nothing new, settle what is open and stop; their clients are told
    /// that they move. Until [`Handle::resume`] nothing is opened. It begins at once; what is
    /// returned waits until all have stopped, and may be dropped.
    ///
    /// # Errors
    /// [`HandOverError::Ended`]; also where it was resumed meanwhile.
    pub fn hold(&self) -> impl Future<Output = Result<(), HandOverError>> + use<> {
        let (reply, stopped) = oneshot::channel();
        let told = self.actor.send_message(Message::Hold(reply));
        async move {
            told.map_err(|_| HandOverError::Ended)?;
            stopped.await.map_err(|_| HandOverError::Ended)
        }
    }

    /// Serves on after [`Handle::hold`].
    pub fn resume(&self) {
        // A shard that has ended meanwhile has nothing to do.
        let _ = self.actor.send_message(Message::Resume);
    }

    /// Releases the ownership of a shard that is settled, in favour of `to`, and returns the
    /// release's offset: whoever claims the shard then reads from there.
    ///
    /// # Errors
    /// [`HandOverError`]; after `Undone` the shard is served on.
    pub async fn release(&self, to: Option<NodeId>) -> Result<Offset, HandOverError> {
        let (reply, released) = oneshot::channel();
        self.tell_writer(Command::Release(to, reply));
        let released = released.await.map_err(|_| HandOverError::Ended).flatten();
        if released == Err(HandOverError::Undone) {
            self.resume();
        }
        released
    }

    /// Ends a shard that was handed over, or is another's: until then it tells everybody that
    /// documents move.
    pub fn end(&self) {
        // One that has ended already is what was asked for.
        let _ = self.actor.send_message(Message::Stop);
        self.tasks.token().cancel();
    }

    /// Ends the shard as a crash would: nothing is saved, nobody is told.
    pub fn kill(&self) {
        self.actor.kill();
    }

    pub(in crate::shard) fn tell_writer(&self, command: Command) {
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
