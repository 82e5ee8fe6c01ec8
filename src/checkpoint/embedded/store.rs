//! The store over the file: reads run side by side, writes take turns and share commits.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use redb::{Database, Error};
use tokio::sync::oneshot;

use crate::checkpoint::Store;
use crate::checkpoint::embedded::open;
use crate::checkpoint::embedded::rewrite::{Failed, rewrite};
use crate::checkpoint::embedded::tables::{self, Write};
use crate::checkpoint::error::{OpenError, StoreError};
use crate::checkpoint::key::{BlobId, CheckpointId, Progress, StoredManifest};
use crate::task::{Fatal, Tasks};
use crate::types::{DocId, LogId, ShardId};

const STOPPED: &str =
    "the checkpoint store has stopped after a failed write: look at the disk, then start";

/// What one commit takes together.
const COMMIT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Keeps checkpoints in a file.
///
/// A write that fails on the disk is the last one: the process ends, because what the file holds is
/// only known after it was read anew.
#[derive(Debug)]
pub struct Embedded {
    file: Arc<RwLock<Option<Database>>>,
    /// Held while something is written to the file.
    writing: Arc<Mutex<()>>,
    path: PathBuf,
    waiting: Mutex<Vec<Job>>,
    /// Held by the one who commits what is waiting.
    turn: tokio::sync::Mutex<()>,
    fatal: Fatal,
}

type Answer = oneshot::Sender<Result<(), StoreError>>;

#[derive(Debug)]
struct Job {
    write: Write,
    answer: Answer,
}

impl Embedded {
    /// The name of its file in the data folder.
    pub const FILE: &str = open::FILE;

    /// Opens the store in a data folder, or creates both.
    ///
    /// # Errors
    /// If the file is of a newer format, in use, not writable, damaged or something else; it is
    /// left as it is.
    pub async fn open(folder: &Path, fatal: Fatal) -> Result<Self, OpenError> {
        let folder = folder.to_owned();
        let (db, path) = Tasks::offload(move || open::open(&folder)).await?;
        Ok(Self {
            file: Arc::new(RwLock::new(Some(db))),
            writing: Arc::default(),
            path,
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            fatal,
        })
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, StoreError> {
        let file = Arc::clone(&self.file);
        Tasks::offload(move || with(&file, read)).await
    }

    /// Queues a write, waits for a turn, and commits what is queued by then, unless someone else
    /// has done it.
    async fn write(&self, write: Write) -> Result<(), StoreError> {
        let (answer, mut done) = oneshot::channel();
        self.waiting.lock().push(Job { write, answer });
        while done.is_empty() {
            let _turn = self.turn.lock().await;
            if !done.is_empty() {
                break;
            }
            let jobs = self.next_jobs();
            if jobs.is_empty() {
                // A turn that was given up has taken it along; its commit goes on and answers.
                break;
            }
            let (file, fatal) = (Arc::clone(&self.file), self.fatal.clone());
            let writing = Arc::clone(&self.writing);
            Tasks::offload(move || {
                let _writing = writing.lock();
                commit(&file, jobs, &fatal);
            })
            .await;
        }
        (&mut done).await.unwrap_or(Err(StoreError::Closed))
    }

    fn next_jobs(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock();
        let mut bytes = 0;
        let fits = |job: &&Job| {
            bytes += job.write.bytes();
            bytes <= COMMIT_BYTES_MAX
        };
        let count = waiting.iter().take_while(fits).count().max(1).min(waiting.len());
        waiting.drain(..count).collect()
    }
}

fn with<T>(
    file: &RwLock<Option<Database>>,
    work: impl FnOnce(&Database) -> Result<T, Error>,
) -> Result<T, StoreError> {
    let file = file.read();
    let db = file.as_ref().ok_or(StoreError::Closed)?;
    work(db).map_err(|error| open::store_error(&error))
}

fn commit(file: &RwLock<Option<Database>>, jobs: Vec<Job>, fatal: &Fatal) {
    let (writes, answers): (Vec<Write>, Vec<Answer>) =
        jobs.into_iter().map(|job| (job.write, job.answer)).unzip();
    let result = with(file, |db| tables::commit(db, &writes));
    if let Err(error @ (StoreError::NoSpace | StoreError::Failed { .. })) = &result {
        tracing::error!(%error, "the checkpoint store has stopped");
        fatal.stop_with(STOPPED);
    }
    for answer in answers {
        // Who no longer waits does not want to know.
        drop(answer.send(result.clone()));
    }
}

#[async_trait]
impl Store for Embedded {
    async fn put_chunk(&self, blob: &BlobId, index: u32, bytes: Bytes) -> Result<(), StoreError> {
        self.write(Write::Chunk(blob.clone(), index, bytes)).await
    }

