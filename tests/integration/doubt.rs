//! An owner that ends while it does not know what became of a record.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::ready;
use futures_util::poll;
use quire::access::{Asker, Right};
use quire::doc::{self, Failure, Write};
use quire::log::{self, AppendError, Appended, Log, ReadError, Refusal};
use quire::shard;
use quire::text::Operation;
use quire::types::{Author, LogId, Offset, Revision, SessionId, ShardId};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::inner::{PATIENCE, Under, id, ports, write};

const SHARD: ShardId = ShardId(0);

fn one_letter() -> Write {
    let op = Operation::builder().insert("x").build();
    Write::Edit { author: Author::anonymous(), base: Revision(0), op }
}

/// A log that loses one record, and takes its time to say whether it is still the same log.
struct Doubtful {
    inner: log::Memory,
    loses: AtomicBool,
    doubted: AtomicBool,
    asked: Notify,
    answers: Notify,
}

impl Doubtful {
    fn new() -> Self {
        let (loses, doubted, asked, answers) = Default::default();
        Self { inner: log::Memory::new(LogId(1), 1), loses, doubted, asked, answers }
    }
}

#[async_trait]
impl quire::testing::Around for Doubtful {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        if self.loses.swap(false, Ordering::Relaxed) {
            self.doubted.store(true, Ordering::Relaxed);
            return Box::pin(ready(Err(AppendError::NotWritten { reason: Refusal::Lost })));
        }
        self.inner.append(shard, record)
    }

    async fn confirm(&self) -> Result<(), ReadError> {
        if self.doubted.load(Ordering::Relaxed) {
            self.asked.notify_one();
            self.answers.notified().await;
            return Err(ReadError::NoShard { shard: SHARD, shards: 0 });
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_owner_that_ends_in_doubt_writes_and_acknowledges_nothing_more() {
    let log = Arc::new(Doubtful::new());
    let ports = ports(Under { log: log.clone(), ..Under::default() }, "owner");
    let owner = shard::start(SHARD, ports.clone()).await.expect("it starts");
    let doc = owner.open(id("a")).await.expect("it opens");
    let end = log.marks(SHARD).await.expect("it is in memory").high;
    let letter = |session| doc.write(SessionId([session; 16]), Asker::anything(), one_letter());
    log.loses.store(true, Ordering::Relaxed);
    let (mut lost, mut next) = (pin!(letter(1)), pin!(letter(2)));
    assert!(poll!(&mut lost).is_pending());
    timeout(PATIENCE, log.asked.notified()).await.expect("it finds out what became of it");
    assert!(poll!(&mut next).is_pending());
    // It has been handed to the writer once this is answered.
    doc.past(&Asker::anything(), Right::History).await.expect("it is open");
    owner.end();
    log.answers.notify_one();
    assert_eq!(timeout(PATIENCE, lost).await.expect("it ends"), Err(Failure::Closed));
    assert_eq!(timeout(PATIENCE, next).await.expect("it ends"), Err(Failure::Closed));
    timeout(PATIENCE, ports.tasks.stop()).await.expect("it ends");
    let now = log.marks(SHARD).await.expect("it is in memory").high;
    assert_eq!(now, end, "nothing is written on top of what is not known");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_document_whose_owner_is_in_doubt_for_long() {
    let log = Arc::new(Doubtful::new());
    let ports = ports(Under { log: log.clone(), ..Under::default() }, "owner");
    let owner = shard::start(SHARD, ports.clone()).await.expect("it starts");
    let doc = owner.open(id("a")).await.expect("it opens");
    log.loses.store(true, Ordering::Relaxed);
    let mut lost = pin!(doc.write(SessionId([1; 16]), Asker::anything(), one_letter()));
    assert!(poll!(&mut lost).is_pending());
    timeout(PATIENCE, log.asked.notified()).await.expect("it finds out what became of it");
    let other = timeout(PATIENCE, owner.open(id("b"))).await.expect("it is answered");
    assert!(matches!(other, Err(doc::Refusal::Unavailable { .. })), "{other:?}");
    owner.end();
    log.answers.notify_one();
    timeout(PATIENCE, ports.tasks.stop()).await.expect("it ends");
}

/// A log that loses its last records once, and goes on from there.
struct Short {
    inner: log::Memory,
    /// How many records yet get offsets that were given out before.
    again: AtomicU64,
}

#[async_trait]
impl quire::testing::Around for Short {
    fn inner(&self) -> &dyn Log {
        &self.inner
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        let appended = self.inner.append(shard, record);
        let less = |left: u64| left.checked_sub(1);
        let again = self.again.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok();
        Box::pin(async move { Ok(Offset(appended.await?.0 - if again { 3 } else { 0 })) })
    }
}

#[tokio::test]
async fn an_owner_whose_log_gives_out_offsets_again_ends_the_process() {
    let log = Arc::new(Short { inner: log::Memory::new(LogId(1), 1), again: AtomicU64::new(0) });
    let ports = ports(Under { log: log.clone(), ..Under::default() }, "owner");
    let owner = shard::start(SHARD, ports.clone()).await.expect("it starts");
    let doc = owner.open(id("a")).await.expect("it opens");
    for base in 0..5 {
        write(&doc, base).await;
    }
    // So many others write that the log is as long as before when it is looked at.
    log.again.store(1, Ordering::Relaxed);
    let written = doc.write(SessionId([1; 16]), Asker::anything(), one_letter());
    let reason = tokio::select! {
        reason = ports.fatal.wait() => reason,
        done = timeout(PATIENCE, written) => panic!("{done:?}"),
    };
    assert!(reason.contains("were there: stop every node and restore the log"), "{reason}");
}
