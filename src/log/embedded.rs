//! A log in one file of the data folder, `log.redb`, for a node that stands alone.
//!
//! ```text
//! append ──► queue (bounded in bytes) ──► writer thread: all that waits in one durable commit
//!    ▲                                        │ then marks, then answers, in order
//!    └────────── offset or error ◄────────────┘
//! read, fetch ──► read transactions of their own, never behind the writer
//! ```
//!
//! A commit costs one sync however many records and shards it holds, so a record alone takes about
//! one sync, and writers at once share it. redb's quick repair is off: it would make each commit
//! two syncs, to save about 1 ms of opening for each MB of log, once, after a crash; the log is
//! trimmed, and never long.
//!
//! A failed commit stops the log for good. Reads go on then as far as redb has the pages in memory,
//! and answer [`ReadError::Failed`] beyond.

#[cfg(any(test, feature = "testing"))]
mod disk;
mod queue;
mod store;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::log::codec::RECORD_BYTES_MAX;
use crate::log::embedded::queue::{Append, Queue, Trim};
use crate::log::embedded::store::{Opened, Store};
use crate::log::embedded::writer::Writer;
use crate::log::{
    AppendError, Appended, Batch, Log, Marks, Metrics, OpenError, ReadError, Refusal, Stored,
};
use crate::task::Tasks;
use crate::types::{LogId, Offset, ShardId};

#[cfg(any(test, feature = "testing"))]
pub use crate::log::embedded::disk::{Disk, Failure};

/// A read of more bytes, or a fetch of more records, leaves the async threads.
const READ_BYTES_INLINE: usize = 64 * 1024;
const FETCH_INLINE: usize = 4;

/// Sets the bounds of an embedded log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How many shards a new log gets; one that exists must have as many.
    pub shards: u32,
    /// How many bytes of records may wait for the disk.
    pub queue_bytes_max: usize,
    /// How much memory redb may use for pages.
    pub cache_bytes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { shards: 16, queue_bytes_max: 64 * 1024 * 1024, cache_bytes: 32 * 1024 * 1024 }
    }
}

/// Keeps the log in a file; one process at a time.
#[derive(Debug)]
pub struct Embedded {
    id: LogId,
    shards: Arc<[watch::Sender<View>]>,
    queue: Arc<Queue>,
    /// Is taken out when the log is closed.
    store: Mutex<Option<Arc<Store>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    metrics: Metrics,
}

/// What readers see of a shard.
#[derive(Debug, Clone, Copy)]
struct View {
    marks: Marks,
    writable: bool,
}

impl Embedded {
    /// The name of its file in the data folder.
    pub const FILE: &str = store::FILE;

    /// Opens the log in `folder`, or creates both; blocks, up to a second or so after a crash.
    ///
    /// # Errors
    /// Why the folder cannot be used, and what to do about it; nothing in it was changed then.
    pub fn open(folder: &Path, options: Options, metrics: Metrics) -> Result<Self, OpenError> {
        Self::start(store::open(folder, options)?, options, metrics)
    }

    /// Opens the log on a disk that can fail.
    ///
    /// # Errors
    /// As [`Embedded::open`].
    #[cfg(any(test, feature = "testing"))]
    pub fn open_on(disk: &Disk, options: Options, metrics: Metrics) -> Result<Self, OpenError> {
        Self::start(store::open_on(disk.clone(), options)?, options, metrics)
    }

    fn start(opened: Opened, options: Options, metrics: Metrics) -> Result<Self, OpenError> {
        let Opened { store, id, marks } = opened;
        let store = Arc::new(store);
        let queue = Arc::new(Queue::new(options.queue_bytes_max));
        let view = |&marks: &Marks| watch::Sender::new(View { marks, writable: true });
        let shards: Arc<[_]> = marks.iter().map(view).collect();
        let writer = Writer {
            store: Arc::clone(&store),
            queue: Arc::clone(&queue),
            shards: Arc::clone(&shards),
            marks,
            metrics: metrics.clone(),
        };
        let file = store.file().to_path_buf();
        let thread = std::thread::Builder::new()
            .name("quire-log".to_owned())
            .spawn(move || writer.run())
            .map_err(|source| OpenError::from_io(&file, source))?;
        Ok(Self {
            id,
            shards,
            queue,
            store: Mutex::new(Some(store)),
            thread: Mutex::new(Some(thread)),
            metrics,
        })
    }

    fn refuse(&self, reason: Refusal) -> Appended {
        self.metrics.refused.inc();
        std::future::ready(Err(AppendError::NotWritten { reason })).boxed()
    }

    fn shard(&self, shard: ShardId) -> Result<&watch::Sender<View>, ReadError> {
        let index = usize::try_from(shard.0).ok();
        let found = index.and_then(|index| self.shards.get(index));
        found.ok_or(ReadError::NoShard { shard, shards: self.shards() })
    }

