//! Tests of the state machine by itself: what only an exact order of events can show.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::access::{Asker, Denied, Right};
use crate::doc::recall::Found;
use crate::doc::state::Fork;
use crate::doc::{
    Batch, Config, ConnId, Content, Effect, Event, Failure, Join, Outbox, Past, Refusal, Socket,
    State, Welcome, Write,
};
use crate::log::{EventKind, Position, Record};
use crate::text::Operation;
use crate::types::{Author, Epoch, LogId, Offset, Revision, Seq, SessionId, Timestamp};

pub(in crate::doc) struct Deaf;

impl Outbox for Deaf {
    fn push(&self, _: Event) {}
}

/// A state and the log that it writes to, which accepts when it is told to.
pub(in crate::doc) struct Fixture {
    pub(in crate::doc) state: State,
    pub(in crate::doc) effects: Vec<Effect>,
    /// Records handed over and not settled.
    pub(in crate::doc) handed: Vec<Record>,
    pub(in crate::doc) accepted: Vec<Record>,
    pub(in crate::doc) told: Vec<(ConnId, Event)>,
    /// Batches to be merged elsewhere.
    pub(in crate::doc) forks: Vec<Fork>,
    pub(in crate::doc) now: Timestamp,
}

pub(in crate::doc) fn session(number: u8) -> SessionId {
    SessionId([number; 16])
}

fn join_of(number: u8, rev: Option<u64>) -> Join {
    Join { rev: rev.map(Revision), ..Join::new(session(number), Arc::new(Deaf)) }
}

pub(in crate::doc) fn insert(at: u32, text: &str) -> Operation {
    Operation::builder().retain(at).insert(text).build()
}

impl Fixture {
    pub(in crate::doc) fn new(config: Config) -> Self {
        let state = State::new("doc".parse().unwrap(), Arc::new(config));
        let (handed, accepted, told, forks) = Default::default();
        let now = Timestamp(1_000_000);
        let mut fixture = Self { state, effects: Vec::new(), handed, accepted, told, forks, now };
        fixture.state.reclaimed(Epoch(0), now, &mut fixture.effects);
        fixture
    }

    fn join(&mut self, conn: u64, number: u8, rev: Option<u64>) -> Result<Welcome, Refusal> {
        self.take(conn, &join_of(number, rev))
    }

    pub(in crate::doc) fn take(&mut self, conn: u64, join: &Join) -> Result<Welcome, Refusal> {
        let welcome = self.state.join(ConnId(conn), join, &mut self.effects);
        self.carry_out();
        welcome
    }

    /// Has something written by a fresh session; returns where its outcome comes.
    pub(in crate::doc) fn write(
        &mut self,
        asker: Asker,
        write: Write,
    ) -> oneshot::Receiver<Result<Revision, Failure>> {
        let (done, outcome) = oneshot::channel();
        let fresh = SessionId(rand::random());
        self.state.write((fresh, asker), write, None, done, &mut self.effects);
        self.state.flush(self.now, &mut self.effects);
        self.carry_out();
        outcome
    }

    pub(in crate::doc) fn submit(&mut self, conn: u64, seq: u64, base: u64, op: Operation) {
        let received = tokio::time::Instant::now();
        let batch = Batch { seq: Seq(seq), base: Revision(base), op, received, permit: None };
        self.state.submit(ConnId(conn), &Author::anonymous(), batch, &mut self.effects);
        self.state.flush(self.now, &mut self.effects);
        self.carry_out();
    }

    /// Lets the log accept the oldest record handed over.
    pub(in crate::doc) fn accept(&mut self) {
        self.accepted.push(self.handed.remove(0));
        let offset = Offset(self.accepted.len() as u64);
        self.state.accepted(offset, self.now, &mut self.effects);
        self.carry_out();
    }

    pub(in crate::doc) fn accept_all(&mut self) {
        while !self.handed.is_empty() {
            self.accept();
        }
    }

