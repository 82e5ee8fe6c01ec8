//! How far a run is: a bar on a terminal, nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows how far a run is.
#[derive(Debug, Clone)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Returns a bar of so many steps, hidden where stderr is no terminal.
    pub fn new(name: &str, steps: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::hidden();
        }
        let style = "{prefix} {bar:32} {pos}/{len} {per_sec} {eta}";
        let style = ProgressStyle::with_template(style).expect("the template is right");
        let bar = ProgressBar::new(steps).with_style(style).with_prefix(name.to_owned());
        Self { bar }
    }

    /// Returns a bar that shows nothing.
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// Counts steps done.
    pub fn add(&self, steps: u64) {
        self.bar.inc(steps);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
