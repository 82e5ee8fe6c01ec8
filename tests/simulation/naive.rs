//! The acceptance rule and the text once more, written for being obviously right: what the log says
//! happened, without a line of the code that is judged by it.

use std::collections::BTreeMap;

use quire::access::{AccessChange, Rights, Subject, Visibility};
use quire::log::{Claim, Entry, Event, EventKind, Frame, Record, Release, Stored};
use quire::text::{Component, Operation};
use quire::types::{DocId, Revision, Seq, SessionId};

/// One document as the log tells it.
#[derive(Debug, Clone)]
pub(crate) struct Truth {
    /// The text at each revision, from 0 on.
    pub(crate) texts: Vec<String>,
    /// What made each revision, from 1 on.
    pub(crate) entries: Vec<Entry>,
    /// Each batch and its revision.
    pub(crate) batches: BTreeMap<(SessionId, Seq), Revision>,
    /// The versions by name.
    pub(crate) versions: BTreeMap<String, Revision>,
    pub(crate) owner: Option<Subject>,
    pub(crate) visibility: Visibility,
    pub(crate) members: BTreeMap<Subject, Rights>,
    pub(crate) cut: Revision,
    pub(crate) expired: usize,
    pub(crate) returned: usize,
    last: BTreeMap<SessionId, u64>,
}

impl Default for Truth {
    fn default() -> Self {
        Self {
            texts: vec![String::new()],
            entries: Vec::new(),
            batches: BTreeMap::new(),
            versions: BTreeMap::new(),
            owner: None,
            visibility: Visibility::Private,
            members: BTreeMap::new(),
            cut: Revision(0),
            expired: 0,
            returned: 0,
            last: BTreeMap::new(),
        }
    }
}

impl Truth {
    pub(crate) fn head(&self) -> Revision {
        Revision(self.entries.len() as u64)
    }

    pub(crate) fn text(&self) -> &str {
        self.texts.last().expect("there is one of revision 0")
    }

    pub(crate) fn text_at(&self, rev: Revision) -> Option<&str> {
        self.texts.get(usize::try_from(rev.0).ok()?).map(String::as_str)
    }

    /// Returns what made a revision.
    pub(crate) fn entry(&self, rev: Revision) -> Option<&Entry> {
        self.entries.get(usize::try_from(rev.0.checked_sub(1)?).ok()?)
    }

    fn take(&mut self, frame: &Frame) {
        if frame.base_rev != self.head() {
            return;
        }
        let mut last = self.last.clone();
        for entry in &frame.entries {
            let last = last.entry(entry.session).or_default();
            if entry.seq.0 != *last + 1 {
                return;
            }
            *last += 1;
        }
        self.last = last;
        for entry in &frame.entries {
            self.texts.push(edit(self.text(), &entry.op));
            self.entries.push(entry.clone());
            let again = self.batches.insert((entry.session, entry.seq), self.head());
            assert_eq!(again, None, "a batch is accepted once");
        }
    }

    fn take_event(&mut self, event: &Event) {
        if event.base_rev != self.head() {
            return;
        }
        match &event.kind {
            EventKind::SessionsExpired { sessions } => {
                self.expired += sessions.len();
                self.last.retain(|session, _| !sessions.contains(session));
            }
            EventKind::SessionReturned { session, seq, rev } => {
                let newest = self.batches.range((*session, Seq(0))..=(*session, Seq(u64::MAX)));
                let newest = newest.last().expect("it has written");
                assert_eq!(newest, (&(*session, *seq), rev), "its last batch");
                self.returned += 1;
                self.last.insert(*session, seq.0);
            }
            EventKind::HistoryCut { before } => self.cut = self.cut.max(*before),
            EventKind::VersionNamed { name, rev } => {
                self.versions.insert(name.clone(), *rev);
            }
            EventKind::AccessChanged(AccessChange::Owner(owner)) => self.owner.clone_from(owner),
            EventKind::AccessChanged(AccessChange::Visibility(now)) => self.visibility = *now,
            EventKind::AccessChanged(AccessChange::Member(member, Rights::NONE)) => {
                self.members.remove(member);
            }
            EventKind::AccessChanged(AccessChange::Member(member, rights)) => {
                self.members.insert(member.clone(), *rights);
            }
            EventKind::Quarantined { reason } => panic!("quarantined: {reason}"),
            EventKind::Created
            | EventKind::Deleted
            | EventKind::Undeleted
            | EventKind::Restored { .. }
            | EventKind::Exported { .. } => {}
        }
    }
}

/// Reads one shard from its very first record.
pub(crate) fn read(records: &[Stored], docs: &mut BTreeMap<DocId, Truth>) {
    let (mut epoch, mut released) = (None, false);
    for stored in records {
        match Record::decode(&stored.bytes) {
            Ok(Record::Claim(Claim { prev, .. })) => {
                if prev.map(|prev| prev.0) == epoch {
                    (epoch, released) = (Some(stored.offset.0), false);
                }
            }
            Ok(Record::Release(Release { epoch: of, .. })) => {
                released |= epoch == Some(of.0);
            }
            Ok(Record::Frame(frame)) => {
                if epoch == Some(frame.epoch.0) && !released {
                    docs.entry(frame.doc.clone()).or_default().take(&frame);
                }
            }
            Ok(Record::Event(event)) => {
                if epoch == Some(event.epoch.0) && !released {
                    docs.entry(event.doc.clone()).or_default().take_event(&event);
                }
            }
            // A torn record is skipped by every reader.
            Err(_) => {}
        }
    }
}

/// Returns all text that an operation inserts.
pub(crate) fn inserted(op: &Operation) -> String {
    let text = |component: &Component| match component {
        Component::Insert(text) => text.to_string(),
        Component::Retain(_) | Component::Delete(_) => String::new(),
    };
    op.components().iter().map(text).collect()
}

fn edit(text: &str, op: &Operation) -> String {
    let mut rest = text.chars();
    let mut after = String::new();
    for component in op.components() {
        match component {
            Component::Retain(chars) => {
                for _ in 0..*chars {
                    after.push(rest.next().expect("an accepted operation fits"));
                }
            }
            Component::Insert(inserted) => after.push_str(inserted),
            Component::Delete(chars) => {
                for _ in 0..*chars {
                    rest.next().expect("an accepted operation fits");
                }
            }
        }
    }
    after.extend(rest);
    after
}