    pub(in crate::doc) fn carry_out(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Append(_, bytes) => self.handed.push(Record::decode(&bytes).unwrap()),
                Effect::Tell(conn, event) => self.told.push((conn, event)),
                Effect::Close(conn, refusal) => self.told.push((conn, Event::Closed(refusal))),
                Effect::Done(done, result) => drop(done.send(result)),
                Effect::Broadcast(_) | Effect::Save | Effect::PartFromCopies => {}
                Effect::Fork(fork) => self.forks.push(fork),
                Effect::Rebuild => panic!("not here"),
            }
        }
    }

    pub(in crate::doc) fn past(&self) -> Past {
        Past::new(&self.state, Arc::new(crate::checkpoint::Memory::new()), LogId(1))
    }

    /// Lets a session put so many letters in front of the text, one revision each.
    pub(in crate::doc) fn type_on(&mut self, conn: u64, number: u8, letters: u64) {
        for _ in 0..letters {
            let seq = self.state.last_seq(&session(number)).next();
            self.submit(conn, seq.0, self.state.head().0, insert(0, "."));
            self.accept_all();
        }
    }

    /// Merges a fork with the document as it is now, and lets so many letters be written before
    /// what comes out is taken back.
    pub(in crate::doc) async fn merge(&mut self, fork: Fork, meanwhile: u64) {
        let merged = self.past().merge_fork(fork.batch.base, fork.batch.op.clone()).await;
        self.type_on(2, 2, meanwhile);
        self.state.forked(fork, merged, &mut self.effects);
        self.state.flush(self.now, &mut self.effects);
        self.carry_out();
    }

    pub(in crate::doc) fn refused(&mut self) -> Option<Refusal> {
        match self.told.pop() {
            Some((_, Event::Refused { refusal, .. })) => Some(refusal),
            _ => None,
        }
    }

    /// Replays what was accepted into a fresh state, which must be the same.
    pub(in crate::doc) fn check_replay(&self) {
        let mut again = State::new("doc".parse().unwrap(), Arc::new(Config::default()));
        for (offset, record) in (1..).zip(&self.accepted) {
            let replayed = again.replay(Offset(offset), record, 1);
            assert_eq!(replayed, Ok(()), "{record:?}");
        }
        assert_eq!((again.head(), again.text()), (self.state.head(), self.state.text()));
        assert_eq!((again.access(), again.exists()), (self.state.access(), self.state.exists()));
        assert_eq!(again.access_ordered, again.access, "nothing is open");
        for number in 0..9 {
            let (one, other) = (session(number), session(number));
            assert_eq!(again.last_seq(&one), self.state.last_seq(&other), "session {number}");
        }
    }
}

#[tokio::test]
async fn batches_join_the_next_record_while_two_are_on_their_way() {
    let mut fixture = Fixture::new(Config::default());
    for number in 1..=5 {
        fixture.join(number.into(), number, None).unwrap();
        fixture.submit(number.into(), 1, 0, insert(0, "x"));
    }
    assert_eq!(fixture.handed.len(), 2);
    fixture.accept();
    let entries = |record: &Record| match record {
        Record::Frame(frame) => frame.entries.len(),
        _ => 0,
    };
    assert_eq!(fixture.handed.iter().map(entries).collect::<Vec<_>>(), [1, 3]);
    fixture.accept_all();
    assert_eq!((fixture.state.head(), fixture.state.text()), (Revision(5), "xxxxx".to_owned()));
    fixture.check_replay();
}

