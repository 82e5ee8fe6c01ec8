//! Owners of one shard: take-overs from one that lives and trims, one whose place was trimmed,
//! and a janitor with a document that cannot be saved.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use quire::access::{Asker, Right};
use quire::checkpoint::{self, CheckpointId, Store};
use quire::doc::{self, Failure, Refusal};
use quire::log::{self, Batch, EventKind, Log, Marks, ReadError, Record};
use quire::shard::{self, Begun, Claimant, Claiming, Follower, Handle, Ports, StartError};
use quire::text::Operation;
use quire::types::{Author, LogId, NodeId, Offset, Revision, SessionId, ShardId};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::inner::{PATIENCE, Under, id, join, ports, write};

const SHARD: ShardId = ShardId(0);
const DAY: Duration = Duration::from_secs(86_400);

/// Returns what an owner works with who keeps no record that a checkpoint covers.
fn owner(log: &Arc<dyn Log>, store: &Arc<dyn Store>, name: &str) -> Ports {
    let config = doc::Config { idle_after: DAY, ..doc::Config::default() };
    let under = Under { log: log.clone(), store: store.clone(), config };
    let config = Arc::new(shard::Config {
        trim_margin: 0,
        trim_delay: Duration::ZERO,
        ..shard::Config::default()
    });
    Ports { config, ..ports(under, name) }
}

/// Writes to a document, saves it, and waits until the log was trimmed.
async fn go_on(owner: &Handle, log: &log::Memory, doc: &str) {
    let before = log.marks(SHARD).await.expect("it is in memory").low;
    let handle = owner.open(id(doc)).await.expect("it opens");
    let head = handle.past(&Asker::anything(), Right::History).await.expect("it is open").head();
    write(&handle, head.0).await;
    handle.save().await.expect("the store takes it");
    while log.marks(SHARD).await.expect("it is in memory").low == before {
        tokio::task::yield_now().await;
    }
}

/// When the log is trimmed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Just before somebody looks where it begins.
    Before,
    /// Just after that.
    After,
}

/// A log whose owner goes on, and trims it, when somebody looks where it begins.
struct Trimmed {
    inner: Arc<log::Memory>,
    when: When,
    /// Who does it, and at which looks from then on.
    owner: OnceLock<(Handle, Range<usize>)>,
    looks: AtomicUsize,
    /// How many trims fail first.
    refused_trims: AtomicUsize,
    /// Until when nothing can be read, as of a new leader that does not know yet where it ends.
    blind: OnceLock<Instant>,
}

impl Trimmed {
    fn new(inner: &Arc<log::Memory>, when: When) -> Arc<Self> {
        let (owner, looks, refused_trims, blind) = Default::default();
        Arc::new(Self { inner: inner.clone(), when, owner, looks, refused_trims, blind })
    }

    fn begin(&self, owner: &Handle, looks: Range<usize>) {
        assert!(self.owner.set((owner.clone(), looks)).is_ok(), "it begins once");
    }

    fn has_ended(&self) -> bool {
        let end = self.owner.get().expect("it has begun").1.end;
        self.looks.load(Ordering::Relaxed) >= end
    }

    async fn looked(&self, when: When) {
        let Some((owner, looks)) = self.owner.get().filter(|_| when == self.when) else { return };
        if looks.contains(&self.looks.fetch_add(1, Ordering::Relaxed)) {
            go_on(owner, &self.inner, "busy").await;
        }
    }
}

#[async_trait]
impl quire::testing::Around for Trimmed {
    fn inner(&self) -> &dyn Log {
        &*self.inner
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        self.looked(When::Before).await;
        let marks = self.inner.marks(shard).await;
        self.looked(When::After).await;
        marks
    }

    async fn read(&self, shard: ShardId, from: Offset, most: usize) -> Result<Batch, ReadError> {
        if self.blind.get().is_some_and(|until| Instant::now() < *until) {
            return Ok(Batch { records: Vec::new(), next: from });
        }
        self.inner.read(shard, from, most).await
    }

    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        let fewer = |left: usize| left.checked_sub(1);
        if self.refused_trims.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            return Err(ReadError::NoShard { shard, shards: 0 });
        }
        self.inner.trim(shard, before).await
    }
}

