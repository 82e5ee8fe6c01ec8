//! The way to a shard: opening its documents, and what its documents need of it.

use std::sync::Arc;

use ractor::{Actor, ActorRef};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{Progress, Store};
use crate::clock::Clock;
use crate::doc::{self, Append, Refusal};
use crate::log::{Fence, Log};
use crate::shard::actor::{Message, ShardActor, Start};
use crate::shard::claim::{Claimant, Claiming, claim};
use crate::shard::writer::{Command, Writer};
use crate::shard::{Config, Metrics, StartError};
use crate::task::{Fatal, Tasks};
use crate::types::{DocId, Offset, ShardId};

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
    /// Ends the process where it cannot go on.
    pub fatal: Fatal,
}

/// Reaches one shard that this node owns; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shard: ShardId,
    actor: ActorRef<Message>,
    writer: mpsc::UnboundedSender<Command>,
}

/// Claims a shard and serves it.
///
/// # Errors
/// [`StartError`]; nothing is served then.
pub async fn start(shard: ShardId, ports: Ports) -> Result<Handle, StartError> {
    let progress = ports.store.progress(shard, ports.log.id()).await;
    let progress = progress.map_err(|source| StartError::Progress { shard, source })?;
    let (from, fence) = match progress {
        Some(Progress { low_water, epoch, released, .. }) => (low_water, Fence { epoch, released }),
        None => (Offset(0), Fence::default()),
    };
    let marks = ports.log.marks(shard).await;
    let marks = marks.map_err(|source| StartError::Read { shard, source })?;
    if marks.low > from {
        return Err(StartError::Lost { shard, low: marks.low, low_water: from });
    }
    let bytes_max = ports.config.recovery_read_bytes.as_u64() as usize;
    let claimant = (&ports.claimant, Claiming::First);
    let claimed = claim(&*ports.log, shard, claimant, (from, fence), bytes_max).await?;
    let (commands, inbox) = mpsc::unbounded_channel();
    let (sweep, sweeps) = mpsc::unbounded_channel();
    let writer = Writer::new(ports.clone(), shard, claimed, (commands.clone(), inbox), sweep);
    let (tasks, fatal) = (ports.tasks.clone(), ports.fatal.clone());
    let start = Start { shard, ports, writer: commands.clone() };
    let spawned = Actor::spawn(None, ShardActor, start).await;
    let (actor, _) = spawned.map_err(|_| StartError::Stopping { shard })?;
    let handle = Handle::new(shard, actor, commands);
    tasks.spawn_vital("writer", fatal.clone(), writer.run());
    tasks.spawn_vital("janitor", fatal, janitor(handle.clone(), sweeps, tasks.token().clone()));
    Ok(handle)
}

impl Handle {
    pub(crate) fn new(
        shard: ShardId,
        actor: ActorRef<Message>,
        writer: mpsc::UnboundedSender<Command>,
    ) -> Self {
        Self { shard, actor, writer }
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

    fn covered(&self, doc: &DocId, offset: Offset) {
        self.tell_writer(Command::Covered(doc.clone(), offset));
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
        shard.tell_writer(Command::Swept { well: failed.is_none() });
    }
}

pub(crate) fn stopping() -> Refusal {
    let reason = "the shard is stopping".to_owned();
    Refusal::Unavailable { reason, retry: std::time::Duration::from_secs(1) }
}
