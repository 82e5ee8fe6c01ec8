//! The past of a document: text at any revision, who wrote what, differences, verification.
//!
//! A [`Past`] is a copy taken from the actor; it reads sealed segments from the store and works
//! away from the actor's thread.

use std::sync::Arc;

use crate::access::Denied;
use crate::checkpoint::{self, Life, NamedVersion, SealedSegment, Store, load, load_segment};
use crate::crdt::{Blame, Segment};
use crate::doc::state::State;
use crate::doc::{Failure, Refusal};
use crate::task::Tasks;
use crate::text::{Component, Operation, diff};
use crate::types::{Author, DocId, LogId, ParticipantId, Revision, Timestamp};

/// The most revisions that one page lists.
pub(crate) const PAGE_ROWS_MAX: usize = 1_000;

/// One document's history, as it was when this was taken.
#[derive(Clone)]
pub struct Past {
    doc: DocId,
    exists: bool,
    deleted: bool,
    head: Revision,
    cut: Revision,
    sealed: Vec<SealedSegment>,
    unsaved: Option<Arc<Segment>>,
    live: Arc<Segment>,
    /// Whether more than the newest text may be told.
    earlier: Result<(), Denied>,
    versions: Vec<NamedVersion>,
    store: Arc<dyn Store>,
    log: LogId,
}

/// One revision in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The revision.
    pub rev: Revision,
    /// Who wrote it.
    pub author: Author,
    /// The public id of the session that wrote it.
    pub participant: ParticipantId,
    /// The revision its author had.
    pub base: Revision,
    /// When, to the second.
    pub at: Timestamp,
    /// How many characters it inserts.
    pub inserted: u64,
    /// How many characters it deletes.
    pub deleted: u64,
}

/// Some revisions, rising, and where the next page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The revisions.
    pub rows: Vec<Row>,
    /// The first revision after them, if there are more.
    pub next: Option<Revision>,
}

/// A piece of text and who wrote it; nobody is known for text from before a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blamed {
    /// The text.
    pub text: String,
    /// The revision that inserted it, its author and its time.
    pub by: Option<(Revision, Author, Timestamp)>,
}

/// A piece of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// Which side it is on.
    pub kind: HunkKind,
    /// The text.
    pub text: String,
}

/// Which side of a difference a piece is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HunkKind {
    /// On both.
    Same,
    /// On the newer one only.
    Inserted,
    /// On the older one only.
    Deleted,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The revision verified.
    pub rev: Revision,
    /// The hash of its text.
    pub text_hash: u64,
    /// The newest checkpoint's revision, if there is one.
    pub checkpoint: Option<Revision>,
    /// How many revisions were replayed.
    pub replayed: u64,
    /// Whether everything agrees.
    pub equal: bool,
}

impl Past {
    pub(in crate::doc) fn new(state: &State, store: Arc<dyn Store>, log: LogId) -> Self {
        Self {
            doc: state.doc().clone(),
            exists: state.exists(),
            deleted: state.life == Life::Deleted,
            head: state.head(),
            cut: state.cut,
            sealed: state.sealed.clone(),
            unsaved: state.unsaved.clone(),
            live: state.live.clone(),
            earlier: Ok(()),
            versions: state.versions.clone(),
            store,
            log,
        }
    }

    /// Returns the same for somebody who may be told of more than the newest text, or not.
    pub(in crate::doc) fn limited(self, earlier: Result<(), Denied>) -> Self {
        Self { earlier, ..self }
    }

    fn check_earlier(&self) -> Result<(), Failure> {
        Ok(self.earlier.map_err(Refusal::Denied)?)
    }

    /// Returns the newest revision.
    pub fn head(&self) -> Revision {
        self.head
    }

    /// Returns the named versions; none to whoever may not be told of the history.
    pub fn versions(&self) -> &[NamedVersion] {
        if self.earlier.is_ok() { &self.versions } else { &[] }
    }

