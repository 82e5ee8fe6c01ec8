//! What must hold in the end, judged from the raw log by an independent and naive reader.

use std::collections::BTreeMap;

use quire::log::{Fence, Position, Record, check_frame};
use quire::router::Router;
use quire::text::apply;
use quire::types::{DocId, Revision, Seq, SessionId, ShardId};

use crate::archive::Archive;
use crate::world::doc_id;
use crate::writer::Promised;

/// One document as the log tells it.
#[derive(Default)]
pub(crate) struct Accepted {
    text: String,
    revision: Revision,
    last: BTreeMap<SessionId, Seq>,
    /// Each batch and the revision that it is.
    batches: BTreeMap<(SessionId, Seq), Revision>,
}

impl Position for Accepted {
    fn revision(&self) -> Revision {
        self.revision
    }

    fn last_seq(&self, session: &SessionId) -> Seq {
        self.last.get(session).copied().unwrap_or_default()
    }
}

/// Replays everything that was ever written.
pub(crate) async fn replay(archive: &Archive, shards: u32) -> BTreeMap<DocId, Accepted> {
    let mut docs: BTreeMap<DocId, Accepted> = BTreeMap::new();
    for shard in 0..shards {
        let mut fence = Fence::default();
        for stored in archive.all(ShardId(shard)).await {
            let Ok(record) = Record::decode(&stored.bytes) else { continue };
            let Ok(()) = fence.observe(stored.offset, &record) else { continue };
            let Record::Frame(frame) = record else { continue };
            let doc = docs.entry(frame.doc.clone()).or_default();
            if check_frame(doc, &frame).is_err() {
                continue;
            }
            for entry in frame.entries {
                doc.text = apply(&entry.op, &doc.text).expect("an accepted operation fits");
                doc.revision = doc.revision.next();
                doc.last.insert(entry.session, entry.seq);
                let again = doc.batches.insert((entry.session, entry.seq), doc.revision);
                assert_eq!(again, None, "a batch is accepted once");
            }
        }
    }
    docs
}

/// Compares what the writers were promised with what was accepted.
pub(crate) fn check(promised: &[Promised], accepted: &BTreeMap<DocId, Accepted>) {
    for Promised { doc, session, acks, replica } in promised {
        let Some(truth) = accepted.get(doc) else {
            assert!(acks.is_empty(), "{doc} has acknowledged batches and no record");
            continue;
        };
        for (seq, rev) in acks {
            let at = truth.batches.get(&(*session, *seq));
            assert_eq!(at, Some(rev), "batch {seq} of {session:?} on {doc}");
        }
        assert!(acks.is_sorted(), "a session's order is kept");
        assert_eq!(replica.revision(), truth.revision, "{doc}");
        assert_eq!(replica.view().as_deref(), Some(truth.text.as_str()), "{doc}");
    }
}

/// Compares what the server says with what was accepted.
pub(crate) async fn check_server(
    router: &Router,
    accepted: &BTreeMap<DocId, Accepted>,
    docs: usize,
) {
    for doc in (0..docs).map(doc_id) {
        let Some(truth) = accepted.get(&doc) else { continue };
        let handle = router.open(&doc).await.expect("faults have ended");
        let past = handle.past().await.expect("it is open");
        assert_eq!(past.head(), truth.revision, "{doc}");
        assert_eq!(past.text_at(past.head()).await.as_deref(), Ok(truth.text.as_str()), "{doc}");
        handle.save().await.expect("it is open");
        let verified = past.verify().await.expect("faults have ended");
        assert!(verified.equal, "{doc}: {verified:?}");
    }
}
