//! Keeps a node's shards: claims those that are placed here, and hands over those that are not.
//!
//! ```text
//! control ──┐
//! peers  ───┼─► one task ─► claims, hand-overs, Owned, Disowned, MoveBegun, MoveEnded
//! writers ──┘         └───► the directory: which shard is where, for the router
//! ```
//! What it does follows from the state of the cluster; ownership itself is decided by the claims in
//! the shards' logs, so being late or wrong here costs time, never an edit.

mod give;
mod pace;
mod part;
mod run;
mod take;
mod ward;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::cluster::handoff::Deadlines;
use crate::cluster::member;
use crate::shard::keeper::run::Run;
use crate::shard::keeper::ward::Event;
use crate::shard::{Directory, Handle, Heirs, Peers, Place, Ports, WhenFenced};
use crate::types::{NodeId, Offset, ShardId};

/// How long a target waits until it reads of a move that it is asked to take part in.
const NEWS_MAX: Duration = Duration::from_secs(3);

const STOPPING: &str = "the node is stopping";

/// What a keeper works with.
#[derive(Clone)]
pub struct Keeping {
    /// This node as a member of its cluster.
    pub member: member::Handle,
    /// What its shards work with; who is told where one is fenced is set by the keeper.
    pub shards: Ports,
    /// Reaches the other nodes.
    pub peers: Arc<dyn Peers>,
    /// Bounds the steps of a move.
    pub deadlines: Deadlines,
    /// How many shards are claimed at once.
    pub claims_at_once: usize,
}

/// Reaches the keeper; cheap to clone.
#[derive(Clone)]
pub struct Keeper {
    shared: Arc<Shared>,
}

/// What others look up.
pub(crate) struct Shared {
    pub(crate) member: member::Handle,
    /// The shards of this node, by number.
    pub(crate) locals: RwLock<Vec<Local>>,
    /// Tells that the locals have changed.
    pub(crate) changed: watch::Sender<()>,
    events: mpsc::UnboundedSender<Event>,
}

/// A shard, as far as this node serves it.
#[derive(Clone, Default)]
pub(crate) struct Local {
    pub(crate) handle: Option<Handle>,
    /// Who has it now, where this node knows that before control does.
    pub(crate) gone_to: Option<NodeId>,
}

/// Begins to keep the shards of this node.
pub fn keep(mut keeping: Keeping) -> Keeper {
    let count = keeping.member.control().shards();
    let (events, inbox) = mpsc::unbounded_channel();
    let locals = (0..count).map(|_| Local::default()).collect();
    let (member, locals) = (keeping.member.clone(), RwLock::new(locals));
    let shared = Arc::new(Shared {
        member,
        locals,
        changed: watch::Sender::new(()),
        events: events.clone(),
    });
    let (tasks, fatal) = (keeping.shards.tasks.clone(), keeping.shards.fatal.clone());
    let (told, fenced) = mpsc::unbounded_channel();
    keeping.shards.when_fenced = WhenFenced::IsTold(told);
    let run = Run::new(keeping, shared.clone(), (events, inbox), fenced);
    tasks.spawn_vital("keeper", fatal, run.run());
    Keeper { shared }
}

impl Keeper {
    /// Has the documents of all shards here take nothing new and settle what is open, waits for
    /// that no longer than `within`, and then serves no shard any more. Returns how many had
    /// something open still: what became of it, the next owner reads.
    ///
    /// From now on the keeper claims nothing and moves nothing.
    pub async fn give_up(&self, within: Duration) -> usize {
        let (reply, settled) = oneshot::channel();
        // A keeper that has ended serves nothing, here and below.
        let _ = self.shared.events.send(Event::Settle { reply });
        let _ = timeout(within, settled).await;
        let (reply, open) = oneshot::channel();
        let _ = self.shared.events.send(Event::EndAll { reply });
        open.await.unwrap_or(0)
    }
}

impl Directory for Keeper {
    fn count(&self) -> u32 {
        u32::try_from(self.shared.locals.read().len()).expect("the number of shards is a u32")
    }

    fn place(&self, shard: ShardId) -> Place {
        let control = self.shared.member.control();
        let local = self.shared.local(shard);
        let owner = control.owner(shard).filter(|owner| owner.node != *self.shared.member.node());
        if let Some(handle) = local.handle {
            // A claim is known here before it is news to all.
            let newer = owner.as_ref().filter(|owner| handle.epoch() < Some(owner.epoch));
            return match newer.map(|owner| owner.node.clone()).or(local.gone_to) {
                Some(node) => Place::There(node),
                None => Place::Here(handle),
            };
        }
        let placed = || control.placement(shard).cloned();
        let there = |node: NodeId| (node != *self.shared.member.node()).then_some(node);
        let node = owner.map(|owner| owner.node).or_else(|| placed().and_then(there));
        node.map_or(Place::Nowhere, Place::There)
    }

    fn here(&self) -> Vec<Handle> {
        self.shared.locals.read().iter().filter_map(|local| local.handle.clone()).collect()
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }
}

impl Shared {
    fn local(&self, shard: ShardId) -> Local {
        let at = usize::try_from(shard.0).unwrap_or(usize::MAX);
        self.locals.read().get(at).cloned().unwrap_or_default()
    }

    pub(crate) fn set(&self, shard: ShardId, local: Local) {
        let at = usize::try_from(shard.0).unwrap_or(usize::MAX);
        if let Some(place) = self.locals.write().get_mut(at) {
            *place = local;
        }
        self.changed.send_replace(());
    }

    async fn ask<T>(
        &self,
        make: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Event,
    ) -> Result<T, String> {
        let (reply, answer) = oneshot::channel();
        let stopping = |_| STOPPING.to_owned();
        self.events.send(make(reply)).map_err(|_| STOPPING.to_owned())?;
        answer.await.map_err(stopping)?
    }

    /// Waits until this node reads that `from` moves the shard here.
    async fn news_of_move(&self, from: &NodeId, shard: ShardId) -> Result<(), String> {
        let mut control = self.member.control();
        loop {
            let moving = control.moving(shard);
            if moving.is_some_and(|one| one.from == *from && one.to == *self.member.node()) {
                return Ok(());
            }
            let newer = self.member.newer(control.at()).await;
            control = newer.map_err(|reason| reason.to_string())?;
        }
    }
}

#[async_trait]
impl Heirs for Keeper {
    async fn warm(&self, from: NodeId, shard: ShardId) -> Result<(), String> {
        let news = timeout(NEWS_MAX, self.shared.news_of_move(&from, shard)).await;
        news.map_err(|_| "no such move is in the control topic".to_owned())??;
        self.shared.ask(|reply| Event::WarmAsked { from, shard, reply }).await
    }

    async fn released(&self, from: NodeId, shard: ShardId, offset: Offset) -> Result<(), String> {
        self.shared.ask(|reply| Event::ReleaseTold { from, shard, offset, reply }).await
    }
}
