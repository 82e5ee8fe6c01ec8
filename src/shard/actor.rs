//! The shard's actor: supervises its documents and keeps the list of open ones.
//!
//! ```text
//! absent ──open──► opening ──hydrated──► open ──idle──► closing ──ended──► absent
//!                     └──refused──► absent  ▲──────busy─────┘
//! ```
//! A document that fails is taken off the list; the next use opens it again from its checkpoint
//! and the log. Other documents do not notice.

use std::sync::Arc;

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use rustc_hash::FxHashMap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tracing::{error, warn};

use crate::doc::{self, Outcome, Refusal, Service, State};
use crate::shard::handle::{Handle, Ports, stopping};
use crate::shard::hydrate::{hydrate, quarantined};
use crate::shard::writer::{Command, STALL_AFTER};
use crate::task::caught;
use crate::types::{DocId, ShardId};

/// When a client may try again where too many documents are open.
const FULL_RETRY: std::time::Duration = std::time::Duration::from_secs(5);

type Reply = oneshot::Sender<Result<doc::Handle, Refusal>>;

/// What the actor is told; sent by [`Handle`]'s methods and by its own tasks.
pub(crate) enum Message {
    Open(DocId, Reply),
    Rebuild(DocId, oneshot::Sender<Result<State, Refusal>>),
    List(oneshot::Sender<Vec<doc::Handle>>),
    Hydrated(DocId, Box<Result<State, Refusal>>),
    Idle(DocId),
    Busy(DocId),
    Drain(oneshot::Sender<()>),
    Hold(oneshot::Sender<()>),
    Resume,
    Stop,
}

/// Whether the shard is being given up.
enum Handing {
    /// It is not.
    No,
    /// Its documents are settling what is open; whoever waits for that.
    Settling(oneshot::Sender<()>),
    /// It has no documents any more, and takes none.
    Settled,
    /// It is another's: its documents are closing.
    GivenUp,
}

/// What the actor begins with.
pub(crate) struct Start {
    pub(crate) shard: ShardId,
    pub(crate) ports: Ports,
    pub(crate) writer: mpsc::UnboundedSender<Command>,
    pub(crate) service: Service,
}

/// The actor; its state is [`Running`].
pub(crate) struct ShardActor;

/// One shard's documents.
pub(crate) struct Running {
    shard: ShardId,
    ports: Ports,
    doc_ports: doc::Ports,
    writer: mpsc::UnboundedSender<Command>,
    me: ActorRef<Message>,
    docs: FxHashMap<DocId, Entry>,
    names: FxHashMap<ActorId, DocId>,
    draining: Option<oneshot::Sender<()>>,
    handing: Handing,
}

enum Entry {
    Opening(Vec<Reply>),
    Open(doc::Handle),
    Closing(doc::Handle, Vec<Reply>),
}

impl Actor for ShardActor {
    type Msg = Message;
    type State = Running;
    type Arguments = Start;

    async fn pre_start(
        &self,
        me: ActorRef<Message>,
        start: Start,
    ) -> Result<Running, ActorProcessingErr> {
        let Start { shard, ports, writer, service } = start;
        let handle = Handle::new(shard, me.clone(), writer.clone(), &ports);
        let doc_ports = doc::Ports {
            shard: Arc::new(handle),
            store: ports.store.clone(),
            log: ports.log.id(),
            clock: ports.clock.clone(),
            config: ports.doc_config.clone(),
            metrics: ports.doc_metrics.clone(),
            tasks: ports.tasks.clone(),
            budget: ports.budget.clone(),
            encoders: ports.encoders.clone(),
            service,
            public: ports.public.clone(),
        };
        let (docs, names) = (FxHashMap::default(), FxHashMap::default());
        Ok(Running {
            shard,
            ports,
            doc_ports,
            writer,
            me,
            docs,
            names,
            draining: None,
            handing: Handing::No,
        })
    }

