//! What the checkpoints of a document say, as far as the audit asks.

use std::sync::Arc;

use crate::audit::Error;
use crate::checkpoint::{self, Loaded, Manifest, Snapshot, Store, load};
use crate::crdt::Segment;
use crate::task::Tasks;
use crate::types::{DocId, LogId, Offset, Revision, Seq, SessionId};

/// How many manifests of a document are looked at: more than are kept.
const MANIFESTS_MAX: usize = 16;

/// Is what is stored of one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The document.
    pub doc: DocId,
    /// Of each manifest: the revision, where it stands, the hash of the text.
    pub manifests: Vec<(Revision, Offset, u64)>,
    /// The newest that is whole, or why there is none.
    pub newest: Result<Newest, String>,
}

/// Is a checkpoint that was loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The revision.
    pub revision: Revision,
    /// Every record of the document below it is covered; none of this log where the checkpoint
    /// is of another one.
    pub offset: Option<Offset>,
    /// The text hash that its manifest names.
    pub text_hash: u64,
    /// The text that its segment holds.
    pub text: Arc<str>,
    /// The sessions that are known, with the last batch and its revision.
    pub sessions: Vec<(SessionId, Seq, Revision)>,
}

impl Checkpoint {
    /// Reads what is stored of a document.
    ///
    /// # Errors
    /// If the store does not answer. What is damaged is an answer.
    pub async fn read(store: &dyn Store, doc: &DocId, log: LogId) -> Result<Self, Error> {
        let stored = store.manifests(doc, MANIFESTS_MAX).await?;
        let manifests = stored.iter().filter_map(|stored| Manifest::decode(&stored.bytes).ok());
        let manifests = manifests.map(|it| (it.revision, it.offset, it.text_hash)).collect();
        let newest = match load(store, doc, log).await {
            Ok(Some(Loaded { snapshot, .. })) => {
                Tasks::offload(move || Newest::of(snapshot, log)).await
            }
            Ok(None) => Err("there is none any more".to_owned()),
            Err(checkpoint::Error::Store(error)) => return Err(error.into()),
            Err(error) => Err(error.to_string()),
        };
        Ok(Self { doc: doc.clone(), manifests, newest })
    }
}

impl Newest {
    fn of(snapshot: Snapshot, log: LogId) -> Result<Self, String> {
        let live = Segment::decode(&snapshot.live);
        let live = live.map_err(|error| format!("its live segment cannot be read: {error}"))?;
        let sessions = snapshot.sessions.iter().map(|row| (row.session, row.seq, row.rev));
        Ok(Self {
            revision: snapshot.revision,
            offset: (snapshot.log == log).then_some(snapshot.offset),
            text_hash: snapshot.text_hash,
            text: live.text().into(),
            sessions: sessions.collect(),
        })
    }
}
