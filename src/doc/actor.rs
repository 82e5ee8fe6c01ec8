//! The actor around the state machine: carries messages in and effects out, and keeps timers.
//!
//! ```text
//! open ──► serving ──(nobody, nothing open, idle-after)──► saving ──► shard: idle ──► retire
//!             └─(drain)──► clients sent away ──► settled ──► saving ──► stopped
//! ```

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{debug, error};

use crate::access::{Access, Asker, Right};
use crate::checkpoint::{self, Store};
use crate::clock::Clock;
use crate::doc::audience::{Audience, Tick};
use crate::doc::handle::{Handle, Heard, Join, Listen, Outcome};
use crate::doc::join::Seat;
use crate::doc::presence::{Participants, Placed};
use crate::doc::recall::{Found, Recalls};
use crate::doc::save::Saved;
use crate::doc::saving::{Saving, Waiter};
use crate::doc::state::{Effect, Fork, Intake, State};
use crate::doc::write::{Append, Done, Shard, Write};
use crate::doc::{
    Batch, Budget, Change, Config, ConnId, Encoders, Event, Failure, Metrics, Past, Public,
    Refusal, Room, Service, Shown, Visit,
};
use crate::task::{Tasks, caught};
use crate::text::Operation;
use crate::types::{LogId, Revision, SessionId};

/// When a client may come back that was sent away because the node stops.
const AWAY_RETRY: Duration = Duration::from_millis(500);

/// When a client may come back while the log cannot be written.
const STALL_RETRY: Duration = Duration::from_secs(2);

/// When a client may come back whose change the log does not take.
const TOO_LONG_RETRY: Duration = Duration::from_secs(30);

/// What an actor is told; built by [`Handle`]'s methods only.
pub(crate) enum Message {
    Join(Join, oneshot::Sender<Result<Seat, Refusal>>),
    Listen(Listen, oneshot::Sender<Result<Heard, Refusal>>),
    Submit(ConnId, Batch),
    SubmitOnHead(ConnId, Batch),
    Place(ConnId, Revision, Option<(u64, u64)>),
    Leave(ConnId),
    Missed(ConnId, Revision, oneshot::Sender<Option<Vec<Arc<Change>>>>),
    Past(Asker, Right, oneshot::Sender<Result<Past, Refusal>>),
    Access(Asker, oneshot::Sender<Result<Access, Refusal>>),
    Clients(oneshot::Sender<usize>),
    Visit(Handle, oneshot::Sender<Visit>),
    VisitOver,
    Shown(oneshot::Sender<Option<Shown>>),
    Page(oneshot::Sender<Option<(Shown, String)>>),
    Write(SessionId, Asker, Write, Option<Room>, Done),
    Save(Waiter),
    Settle(Outcome),
    Retire,
    Drain,
    HandOver,
    Recalled(Result<Vec<Found>, Failure>),
    Forked(Fork, Result<(Operation, Revision), Refusal>),
    Saved(Result<Saved, checkpoint::Error>),
    Tick(Tick),
    PresenceTick,
    IdleTick(u64),
}

/// What a document's actor works with; shared by all documents of a shard.
#[derive(Clone)]
pub struct Ports {
    /// The shard that the document is on.
    pub shard: Arc<dyn Shard>,
    /// Where checkpoints go.
    pub store: Arc<dyn Store>,
    /// Which log the offsets belong to.
    pub log: LogId,
    /// Tells the time that records carry.
    pub clock: Clock,
    /// The limits.
    pub config: Arc<Config>,
    /// What is counted.
    pub metrics: Metrics,
    /// Owns the tasks that work for the document.
    pub tasks: Tasks,
    /// The room that batches take until they are settled.
    pub budget: Budget,
    /// What encodes checkpoints.
    pub encoders: Encoders,
    /// What may be done with documents.
    pub service: Service,
    /// Which documents all may read, and who is told of them.
    pub public: Public,
}

