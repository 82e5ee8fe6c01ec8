//! One client: a replica that is edited, also while it is away, over a link that fails.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quire::client::replica::{Effects, Keep, Replica, Snapshot};
use quire::doc::{self, Change, Event, Mode, Refusal};
use quire::task::Tasks;
use quire::text::Operation;
use quire::types::{DocId, Revision, Seq, SessionId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::day::{Day, Stage};
use crate::life::{Life, Lives};
use crate::link::{Hello, Link, connect, welcome};
use crate::naive::inserted;
use crate::plan::Plan;
use crate::trace::Trace;
use crate::world::{doc_id, is_cut};

/// How many edits each writer makes in the afternoon.
const AFTERNOON_EDITS: usize = 3;

/// What a client was told, what it sent, and what it ends with.
pub(crate) struct Promised {
    pub(crate) doc: DocId,
    pub(crate) session: SessionId,
    /// The batches acknowledged, with their revisions.
    pub(crate) acks: Vec<(Seq, Revision)>,
    /// The text that each batch inserts.
    pub(crate) sent: BTreeMap<Seq, String>,
    /// The revisions it was told of one by one.
    pub(crate) seen: Vec<Arc<Change>>,
    /// The texts it was sent, or got to by revisions that came composed.
    pub(crate) texts: Vec<(Revision, String)>,
    pub(crate) replica: Replica,
    /// Whether it was there until the end.
    pub(crate) stays: bool,
}

/// Who a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    /// Writes and never returns.
    Visitor,
    Viewer,
}

/// What a client works with.
#[derive(Clone)]
pub(crate) struct Writer {
    pub(crate) number: usize,
    pub(crate) role: Role,
    pub(crate) plan: Arc<Plan>,
    pub(crate) lives: Lives,
    pub(crate) day: Arc<Day>,
    /// Counts who has nothing left to write in this stage.
    pub(crate) settled: watch::Sender<usize>,
    pub(crate) trace: Trace,
    pub(crate) tasks: Tasks,
}

struct Running {
    own: Writer,
    rng: ChaCha8Rng,
    promised: Promised,
    edits_left: usize,
    next_edit: Instant,
    told_settled: bool,
    afternoon: bool,
    /// Whether it is offline until the afternoon.
    asleep: bool,
    /// How many connections it has had.
    sockets: u64,
    /// Whether the server no longer knows its session: it can only begin anew.
    forgotten: bool,
}

impl Writer {
    /// Runs all clients of the plan, of which this is the first.
    pub(crate) fn run_all(self) -> Vec<JoinHandle<Promised>> {
        let Plan { writers, visitors, viewers, .. } = *self.plan;
        let roles = [(Role::Writer, writers), (Role::Visitor, visitors), (Role::Viewer, viewers)];
        let roles = roles.into_iter().flat_map(|(role, count)| std::iter::repeat_n(role, count));
        let client = |(number, role)| {
            let writer = Self { number, role, ..self.clone() };
            self.tasks.spawn("client", writer.run())
        };
        roles.enumerate().map(client).collect()
    }

    pub(crate) async fn run(self) -> Promised {
        let seed = self.plan.seed.wrapping_mul(1_000).wrapping_add(self.number as u64);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let promised = Promised {
            doc: doc_id(self.number % self.plan.docs),
            session: SessionId(rng.random()),
            acks: Vec::new(),
            sent: BTreeMap::new(),
            seen: Vec::new(),
            texts: Vec::new(),
            replica: Replica::new(Keep::Text),
            stays: self.role != Role::Visitor,
        };
        let edits_left = match self.role {
            Role::Writer => self.plan.edits,
            Role::Visitor => 2,
            Role::Viewer => 0,
        };
        let next_edit = Instant::now() + self.plan.pause_max.mul_f64(rng.random());
        let role = self.role;
        let mut running = Running {
            own: self,
            rng,
            promised,
            edits_left,
            next_edit,
            told_settled: role == Role::Viewer,
            afternoon: false,
            asleep: false,
            sockets: 0,
            forgotten: false,
        };
        running.live().await;
        running.promised
    }
}

