//! The acceptance rule: which records of a shard count. Pure, and the same for every reader.
//!
//! [`Fence`] decides at the level of the shard, from the claims and releases before a record;
//! [`check_frame`] and [`check_event`] at the level of the document. A record that fails either is
//! void as a whole: it changes nothing, for every reader alike.

use rustc_hash::FxHashMap;

#[cfg(any(test, feature = "testing"))]
use crate::broken::{Rule, is_broken};
use crate::log::record::{Claim, Event, Frame, Record, Release};
use crate::types::{Epoch, Offset, Revision, Seq, SessionId};

/// Tells why a record does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Void {
    /// It was written under another ownership than the current one.
    #[error("the record is of another epoch than the current one")]
    StaleEpoch,
    /// Its owner had given the shard up.
    #[error("the record comes after its epoch was released")]
    Released,
    /// It was made for another revision of the document.
    #[error("the record is for another revision than the document has")]
    Revision,
    /// A batch of it is not the session's next one.
    #[error("a batch of the record is not the next one of its session")]
    Seq,
    /// It claims the shard on top of another epoch than the current one.
    #[error("the claim is on top of another epoch than the current one")]
    Claim,
}

/// Knows who may write to a shard, from the records seen so far, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fence {
    /// The current epoch; none before the first claim.
    pub epoch: Option<Epoch>,
    /// Whether its owner has given it up.
    pub released: bool,
}

impl Fence {
    /// Returns what held at offset `low`, where the records before it are gone, from those after
    /// it: an ownership is as old as the offset that numbers it, so the newest one from before
    /// `low` that any record speaks of was in force there. A stale owner's records speak of older
    /// ones.
    pub fn before<'a>(low: Offset, records: impl IntoIterator<Item = &'a Record>) -> Self {
        let spoken_of = |record: &Record| match record {
            Record::Claim(Claim { prev, .. }) => *prev,
            Record::Release(Release { epoch, .. })
            | Record::Frame(Frame { epoch, .. })
            | Record::Event(Event { epoch, .. }) => Some(*epoch),
        };
        let epochs = records.into_iter().filter_map(spoken_of);
        let epoch = epochs.filter(|epoch| epoch.0 < low.0).max();
        Self { epoch, released: false }
    }

    /// Takes in the next record of the shard and tells whether it counts here.
    ///
    /// # Errors
    /// Why the record is void; the fence has not moved then.
    pub fn observe(&mut self, offset: Offset, record: &Record) -> Result<(), Void> {
        match record {
            Record::Claim(Claim { prev, .. }) => {
                if *prev != self.epoch {
                    return Err(Void::Claim);
                }
                *self = Self { epoch: Some(Epoch(offset.0)), released: false };
                Ok(())
            }
            Record::Release(Release { epoch, .. }) => {
                self.check(*epoch)?;
                self.released = true;
                Ok(())
            }
            Record::Frame(Frame { epoch, .. }) | Record::Event(Event { epoch, .. }) => {
                self.check(*epoch)
            }
        }
    }

    /// Tells whether something written under `epoch` counts at this place.
    ///
    /// # Errors
    /// Why it does not.
    pub fn check(&self, epoch: Epoch) -> Result<(), Void> {
        #[cfg(any(test, feature = "testing"))]
        if is_broken(Rule::Epoch) {
            return Ok(());
        }
        if self.epoch != Some(epoch) {
            Err(Void::StaleEpoch)
        } else if self.released {
            Err(Void::Released)
        } else {
            Ok(())
        }
    }
}

/// Is what a reader knows of a document: the part that acceptance depends on.
pub trait Position {
    /// Returns the document's revision.
    fn revision(&self) -> Revision;

    /// Returns the session's last batch, 0 if there is none.
    fn last_seq(&self, session: &SessionId) -> Seq;
}

/// Tells whether a frame that passed the [`Fence`] counts for its document.
///
/// # Errors
/// Why the whole frame is void.
pub fn check_frame(at: &impl Position, frame: &Frame) -> Result<(), Void> {
    if frame.base_rev != at.revision() || frame.head().is_none() {
        return Err(Void::Revision);
    }
    if let [entry] = frame.entries.as_slice() {
        return check_seq(at.last_seq(&entry.session), entry.seq);
    }
    let mut last: FxHashMap<SessionId, Seq> = FxHashMap::default();
    for entry in &frame.entries {
        let last = last.entry(entry.session).or_insert_with(|| at.last_seq(&entry.session));
        check_seq(*last, entry.seq)?;
        *last = entry.seq;
    }
    Ok(())
}

/// Tells whether an event that passed the [`Fence`] counts for its document.
///
/// # Errors
/// Why it is void.
pub fn check_event(at: &impl Position, event: &Event) -> Result<(), Void> {
    if event.base_rev == at.revision() { Ok(()) } else { Err(Void::Revision) }
}