    async fn chunk(&self, blob: &BlobId, index: u32) -> Result<Option<Bytes>, StoreError> {
        let blob = blob.clone();
        self.read(move |db| tables::chunk(db, &blob, index)).await
    }

    async fn blobs(&self, doc: &DocId) -> Result<Vec<BlobId>, StoreError> {
        let doc = doc.clone();
        self.read(move |db| tables::blobs(db, &doc)).await
    }

    async fn remove_blob(&self, blob: &BlobId) -> Result<(), StoreError> {
        self.write(Write::RemoveBlob(blob.clone())).await
    }

    async fn put_manifest(&self, id: &CheckpointId, bytes: Bytes) -> Result<(), StoreError> {
        self.write(Write::Manifest(id.clone(), bytes)).await
    }

    async fn manifests(
        &self,
        doc: &DocId,
        limit: usize,
    ) -> Result<Vec<StoredManifest>, StoreError> {
        let doc = doc.clone();
        self.read(move |db| tables::manifests(db, &doc, limit)).await
    }

    async fn remove_manifest(&self, id: &CheckpointId) -> Result<(), StoreError> {
        self.write(Write::RemoveManifest(id.clone())).await
    }

    async fn progress(&self, shard: ShardId, log: LogId) -> Result<Option<Progress>, StoreError> {
        self.read(move |db| tables::progress(db, shard, log)).await
    }

    async fn advance(&self, shard: ShardId, progress: Progress) -> Result<(), StoreError> {
        self.write(Write::Advance(shard, progress)).await
    }

    async fn logs(&self) -> Result<Vec<LogId>, StoreError> {
        self.read(tables::logs).await
    }

    async fn docs(&self, after: Option<&DocId>, limit: usize) -> Result<Vec<DocId>, StoreError> {
        let after = after.cloned();
        self.read(move |db| tables::docs(db, after.as_ref(), limit)).await
    }

    async fn scrub(&self) -> Result<Option<&'static str>, StoreError> {
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        let (writing, fatal) = (Arc::clone(&self.writing), self.fatal.clone());
        Tasks::offload(move || {
            let _writing = writing.lock();
            match rewrite(&file, &path) {
                Ok(()) => Ok(None),
                Err(Failed::Harmless(error)) => Err(error),
                Err(Failed::Unknown(error)) => {
                    tracing::error!(%error, "the checkpoint store has stopped");
                    fatal.stop_with(STOPPED);
                    Err(error)
                }
            }
        })
        .await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let (file, path) = (Arc::clone(&self.file), self.path.clone());
        let writing = Arc::clone(&self.writing);
        Tasks::offload(move || {
            let _writing = writing.lock();
            match file.write().take() {
                None => Ok(()),
                Some(db) => open::close(db, &path).map_err(|error| open::store_error(&error)),
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::contract::{self, doc, snapshot};
    use crate::checkpoint::{erase, load, save};
    use crate::types::Revision;

    #[tokio::test]
    async fn holds_the_contract() {
        for case in contract::CASES {
            let folder = tempfile::tempdir().unwrap();
            case.run(&Embedded::open(folder.path(), Fatal::default()).await.unwrap()).await;
        }
    }

    #[tokio::test]
    async fn what_was_saved_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let saved = Arc::new(snapshot(&doc("a"), 3, 700_000));
        for closes in [true, false] {
            let store = Embedded::open(folder.path(), Fatal::default()).await.unwrap();
            save(&store, &saved).await.unwrap();
            if closes {
                store.close().await.unwrap();
            }
        }
        let store = Embedded::open(folder.path(), Fatal::default()).await.unwrap();
        assert_eq!(load(&store, &saved.doc, saved.log).await.unwrap().unwrap().snapshot, *saved);
    }

    #[tokio::test]
    async fn a_second_opening_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path(), Fatal::default()).await.unwrap();
        let second = Embedded::open(folder.path(), Fatal::default()).await.map(drop);
        assert!(matches!(second, Err(OpenError::InUse { .. })), "{second:?}");
        store.close().await.unwrap();
        Embedded::open(folder.path(), Fatal::default()).await.unwrap();
    }

