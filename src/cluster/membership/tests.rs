//! When nodes are voted down, suspended, and replaced.

use super::*;
use crate::cluster::error::Refusal;
use crate::cluster::testing::{Topic, down, join, node};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A detector of `a` at time 0, in a cluster of three.
fn detector() -> (Topic, Detector) {
    let topic = Topic::with(4, &["a", "b", "c"]);
    (topic, Detector::new(node("a"), 1, Timing::default(), ms(0)))
}

/// Lets the nodes be heard every 300 ms from `from` to before `to`.
fn beat(detector: &mut Detector, nodes: &[&str], from: u64, to: u64) {
    for at in (from..to).step_by(300) {
        for name in nodes {
            detector.heard(&node(name), 1, ms(at));
        }
    }
}

fn votes(verdicts: Vec<Verdict>) -> Vec<String> {
    let name = |verdict| {
        let Verdict::Vote(Down { node, boot, by, by_boot }) = verdict;
        assert_eq!((boot, by, by_boot), (1, self::node("a"), 1));
        node.0.to_string()
    };
    verdicts.into_iter().map(name).collect()
}

#[test]
fn a_silent_member_is_voted_down_again_and_again() {
    let (mut topic, mut detector) = detector();
    beat(&mut detector, &["a", "b", "c"], 0, 3_000);
    beat(&mut detector, &["a", "c"], 3_000, 3_900);
    // The last of `b` was at 2,700.
    assert_eq!(votes(detector.tick(ms(3_900), &topic.control)), [""; 0]);
    beat(&mut detector, &["a", "c"], 3_900, 5_100);
    assert_eq!(votes(detector.tick(ms(3_901), &topic.control)), ["b"]);
    assert_eq!(votes(detector.tick(ms(4_400), &topic.control)), [""; 0]);
    assert_eq!(votes(detector.tick(ms(4_401), &topic.control)), ["b"]);
    topic.ok(&down("b", 1, "a", 1));
    topic.ok(&down("b", 1, "c", 1));
    assert_eq!(votes(detector.tick(ms(5_000), &topic.control)), [""; 0]);
}

#[test]
fn being_heard_ends_suspicion() {
    let (topic, mut detector) = detector();
    beat(&mut detector, &["a", "c"], 0, 3_000);
    assert_eq!(votes(detector.tick(ms(0), &topic.control)), [""; 0]);
    assert_eq!(votes(detector.tick(ms(3_000), &topic.control)), ["b"]);
    beat(&mut detector, &["a", "b", "c"], 3_000, 3_001);
    assert_eq!(votes(detector.tick(ms(3_600), &topic.control)), [""; 0]);
}

#[test]
fn who_does_not_hear_itself_does_not_vote() {
    let (topic, mut detector) = detector();
    detector.tick(ms(0), &topic.control);
    assert_eq!(votes(detector.tick(ms(9_000), &topic.control)), [""; 0], "never heard itself");
    beat(&mut detector, &["c"], 0, 9_000);
    beat(&mut detector, &["a"], 0, 6_000);
    // The last of `a` was at 5,700.
    assert_eq!(votes(detector.tick(ms(6_601), &topic.control)), [""; 0]);
    assert_eq!(votes(detector.tick(ms(6_600), &topic.control)), ["b"]);
}

#[test]
fn another_run_of_the_own_name_is_not_oneself() {
    let (topic, mut detector) = detector();
    for at in (0..6_000).step_by(300) {
        detector.heard(&node("a"), 2, ms(at));
    }
    assert_eq!(votes(detector.tick(ms(6_000), &topic.control)), [""; 0]);
    assert!(detector.is_suspended(ms(6_000)));
}

#[test]
fn after_an_outage_everybody_gets_time() {
    let (topic, mut detector) = detector();
    beat(&mut detector, &["a", "b", "c"], 0, 3_000);
    detector.tick(ms(3_000), &topic.control);
    // Nothing is read until 20,000; then `a` reads itself, the others come later.
    for at in (20_000..21_200).step_by(300) {
        detector.heard(&node("a"), 1, ms(at));
        assert_eq!(votes(detector.tick(ms(at), &topic.control)), [""; 0]);
    }
    detector.heard(&node("b"), 1, ms(21_100));
    assert_eq!(votes(detector.tick(ms(21_199), &topic.control)), [""; 0]);
    assert_eq!(votes(detector.tick(ms(21_200), &topic.control)), ["c"]);
}