    /// Returns the store and the shard's marks, which are never ahead of the store.
    fn reader(&self, shard: ShardId) -> Result<(Arc<Store>, Marks), ReadError> {
        let marks = self.shard(shard)?.borrow().marks;
        let store = self.store.lock().clone().ok_or(ReadError::Stopped)?;
        Ok((store, marks))
    }
}

#[async_trait]
impl Log for Embedded {
    fn id(&self) -> LogId {
        self.id
    }

    fn shards(&self) -> u32 {
        u32::try_from(self.shards.len()).expect("a log has at most as many as a u32 counts")
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        let (bytes, bytes_max) = (record.len(), RECORD_BYTES_MAX);
        if self.shard(shard).is_err() {
            return self.refuse(Refusal::NoShard { shard, shards: self.shards() });
        }
        if bytes > bytes_max {
            return self.refuse(Refusal::TooLarge { bytes, bytes_max });
        }
        let (answer, answered) = oneshot::channel();
        match self.queue.push(Append { shard, record, answer }) {
            Ok(()) => answered.map(|answer| answer.unwrap_or_else(|_| Err(lost_writer()))).boxed(),
            Err(reason) => self.refuse(reason),
        }
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        self.reader(shard).map(|(_, marks)| marks)
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        let (store, marks) = self.reader(shard)?;
        marks.check_start(from)?;
        if bytes_max <= READ_BYTES_INLINE || from == marks.high {
            return store.read(shard, from..marks.high, bytes_max);
        }
        Tasks::offload(move || store.read(shard, from..marks.high, bytes_max)).await
    }

    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        let (store, marks) = self.reader(shard)?;
        marks.check_each(offsets)?;
        if offsets.len() <= FETCH_INLINE {
            return store.fetch(shard, offsets);
        }
        let offsets = offsets.to_vec();
        Tasks::offload(move || store.fetch(shard, &offsets)).await
    }

    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError> {
        let mut view = self.shard(shard)?.subscribe();
        let seen = view.wait_for(|view| view.marks.high > past || !view.writable).await;
        // The log owns the sender, so the channel is open.
        let there = seen.is_ok_and(|view| view.marks.high > past);
        if there { Ok(()) } else { Err(ReadError::Stopped) }
    }

    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        let (_, Marks { low, high }) = self.reader(shard)?;
        if before > high {
            return Err(ReadError::Beyond { offset: before, high });
        }
        if before <= low {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        self.queue.trim(Trim { shard, before, answer })?;
        answered.await.unwrap_or(Err(ReadError::Stopped))
    }

    async fn scrub(&self) -> Result<Option<&'static str>, ReadError> {
        let store = self.store.lock().clone().ok_or(ReadError::Stopped)?;
        let rewritten = Tasks::offload(move || store.rewrite()).await;
        rewritten.map(|()| None).map_err(ReadError::failed)
    }

    async fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            Tasks::offload(move || join(thread)).await;
        }
        let store = self.store.lock().take();
        Tasks::offload(move || drop(store)).await;
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.lock().take() {
            join(thread);
        }
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("the writer of the log panicked");
    }
}