#[tokio::test]
async fn a_batch_is_taken_in_its_turn_only() {
    let mut fixture = Fixture::new(Config::default());
    fixture.join(1, 1, None).unwrap();
    fixture.submit(1, 1, 0, insert(0, "a"));
    fixture.submit(1, 2, 0, insert(0, "b"));
    assert_eq!(fixture.refused(), Some(Refusal::Pipelined { pending: Seq(1) }));
    fixture.submit(1, 3, 0, insert(0, "b"));
    assert_eq!(fixture.refused(), Some(Refusal::Gap { expected: Seq(2) }));
    fixture.submit(1, 1, 0, insert(0, "a"));
    assert!(fixture.told.is_empty(), "it is on its way: nothing is said, nothing appended");
    assert_eq!(fixture.handed.len(), 1);
    fixture.accept();
    fixture.submit(1, 1, 0, insert(0, "a"));
    let told = fixture.told.pop();
    let again = Event::Repeated { seq: Seq(1), rev: Revision(1) };
    assert_eq!(format!("{told:?}"), format!("{:?}", Some((ConnId(1), again))));
    fixture.check_replay();
}

#[tokio::test]
async fn what_is_long_and_far_behind_is_rebased_at_once_and_its_author_is_told() {
    let config = Config { window_revisions: 1_000, ..Config::default() };
    let mut fixture = Fixture::new(config);
    fixture.join(1, 1, None).unwrap();
    fixture.join(2, 2, None).unwrap();
    fixture.join(3, 3, None).unwrap();
    fixture.submit(1, 1, 0, insert(0, &"ab".repeat(300)));
    fixture.accept_all();
    fixture.type_on(2, 2, 600);
    let every = |places: usize| {
        (0..places).fold(Operation::builder(), |op, _| op.retain(1).insert("x").delete(1)).build()
    };
    for (conn, seq, places, at_once) in [(1, 2, 300, true), (3, 1, 30, false)] {
        let last = fixture.state.head();
        fixture.submit(conn, seq, 1, every(places));
        fixture.accept_all();
        let change = fixture.state.window.after(last).next().expect("it is accepted");
        assert_eq!((change.seq, change.surprising), (Seq(seq), at_once));
        if at_once {
            let text = format!("{}{}", ".".repeat(600), "ax".repeat(300));
            assert_eq!(fixture.state.text(), text);
        }
    }
    fixture.check_replay();
}

#[tokio::test]
async fn what_gets_long_by_what_others_write_in_its_middle_is_rebased_at_once() {
    let mut fixture = Fixture::new(Config::default());
    fixture.join(1, 1, None).unwrap();
    fixture.join(2, 2, None).unwrap();
    fixture.submit(1, 1, 0, insert(0, &"x".repeat(600)));
    fixture.accept_all();
    for nth in 0..600 {
        fixture.submit(2, 1 + nth, 1 + nth, insert(2 * nth as u32, "."));
        fixture.accept_all();
    }
    let last = fixture.state.head();
    fixture.submit(1, 2, 1, Operation::builder().delete(600).build());
    fixture.accept_all();
    assert!(fixture.state.window.after(last).next().expect("it is accepted").surprising);
    assert_eq!(fixture.state.text(), ".".repeat(600));
    fixture.check_replay();
}

#[tokio::test]
async fn what_was_not_written_is_handed_over_again_under_the_new_epoch() {
    let mut fixture = Fixture::new(Config::default());
    for number in 1..=4 {
        fixture.join(number.into(), number, None).unwrap();
        fixture.submit(number.into(), 1, 0, insert(0, "x"));
    }
    let written = fixture.handed.remove(0);
    fixture.handed.clear();
    // The first one is found in the log, the second is not.
    fixture.state.recovered(Offset(1), &written, &mut fixture.effects);
    fixture.accepted.push(written.clone());
    fixture.state.recovered(Offset(2), &written, &mut fixture.effects);
    fixture.state.reclaimed(Epoch(7), fixture.now, &mut fixture.effects);
    fixture.carry_out();
    assert!(fixture.handed.iter().all(|record| record.epoch() == Some(Epoch(7))));
    fixture.accept_all();
    assert_eq!(fixture.state.head(), Revision(4));
    fixture.check_replay();
}

