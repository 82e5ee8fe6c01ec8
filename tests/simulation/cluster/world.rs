//! The days of a cluster: its machines, its clients, what goes wrong, and the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus::Registry;
use quire::access::{Asker, Right};
use quire::checkpoint::{self, Memory as MemoryStore, Store, StoredManifest};
use quire::cluster::Control;
use quire::doc::{self, Content, Mode};
use quire::log::{Log, Memory};
use quire::router::Router;
use quire::task::{Ice, Tasks};
use quire::testing::{Faults, FaultyLog, FaultyStore, StoreFaults};
use quire::types::{DocId, LogId, Offset, Revision, SessionId, ShardId};
use quire::{relay, shard};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::archive::Archive;
use crate::clerk::{Clerk, Filed};
use crate::cluster::host::{Command, Host, Site, Up};
use crate::cluster::line::Walls;
use crate::cluster::net::Net;
use crate::cluster::orders::command;
use crate::cluster::plan::{Fault, Order, Plan, ZERO};
use crate::day::{Day, Stage};
use crate::life::Lives;
use crate::link::{Hello, connect};
use crate::oracle::Oracle;
use crate::trace::Trace;
use crate::world::doc_id;
use crate::writer::{Promised, Role, Writer};

/// After the faults end, each part has to settle within this virtual time.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long all must have been settled: who was voted down while it stood still has to find out.
const STEADY: Duration = Duration::from_secs(3);

/// How often it is looked at whether all has settled, and whether the nodes agree.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long an order may take after which a node is stopped.
const STOPPED_AFTER: Duration = Duration::from_millis(300);

struct World {
    plan: Arc<Plan>,
    archive: Archive,
    site: Arc<Site>,
    hosts: Vec<Arc<Host>>,
    day: Arc<Day>,
    settled: watch::Sender<usize>,
    /// What one node knew of the cluster at each place of the control topic.
    known: BTreeMap<Offset, Arc<Control>>,
    clients: Tasks,
    trace: Trace,
}

/// Runs a plan and judges what comes out.
pub(crate) async fn run(plan: Plan, trace: Trace) {
    trace.begin();
    let (seed, plan) = (plan.clients.seed, Arc::new(plan));
    let archive = Archive::new(Memory::new(LogId(u128::from(seed) + 1), plan.shards));
    let below: Arc<dyn Log> = Arc::new(archive.reopen());
    let control: Arc<dyn Log> = Arc::new(Memory::new(LogId(0), 1));
    let registry = Registry::new();
    let tasks = Tasks::new();
    let site = Arc::new(Site {
        log: Arc::new(FaultyLog::new(below, seed, plan.clients.log)),
        control: Arc::new(FaultyLog::new(control, seed + 1, plan.control)),
        store: Arc::new(FaultyStore::new(MemoryStore::new(), plan.clients.store, seed)),
        net: Net::new(seed, plan.latency_max, tasks.clone()),
        metrics: (
            shard::Metrics::register(&registry).expect("a new registry"),
            doc::Metrics::register(&registry).expect("a new registry"),
            relay::Metrics::register(&registry).expect("a new registry"),
        ),
        calm: CancellationToken::new(),
        tasks,
        trace: trace.clone(),
        plan: plan.clone(),
    });
    let hosts = (0..plan.nodes).map(|node| Host::begin(site.clone(), node)).collect();
    let world = World {
        plan,
        archive,
        site,
        hosts,
        day: Arc::default(),
        settled: watch::Sender::default(),
        known: BTreeMap::new(),
        clients: Tasks::new(),
        trace,
    };
    world.run().await;
}

impl World {
    async fn run(mut self) {
        let clients = self.clients();
        let clerk = self.clients.spawn("clerk", self.clerk().run());
        self.morning().await;
        let calm = Instant::now();
        let filed = clerk.await.expect("the clerk does not fail");
        let most = self.plan.clients.writers + self.plan.clients.visitors;
        let mut settled = self.settled.subscribe();
        let all = settled.wait_for(|settled| *settled == most);
        let all = timeout(PATIENCE, all).await.expect("all edits are acknowledged in time");
        all.expect("the sender is here");
        self.trace.count(&format!("edits settled in {:02} s", calm.elapsed().as_secs()), 1);
        self.one_owner_each(calm).await;
        let mut goal = Vec::new();
        for doc in 0..self.plan.clients.docs {
            goal.push(self.head(doc).await);
        }
        self.day.turn(Stage::Evening(goal.clone()));
        let mut promised = Vec::new();
        for client in clients {
            let ended = timeout(PATIENCE, client).await.expect("all replicas get there in time");
            promised.push(ended.expect("a client does not fail"));
        }
        self.trace.note("all have settled", format!("{:.3}", calm.elapsed().as_secs_f64()));
        self.judge(&promised, &filed, &goal).await;
    }