/// Says that the writer ended without an answer: nothing is known of the record.
fn lost_writer() -> AppendError {
    AppendError::Unknown { source: Arc::new(std::io::Error::other("the writer of the log ended")) }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use prometheus::Registry;
    use tempfile::TempDir;

    use super::*;
    use crate::log::contract::{self, Subject};

    const SHARD: ShardId = ShardId(0);

    fn options(shards: u32) -> Options {
        Options { shards, ..Options::default() }
    }

    fn metrics() -> Metrics {
        Metrics::register(&Registry::new()).unwrap()
    }

    fn open(folder: &Path, shards: u32) -> Result<Embedded, OpenError> {
        Embedded::open(folder, options(shards), metrics())
    }

    fn open_on(disk: &Disk) -> Embedded {
        Embedded::open_on(disk, options(2), metrics()).unwrap()
    }

    fn record(n: u64) -> Bytes {
        Bytes::from(format!("record {n}"))
    }

    async fn append(log: &Embedded, n: u64) {
        assert_eq!(log.append(SHARD, record(n)).await.unwrap(), Offset(n));
    }

    struct Folder(TempDir);

    #[async_trait]
    impl Subject for Folder {
        async fn open(&self) -> Arc<dyn Log> {
            Arc::new(open(self.0.path(), contract::SHARDS).unwrap())
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn holds_the_contract() {
        contract::all(&|| Box::new(Folder(TempDir::new().unwrap()))).await;
    }

    #[tokio::test]
    async fn a_failed_commit_stops_the_log() {
        for failure in [Failure::Sync, Failure::Write] {
            let disk = Disk::default();
            let log = open_on(&disk);
            append(&log, 0).await;
            disk.fail(failure);
            let error = log.append(SHARD, record(1)).await.unwrap_err();
            assert!(matches!(error, AppendError::Unknown { .. }), "{failure:?} {error:?}");
            let error = log.append(ShardId(1), record(2)).await.unwrap_err();
            let stopped = AppendError::NotWritten { reason: Refusal::Stopped };
            assert_eq!(error.to_string(), stopped.to_string(), "{failure:?}");

            // Nobody is shown what is in doubt, and nobody waits for it.
            let marks = Marks { low: Offset(0), high: Offset(1) };
            assert_eq!(log.marks(SHARD).await.unwrap(), marks);
            let waited = log.wait(SHARD, Offset(1)).await.unwrap_err();
            assert!(matches!(waited, ReadError::Stopped), "{waited:?}");
            let trimmed = log.trim(SHARD, Offset(1)).await.unwrap_err();
            assert!(matches!(trimmed, ReadError::Stopped), "{trimmed:?}");
            let batch = log.read(SHARD, Offset(0), 100).await.unwrap();
            assert_eq!(batch.records, [Stored { offset: Offset(0), bytes: record(0) }]);
            log.close().await;
        }
    }

    #[tokio::test]
    async fn after_a_loss_of_power_what_was_acknowledged_is_there() {
        let disk = Disk::default();
        let log = open_on(&disk);
        for n in 0..20 {
            append(&log, n).await;
        }
        disk.fail(Failure::Sync);
        let doubtful: Vec<_> = (20..30).map(|n| log.append(SHARD, record(n))).collect();
        assert!(join_all(doubtful).await.iter().all(Result::is_err));
        for seed in 0..20 {
            let log = open_on(&disk.after_power_loss(seed));
            let batch = log.read(SHARD, Offset(0), 1 << 20).await.unwrap();
            let stored = |n| Stored { offset: Offset(n), bytes: record(n) };
            assert_eq!(batch.records, (0..batch.next.0).map(stored).collect::<Vec<_>>());
            assert!((20..=30).contains(&batch.next.0), "seed {seed}: {}", batch.next);
            append(&log, batch.next.0).await;
        }
    }

    #[tokio::test]
    async fn records_that_wait_share_one_sync() {
        let disk = Disk::default();
        let log = open_on(&disk);
        append(&log, 0).await;
        let before = disk.syncs();
        append(&log, 1).await;
        assert_eq!(disk.syncs() - before, 1, "a record alone takes one sync");
        let before = disk.syncs();
        let held = disk.hold();
        let shard = |n| ShardId(u32::try_from(n % 2).unwrap());
        let waiting: Vec<_> = (0..100).map(|n| log.append(shard(n), record(n))).collect();
        drop(held);
        assert!(join_all(waiting).await.iter().all(Result::is_ok));
        // One for those that the writer took first, one for those that came while it waited.
        assert!(disk.syncs() - before <= 2);
    }

    #[tokio::test]
    async fn a_long_trim_is_done_in_steps() {
        let disk = Disk::default();
        let log = open_on(&disk);
        let waiting = (0..10_000).map(|n| log.append(SHARD, record(n)));
        assert!(join_all(waiting).await.iter().all(Result::is_ok));
        let before = disk.syncs();
        log.trim(SHARD, Offset(9_000)).await.unwrap();
        // Three steps; the file may be made smaller after the last one.
        let syncs = disk.syncs() - before;
        assert!((3..=4).contains(&syncs), "{syncs}");
        let marks = Marks { low: Offset(9_000), high: Offset(10_000) };
        assert_eq!(log.marks(SHARD).await.unwrap(), marks);
        let again = open_on(&disk.after_power_loss(1));
        assert_eq!(again.marks(SHARD).await.unwrap(), marks);
        let batch = again.read(SHARD, Offset(9_000), 1).await.unwrap();
        assert_eq!(batch.records, [Stored { offset: Offset(9_000), bytes: record(9_000) }]);
    }

    /// Tells whether a file of the folder holds some bytes.
    fn holds(folder: &Path, bytes: &[u8]) -> bool {
        let found = |path: &Path| {
            let file = std::fs::read(path).unwrap();
            file.windows(bytes.len()).any(|window| window == bytes)
        };
        let mut files = std::fs::read_dir(folder).unwrap();
        files.any(|entry| found(&entry.unwrap().path()))
    }

    #[tokio::test]
    async fn what_was_trimmed_is_in_no_file_once_it_is_scrubbed() {
        let folder = TempDir::new().unwrap();
        let log = open(folder.path(), 2).unwrap();
        let secret = |n: u64| Bytes::from(format!("the secret {n}, {}", "s".repeat(500)));
        for n in 0..50 {
            assert_eq!(log.append(SHARD, secret(n)).await.unwrap(), Offset(n));
        }
        log.append(ShardId(1), record(0)).await.unwrap();
        log.trim(SHARD, Offset(45)).await.unwrap();
        assert!(holds(folder.path(), &secret(3)), "a trim leaves its pages");

        // What is appended and read meanwhile is neither lost nor refused.
        let log = Arc::new(log);
        let scrubs = log.scrub();
        let more = join_all((50..80).map(|n| log.append(SHARD, record(n))));
        let (scrubbed, more, read) = tokio::join!(scrubs, more, log.read(SHARD, Offset(45), 10));
        assert_eq!(scrubbed.unwrap(), None);
        assert!(more.iter().all(Result::is_ok) && read.is_ok());
        for n in [0, 3, 44] {
            assert!(!holds(folder.path(), &secret(n)), "{n}");
        }
        log.close().await;
        drop(log);
        std::fs::write(folder.path().join(store::NEW_FILE), secret(3)).unwrap();
        let log = open(folder.path(), 2).unwrap();
        assert!(!holds(folder.path(), &secret(3)), "what a crash left goes when it is opened");
        let marks = Marks { low: Offset(45), high: Offset(80) };
        assert_eq!(log.marks(SHARD).await.unwrap(), marks);
        let batch = log.read(SHARD, Offset(45), 1 << 20).await.unwrap();
        let kept = (45..50).map(secret).chain((50..80).map(record));
        assert!(batch.records.into_iter().map(|stored| stored.bytes).eq(kept));
        assert_eq!(log.marks(ShardId(1)).await.unwrap().high, Offset(1));
        append(&log, 80).await;
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_anew_stays_as_it_is() {
        let folder = TempDir::new().unwrap();
        let log = open(folder.path(), 1).unwrap();
        append(&log, 0).await;
        // Something that is no file is in the way.
        std::fs::create_dir(folder.path().join(store::NEW_FILE)).unwrap();
        assert!(log.scrub().await.is_err());
        append(&log, 1).await;
        log.close().await;
        let log = open(folder.path(), 1).unwrap();
        assert_eq!(log.marks(SHARD).await.unwrap().high, Offset(2));
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let disk = Disk::default();
        let options = Options { queue_bytes_max: 1, ..options(2) };
        let log = Embedded::open_on(&disk, options, metrics()).unwrap();
        let held = disk.hold();
        let first = log.append(SHARD, record(0));
        let second = log.append(ShardId(1), record(1));
        drop(held);
        let full = AppendError::NotWritten { reason: Refusal::Full { bytes_max: 1 } };
        assert_eq!(second.await.unwrap_err().to_string(), full.to_string());
        assert_eq!(first.await.unwrap(), Offset(0));
        append(&log, 1).await;
        assert_eq!(log.metrics.refused.get(), 1);
    }

    fn why(folder: &Path, shards: u32) -> OpenError {
        open(folder, shards).map(|_| ()).unwrap_err()
    }

    #[tokio::test]
    async fn folders_that_do_not_fit_are_refused_and_left_alone() {
        let folder = TempDir::new().unwrap();
        let log = open(folder.path(), 4).unwrap();
        append(&log, 0).await;
        assert!(matches!(why(folder.path(), 4), OpenError::InUse { .. }));
        log.close().await;

        let error = why(folder.path(), 5);
        assert!(matches!(error, OpenError::Shards { found: 4, asked: 5, .. }), "{error:?}");
        for asked in [0, u32::MAX] {
            assert!(matches!(why(folder.path(), asked), OpenError::ShardCount { .. }));
        }

        let log = open(folder.path(), 4).unwrap();
        assert_eq!(log.marks(SHARD).await.unwrap().high, Offset(1));
        log.store.lock().as_ref().unwrap().set_format(u128::from(u64::MAX));
        log.close().await;
        let error = why(folder.path(), 4);
        assert!(matches!(error, OpenError::Newer { known: 1, .. }), "{error:?}");
    }

    #[test]
    fn files_that_are_no_log_are_refused_and_left_alone() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("log.redb");
        std::fs::write(&file, "my notes").unwrap();
        assert!(matches!(why(folder.path(), 4), OpenError::Foreign { .. }));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "my notes");

        let inside = file.join("data");
        assert!(matches!(why(&inside, 4), OpenError::Io { .. }));

        std::fs::remove_file(&file).unwrap();
        drop(redb::Database::create(&file).unwrap());
        let error = why(folder.path(), 4);
        assert!(matches!(error, OpenError::Foreign { .. }), "{error:?}");
    }

    #[test]
    fn a_creation_that_was_cut_off_is_done_again() {
        let folder = TempDir::new().unwrap();
        let new = folder.path().join("log.redb.new");
        std::fs::write(&new, [0; 4096]).unwrap();
        assert_eq!(open(folder.path(), 4).unwrap().shards(), 4);
        assert!(!new.exists());
    }
}
