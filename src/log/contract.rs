//! The contract of [`Log`] as a suite that every implementation runs.
//!
//! A test calls [`all`] with a way to make fresh storage; the functions are public so that one can
//! be run alone.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;

use crate::log::{AppendError, Log, Marks, ReadError, Refusal, Stored};
use crate::types::{Offset, ShardId};

/// How many shards the suite's logs have.
pub const SHARDS: u32 = 3;

/// Is storage of its own, empty at first.
#[async_trait]
pub trait Subject: Send + Sync {
    /// Opens the log in the storage; again after it was closed.
    async fn open(&self) -> Arc<dyn Log>;
}

/// Makes storage for one case.
pub type Make<'a> = &'a (dyn Fn() -> Box<dyn Subject> + Sync);

/// Runs the whole suite.
///
/// # Panics
/// If the log breaks its contract; the same holds for each function here.
pub async fn all(make: Make<'_>) {
    a_new_log_is_empty(make().as_ref()).await;
    order_is_call_order(make().as_ref()).await;
    answers_may_be_dropped(make().as_ref()).await;
    shards_are_independent(make().as_ref()).await;
    records_survive_a_restart(make().as_ref()).await;
    reads_are_bounded_and_go_on(make().as_ref()).await;
    records_can_be_fetched(make().as_ref()).await;
    waiting_ends_when_the_record_is_there(make().as_ref()).await;
    trimmed_records_are_gone(make().as_ref()).await;
    marks_survive_a_trim_of_everything(make().as_ref()).await;
    what_is_not_there_is_refused(make().as_ref()).await;
    a_closed_log_refuses(make().as_ref()).await;
    closing_writes_what_was_appended(make().as_ref()).await;
    many_writers_get_each_offset_once(make().as_ref()).await;
}

const SHARD: ShardId = ShardId(1);

fn record(n: usize) -> Bytes {
    Bytes::from(format!("record {n}"))
}

async fn fill(log: &dyn Log, count: usize) {
    for result in join_all((0..count).map(|n| log.append(SHARD, record(n)))).await {
        result.expect("appended");
    }
}

async fn marks(log: &dyn Log, shard: ShardId) -> (u64, u64) {
    let Marks { low, high } = log.marks(shard).await.expect("marks");
    (low.0, high.0)
}

/// Reads a shard from its first record.
async fn whole(log: &dyn Log, shard: ShardId) -> Vec<Stored> {
    let (low, high) = marks(log, shard).await;
    let (mut records, mut next) = (Vec::new(), Offset(low));
    while next < Offset(high) {
        let batch = log.read(shard, next, 1 << 20).await.expect("read");
        records.extend(batch.records);
        next = batch.next;
    }
    records
}

fn polled<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A new log has its shards, all empty, and an id that stays.
pub async fn a_new_log_is_empty(subject: &dyn Subject) {
    let log = subject.open().await;
    assert_eq!(log.shards(), SHARDS);
    for shard in (0..SHARDS).map(ShardId) {
        assert_eq!(marks(&*log, shard).await, (0, 0));
        let batch = log.read(shard, Offset(0), 1000).await.expect("an empty batch");
        assert_eq!((batch.records, batch.next), (vec![], Offset(0)));
    }
    let id = log.id();
    log.close().await;
    assert_eq!(subject.open().await.id(), id);
}

/// Records lie in the order of the calls, whatever the order of the polls.
pub async fn order_is_call_order(subject: &dyn Subject) {
    let log = subject.open().await;
    let mut waiting: Vec<_> = (0..20).map(|n| log.append(SHARD, record(n))).collect();
    waiting.reverse();
    let offsets = join_all(waiting).await;
    let offsets: Vec<u64> = offsets.into_iter().map(|offset| offset.expect("appended").0).collect();
    assert_eq!(offsets, (0..20).rev().collect::<Vec<_>>());
    let expected = (0..20).map(|n| Stored { offset: Offset(n as u64), bytes: record(n) });
    assert_eq!(whole(&*log, SHARD).await, expected.collect::<Vec<_>>());
}

/// A record is written though nobody waits for the answer.
pub async fn answers_may_be_dropped(subject: &dyn Subject) {
    let log = subject.open().await;
    drop(log.append(SHARD, record(0)));
    assert_eq!(log.append(SHARD, record(1)).await.expect("appended"), Offset(1));
    assert_eq!(marks(&*log, SHARD).await, (0, 2));
}