    /// Lives through everything that fails.
    async fn morning(&mut self) {
        let began = Instant::now();
        for (at, fault) in self.plan.faults.clone() {
            self.look_until(began + at).await;
            self.trace.note("fault", format!("{fault:?}"));
            self.trace.count(kind(&fault), 1);
            if let Fault::Forget { doc } = fault {
                self.forget(&doc_id(doc)).await;
            }
            self.befall(fault);
        }
        self.look_until(began + self.plan.clients.calm).await;
        self.trace.note("nothing fails any more", "");
        self.site.calm.cancel();
        self.site.log.set(Faults::default());
        self.site.control.set(Faults::default());
        self.site.store.set_faults(StoreFaults::default());
        self.site.net.heal();
        for host in &self.hosts {
            host.walls.fall();
            host.control_walls.fall();
            host.store_wall.thaw();
            if let Some(up) = host.up() {
                up.life.tasks.ice().thaw();
            }
        }
        self.restore().await;
    }

    /// Takes back what operators have commanded that keeps shards from their places.
    async fn restore(&self) {
        let undrain = |node| Order::Undrain { node };
        let orders =
            (0..self.plan.nodes).map(undrain).chain([Order::Resume, Order::Guard { on: false }]);
        for wanted in orders.collect::<Vec<_>>() {
            let writing = async {
                loop {
                    let up = self.hosts.iter().find_map(|host| host.up());
                    if let Some(up) = up
                        && let Ok(written) =
                            timeout(LOOK_EVERY * 10, up.member.write(&command(&wanted))).await
                        && matches!(written, Ok(()) | Err(quire::cluster::WriteError::Void(_)))
                    {
                        return;
                    }
                    sleep(LOOK_EVERY).await;
                }
            };
            timeout(PATIENCE, writing).await.expect("a command can be given");
        }
    }

    fn befall(&self, fault: Fault) {
        match fault {
            Fault::Crash { node, end, rest } => self.hosts[node].tell(Command::Crash(end, rest)),
            Fault::Stop { node, after: None, rest } => self.hosts[node].tell(Command::Stop(rest)),
            Fault::Stop { node, after: Some(wanted), rest } => {
                let (host, trace) = (self.hosts[node].clone(), self.trace.clone());
                let up = host.up();
                self.site.tasks.spawn("stop", async move {
                    if let Some(up) = up {
                        // It is stopped all the same where nobody takes the order.
                        let _ = timeout(STOPPED_AFTER, ordered(up, wanted, trace)).await;
                    }
                    host.tell(Command::Stop(rest));
                });
            }
            Fault::Replace { node, rest } => self.hosts[node].tell(Command::Replace(rest)),
            Fault::Freeze { node, rest } => {
                if let Some(up) = self.hosts[node].up() {
                    self.shut_for(up.life.tasks.ice().clone(), rest);
                }
            }
            Fault::CutLink { from, to, back, rest } => {
                self.shut_for(self.site.net.wall(from, to), rest);
                if back {
                    self.shut_for(self.site.net.wall(to, from), rest);
                }
            }
            Fault::LoseLinks { nodes: (one, other) } => {
                let between = |ends| ends == (one, other) || ends == (other, one);
                self.site.net.cut(between, false);
            }
            Fault::CutLog { node, up, down, rest } => {
                let host = &self.hosts[node];
                self.cut_off(&host.walls, (up, down), rest);
                self.cut_off(&host.control_walls, (up, down), rest);
            }
            Fault::CutControl { node, up, down, rest } => {
                self.cut_off(&self.hosts[node].control_walls, (up, down), rest);
            }
            Fault::CutStore { node, rest } => {
                self.shut_for(self.hosts[node].store_wall.clone(), rest);
            }
            Fault::Jump { node, ahead } => {
                let zero = ZERO.saturating_add_signed(ahead * 60_000);
                self.hosts[node].zero.store(zero, Ordering::Relaxed);
            }
            Fault::Forget { .. } => {}
            Fault::Order { at, order: wanted } => {
                let Some(up) = self.hosts[at].up() else { return };
                self.site.tasks.spawn("order", ordered(up, wanted, self.trace.clone()));
            }
        }
    }

