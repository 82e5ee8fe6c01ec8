//! Counting what was decided, and spelling it for people.

use std::fmt;

use crate::audit::model::{Erasure, Invariant, Report, Tally, Trace, Violation};
use crate::types::ParticipantId;

/// Collects what is decided; says nothing while it is muted.
#[derive(Debug)]
pub(crate) struct Findings {
    tallies: Vec<Tally>,
    /// Set while records are only followed, not audited.
    pub(crate) muted: bool,
}

impl Default for Findings {
    fn default() -> Self {
        let empty = |invariant| Tally {
            invariant,
            decided: 0,
            violated: 0,
            undecided: 0,
            reason: None,
            first: None,
        };
        Self { tallies: Invariant::ALL.into_iter().map(empty).collect(), muted: false }
    }
}

impl Findings {
    /// Notes that it holds in so many places.
    pub(crate) fn held(&mut self, invariant: Invariant, places: u64) {
        if !self.muted {
            self.of(invariant).decided += places;
        }
    }

    /// Notes that it does not hold in one place.
    pub(crate) fn broken(&mut self, invariant: Invariant, violation: impl FnOnce() -> Violation) {
        if self.muted {
            return;
        }
        let tally = self.of(invariant);
        tally.decided += 1;
        tally.violated += 1;
        tally.first.get_or_insert_with(violation);
    }

    /// Notes that it holds, or not.
    pub(crate) fn check(
        &mut self,
        invariant: Invariant,
        holds: bool,
        violation: impl FnOnce() -> Violation,
    ) {
        if holds { self.held(invariant, 1) } else { self.broken(invariant, violation) }
    }

    /// Notes that it cannot be told in so many places.
    pub(crate) fn open(&mut self, invariant: Invariant, places: u64, reason: &str) {
        if self.muted || places == 0 {
            return;
        }
        let tally = self.of(invariant);
        tally.undecided += places;
        tally.reason.get_or_insert_with(|| reason.to_owned());
    }

    /// Says why nothing was asked of an invariant.
    pub(crate) fn idle(&mut self, invariant: Invariant, reason: &str) {
        let tally = self.of(invariant);
        if tally.decided + tally.undecided == 0 {
            tally.reason.get_or_insert_with(|| reason.to_owned());
        }
    }

    pub(crate) fn into_tallies(self) -> Vec<Tally> {
        self.tallies
    }

    fn of(&mut self, invariant: Invariant) -> &mut Tally {
        let found = self.tallies.iter_mut().find(|tally| tally.invariant == invariant);
        found.expect("there is one of each")
    }
}

impl Invariant {
    /// Lists all of them.
    pub const ALL: [Self; 11] = [
        Self::I1,
        Self::I2,
        Self::I3,
        Self::I4,
        Self::I5,
        Self::I6,
        Self::I7,
        Self::I8,
        Self::I9,
        Self::I10,
        Self::I14,
    ];

    /// Says in a few words what it asks.
    pub fn title(self) -> &'static str {
        match self {
            Self::I1 => "acknowledged is accepted, at its revision",
            Self::I2 => "a batch is accepted at most once",
            Self::I3 => "revisions without gap",
            Self::I4 => "a session's order is kept",
            Self::I5 => "a client's stream is contiguous",
            Self::I6 => "one revision, one text",
            Self::I7 => "nothing of an old epoch counts",
            Self::I8 => "what a client saw is accepted",
            Self::I9 => "the log begins below the low-water mark",
            Self::I10 => "checkpoint and tail give the replay",
            Self::I14 => "unacknowledged is absent or once",
        }
    }
}

impl Report {
    /// Returns what was decided of an invariant.
    ///
    /// # Panics
    /// Never: a report has all of them.
    pub fn of(&self, invariant: Invariant) -> &Tally {
        let found = self.invariants.iter().find(|tally| tally.invariant == invariant);
        found.expect("there is one of each")
    }
}

/// Spells a session as histories do.
pub(crate) fn spelled(participant: ParticipantId) -> String {
    format!("{:08x}", participant.0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "      {:<42} {:>10} {:>9} {:>10}", "", "DECIDED", "VIOLATED", "UNDECIDED")?;
        for tally in &self.invariants {
            let (name, title) = (format!("{:?}", tally.invariant), tally.invariant.title());
            let Tally { decided, violated, undecided, .. } = tally;
            write!(f, "{name:<5} {title:<42} {decided:>10} {violated:>9} {undecided:>10}")?;
            match &tally.reason {
                Some(reason) => writeln!(f, "  {reason}")?,
                None => writeln!(f)?,
            }
        }
        let Self { records, void, unreadable, missing, docs, events, clients, torn, .. } = self;
        writeln!(
            f,
            "\n{records} records of {docs} documents: {void} void, {unreadable} unreadable, \
             {missing} missing; {events} events of {clients} clients, {torn} histories torn"
        )?;
        writeln!(
            f,
            "sent and never acknowledged: {} accepted, {} not",
            self.unacknowledged.present, self.unacknowledged.absent
        )?;
        let broken =
            self.invariants.iter().filter_map(|tally| Some((tally, tally.first.as_ref()?)));
        for (tally, first) in broken {
            writeln!(f, "{:?} is violated, first here: {first}", tally.invariant)?;
        }
        write!(f, "{}", if self.clean { "clean" } else { "VIOLATED" })
    }
}

impl fmt::Display for Erasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { clean, doc, before, records, manifests, blobs, files, found } = self;
        for Trace { place, what } in found {
            writeln!(f, "{place}: {what}")?;
        }
        writeln!(f, "{records} records, {manifests} manifests, {blobs} blobs, {files} files")?;
        let told = if *clean { "nothing is left" } else { "FOUND" };
        write!(f, "{doc} before revision {before}: {told}")
    }
}

/// Spells a place on one line; names of clients and files may hold anything.
impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        let numbers: Vec<_> = self.offsets.iter().map(ToString::to_string).collect();
        let parts = [
            ("shard", self.shard.map(|shard| shard.to_string())),
            ("offset", Some(numbers.join(", ")).filter(|list| !list.is_empty())),
            ("document", self.doc.as_ref().map(ToString::to_string)),
            ("revision", self.revision.map(|rev| rev.to_string())),
            ("session", self.session.clone()),
            ("batch", self.seq.map(|seq| seq.to_string())),
            ("client", self.client.as_ref().map(|name| name.escape_debug().to_string())),
            ("line", Some(self.lines.join(", ").escape_debug().to_string())),
        ];
        for (name, value) in parts {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                write!(f, " · {name} {value}")?;
            }
        }
        Ok(())
    }
}
