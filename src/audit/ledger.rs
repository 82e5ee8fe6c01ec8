//! What the histories say of one document and wait to be held against the log.

use rustc_hash::FxHashMap;

use crate::audit::names::Witness;
use crate::audit::runs::Runs;
use crate::types::{Offset, ParticipantId, Revision, Seq};

/// Where a chain of acknowledgements ends.
const END: u32 = u32::MAX;

/// Collects what was said of one document.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The newest acknowledgement of each revision; each leads to the one before.
    newest: FxHashMap<Revision, u32>,
    acks: Vec<Ack>,
    /// The revisions that somebody saw, and who saw the greatest.
    pub(crate) seen: Runs,
    pub(crate) seen_last: Option<(Revision, Witness)>,
    /// The text hashes that were named and not yet compared with a replay.
    pub(crate) hashes: FxHashMap<Revision, Said>,
    pub(crate) sessions: FxHashMap<ParticipantId, Sender>,
}

/// Is one acknowledgement that a client got.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ack {
    pub(crate) participant: ParticipantId,
    pub(crate) seq: Seq,
    pub(crate) by: Witness,
    before: u32,
}

/// A text hash that was named for a revision.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    pub(crate) hash: u64,
    pub(crate) by: Source,
    /// How often it was named.
    pub(crate) times: u64,
}

/// Who named a hash.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Client(Witness),
    /// The manifest that stands at an offset.
    Manifest(Offset),
}

/// What a session says it sent, and what it was told.
#[derive(Debug, Clone)]
pub(crate) struct Sender {
    pub(crate) sent: Runs,
    pub(crate) acked: Runs,
    /// The greatest number that a welcome said to be durable, and to whom.
    pub(crate) welcomed: Option<(Seq, Witness)>,
    pub(crate) last: Witness,
}

impl Ledger {
    /// Notes an acknowledgement.
    pub(crate) fn ack(&mut self, rev: Revision, participant: ParticipantId, seq: Seq, by: Witness) {
        let index = u32::try_from(self.acks.len()).ok().filter(|index| *index != END);
        let index = index.expect("four thousand million lines of one document are too many");
        let before = self.newest.insert(rev, index).unwrap_or(END);
        self.acks.push(Ack { participant, seq, by, before });
    }

    /// Takes the acknowledgements of a revision out, the newest first.
    pub(crate) fn take_acks(&mut self, rev: Revision) -> Vec<Ack> {
        if self.newest.is_empty() {
            return Vec::new();
        }
        let first = self.newest.remove(&rev);
        self.chain(first)
    }

    /// Takes the rest of the acknowledgements out, lowest revision first.
    pub(crate) fn drain_acks(&mut self) -> Vec<(Revision, Ack)> {
        let mut left: Vec<_> = std::mem::take(&mut self.newest).into_iter().collect();
        left.sort_unstable();
        let each = |(rev, first)| self.chain(Some(first)).into_iter().map(move |ack| (rev, ack));
        left.into_iter().flat_map(each).collect()
    }

    fn chain(&self, first: Option<u32>) -> Vec<Ack> {
        let get = |index: u32| self.acks.get(index as usize);
        std::iter::successors(first.and_then(get), |ack| get(ack.before)).copied().collect()
    }

    /// Notes that revisions were seen.
    pub(crate) fn see(&mut self, first: Revision, last: Revision, by: Witness) {
        self.seen.add(first.0, last.0);
        if self.seen_last.is_none_or(|(rev, _)| rev < last) {
            self.seen_last = Some((last, by));
        }
    }

    /// Notes a hash; returns what was said before if that is something else.
    pub(crate) fn name_hash(&mut self, rev: Revision, hash: u64, by: Source) -> Result<(), Said> {
        let said = self.hashes.entry(rev).or_insert(Said { hash, by, times: 0 });
        if said.hash != hash {
            return Err(*said);
        }
        said.times += 1;
        Ok(())
    }

    /// Returns a session's part.
    pub(crate) fn sender(&mut self, participant: ParticipantId, by: Witness) -> &mut Sender {
        let empty =
            || Sender { sent: Runs::default(), acked: Runs::default(), welcomed: None, last: by };
        self.sessions.entry(participant).or_insert_with(empty)
    }
}
