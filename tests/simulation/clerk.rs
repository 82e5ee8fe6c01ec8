//! What the server itself writes into documents, as an import, a named version or a change of
//! rights does.

use std::time::Duration;

use quire::access::{AccessChange, Asker, Right, Rights, Subject, Visibility};
use quire::doc::Write;
use quire::log::EventKind;
use quire::text::Operation;
use quire::types::{Author, DocId, Revision, SessionId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::time::sleep;

use crate::life::{Life, Lives};
use crate::trace::Trace;
use crate::world::doc_id;

/// How many things it writes.
const WRITES: usize = 6;

/// An edit that was reported as durable.
#[derive(Debug)]
pub(crate) struct Filed {
    pub(crate) doc: DocId,
    pub(crate) session: SessionId,
    pub(crate) rev: Revision,
}

pub(crate) struct Clerk {
    pub(crate) seed: u64,
    pub(crate) docs: usize,
    pub(crate) calm: Duration,
    pub(crate) lives: Lives,
    pub(crate) trace: Trace,
}

impl Clerk {
    pub(crate) async fn run(self) -> Vec<Filed> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut filed = Vec::new();
        for number in 0..WRITES {
            sleep(self.calm.mul_f64(rng.random::<f64>() / WRITES as f64)).await;
            let Some(life) = self.lives.pick(&mut rng) else { continue };
            let (doc, session) = (doc_id(rng.random_range(0..self.docs)), SessionId(rng.random()));
            let written = tokio::select! {
                biased;
                () = life.dead.cancelled() => None,
                written = write(&life, &doc, session, number) => written,
            };
            if let Some(rev) = written {
                self.trace.note("the clerk has written", format!("{doc} at {rev}"));
                filed.extend(number.is_multiple_of(3).then_some(Filed { doc, session, rev }));
            }
        }
        filed
    }
}

/// Writes a stamp, names a version or changes who may do what, in turns; what is refused, or ends
/// in the open, is let be.
async fn write(life: &Life, doc: &DocId, session: SessionId, number: usize) -> Option<Revision> {
    let handle = life.router.open(doc).await.ok()?;
    let head = handle.past(&Asker::anything(), Right::History).await.ok()?.head();
    let author: Author = "clerk".parse().expect("a valid name");
    let write = match number % 3 {
        0 => Write::Edit { author, base: head, op: Operation::builder().insert("§").build() },
        1 => {
            let kind = EventKind::VersionNamed { name: format!("version {number}"), rev: head };
            Write::Event { author, kind }
        }
        _ => {
            let change = change(session, head);
            Write::Event { author, kind: EventKind::AccessChanged(change) }
        }
    };
    handle.write(session, Asker::anything(), write).await.ok()
}

/// Returns a change of every kind, as the numbers given have it.
fn change(session: SessionId, head: Revision) -> AccessChange {
    let [kind, rights, who, ..] = session.0;
    let subject: Subject = format!("subject-{}", who % 3).parse().expect("a valid subject");
    match kind % 4 {
        0 => AccessChange::Owner(head.0.is_multiple_of(2).then_some(subject)),
        1 => AccessChange::Visibility(Visibility::Public),
        2 => AccessChange::Visibility(Visibility::Private),
        _ => AccessChange::Member(subject, Rights::from_bits(rights % 16).expect("four rights")),
    }
}
