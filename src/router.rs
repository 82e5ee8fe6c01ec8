//! Finds the owner of a document: on one node, the shard that the document's id hashes to.

use std::sync::Arc;

use futures_util::future::join_all;
use parking_lot::RwLock;

use crate::doc::{Handle, Join, Refusal, State, Welcome};
use crate::shard;
use crate::types::DocId;

/// How often a document that closes just now is opened again before its client is told to wait.
const TRIES: usize = 5;

/// Reaches every document of the cluster.
#[derive(Clone)]
pub struct Router {
    shards: Arc<RwLock<Vec<shard::Handle>>>,
}

impl Router {
    /// Returns a router over all shards, in the order of their numbers.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(shards: Vec<shard::Handle>) -> Self {
        assert!(!shards.is_empty(), "a cluster has at least one shard");
        Self { shards: Arc::new(RwLock::new(shards)) }
    }

    /// Puts another owner of a shard in the place of the one before.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn replace(&self, shard: shard::Handle) {
        let at = usize::try_from(shard.shard().0).expect("a shard number is an index");
        let before = std::mem::replace(&mut self.shards.write()[at], shard);
        before.end();
    }

    /// Opens a document, or returns it where it is open.
    ///
    /// # Errors
    /// [`Refusal`] where the document's state cannot be had.
    pub async fn open(&self, doc: &DocId) -> Result<Handle, Refusal> {
        self.owner(doc).open(doc.clone()).await
    }

    /// Rebuilds a document's state from its checkpoint and the log, beside the one that is open.
    ///
    /// # Errors
    /// [`Refusal`] where the state cannot be had.
    pub async fn rebuild(&self, doc: &DocId) -> Result<State, Refusal> {
        self.owner(doc).rebuild(doc.clone()).await
    }

    /// Returns the owner of a document's shard, as far as it is known here.
    pub fn owner(&self, doc: &DocId) -> shard::Handle {
        let shards = self.shards.read();
        let count = u32::try_from(shards.len()).expect("the number of shards is a u32");
        let index = usize::try_from(doc.shard(count).0).expect("a shard number is an index");
        shards[index].clone()
    }

    fn all(&self) -> Vec<shard::Handle> {
        self.shards.read().clone()
    }

    /// Connects a client to a document; `join` is asked again where the document closes meanwhile.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn join(
        &self,
        doc: &DocId,
        join: impl Fn() -> Join,
    ) -> Result<(Handle, Welcome), Refusal> {
        for _ in 0..TRIES {
            let handle = self.open(doc).await?;
            if let Ok(welcome) = handle.join(join()).await {
                return welcome.map(|welcome| (handle, welcome));
            }
            tokio::task::yield_now().await;
        }
        let reason = "the document is closing".to_owned();
        Err(Refusal::Unavailable { reason, retry: std::time::Duration::from_millis(200) })
    }

    /// Sends all clients away, saves every open document and stops the shards.
    pub async fn drain(&self) {
        join_all(self.all().iter().map(shard::Handle::drain)).await;
    }

    /// Ends every shard as a crash would: nothing is saved, nobody is told.
    pub fn kill(&self) {
        self.all().iter().for_each(shard::Handle::kill);
    }
}
