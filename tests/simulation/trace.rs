//! What happened in a run, in order: hashed to compare runs, printed to understand one.

use std::fmt::Display;
use std::hash::Hasher;
use std::sync::{Arc, Mutex};

use rustc_hash::FxHasher;
use tokio::time::Instant;

/// Takes note of what happens.
#[derive(Clone)]
pub(crate) struct Trace {
    hasher: Arc<Mutex<FxHasher>>,
    print: bool,
}

impl Trace {
    pub(crate) fn new(print: bool) -> Self {
        Self { hasher: Arc::default(), print }
    }

    /// Notes one thing, at `began` plus the virtual time passed.
    pub(crate) fn note(&self, began: Instant, what: &dyn Display) {
        let line = format!("{:>9.3} {what}", began.elapsed().as_secs_f64());
        self.hasher.lock().expect("nobody panicked").write(line.as_bytes());
        if self.print {
            println!("{line}");
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hasher.lock().expect("nobody panicked").finish()
    }
}
