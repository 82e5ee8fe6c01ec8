//! A cluster in one process, seeded: nodes that share a log in memory, over links that are slow and
//! cut, with clients that come to any of them.
//!
//! ```text
//! clients ─► life of a node: router, relay ══ net ══ other nodes      (walls, cuts)
//!                 │ member, keeper, shards
//!                 └──── line ──── log, control topic, store           (walls, faults)
//! ```
//! A failing plan is shrunk, saved and named; it is replayed by
//! `QUIRE_SIM_PLAN=FILE cargo test --test simulation cluster -- --nocapture`.

mod host;
mod line;
mod net;
mod orders;
mod panics;
mod plan;
mod saved;
mod world;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use quire::broken::{Broken, Rule};

use crate::cluster::plan::{Fault, Plan};
use crate::trace::{Tally, Trace};
use crate::{number, traced};

/// What has to happen in so many seeds.
const TRIED: [&str; 37] = [
    "fault: crash",
    "fault: stop",
    "fault: stop while moves are stopped",
    "fault: freeze",
    "fault: replace",
    "fault: link cut",
    "fault: links lost",
    "fault: log cut off",
    "fault: control topic cut off",
    "fault: store cut off",
    "fault: clock jumps",
    "fault: checkpoint forgotten",
    "fault: order",
    "an order counts",
    "an order does not count",
    "several shards move at once",
    "control compared",
    "stopped in order",
    "woken: it lost its name",
    "out of patience",
    "acknowledged again",
    "edited offline",
    "records trimmed",
    // What the nodes say themselves.
    "a node did not start",
    "silent, voting it down",
    "the others held this node for dead, it joins again",
    "this node does not hear of itself any more: its documents wait",
    "this node hears of itself again",
    "another process claimed the shard, stepping down",
    "gap in the log",
    "outcome of an append is not known",
    "outcome of a release is not known",
    "void record",
    "the shards that are left are given up where they are",
    "the shard has moved",
    "the move is undone",
    "the link to a node is lost",
];

/// After so many failed seeds no more are tried.
const FAILED_MAX: usize = 10;

/// How many seeds a run tries where nothing is said.
const SEEDS: u64 = 2_000;

/// Runs one plan and returns what happened.
fn run(plan: Plan, print: bool) -> Trace {
    let panics = panics::so_far();
    let trace = traced(print, |trace| world::run(plan, trace));
    assert_eq!(panics::so_far(), panics, "a task has panicked, see above");
    trace
}

/// Runs a plan and tells whether it ends well.
fn ends_well(plan: &Plan) -> Option<Trace> {
    catch_unwind(AssertUnwindSafe(|| run(plan.clone(), false))).ok()
}

#[test]
fn a_cluster_loses_and_doubles_nothing_by_any_seed() {
    panics::count();
    if let Some(plan) = saved::wanted().or_else(|| number("QUIRE_SIM_SEED").map(Plan::new)) {
        println!("{plan:#?}");
        println!("{:016x}", run(plan, true).hash());
        return;
    }
    let seeds = number("QUIRE_SIM_SEEDS").unwrap_or(SEEDS);
    let from = number("QUIRE_SIM_FROM").unwrap_or(0);
    let (next, failed) = (AtomicU64::new(from), Mutex::new(BTreeSet::new()));
    let tally = Mutex::new(Tally::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds || failed.lock().expect("no panic").len() >= FAILED_MAX {
                return;
            }
            let Some(trace) = ends_well(&Plan::new(seed)) else {
                failed.lock().expect("no panic").insert(seed);
                continue;
            };
            let mut tally = tally.lock().expect("no panic");
            for (kind, count) in trace.tally() {
                *tally.entry(kind).or_default() += count;
            }
        }
    };
    let workers = thread::available_parallelism().map_or(1, |workers| workers.get().min(8));
    thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
    let tally = tally.into_inner().expect("no panic");
    for (kind, count) in &tally {
        println!("{count:>9} {kind}");
    }
    let missing = TRIED.iter().filter(|kind| !tally.contains_key(**kind)).collect::<Vec<_>>();
    assert!(seeds < SEEDS || missing.is_empty(), "never happened: {missing:?}");
    let failed = failed.into_inner().expect("no panic");
    if let Some(seed) = failed.first() {
        let file = saved::shrunk(Plan::new(*seed), |plan| ends_well(plan).is_none());
        panic!(
            "failed: {failed:?}; replay the first one, shrunk, with QUIRE_SIM_PLAN={} cargo test \
             --test simulation cluster_loses -- --nocapture",
            file.display()
        );
    }
}

#[test]
fn where_nothing_fails_no_shard_is_given_up() {
    for seed in 0..20 {
        let trace = run(Plan::new(seed).quiet(), false);
        let told = trace.tally();
        for kind in ["could not tell which shards are owned", "claimed again", "gap in the log"] {
            assert!(!told.contains_key(kind), "seed {seed}: {kind}");
        }
    }
}

#[test]
fn a_plan_that_fails_is_shrunk_and_can_be_read_again() {
    let plan = Plan::new(7);
    let crash = |plan: &Plan| plan.faults.iter().any(|(_, one)| matches!(one, Fault::Order { .. }));
    assert!(crash(&plan) && plan.faults.len() > 1, "another seed is to be taken");
    let file = saved::shrunk(plan, crash);
    let read = saved::read(&file);
    std::fs::remove_file(file).expect("it is there");
    assert!(read.faults.len() == 1 && crash(&read), "{:?}", read.faults);
}

/// How many seeds it may take to notice that a rule is broken.
const NOTICED_WITHIN: u64 = 200;

/// Breaks a rule and returns the first seed that notices it.
fn notices(rule: Rule) -> Option<u64> {
    let fails = |seed: &u64| {
        let _broken = Broken::rule(rule);
        ends_well(&Plan::new(*seed)).is_none()
    };
    (0..NOTICED_WITHIN).find(fails)
}

#[test]
fn a_rule_that_is_broken_is_noticed() {
    let rules = [Rule::Proof, Rule::GapIsRead, Rule::Epoch, Rule::Sessions, Rule::LowWater];
    for rule in rules {
        let seed = notices(rule).unwrap_or_else(|| panic!("{rule:?} is not missed"));
        println!("{rule:?} is missed by seed {seed}");
    }
}

#[test]
fn one_seed_gives_the_same_cluster_twice() {
    for seed in 0..20 {
        let (one, other) = (run(Plan::new(seed), false), run(Plan::new(seed), false));
        assert_eq!(one.hash(), other.hash(), "seed {seed}");
    }
    assert_ne!(run(Plan::new(1), false).hash(), run(Plan::new(2), false).hash(), "seeds differ");
}
