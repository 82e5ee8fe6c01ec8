//! Finds the owner of a document: a shard of this node, or another node.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::doc::{
    Batch, Change, Closed, ConnId, Failure, Handle, Join, NotTaken, Refusal, State, Visit, Welcome,
};
use crate::relay::{self, PeerError, Peers, Request, Response};
use crate::shard::{self, Alone, Directory, Place, Whereabouts};
use crate::types::{DocId, NodeId, Revision};

pub use crate::shard::{Erased, Kept, Wait};

/// How often a document that closes just now is opened again before its client is told to wait.
const TRIES: usize = 5;

/// Reaches every document of the cluster.
#[derive(Clone)]
pub struct Router {
    directory: Arc<dyn Directory>,
    peers: Option<Peers>,
}

/// A document that a client is connected to, wherever it is.
#[derive(Debug, Clone)]
pub enum Document {
    /// On this node.
    Here(Handle),
    /// On another one.
    There(relay::Handle),
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
        Self { directory, peers: None }
    }

    /// Returns a router that finds shards in a directory, and documents of other nodes there.
    pub fn cluster(directory: Arc<dyn Directory>, peers: Peers) -> Self {
        Self { directory, peers: Some(peers) }
    }

    /// Opens a document of this node, or returns it where it is open.
    ///
    /// # Errors
    /// [`Refusal`] where the document's state cannot be had.
    pub async fn open(&self, doc: &DocId) -> Result<Handle, Refusal> {
        self.owner(doc)?.open(doc.clone()).await
    }

    /// Opens a document of this node for a request, which keeps it open.
    ///
    /// # Errors
    /// [`Refusal`] where the document's state cannot be had.
    pub async fn visit(&self, doc: &DocId) -> Result<Visit, Refusal> {
        for _ in 0..TRIES {
            if let Ok(visit) = self.open(doc).await?.visit().await {
                return Ok(visit);
            }
            tokio::task::yield_now().await;
        }
        Err(closing())
    }

    /// Rebuilds a document's state from its checkpoint and the log, beside the one that is open.
    ///
    /// # Errors
    /// [`Refusal`] where the state cannot be had.
    pub async fn rebuild(&self, doc: &DocId) -> Result<State, Refusal> {
        self.owner(doc)?.rebuild(doc.clone()).await
    }

    /// Erases the history of a document of this node before a revision, which was cut from it.
    ///
    /// # Errors
    /// [`Failure`]; erasing again goes on.
    pub async fn erase(&self, doc: &DocId, before: Revision) -> Result<Erased, Failure> {
        self.owner(doc)?.erase(doc, before).await
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

    /// Returns the node that a document is on, where it is another one than this.
    pub fn elsewhere(&self, doc: &DocId) -> Option<NodeId> {
        match self.directory.place(doc.shard(self.directory.count())) {
            Place::There(node) => Some(node),
            Place::Here(_) | Place::Nowhere => None,
        }
    }

    /// Returns where a document is now, to be waited upon.
    pub fn whereabouts(&self, doc: &DocId) -> Whereabouts {
        self.directory.place(doc.shard(self.directory.count())).whereabouts()
    }

    /// Waits until a document may be somewhere else than at `tried`, and no longer than `most`.
    pub async fn moved(&self, doc: &DocId, tried: &Whereabouts, most: Duration) {
        let mut changes = self.directory.changes();
        let moved = async {
            while self.whereabouts(doc) == *tried {
                if changes.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        // It is tried again in any case: what is known of a place is news, and may be late.
        let _ = timeout(most, moved).await;
    }

    /// Tells whether another node is up, as far as this one knows.
    pub fn is_up(&self, node: &NodeId) -> bool {
        self.peers.as_ref().is_some_and(|peers| peers.is_up(node))
    }

    /// Returns the other nodes that are up, as far as this one knows.
    pub fn others(&self) -> Vec<NodeId> {
        self.peers.as_ref().map(Peers::others).unwrap_or_default()
    }

    /// Has a request answered by another node.
    ///
    /// # Errors
    /// [`PeerError`].
    ///
    /// # Cancel safety
    /// The other node may work on a request of a call that was dropped.
    pub async fn carry(&self, owner: &NodeId, request: Request) -> Result<Response, PeerError> {
        match &self.peers {
            Some(peers) => peers.carry(owner, request).await,
            None => Err(PeerError::NotSent("this node has no peers".to_owned())),
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
    ) -> Result<(Document, Welcome), Refusal> {
        if let (Some(owner), Some(peers)) = (self.elsewhere(doc), &self.peers) {
            let (handle, welcome) = peers.join(&owner, doc, join).await?;
            return Ok((Document::There(handle), welcome));
        }
        for _ in 0..TRIES {
            let handle = self.open(doc).await?;
            if let Ok(welcome) = handle.join(join()).await {
                return welcome.map(|welcome| (Document::Here(handle), welcome));
            }
            tokio::task::yield_now().await;
        }
        Err(closing())
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

fn closing() -> Refusal {
    let reason = "the document is closing".to_owned();
    Refusal::Unavailable { reason, retry: Duration::from_millis(200) }
}

impl Document {
    /// Hands a batch over, once there is room for it; what becomes of it is told to the outbox.
    ///
    /// # Errors
    /// [`NotTaken`]: nothing of the batch was taken.
    ///
    /// # Cancel safety
    /// A call that is dropped while it waits for room has not handed the batch over.
    pub async fn submit(&self, conn: ConnId, batch: Batch, bytes: usize) -> Result<(), NotTaken> {
        match self {
            Self::Here(handle) => handle.submit(conn, batch, bytes).await,
            Self::There(handle) => handle.submit(conn, batch).await,
        }
    }

    /// Notes a client's selection, made at a revision.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn place(
        &self,
        conn: ConnId,
        rev: Revision,
        sel: Option<(u64, u64)>,
    ) -> Result<(), Closed> {
        match self {
            Self::Here(handle) => handle.place(conn, rev, sel),
            Self::There(handle) => handle.place(conn, rev, sel),
        }
    }

    /// Ends a connection.
    pub fn leave(&self, conn: ConnId) {
        match self {
            Self::Here(handle) => handle.leave(conn),
            Self::There(handle) => handle.leave(conn),
        }
    }

    /// Returns the revisions after `from` for a connection, or nothing where they are no longer at
    /// hand.
    ///
    /// # Errors
    /// [`Closed`], also where the connection is over.
    pub async fn missed(
        &self,
        conn: ConnId,
        from: Revision,
    ) -> Result<Option<Vec<Arc<Change>>>, Closed> {
        match self {
            Self::Here(handle) => handle.missed(conn, from).await,
            Self::There(handle) => handle.missed(conn, from),
        }
    }
}