/// Starts the actor of a document whose state was rebuilt, under the shard's supervision.
///
/// # Errors
/// Where the supervisor is stopping.
pub async fn spawn(
    state: State,
    ports: Ports,
    supervisor: ActorCell,
) -> Result<(ActorCell, Handle), SpawnErr> {
    let doc = state.doc().clone();
    let permits_max = ports.config.queue_bytes.as_u64() as usize;
    let mut state = state;
    if ports.service == Service::ReadOnly {
        state.intake = Intake::ReadOnly;
    }
    let budget = ports.budget.clone();
    let start = Start { state, ports, permits_max };
    let (actor, _) = Actor::spawn_linked(None, DocumentActor, start, supervisor).await?;
    let handle = Handle::new(doc, actor.clone(), permits_max, budget);
    Ok((actor.get_cell(), handle))
}

struct DocumentActor;

struct Start {
    state: State,
    ports: Ports,
    permits_max: usize,
}

/// One open document.
pub(in crate::doc) struct Running {
    pub(in crate::doc) state: State,
    pub(in crate::doc) ports: Ports,
    pub(in crate::doc) me: ActorRef<Message>,
    pub(in crate::doc) handle: Handle,
    pub(in crate::doc) audience: Audience,
    pub(in crate::doc) participants: Participants,
    pub(in crate::doc) presence_ticking: bool,
    pub(in crate::doc) next_conn: u64,
    pub(in crate::doc) effects: Vec<Effect>,
    pub(in crate::doc) recalls: Recalls,
    pub(in crate::doc) saving: Saving,
    pub(in crate::doc) draining: bool,
    /// Whether somebody else is to go on with the document.
    pub(in crate::doc) handing_over: bool,
    /// Whether the log cannot be written for the time being.
    pub(in crate::doc) stalled: bool,
    /// Counts what happens, so that an idle tick knows whether anything has since it was set.
    pub(in crate::doc) activity: u64,
    pub(in crate::doc) idle_ticking: bool,
    /// How many requests are about the document just now.
    pub(in crate::doc) visits: usize,
}

impl Actor for DocumentActor {
    type Msg = Message;
    type State = Running;
    type Arguments = Start;

    async fn pre_start(
        &self,
        me: ActorRef<Message>,
        start: Start,
    ) -> Result<Running, ActorProcessingErr> {
        let Start { state, ports, permits_max } = start;
        ports.metrics.open.inc();
        let budget = ports.budget.clone();
        let handle = Handle::new(state.doc().clone(), me.clone(), permits_max, budget);
        let mut running = Running {
            state,
            ports,
            me,
            handle,
            audience: Audience::default(),
            participants: Participants::default(),
            presence_ticking: false,
            next_conn: 1,
            effects: Vec::new(),
            recalls: Recalls::default(),
            saving: Saving::default(),
            draining: false,
            handing_over: false,
            stalled: false,
            activity: 0,
            idle_ticking: false,
            visits: 0,
        };
        running.tell_herald_of_the_rest();
        running.watch_idle();
        Ok(running)
    }

    async fn handle(
        &self,
        _me: ActorRef<Message>,
        message: Message,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.take(message);
        running.carry_out();
        Ok(())
    }

    async fn post_stop(
        &self,
        _me: ActorRef<Message>,
        running: &mut Running,
    ) -> Result<(), ActorProcessingErr> {
        running.ports.metrics.open.dec();
        Ok(())
    }
}

