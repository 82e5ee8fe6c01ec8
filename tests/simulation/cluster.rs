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

use crate::cluster::plan::Plan;
use crate::trace::{Tally, Trace};
use crate::{NEVER, number};

/// After so many failed seeds no more are tried.
const FAILED_MAX: usize = 10;

/// How many seeds a run tries where nothing is said.
const SEEDS: u64 = 2_000;

/// Runs one plan and returns what happened.
fn run(plan: Plan, print: bool) -> Trace {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread");
    let trace = Trace::new(print);
    let _listening = trace.listen();
    let panics = panics::so_far();
    runtime.block_on(world::run(plan, trace.clone()));
    assert_eq!(panics::so_far(), panics, "a task has panicked, see above");
    let tally = trace.tally();
    NEVER.iter().for_each(|kind| assert!(!tally.contains_key(*kind), "{kind}"));
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