impl Running {
    async fn live(&mut self) {
        while !self.is_done() {
            sleep(self.latency()).await;
            let life = self.own.lives.pick(&mut self.rng);
            if let Some(life) = life {
                let dead = life.dead.clone();
                tokio::select! {
                    biased;
                    () = dead.cancelled() => {}
                    () = self.meet(life) => {}
                }
            }
            self.promised.replica.disconnected();
            self.sleep_over_noon().await;
            self.stay_away().await;
        }
    }

    /// Connects and works until the connection is lost.
    async fn meet(&mut self, life: Life) {
        self.sockets += 1;
        let hello = Hello {
            doc: self.promised.doc.clone(),
            session: self.promised.session,
            socket: self.sockets,
            rev: self.promised.replica.resume_from(),
            mode: if self.own.role == Role::Viewer { Mode::View } else { Mode::Edit },
            ordered: self.own.number.is_multiple_of(2),
        };
        let connected = match self.own.plan.patience {
            None => connect(&life, &hello).await,
            Some(patience) => match timeout(patience, connect(&life, &hello)).await {
                Ok(connected) => connected,
                Err(_) => return self.note("out of patience", &self.promised.doc),
            },
        };
        match connected {
            Ok((link, welcome)) => self.work(link, welcome).await,
            Err(refusal) => self.check_refusal(&refusal),
        }
    }

    /// Works until the connection is lost.
    async fn work(&mut self, mut link: Link, welcomed: doc::Welcome) {
        let how = if matches!(welcomed.content, doc::Content::Text(_)) { "text" } else { "rest" };
        self.note(&format!("welcomed with {how}"), format!("{} {}", welcomed.head, welcomed.seq));
        sleep(self.latency()).await;
        if welcomed.head < self.promised.replica.revision() && self.own.plan.zombies {
            // It does not know yet that it is one; what it says is old, and not wrong.
            return self.note("welcomed by a zombie", welcomed.head);
        }
        if welcomed.seq < self.promised.replica.durable() {
            return self.forget();
        }
        self.welcomed(&link, welcomed);
        let (day, mut heard) = (self.own.day.clone(), Instant::now());
        loop {
            let turned = day.turned();
            let patience = self.own.plan.patience.unwrap_or_default();
            let waits = self.own.plan.patience.is_some() && !self.is_content();
            self.look_around();
            if self.is_done() || self.falls_asleep() {
                break;
            }
            tokio::select! {
                biased;
                event = link.events.recv() => {
                    let Some(event) = event else { return };
                    heard = Instant::now();
                    sleep(self.latency() / 4).await;
                    if !self.take(&link, event) || self.loses() {
                        break;
                    }
                }
                () = turned => heard = Instant::now(),
                () = sleep_until(heard + patience), if waits => {
                    self.note("out of patience", &self.promised.doc);
                    break;
                }
                () = sleep_until(self.next_edit), if self.edits_left > 0 => self.edit(Some(&link)),
            }
        }
        // The server notices a lost connection some time later, or never.
        if self.rng.random_bool(0.7) {
            let (handle, conn, delay) = (link.handle.clone(), link.conn, self.latency());
            let life = link.life.clone();
            self.own.tasks.spawn("leave", async move {
                sleep(delay).await;
                life.moves().await;
                handle.leave(conn);
            });
        }
    }

    /// Gives up: what it wrote before it was silent for so long is cut from the history.
    fn forget(&mut self) {
        let doc = self.own.number % self.own.plan.docs;
        assert!(self.own.plan.afternoon && is_cut(doc), "only history that is cut is forgotten");
        self.note("session forgotten", &self.promised.doc);
        self.forgotten = true;
        self.promised.stays = false;
        if !(self.afternoon && self.told_settled) {
            self.own.settled.send_modify(|count| *count += 1);
        }
    }

    fn welcomed(&mut self, link: &Link, welcomed: doc::Welcome) {
        let welcome = welcome(self.promised.session, &welcomed);
        if let Snapshot::Text(text) = &welcome.snapshot {
            self.promised.texts.push((welcome.head, text.clone()));
        }
        if let doc::Content::Changes(changes) = welcomed.content {
            self.promised.seen.extend(changes);
        }
        let effects = self.promised.replica.welcome(welcome).expect("the stream has no gap");
        self.send(link, effects);
    }