impl Running {
    fn take(&mut self, message: Message) {
        self.activity += 1;
        match message {
            Message::Join(_, reply) if reply.is_closed() => {}
            Message::Join(join, reply) if self.state.may_be_forgotten(&join) => {
                let sessions = self.recalls.wait((join, reply));
                self.search(sessions);
            }
            Message::Join(join, reply) => {
                let welcome = self.join(join);
                self.welcome(welcome, reply);
            }
            Message::Listen(listen, reply) => {
                if let Err(Ok(heard)) = reply.send(self.listen(listen)) {
                    self.forget(heard.conn);
                }
                self.let_go_if_nothing();
            }
            Message::Recalled(found) => self.recalled(found),
            Message::Submit(conn, batch) => self.submit(conn, batch),
            Message::SubmitOnHead(conn, batch) => self.submit_on_head(conn, batch),
            Message::Place(conn, rev, sel) => self.place(conn, rev, sel),
            Message::Leave(conn) => self.leave(conn),
            // Whoever was sent away is told nothing more.
            Message::Missed(conn, ..) if !self.audience.holds(conn) => {}
            Message::Missed(_, from, reply) => {
                // What is gathered reaches the outbox first: it is part of what was missed.
                self.audience.catch_up();
                drop(reply.send(self.state.missed(from)));
            }
            Message::Past(asker, right, reply) => drop(reply.send(self.past_for(&asker, right))),
            Message::Access(asker, reply) => drop(reply.send(self.access_for(&asker))),
            Message::Clients(reply) => drop(reply.send(self.audience.clients())),
            Message::Visit(visitor, reply) => self.visited(visitor, reply),
            Message::VisitOver => self.visit_over(),
            Message::Shown(reply) => self.tell_what_is_shown(reply),
            Message::Page(reply) => drop(reply.send(self.page())),
            Message::Write(.., done) if self.handing_over => {
                // Whoever asked may have gone.
                let _ = done.send(Err(Failure::Refused(Refusal::Moved)));
            }
            Message::Write(.., done) if self.stalled => {
                // Nobody knows when it would be answered; whoever asked may have gone.
                let _ = done.send(Err(Failure::Refused(stalled())));
            }
            Message::Write(session, asker, write, permit, done) => {
                self.look_for_room();
                self.state.write((session, asker), write, permit, done, &mut self.effects);
                self.flush();
            }
            Message::Save(reply) => self.save_for(reply),
            Message::Settle(outcome) => self.telling_herald(|running| running.settle(outcome)),
            Message::Retire => self.retire(),
            Message::Drain => self.drain(),
            Message::HandOver => {
                self.handing_over = true;
                self.close_all(&Refusal::Moved);
            }
            Message::Forked(fork, merged) => {
                self.state.forked(fork, merged, &mut self.effects);
                self.flush();
            }
            Message::Saved(result) => self.saved(result),
            Message::Tick(tick) => self.audience.tick(tick),
            Message::PresenceTick => self.tell_presence(),
            Message::IdleTick(activity) => self.idle_tick(activity),
        }
        if self.draining {
            self.go_on_draining();
        }
        if self.handing_over && self.state.is_idle() {
            self.me.stop(Some("handed over".to_owned()));
        }
    }

    pub(in crate::doc) fn submit(&mut self, conn: ConnId, batch: Batch) {
        let received = batch.received;
        self.look_for_room();
        let Some(author) = self.audience.author(conn) else { return };
        self.state.submit(conn, author, batch, &mut self.effects);
        self.ports.metrics.ack_ordered.observe(received.elapsed().as_secs_f64());
        self.flush();
    }

    fn look_for_room(&mut self) {
        let open = if self.ports.shard.has_room() { Intake::Open } else { Intake::Full };
        self.state.intake = match self.state.intake {
            Intake::Open | Intake::Full => open,
            Intake::ReadOnly => Intake::ReadOnly,
        };
    }

    fn place(&mut self, conn: ConnId, rev: Revision, sel: Option<(u64, u64)>) {
        let at = sel.map(|sel| Placed { rev, sel });
        if self.participants.place(conn, at) {
            self.watch_presence();
        }
    }

    pub(in crate::doc) fn leave(&mut self, conn: ConnId) {
        self.state.leave(conn);
        self.forget(conn);
    }

    fn forget(&mut self, conn: ConnId) {
        self.audience.remove(conn);
        self.participants.leave(conn);
        self.watch_presence();
        self.watch_idle();
    }

    pub(in crate::doc) fn past(&self) -> Past {
        Past::new(&self.state, self.ports.store.clone(), self.ports.log)
    }

