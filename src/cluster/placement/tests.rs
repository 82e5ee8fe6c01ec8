//! Balance, movement, and what holds for any history.

use proptest::prelude::*;

use super::*;
use crate::cluster::testing::node;

type Up = BTreeMap<NodeId, Standing>;

fn up(weights: &[u32]) -> Up {
    let standing = |weight| Standing { weight, draining: false };
    (0..).zip(weights).map(|(at, weight)| (node(&format!("n{at}")), standing(*weight))).collect()
}

fn place(prev: &[Option<NodeId>], up: &Up) -> Vec<Option<NodeId>> {
    Placement::next(prev, up, &BTreeMap::new())
}

fn loads(places: &[Option<NodeId>], up: &Up) -> Vec<usize> {
    let of = |node| places.iter().filter(|place| place.as_ref() == Some(node)).count();
    up.keys().map(of).collect()
}

fn moved(a: &[Option<NodeId>], b: &[Option<NodeId>]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a != b).count()
}

/// Lets the nodes join one after the other.
fn grown(shards: usize, count: u32) -> Vec<Vec<Option<NodeId>>> {
    let mut steps = vec![vec![None; shards]];
    for count in 1..=count {
        let next = place(steps.last().unwrap(), &up(&vec![10; count as usize]));
        steps.push(next);
    }
    steps
}

/// Worked out by another program, as the choices of the ring.
#[test]
fn the_placement_stays_as_it_is() {
    let places = place(&vec![None; 32], &up(&[10, 10, 20, 5]));
    let names: Vec<_> =
        places.iter().map(|place| &place.as_ref().unwrap().0.as_str()[1..]).collect();
    assert_eq!(names.concat(), "12111322303300201201222212202120");
}

#[test]
fn the_load_is_even() {
    for places in [place(&vec![None; 1_024], &up(&[10; 8])), grown(1_024, 8).pop().unwrap()] {
        let loads = loads(&places, &up(&[10; 8]));
        assert!(loads.iter().all(|load| (115..=141).contains(load)), "{loads:?}");
        let most = *loads.iter().max().unwrap();
        assert!(most * 8 * 10 <= 1_024 * 12, "peak / mean is {most} / 128");
    }
}

#[test]
fn a_node_that_joins_takes_little_more_than_its_share() {
    for shards in [256, 1_024] {
        let steps = grown(shards, 10);
        for n in 2..=10 {
            let moved = moved(&steps[n - 1], &steps[n]);
            assert!(moved * n * 10 <= shards * 13, "{n} nodes: {moved} of {shards}");
        }
        for n in 2..=10 {
            let before = place(&vec![None; shards], &up(&vec![10; n - 1]));
            let moved = moved(&before, &place(&before, &up(&vec![10; n])));
            assert!(moved * n * 10 <= shards * 13, "from new, {n} nodes: {moved} of {shards}");
        }
    }
}

#[test]
fn a_node_that_goes_moves_its_shards_and_hardly_others() {
    for n in 2..=10 {
        let before = grown(1_024, n).pop().unwrap();
        for gone in 0..n {
            let mut left = up(&vec![10; n as usize]);
            let gone = node(&format!("n{gone}"));
            left.remove(&gone);
            let after = place(&before, &left);
            let others =
                before.iter().zip(&after).filter(|(a, b)| a != b && **a != Some(gone.clone()));
            let others = others.count();
            assert!(others <= 1_024 / 50, "{n} nodes: {others} others moved");
        }
    }
}

#[test]
fn weights_are_respected() {
    let up = up(&[10, 20, 40, 1]);
    let loads = loads(&place(&vec![None; 1_024], &up), &up);
    for (load, weight) in loads.iter().zip([10.0, 20.0, 40.0, 1.0]) {
        let share = 1_024.0 * weight / 71.0;
        assert!((*load as f64 - share).abs() <= share / 10.0 + 1.0, "{loads:?}");
    }
}

#[test]
fn nothing_moves_for_less_than_a_tenth() {
    let up = up(&[10; 4]);
    // 100 shards on four nodes: the fair share is 25, the cap 28, the floor 22.
    for loads in [[25, 25, 25, 25], [28, 22, 22, 28], [27, 27, 24, 22]] {
        let nodes = (0..4).map(|at| node(&format!("n{at}")));
        let prev: Vec<_> = nodes
            .zip(loads)
            .flat_map(|(node, load)| std::iter::repeat_n(Some(node), load))
            .collect();
        assert_eq!(place(&prev, &up), prev);
    }
    let nodes = (0..4).map(|at| node(&format!("n{at}")));
    let prev: Vec<_> = nodes
        .zip([30, 30, 20, 20])
        .flat_map(|(node, load)| std::iter::repeat_n(Some(node), load))
        .collect();
    // What is over goes where the ring says, so that one of the others may still have too few.
    let moved = moved(&prev, &place(&prev, &up));
    assert!((4..=6).contains(&moved), "{moved}");
}

