//! The consistent-hash ring: which node a shard would choose. The only place that names `hashring`.
//!
//! Every node has 64 points for each unit of its weight. Points and keys are SipHash-2-4 of fixed
//! bytes under a constant key, so that every node and every version sees the same ring:
//!
//! ```text
//! point = "n" length-of-name(1) name number(4, LE)
//! key   = "s" shard(4, LE) probe(4, LE)
//! ```
//!
//! Another ring is another version of the [`RULES`](crate::cluster::RULES).

use std::hash::{BuildHasherDefault, Hash, Hasher};

use hashring::HashRing;
use siphasher::sip::SipHasher24;

use crate::types::{NodeId, ShardId};

/// The points of a node for each unit of its weight: 640 at the usual weight of 10.
pub const POINTS_PER_WEIGHT: u32 = 64;

const HASH_KEY: (u64, u64) = (0x7175_6972_652d_7269, 0x6e67_2d70_6f69_6e74);

/// Holds the points of some nodes.
pub struct Ring {
    points: HashRing<Point, BuildHasherDefault<Hashed>>,
}

impl Ring {
    /// Places the nodes, by name, with their weights.
    pub fn new<'a>(nodes: impl IntoIterator<Item = (&'a NodeId, u32)>) -> Self {
        let mut batch = Vec::new();
        for (node, (name, weight)) in (0..).zip(nodes) {
            let mut begun = SipHasher24::new_with_keys(HASH_KEY.0, HASH_KEY.1);
            let name = name.0.as_str().as_bytes();
            let length = u8::try_from(name.len()).expect("a node name has at most 128 bytes");
            begun.write(&[b'n', length]);
            begun.write(name);
            batch.extend((0..weight * POINTS_PER_WEIGHT).map(|number| {
                let mut hasher = begun;
                hasher.write(&number.to_le_bytes());
                Point { node, hash: hasher.finish() }
            }));
        }
        let mut points = HashRing::with_hasher(BuildHasherDefault::default());
        points.batch_add(batch);
        Self { points }
    }

    /// Returns the place, in the order given to [`Ring::new`], of the node that a shard chooses at
    /// a probe; a shard that is not wanted where one probe leads tries the next. None if there is
    /// no node.
    pub fn choice(&self, shard: ShardId, probe: u32) -> Option<usize> {
        let mut hasher = SipHasher24::new_with_keys(HASH_KEY.0, HASH_KEY.1);
        hasher.write(b"s");
        hasher.write(&shard.0.to_le_bytes());
        hasher.write(&probe.to_le_bytes());
        self.points.get(&hasher.finish()).map(|point| point.node as usize)
    }
}

/// Is one point of a node. There are many: it holds no more than where it is.
struct Point {
    node: u32,
    hash: u64,
}

impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// Hands on a hash that is made already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("points and keys are hashed before they get here");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
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

    /// The golden choices were worked out by another program, which has its own SipHash.
    #[test]
    fn choices_stay_as_they_are() {
        let ring = ring(&[10, 10, 10, 20, 5]);
        let choices: Vec<_> =
            (0..32).map(|shard| ring.choice(ShardId(shard), 0).unwrap()).collect();
        let probes: Vec<_> = (0..8).map(|probe| ring.choice(ShardId(7), probe).unwrap()).collect();
        let golden = [
            3, 3, 3, 1, 1, 3, 2, 2, 3, 0, 3, 3, 0, 0, 1, 0, 3, 4, 0, 1, 3, 3, 3, 3, 1, 2, 2, 0, 3,
            4, 3, 0,
        ];
        assert_eq!(choices, golden);
        assert_eq!(probes, [2, 0, 0, 3, 1, 3, 3, 3]);
    }

    #[test]
    fn the_ring_alone_is_fairly_even() {
        let most = counts(&[10; 8], 1_024).into_iter().max();
        assert!(most.is_some_and(|most| most <= 142), "{most:?}");
    }

    #[test]
    fn weight_counts() {
        assert_eq!(counts(&[10, 30], 4_096), [1_009, 3_087], "golden, as the choices above");
    }

    #[test]
    fn a_ring_without_nodes_has_no_choice() {
        assert_eq!(ring(&[]).choice(ShardId(0), 0), None);
    }
}
