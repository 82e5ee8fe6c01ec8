//! What a shard works with where nothing about it matters but its log and its store.

use std::sync::Arc;

use crate::checkpoint::Store;
use crate::clock::Clock;
use crate::doc;
use crate::log::Log;
use crate::shard::{Claimant, Metrics, Ports, Room, WhenFenced};
use crate::task::{Fatal, Tasks};
use crate::telemetry;
use crate::types::NodeId;

/// Returns what the shards of a node work with, with every limit as it is by default.
///
/// # Panics
/// If `node` is no name.
pub fn ports(log: Arc<dyn Log>, store: Arc<dyn Store>, node: &str) -> Ports {
    let registry = telemetry::registry();
    let node = NodeId(node.parse().expect("a name"));
    Ports {
        log,
        store,
        claimant: Claimant { node, boot: 2 },
        clock: Clock::wall(),
        config: Arc::default(),
        doc_config: Arc::default(),
        metrics: Metrics::register(&registry).expect("a new registry"),
        doc_metrics: doc::Metrics::register(&registry).expect("a new registry"),
        tasks: Tasks::new(),
        budget: doc::Budget::new(64 << 20),
        encoders: doc::Encoders::new(2),
        room: Arc::new(Room::new(u64::MAX)),
        when_fenced: WhenFenced::EndsTheProcess,
        public: doc::Public { all: true, herald: None },
        fatal: Fatal::default(),
    }
}