#[tokio::test]
async fn silent_sessions_expire_and_those_that_return_meanwhile_wait() {
    let config = Config { session_expiry: Duration::from_secs(60), ..Config::default() };
    let mut fixture = Fixture::new(config);
    for number in 1..=2 {
        fixture.join(number.into(), number, None).unwrap();
        fixture.submit(number.into(), 1, number as u64 - 1, insert(0, "x"));
        fixture.accept_all();
    }
    fixture.state.leave(ConnId(1));
    assert!(!fixture.state.expire(Timestamp(999_999)), "nobody has been silent for so long");
    assert!(fixture.state.expire(Timestamp(1_000_001)), "who is connected stays");
    fixture.state.flush(fixture.now, &mut fixture.effects);
    fixture.carry_out();
    let back = fixture.join(3, 1, Some(2));
    assert!(matches!(back, Err(Refusal::Unavailable { .. })), "{back:?}");
    fixture.accept_all();
    assert_eq!(fixture.state.last_seq(&session(1)), Seq(0), "it is forgotten");
    assert_eq!(fixture.state.last_seq(&session(2)), Seq(1));
    fixture.check_replay();
}

#[tokio::test]
async fn a_session_that_comes_back_goes_on_where_it_was() {
    let mut fixture = Fixture::new(Config::default());
    fixture.join(1, 1, None).unwrap();
    for n in 0..3 {
        fixture.submit(1, n + 1, n, insert(0, "x"));
        fixture.accept_all();
    }
    fixture.state.leave(ConnId(1));
    let back = |rev| join_of(1, rev);
    assert!(!fixture.state.may_be_forgotten(&back(Some(3))), "everybody is known");
    assert!(fixture.state.expire(Timestamp(u64::MAX)));
    fixture.state.flush(fixture.now, &mut fixture.effects);
    fixture.carry_out();
    fixture.accept_all();
    assert!(!fixture.state.may_be_forgotten(&back(None)), "it begins");
    assert!(fixture.state.may_be_forgotten(&back(Some(0))));
    let past = fixture.past();
    let wanted = [session(1), session(2)].into();
    let found = past.last_batches(wanted).await.unwrap();
    let batch = Found { session: session(1), seq: Seq(3), rev: Revision(3) };
    assert_eq!(found, [batch], "the other one never wrote");
    fixture.state.recall(&found);
    assert!(!fixture.state.may_be_forgotten(&back(Some(3))), "one record brings it back");
    let early = fixture.join(2, 1, Some(3));
    assert!(matches!(early, Err(Refusal::Unavailable { .. })), "{early:?}");
    fixture.state.flush(fixture.now, &mut fixture.effects);
    fixture.carry_out();
    fixture.accept_all();
    assert_eq!(fixture.join(3, 1, Some(3)).unwrap().seq, Seq(3));
    fixture.submit(3, 4, 3, insert(3, "y"));
    fixture.accept_all();
    assert_eq!(fixture.state.text(), "xxxy");
    fixture.check_replay();
}

#[tokio::test]
async fn a_cut_removes_what_was_before_it_and_nothing_else() {
    let mut fixture = Fixture::new(Config::default());
    fixture.join(1, 1, None).unwrap();
    for n in 0..6 {
        fixture.submit(1, n + 1, n, insert(u32::try_from(n).unwrap(), "x"));
        fixture.accept_all();
    }
    let kind = EventKind::HistoryCut { before: Revision(4) };
    let write = Write::Event { author: Author::anonymous(), kind };
    drop(fixture.write(Asker::anything(), write));
    fixture.accept_all();
    assert_eq!((fixture.state.head(), fixture.state.text()), (Revision(6), "xxxxxx".to_owned()));
    assert_eq!(fixture.state.live.text_at(Revision(3)), None);
    assert_eq!(fixture.state.live.text_at(Revision(4)).as_deref(), Some("xxxx"));
    let resumed = fixture.join(2, 2, Some(5)).unwrap();
    assert!(matches!(resumed.content, Content::Changes(changes) if changes.len() == 1));
    let lost = fixture.join(3, 3, Some(2)).unwrap();
    assert!(matches!(lost.content, Content::Text(_)));
    fixture.check_replay();
}