    fn past_for(&self, asker: &Asker, right: Right) -> Result<Past, Refusal> {
        self.state.may(asker, right).map_err(Refusal::Denied)?;
        Ok(self.past().limited(self.state.may(asker, Right::History)))
    }

    fn access_for(&self, asker: &Asker) -> Result<Access, Refusal> {
        self.state.may(asker, Right::Admin).map_err(Refusal::Denied)?;
        Ok(self.state.access().clone())
    }

    pub(in crate::doc) fn flush(&mut self) {
        self.state.flush(self.ports.clock.now(), &mut self.effects);
    }

    fn settle(&mut self, outcome: Outcome) {
        let now = self.ports.clock.now();
        match outcome {
            Outcome::Accepted(offset) => {
                let received = self.state.accepted(offset, now, &mut self.effects);
                self.count(&received);
            }
            Outcome::Recovered(offset, record) => {
                self.state.recovered(offset, &record, &mut self.effects);
            }
            Outcome::Stalled => {
                self.stalled = true;
                self.close_all(&stalled());
            }
            Outcome::TooLong => {
                error!(doc = %self.state.doc(), "the log does not take a record of its length");
                let refusal = too_long();
                self.close_all(&refusal);
                for done in self.state.give_up() {
                    // Whoever asked may have gone.
                    let _ = done.send(Err(Failure::Refused(refusal.clone())));
                }
                self.me.stop(Some("the log does not take its record".to_owned()));
            }
            Outcome::Reclaimed(epoch) => {
                self.stalled = false;
                self.state.reclaimed(epoch, now, &mut self.effects);
            }
            Outcome::Fenced => {
                self.close_all(&Refusal::Moved);
                self.me.stop(Some("the shard is another node's".to_owned()));
            }
        }
        if self.state.is_due_to_save() && self.saving.is_allowed() {
            self.save();
        }
        self.watch_idle();
    }

    fn count(&self, received: &[Instant]) {
        let metrics = &self.ports.metrics;
        let now = Instant::now();
        for since in received {
            metrics.ack_accepted.observe((now - *since).as_secs_f64());
        }
        metrics.accepted.inc_by(received.len() as u64);
    }

    /// Carries out what the state machine decided, in order; that may lead to more of it.
    pub(in crate::doc) fn carry_out(&mut self) {
        while !self.effects.is_empty() {
            let mut effects = std::mem::take(&mut self.effects);
            for effect in effects.drain(..) {
                self.carry_out_one(effect);
            }
            if self.effects.is_empty() {
                self.effects = effects;
            }
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Append(epoch, record) => self.ports.shard.append(Append {
                from: self.handle.clone(),
                epoch,
                record,
                handed: Instant::now(),
            }),
            Effect::Tell(conn, event) => {
                match event {
                    Event::Refused { .. } => self.ports.metrics.refused.inc(),
                    // The acknowledgement itself may wait for a tick: it comes first.
                    Event::Repeated { .. } => self.audience.catch_up(),
                    Event::Changed(_)
                    | Event::Merged(_)
                    | Event::Ordered { .. }
                    | Event::Presence(_)
                    | Event::Closed(_) => {}
                }
                self.audience.tell(conn, event);
            }
            Effect::Broadcast(update) => {
                for (tick, after) in self.audience.broadcast(&update, &self.ports.config) {
                    self.me.send_after(after, move || Message::Tick(tick));
                }
            }
            Effect::Close(conn, refusal) => {
                self.audience.catch_up();
                self.audience.close(conn, refusal);
                self.participants.leave(conn);
                self.watch_presence();
            }
            // Whoever waited has gone; the write is done all the same.
            Effect::Done(done, result) => drop(done.send(result)),
            Effect::Fork(fork) => self.fork(fork),
            Effect::Save => self.save(),
            Effect::PartFromCopies => {
                for copy in self.audience.copies() {
                    self.audience.close(copy, Refusal::Moved);
                }
            }
            Effect::Rebuild => {
                error!(doc = %self.state.doc(), "state left the log, rebuilding it");
                self.close_all(&self.going_away());
                self.me.stop(Some("state left the log".to_owned()));
            }
        }
    }