    /// Loses a document's newest checkpoint, and what is left where that was never whole: the
    /// verification at the end is right to complain of a document that has damaged ones only.
    async fn forget(&self, doc: &DocId) {
        let (store, log) = (self.site.store.inner(), self.site.log.id());
        loop {
            let newest = store.manifests(doc, 1).await.expect("it is in memory").pop();
            let Some(StoredManifest { id, .. }) = newest else { return };
            self.trace.note("a checkpoint is forgotten", doc);
            store.remove_manifest(&id).await.expect("it is in memory");
            let left = checkpoint::load(store, doc, log).await;
            if !matches!(left, Err(checkpoint::Error::AllDamaged { .. })) {
                return;
            }
        }
    }

    fn cut_off(&self, walls: &Walls, (up, down): (bool, bool), rest: Duration) {
        if up {
            self.shut_for(walls.up.clone(), rest);
        }
        if down {
            self.shut_for(walls.down.clone(), rest);
        }
    }

    fn shut_for(&self, ice: Ice, rest: Duration) {
        ice.freeze();
        self.site.tasks.spawn("thaw", async move {
            sleep(rest).await;
            ice.thaw();
        });
    }

    /// Compares what the nodes know of the cluster until it is time.
    async fn look_until(&mut self, until: Instant) {
        while Instant::now() < until {
            sleep_until(until.min(Instant::now() + LOOK_EVERY)).await;
            self.compare();
        }
    }

    /// Nodes that have read the same records know the same.
    fn compare(&mut self) {
        for up in self.hosts.iter().filter_map(|host| host.up()) {
            let control = up.member.control();
            let Some(at) = control.at() else { continue };
            if control.moves().count() > 1 {
                self.trace.count("several shards move at once", 1);
            }
            let known = self.known.entry(at).or_insert_with(|| control.clone());
            if !Arc::ptr_eq(known, &control) {
                assert_eq!(known.fingerprint(), control.fingerprint(), "control at {at}");
                self.trace.count("control compared", 1);
            }
        }
    }

    fn lives(&self) -> Lives {
        Lives(self.hosts.iter().map(|host| host.life.subscribe()).collect())
    }

    fn clients(&self) -> Vec<JoinHandle<Promised>> {
        let first = Writer {
            number: 0,
            role: Role::Writer,
            plan: Arc::new(self.plan.clients.clone()),
            lives: self.lives(),
            day: self.day.clone(),
            settled: self.settled.clone(),
            trace: self.trace.clone(),
            tasks: self.clients.clone(),
        };
        first.run_all()
    }

    fn clerk(&self) -> Clerk {
        let quire_plan = &self.plan.clients;
        let (seed, docs, calm) = (quire_plan.seed, quire_plan.docs, quire_plan.calm);
        Clerk { seed, docs, calm, lives: self.lives(), trace: self.trace.clone() }
    }

    fn all_up(&self) -> Option<Vec<Up>> {
        self.hosts.iter().map(|host| host.up()).collect()
    }

    /// Waits until each shard is served by the one node that it is placed on, and all nodes know.
    async fn one_owner_each(&mut self, calm: Instant) {
        let (began, mut since) = (Instant::now(), None);
        loop {
            let up = self.all_up();
            let settled = up.as_ref().is_some_and(|up| self.is_settled(up));
            since = settled.then(|| since.unwrap_or_else(Instant::now));
            if since.is_some_and(|since| since.elapsed() >= STEADY) {
                let took = (since.unwrap_or(began) - calm).as_secs();
                self.trace.count(&format!("owners settled in {took:02} s"), 1);
                return self.trace.note("one owner each", "");
            }
            assert!(began.elapsed() < PATIENCE, "{}", self.unsettled());
            sleep(LOOK_EVERY).await;
            self.compare();
        }
    }

    fn is_settled(&self, up: &[Up]) -> bool {
        (0..self.plan.shards).map(ShardId).all(|shard| {
            let served = up.iter().filter(|one| one.serves(shard)).map(|one| one.member.node());
            let served: Vec<_> = served.collect();
            served.len() == 1
                && up.iter().all(|one| {
                    let control = one.member.control();
                    let owner = control.owner(shard).map(|owner| owner.node);
                    control.placement(shard) == Some(served[0]) && owner.as_ref() == Some(served[0])
                })
        })
    }

    /// Says what has not settled.
    fn unsettled(&self) -> String {
        let mut text = "not every shard has one owner in time".to_owned();
        for host in &self.hosts {
            let Some(up) = host.up() else {
                text += &format!("; node {} is down", host.node);
                continue;
            };
            let control = up.member.control();
            for shard in (0..self.plan.shards).map(ShardId) {
                let (serves, placed) = (up.serves(shard), control.placement(shard));
                let (owner, moving) = (control.owner(shard), control.moving(shard));
                text += &format!(
                    "\nnode {} shard {shard}: serves {serves}, placed {placed:?}, {owner:?}, \
                     {moving:?}",
                    host.node
                );
            }
        }
        text
    }