    /// Takes an event; false where the connection is over.
    fn take(&mut self, link: &Link, event: Event) -> bool {
        match event {
            Event::Changed(update) => {
                for change in &update.changes {
                    self.take_change(link, change);
                }
            }
            Event::Merged(merged) => {
                let replica = &mut self.promised.replica;
                let shown = replica.merged(merged.rev, merged.op.clone());
                shown.expect("the stream has no gap");
                let text = replica.view().expect("it keeps its text");
                self.promised.texts.push((merged.rev, text));
                self.note("merged revisions", merged.rev);
            }
            Event::Repeated { seq, rev } => {
                self.note("acknowledged again", format!("{seq} at {rev}"));
                let effects = self.promised.replica.ack(seq, rev, None);
                self.send(link, effects.expect("it says nothing new"));
            }
            Event::Refused { refusal, .. } | Event::Closed(refusal) => {
                self.check_refusal(&refusal);
                return false;
            }
            Event::Ordered { seq, rev } => self.note("ordered", format!("{seq} at {rev}")),
            Event::Presence(_) => {}
        }
        true
    }

    fn take_change(&mut self, link: &Link, change: &Arc<Change>) {
        let rev = change.rev;
        self.note("told", format!("{rev} of {}", change.seq));
        self.promised.seen.push(change.clone());
        if change.session != self.promised.session {
            let shown = self.promised.replica.remote(rev, change.base, change.op.clone());
            shown.expect("the stream has no gap");
            return;
        }
        let foreign = change.via != Some(link.conn) || change.base < link.welcomed;
        let op = (change.surprising || foreign).then(|| change.op.clone());
        self.promised.acks.push((change.seq, rev));
        self.note("acknowledged", format!("{} at {rev}", change.seq));
        let effects = self.promised.replica.ack(change.seq, rev, op);
        self.send(link, effects.expect("the stream has no gap"));
    }

    /// Tells whether it goes offline until the others have forgotten it. Some do so while they
    /// do not know yet what became of their last batch; after a cut nobody could tell them.
    fn falls_asleep(&mut self) -> bool {
        let sleeps = self.own.role == Role::Writer && self.own.number % 3 == 1;
        let morning = self.own.plan.afternoon && self.own.day.stage() == Stage::Morning;
        if !(sleeps && morning && self.edits_left == 0) {
            return false;
        }
        let cut = is_cut(self.own.number % self.own.plan.docs);
        self.asleep = self.told_settled || !cut && self.rng.random_bool(0.1);
        if self.asleep && !self.told_settled {
            self.told_settled = true;
            self.own.settled.send_modify(|count| *count += 1);
        }
        self.asleep
    }

    /// Sleeps until the afternoon, and on while the others write.
    async fn sleep_over_noon(&mut self) {
        if !self.asleep {
            return;
        }
        self.asleep = false;
        self.note("asleep", &self.promised.doc);
        let day = self.own.day.clone();
        loop {
            let turned = day.turned();
            if day.stage() != Stage::Morning {
                break;
            }
            turned.await;
        }
        let others_write = self.own.plan.doc_config.idle_after * 2;
        sleep(others_write.mul_f64(self.rng.random())).await;
        self.look_around();
    }

    /// Is offline for a while; one that has something to say goes on writing.
    async fn stay_away(&mut self) {
        let calm = self.is_calm();
        let long = !calm && self.rng.random_ratio(1, 4);
        let most = if long { self.own.plan.away_max } else { Duration::from_millis(200) };
        let until = Instant::now() + Duration::from_millis(20) + most.mul_f64(self.rng.random());
        while self.edits_left > 0 && self.next_edit < until {
            sleep_until(self.next_edit).await;
            self.edit(None);
        }
        sleep_until(until).await;
    }

    fn edit(&mut self, link: Option<&Link>) {
        let replica = &mut self.promised.replica;
        let chars = u32::try_from(replica.view_chars()).expect("short");
        let at = self.rng.random_range(0..=chars);
        let op = if chars > 4 && self.rng.random_bool(0.25) {
            let at = at.min(chars - 1);
            let count = self.rng.random_range(1..=(chars - at).min(3));
            Operation::builder().retain(at).delete(count).build()
        } else {
            let text = ["x", "é", "🦀", "ab\r\n", "a word "][self.rng.random_range(0..5)];
            Operation::builder().retain(at).insert(text).build()
        };
        let send = replica.edit(&op).expect("it fits");
        match link {
            Some(link) => self.send(link, Effects { show: Vec::new(), send }),
            None => self.note("edited offline", &self.promised.doc),
        }
        self.edits_left -= 1;
        self.next_edit = Instant::now() + self.own.plan.pause_max.mul_f64(self.rng.random());
    }