    fn fork(&mut self, fork: Fork) {
        self.ports.metrics.forks.inc();
        let (past, me) = (self.past(), self.me.clone());
        let (base, op) = (fork.batch.base, fork.batch.op.clone());
        self.ports.tasks.spawn("fork", async move {
            let merged = caught("merging a long fork", past.merge_fork(base, op)).await;
            let merged = merged.unwrap_or_else(|panicked| Err(panicked.into()));
            // A document that ended meanwhile is sent the batch again by the client.
            let _ = me.send_message(Message::Forked(fork, merged));
        });
    }

    pub(in crate::doc) fn watch_presence(&mut self) {
        if !self.presence_ticking && self.participants.is_changed() && !self.audience.is_empty() {
            self.presence_ticking = true;
            let interval = self.ports.config.presence_interval;
            self.me.send_after(interval, || Message::PresenceTick);
        }
    }

    fn tell_presence(&mut self) {
        self.presence_ticking = false;
        if !self.participants.is_changed() {
            return;
        }
        let listed_max = self.ports.config.participants_listed_max;
        let (head, state) = (self.state.head(), &self.state);
        let map = |placed| state.mapped(placed);
        let changes = self.participants.changes(head, listed_max, map);
        self.audience.catch_up();
        self.audience.tell_all(&Event::Presence(Arc::new(changes)));
        self.watch_presence();
    }

    /// Sets an idle tick where the document has nothing to do and none is set.
    pub(in crate::doc) fn watch_idle(&mut self) {
        if self.is_unused() && !self.idle_ticking && !self.draining {
            self.idle_ticking = true;
            let activity = self.activity;
            let after = self.ports.config.idle_after;
            self.me.send_after(after, move || Message::IdleTick(activity));
        }
    }

    fn idle_tick(&mut self, since: u64) {
        self.idle_ticking = false;
        if !self.is_unused() {
            return;
        }
        // The tick itself counts as one.
        if self.activity > since + 1 {
            self.watch_idle();
        } else if self.state.is_unsaved() && !self.saving.conflict {
            self.save();
        } else if !self.saving.is_running() {
            self.ports.shard.idle(self.state.doc());
        }
    }

    fn retire(&mut self) {
        if self.is_unused() && !self.saving.is_running() {
            // Copies without clients: they ask again when they have some.
            self.close_all(&Refusal::Moved);
            self.me.stop(Some("idle".to_owned()));
        } else {
            self.ports.shard.busy(self.state.doc());
            self.watch_idle();
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        let refusal = self.going_away();
        self.close_all(&refusal);
    }

    fn go_on_draining(&mut self) {
        if !self.state.is_idle() || self.saving.is_running() {
            return;
        }
        if self.state.is_unsaved() && !self.saving.failed {
            self.save();
        } else {
            debug!(doc = %self.state.doc(), "drained");
            self.me.stop(Some("drained".to_owned()));
        }
    }

    fn close_all(&mut self, refusal: &Refusal) {
        self.audience.catch_up();
        for conn in self.audience.conns() {
            self.audience.close(conn, refusal.clone());
            self.state.leave(conn);
        }
    }

    pub(in crate::doc) fn going_away(&self) -> Refusal {
        Refusal::Unavailable { reason: "the node is going away".to_owned(), retry: AWAY_RETRY }
    }
}

/// Tells that the log is out of reach.
pub(crate) fn stalled() -> Refusal {
    let reason = "the log cannot be written for the time being".to_owned();
    Refusal::Unavailable { reason, retry: STALL_RETRY }
}

fn too_long() -> Refusal {
    let reason = "the log takes no record as long as the change: an operator has to let it take \
                  longer ones"
        .to_owned();
    Refusal::Unavailable { reason, retry: TOO_LONG_RETRY }
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Join({:?}, {:?})", self.session, self.rev)
    }
}