    /// Refuses where the document does not exist or is deleted.
    ///
    /// # Errors
    /// [`Refusal::NoDocument`].
    pub fn check_exists(&self) -> Result<(), Refusal> {
        if self.exists { Ok(()) } else { Err(Refusal::NoDocument) }
    }

    /// Tells whether the document is deleted: it is all there until it is erased.
    pub fn is_deleted(&self) -> bool {
        self.deleted
    }

    /// Returns the oldest revision that can be read.
    pub fn oldest(&self) -> Revision {
        self.cut
    }

    /// Refuses a revision that is not in the history.
    ///
    /// # Errors
    /// [`Failure::NoRevision`].
    pub fn check_revision(&self, rev: Revision) -> Result<(), Failure> {
        if rev < self.cut || rev > self.head { Err(self.no_revision(rev)) } else { Ok(()) }
    }

    /// Returns the text at a revision.
    ///
    /// # Errors
    /// [`Failure::NoRevision`], where only the newest may be told, or a segment cannot be read.
    pub async fn text_at(&self, rev: Revision) -> Result<String, Failure> {
        if rev == self.head {
            return Ok(self.live.text());
        }
        self.check_earlier()?;
        let segment = self.segment_of(rev).await?;
        let text = Tasks::offload(move || segment.text_at(rev)).await;
        text.ok_or_else(|| self.no_revision(rev))
    }

    /// Lists revisions from `from` on.
    ///
    /// # Errors
    /// Where only the newest text may be told, or a segment cannot be read.
    pub async fn page(&self, from: Revision, rows_max: usize) -> Result<Page, Failure> {
        self.check_earlier()?;
        let rows_max = rows_max.clamp(1, PAGE_ROWS_MAX);
        let mut next = from.max(self.cut.next());
        let mut rows = Vec::new();
        while next <= self.head && rows.len() < rows_max {
            let segment = self.segment_with(next).await?;
            let room = (rows_max - rows.len()) as u64;
            let until = Revision(segment.head().0.min(next.0 + room - 1));
            for row in segment.history(next..=until) {
                rows.push(Row {
                    rev: row.revision,
                    author: row.meta.author,
                    participant: row.meta.session.participant(),
                    base: row.meta.base,
                    at: row.meta.at,
                    inserted: row.inserted,
                    deleted: row.deleted,
                });
            }
            next = until.next();
        }
        Ok(Page { rows, next: (next <= self.head).then_some(next) })
    }

    /// Tells who wrote each piece of the text at a revision.
    ///
    /// # Errors
    /// [`Failure::NoRevision`], where only the newest text may be told, or a segment cannot be
    /// read.
    pub async fn blame(&self, rev: Revision) -> Result<Vec<Blamed>, Failure> {
        self.check_earlier()?;
        let text = self.text_at(rev).await?;
        let mut blame: Option<Blame> = None;
        let mut by_rev = Vec::new();
        for index in 0..self.segments() {
            let segment = self.segment(index).await?;
            let until = segment.head().min(rev);
            let known = blame.take();
            let (next, segment) = Tasks::offload(move || {
                let known = known.unwrap_or_else(|| Blame::unknown(segment.base_chars()));
                (segment.blame(&known, until), segment)
            })
            .await;
            by_rev.push(segment);
            blame = Some(next.ok_or_else(|| self.no_revision(rev))?);
            if until == rev {
                break;
            }
        }
        Ok(attribute(&text, &blame.unwrap_or_default(), &by_rev))
    }

    /// Returns what changed from one revision to another.
    ///
    /// # Errors
    /// [`Failure::NoRevision`], or where a segment cannot be read.
    pub async fn diff(
        &self,
        from: Revision,
        to: Revision,
    ) -> Result<(Operation, Vec<Hunk>), Failure> {
        let (before, after) = (self.text_at(from).await?, self.text_at(to).await?);
        Ok(Tasks::offload(move || {
            let op = diff(&before, &after);
            let hunks = hunks(&before, &op);
            (op, hunks)
        })
        .await)
    }

