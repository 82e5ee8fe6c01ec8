//! What happened in a run, in order: hashed to compare runs, counted to see what was tried, printed
//! to understand one. The node's own log lines are part of it.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display, Write};
use std::hash::Hasher;
use std::sync::{Arc, Mutex, MutexGuard};

use rustc_hash::FxHasher;
use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// How often each thing happened.
pub(crate) type Tally = BTreeMap<String, u64>;

/// Takes note of what happens.
#[derive(Clone)]
pub(crate) struct Trace {
    seen: Arc<Mutex<Seen>>,
    print: bool,
}

#[derive(Default)]
struct Seen {
    began: Option<Instant>,
    hasher: FxHasher,
    tally: Tally,
}

impl Trace {
    pub(crate) fn new(print: bool) -> Self {
        Self { seen: Arc::default(), print }
    }

    /// Has the log lines of this thread noted until the guard is dropped.
    pub(crate) fn listen(&self) -> DefaultGuard {
        let subscriber = tracing_subscriber::registry().with(Listener(self.clone()));
        tracing::subscriber::set_default(subscriber)
    }

    /// Begins to count the virtual time.
    pub(crate) fn begin(&self) {
        self.seen().began = Some(Instant::now());
    }

    /// Returns the virtual time that has passed.
    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.seen().began.map(|began| began.elapsed()).unwrap_or_default()
    }

    /// Notes that something of a kind happened, and the details.
    pub(crate) fn note(&self, kind: &str, details: impl Display) {
        let mut seen = self.seen();
        *seen.tally.entry(kind.to_owned()).or_default() += 1;
        let at = seen.began.map(|began| began.elapsed()).unwrap_or_default().as_secs_f64();
        let line = format!("{at:>10.4} {kind}: {details}");
        seen.hasher.write(line.as_bytes());
        if self.print {
            println!("{line}");
        }
    }

    /// Counts what happened without being noted.
    pub(crate) fn count(&self, kind: &str, times: u64) {
        *self.seen().tally.entry(kind.to_owned()).or_default() += times;
    }

    /// Takes bytes into the hash.
    pub(crate) fn hash_in(&self, bytes: &[u8]) {
        self.seen().hasher.write(bytes);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.seen().hasher.finish()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.seen().tally.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("nobody panicked while it was noted")
    }
}

struct Listener(Trace);

impl<S: tracing::Subscriber> Layer<S> for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && metadata.target().starts_with("quire::")
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.note(&line.message, &line.fields);
    }
}

/// A log line: what it says, and its fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, "{name}={value:?} "),
        };
        written.expect("a string takes everything");
    }
}
