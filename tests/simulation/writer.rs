//! One writer: a replica over a link that is slow, loses connections and doubles batches.

use std::sync::Arc;
use std::time::Duration;

use quire::client::replica::{Batch, Effects, Keep, Missed, Replica, Snapshot, Welcome};
use quire::doc::{self, Change, ConnId, Content, Event, Handle, Join, Mode, Refusal};
use quire::task::Tasks;
use quire::text::Operation;
use quire::types::{Author, DocId, Revision, Seq, SessionId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};

use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::Lives;

/// What a writer was promised, and what it ends with.
pub(crate) struct Promised {
    pub(crate) doc: DocId,
    pub(crate) session: SessionId,
    /// The batches acknowledged, with their revisions.
    pub(crate) acks: Vec<(Seq, Revision)>,
    pub(crate) replica: Replica,
}

pub(crate) struct Writer {
    pub(crate) doc: DocId,
    pub(crate) number: usize,
    pub(crate) plan: Arc<Plan>,
    pub(crate) lives: watch::Receiver<Lives>,
    /// The revision that every replica has to reach in the end, once it is known.
    pub(crate) goal: watch::Receiver<Option<Vec<Revision>>>,
    pub(crate) settled: watch::Sender<usize>,
    pub(crate) trace: Trace,
    pub(crate) began: Instant,
    pub(crate) tasks: Tasks,
}

struct Outbox(mpsc::UnboundedSender<Event>);

impl doc::Outbox for Outbox {
    fn push(&self, event: Event) {
        // A client that has gone is told nothing.
        let _ = self.0.send(event);
    }
}

/// A connection, as long as it lasts.
struct Link {
    handle: Handle,
    conn: ConnId,
    welcomed: Revision,
    events: mpsc::UnboundedReceiver<Event>,
}

struct Running {
    own: Writer,
    rng: ChaCha8Rng,
    session: SessionId,
    replica: Replica,
    acks: Vec<(Seq, Revision)>,
    edits_left: usize,
    next_edit: Instant,
    told_settled: bool,
}

impl Writer {
    pub(crate) async fn run(self) -> Promised {
        let seed = self.plan.seed.wrapping_mul(1_000).wrapping_add(self.number as u64);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut running = Running {
            session: SessionId(rng.random()),
            replica: Replica::new(Keep::Text),
            acks: Vec::new(),
            edits_left: self.plan.edits,
            next_edit: Instant::now(),
            told_settled: false,
            rng,
            own: self,
        };
        while !running.is_done() {
            if let Some(link) = running.connect().await {
                running.work(link).await;
            }
            running.replica.disconnected();
            let pause = running.latency() + Duration::from_millis(20);
            sleep(pause).await;
        }
        let Running { own, session, acks, replica, .. } = running;
        Promised { doc: own.doc, session, acks, replica }
    }
}

impl Running {
    /// Tells whether everything is written and the replica is where all have to get to.
    fn is_done(&self) -> bool {
        let goal = self.own.goal.borrow();
        let doc = self.own.number % self.own.plan.docs;
        let reached = |goal: &Vec<Revision>| self.replica.revision() >= goal[doc];
        self.edits_left == 0 && self.replica.is_settled() && goal.as_ref().is_some_and(reached)
    }

    async fn connect(&mut self) -> Option<Link> {
        sleep(self.latency()).await;
        let router = self.own.lives.borrow().router.clone()?;
        let (outbox, events) = mpsc::unbounded_channel();
        let (session, rev) = (self.session, self.replica.resume_from());
        let outbox = Arc::new(Outbox(outbox));
        let join = || Join {
            session,
            rev,
            mode: Mode::Edit,
            ordered: false,
            user: None,
            author: Author::anonymous(),
            outbox: outbox.clone(),
        };
        let (handle, welcome) = match router.join(&self.own.doc, join).await {
            Ok(joined) => joined,
            Err(refusal) => {
                self.check_refusal(&refusal);
                return None;
            }
        };
        self.note(format!("welcome at {} seq {}", welcome.head, welcome.seq));
        sleep(self.latency()).await;
        let (conn, welcomed) = (welcome.conn, welcome.head);
        let effects = self.replica.welcome(self.welcomed(welcome)).expect("the stream has no gap");
        let link = Link { handle, conn, welcomed, events };
        self.send(&link, effects);
        Some(link)
    }

    fn welcomed(&self, welcome: doc::Welcome) -> Welcome {
        let missed = |change: Arc<Change>| Missed {
            base: change.base,
            own: (change.session == self.session).then_some(change.seq),
            op: change.op.clone(),
        };
        let snapshot = match welcome.content {
            Content::Text(text) => Snapshot::Text(text),
            Content::Changes(changes) => Snapshot::Missed {
                after: welcome.rev,
                list: changes.into_iter().map(missed).collect(),
            },
        };
        Welcome { head: welcome.head, seq: welcome.seq, op_bytes: 1 << 16, snapshot }
    }