    #[tokio::test]
    async fn writes_that_wait_share_commits_and_are_all_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path(), Fatal::default()).await.unwrap();
        let bodies: Vec<BlobId> =
            (0..200).map(|n| snapshot(&doc("a"), n, 1).encode().0.body()).collect();
        let bytes = Bytes::from(vec![1; 100_000]);
        let writes = bodies.iter().map(|blob| store.put_chunk(blob, 0, bytes.clone()));
        futures_util::future::try_join_all(writes).await.unwrap();
        assert_eq!(store.blobs(&doc("a")).await.unwrap().len(), 200);
    }

    #[tokio::test]
    async fn a_write_that_is_given_up_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let store = Embedded::open(folder.path(), Fatal::default()).await.unwrap();
        let blobs = [1, 2].map(|n| snapshot(&doc("a"), n, 1).encode().0.body());
        let [mut first, mut second] =
            blobs.each_ref().map(|blob| Box::pin(store.put_chunk(blob, 0, "x".into())));
        let turn = store.turn.lock().await;
        assert!(futures_util::poll!(&mut first).is_pending());
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(turn);
        // The first begins to commit both, and is given up while it does.
        drop(futures_util::poll!(&mut first));
        drop(first);
        second.await.unwrap();
        assert_eq!(store.blobs(&doc("a")).await.unwrap(), blobs);
    }

    #[tokio::test]
    async fn what_was_removed_is_in_no_file_once_it_is_scrubbed() {
        let folder = tempfile::tempdir().unwrap();
        let holds = |bytes: &[u8]| {
            let found = |path: PathBuf| {
                let file = std::fs::read(path).unwrap();
                file.windows(bytes.len()).any(|window| window == bytes)
            };
            let mut files = std::fs::read_dir(folder.path()).unwrap();
            files.any(|entry| found(entry.unwrap().path()))
        };
        let store = Embedded::open(folder.path(), Fatal::default()).await.unwrap();
        let kept = Arc::new(snapshot(&doc("kept"), 1, 100_000));
        save(&store, &kept).await.unwrap();
        let secret = |n: u64| Bytes::from(format!("the secret {n}, {}", "s".repeat(500)));
        let blob = |n| snapshot(&doc("a"), n, 1).encode().0.body();
        for n in 0..20 {
            store.put_chunk(&blob(n), 0, secret(n)).await.unwrap();
        }
        save(&store, &Arc::new(snapshot(&doc("a"), 90, 10))).await.unwrap();
        assert!(holds(&secret(3)), "a removal leaves its pages");
        // What is saved meanwhile is not lost.
        let next = Arc::new(snapshot(&doc("kept"), 2, 100_000));
        let (scrubbed, saved) = tokio::join!(store.scrub(), save(&store, &next));
        assert_eq!((scrubbed.unwrap(), saved.is_ok()), (None, true));
        for n in [0, 3, 19] {
            assert!(!holds(&secret(n)), "{n}");
        }
        store.close().await.unwrap();
        std::fs::write(folder.path().join(open::HALF_FILE), secret(3)).unwrap();
        let store = Embedded::open(folder.path(), Fatal::default()).await.unwrap();
        assert!(!holds(&secret(3)), "what a crash left goes when it is opened");
        for (name, revision) in [("kept", 2), ("a", 90)] {
            let loaded = load(&store, &doc(name), kept.log).await.unwrap().unwrap();
            assert_eq!(loaded.snapshot.revision, Revision(revision));
        }
    }

    #[tokio::test]
    async fn a_file_that_is_mostly_empty_shrinks_when_it_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let length = || std::fs::metadata(folder.path().join("checkpoints.redb")).unwrap().len();
        let store = Embedded::open(folder.path(), Fatal::default()).await.unwrap();
        let kept = Arc::new(snapshot(&doc("kept"), 1, 100_000));
        for n in 0..40 {
            save(&store, &Arc::new(snapshot(&doc(&format!("{n}")), 1, 400_000))).await.unwrap();
        }
        save(&store, &kept).await.unwrap();
        for n in 0..40 {
            erase(&store, &doc(&format!("{n}"))).await.unwrap();
        }
        let before = length();
        store.close().await.unwrap();
        assert!(length() * 2 < before, "{before} -> {}", length());
        let store = Embedded::open(folder.path(), Fatal::default()).await.unwrap();
        let loaded = load(&store, &kept.doc, kept.log).await.unwrap().unwrap();
        assert_eq!(loaded.snapshot.revision, Revision(1));
    }
}
