//! One shard of the log: each record's verdict told once more, and handed to its document.

use rustc_hash::FxHashMap;

use crate::audit::checkpoints::Checkpoint;
use crate::audit::clients::Clients;
use crate::audit::document::{Context, Document, Place};
use crate::audit::epochs::Epochs;
use crate::audit::model::{Invariant, Violation};
use crate::audit::report::Findings;
use crate::log::{Judged, Record, Void};
use crate::types::{DocId, Offset, ShardId};

/// Chooses the records that are audited. Those below are read and followed, not decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Range {
    /// The first, in every shard.
    pub from: Offset,
    /// The last, in every shard.
    pub to: Option<Offset>,
}

/// Says where a shard begins, and what covers it.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Which.
    pub shard: ShardId,
    /// Its first record.
    pub low: Offset,
    /// What the checkpoints say, where they are asked.
    pub covered: Option<Covered>,
}

/// What the checkpoints say of a shard.
#[derive(Debug, Clone, Default)]
pub struct Covered {
    /// The first offset that is not covered; 0 where nothing says so.
    pub low_water: Offset,
    /// Its documents.
    pub docs: Vec<Checkpoint>,
}

/// What is counted beside the invariants.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) records: u64,
    pub(crate) void: u64,
    pub(crate) unreadable: u64,
    pub(crate) missing: u64,
    pub(crate) docs: u64,
    pub(crate) absent: u64,
    pub(crate) present: u64,
}

/// One shard while its records go by.
#[derive(Debug)]
pub(crate) struct Shard {
    id: ShardId,
    trimmed: bool,
    range: Range,
    next: Option<Offset>,
    epochs: Epochs,
    docs: FxHashMap<DocId, Document>,
    checkpoints: FxHashMap<DocId, Checkpoint>,
    counts: Counts,
}

impl Shard {
    pub(crate) fn begin(opening: Opening, range: Range, findings: &mut Findings) -> Self {
        let Opening { shard: id, low, covered } = opening;
        if let Some(Covered { low_water, .. }) = &covered {
            findings.check(Invariant::I9, low <= *low_water, || Violation {
                what: format!("the log begins above the low-water mark, which is {low_water}"),
                shard: Some(id),
                offsets: vec![low, *low_water],
                ..Violation::default()
            });
        }
        let checkpoints = covered.unwrap_or_default().docs.into_iter();
        let trimmed = low > Offset(0);
        Self {
            id,
            trimmed,
            range,
            next: None,
            epochs: if trimmed { Epochs::Unknown } else { Epochs::Nobody },
            docs: FxHashMap::default(),
            checkpoints: checkpoints.map(|stored| (stored.doc.clone(), stored)).collect(),
            counts: Counts::default(),
        }
    }

    pub(crate) fn record(
        &mut self,
        judged: &Judged,
        clients: &mut Clients,
        findings: &mut Findings,
    ) {
        let offset = judged.stored.offset;
        if self.range.to.is_some_and(|to| offset > to) {
            return;
        }
        findings.muted = offset < self.range.from;
        if !findings.muted {
            self.counts.records += 1;
            let expected = self.next.unwrap_or(offset);
            self.counts.missing += offset.0.saturating_sub(expected.0);
            self.counts.unreadable += u64::from(judged.record.is_err());
        }
        self.next = Some(offset.next());
        if let Ok(record) = &judged.record {
            let counts = self.judge(offset, record, judged.verdict, clients, findings);
            self.counts.void += u64::from(!counts && !findings.muted);
        }
        findings.muted = false;
    }

    /// Makes sure that a document is looked at, though no record may tell of it.
    pub(crate) fn touch(&mut self, doc: &DocId, clients: &mut Clients) -> &mut Document {
        if !self.docs.contains_key(doc) {
            let ledger = clients.remove(doc).unwrap_or_default();
            let stored = self.checkpoints.remove(doc);
            let document = Document::new(doc.clone(), ledger, stored, self.trimmed);
            self.docs.insert(doc.clone(), document);
        }
        self.docs.get_mut(doc).expect("it was added just now")
    }

    pub(crate) fn end(mut self, clients: &mut Clients, findings: &mut Findings) -> Counts {
        let mut untouched: Vec<_> = self.checkpoints.keys().cloned().collect();
        untouched.sort_unstable();
        for doc in &untouched {
            self.touch(doc, clients);
        }
        let mut docs: Vec<_> = self.docs.into_values().collect();
        docs.sort_unstable_by(|one, other| one.id().cmp(other.id()));
        for doc in docs {
            self.counts.docs += u64::from(doc.has_records());
            let offset = self.next.unwrap_or_default();
            let place = Place { shard: self.id, offset, names: &clients.names };
            let mut context = Context { place, findings };
            let sent = doc.finish(self.range.to.is_some(), &mut context);
            self.counts.absent += sent.absent;
            self.counts.present += sent.present;
        }
        self.counts
    }

    /// Judges a record again, holds that against the reader's verdict, and lets it act where it
    /// counts; tells whether it does.
    fn judge(
        &mut self,
        offset: Offset,
        record: &Record,
        reader: Result<(), Void>,
        clients: &mut Clients,
        findings: &mut Findings,
    ) -> bool {
        let id = self.id;
        let by_epoch = self.epochs.judge(record);
        let about = |what: String, claim: Option<Offset>| Violation {
            what,
            shard: Some(id),
            offsets: std::iter::once(offset).chain(claim).collect(),
            doc: record.doc().cloned(),
            revision: record.base_rev(),
            ..Violation::default()
        };
        let of_epoch = matches!(reader, Err(Void::StaleEpoch | Void::Released | Void::Claim));
        let claim = self.epochs.claim();
        match by_epoch {
            None => findings.open(Invariant::I7, 1, "the claim before it is gone"),
            Some(Err(why)) => findings.check(Invariant::I7, reader.is_err(), || {
                about(format!("it counts for the reader and must not: {why}"), claim)
            }),
            Some(Ok(())) => findings.check(Invariant::I7, !of_epoch, || {
                about("it is void for the reader and must not be: its epoch holds".into(), claim)
            }),
        }
        let known = by_epoch.is_some();
        let by_epoch = by_epoch.unwrap_or(if of_epoch { reader } else { Ok(()) });
        let counts = match record.doc() {
            None => reader.is_ok(),
            Some(doc) => {
                let document = self.touch(doc, clients);
                let place = Place { shard: id, offset, names: &clients.names };
                let mut context = Context { place, findings };
                document.record(record, reader, by_epoch, &mut context)
            }
        };
        if by_epoch.is_ok() && (known || counts) {
            self.epochs.follow(offset, record);
        }
        counts
    }
}

impl Counts {
    pub(crate) fn add(&mut self, more: Self) {
        self.records += more.records;
        self.void += more.void;
        self.unreadable += more.unreadable;
        self.missing += more.missing;
        self.docs += more.docs;
        self.absent += more.absent;
        self.present += more.present;
    }
}