    /// Works until the connection is lost.
    async fn work(&mut self, mut link: Link) {
        let mut lives = self.own.lives.clone();
        lives.mark_unchanged();
        let mut goal = self.own.goal.clone();
        while !self.is_done() {
            if self.edits_left == 0 && self.replica.is_settled() && !self.told_settled {
                self.told_settled = true;
                self.own.settled.send_modify(|count| *count += 1);
            }
            tokio::select! {
                biased;
                _ = lives.changed() => return,
                event = link.events.recv() => {
                    let Some(event) = event else { return };
                    sleep(self.latency() / 4).await;
                    if !self.take(&link, event) || self.loses() {
                        break;
                    }
                }
                _ = goal.changed() => {}
                () = tokio::time::sleep_until(self.next_edit), if self.edits_left > 0 => {
                    self.edit(&link);
                }
            }
        }
        // The server notices a lost connection some time later, or never.
        if self.rng.random_bool(0.7) {
            let (handle, delay) = (link.handle.clone(), self.latency());
            self.own.tasks.spawn("leave", async move {
                sleep(delay).await;
                handle.leave(link.conn);
            });
        }
    }

    /// Takes an event; false where the connection is over.
    fn take(&mut self, link: &Link, event: Event) -> bool {
        match event {
            Event::Changed(update) => {
                for change in &update.changes {
                    self.take_change(link, change);
                }
            }
            Event::Repeated { seq, rev } => {
                let effects = self.replica.ack(seq, rev, None).expect("it says nothing new");
                self.send(link, effects);
            }
            Event::Refused { seq, refusal } => {
                self.note(format!("batch {seq} refused: {refusal}"));
                self.check_refusal(&refusal);
                return false;
            }
            Event::Closed(refusal) => {
                self.note(format!("closed: {refusal}"));
                self.check_refusal(&refusal);
                return false;
            }
            Event::Merged(_) | Event::Ordered { .. } | Event::Presence(_) => {}
        }
        true
    }

    fn take_change(&mut self, link: &Link, change: &Change) {
        let rev = change.rev;
        if change.session != self.session {
            let shown = self.replica.remote(rev, change.base, change.op.clone());
            shown.expect("the stream has no gap");
            return;
        }
        let differs =
            change.surprising || change.via != Some(link.conn) || change.base < link.welcomed;
        let op = differs.then(|| change.op.clone());
        self.acks.push((change.seq, rev));
        self.note(format!("ack of {} at {rev}", change.seq));
        let effects = self.replica.ack(change.seq, rev, op).expect("the stream has no gap");
        self.send(link, effects);
    }

    fn edit(&mut self, link: &Link) {
        let chars = u32::try_from(self.replica.view_chars()).expect("short");
        let at = self.rng.random_range(0..=chars);
        let op = if chars > 4 && self.rng.random_bool(0.25) {
            let at = at.min(chars - 1);
            let count = self.rng.random_range(1..=(chars - at).min(3));
            Operation::builder().retain(at).delete(count).build()
        } else {
            let text = ["x", "é", "🦀", "ab\r\n", "a word "][self.rng.random_range(0..5)];
            Operation::builder().retain(at).insert(text).build()
        };
        let batch = self.replica.edit(&op).expect("it fits");
        self.send(link, Effects { show: Vec::new(), send: batch });
        self.edits_left -= 1;
        let pause = self.rng.random_range(Duration::ZERO..self.own.plan.pause_max);
        self.next_edit = Instant::now() + pause;
    }

    /// Sends a batch, now and then twice; it arrives some time later, or never.
    fn send(&mut self, link: &Link, effects: Effects) {
        let Some(batch) = effects.send else { return };
        let copies = if self.happens(self.own.plan.doubles) { 2 } else { 1 };
        for _ in 0..copies {
            let (handle, conn, delay) = (link.handle.clone(), link.conn, self.latency());
            let Batch { seq, base, op } = batch.clone();
            self.own.tasks.spawn("send", async move {
                sleep(delay).await;
                let received = Instant::now();
                let batch = doc::Batch { seq, base, op, received, permit: None };
                // A document that has ended does not take it; the client sends it again.
                let _ = handle.submit(conn, batch, 1).await;
            });
        }
    }

    /// Only what passes by itself may be refused here.
    fn check_refusal(&self, refusal: &Refusal) {
        let passes = matches!(refusal, Refusal::Unavailable { .. } | Refusal::Replaced);
        assert!(passes, "writer {}: {refusal}", self.own.number);
    }

    fn loses(&mut self) -> bool {
        let lost = self.happens(self.own.plan.drops);
        if lost {
            self.note("connection lost".to_owned());
        }
        lost
    }

    fn happens(&mut self, of_thousand: u32) -> bool {
        self.rng.random_ratio(of_thousand, 1_000)
    }

    fn latency(&mut self) -> Duration {
        self.rng.random_range(Duration::ZERO..self.own.plan.latency_max)
    }

    fn note(&self, what: String) {
        let Writer { trace, began, number, doc, .. } = &self.own;
        trace.note(*began, &format!("writer {number} on {doc}: {what}"));
    }
}
