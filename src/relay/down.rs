//! Which runs of nodes the cluster holds for dead: their links are ended, and no new ones taken.
//! A node that is cut off from the others may not know yet that nobody goes by what it says.

use std::collections::BTreeSet;
use std::future::pending;

use tokio::sync::watch;

use crate::types::NodeId;

/// Nodes, with the number of the start that is down.
pub type Runs = BTreeSet<(NodeId, u64)>;

/// Tells which nodes are down; cheap to clone.
#[derive(Debug, Clone)]
pub struct Down(watch::Receiver<Runs>);

impl Down {
    /// Returns one that tells what it is told.
    pub fn told() -> (watch::Sender<Runs>, Self) {
        let (sender, told) = watch::channel(Runs::new());
        (sender, Self(told))
    }

    pub(crate) fn has(&self, node: &NodeId, boot: u64) -> bool {
        self.0.borrow().contains(&(node.clone(), boot))
    }

    /// Waits until a run of a node is down.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(crate) async fn comes(&mut self, node: &NodeId, boot: u64) {
        let run = (node.clone(), boot);
        if self.0.wait_for(|runs| runs.contains(&run)).await.is_err() {
            // Nobody is told of any more: the node stops.
            pending::<()>().await;
        }
    }
}
