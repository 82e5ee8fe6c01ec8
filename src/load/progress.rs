//! How far a run is: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use tokio::time::Instant;

/// The time between two lines.
const BETWEEN: Duration = Duration::from_secs(5);

/// Shows how far a run is.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
    lines: Option<Arc<Lines>>,
}

#[derive(Debug)]
struct Lines {
    name: String,
    steps: u64,
    done: AtomicU64,
    /// When the next one is due.
    due: Mutex<Instant>,
}

impl Progress {
    /// Returns a bar of so many steps; where stderr is no terminal, a line every five seconds.
    pub fn new(name: &str, steps: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            let (name, done) = (name.to_owned(), AtomicU64::new(0));
            let lines = Lines { name, steps, done, due: Mutex::new(Instant::now() + BETWEEN) };
            return Self { lines: Some(Arc::new(lines)), ..Self::hidden() };
        }
        let style = "{prefix} {bar:32} {pos}/{len} {per_sec} {eta}";
        let style = ProgressStyle::with_template(style).expect("the template is right");
        let bar = ProgressBar::new(steps).with_style(style).with_prefix(name.to_owned());
        Self { bar, lines: None }
    }

    /// Shows nothing.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), lines: None }
    }

    /// Counts steps done.
    pub fn add(&self, steps: u64) {
        self.bar.inc(steps);
        if let Some(lines) = &self.lines {
            lines.add(steps);
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Lines {
    fn add(&self, steps: u64) {
        let done = self.done.fetch_add(steps, Ordering::Relaxed) + steps;
        let now = Instant::now();
        // Where another client is at it, that one writes the line.
        let Some(mut due) = self.due.try_lock() else { return };
        if now >= *due {
            *due = now + BETWEEN;
            eprintln!("{}: {done} of {}", self.name, self.steps);
        }
    }
}