/// Each shard counts its own offsets.
pub async fn shards_are_independent(subject: &dyn Subject) {
    let log = subject.open().await;
    fill(&*log, 5).await;
    let other = ShardId(2);
    assert_eq!(log.append(other, record(9)).await.expect("appended"), Offset(0));
    log.trim(SHARD, Offset(3)).await.expect("trimmed");
    assert_eq!(marks(&*log, SHARD).await, (3, 5));
    assert_eq!(marks(&*log, other).await, (0, 1));
    assert_eq!(marks(&*log, ShardId(0)).await, (0, 0));
}

/// What was acknowledged is there after a restart, and offsets go on.
pub async fn records_survive_a_restart(subject: &dyn Subject) {
    let log = subject.open().await;
    fill(&*log, 7).await;
    let before = whole(&*log, SHARD).await;
    log.close().await;
    drop(log);
    let log = subject.open().await;
    assert_eq!(whole(&*log, SHARD).await, before);
    assert_eq!(log.append(SHARD, record(7)).await.expect("appended"), Offset(7));
}

/// A read stops at its bound, gives one record at least, and says where to go on.
pub async fn reads_are_bounded_and_go_on(subject: &dyn Subject) {
    let log = subject.open().await;
    fill(&*log, 10).await;
    let length = record(0).len();
    for (bytes_max, count) in [(0, 1), (length, 1), (length * 3 + 1, 3), (usize::MAX, 10)] {
        let batch = log.read(SHARD, Offset(0), bytes_max).await.expect("read");
        let found = batch.records.len();
        assert!((1..=count).contains(&found), "{found} records in {bytes_max} bytes");
        assert_eq!(batch.next, Offset(found as u64));
    }
    let mut from = Offset(0);
    let mut seen = Vec::new();
    while from < Offset(10) {
        let batch = log.read(SHARD, from, length * 4).await.expect("read");
        seen.extend(batch.records.into_iter().map(|stored| stored.bytes));
        from = batch.next;
    }
    assert_eq!(seen, (0..10).map(record).collect::<Vec<_>>());
    assert_eq!(log.read(SHARD, from, 100).await.expect("read").records, vec![]);
}

/// Single records are found by their offsets.
pub async fn records_can_be_fetched(subject: &dyn Subject) {
    let log = subject.open().await;
    fill(&*log, 10).await;
    let offsets = [Offset(0), Offset(4), Offset(5), Offset(9)];
    let found = log.fetch(SHARD, &offsets).await.expect("fetched");
    let expected = [0, 4, 5, 9].map(|n| Stored { offset: Offset(n as u64), bytes: record(n) });
    assert_eq!(found, expected);
    assert_eq!(log.fetch(SHARD, &[]).await.expect("fetched"), vec![]);
}

/// Waiting is over at once for what is there, later for what is not, with an error on closing.
pub async fn waiting_ends_when_the_record_is_there(subject: &dyn Subject) {
    let log = subject.open().await;
    fill(&*log, 2).await;
    log.wait(SHARD, Offset(1)).await.expect("there");
    assert!(polled(log.wait(SHARD, Offset(2))).is_none());
    let (waited, appended) = tokio::join!(log.wait(SHARD, Offset(2)), log.append(SHARD, record(2)));
    assert_eq!((waited.is_ok(), appended.expect("appended")), (true, Offset(2)));
    let (waited, ()) = tokio::join!(log.wait(SHARD, Offset(3)), log.close());
    assert!(matches!(waited, Err(ReadError::Stopped)), "{waited:?}");
}

/// What is trimmed cannot be read, also after a restart; what is not trimmed can.
pub async fn trimmed_records_are_gone(subject: &dyn Subject) {
    let log = subject.open().await;
    fill(&*log, 10).await;
    log.trim(SHARD, Offset(4)).await.expect("trimmed");
    log.trim(SHARD, Offset(2)).await.expect("nothing to do");
    log.close().await;
    drop(log);
    let log = subject.open().await;
    assert_eq!(marks(&*log, SHARD).await, (4, 10));
    let trimmed = |error| matches!(error, ReadError::Trimmed { low: Offset(4) });
    assert!(trimmed(log.read(SHARD, Offset(3), 100).await.expect_err("trimmed")));
    let offsets = [Offset(3), Offset(5)];
    assert!(trimmed(log.fetch(SHARD, &offsets).await.expect_err("trimmed")));
    let batch = log.read(SHARD, Offset(4), 1).await.expect("read");
    assert_eq!(batch.records, [Stored { offset: Offset(4), bytes: record(4) }]);
}

/// Offsets are never given twice, even if no record is left.
pub async fn marks_survive_a_trim_of_everything(subject: &dyn Subject) {
    let log = subject.open().await;
    fill(&*log, 3).await;
    log.trim(SHARD, Offset(3)).await.expect("trimmed");
    log.close().await;
    drop(log);
    let log = subject.open().await;
    assert_eq!(marks(&*log, SHARD).await, (3, 3));
    assert_eq!(log.append(SHARD, record(3)).await.expect("appended"), Offset(3));
}

