//! The node's lives over stores that survive, its clients, and the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus::Registry;
use quire::access::{Asker, Right};
use quire::checkpoint::{BlobKind, Memory as MemoryStore, Store, StoredManifest};
use quire::clock::Clock;
use quire::doc::{self, Failure, Past, Refusal, Write};
use quire::log::{EventKind, Log, Memory};
use quire::router::Router;
use quire::shard::{self, Claimant, Ports, Room};
use quire::task::{Fatal, Tasks};
use quire::testing::{Faults, FaultyLog, FaultyStore, StoreFaults};
use quire::types::{Author, DocId, LogId, NodeId, Offset, Revision, SessionId, ShardId, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::archive::Archive;
use crate::clerk::{Clerk, Filed};
use crate::day::{Day, Stage};
use crate::gate::{Gate, GatedLog, GatedStore};
use crate::life::{Life, Lives};
use crate::oracle::Oracle;
use crate::plan::{End, Plan, SESSION_EXPIRY};
use crate::trace::Trace;
use crate::writer::{Promised, Role, Writer};

const SHARDS: u32 = 2;

/// In milliseconds.
const HOUR: u64 = 3_600_000;

/// After the faults end, everything has to settle within this virtual time.
const PATIENCE: Duration = Duration::from_secs(20);

struct World {
    plan: Arc<Plan>,
    archive: Archive,
    log: Arc<FaultyLog>,
    store: Arc<FaultyStore<MemoryStore>>,
    clock: Clock,
    life: watch::Sender<Option<Life>>,
    day: Arc<Day>,
    settled: watch::Sender<usize>,
    lives: u64,
    /// Whether nothing fails any more.
    calm: bool,
    zombies: Vec<(Instant, Life)>,
    /// What is counted, over all lives.
    metrics: (shard::Metrics, doc::Metrics),
    clients: Tasks,
    trace: Trace,
}

pub(crate) fn doc_id(doc: usize) -> DocId {
    format!("doc-{doc}").parse().expect("a valid id")
}

/// Tells whether the history of a document is cut at noon.
pub(crate) fn is_cut(doc: usize) -> bool {
    doc.is_multiple_of(2)
}

/// Runs a plan and judges what comes out.
pub(crate) async fn run(plan: Plan, trace: Trace) {
    trace.begin();
    let archive = Archive::new(Memory::new(LogId(u128::from(plan.seed) + 1), SHARDS));
    let below: Arc<dyn Log> = Arc::new(archive.reopen());
    let registry = Registry::new();
    let shard_metrics = shard::Metrics::register(&registry).expect("a new registry");
    let doc_metrics = doc::Metrics::register(&registry).expect("a new registry");
    let world = World {
        log: Arc::new(FaultyLog::new(below, plan.seed, plan.log)),
        store: Arc::new(FaultyStore::new(MemoryStore::new(), plan.store, plan.seed)),
        archive,
        clock: Clock::starting_at(Timestamp(1_700_000_000_000)),
        life: watch::Sender::default(),
        day: Arc::default(),
        settled: watch::Sender::default(),
        lives: 0,
        calm: false,
        zombies: Vec::new(),
        metrics: (shard_metrics, doc_metrics),
        clients: Tasks::new(),
        plan: Arc::new(plan),
        trace,
    };
    world.run().await;
}

/// A log and a store, as one life of a node reaches them.
pub(crate) type Stores = (Arc<dyn Log>, Arc<dyn Store>);

/// Returns what the shards of one life of a node work with.
pub(crate) fn ports(
    plan: &Plan,
    (log, store): Stores,
    (claimant, clock): (Claimant, Clock),
    (metrics, doc_metrics): (shard::Metrics, doc::Metrics),
    tasks: Tasks,
    fatal: Fatal,
) -> Ports {
    Ports {
        log,
        store,
        claimant,
        clock,
        config: Arc::new(plan.shard_config.clone()),
        doc_config: Arc::new(plan.doc_config.clone()),
        metrics,
        doc_metrics,
        tasks,
        budget: doc::Budget::new(64 << 20),
        encoders: doc::Encoders::new(2),
        room: Arc::new(Room::new(u64::MAX)),
        when_fenced: shard::WhenFenced::EndsTheProcess,
        public: doc::Public::default(),
        fatal,
    }
}

impl World {
    async fn run(mut self) {
        self.start().await;
        let clients = self.clients();
        let clerk = self.clients.spawn("clerk", self.clerk().run());
        self.morning().await;
        let calm = Instant::now();
        let filed = clerk.await.expect("the clerk does not fail");
        let most = self.plan.writers + self.plan.visitors;
        self.settle(most).await;
        if self.plan.afternoon {
            sleep(SESSION_EXPIRY + Duration::from_secs(1)).await;
            self.cut_history().await;
            self.day.turn(Stage::Afternoon);
            self.settle(most + self.plan.writers).await;
        }
        let mut goal = Vec::new();
        for doc in 0..self.plan.docs {
            goal.push(self.head(doc).await);
        }
        self.day.turn(Stage::Evening(goal));
        let mut promised = Vec::new();
        for client in clients {
            let ended = timeout(PATIENCE, client).await.expect("all replicas get there in time");
            promised.push(ended.expect("a client does not fail"));
        }
        self.trace.note("all have settled", format!("{:.3}", calm.elapsed().as_secs_f64()));
        self.judge(&promised, &filed).await;
    }

    /// Lives through everything that fails.
    async fn morning(&mut self) {
        let began = Instant::now();
        for (at, end) in self.plan.ends.clone() {
            sleep_until(began + at).await;
            if self.plan.forgets {
                self.forget().await;
                sleep(Duration::from_millis(50)).await;
            }
            self.move_back().await;
            self.end(end).await;
            self.bury(Instant::now());
            sleep(Duration::from_millis(30)).await;
            if self.life.borrow().is_none() {
                self.start().await;
            }
        }
        sleep_until(began + self.plan.calm).await;
        self.move_back().await;
        self.trace.note("nothing fails any more", self.lives);
        self.end_faults();
        // Nobody tells an owner that a zombie was the last to claim; the next life reads it.
        if self.plan.zombies {
            self.bury(Instant::now() + Duration::from_secs(3_600));
            self.end(End::Crash).await;
            self.start().await;
        }
    }

    fn clients(&self) -> Vec<JoinHandle<Promised>> {
        let first = Writer {
            number: 0,
            role: Role::Writer,
            plan: self.plan.clone(),
            lives: Lives(vec![self.life.subscribe()]),
            day: self.day.clone(),
            settled: self.settled.clone(),
            trace: self.trace.clone(),
            tasks: self.clients.clone(),
        };
        first.run_all()
    }

    fn clerk(&self) -> Clerk {
        let Plan { seed, docs, calm, .. } = *self.plan;
        let lives = Lives(vec![self.life.subscribe()]);
        Clerk { seed, docs, calm, lives, trace: self.trace.clone() }
    }

    /// Waits until so many have told that they have nothing left to write.
    async fn settle(&self, count: usize) {
        let mut settled = self.settled.subscribe();
        let all = settled.wait_for(|settled| *settled == count);
        let all = timeout(PATIENCE, all).await.expect("all edits are acknowledged in time");
        all.expect("the sender is here");
    }

    /// Starts the node, as often as it takes on a log that fails.
    async fn start(&mut self) {
        loop {
            self.lives += 1;
            let (gate, tasks) = (self.gate(), Tasks::new());
            let ports = self.ports(gate.clone(), tasks.clone());
            let mut shards = Vec::new();
            for shard in 0..SHARDS {
                match shard::start(ShardId(shard), ports.clone()).await {
                    Ok(handle) => shards.push(handle),
                    Err(reason) => self.trace.note("a shard did not start", reason),
                }
            }
            if shards.len() == SHARDS as usize {
                self.trace.note("a life begins", self.lives);
                let (router, dead) = (Router::new(shards), CancellationToken::new());
                self.life.send_replace(Some(Life { router, dead, gate, tasks }));
                return;
            }
            shards.iter().for_each(shard::Handle::kill);
            tasks.token().cancel();
            if self.trace.elapsed() > self.plan.calm + PATIENCE {
                // So many reads fail that a start may never get through all of them.
                self.end_faults();
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn end_faults(&mut self) {
        self.calm = true;
        self.log.set(Faults::default());
        self.store.set_faults(StoreFaults::default());
    }

    fn gate(&self) -> Gate {
        let seed = self.plan.seed.wrapping_mul(100).wrapping_add(self.lives);
        Gate::new(seed, self.plan.store_latency_max)
    }

    fn ports(&self, gate: Gate, tasks: Tasks) -> Ports {
        let (metrics, doc_metrics) = self.metrics.clone();
        let store: Arc<dyn Store> = self.store.clone();
        let log = GatedLog { gate: gate.clone(), inner: self.log.clone() };
        let stores: Stores = (Arc::new(log), Arc::new(GatedStore { gate, inner: store }));
        let claimant = Claimant { node: NodeId(doc_id(0)), boot: self.lives };
        let who = (claimant, self.skewed_clock());
        ports(&self.plan, stores, who, (metrics, doc_metrics), tasks, Fatal::default())
    }

    /// The clock of a third of the lives is an hour off: nothing may order by it.
    fn skewed_clock(&self) -> Clock {
        let now = self.clock.now().0;
        match (self.plan.seed.wrapping_mul(31) + self.lives) % 6 {
            0 => Clock::starting_at(Timestamp(now + HOUR)),
            1 => Clock::starting_at(Timestamp(now - HOUR)),
            _ => self.clock.clone(),
        }
    }

    async fn end(&mut self, end: End) {
        let Some(life) = self.life.borrow().clone() else { return };
        match end {
            End::PowerCut => {
                self.trace.note("power cut", self.lives);
                life.gate.shut();
                life.kill();
            }
            End::Crash => {
                self.trace.note("crash", self.lives);
                life.kill();
            }
            End::Zombie(rest) => {
                self.trace.note("zombie", self.lives);
                self.zombies.push((Instant::now() + rest, life));
                self.start().await;
                return;
            }
            End::Drain => {
                self.trace.note("drain", self.lives);
                if timeout(PATIENCE, life.router.drain()).await.is_ok() {
                    life.dead.cancel();
                    life.tasks.stop().await;
                } else {
                    assert!(!self.calm, "a node drains in time where nothing fails");
                    life.kill();
                }
            }
        }
        if self.plan.rots && !self.calm {
            self.rot().await;
        }
        if self.plan.forgets && !self.calm {
            self.forget().await;
        }
        self.life.send_replace(None);
    }

    /// Has the log begin earlier than it did, under a living node.
    async fn move_back(&self) {
        let quarters = (self.plan.seed + self.lives) % 4;
        for shard in (0..SHARDS).map(ShardId) {
            let low = self.archive.marks(shard).await.expect("it is in memory").low;
            if self.archive.move_back(shard, Offset(low.0 * quarters / 4)).await {
                self.trace.note("the log begins earlier", shard);
            }
        }
    }

    /// Ends those for good that should have been dead by now.
    fn bury(&mut self, now: Instant) {
        for (_, zombie) in self.zombies.extract_if(.., |(until, _)| *until <= now) {
            self.trace.note("a zombie is gone", "");
            zombie.kill();
        }
    }

    async fn head(&self, doc: usize) -> Revision {
        self.past(doc).await.head()
    }

    /// Opens a document, once more where it is closing just now.
    async fn past(&self, doc: usize) -> Past {
        loop {
            let opened = self.router().open(&doc_id(doc)).await;
            if let Ok(past) = opened
                .expect("nothing fails any more")
                .past(&Asker::anything(), Right::History)
                .await
            {
                return past;
            }
        }
    }

    fn router(&self) -> Router {
        self.life.borrow().as_ref().map(|life| life.router.clone()).expect("the node lives")
    }

    /// Cuts the history of every other document at its head.
    async fn cut_history(&self) {
        for doc in (0..self.plan.docs).filter(|doc| is_cut(*doc)) {
            let write = async {
                let before = self.head(doc).await;
                let kind = EventKind::HistoryCut { before };
                let write = Write::Event { author: Author::anonymous(), kind };
                let handle = self.router().open(&doc_id(doc)).await?;
                handle.write(SessionId([0; 16]), Asker::anything(), write).await
            };
            match write.await {
                // It was closing just now, or it was never written.
                Err(Failure::Closed | Failure::Refused(Refusal::NoDocument)) => {}
                written => drop(written.expect("nothing fails any more")),
            }
        }
    }

    /// Damages the newest checkpoint of a document that is stored, as a bad disk does.
    async fn rot(&self) {
        let doc = doc_id(usize::try_from(self.lives).expect("few") % self.plan.docs);
        let store = self.store.inner();
        let newest = store.manifests(&doc, 1).await.expect("it is in memory").pop();
        if let Some(StoredManifest { id, .. }) = newest {
            self.trace.note("a checkpoint rots", &doc);
            store.put_manifest(&id, Bytes::from_static(b"rot")).await.expect("it is in memory");
        }
    }

    /// Loses the newest checkpoints of some documents, as a store does whose last second is gone.
    async fn forget(&self) {
        let store = self.store.inner();
        for doc in (0..self.plan.docs).filter(|doc| doc.is_multiple_of(2)).map(doc_id) {
            let newest = store.manifests(&doc, 1).await.expect("it is in memory").pop();
            if let Some(StoredManifest { id, .. }) = newest {
                self.trace.note("a checkpoint is forgotten", &doc);
                store.remove_manifest(&id).await.expect("it is in memory");
            }
        }
    }

    /// Compares every way to the text: in this life, from checkpoint + tail, and from checkpoints.
    async fn judge(&mut self, promised: &[Promised], filed: &[Filed]) {
        let oracle = Oracle::ask(&self.archive, SHARDS).await;
        promised.iter().for_each(|promised| oracle.check(promised));
        oracle.check_filed(filed);
        self.trace.count("sessions expired", oracle.expired() as u64);
        self.trace.count("sessions returned", oracle.returned() as u64);
        self.trace.count("unreadable records", self.metrics.0.unreadable.get());
        self.trace.count("long forks", self.metrics.1.forks.get());
        oracle.check_server(|_| self.router(), "as it was").await;
        self.end(End::PowerCut).await;
        self.start().await;
        oracle.check_server(|_| self.router(), "after a power cut").await;
        oracle.check_history(|_| self.router(), self.plan.docs).await;
        self.end(End::Drain).await;
        for shard in 0..SHARDS {
            self.check_low_water(ShardId(shard)).await;
        }
        self.count_sealed().await;
        self.start().await;
        oracle.check_server(|_| self.router(), "after a clean stop").await;
        self.end(End::Crash).await;
        for shard in 0..SHARDS {
            for stored in self.archive.all(ShardId(shard)).await {
                self.trace.hash_in(&stored.bytes);
            }
        }
    }

    /// The log never begins above the low-water mark.
    async fn check_low_water(&self, shard: ShardId) {
        let log = &self.log;
        let marks = log.marks(shard).await.expect("nothing fails any more");
        let progress = self.store.progress(shard, log.id()).await;
        let progress = progress.expect("nothing fails any more");
        let low_water = progress.map(|progress| progress.low_water).unwrap_or_default();
        assert!(marks.low <= low_water, "shard {shard}: {marks:?}, {low_water}");
        self.trace.count("records trimmed", marks.low.0);
    }

    async fn count_sealed(&self) {
        for doc in (0..self.plan.docs).map(doc_id) {
            let blobs = self.store.blobs(&doc).await.expect("nothing fails any more");
            let sealed = blobs.iter().filter(|blob| blob.kind == BlobKind::Segment).count();
            self.trace.count("sealed segments", sealed as u64);
        }
    }
}
