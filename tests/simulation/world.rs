//! The node's lives over stores that survive, its writers, and the end.

use std::sync::Arc;
use std::time::Duration;

use prometheus::Registry;
use quire::checkpoint::{Memory as MemoryStore, Store};
use quire::clock::Clock;
use quire::doc;
use quire::log::{Log, Memory};
use quire::router::Router;
use quire::shard::{self, Claimant, Ports};
use quire::task::{Fatal, Tasks};
use quire::testing::{Faults, FaultyLog, FaultyStore, StoreFaults};
use quire::types::{DocId, LogId, NodeId, Revision, ShardId, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::archive::Archive;
use crate::oracle;
use crate::plan::Plan;
use crate::told::Told;
use crate::trace::Trace;
use crate::writer::{Promised, Writer};

const SHARDS: u32 = 2;

/// After the faults end, everything has to settle within this virtual time.
const PATIENCE: Duration = Duration::from_secs(600);

/// The node as its clients find it.
#[derive(Clone, Default)]
pub(crate) struct Lives {
    /// Which life it is.
    pub(crate) number: u64,
    /// Reaches the documents while it lives.
    pub(crate) router: Option<Router>,
}

/// What survives a crash.
pub(crate) struct Stores {
    pub(crate) archive: Archive,
    log: Arc<FaultyLog>,
    store: Arc<FaultyStore<MemoryStore>>,
}

struct World {
    plan: Arc<Plan>,
    stores: Stores,
    lives: Told<Lives>,
    tasks: Tasks,
    trace: Trace,
    began: Instant,
}

pub(crate) fn doc_id(doc: usize) -> DocId {
    format!("doc-{doc}").parse().expect("a valid id")
}

/// Runs a plan and judges what comes out.
pub(crate) async fn run(plan: Plan, trace: Trace) {
    let archive = Archive::new(Memory::new(LogId(u128::from(plan.seed) + 1), SHARDS));
    let below: Arc<dyn Log> = Arc::new(archive.reopen());
    let log = Arc::new(FaultyLog::new(below, plan.seed, plan.log));
    let store = FaultyStore::new(MemoryStore::new(), plan.store, plan.seed);
    let stores = Stores { archive, log, store: Arc::new(store) };
    let mut world = World {
        plan: Arc::new(plan),
        stores,
        lives: Told::new(Lives::default()),
        tasks: Tasks::new(),
        trace,
        began: Instant::now(),
    };
    let promised = timeout(PATIENCE, world.live()).await.expect("everything settles in time");
    world.judge(&promised).await;
}

impl World {
    async fn live(&mut self) -> Vec<Promised> {
        self.start().await;
        let clients = Tasks::new();
        let (settled, goal) = (watch::Sender::new(0), Told::new(None));
        let writer = |number: usize| {
            let writer = Writer {
                doc: doc_id(number % self.plan.docs),
                number,
                plan: self.plan.clone(),
                lives: self.lives.subscribe(),
                goal: goal.subscribe(),
                settled: settled.clone(),
                trace: self.trace.clone(),
                began: self.began,
                tasks: clients.clone(),
            };
            clients.spawn("writer", writer.run())
        };
        let writers: Vec<_> = (0..self.plan.writers).map(writer).collect();
        let mut zombies = Vec::new();
        for (crash, seems_only) in self.plan.crashes.clone() {
            sleep_until(self.began + crash).await;
            if seems_only {
                zombies.extend(self.leave_behind());
            } else {
                self.crash();
            }
            sleep(Duration::from_millis(30)).await;
            self.start().await;
        }
        sleep_until(self.began + Duration::from_secs(5)).await;
        self.note("faults end");
        for (router, tasks) in zombies {
            router.kill();
            tasks.token().cancel();
        }
        self.stores.log.set(Faults::default());
        self.stores.store.set_faults(StoreFaults::default());
        let all = self.plan.writers;
        let mut counted = settled.subscribe();
        counted.wait_for(|count| *count == all).await.expect("the sender is here");
        let mut heads = Vec::new();
        for doc in 0..self.plan.docs {
            heads.push(self.head(doc).await);
        }
        goal.tell(&Some(heads));
        let mut promised = Vec::new();
        for writer in writers {
            promised.push(writer.await.expect("a writer does not fail"));
        }
        promised
    }

    /// Starts the node, as often as it takes on a log that fails.
    async fn start(&mut self) {
        self.tasks = Tasks::new();
        let number = self.lives.get().number + 1;
        loop {
            let ports = self.ports(number);
            let mut shards = Vec::new();
            for shard in 0..SHARDS {
                match shard::start(ShardId(shard), ports.clone()).await {
                    Ok(handle) => shards.push(handle),
                    Err(reason) => self.note(&format!("shard {shard} did not start: {reason}")),
                }
            }
            if shards.len() == SHARDS as usize {
                self.note(&format!("life {number}"));
                self.lives.tell(&Lives { number, router: Some(Router::new(shards)) });
                return;
            }
            shards.iter().for_each(shard::Handle::kill);
            self.tasks.token().cancel();
            self.tasks = Tasks::new();
            sleep(Duration::from_millis(100)).await;
        }
    }

    fn ports(&self, boot: u64) -> Ports {
        let registry = Registry::new();
        Ports {
            log: self.stores.log.clone(),
            store: self.stores.store.clone(),
            claimant: Claimant { node: NodeId(doc_id(0)), boot },
            clock: Clock::starting_at(Timestamp(1_700_000_000_000)),
            config: Arc::new(self.plan.shard_config.clone()),
            doc_config: Arc::new(self.plan.doc_config.clone()),
            metrics: shard::Metrics::register(&registry).expect("a new registry"),
            doc_metrics: doc::Metrics::register(&registry).expect("a new registry"),
            tasks: self.tasks.clone(),
            fatal: Fatal::default(),
        }
    }

    /// Ends the node as a power cut would: its tasks are gone, its last appends may still land.
    fn crash(&self) {
        self.note("crash");
        let number = self.lives.get().number;
        if let Some(router) = self.lives.get().router {
            router.kill();
        }
        self.tasks.token().cancel();
        self.lives.tell(&Lives { number, router: None });
    }

    /// Takes the node from its clients and lets it live on.
    fn leave_behind(&self) -> Option<(Router, Tasks)> {
        self.note("zombie");
        let lives = self.lives.get();
        self.lives.tell(&Lives { number: lives.number, router: None });
        lives.router.map(|router| (router, self.tasks.clone()))
    }

    async fn head(&self, doc: usize) -> Revision {
        loop {
            let router = self.lives.get().router.expect("the node lives");
            if let Ok(handle) = router.open(&doc_id(doc)).await
                && let Ok(past) = handle.past().await
            {
                return past.head();
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Compares every way to the text, in this life and after a clean stop and start.
    async fn judge(&mut self, promised: &[Promised]) {
        let accepted = oracle::replay(&self.stores.archive, SHARDS).await;
        oracle::check(promised, &accepted);
        let router = self.lives.get().router.expect("the node lives");
        oracle::check_server(&router, &accepted, self.plan.docs).await;
        timeout(PATIENCE, router.drain()).await.expect("a node stops in time");
        self.tasks.stop().await;
        for shard in 0..SHARDS {
            self.check_low_water(ShardId(shard)).await;
        }
        self.start().await;
        let router = self.lives.get().router.expect("the node lives");
        oracle::check_server(&router, &accepted, self.plan.docs).await;
        router.kill();
        self.tasks.token().cancel();
    }

    /// The log never begins above the low-water mark.
    async fn check_low_water(&self, shard: ShardId) {
        let log = &self.stores.log;
        let marks = log.marks(shard).await.expect("faults have ended");
        let progress = self.stores.store.progress(shard, log.id()).await;
        let low_water = progress.expect("faults have ended").map(|progress| progress.low_water);
        assert!(marks.low <= low_water.unwrap_or_default(), "shard {shard}");
    }

    fn note(&self, what: &str) {
        self.trace.note(self.began, &what);
    }
}