/// Returns a document of the text "ab" from session 1, who forks it at its first revision by
/// putting "fork" between the letters, after session 2 has written more than the window keeps.
#[test]
fn a_session_is_taken_only_from_the_connection_that_is_named() {
    let mut doc = Fixture::new(Config::default());
    let join = |doc: &mut Fixture, conn, socket, replaces| {
        let join = Join { socket: Socket { id: socket, replaces }, ..join_of(1, None) };
        let joined = doc.state.join(ConnId(conn), &join, &mut doc.effects).map(|_| ());
        let closed = doc.effects.drain(..).find_map(|effect| match effect {
            Effect::Close(conn, Refusal::Replaced) => Some(conn.0),
            _ => None,
        });
        (joined, closed)
    };
    let occupied = |by| (Err(Refusal::Occupied { by }), None);
    assert_eq!(join(&mut doc, 1, 7, None), (Ok(()), None));
    // Its node lost the way to the document, which does not know yet.
    assert_eq!(join(&mut doc, 2, 7, None), (Ok(()), Some(1)));
    // The client went to another node; the first one stood still, and did not hear of it.
    assert_eq!(join(&mut doc, 3, 8, None), occupied(7));
    assert_eq!(join(&mut doc, 4, 8, Some(7)), (Ok(()), Some(2)));
    assert_eq!(join(&mut doc, 5, 7, None), occupied(8));
    assert_eq!(join(&mut doc, 6, 8, None), (Ok(()), Some(4)));
    // One that knew of the first comes late.
    assert_eq!(join(&mut doc, 7, 9, Some(7)), occupied(8));
    // Nobody is there: whoever was is welcome.
    doc.state.leave(ConnId(6));
    assert_eq!(join(&mut doc, 8, 7, None), (Ok(()), None));
}

pub(in crate::doc) fn forked() -> (Fixture, Fork) {
    let mut fixture = Fixture::new(Config { window_revisions: 3, ..Config::default() });
    fixture.join(1, 1, None).unwrap();
    fixture.submit(1, 1, 0, insert(0, "ab"));
    fixture.accept_all();
    fixture.join(2, 2, None).unwrap();
    fixture.type_on(2, 2, 5);
    fixture.submit(1, 2, 1, insert(1, "fork"));
    assert!(fixture.handed.is_empty(), "it has no place yet");
    let fork = fixture.forks.pop().expect("the window does not reach its base");
    (fixture, fork)
}

#[tokio::test]
async fn a_long_fork_is_merged_on_for_as_long_as_the_window_goes_on_meanwhile() {
    let (mut fixture, mut fork) = forked();
    for _ in 0..3 {
        fixture.merge(fork, 4).await;
        assert!(fixture.handed.is_empty(), "what was merged is from before the window");
        fork = fixture.forks.pop().expect("the rest is to be merged, too");
        fixture.submit(1, 2, 1, insert(1, "fork"));
        assert!(fixture.forks.is_empty() && fixture.told.is_empty(), "it is on its way");
    }
    // As much as the window just keeps.
    fixture.merge(fork, 3).await;
    assert!(fixture.forks.is_empty());
    fixture.accept_all();
    assert_eq!(fixture.state.text(), format!("{}aforkb", ".".repeat(5 + 3 * 4 + 3)));
    assert_eq!(fixture.state.last_seq(&session(1)), Seq(2));
    fixture.check_replay();
}