    /// Replays every revision from the beginning and compares it with what is kept, what is stored,
    /// and the text that another reader rebuilt from checkpoint and log.
    ///
    /// # Errors
    /// Where only the newest text may be told, or a segment cannot be read.
    pub async fn verify(&self, rebuilt: (Revision, String)) -> Result<Verified, Failure> {
        self.check_earlier()?;
        let mut replayed = 0;
        let mut equal = self.text_at(rebuilt.0).await? == rebuilt.1;
        let mut before: Option<String> = None;
        for index in 0..self.segments() {
            let segment = self.segment(index).await?;
            let (revisions, text, follows) = Tasks::offload(move || replay(&segment, before)).await;
            replayed += revisions;
            equal &= follows;
            before = text;
        }
        equal &= before.as_deref() == Some(self.live.text().as_str());
        let stored = match load(&*self.store, &self.doc, self.log).await {
            Ok(stored) => stored,
            Err(checkpoint::Error::AllDamaged { .. }) => {
                equal = false;
                None
            }
            Err(error) => return Err(store_failure(error)),
        };
        let mut checkpoint = None;
        if let Some(snapshot) = stored.map(|loaded| loaded.snapshot) {
            let (rev, hash) = (snapshot.revision, snapshot.text_hash);
            let decoded = move || Segment::decode(&snapshot.live).map(|one| one.text_hash());
            let stored = Tasks::offload(decoded).await;
            equal &= stored.is_ok_and(|stored| stored == hash);
            if (self.cut..=self.head).contains(&rev) {
                let text = self.text_at(rev).await?;
                let hashed = move || Segment::new(rev, &text).text_hash();
                equal &= Tasks::offload(hashed).await == hash;
            }
            checkpoint = Some(rev);
        }
        let text_hash = self.live.text_hash();
        Ok(Verified { rev: self.head, text_hash, checkpoint, replayed, equal })
    }

    /// Merges an operation made at an old revision by diamond-types; the result applies to the
    /// returned revision.
    ///
    /// # Errors
    /// Where the base is not in the history or the operation does not fit it.
    pub async fn merge_fork(
        &self,
        base: Revision,
        op: Operation,
    ) -> Result<(Operation, Revision), Refusal> {
        let (mut op, mut base) = (op, base);
        let oldest = self.cut;
        loop {
            let segment = self.segment_of(base).await.map_err(|failure| match failure {
                Failure::NoRevision { .. } => Refusal::BadBase { base, oldest, head: self.head },
                other => other.into_refusal(),
            })?;
            let head = segment.head();
            let merged = Tasks::offload(move || segment.merge_fork(base, &op)).await;
            op = merged.map_err(|error| Refusal::BadOp { detail: error.to_string() })?;
            base = head;
            if head == self.head {
                return Ok((op, head));
            }
        }
    }

    /// Returns how many segments there are.
    pub(in crate::doc) fn segments(&self) -> usize {
        self.sealed.len() + usize::from(self.unsaved.is_some()) + 1
    }

    /// Returns a segment by its place in the chain.
    pub(in crate::doc) async fn segment(&self, index: usize) -> Result<Arc<Segment>, Failure> {
        if let Some(sealed) = self.sealed.get(index) {
            let bytes =
                load_segment(&*self.store, &self.doc, sealed).await.map_err(store_failure)?;
            let decoded = Tasks::offload(move || Segment::decode(&bytes)).await;
            return decoded.map(Arc::new).map_err(|error| Failure::Damaged {
                detail: format!("segment from revision {}: {error}", sealed.base),
            });
        }
        match &self.unsaved {
            Some(unsaved) if index == self.sealed.len() => Ok(unsaved.clone()),
            _ => Ok(self.live.clone()),
        }
    }

