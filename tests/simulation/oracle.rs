//! What must hold in the end, judged by the raw log (also what was trimmed).

use std::collections::BTreeMap;

use quire::access::{Asker, Right};
use quire::doc::Failure;
use quire::router::Router;
use quire::types::{DocId, Revision, Seq, ShardId};

use crate::archive::Archive;
use crate::clerk::Filed;
use crate::naive::{Truth, inserted, read};
use crate::world::doc_id;
use crate::writer::Promised;

/// How many revisions of a document are looked at in its history.
const SAMPLES: u64 = 4;

/// Says what happened to every document.
pub(crate) struct Oracle {
    docs: BTreeMap<DocId, Truth>,
}

impl Oracle {
    /// Reads everything that was ever written.
    pub(crate) async fn ask(archive: &Archive, shards: u32) -> Self {
        let mut docs = BTreeMap::new();
        for shard in 0..shards {
            read(&archive.all(ShardId(shard)).await, &mut docs);
        }
        Self { docs }
    }

    /// Tells how many sessions have come back that had expired.
    pub(crate) fn returned(&self) -> usize {
        self.docs.values().map(|truth| truth.returned).sum()
    }

    /// Tells how many sessions have expired.
    pub(crate) fn expired(&self) -> usize {
        self.docs.values().map(|truth| truth.expired).sum()
    }

    /// Compares what a client was told, and what it sent, with what was accepted.
    pub(crate) fn check(&self, promised: &Promised) {
        let nothing = Truth::default();
        let Promised { doc, session, acks, sent, seen, texts, replica, stays } = promised;
        let truth = self.docs.get(doc).unwrap_or(&nothing);
        for (seq, rev) in acks {
            let at = truth.batches.get(&(*session, *seq));
            assert_eq!(at, Some(rev), "acknowledged batch {seq} of {session:?} on {doc}");
        }
        assert!(acks.is_sorted(), "a session's order is kept");
        let own = truth.batches.range((*session, Seq(0))..=(*session, Seq(u64::MAX)));
        let mut last = (Seq(0), Revision(0));
        for ((_, seq), rev) in own {
            assert!(*seq == last.0.next() && *rev > last.1, "{session:?}: {seq} after {last:?}");
            let accepted = truth.entry(*rev).map(|entry| inserted(&entry.op));
            assert_eq!(accepted.as_ref(), sent.get(seq), "batch {seq} of {session:?} on {doc}");
            last = (*seq, *rev);
        }
        assert_eq!(last.0, replica.durable(), "{session:?} on {doc}");
        for change in seen {
            let entry = truth.entry(change.rev).expect("what was shown is durable");
            let shown = (change.session, change.seq, change.base, &change.op);
            assert_eq!(shown, (entry.session, entry.seq, entry.base, &entry.op), "{doc}");
        }
        for (rev, text) in texts {
            assert_eq!(truth.text_at(*rev), Some(text.as_str()), "{doc} at {rev}");
        }
        let (rev, text) = (replica.revision(), replica.confirmed());
        assert_eq!(truth.text_at(rev), text.as_deref(), "{session:?} on {doc} at {rev}");
        assert!(!stays || replica.is_settled(), "{session:?} on {doc}");
        assert!(!stays || rev == truth.head(), "{session:?} on {doc} is at {rev}");
    }

    /// Compares what the server wrote by itself with what was accepted.
    pub(crate) fn check_filed(&self, filed: &[Filed]) {
        for Filed { doc, session, rev } in filed {
            let truth = self.docs.get(doc).expect("something was written");
            assert_eq!(truth.batches.get(&(*session, Seq(1))), Some(rev), "{doc}");
        }
    }

    /// Compares a text at a revision with what was accepted.
    pub(crate) fn check_text(&self, doc: &DocId, rev: Revision, text: &str) {
        let nothing = Truth::default();
        let truth = self.docs.get(doc).unwrap_or(&nothing);
        assert_eq!(truth.text_at(rev), Some(text), "{doc} at {rev}");
    }

    /// Compares what the server says with what was accepted.
    pub(crate) async fn check_server(&self, router: impl Fn(&DocId) -> Router, when: &str) {
        for (doc, truth) in &self.docs {
            let handle = router(doc).open(doc).await.expect("nothing fails any more");
            let past = handle.past(&Asker::anything(), Right::History).await.expect("it is open");
            let head = past.head();
            assert_eq!(head, truth.head(), "{doc} {when}");
            assert_eq!(past.text_at(head).await.as_deref(), Ok(truth.text()), "{doc} {when}");
            let access = handle.access(&Asker::anything()).await.expect("it is open");
            let grants = (&access.owner, access.visibility, access.members());
            assert_eq!(grants, (&truth.owner, truth.visibility, &truth.members), "{doc} {when}");
            if truth.cut == Revision(0) {
                let versions = past.versions().iter().map(|v| (v.name.clone(), v.rev));
                assert_eq!(versions.collect::<BTreeMap<_, _>>(), truth.versions, "{doc} {when}");
            }
        }
    }

    /// Compares the history that the server keeps with the one in the log, saved and verified.
    pub(crate) async fn check_history(&self, router: impl Fn(&DocId) -> Router, docs: usize) {
        for doc in (0..docs).map(doc_id) {
            let Some(truth) = self.docs.get(&doc) else { continue };
            let router = router(&doc);
            let mut handle = router.open(&doc).await.expect("nothing fails any more");
            // It may be closing just now.
            loop {
                match handle.save().await {
                    Err(Failure::Closed) => {
                        handle = router.open(&doc).await.expect("nothing fails any more");
                    }
                    saved => break saved.expect("nothing fails any more"),
                }
            }
            let rebuilt = router.rebuild(&doc).await.expect("nothing fails any more");
            let past = handle.past(&Asker::anything(), Right::History).await.expect("it is open");
            let rebuilt = (rebuilt.head(), rebuilt.text());
            let verified = past.verify(rebuilt).await.expect("nothing fails any more");
            assert!(verified.equal, "{doc}: {verified:?}");
            let (oldest, head) = (past.oldest(), past.head());
            assert_eq!(oldest, truth.cut, "{doc} begins at the cut");
            for sample in 0..=SAMPLES {
                let rev = Revision(oldest.0 + (head.0 - oldest.0) * sample / SAMPLES);
                let text = past.text_at(rev).await;
                assert_eq!(text.ok().as_deref(), truth.text_at(rev), "{doc} at {rev}");
            }
            let page = past.page(oldest.next(), 1_000).await.expect("nothing fails any more");
            assert_eq!(page.rows.len() as u64, head.0 - oldest.0, "{doc}");
            for row in page.rows {
                let entry = truth.entry(row.rev).expect("it was accepted");
                let kept = (row.participant, row.base, row.inserted, row.deleted);
                let participant = entry.session.participant();
                let op = &entry.op;
                let wanted = (participant, entry.base, op.inserted_chars(), op.deleted_chars());
                assert_eq!(kept, wanted, "{doc} at {}", row.rev);
            }
            let blamed = past.blame(head).await.expect("nothing fails any more");
            let text: String = blamed.into_iter().map(|piece| piece.text).collect();
            assert_eq!(text, truth.text(), "blame of {doc}");
        }
    }
}
