//! The keeper's task: what it reads of the cluster becomes claims, moves and news.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::cluster::handoff::{OwnerInput, OwnerStage};
use crate::cluster::{
    Control, Disowned, Outcome, Owned, Pending, Plan, Record, Stage, Void, Why, WriteError,
};
use crate::shard::handle::start_over;
use crate::shard::keeper::pace::{Pace, Turn};
use crate::shard::keeper::part::Parting;
use crate::shard::keeper::ward::{Event, Held, Rest, Serving, Ward};
use crate::shard::keeper::{Keeping, Local, Shared};
use crate::shard::{Claiming, Handle, StartError};
use crate::types::{Epoch, NodeId, ShardId};

/// How often deadlines and the own standing are looked at.
const TICK: Duration = Duration::from_millis(50);

/// How long is waited before the end of a move that nobody drives is written once more.
const ORPHAN_PAUSE: Duration = Duration::from_secs(1);

/// How long a claim that failed is not repeated, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// The keeper's task.
pub(crate) struct Run {
    pub(crate) keeping: Keeping,
    pub(crate) shared: Arc<Shared>,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    inbox: mpsc::UnboundedReceiver<Event>,
    fenced: mpsc::UnboundedReceiver<(ShardId, Epoch)>,
    pub(crate) wards: Vec<Ward>,
    pub(crate) control: Arc<Control>,
    pub(crate) attempts: u64,
    claims: Arc<Semaphore>,
    born: Instant,
    /// Claims that are not news yet.
    unpublished: BTreeMap<ShardId, Epoch>,
    publishing: bool,
    suspended: bool,
    pub(crate) parting: Parting,
    pace: Pace,
    /// Whether what is has to be compared with what is to be.
    pub(crate) stale: bool,
}

impl Run {
    pub(crate) fn new(
        keeping: Keeping,
        shared: Arc<Shared>,
        (events, inbox): (mpsc::UnboundedSender<Event>, mpsc::UnboundedReceiver<Event>),
        fenced: mpsc::UnboundedReceiver<(ShardId, Epoch)>,
    ) -> Self {
        let control = keeping.member.control();
        let wards = (0..control.shards()).map(|_| Ward::Absent(Rest::default())).collect();
        let claims = Arc::new(Semaphore::new(keeping.claims_at_once));
        Self {
            keeping,
            shared,
            events,
            inbox,
            fenced,
            wards,
            control,
            attempts: 0,
            claims,
            born: Instant::now(),
            unpublished: BTreeMap::new(),
            publishing: false,
            suspended: false,
            parting: Parting::No,
            pace: Pace::default(),
            stale: true,
        }
    }

