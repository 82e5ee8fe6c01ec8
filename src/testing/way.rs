//! One node's way to a log that others use, too: where it is cut, what is asked waits.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::log::{Appended, Batch, Log, Marks, ReadError};
use crate::task::Ice;
use crate::testing::Around;
use crate::types::{Offset, ShardId};

/// Is a log as one node reaches it.
pub struct Way {
    to: Arc<dyn Log>,
    /// Holds records back.
    pub appends: Ice,
    /// Holds back what is read.
    pub reads: Ice,
}

impl Way {
    /// Returns a way that is open.
    pub fn to(log: Arc<dyn Log>) -> Arc<Self> {
        Arc::new(Self { to: log, appends: Ice::default(), reads: Ice::default() })
    }

    /// Lets nothing through.
    pub fn cut(&self) {
        self.appends.freeze();
        self.reads.freeze();
    }

    /// Lets everything through, also what has waited.
    pub fn mend(&self) {
        self.appends.thaw();
        self.reads.thaw();
    }
}

#[async_trait]
impl Around for Way {
    fn inner(&self) -> &dyn Log {
        &*self.to
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        let (to, ice) = (self.to.clone(), self.appends.clone());
        Box::pin(async move {
            ice.thawed().await;
            to.append(shard, record).await
        })
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        self.reads.thawed().await;
        self.to.marks(shard).await
    }

    async fn read(&self, shard: ShardId, from: Offset, most: usize) -> Result<Batch, ReadError> {
        self.reads.thawed().await;
        self.to.read(shard, from, most).await
    }

    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError> {
        self.to.wait(shard, past).await?;
        self.reads.thawed().await;
        Ok(())
    }

    /// The others go on with the log.
    async fn close(&self) {}
}