#[test]
fn a_node_is_not_helped_by_one_that_has_too_few_itself() {
    let up = up(&[10; 3]);
    // The floor is 9: the first is over its cap by pins, the second at its floor.
    let nodes = (0..3).map(|at| node(&format!("n{at}")));
    let prev: Vec<_> = nodes
        .zip([16, 9, 5])
        .flat_map(|(node, load)| std::iter::repeat_n(Some(node), load))
        .collect();
    let pins = (0..16).map(|shard| (ShardId(shard), node("n0"))).collect();
    assert_eq!(Placement::next(&prev, &up, &pins), prev);
}

#[test]
fn drains_empty_a_node_unless_all_drain() {
    let mut up = up(&[10; 3]);
    let before = place(&vec![None; 64], &up);
    up.get_mut(&node("n0")).unwrap().draining = true;
    let pins = BTreeMap::from([(ShardId(0), node("n0"))]);
    let after = Placement::next(&before, &up, &pins);
    assert_eq!(loads(&after, &up)[0], 0, "not even a pinned one stays");
    for standing in up.values_mut() {
        standing.draining = true;
    }
    assert_eq!(place(&before, &up), before);
    up.remove(&node("n1"));
    let after = place(&before, &up);
    assert!(before.iter().zip(&after).all(|(a, b)| a == b || *a == Some(node("n1"))));
    assert!(after.iter().all(Option::is_some));
}

#[test]
fn without_nodes_there_is_no_place() {
    let before = place(&vec![None; 8], &up(&[10]));
    assert_eq!(place(&before, &Up::new()), vec![None; 8]);
}

#[derive(Debug, Clone)]
enum Step {
    Join { node: u8, weight: u32 },
    Leave { node: u8 },
    Drain { node: u8, draining: bool },
    Pin { shard: u32, node: u8 },
    Unpin { shard: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..6u8;
    prop_oneof![
        4 => (node(), 1..=8u32).prop_map(|(node, weight)| Step::Join { node, weight }),
        2 => node().prop_map(|node| Step::Leave { node }),
        1 => (node(), any::<bool>()).prop_map(|(node, draining)| Step::Drain { node, draining }),
        2 => (0..40u32, node()).prop_map(|(shard, node)| Step::Pin { shard, node }),
        1 => (0..40u32).prop_map(|shard| Step::Unpin { shard }),
    ]
}

proptest! {
    #[test]
    fn any_history_keeps_the_rules(
        shards in 1..200usize,
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let name = |at: u8| node(&format!("n{at}"));
        let (mut up, mut pins) = (Up::new(), BTreeMap::new());
        let mut places: Vec<Option<NodeId>> = vec![None; shards];
        for step in steps {
            match step {
                Step::Join { node, weight } => {
                    up.insert(name(node), Standing { weight, draining: false });
                }
                Step::Leave { node } => drop(up.remove(&name(node))),
                Step::Drain { node, draining } => {
                    if let Some(standing) = up.get_mut(&name(node)) {
                        standing.draining = draining;
                    }
                }
                Step::Pin { shard, node } => drop(pins.insert(ShardId(shard), name(node))),
                Step::Unpin { shard } => drop(pins.remove(&ShardId(shard))),
            }
            let next = Placement::next(&places, &up, &pins);
            prop_assert_eq!(&next, &Placement::next(&places, &up, &pins), "deterministic");
            prop_assert_eq!(&next, &Placement::next(&next, &up, &pins), "it comes to rest");
            check(&next, &up, &pins)?;
            places = next;
        }
    }
}

fn check(
    places: &[Option<NodeId>],
    up: &Up,
    pins: &BTreeMap<ShardId, NodeId>,
) -> Result<(), TestCaseError> {
    let all_drain = up.values().all(|standing| standing.draining);
    let takes = |node: &NodeId| up.get(node).is_some_and(|node| all_drain || !node.draining);
    let sum: u64 = up.iter().filter(|(n, _)| takes(n)).map(|(_, s)| u64::from(s.weight)).sum();
    let mut pinned: BTreeMap<&NodeId, u64> = BTreeMap::new();
    for (id, place) in shards(places.len()).zip(places) {
        prop_assert_eq!(place.is_some(), !up.is_empty());
        let Some(place) = place else { continue };
        prop_assert!(takes(place));
        if let Some(pin) = pins.get(&id).filter(|node| takes(node)) {
            prop_assert_eq!(place, pin, "pins are obeyed");
            *pinned.entry(pin).or_default() += 1;
        }
    }
    for (node, standing) in up.iter().filter(|(node, _)| takes(node)) {
        let load = places.iter().filter(|place| place.as_ref() == Some(node)).count() as u64;
        let cap = (11 * places.len() as u64 * u64::from(standing.weight)).div_ceil(10 * sum);
        let pinned = pinned.get(node).copied().unwrap_or_default();
        prop_assert!(all_drain || load <= cap.max(pinned), "{load} of {cap}, {pinned} pinned");
    }
    Ok(())
}