    pub(crate) async fn run(mut self) {
        let token = self.keeping.shards.tasks.token().clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if std::mem::take(&mut self.stale) {
                self.reconcile();
            }
            self.publish();
            let at = self.control.at();
            tokio::select! {
                biased;
                () = token.cancelled() => return,
                Some((shard, epoch)) = self.fenced.recv() => self.fenced(shard, epoch),
                Some(event) = self.inbox.recv() => self.take(event),
                newer = self.keeping.member.newer(at) => match newer {
                    Ok(control) => self.read(control),
                    // The node is stopping.
                    Err(_) => return,
                },
                _ = tick.tick() => self.tick(),
            }
        }
    }

    pub(crate) fn node(&self) -> &NodeId {
        self.keeping.member.node()
    }

    pub(crate) fn now(&self) -> Duration {
        self.born.elapsed()
    }

    pub(crate) fn next_attempt(&mut self) -> u64 {
        self.attempts += 1;
        self.attempts
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Started { shard, attempt, result } => self.started(shard, attempt, result),
            Event::NotWanted { shard, attempt } => self.not_wanted(shard, attempt),
            Event::Warmed { shard, attempt, result } => self.warmed(shard, attempt, result),
            Event::Given { shard, attempt, input } => self.given(shard, attempt, input),
            Event::Released { shard, attempt, result } => self.released(shard, attempt, result),
            Event::Taken { shard, attempt } => self.taken(shard, attempt),
            Event::Began { shard, attempt, result } => self.began(shard, attempt, result),
            Event::Published { shards, result } => self.published(shards, result),
            Event::Settle { reply } => self.settle(reply),
            Event::Settled { shard } => self.settled(shard),
            // Whoever asked may have gone.
            Event::EndAll { reply } => drop(reply.send(self.end_all())),
            Event::WarmAsked { from, shard, reply } => self.warm_asked(from, shard, reply),
            Event::ReleaseTold { from, shard, offset, reply } => {
                self.release_told((from, shard, offset), reply);
            }
        }
    }

    fn tick(&mut self) {
        let suspended = self.keeping.member.is_suspended();
        if suspended != self.suspended && !self.is_parting() {
            self.suspended = suspended;
            if suspended {
                warn!("this node does not hear of itself any more: its documents wait");
            } else {
                info!("this node hears of itself again");
            }
        }
        if suspended {
            self.undo_warming();
        }
        for shard in self.all() {
            self.given_at(shard, OwnerInput::Tick);
        }
        self.stale = true;
    }

    /// Undoes the moves whose shards are still served.
    pub(crate) fn undo_warming(&mut self) {
        for shard in self.all() {
            let warming = match self.ward(shard) {
                Ward::Serving(Serving { giving: Some(giving), .. }) => {
                    matches!(giving.side.stage(), OwnerStage::Warming { .. })
                }
                _ => false,
            };
            if warming {
                self.given_at(shard, OwnerInput::PeerGone);
            }
        }
    }

    /// Takes note of a newer state of the cluster.
    pub(crate) fn read(&mut self, control: Arc<Control>) {
        self.control = control;
        self.stale = true;
        // Whoever looks for a shard looks again.
        self.shared.changed.send_replace(());
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..u32::try_from(self.wards.len()).expect("shards are numbered")).map(ShardId)
    }

    /// Compares what is with what is to be, and begins what follows.
    fn reconcile(&mut self) {
        let up = self.control.is_up(self.node(), self.keeping.member.boot());
        if !up {
            // Others have, or will have, what this node had; it joins again by itself.
            self.drop_all();
        }
        if self.is_parting() {
            return self.settle_all();
        }
        if up {
            self.all().for_each(|shard| self.reconcile_one(shard));
        }
        if up && !self.suspended {
            self.begin_moves();
        }
    }

    fn reconcile_one(&mut self, shard: ShardId) {
        let owner = self.control.owner(shard);
        let own = owner.as_ref().is_some_and(|owner| owner.node == *self.node());
        let here = self.control.placement(shard) == Some(self.node());
        let suspended = self.suspended;
        match self.ward(shard) {
            Ward::Absent(rest) => {
                let may = !suspended && rest.until.is_none_or(|until| until <= Instant::now());
                let failures = rest.failures;
                if may && here && (owner.is_none() || own) {
                    self.claim(shard, failures, Claiming::First);
                } else if may && own && !here {
                    // What could not be claimed is for whom it is placed on.
                    self.rest(shard, failures);
                    let epoch = owner.map(|owner| owner.epoch).unwrap_or_default();
                    self.disown(vec![(shard, epoch)]);
                }
            }
            Ward::Starting { .. } => {}
            Ward::Serving(serving) => {
                let epoch = serving.handle.epoch();
                let may_move = serving.move_after <= Instant::now();
                if serving.suspended != suspended && !serving.is_moving() {
                    serving.suspend(suspended);
                }
                let newer = owner.filter(|owner| !own && epoch < Some(owner.epoch));
                if serving.giving.is_some() {
                    self.news_for_giving(shard);
                } else if newer.is_some() || (epoch.is_none() && !here) {
                    self.end(shard, Rest::default());
                } else if may_move && self.has_orphan(shard) {
                    self.end_orphan(shard);
                } else if let (false, Some(epoch)) = (own, epoch) {
                    self.unpublished.insert(shard, epoch);
                }
            }
            Ward::StandingBy(_) => self.news_for_standing_by(shard),
        }
    }

    pub(crate) fn ward(&mut self, shard: ShardId) -> &mut Ward {
        let at = usize::try_from(shard.0).expect("a shard number is an index");
        &mut self.wards[at]
    }

    /// Returns the ward, if there is such a shard.
    pub(crate) fn knows(&self, shard: ShardId) -> bool {
        usize::try_from(shard.0).is_ok_and(|at| at < self.wards.len())
    }

    /// Tells whether control knows of a move by this run of the node that it does not drive:
    /// whether it has begun, or that it has ended, could not be written for sure.
    fn has_orphan(&self, shard: ShardId) -> bool {
        let (node, boot) = (self.node(), self.keeping.member.boot());
        let moving = self.control.moving(shard);
        moving.is_some_and(|one| one.from == *node && one.from_boot == boot)
    }

    fn end_orphan(&mut self, shard: ShardId) {
        let why = "nobody drives it any more".parse().expect("it is short");
        self.end_move(shard, Outcome::Undone(why));
        if let Ward::Serving(serving) = self.ward(shard) {
            serving.move_after = Instant::now() + ORPHAN_PAUSE;
        }
    }

    /// Claims a shard, beginning from nothing.
    pub(crate) fn claim(&mut self, shard: ShardId, failures: u32, claiming: Claiming) {
        let attempt = self.next_attempt();
        let until = self.keeping.shards.tasks.token().child_token();
        let _until = until.clone().drop_guard();
        *self.ward(shard) = Ward::Starting { attempt, failures, _until };
        let (ports, events, claims) =
            (self.keeping.shards.clone(), self.events.clone(), self.claims.clone());
        let member = self.keeping.member.clone();
        self.keeping.shards.spawn_vital("claim", async move {
            let Some(_permit) = until.run_until_cancelled(claims.acquire()).await else { return };
            // Much may have changed while others were claimed.
            let (node, control) = (member.node(), member.control());
            let elsewhere = control.placement(shard) != Some(node)
                || control.owner(shard).is_some_and(|owner| owner.node != *node);
            if claiming == Claiming::First && elsewhere {
                // A keeper that has ended does not need to know, here and below.
                let _ = events.send(Event::NotWanted { shard, attempt });
                return;
            }
            let result = start_over(shard, ports, claiming, &until).await;
            let _ = events.send(Event::Started { shard, attempt, result });
        });
    }

    fn not_wanted(&mut self, shard: ShardId, attempt: u64) {
        if matches!(self.ward(shard), Ward::Starting { attempt: own, .. } if *own == attempt) {
            *self.ward(shard) = Ward::Absent(Rest::default());
            // What the claim has seen is to be seen here, too, before another one.
            self.read(self.keeping.member.control());
        }
    }

    fn started(&mut self, shard: ShardId, attempt: u64, result: Result<Handle, StartError>) {
        let (current, failures) = match self.ward(shard) {
            Ward::Starting { attempt, failures, .. } => (*attempt, *failures),
            Ward::StandingBy(standing) => (standing.attempt, 0),
            Ward::Absent(_) | Ward::Serving(_) => (0, 0),
        };
        if current != attempt {
            // Nobody waits for it any more.
            result.iter().for_each(Handle::end);
            return;
        }
        match result {
            Ok(handle) if self.is_parting() => {
                handle.end();
                *self.ward(shard) = Ward::Absent(Rest::default());
            }
            Ok(handle) => self.serve(shard, handle),
            Err(reason) => {
                warn!(%shard, %reason, "could not claim the shard");
                self.answer_standing_by(shard, Err(&reason.to_string()));
                if reason.is_final() {
                    let reason = format!("{reason}; what was acknowledged is safe");
                    self.keeping.shards.fatal.stop_with(&reason);
                }
                self.rest(shard, failures + 1);
            }
        }
    }

    fn serve(&mut self, shard: ShardId, handle: Handle) {
        info!(%shard, epoch = ?handle.epoch(), "serving the shard");
        self.answer_standing_by(shard, Ok(()));
        self.shared.set(shard, Local { handle: Some(handle.clone()), gone_to: None });
        if let Some(epoch) = handle.epoch() {
            self.unpublished.insert(shard, epoch);
        }
        let (move_after, giving, held) = (Instant::now(), None, Held::No);
        let serving = Serving { handle, suspended: false, giving, held, move_after };
        *self.ward(shard) = Ward::Serving(serving);
    }

    /// Serves a shard no more.
    pub(crate) fn end(&mut self, shard: ShardId, rest: Rest) {
        let before = std::mem::replace(self.ward(shard), Ward::Absent(rest));
        self.unpublished.remove(&shard);
        if let Ward::Serving(serving) = before {
            self.shared.set(shard, Local::default());
            serving.handle.end();
        }
    }

    /// Claims the shard later.
    fn rest(&mut self, shard: ShardId, failures: u32) {
        let factor = 1 << failures.clamp(1, 8).saturating_sub(1);
        let pause = (BACKOFF.0 * factor).min(BACKOFF.1);
        self.end(shard, Rest { until: Some(Instant::now() + pause), failures });
    }

    fn drop_all(&mut self) {
        for shard in self.all() {
            self.answer_standing_by(shard, Err("this node is not up"));
            if !matches!(self.ward(shard), Ward::Absent(_)) {
                self.end(shard, Rest::default());
            }
        }
    }

    /// Another node has claimed a shard.
    fn fenced(&mut self, shard: ShardId, epoch: Epoch) {
        let Ward::Serving(serving) = self.ward(shard) else { return };
        // One that ended before is not this one.
        if serving.handle.epoch() > Some(epoch) {
            return;
        }
        if serving.giving.is_some() {
            self.given_at(shard, OwnerInput::Fenced);
        }
        self.lose(shard);
    }

    /// Serves a shard no more that is another's.
    pub(crate) fn lose(&mut self, shard: ShardId) {
        let owner = self.control.owner(shard).filter(|owner| owner.node == *self.node());
        self.rest(shard, 1);
        self.disown(owner.into_iter().map(|owner| (shard, owner.epoch)).collect());
    }

    fn disown(&self, shards: Vec<(ShardId, Epoch)>) {
        if shards.is_empty() {
            return;
        }
        let member = self.keeping.member.clone();
        let disowned = Disowned { node: member.node().clone(), boot: member.boot(), shards };
        self.keeping.shards.tasks.spawn("disown", async move {
            if let Err(reason) = member.write(&Record::Disowned(disowned)).await {
                warn!(%reason, "could not tell that shards are lost");
            }
        });
    }

    /// Tells all what was claimed; one record at a time, so that many claims become one.
    fn publish(&mut self) {
        if self.publishing {
            return;
        }
        // While it was on its way, more was compared with a state that did not know it yet.
        let (control, node) = (&self.control, self.keeping.member.node());
        self.unpublished.retain(|shard, epoch| !knows(control, node, (*shard, *epoch)));
        if self.unpublished.is_empty() {
            return;
        }
        self.publishing = true;
        let shards: Vec<_> = std::mem::take(&mut self.unpublished).into_iter().collect();
        let (member, events) = (self.keeping.member.clone(), self.events.clone());
        let owned =
            Owned { node: member.node().clone(), boot: member.boot(), shards: shards.clone() };
        self.keeping.shards.spawn_vital("publish", async move {
            let result = member.write(&Record::Owned(owned)).await;
            // A keeper that has ended has nothing to tell.
            let _ = events.send(Event::Published { shards, result });
        });
    }

    fn published(&mut self, shards: Vec<(ShardId, Epoch)>, result: Result<(), WriteError>) {
        self.publishing = false;
        self.read(self.keeping.member.control());
        let Err(reason) = result else { return };
        // What is still not news is told at the next tick.
        warn!(%reason, shards = shards.len(), "could not tell which shards are owned");
        if matches!(reason, WriteError::Void(Void::OldEpoch)) {
            // Control knows of ownerships as new as these, which have ended: newer ones are news.
            let (control, node) = (self.control.clone(), self.node().clone());
            for (shard, epoch) in shards.into_iter().filter(|one| !knows(&control, &node, *one)) {
                // What has come after it stays.
                let same = |serving: &Serving| serving.handle.epoch() == Some(epoch);
                if matches!(self.ward(shard), Ward::Serving(serving) if same(serving)) {
                    self.rest(shard, 1);
                }
            }
        }
    }

    fn begin_moves(&mut self) {
        let plan = Plan::of(&self.control);
        let (node, now) = (self.node().clone(), Instant::now());
        let turn = self.turn(&plan);
        let ready = |shard: ShardId| {
            let at = usize::try_from(shard.0).expect("a shard number is an index");
            match &self.wards[at] {
                Ward::Serving(one) => one.giving.is_none() && one.move_after <= now,
                Ward::Absent(_) | Ward::Starting { .. } | Ward::StandingBy(_) => false,
            }
        };
        // How many others have begun is for control to say.
        let may = plan.may_begin(|pending| {
            let rests = turn == Turn::None && pending.why == Why::Drain;
            pending.from != node || rests || !ready(pending.shard)
        });
        let may: Vec<_> = may.iter().map(|one| (one.shard, one.to.clone(), one.why)).collect();
        let mut drained = false;
        for (shard, to, why) in may {
            if why == Why::Drain {
                if drained && turn == Turn::One {
                    continue;
                }
                drained = true;
                self.pace.began();
            }
            self.give(shard, to);
        }
    }

    /// Tells how many moves that empty this node may begin.
    fn turn(&mut self, plan: &Plan) -> Turn {
        let own = self.control.member(self.node()).and_then(|own| own.drain);
        let Some(deadline) = own.and_then(|drain| drain.deadline) else { return Turn::Any };
        let node = self.node();
        let waits = |one: &&Pending| {
            one.from == *node && one.why == Why::Drain && one.stage == Stage::Waiting
        };
        let left = plan.pending.iter().filter(waits).count();
        self.pace.turn(deadline, self.keeping.shards.clock.now(), left)
    }
}

/// Tells whether control knows that a node owns a shard by this claim.
fn knows(control: &Control, node: &NodeId, (shard, epoch): (ShardId, Epoch)) -> bool {
    control.owner(shard).is_some_and(|owner| owner.node == *node && owner.epoch == epoch)
}

impl Serving {
    /// Tells whether a move has begun: it may hold the documents itself.
    fn is_moving(&self) -> bool {
        let stage = self.giving.as_ref().map(|giving| giving.side.stage());
        !matches!(stage, None | Some(OwnerStage::Idle | OwnerStage::Warming { .. }))
    }

    /// Has the documents take nothing, or go on.
    fn suspend(&mut self, suspended: bool) {
        self.suspended = suspended;
        if suspended {
            drop(self.handle.hold());
        } else {
            self.handle.resume();
        }
    }
}