    /// Returns the router of a document's owner.
    fn router(&self, doc: &DocId) -> Router {
        let shard = doc.shard(self.plan.shards);
        let up = self.hosts.iter().filter_map(|host| host.up()).find(|up| up.serves(shard));
        up.expect("each shard has its owner").life.router
    }

    async fn head(&self, doc: usize) -> Revision {
        let doc = doc_id(doc);
        for _ in 0..100 {
            let opened = self.router(&doc).open(&doc).await.expect("nothing fails any more");
            if let Ok(past) = opened.past(&Asker::anything(), Right::History).await {
                return past.head();
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{doc} is always closing");
    }

    async fn judge(&mut self, promised: &[Promised], filed: &[Filed], heads: &[Revision]) {
        let oracle = Oracle::ask(&self.archive, self.plan.shards).await;
        promised.iter().for_each(|promised| oracle.check(promised));
        oracle.check_filed(filed);
        oracle.check_server(|doc| self.router(doc), "at its owner").await;
        for host in &self.hosts {
            for (doc, head) in heads.iter().enumerate() {
                self.check_copy(host, doc, *head, &oracle).await;
            }
        }
        oracle.check_history(|doc| self.router(doc), self.plan.clients.docs).await;
        for shard in (0..self.plan.shards).map(ShardId) {
            let marks = self.archive.marks(shard).await.expect("it is in memory");
            let progress = self.site.store.progress(shard, self.archive.id()).await;
            let progress = progress.expect("nothing fails any more");
            let low_water = progress.map(|progress| progress.low_water).unwrap_or_default();
            assert!(marks.low <= low_water, "shard {shard}: {marks:?}, {low_water}");
            self.trace.count("records trimmed", marks.low.0);
        }
        for host in &self.hosts {
            if let Some(up) = host.up() {
                up.life.kill();
            }
        }
        for shard in 0..self.plan.shards {
            for stored in self.archive.all(ShardId(shard)).await {
                self.trace.hash_in(&stored.bytes);
            }
        }
    }

    /// Whoever comes to any node now sees the newest text.
    async fn check_copy(&self, host: &Host, doc: usize, head: Revision, oracle: &Oracle) {
        let up = host.up().expect("all nodes are up");
        let hello = Hello {
            doc: doc_id(doc),
            session: SessionId([0xee; 16]),
            socket: 0,
            rev: None,
            mode: Mode::Edit,
            ordered: false,
        };
        let began = Instant::now();
        let (link, welcome) = loop {
            match timeout(PATIENCE, connect(&up.life, &hello)).await.expect("it is answered") {
                Ok(joined) => break joined,
                Err(refusal) => {
                    assert!(began.elapsed() < PATIENCE, "node {}: {refusal}", host.node);
                    sleep(LOOK_EVERY).await;
                }
            }
        };
        assert_eq!(welcome.head, head, "node {} has an old copy of {}", host.node, hello.doc);
        let Content::Text(text) = welcome.content else { panic!("it was not asked to resume") };
        oracle.check_text(&hello.doc, head, &text);
        link.handle.leave(link.conn);
    }
}

/// Gives a command at a node.
async fn ordered(up: Up, wanted: Order, trace: Trace) {
    match up.member.write(&command(&wanted)).await {
        Ok(()) => trace.note("an order counts", ""),
        Err(reason) => trace.note("an order does not count", reason),
    }
}

fn kind(fault: &Fault) -> &'static str {
    match fault {
        Fault::Crash { .. } => "fault: crash",
        Fault::Stop { after: None, .. } => "fault: stop",
        Fault::Stop { after: Some(_), .. } => "fault: stop while moves are stopped",
        Fault::Freeze { .. } => "fault: freeze",
        Fault::Replace { .. } => "fault: replace",
        Fault::CutLink { .. } => "fault: link cut",
        Fault::LoseLinks { .. } => "fault: links lost",
        Fault::CutLog { .. } => "fault: log cut off",
        Fault::CutControl { .. } => "fault: control topic cut off",
        Fault::CutStore { .. } => "fault: store cut off",
        Fault::Jump { .. } => "fault: clock jumps",
        Fault::Forget { .. } => "fault: checkpoint forgotten",
        Fault::Order { .. } => "fault: order",
    }
}
