//! Failing plans: shrunk, saved, and read again. A file names the seed and the numbers of the
//! faults that are left, so that it holds for as long as a seed means the same plan.

use std::path::{Path, PathBuf};
use std::{env, fs};

use crate::cluster::plan::Plan;

/// Returns the plan that is to be replayed.
pub(crate) fn wanted() -> Option<Plan> {
    env::var_os("QUIRE_SIM_PLAN").map(|file| read(Path::new(&file)))
}

/// Reads a plan that was saved.
pub(crate) fn read(file: &Path) -> Plan {
    let text = fs::read_to_string(file).expect("the plan can be read");
    let mut numbers = text.lines().take_while(|line| !line.is_empty()).flat_map(|line| {
        line.split_whitespace().map(|word| word.parse::<u64>().expect("a plan is numbers"))
    });
    let mut plan = Plan::new(numbers.next().expect("a plan begins with its seed"));
    let kept: Vec<_> = numbers.map(|at| usize::try_from(at).expect("small")).collect();
    plan.keep(&kept);
    plan
}

/// Leaves out faults one by one for as long as it fails, and saves what is left.
pub(crate) fn shrunk(plan: Plan, fails: impl Fn(&Plan) -> bool) -> PathBuf {
    let only = |kept: &[usize]| {
        let mut plan = plan.clone();
        plan.keep(kept);
        plan
    };
    let mut kept: Vec<_> = (0..plan.faults.len()).collect();
    for fault in (0..plan.faults.len()).rev() {
        let fewer: Vec<_> = kept.iter().copied().filter(|one| *one != fault).collect();
        if fails(&only(&fewer)) {
            kept = fewer;
        }
    }
    let seed = plan.clients.seed;
    let numbers: Vec<_> = kept.iter().map(usize::to_string).collect();
    let file = env::temp_dir().join(format!("quire-{}-{seed}.plan", std::process::id()));
    let text = format!("{seed}\n{}\n\n{:#?}\n", numbers.join(" "), only(&kept));
    fs::write(&file, text).expect("the plan can be saved");
    file
}
