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
mod plan;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use quire::broken::{Broken, Rule};

use crate::cluster::plan::Plan;
use crate::trace::{Tally, Trace};
use crate::{NEVER, number};

/// Runs one plan and returns what happened.
fn run(plan: Plan, print: bool) -> Trace {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime of one thread");
    let trace = Trace::new(print);
    let _listening = trace.listen();
    runtime.block_on(world::run(plan, trace.clone()));
    let tally = trace.tally();
    NEVER.iter().for_each(|kind| assert!(!tally.contains_key(*kind), "{kind}"));
    trace
}

#[test]
fn a_cluster_loses_and_doubles_nothing_by_any_seed() {
    if let Some(seed) = number("QUIRE_SIM_SEED") {
        println!("{:#?}", Plan::new(seed));
        println!("{:016x}", run(Plan::new(seed), true).hash());
        return;
    }
    let seeds = number("QUIRE_SIM_SEEDS").unwrap_or(100);
    let from = number("QUIRE_SIM_FROM").unwrap_or(0);
    let mut failed = Vec::new();
    let mut tally = Tally::new();
    for seed in from..from + seeds {
        match catch_unwind(AssertUnwindSafe(|| run(Plan::new(seed), false))) {
            Ok(trace) => {
                for (kind, count) in trace.tally() {
                    *tally.entry(kind).or_default() += count;
                }
            }
            Err(_) => {
                eprintln!("FAILED seed {seed}");
                failed.push(seed);
            }
        }
    }
    for (kind, count) in &tally {
        println!("{count:>9} {kind}");
    }
    assert!(failed.is_empty(), "{failed:?}");
}

/// How many seeds it may take to notice that a rule is broken.
const NOTICED_WITHIN: u64 = 200;

/// Breaks a rule and returns the first seed that notices it.
fn notices(rule: Rule) -> Option<u64> {
    let fails = |seed: &u64| {
        let _broken = Broken::rule(rule);
        catch_unwind(AssertUnwindSafe(|| run(Plan::new(*seed), false))).is_err()
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
