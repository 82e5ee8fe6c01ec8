//! Where each shard should be: a fold over the changes of membership. Pure.
//!
//! A node's fair share is its part of the weights. Shards stay where they are while every node
//! has between 90 and 110 % of its share; only homeless shards, and what is over or under that,
//! go where the [`Ring`] says. Pins come before all of it, drains before pins:
//!
//! 1. a pinned shard is on its node, if that is up and takes shards;
//! 2. every other shard stays, if its node is up and takes shards;
//! 3. a node over its cap gives shards up, first those that would choose another node;
//! 4. homeless shards go to the first node of their choices that is below its cap;
//! 5. a node under its floor takes shards, first those that would choose it.
//!
//! While all nodes are being drained, there is nowhere to drain to: the placement stays, and only
//! homeless shards are placed. A change of any of this is a new version of the
//! [`RULES`](crate::cluster::RULES): nodes that disagree here would fight for shards.

use std::collections::BTreeMap;

use crate::cluster::ring::Ring;
use crate::types::{NodeId, ShardId};

/// How often a shard asks the ring for a node with room before it takes the emptiest.
const PROBES_MAX: u32 = 64;

/// Tells what the placement needs to know of a node that is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its weight.
    pub weight: u32,
    /// Whether it is being emptied.
    pub draining: bool,
}

/// Works a placement out.
pub struct Placement<'a> {
    nodes: Vec<Node<'a>>,
    /// Where each shard is to be, as a place in `nodes`.
    places: Vec<Option<usize>>,
    pinned: Vec<bool>,
    choices: Vec<usize>,
    ring: Ring,
}

struct Node<'a> {
    name: &'a NodeId,
    weight: u64,
    load: u64,
    cap: u64,
    floor: u64,
}

impl<'a> Placement<'a> {
    /// Returns where each shard should be next, from where it should have been, the nodes that
    /// are up, and the pins; none for all if no node is up.
    pub fn next(
        prev: &[Option<NodeId>],
        up: &'a BTreeMap<NodeId, Standing>,
        pins: &BTreeMap<ShardId, NodeId>,
    ) -> Vec<Option<NodeId>> {
        let all_drain = up.values().all(|standing| standing.draining);
        let eligible = up.iter().filter(|(_, standing)| all_drain || !standing.draining);
        let nodes: Vec<_> = eligible.map(|(name, standing)| (name, standing.weight)).collect();
        if nodes.is_empty() {
            return vec![None; prev.len()];
        }
        let mut placement = Self::kept(prev, &nodes, pins);
        if !all_drain {
            placement.shed();
        }
        placement.settle();
        if !all_drain {
            placement.fill();
        }
        let name = |place: &Option<usize>| place.map(|at| placement.nodes[at].name.clone());
        placement.places.iter().map(name).collect()
    }

    /// Begins with what pins say and what stays.
    fn kept(
        prev: &[Option<NodeId>],
        names: &[(&'a NodeId, u32)],
        pins: &BTreeMap<ShardId, NodeId>,
    ) -> Self {
        let (total, ring) = (prev.len() as u64, Ring::new(names.iter().copied()));
        let sum: u64 = names.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let nodes = names.iter().map(|&(name, weight)| {
            let weight = u64::from(weight);
            let cap = (11 * total * weight).div_ceil(10 * sum);
            Node { name, weight, load: 0, cap, floor: 9 * total * weight / (10 * sum) }
        });
        let mut nodes: Vec<_> = nodes.collect();
        let (mut places, mut pinned, mut choices) = (Vec::new(), Vec::new(), Vec::new());
        for (shard, prev) in shards(prev.len()).zip(prev) {
            let find = |node: &NodeId| names.binary_search_by_key(&node, |(name, _)| *name).ok();
            let pin = pins.get(&shard).and_then(find);
            let place = pin.or_else(|| prev.as_ref().and_then(find));
            if let Some(at) = place {
                nodes[at].load += 1;
            }
            places.push(place);
            pinned.push(pin.is_some());
            choices.push(ring.choice(shard, 0).expect("there is a node"));
        }
        Self { nodes, places, pinned, choices, ring }
    }

    /// Makes shards homeless that are too many where they are.
    fn shed(&mut self) {
        for by_choice in [true, false] {
            for shard in 0..self.places.len() {
                let Some(at) = self.places[shard] else { continue };
                let elsewhere = self.choices[shard] != at;
                let node = &mut self.nodes[at];
                if node.load > node.cap && !self.pinned[shard] && (elsewhere || !by_choice) {
                    node.load -= 1;
                    self.places[shard] = None;
                }
            }
        }
    }

    /// Finds a home for every shard without one.
    fn settle(&mut self) {
        for shard in 0..self.places.len() {
            if self.places[shard].is_some() {
                continue;
            }
            let id = shard_id(shard);
            let has_room = |at: &usize| self.nodes[*at].load < self.nodes[*at].cap;
            let mut choices = (0..PROBES_MAX).filter_map(|probe| self.ring.choice(id, probe));
            let home = choices.find(has_room).unwrap_or_else(|| self.emptiest());
            self.nodes[home].load += 1;
            self.places[shard] = Some(home);
        }
    }

    fn emptiest(&self) -> usize {
        let fullness = |a: &Node<'_>, b: &Node<'_>| (a.load * b.weight).cmp(&(b.load * a.weight));
        let places = 0..self.nodes.len();
        places.min_by(|a, b| fullness(&self.nodes[*a], &self.nodes[*b])).expect("there is a node")
    }

    /// Lets nodes that have too few take shards.
    fn fill(&mut self) {
        for to in 0..self.nodes.len() {
            for shard in 0..self.places.len() {
                if self.nodes[to].load >= self.nodes[to].floor {
                    break;
                }
                let spare = |at: usize| self.nodes[at].load > self.nodes[at].floor;
                let from = self.places[shard].filter(|at| *at != to && spare(*at));
                if let Some(from) = from
                    && self.choices[shard] == to
                    && !self.pinned[shard]
                {
                    self.carry(shard, from, to);
                }
            }
            while self.nodes[to].load < self.nodes[to].floor {
                let Some((shard, from)) = self.fullest_with_spare(to) else { break };
                self.carry(shard, from, to);
            }
        }
    }

    fn carry(&mut self, shard: usize, from: usize, to: usize) {
        self.nodes[from].load -= 1;
        self.nodes[to].load += 1;
        self.places[shard] = Some(to);
    }

    /// Finds a shard of the fullest node, for its weight, that has one to give: the first that
    /// would choose another node, else the first.
    fn fullest_with_spare(&self, to: usize) -> Option<(usize, usize)> {
        let mut best: Option<(usize, usize)> = None;
        for (shard, place) in self.places.iter().enumerate() {
            let Some(at) = *place else { continue };
            let node = &self.nodes[at];
            if at == to || self.pinned[shard] || node.load <= node.floor {
                continue;
            }
            let better = best.is_none_or(|(other, from)| {
                let than = &self.nodes[from];
                let (own, others) = (node.load * than.weight, than.load * node.weight);
                let would_stay = self.choices[other] == from;
                own > others || (at == from && would_stay && self.choices[shard] != at)
            });
            if better {
                best = Some((shard, at));
            }
        }
        best
    }
}

fn shards(count: usize) -> impl Iterator<Item = ShardId> {
    (0..count).map(shard_id)
}

fn shard_id(at: usize) -> ShardId {
    ShardId(u32::try_from(at).expect("a cluster has few shards"))
}

#[cfg(test)]
mod tests;