    /// Sends a batch, now and then twice; it arrives some time later, or never.
    fn send(&mut self, link: &Link, effects: Effects) {
        let Some(batch) = effects.send else { return };
        let text = inserted(&batch.op);
        let before = self.promised.sent.insert(batch.seq, text.clone());
        assert!(before.is_none_or(|before| before == text), "a batch sent again inserts the same");
        let copies = if self.happens(self.own.plan.doubles) { 2 } else { 1 };
        for _ in 0..copies {
            // Now and then an upload takes so long that others have written much meanwhile.
            let times = if self.happens(50) { 10 } else { 1 };
            let (handle, conn, delay) = (link.handle.clone(), link.conn, self.latency() * times);
            let quire::client::replica::Batch { seq, base, op } = batch.clone();
            let life = link.life.clone();
            self.own.tasks.spawn("send", async move {
                sleep(delay).await;
                life.moves().await;
                let received = Instant::now();
                let batch = doc::Batch { seq, base, op, received, permit: None };
                // A document that has ended does not take it; the client sends it again.
                let _ = handle.submit(conn, batch, 1).await;
            });
        }
    }

    /// Takes note of the stage, and tells when nothing is left to be written in it.
    fn look_around(&mut self) {
        let noon = self.own.day.stage() != Stage::Morning;
        if noon && !self.afternoon && self.own.plan.afternoon && self.own.role == Role::Writer {
            self.afternoon = true;
            self.edits_left = AFTERNOON_EDITS;
            self.told_settled = false;
        }
        if self.is_settled() && !self.told_settled {
            self.told_settled = true;
            self.note("has nothing left to write", &self.promised.doc);
            self.own.settled.send_modify(|count| *count += 1);
        }
    }

    /// Tells whether it waits for nothing.
    fn is_content(&self) -> bool {
        let evening = matches!(self.own.day.stage(), Stage::Evening(_));
        self.promised.replica.is_settled() && !evening
    }

    fn is_settled(&self) -> bool {
        self.edits_left == 0 && self.promised.replica.is_settled()
    }

    /// Tells whether everything is written and the replica is where all have to get to.
    fn is_done(&self) -> bool {
        let doc = self.own.number % self.own.plan.docs;
        let reached = match &self.own.day.stage() {
            Stage::Morning | Stage::Afternoon => false,
            Stage::Evening(goal) => self.promised.replica.revision() >= goal[doc],
        };
        let leaves = self.own.role == Role::Visitor && self.told_settled;
        self.forgotten || self.is_settled() && (reached || leaves)
    }

    /// Only what passes by itself may be refused here; it has one connection after the other, and
    /// none before takes anything from it.
    fn check_refusal(&self, refusal: &Refusal) {
        let passes = match refusal {
            Refusal::Unavailable { .. } | Refusal::Moved => true,
            Refusal::NoDocument => self.own.role == Role::Viewer,
            Refusal::Full { .. } => self.own.plan.patience.is_some(),
            // A zombie finds a checkpoint of what it has not read in the log; it passes with it.
            Refusal::Quarantined { .. } => self.own.plan.zombies && !self.is_calm(),
            _ => false,
        };
        assert!(passes, "client {}: {refusal}", self.own.number);
        self.note("refused", refusal);
    }

    fn loses(&mut self) -> bool {
        let lost = !self.is_calm() && self.happens(self.own.plan.drops);
        if lost {
            self.note("connection lost", &self.promised.doc);
        }
        lost
    }

    fn is_calm(&self) -> bool {
        self.own.trace.elapsed() >= self.own.plan.calm
    }

    fn happens(&mut self, of_thousand: u32) -> bool {
        self.rng.random_ratio(of_thousand, 1_000)
    }

    fn latency(&mut self) -> Duration {
        self.own.plan.latency_max.mul_f64(self.rng.random())
    }

    fn note(&self, kind: &str, details: impl std::fmt::Display) {
        self.own.trace.note(kind, format!("client {}: {details}", self.own.number));
    }
}
