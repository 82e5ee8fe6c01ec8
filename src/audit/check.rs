//! The audit as a whole: histories, then shards one after the other, then the report. Pure.

use rustc_hash::FxHashMap;

use crate::audit::clients::Clients;
use crate::audit::model::{Invariant, Line, Report, Unacknowledged};
use crate::audit::report::Findings;
use crate::audit::shard::{Counts, Opening, Range, Shard};
use crate::log::Judged;
use crate::types::{Offset, ShardId};

/// Decides the invariants over what it is fed with.
pub struct Audit {
    shards: u32,
    range: Range,
    clients: Clients,
    findings: Findings,
    open: Option<Shard>,
    lows: FxHashMap<ShardId, Offset>,
    counts: Counts,
    covered: bool,
    torn: u64,
}

impl Audit {
    /// Begins an audit of a log with so many shards.
    pub fn new(shards: u32, range: Range) -> Self {
        Self {
            shards,
            range,
            clients: Clients::default(),
            findings: Findings::default(),
            open: None,
            lows: FxHashMap::default(),
            counts: Counts::default(),
            covered: false,
            torn: 0,
        }
    }

    /// Names a file of histories; returns its number.
    pub fn file(&mut self, name: &str) -> u32 {
        self.clients.names.file(name)
    }

    /// Takes a line of a history. All histories come before the first shard.
    pub fn event(&mut self, file: u32, number: u64, line: &Line) {
        self.clients.take(file, number, line, &mut self.findings);
    }

    /// Notes that a history's last line was torn.
    pub fn torn(&mut self) {
        self.torn += 1;
    }

    /// Goes on to the next shard.
    pub fn begin(&mut self, opening: Opening) {
        self.end();
        self.covered |= opening.covered.is_some();
        self.lows.insert(opening.shard, opening.low);
        self.open = Some(Shard::begin(opening, self.range, &mut self.findings));
    }

    /// Takes a record of the shard, as the reader judged it; they come in the order of offsets,
    /// from the shard's first on. Those above the range are passed over.
    ///
    /// # Panics
    /// If no shard was begun.
    pub fn record(&mut self, judged: &Judged) {
        let shard = self.open.as_mut().expect("a shard is begun before its records come");
        shard.record(judged, &mut self.clients, &mut self.findings);
    }

    /// Returns what was found.
    pub fn finish(mut self) -> Report {
        self.end();
        // Documents of which only histories tell.
        let mut left: Vec<_> = self.clients.docs().cloned().collect();
        left.sort_unstable();
        for doc in left {
            let shard = doc.shard(self.shards);
            let low = self.lows.get(&shard).copied();
            let opening = Opening { shard, low: low.unwrap_or(Offset(u64::MAX)), covered: None };
            let mut none = Shard::begin(opening, self.range, &mut Findings::default());
            none.touch(&doc, &mut self.clients);
            self.counts.add(none.end(&mut self.clients, &mut self.findings));
        }
        self.explain();
        let Counts { records, void, unreadable, missing, docs, absent, present } = self.counts;
        let invariants = self.findings.into_tallies();
        Report {
            clean: invariants.iter().all(|tally| tally.violated == 0),
            records,
            void,
            unreadable,
            missing,
            docs,
            events: self.clients.events,
            clients: self.clients.names.clients(),
            torn: self.torn,
            unacknowledged: Unacknowledged { absent, present },
            invariants,
        }
    }

    fn end(&mut self) {
        if let Some(shard) = self.open.take() {
            self.counts.add(shard.end(&mut self.clients, &mut self.findings));
        }
    }

    /// Says of what was not asked at all what would have asked it.
    fn explain(&mut self) {
        if !self.covered {
            for invariant in [Invariant::I9, Invariant::I10] {
                self.findings.idle(invariant, "give --checkpoints to ask for it");
            }
        }
        if self.clients.events == 0 {
            for invariant in [Invariant::I1, Invariant::I5, Invariant::I8, Invariant::I14] {
                self.findings.idle(invariant, "give --history to ask for it");
            }
        }
        self.findings.idle(Invariant::I6, "no text hash was named");
    }
}
