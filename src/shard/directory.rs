//! Where shards are: on this node, on another one, or on none just now.

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::shard::Handle;
use crate::types::{Epoch, NodeId, ShardId};

/// Tells who owns a shard, as far as this node knows.
#[derive(Clone)]
pub enum Place {
    /// This node.
    Here(Handle),
    /// Another one.
    There(NodeId),
    /// Nobody, for a moment.
    Nowhere,
}

/// Knows the shards and their owners.
pub trait Directory: Send + Sync {
    /// Returns how many shards there are, at least one.
    fn count(&self) -> u32;

    /// Returns where a shard is now.
    fn place(&self, shard: ShardId) -> Place;

    /// Returns the shards of this node.
    fn here(&self) -> Vec<Handle>;

    /// Returns what is told each time that a shard may have changed its place; it is over at once
    /// where none ever does.
    fn changes(&self) -> watch::Receiver<()> {
        watch::channel(()).1
    }
}

impl Place {
    /// Tells two places apart without keeping the shard: its node, or its ownership here.
    pub fn whereabouts(&self) -> Whereabouts {
        match self {
            Self::Here(handle) => Whereabouts(None, handle.epoch()),
            Self::There(node) => Whereabouts(Some(node.clone()), None),
            Self::Nowhere => Whereabouts(None, None),
        }
    }
}

/// Is where a shard was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whereabouts(Option<NodeId>, Option<Epoch>);

/// All shards on one node.
pub struct Alone {
    shards: RwLock<Vec<Handle>>,
    changed: watch::Sender<()>,
}

impl Alone {
    /// Returns the directory of a node that has all shards, in the order of their numbers.
    ///
    /// # Panics
    /// If there is none.
    pub fn new(shards: Vec<Handle>) -> Self {
        assert!(!shards.is_empty(), "a cluster has at least one shard");
        Self { shards: RwLock::new(shards), changed: watch::Sender::new(()) }
    }

    /// Puts another owner of a shard in the place of the one before.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn replace(&self, shard: Handle) {
        let before = std::mem::replace(&mut self.shards.write()[at(shard.shard())], shard);
        before.end();
        self.changed.send_replace(());
    }
}

impl Directory for Alone {
    fn count(&self) -> u32 {
        u32::try_from(self.shards.read().len()).expect("the number of shards is a u32")
    }

    fn place(&self, shard: ShardId) -> Place {
        Place::Here(self.shards.read()[at(shard)].clone())
    }

    fn here(&self) -> Vec<Handle> {
        self.shards.read().clone()
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

fn at(shard: ShardId) -> usize {
    usize::try_from(shard.0).expect("a shard number is an index")
}