#[tokio::test]
async fn a_long_fork_of_a_history_that_was_cut_meanwhile_is_refused() {
    let (mut fixture, fork) = forked();
    let merged = fixture.past().merge_fork(fork.batch.base, fork.batch.op.clone()).await;
    fixture.type_on(2, 2, 5);
    let before = fixture.state.head();
    let cut = Write::Event { author: Author::anonymous(), kind: EventKind::HistoryCut { before } };
    drop(fixture.write(Asker::anything(), cut));
    fixture.accept_all();
    fixture.state.forked(fork, merged, &mut fixture.effects);
    fixture.carry_out();
    let fork = fixture.forks.pop().expect("the rest is to be merged");
    fixture.merge(fork, 0).await;
    let refused = fixture.refused();
    assert!(matches!(refused, Some(Refusal::BadBase { .. })), "{refused:?}");
    fixture.submit(1, 2, before.0, insert(0, "again"));
    fixture.accept_all();
    assert!(fixture.state.text().starts_with("again"), "the session goes on");
    fixture.check_replay();
}

#[tokio::test]
async fn a_session_whose_fork_is_being_merged_does_not_expire() {
    let (mut fixture, fork) = forked();
    fixture.state.leave(ConnId(1));
    assert!(!fixture.state.expire(Timestamp(u64::MAX)), "something of it is on its way");
    fixture.merge(fork, 0).await;
    assert!(!fixture.state.expire(Timestamp(u64::MAX)), "and in the log");
    fixture.accept_all();
    assert_eq!(fixture.state.text(), ".....aforkb");
    assert_eq!(fixture.state.last_seq(&session(1)), Seq(2));
    assert!(fixture.state.expire(Timestamp(u64::MAX)), "then it is silent");
    fixture.check_replay();
}

#[test]
fn what_is_deleted_is_made_empty_for_those_who_may_and_nothing_else_is() {
    let mut doc = Fixture::new(Config::default());
    doc.join(2, 2, None).unwrap();
    doc.type_on(2, 2, 3);
    let blank = |base| Write::Blank { author: Author::anonymous(), base: Revision(base) };
    let event = |kind| Write::Event { author: Author::anonymous(), kind };
    let done = |doc: &mut Fixture, granted: Right, write| {
        let asker = Asker { granted: granted.into(), ..Asker::default() };
        let mut outcome = doc.write(asker, write);
        doc.accept_all();
        outcome.try_recv().expect("it is settled")
    };
    let refused = |refusal| Err(Failure::Refused(refusal));
    assert_eq!(done(&mut doc, Right::Admin, blank(3)), refused(Refusal::Exists));
    done(&mut doc, Right::Admin, event(EventKind::Deleted)).unwrap();
    let denied = Refusal::Denied(Denied::Unknown(Right::Admin));
    assert_eq!(done(&mut doc, Right::Write, blank(3)), refused(denied.clone()));
    let cut = || event(EventKind::HistoryCut { before: Revision(4) });
    assert_eq!(done(&mut doc, Right::History, cut()), refused(denied));
    for base in [2, 4] {
        let stale = done(&mut doc, Right::Admin, blank(base));
        assert!(matches!(stale, Err(Failure::Refused(Refusal::BadBase { .. }))), "{stale:?}");
    }
    let edit = Write::Edit { author: Author::anonymous(), base: Revision(3), op: insert(0, "x") };
    assert_eq!(done(&mut doc, Right::Admin, edit), refused(Refusal::NoDocument));
    assert_eq!(done(&mut doc, Right::Admin, blank(3)), Ok(Revision(4)));
    assert_eq!((doc.state.text(), doc.state.exists()), (String::new(), false));
    assert_eq!(done(&mut doc, Right::Admin, blank(4)), Ok(Revision(5)), "there is no text left");
    assert_eq!(done(&mut doc, Right::Admin, cut()), Ok(Revision(5)));
    assert!(doc.past().is_deleted() && doc.past().oldest() == Revision(4));
    done(&mut doc, Right::Admin, event(EventKind::Undeleted)).unwrap();
    assert!(doc.state.exists() && doc.state.text().is_empty());
}
