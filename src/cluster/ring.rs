//! The consistent-hash ring: which node a shard would choose. The only place that names `hashring`.
//!
//! Every node has 16 points for each unit of its weight. Points and keys are hashed as fixed bytes
//! under a constant key, so that every node and every version sees the same ring:
//!
//! ```text
//! point = "n" length-of-name(1) name number(4, LE)
//! key   = "s" shard(4, LE) probe(4, LE)
//! ```

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use siphasher::sip::SipHasher24;

use crate::types::{NodeId, ShardId};

/// The points of a node for each unit of its weight: 160 at the usual weight of 10.
pub const POINTS_PER_WEIGHT: u32 = 16;

const HASH_KEY: (u64, u64) = (0x7175_6972_652d_7269, 0x6e67_2d70_6f69_6e74);

/// Holds the points of some nodes.
pub struct Ring {
    points: HashRing<Point, FixedHash>,
}

impl Ring {
    /// Places the nodes, by name, with their weights.
    pub fn new<'a>(nodes: impl IntoIterator<Item = (&'a NodeId, u32)>) -> Self {
        let mut batch = Vec::new();
        for (at, (node, weight)) in nodes.into_iter().enumerate() {
            let numbers = 0..weight * POINTS_PER_WEIGHT;
            batch.extend(numbers.map(|number| Point::new(at, node, number)));
        }
        let mut points = HashRing::with_hasher(FixedHash);
        points.batch_add(batch);
        Self { points }
    }

    /// Returns the place, in the order given to [`Ring::new`], of the node that a shard chooses at
    /// a probe; a shard that is not wanted where one probe leads tries the next. None if there is
    /// no node.
    pub fn choice(&self, shard: ShardId, probe: u32) -> Option<usize> {
        self.points.get(&Key { shard, probe }).map(|point| point.node)
    }
}

/// Is one point of a node; its bytes are all that is hashed.
struct Point {
    node: usize,
    bytes: Vec<u8>,
}

impl Point {
    fn new(at: usize, node: &NodeId, number: u32) -> Self {
        let name = node.0.as_str().as_bytes();
        let length = u8::try_from(name.len()).expect("a node name has at most 128 bytes");
        let bytes = [&[b'n', length], name, &number.to_le_bytes()].concat();
        Self { node: at, bytes }
    }
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.bytes);
    }
}

struct Key {
    shard: ShardId,
    probe: u32,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [b's'; 9];
        bytes[1..5].copy_from_slice(&self.shard.0.to_le_bytes());
        bytes[5..].copy_from_slice(&self.probe.to_le_bytes());
        state.write(&bytes);
    }
}

#[derive(Clone)]
struct FixedHash;

impl BuildHasher for FixedHash {
    type Hasher = SipHasher24;

    fn build_hasher(&self) -> SipHasher24 {
        SipHasher24::new_with_keys(HASH_KEY.0, HASH_KEY.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::testing::node;

    fn ring(weights: &[u32]) -> Ring {
        let names: Vec<_> = (0..weights.len()).map(|at| node(&format!("n{at}"))).collect();
        Ring::new(names.iter().zip(weights.iter().copied()))
    }

    fn counts(weights: &[u32], shards: u32) -> Vec<u32> {
        let ring = ring(weights);
        let mut counts = vec![0; weights.len()];
        for shard in 0..shards {
            counts[ring.choice(ShardId(shard), 0).unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn choices_stay_as_they_are() {
        let ring = ring(&[10, 10, 10, 20, 5]);
        let choices: Vec<_> =
            (0..32).map(|shard| ring.choice(ShardId(shard), 0).unwrap()).collect();
        let probes: Vec<_> = (0..8).map(|probe| ring.choice(ShardId(7), probe).unwrap()).collect();
        let golden = [
            3, 1, 2, 2, 3, 3, 3, 1, 3, 1, 3, 3, 4, 4, 1, 2, 4, 4, 1, 2, 0, 3, 3, 3, 0, 2, 3, 3, 3,
            4, 1, 2,
        ];
        assert_eq!(choices, golden);
        assert_eq!(probes, [1, 0, 1, 1, 1, 3, 3, 3]);
    }

    #[test]
    fn the_ring_alone_is_fairly_even() {
        let most = counts(&[10; 8], 1_024).into_iter().max();
        assert!(most.is_some_and(|most| most <= 166), "{most:?}");
    }

    #[test]
    fn weight_counts() {
        let counts = counts(&[10, 30], 4_096);
        assert!((2.4..3.6).contains(&(f64::from(counts[1]) / f64::from(counts[0]))), "{counts:?}");
    }

    #[test]
    fn a_ring_without_nodes_has_no_choice() {
        assert_eq!(ring(&[]).choice(ShardId(0), 0), None);
    }
}