fn check_seq(last: Seq, seq: Seq) -> Result<(), Void> {
    #[cfg(any(test, feature = "testing"))]
    if is_broken(Rule::Sessions) {
        return Ok(());
    }
    if last.0.checked_add(1) == Some(seq.0) { Ok(()) } else { Err(Void::Seq) }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::log::record::{Entry, EventKind};
    use crate::text::Operation;
    use crate::types::{Author, DocId, NodeId, Timestamp};

    /// A document as a reader knows it.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    struct Doc {
        revision: Revision,
        sessions: HashMap<SessionId, Seq>,
    }

    impl Position for Doc {
        fn revision(&self) -> Revision {
            self.revision
        }

        fn last_seq(&self, session: &SessionId) -> Seq {
            self.sessions.get(session).copied().unwrap_or_default()
        }
    }

    /// A reader of one shard: it has seen the records before `next`.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    struct Reader {
        fence: Fence,
        docs: HashMap<DocId, Doc>,
        next: usize,
    }

    impl Reader {
        fn read(&mut self, log: &[Record]) -> Vec<Result<(), Void>> {
            log[self.next..].iter().map(|record| self.take(record)).collect()
        }

        fn take(&mut self, record: &Record) -> Result<(), Void> {
            let offset = Offset(u64::try_from(self.next).unwrap());
            self.next += 1;
            self.fence.observe(offset, record)?;
            let Record::Frame(frame) = record else { return Ok(()) };
            let doc = self.docs.entry(frame.doc.clone()).or_default();
            check_frame(doc, frame)?;
            doc.revision = frame.head().unwrap();
            doc.sessions.extend(frame.entries.iter().map(|entry| (entry.session, entry.seq)));
            Ok(())
        }
    }

    fn node(name: &str) -> NodeId {
        NodeId(name.parse().unwrap())
    }

    fn claim(prev: Option<u64>) -> Record {
        Record::Claim(Claim { node: node("a"), boot: 1, prev: prev.map(Epoch) })
    }

    fn release(epoch: u64) -> Record {
        Record::Release(Release { epoch: Epoch(epoch), to: Some(node("b")) })
    }

    fn frame(epoch: u64, doc: &str, base_rev: u64, batches: &[(u8, u64)]) -> Frame {
        let entry = |&(session, seq): &(u8, u64)| Entry {
            session: SessionId([session; 16]),
            seq: Seq(seq),
            author: Author::anonymous(),
            base: Revision(base_rev),
            op: Operation::identity(),
        };
        Frame {
            epoch: Epoch(epoch),
            doc: doc.parse().unwrap(),
            base_rev: Revision(base_rev),
            at: Timestamp(0),
            entries: batches.iter().map(entry).collect(),
        }
    }

    #[test]
    fn the_fence_lets_one_owner_write() {
        let write = |epoch| Record::Frame(frame(epoch, "d", 0, &[]));
        let mut fence = Fence::default();
        let mut offset = 0;
        let mut check = |record: Record, verdict: Result<(), Void>| {
            let before = fence;
            assert_eq!(fence.observe(Offset(offset), &record), verdict, "offset {offset}");
            assert!(verdict.is_ok() || fence == before, "a void record moves nothing");
            offset += 1;
        };
        check(write(0), Err(Void::StaleEpoch));
        check(claim(Some(0)), Err(Void::Claim));
        check(claim(None), Ok(()));
        check(claim(None), Err(Void::Claim));
        check(write(2), Ok(()));
        check(write(3), Err(Void::StaleEpoch));
        check(claim(Some(2)), Ok(()));
        check(write(2), Err(Void::StaleEpoch));
        check(release(2), Err(Void::StaleEpoch));
        check(release(6), Ok(()));
        check(write(6), Err(Void::Released));
        check(release(6), Err(Void::Released));
        check(claim(Some(6)), Ok(()));
        check(write(12), Ok(()));
    }

    #[test]
    fn a_frame_counts_whole_or_not_at_all() {
        let sessions = [(SessionId([1; 16]), Seq(4)), (SessionId([2; 16]), Seq(u64::MAX))];
        let doc = Doc { revision: Revision(7), sessions: HashMap::from(sessions) };
        let check = |base_rev, batches: &[(u8, u64)], verdict: Result<(), Void>| {
            let frame = frame(0, "d", base_rev, batches);
            assert_eq!(check_frame(&doc, &frame), verdict, "{base_rev} {batches:?}");
        };
        check(7, &[(1, 5)], Ok(()));
        check(7, &[], Ok(()));
        check(6, &[(1, 5)], Err(Void::Revision));
        check(8, &[(1, 5)], Err(Void::Revision));
        check(7, &[(1, 4)], Err(Void::Seq));
        check(7, &[(1, 6)], Err(Void::Seq));
        check(7, &[(3, 1)], Ok(()));
        check(7, &[(3, 0)], Err(Void::Seq));
        check(7, &[(2, 0)], Err(Void::Seq));
        check(7, &[(1, 5), (3, 1), (1, 6), (3, 2), (1, 7)], Ok(()));
        check(7, &[(1, 5), (3, 1), (1, 5)], Err(Void::Seq));
        check(7, &[(1, 5), (3, 1), (1, 7)], Err(Void::Seq));
    }

    #[test]
    fn an_event_counts_at_its_revision() {
        let event = |base_rev| Event {
            epoch: Epoch(0),
            doc: "d".parse().unwrap(),
            base_rev: Revision(base_rev),
            at: Timestamp(0),
            author: Author::anonymous(),
            by: None,
            kind: EventKind::Deleted,
        };
        let doc = Doc { revision: Revision(7), ..Doc::default() };
        assert_eq!(check_event(&doc, &event(7)), Ok(()));
        assert_eq!(check_event(&doc, &event(6)), Err(Void::Revision));
    }

    /// What one of two owners does next, with what it knows.
    #[derive(Debug, Clone)]
    enum Step {
        Read,
        Claim,
        Release,
        Write { doc: u8, sessions: Vec<u8> },
        Again,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => Just(Step::Read),
            2 => Just(Step::Claim),
            1 => Just(Step::Release),
            6 => (0..2u8, prop::collection::vec(0..3u8, 1..4))
                .prop_map(|(doc, sessions)| Step::Write { doc, sessions }),
            1 => Just(Step::Again),
        ]
    }

    /// Lets two owners, each with its own view of the log, write to it.
    fn run(steps: Vec<(bool, Step)>) -> Vec<Record> {
        let mut owners = [Reader::default(), Reader::default()];
        let mut log: Vec<Record> = Vec::new();
        for (second, step) in steps {
            let owner = &mut owners[usize::from(second)];
            let epoch = owner.fence.epoch;
            match step {
                Step::Read => {
                    owner.read(&log);
                }
                Step::Claim => log.push(claim(epoch.map(|epoch| epoch.0))),
                Step::Release => log.push(release(epoch.unwrap_or_default().0)),
                Step::Write { doc, sessions } => {
                    let name = format!("d{doc}");
                    let known = owner.docs.entry(name.parse().unwrap()).or_default();
                    let base_rev = known.revision;
                    let mut batches = Vec::new();
                    // The owner counts what it wrote, accepted or not, as one that pipelines does.
                    for session in sessions {
                        let last = known.sessions.entry(SessionId([session; 16])).or_default();
                        *last = last.next();
                        known.revision = known.revision.next();
                        batches.push((session, last.0));
                    }
                    let epoch = epoch.unwrap_or_default().0;
                    log.push(Record::Frame(frame(epoch, &name, base_rev.0, &batches)));
                }
                Step::Again => log.extend(log.last().cloned()),
            }
        }
        log
    }

    proptest! {
        #[test]
        fn all_readers_agree_and_nothing_counts_twice(
            steps in prop::collection::vec((any::<bool>(), step()), 0..60),
            middle in any::<prop::sample::Index>(),
        ) {
            let log = run(steps);
            let verdicts = Reader::default().read(&log);

            // A reader that begins from what another knew in the middle agrees.
            let middle = middle.index(log.len() + 1);
            let mut first = Reader::default();
            let mut joined = first.read(&log[..middle]);
            joined.extend(first.clone().read(&log));
            prop_assert_eq!(&joined, &verdicts);

            // Told from the whole accepted prefix, without any state.
            let mut revisions: HashMap<&DocId, u64> = HashMap::new();
            let mut seen = HashSet::new();
            let mut owner = None;
            for ((offset, record), verdict) in log.iter().enumerate().zip(&verdicts) {
                match record {
                    Record::Claim(_) if verdict.is_ok() => owner = Some(offset as u64),
                    Record::Frame(frame) if verdict.is_ok() => {
                        prop_assert_eq!(Some(frame.epoch.0), owner);
                        let revision = revisions.entry(&frame.doc).or_default();
                        prop_assert_eq!(frame.base_rev.0, *revision);
                        *revision += frame.entries.len() as u64;
                        for entry in &frame.entries {
                            let key = |seq| (frame.doc.clone(), entry.session, seq);
                            prop_assert!(seen.insert(key(entry.seq.0)), "accepted twice");
                            let follows = entry.seq.0 == 1 || seen.contains(&key(entry.seq.0 - 1));
                            prop_assert!(follows, "a batch is missing");
                        }
                    }
                    Record::Release(_) if verdict.is_ok() => owner = None,
                    _ => {}
                }
            }
        }
    }
}