#[test]
fn a_gap_of_the_own_heartbeats_starts_the_time_again() {
    let (topic, mut detector) = detector();
    detector.tick(ms(0), &topic.control);
    beat(&mut detector, &["a"], 0, 1_201);
    let gap = 1_200 + 900;
    detector.heard(&node("a"), 1, ms(gap));
    assert_eq!(votes(detector.clone().tick(ms(gap), &topic.control)), ["b", "c"], "no gap yet");
    detector.heard(&node("a"), 1, ms(gap + 901));
    assert_eq!(votes(detector.tick(ms(gap + 901), &topic.control)), [""; 0]);
}

#[test]
fn one_who_is_not_a_member_does_not_vote() {
    let (mut topic, mut detector) = detector();
    detector.tick(ms(0), &topic.control);
    beat(&mut detector, &["a"], 0, 3_001);
    topic.ok(&down("a", 1, "b", 1));
    topic.ok(&down("a", 1, "c", 1));
    assert_eq!(votes(detector.tick(ms(3_000), &topic.control)), [""; 0]);
}

#[test]
fn a_member_that_joins_has_the_whole_time() {
    let (mut topic, mut detector) = detector();
    beat(&mut detector, &["a", "b", "c"], 0, 9_000);
    detector.tick(ms(5_000), &topic.control);
    topic.ok(&join("d", 1));
    detector.heard(&node("d"), 1, ms(7_000));
    assert_eq!(votes(detector.tick(ms(8_200), &topic.control)), [""; 0]);
    assert_eq!(votes(detector.tick(ms(8_201), &topic.control)), ["d"]);
}

#[test]
fn who_does_not_hear_itself_for_long_is_suspended_until_it_does() {
    let (_, mut detector) = detector();
    assert!(!detector.is_suspended(ms(1_800)));
    assert!(detector.is_suspended(ms(1_801)));
    detector.heard(&node("a"), 1, ms(2_500));
    assert!(!detector.is_suspended(ms(4_300)));
    detector.heard(&node("b"), 1, ms(4_300));
    assert!(detector.is_suspended(ms(4_301)));
    detector.heard(&node("a"), 1, ms(4_600));
    assert!(!detector.is_suspended(ms(4_600)));
}

fn candidate(topic: &Topic) -> Candidate {
    Candidate::new(node("a"), 9, Timing::default(), ms(0), &topic.control)
}

#[test]
fn a_free_name_is_taken_at_once() {
    let mut topic = Topic::with(4, &["b"]);
    let mut one = candidate(&topic);
    assert_eq!(one.tick(ms(0), &topic.control), Some(Decision::Join { replaces: None }));
    topic.ok(&join("a", 9));
    assert_eq!(one.tick(ms(1), &topic.control), Some(Decision::Joined));
}

#[test]
fn a_name_is_taken_from_one_who_is_silent() {
    let topic = Topic::with(4, &["a", "b"]);
    let mut one = candidate(&topic);
    one.heard(&node("b"), 1, ms(900));
    one.heard(&node("a"), 2, ms(900));
    assert_eq!(one.tick(ms(1_799), &topic.control), None);
    let join = Decision::Join { replaces: Some(1) };
    assert_eq!(one.tick(ms(1_800), &topic.control), Some(join.clone()));

    // One heartbeat may have been under way when it died.
    let mut one = candidate(&topic);
    one.heard(&node("a"), 1, ms(300));
    assert_eq!(one.tick(ms(2_099), &topic.control), None);
    assert_eq!(one.tick(ms(2_100), &topic.control), Some(join));
}

#[test]
fn a_name_is_not_taken_from_one_who_is_alive() {
    let topic = Topic::with(4, &["a", "b"]);
    let mut one = candidate(&topic);
    one.heard(&node("a"), 1, ms(200));
    one.heard(&node("a"), 1, ms(500));
    let taken = Refusal::NameTaken { node: node("a"), boot: 1 };
    assert_eq!(one.tick(ms(500), &topic.control), Some(Decision::Refused(taken)));
}

#[test]
fn a_candidate_watches_whoever_has_the_name_now() {
    let mut topic = Topic::with(4, &["a", "b"]);
    let mut one = candidate(&topic);
    one.heard(&node("a"), 1, ms(500));
    topic.ok(&down("a", 1, "b", 1));
    topic.ok(&join("a", 2));
    assert_eq!(one.tick(ms(1_000), &topic.control), None);
    one.heard(&node("a"), 1, ms(1_100));
    assert_eq!(one.tick(ms(2_799), &topic.control), None);
    let join = Decision::Join { replaces: Some(2) };
    assert_eq!(one.tick(ms(2_800), &topic.control), Some(join));
}
