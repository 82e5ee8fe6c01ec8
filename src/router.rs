//! Finds the owner of a document: on one node, the shard that the document's id hashes to.

use std::sync::Arc;

use futures_util::future::join_all;

use crate::doc::{Handle, Join, Refusal, State, Welcome};
use crate::shard::{self, Alone, Directory, Place};
use crate::types::DocId;

/// How often a document that closes just now is opened again before its client is told to wait.
const TRIES: usize = 5;

/// Reaches every document of the cluster.
#[derive(Clone)]
pub struct Router {
    directory: Arc<dyn Directory>,
}

impl Router {
    /// Returns a router over shards that are all on this node, in the order of their numbers.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(shards: Vec<shard::Handle>) -> Self {
        Self::over(Arc::new(Alone::new(shards)))
    }

    /// Returns a router that finds shards in a directory.
    pub fn over(directory: Arc<dyn Directory>) -> Self {
        Self { directory }
    }

    /// Opens a document, or returns it where it is open.
    ///
    /// # Errors
    /// [`Refusal`] where the document's state cannot be had.
    pub async fn open(&self, doc: &DocId) -> Result<Handle, Refusal> {
        self.owner(doc)?.open(doc.clone()).await
    }

    /// Rebuilds a document's state from its checkpoint and the log, beside the one that is open.
    ///
    /// # Errors
    /// [`Refusal`] where the state cannot be had.
    pub async fn rebuild(&self, doc: &DocId) -> Result<State, Refusal> {
        self.owner(doc)?.rebuild(doc.clone()).await
    }

    /// Returns the owner of a document's shard, as far as it is known here.
    ///
    /// # Errors
    /// [`Refusal::Moved`] where this node does not own it.
    pub fn owner(&self, doc: &DocId) -> Result<shard::Handle, Refusal> {
        match self.directory.place(doc.shard(self.directory.count())) {
            Place::Here(shard) => Ok(shard),
            Place::There(_) | Place::Nowhere => Err(Refusal::Moved),
        }
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
        join_all(self.directory.here().iter().map(shard::Handle::drain)).await;
    }

    /// Takes a checkpoint of every document of this node's shards that needs one, open or not.
    pub async fn save_all(&self) {
        join_all(self.directory.here().iter().map(shard::Handle::save_all)).await;
    }

    /// Returns how many documents of this node's shards are in the log above their checkpoints.
    pub async fn uncovered(&self) -> usize {
        let shards = self.directory.here();
        let docs = join_all(shards.iter().map(shard::Handle::uncovered)).await;
        docs.iter().map(Vec::len).sum()
    }

    /// Ends every shard as a crash would: nothing is saved, nobody is told.
    pub fn kill(&self) {
        self.directory.here().iter().for_each(shard::Handle::kill);
    }
}