    /// Returns the newest segment that knows the text at a revision.
    async fn segment_of(&self, rev: Revision) -> Result<Arc<Segment>, Failure> {
        if rev < self.cut || rev > self.head {
            return Err(self.no_revision(rev));
        }
        let bases = (0..self.segments()).rev().map(|index| (index, self.base_of(index)));
        let found = bases.into_iter().find(|(_, base)| *base <= rev);
        let (index, _) = found.ok_or_else(|| self.no_revision(rev))?;
        self.segment(index).await
    }

    /// Returns the segment that holds a revision's operation.
    async fn segment_with(&self, rev: Revision) -> Result<Arc<Segment>, Failure> {
        let bases = (0..self.segments()).rev().map(|index| (index, self.base_of(index)));
        let found = bases.into_iter().find(|(_, base)| *base < rev);
        let (index, _) = found.ok_or_else(|| self.no_revision(rev))?;
        self.segment(index).await
    }

    fn base_of(&self, index: usize) -> Revision {
        if let Some(sealed) = self.sealed.get(index) {
            return sealed.base;
        }
        match &self.unsaved {
            Some(unsaved) if index == self.sealed.len() => unsaved.base(),
            _ => self.live.base(),
        }
    }

    fn no_revision(&self, rev: Revision) -> Failure {
        Failure::NoRevision { rev, oldest: self.cut, head: self.head }
    }
}

fn store_failure(error: checkpoint::Error) -> Failure {
    Failure::Store { detail: error.to_string() }
}

/// Replays a segment's operations on its base; tells the revisions, the text, and whether the base
/// is the text that the segment before ended with and the end the one that is kept.
fn replay(segment: &Segment, before: Option<String>) -> (u64, Option<String>, bool) {
    let base = segment.text_at(segment.base());
    let mut equal = before.is_none_or(|before| Some(&before) == base.as_ref());
    let mut copy = Segment::new(segment.base(), base.as_deref().unwrap_or_default());
    let all = segment.base().next()..=segment.head();
    let rows = segment.history(all.clone());
    for ((rev, op), row) in segment.operations(all).iter().zip(rows) {
        equal &= copy.append(op, &row.meta).is_ok_and(|at| at == *rev);
    }
    equal &= copy.head() == segment.head();
    let text = copy.text();
    equal &= text == segment.text();
    (segment.head().0 - segment.base().0, Some(text), equal)
}

/// Cuts a text into the pieces of a blame.
fn attribute(text: &str, blame: &Blame, segments: &[Arc<Segment>]) -> Vec<Blamed> {
    let mut chars = text.chars();
    let by = |rev: Revision| {
        let segment = segments.iter().find(|one| one.base() < rev && rev <= one.head())?;
        let meta = segment.meta(rev)?;
        Some((rev, meta.author, meta.at))
    };
    let piece = |run: &crate::crdt::BlameRun| Blamed {
        text: chars.by_ref().take(usize::try_from(run.chars).unwrap_or(usize::MAX)).collect(),
        by: run.revision.and_then(by),
    };
    blame.runs().iter().map(piece).collect()
}

/// Spells out an operation as pieces of both texts.
fn hunks(before: &str, op: &Operation) -> Vec<Hunk> {
    let mut rest = before.chars();
    let mut take = |chars: u32| rest.by_ref().take(chars as usize).collect::<String>();
    let mut hunks: Vec<_> = op
        .components()
        .iter()
        .map(|component| match component {
            Component::Retain(chars) => Hunk { kind: HunkKind::Same, text: take(*chars) },
            Component::Insert(text) => {
                Hunk { kind: HunkKind::Inserted, text: text.as_str().to_owned() }
            }
            Component::Delete(chars) => Hunk { kind: HunkKind::Deleted, text: take(*chars) },
        })
        .collect();
    let tail: String = rest.collect();
    if !tail.is_empty() {
        hunks.push(Hunk { kind: HunkKind::Same, text: tail });
    }
    hunks
}