    async fn handle(
        &self,
        _me: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        let fatal = running.ports.fatal.clone();
        if let Err(panicked) = caught("a shard", running.take(message)).await {
            fatal.stop_with(&panicked.to_string());
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _me: ActorRef<Message>,
        event: SupervisionEvent,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorTerminated(cell, _, _) => running.ended(cell.get_id(), None),
            SupervisionEvent::ActorFailed(cell, reason) => {
                running.ended(cell.get_id(), Some(reason.to_string()));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Running {
    async fn take(&mut self, message: Message) {
        match message {
            Message::Open(doc, reply) => self.open(doc, reply),
            Message::Rebuild(doc, reply) => {
                let rebuilt = self.hydrate(doc);
                self.ports.tasks.spawn("rebuild", async move {
                    // Whoever asked has gone.
                    let _ = reply.send(rebuilt.await);
                });
            }
            // Whoever asked may have gone.
            Message::List(reply) => drop(reply.send(self.list())),
            Message::Hydrated(doc, state) => self.hydrated(doc, *state).await,
            Message::Idle(doc) => self.idle(&doc),
            Message::Busy(doc) => self.busy(&doc),
            Message::Drain(reply) => self.drain(reply),
            Message::Hold(reply) => self.hold(reply),
            Message::Resume => {
                if !matches!(self.handing, Handing::GivenUp) {
                    self.handing = Handing::No;
                }
            }
            Message::Stop => self.give_up(),
        }
    }

    /// Returns the documents that are open.
    fn list(&self) -> Vec<doc::Handle> {
        let open = |entry: &Entry| match entry {
            Entry::Open(handle) => Some(handle.clone()),
            Entry::Opening(_) | Entry::Closing(..) => None,
        };
        self.docs.values().filter_map(open).collect()
    }

    fn open(&mut self, doc: DocId, reply: Reply) {
        if self.draining.is_some() {
            return answer(reply, Err(stopping()));
        }
        match self.handing {
            Handing::No => {}
            Handing::Settling(_) | Handing::Settled | Handing::GivenUp => {
                return answer(reply, Err(Refusal::Moved));
            }
        }
        let full = self.docs.len() >= self.ports.config.documents_open_max;
        match self.docs.get_mut(&doc) {
            Some(Entry::Open(handle)) => answer(reply, Ok(handle.clone())),
            Some(Entry::Opening(waiting) | Entry::Closing(_, waiting)) => waiting.push(reply),
            None if full => {
                let reason = "too many documents are open".to_owned();
                answer(reply, Err(Refusal::Unavailable { reason, retry: FULL_RETRY }));
            }
            None => self.begin(doc, vec![reply]),
        }
    }

    /// Rebuilds a document's state away from the actor.
    fn begin(&mut self, doc: DocId, waiting: Vec<Reply>) {
        self.docs.insert(doc.clone(), Entry::Opening(waiting));
        let (state, me) = (self.hydrate(doc.clone()), self.me.clone());
        self.ports.tasks.spawn("hydrate", async move {
            // A shard that has ended opens nothing.
            let _ = me.send_message(Message::Hydrated(doc, Box::new(state.await)));
        });
    }

    /// Reads a document's state from checkpoint and log.
    fn hydrate(&self, doc: DocId) -> impl Future<Output = Result<State, Refusal>> + use<> {
        let (ports, shard, writer) = (self.ports.clone(), self.shard, self.writer.clone());
        async move {
            let (reply, offsets) = oneshot::channel();
            // What could not be sent holds the reply: it is dropped before that is awaited.
            writer.send(Command::Offsets(doc.clone(), reply)).map_err(|_| stopping())?;
            // A writer that claims again, because the log is out of reach, answers later.
            let indexed = timeout(STALL_AFTER, offsets).await.map_err(|_| doc::stalled())?;
            let indexed = indexed.map_err(|_| stopping())?;
            let (log, store) = (&*ports.log, &*ports.store);
            let state = hydrate(log, store, shard, &doc, &indexed, &ports.doc_config);
            // What was accepted and cannot be applied is for a person to look at.
            let rebuilt = caught("rebuilding a document", state).await;
            rebuilt.unwrap_or_else(|panicked| Err(quarantined(&doc, panicked.to_string())))
        }
    }

    async fn hydrated(&mut self, doc: DocId, state: Result<State, Refusal>) {
        let waiting = match self.docs.remove(&doc) {
            Some(Entry::Opening(waiting)) => waiting,
            // What is told late must not end what has begun since, here and below: a document that
            // is open twice acknowledges what does not count.
            Some(other @ (Entry::Open(_) | Entry::Closing(..))) => {
                self.docs.insert(doc, other);
                return;
            }
            None => return,
        };
        let opened = match state {
            Ok(state) => {
                let spawned = doc::spawn(state, self.doc_ports.clone(), self.me.get_cell()).await;
                spawned.map_err(|_| stopping())
            }
            Err(refusal) => Err(refusal),
        };
        let result = opened.map(|(cell, handle)| {
            self.names.insert(cell.get_id(), doc.clone());
            // A writer that has ended settles nothing.
            let _ = self.writer.send(Command::Opened(handle.clone()));
            if self.draining.is_some() {
                handle.drain();
            }
            match self.handing {
                Handing::No | Handing::Settled => {}
                Handing::Settling(_) => handle.hand_over(),
                Handing::GivenUp => handle.settle(Outcome::Fenced),
            }
            self.docs.insert(doc, Entry::Open(handle.clone()));
            handle
        });
        for reply in waiting {
            answer(reply, result.clone());
        }
        self.finish_draining();
    }

    fn idle(&mut self, doc: &DocId) {
        if let Some(entry) = self.docs.get_mut(doc)
            && let Entry::Open(handle) = entry
        {
            let handle = handle.clone();
            handle.retire();
            *entry = Entry::Closing(handle, Vec::new());
        }
    }

    fn busy(&mut self, doc: &DocId) {
        if let Some(entry) = self.docs.get_mut(doc)
            && let Entry::Closing(handle, waiting) = entry
        {
            let handle = handle.clone();
            for reply in std::mem::take(waiting) {
                answer(reply, Ok(handle.clone()));
            }
            *entry = Entry::Open(handle);
        }
    }

    fn ended(&mut self, actor: ActorId, failure: Option<String>) {
        let Some(doc) = self.names.remove(&actor) else { return };
        if let Some(reason) = failure {
            error!(%doc, %reason, "document failed, it is rebuilt at its next use");
            self.ports.doc_metrics.open.dec();
            self.ports.metrics.restarts.inc();
        }
        // A writer that has ended has nobody to tell.
        let _ = self.writer.send(Command::Ended(doc.clone()));
        match self.docs.remove(&doc) {
            Some(Entry::Closing(_, waiting)) if !waiting.is_empty() => self.begin(doc, waiting),
            Some(opening @ Entry::Opening(_)) => drop(self.docs.insert(doc, opening)),
            Some(Entry::Open(_) | Entry::Closing(..)) | None => {}
        }
        self.finish_draining();
    }

    fn drain(&mut self, reply: oneshot::Sender<()>) {
        self.draining = Some(reply);
        for entry in self.docs.values() {
            match entry {
                Entry::Open(handle) | Entry::Closing(handle, _) => handle.drain(),
                Entry::Opening(_) => {}
            }
        }
        self.finish_draining();
    }

    fn hold(&mut self, reply: oneshot::Sender<()>) {
        if matches!(self.handing, Handing::GivenUp) {
            return;
        }
        self.handing = Handing::Settling(reply);
        for entry in self.docs.values() {
            match entry {
                Entry::Open(handle) | Entry::Closing(handle, _) => handle.hand_over(),
                Entry::Opening(_) => {}
            }
        }
        self.finish_draining();
    }

    /// Tells the clients of all documents that they move, and stops.
    fn give_up(&mut self) {
        self.handing = Handing::GivenUp;
        for entry in self.docs.values() {
            match entry {
                Entry::Open(handle) | Entry::Closing(handle, _) => handle.settle(Outcome::Fenced),
                Entry::Opening(_) => {}
            }
        }
        self.finish_draining();
    }

    fn finish_draining(&mut self) {
        if !self.docs.is_empty() {
            return;
        }
        match std::mem::replace(&mut self.handing, Handing::Settled) {
            // Whoever asked may have gone.
            Handing::Settling(reply) => drop(reply.send(())),
            Handing::GivenUp => self.me.stop(Some("given up".to_owned())),
            before @ (Handing::No | Handing::Settled) => self.handing = before,
        }
        if let Some(reply) = self.draining.take() {
            // Whoever asked has gone.
            let _ = reply.send(());
            self.me.stop(Some("drained".to_owned()));
        }
    }
}

fn answer(reply: Reply, result: Result<doc::Handle, Refusal>) {
    if reply.send(result).is_err() {
        warn!("whoever opened a document has gone");
    }
}

#[cfg(test)]
mod tests;