/// Takes a shard over from an owner that lives, and trims the log under it three times.
async fn take_over_from_one_who_trims(when: When) {
    let memory = Arc::new(log::Memory::new(LogId(1), 1));
    let log: Arc<dyn Log> = memory.clone();
    let store: Arc<dyn Store> = Arc::new(checkpoint::Memory::new());
    let first = shard::start(SHARD, owner(&log, &store, "first")).await.expect("it starts");
    go_on(&first, &memory, "busy").await;
    let trimmed = Trimmed::new(&memory, when);
    trimmed.begin(&first, 0..3);
    let under: Arc<dyn Log> = trimmed.clone();
    let ports = owner(&under, &store, "second");
    let second = timeout(PATIENCE, shard::start(SHARD, ports.clone())).await.expect("it ends");
    let second = second.expect("the owner lives: nothing is wrong");
    assert!(trimmed.has_ended(), "the log was trimmed meanwhile");
    assert_eq!(ports.metrics.lost.get(), 0, "nothing is taken for lost");
    let busy = second.open(id("busy")).await.expect("it opens");
    assert_eq!(write(&busy, 4).await, Revision(5), "everything is there, and more can be written");
    let old = first.open(id("busy")).await.expect("it is open");
    let op = Operation::builder().insert("late").build();
    let late = doc::Write::Edit { author: Author::anonymous(), base: Revision(4), op };
    assert_eq!(
        old.write(SessionId([7; 16]), Asker::anything(), late).await,
        Err(Failure::Closed),
        "it is replaced"
    );
}

