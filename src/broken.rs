//! Rules that a test breaks on purpose, to see that it is noticed. No part of the program: compiled
//! for tests and under the feature `testing` only.
//!
//! A rule is broken for one thread, on which a simulation runs: tests beside it keep theirs.

use std::cell::Cell;

/// Is a rule that everything else follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// What the log has taken is acknowledged only where nobody else wrote in between.
    Proof,
    /// What is found in the log on the way to a claim is told to the documents.
    GapIsRead,
    /// A record counts only under the current epoch.
    Epoch,
    /// A batch that has its place is not given another.
    Sessions,
    /// The log is trimmed only below the low-water mark.
    LowWater,
}

thread_local! {
    static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
}

/// Keeps a rule broken on this thread until it is dropped.
#[derive(Debug)]
pub struct Broken(());

impl Broken {
    /// Breaks a rule.
    pub fn rule(rule: Rule) -> Self {
        BROKEN.set(Some(rule));
        Self(())
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        BROKEN.set(None);
    }
}

/// Tells whether a rule is broken here.
pub fn is_broken(rule: Rule) -> bool {
    BROKEN.get() == Some(rule)
}