/// Shards and offsets that do not exist, and records over the bound, have their errors.
pub async fn what_is_not_there_is_refused(subject: &dyn Subject) {
    let log = subject.open().await;
    fill(&*log, 2).await;
    let beyond = |error: ReadError, at: u64| {
        let expected = matches!(error, ReadError::Beyond { offset, high: Offset(2) }
            if offset == Offset(at));
        assert!(expected, "{error:?}");
    };
    beyond(log.read(SHARD, Offset(3), 100).await.expect_err("beyond"), 3);
    beyond(log.fetch(SHARD, &[Offset(1), Offset(2)]).await.expect_err("beyond"), 2);
    beyond(log.trim(SHARD, Offset(3)).await.expect_err("beyond"), 3);

    let none = ShardId(SHARDS);
    let no_shard = |error: ReadError| {
        assert!(matches!(error, ReadError::NoShard { shards: SHARDS, .. }), "{error:?}");
    };
    no_shard(log.marks(none).await.expect_err("no shard"));
    no_shard(log.read(none, Offset(0), 100).await.expect_err("no shard"));
    no_shard(log.fetch(none, &[Offset(0)]).await.expect_err("no shard"));
    no_shard(log.wait(none, Offset(0)).await.expect_err("no shard"));
    no_shard(log.trim(none, Offset(0)).await.expect_err("no shard"));
    let refused = not_written(log.append(none, record(0)).await);
    assert_eq!(refused, Refusal::NoShard { shard: none, shards: SHARDS });

    let long = Bytes::from(vec![0; crate::log::RECORD_BYTES_MAX + 1]);
    let refused = not_written(log.append(SHARD, long).await);
    assert!(matches!(refused, Refusal::TooLarge { .. }), "{refused:?}");
    assert_eq!(marks(&*log, SHARD).await, (0, 2));
}

/// After closing nothing works, and nothing hangs.
pub async fn a_closed_log_refuses(subject: &dyn Subject) {
    let log = subject.open().await;
    fill(&*log, 2).await;
    log.close().await;
    log.close().await;
    assert_eq!(not_written(log.append(SHARD, record(2)).await), Refusal::Stopped);
    let stopped = |error: ReadError| assert!(matches!(error, ReadError::Stopped), "{error:?}");
    stopped(log.marks(SHARD).await.expect_err("stopped"));
    stopped(log.read(SHARD, Offset(0), 100).await.expect_err("stopped"));
    stopped(log.fetch(SHARD, &[Offset(0)]).await.expect_err("stopped"));
    stopped(log.wait(SHARD, Offset(9)).await.expect_err("stopped"));
    stopped(log.trim(SHARD, Offset(1)).await.expect_err("stopped"));
}

/// What was appended before closing is written and answered.
pub async fn closing_writes_what_was_appended(subject: &dyn Subject) {
    let log = subject.open().await;
    let waiting: Vec<_> = (0..50).map(|n| log.append(SHARD, record(n))).collect();
    log.close().await;
    for (n, result) in join_all(waiting).await.into_iter().enumerate() {
        assert_eq!(result.expect("appended"), Offset(n as u64));
    }
    drop(log);
    assert_eq!(marks(&*subject.open().await, SHARD).await, (0, 50));
}

/// Writers at once share the offsets without gap or double, each in its own order.
pub async fn many_writers_get_each_offset_once(subject: &dyn Subject) {
    let log = subject.open().await;
    let write = async |writer: usize| {
        let mut offsets = Vec::new();
        for n in 0..10 {
            let shard = ShardId(u32::try_from(n % 2).expect("0 or 1"));
            let offset = log.append(shard, record(writer * 100 + n)).await.expect("appended");
            offsets.push((shard, offset, record(writer * 100 + n)));
        }
        offsets
    };
    let mut all: Vec<_> = join_all((0..20).map(write)).await.into_iter().flatten().collect();
    all.sort_by_key(|(shard, offset, _)| (*shard, *offset));
    for shard in [ShardId(0), ShardId(1)] {
        let stored = whole(&*log, shard).await.into_iter();
        let stored = stored.map(|found| (shard, found.offset, found.bytes));
        let told = all.iter().filter(|(of, _, _)| *of == shard).cloned();
        assert_eq!(stored.collect::<Vec<_>>(), told.collect::<Vec<_>>());
        assert_eq!(marks(&*log, shard).await, (0, 100));
    }
}

fn not_written(result: Result<Offset, AppendError>) -> Refusal {
    match result {
        Err(AppendError::NotWritten { reason }) => reason,
        other => panic!("expected NotWritten, got {other:?}"),
    }
}