#[tokio::test(start_paused = true)]
async fn a_log_whose_end_is_not_there_yet_is_waited_for_and_not_for_ever() {
    let memory = Arc::new(log::Memory::new(LogId(1), 1));
    let log: Arc<dyn Log> = memory.clone();
    let store: Arc<dyn Store> = Arc::new(checkpoint::Memory::new());
    let first = shard::start(SHARD, owner(&log, &store, "first")).await.expect("it starts");
    write(&first.open(id("a")).await.expect("it opens"), 0).await;
    let start = async |name: &str, seconds: u64| {
        let blind = Trimmed::new(&memory, When::Before);
        let until = Instant::now() + Duration::from_secs(seconds);
        blind.blind.set(until).expect("it is set once");
        let under: Arc<dyn Log> = blind;
        shard::start(SHARD, owner(&under, &store, name)).await
    };
    let second = start("second", 20).await.expect("the end was told, and comes late");
    let head = second
        .open(id("a"))
        .await
        .expect("it opens")
        .past(&Asker::anything(), Right::History)
        .await
        .expect("it is open");
    assert_eq!(head.head(), Revision(1));
    let lost = start("third", 3_600).await.err().expect("it does not come");
    assert!(matches!(lost, StartError::Shrunk { .. }), "{lost}");
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_goes_on_between_two_looks_is_not_taken_for_lost_records() {
    take_over_from_one_who_trims(When::Before).await;
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_trims_what_is_just_being_read_is_taken_over_all_the_same() {
    take_over_from_one_who_trims(When::After).await;
}

#[tokio::test(start_paused = true)]
async fn a_document_is_opened_while_the_log_is_trimmed_for_another() {
    let memory = Arc::new(log::Memory::new(LogId(1), 1));
    let store = Arc::new(checkpoint::Memory::new());
    let trimmed = Trimmed::new(&memory, When::After);
    let (log, kept): (Arc<dyn Log>, Arc<dyn Store>) = (trimmed.clone(), store.clone());
    let first = shard::start(SHARD, owner(&log, &kept, "first")).await.expect("it starts");
    write(&first.open(id("busy")).await.expect("it opens"), 0).await;
    write(&first.open(id("torn")).await.expect("it opens"), 0).await;
    first.kill();
    // A save that was cut short: nothing was verified, the log has everything.
    let torn = CheckpointId { doc: id("torn"), revision: Revision(1), offset: Offset(3) };
    store.put_manifest(&torn, Bytes::from_static(b"torn")).await.expect("it is in memory");
    let second = shard::start(SHARD, owner(&log, &kept, "second")).await.expect("it starts");
    // First it is found out whether the log has everything, then it is read.
    trimmed.begin(&second, 1..2);
    let opened = timeout(PATIENCE, second.open(id("torn"))).await.expect("it is answered");
    assert!(trimmed.has_ended(), "the log was trimmed meanwhile");
    let handle = opened.expect("what it needs is there");
    assert_eq!(
        handle.past(&Asker::anything(), Right::History).await.expect("it is open").head(),
        Revision(1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_place_in_the_log_was_trimmed_steps_down() {
    let memory = Arc::new(log::Memory::new(LogId(1), 1));
    let log: Arc<dyn Log> = memory.clone();
    let store: Arc<dyn Store> = Arc::new(checkpoint::Memory::new());
    let ports = owner(&log, &store, "first");
    let first = shard::start(SHARD, ports.clone()).await.expect("it starts");
    let old = first.open(id("doc")).await.expect("it opens");
    write(&old, 0).await;
    let told = join(&old).await;
    let second = shard::start(SHARD, owner(&log, &store, "second")).await.expect("it takes over");
    go_on(&second, &memory, "doc").await;
    let op = Operation::builder().insert("late").build();
    let late = doc::Write::Edit { author: Author::anonymous(), base: Revision(1), op };
    let late = timeout(PATIENCE, old.write(SessionId([7; 16]), Asker::anything(), late)).await;
    assert_eq!(late.expect("it gives up"), Err(Failure::Closed), "it is not acknowledged");
    assert!(matches!(told.closed().await, Refusal::Moved), "clients look elsewhere");
    assert_eq!(ports.metrics.fenced.get(), 1, "it knows that the shard is another's");
    go_on(&second, &memory, "doc").await;
    let past = second
        .open(id("doc"))
        .await
        .expect("it is open")
        .past(&Asker::anything(), Right::History)
        .await;
    let past = past.expect("it is open");
    assert_eq!(past.text_at(Revision(3)).await.as_deref(), Ok("xxx"), "the late edit is void");
}

/// Starts a shard with a document "bad", whose first revision has another text in the store.
async fn with_conflict(age: Duration, idle_after: Duration) -> (Handle, Ports) {
    let store: Arc<dyn Store> = Arc::new(checkpoint::Memory::new());
    let config = doc::Config { idle_after, ..doc::Config::default() };
    let start = async |name: &str, age| {
        let log = Arc::new(log::Memory::new(LogId(1), 1));
        let under = Under { log, store: store.clone(), config: config.clone() };
        let config = Arc::new(shard::Config { tail_age_max: age, ..shard::Config::default() });
        let ports = Ports { config, ..ports(under, name) };
        let handle = shard::start(SHARD, ports.clone()).await.expect("it starts");
        let bad = handle.open(id("bad")).await.expect("it is new");
        (handle, ports, bad)
    };
    let (handle, ports, bad) = start("node", age).await;
    let (_other, _, other) = start("other", DAY).await;
    write(&bad, 0).await;
    let op = Operation::builder().insert("y").build();
    let edit = doc::Write::Edit { author: Author::anonymous(), base: Revision(0), op };
    other.write(SessionId([7; 16]), Asker::anything(), edit).await.expect("it is taken");
    other.save().await.expect("nothing else is stored yet");
    (handle, ports)
}

async fn quarantines(ports: &Ports) -> usize {
    let batch = ports.log.read(SHARD, Offset(0), usize::MAX).await.expect("it is in memory");
    let records = batch.records.iter().map(|stored| Record::decode(&stored.bytes));
    let quarantine = |record: &Record| match record {
        Record::Event(event) => matches!(event.kind, EventKind::Quarantined { .. }),
        _ => false,
    };
    records.filter(|record| quarantine(record.as_ref().expect("it is whole"))).count()
}

#[tokio::test(start_paused = true)]
async fn a_document_with_two_texts_is_set_apart_once_and_closed() {
    let minute = Duration::from_secs(60);
    let (handle, ports) = with_conflict(DAY, minute).await;
    let bad = handle.open(id("bad")).await.expect("it is open");
    let told = join(&bad).await;
    for _ in 0..3 {
        let saved = bad.save().await;
        assert!(matches!(saved, Err(Failure::Store { .. })), "{saved:?}");
    }
    assert!(matches!(told.closed().await, Refusal::Quarantined { .. }));
    let closed = async {
        while ports.doc_metrics.open.get() > 0 {
            sleep(minute / 10).await;
        }
    };
    timeout(minute * 10, closed).await.expect("nothing keeps it open");
    let conflicts = ports.doc_metrics.checkpoints.with_label_values(&["conflict"]);
    assert_eq!(conflicts.get(), 3, "nobody saves it for nothing");
    assert_eq!(quarantines(&ports).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_saved_does_not_keep_the_janitor_from_the_others() {
    let (handle, ports) = with_conflict(Duration::from_secs(1), DAY).await;
    let others = [id("good"), id("better")];
    for other in &others {
        write(&handle.open(other.clone()).await.expect("it is new"), 0).await;
    }
    let saved = async {
        for other in &others {
            while ports.store.manifests(other, 1).await.expect("it is in memory").is_empty() {
                sleep(Duration::from_secs(1)).await;
            }
        }
    };
    timeout(Duration::from_secs(600), saved).await.expect("the others get their turn");
    let conflicts = ports.doc_metrics.checkpoints.with_label_values(&["conflict"]);
    assert!(conflicts.get() > 0, "the oldest one came first, and could not be saved");
}

/// A clock that was set back gives a later start of a node a lower number.
#[tokio::test(start_paused = true)]
async fn a_later_start_of_the_node_has_the_shard_whatever_its_number() {
    let log: Arc<dyn Log> = Arc::new(log::Memory::new(LogId(1), 1));
    let store: Arc<dyn Store> = Arc::new(checkpoint::Memory::new());
    let numbered = |boot| {
        let ports = owner(&log, &store, "node");
        Ports { claimant: Claimant { boot, ..ports.claimant.clone() }, ..ports }
    };
    let (before, later) = (numbered(2), numbered(1));
    let first = shard::start(SHARD, before.clone()).await.expect("nobody owns it");
    let handle = first.open(id("a")).await.expect("it opens");
    write(&handle, 0).await;
    let second = shard::start(SHARD, later.clone()).await.expect("it takes over");
    let op = Operation::builder().insert("y").build();
    let edit = doc::Write::Edit { author: Author::anonymous(), base: Revision(1), op };
    let refused = handle.write(SessionId([7; 16]), Asker::anything(), edit).await;
    assert!(refused.is_err(), "it is not the first one's any more");
    assert_eq!((before.metrics.fenced.get(), later.metrics.fenced.get()), (1, 0));
    write(&second.open(id("a")).await.expect("it opens"), 1).await;
    assert_eq!(later.metrics.fenced.get(), 0, "nobody took it back");
}

/// Copies the first records of a log into one that passes for it.
async fn cut_off(log: &log::Memory, count: usize) -> Arc<dyn Log> {
    let cut = log::Memory::new(log.id(), 1);
    let batch = log.read(SHARD, Offset(0), usize::MAX).await.expect("it is in memory");
    for stored in &batch.records[..count] {
        cut.append(SHARD, stored.bytes.clone()).await.expect("it is in memory");
    }
    Arc::new(cut)
}

#[tokio::test(start_paused = true)]
async fn a_document_whose_checkpoint_is_above_the_end_of_the_log_can_only_be_read() {
    let log = Arc::new(log::Memory::new(LogId(1), 1));
    let store: Arc<dyn Store> = Arc::new(checkpoint::Memory::new());
    let whole: Arc<dyn Log> = log.clone();
    let first = shard::start(SHARD, owner(&whole, &store, "node")).await.expect("it is free");
    // One that no checkpoint covers keeps the low-water mark at the beginning.
    write(&first.open(id("other")).await.expect("it opens"), 0).await;
    let handle = first.open(id("a")).await.expect("it opens");
    for base in 0..10 {
        write(&handle, base).await;
    }
    handle.save().await.expect("the store takes it");
    first.kill();

    let cut = cut_off(&log, 4).await;
    let second = shard::start(SHARD, owner(&cut, &store, "node")).await.expect("it takes over");
    let handle = second.open(id("a")).await.expect("it can be read");
    let past = handle.past(&Asker::anything(), Right::History).await.expect("it is open");
    assert_eq!(past.text_at(past.head()).await.expect("it is there"), "xxxxxxxxxx");
    let op = Operation::builder().insert("y").build();
    let edit = doc::Write::Edit { author: Author::anonymous(), base: past.head(), op };
    let refused =
        handle.write(SessionId([7; 16]), Asker::anything(), edit).await.expect_err("it is refused");
    assert!(matches!(refused, Failure::Refused(Refusal::Unavailable { .. })), "{refused:?}");
    write(&second.open(id("other")).await.expect("it opens"), 1).await;
}

#[tokio::test(start_paused = true)]
async fn what_only_the_log_has_is_saved_whether_it_is_open_or_not() {
    let log: Arc<dyn Log> = Arc::new(log::Memory::new(LogId(1), 1));
    let store: Arc<dyn Store> = Arc::new(checkpoint::Memory::new());
    let first = shard::start(SHARD, owner(&log, &store, "node")).await.expect("it is free");
    write(&first.open(id("a")).await.expect("it opens"), 0).await;
    write(&first.open(id("b")).await.expect("it opens"), 0).await;
    first.kill();
    let second = shard::start(SHARD, owner(&log, &store, "node")).await.expect("it takes over");
    assert_eq!(second.uncovered().await.len(), 2);
    second.save_all().await;
    second.drain().await;
    assert_eq!(second.uncovered().await.len(), 0);
    for doc in ["a", "b"] {
        assert_eq!(store.manifests(&id(doc), 9).await.expect("it is in memory").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_not_trimmed_is_trimmed_later_although_nothing_is_written() {
    let inner = Arc::new(log::Memory::new(LogId(1), 1));
    let log = Trimmed::new(&inner, When::Before);
    log.refused_trims.store(2, Ordering::Relaxed);
    let (log, store): (Arc<dyn Log>, Arc<dyn Store>) = (log, Arc::new(checkpoint::Memory::new()));
    let handle = shard::start(SHARD, owner(&log, &store, "node")).await.expect("it is free");
    let doc = handle.open(id("a")).await.expect("it opens");
    write(&doc, 0).await;
    doc.save().await.expect("the store takes it");
    let trimmed = async {
        while inner.marks(SHARD).await.expect("it is in memory").low == Offset(0) {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(Duration::from_secs(60), trimmed).await.expect("it is tried again");
}

#[tokio::test(start_paused = true)]
async fn the_log_is_trimmed_below_a_mark_that_the_store_has_had_for_long() {
    let memory = Arc::new(log::Memory::new(LogId(1), 1));
    let (log, store): (Arc<dyn Log>, Arc<dyn Store>) =
        (memory.clone(), Arc::new(checkpoint::Memory::new()));
    let delay = Duration::from_secs(30);
    let config = shard::Config { trim_margin: 0, trim_delay: delay, ..shard::Config::default() };
    let ports = Ports { config: Arc::new(config), ..owner(&log, &store, "node") };
    let handle = shard::start(SHARD, ports).await.expect("it is free");
    let doc = handle.open(id("a")).await.expect("it opens");
    let low = async || memory.marks(SHARD).await.expect("it is in memory").low;
    write(&doc, 0).await;
    doc.save().await.expect("the store takes it");
    sleep(delay / 2).await;
    write(&doc, 1).await;
    doc.save().await.expect("the store takes it");
    let stored = store.progress(SHARD, LogId(1)).await.expect("it is in memory");
    assert_eq!(stored.map(|row| row.low_water), Some(Offset(3)));
    assert_eq!(low().await, Offset(0), "the store may forget both");
    sleep(delay * 3 / 4).await;
    assert_eq!(low().await, Offset(2), "the first is old enough");
    sleep(delay / 2).await;
    assert_eq!(low().await, Offset(3), "the second, too");
}

#[tokio::test(start_paused = true)]
async fn of_two_who_claim_what_was_released_the_first_has_it() {
    let log: Arc<dyn Log> = Arc::new(log::Memory::new(LogId(1), 1));
    let store: Arc<dyn Store> = Arc::new(checkpoint::Memory::new());
    let follow = async |name: &str| {
        let begun = Follower::begin(SHARD, owner(&log, &store, name)).await;
        let Ok(Begun::Following(follower)) = begun else { panic!("nothing is lost") };
        follower
    };
    let first = shard::start(SHARD, owner(&log, &store, "first")).await.expect("it is free");
    write(&first.open(id("a")).await.expect("it opens"), 0).await;
    let (target, late) = (follow("target").await, follow("late").await);
    let at = first.hand_over(None).await.expect("nobody else has claimed it");
    let (claiming, until) = (Claiming::Released(at), CancellationToken::new());
    let target = target.claim(claiming, &until).await.expect("it is the first");
    let refused = late.claim(claiming, &until).await.err().expect("it is too late");
    assert!(matches!(refused, StartError::Fenced { .. }), "{refused}");
    write(&target.open(id("a")).await.expect("it opens"), 1).await;
}

#[tokio::test]
async fn records_that_do_not_count_are_counted_by_the_next_claim_only() {
    let log: Arc<dyn Log> = Arc::new(log::Memory::new(LogId(1), 1));
    let store: Arc<dyn Store> = Arc::new(checkpoint::Memory::new());
    let mut counted = Vec::new();
    for name in ["first", "second", "third"] {
        let ports = owner(&log, &store, name);
        let handle = shard::start(SHARD, ports.clone()).await.expect("it is free");
        handle.kill();
        counted.push((ports.metrics.unreadable.get(), ports.metrics.void.get()));
        if name == "first" {
            let late = log::Claim { node: NodeId(id("late")), boot: 1, prev: None };
            let late = Record::Claim(late).encode();
            for bytes in [Bytes::from_static(b"garbage"), late] {
                log.append(SHARD, bytes).await.expect("it has room");
            }
        }
    }
    assert_eq!(counted, [(0, 0), (1, 1), (0, 0)]);
}
