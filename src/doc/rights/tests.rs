//! Each rule of who may do what, in an exact order of events.

use std::sync::Arc;

use proptest::prelude::*;

use crate::access::{
    Access, AccessChange, Asker, Denied, MEMBERS_MAX, Right, Rights, Subject, TooManyMembers,
    Visibility,
};
use crate::checkpoint::{Memory, load};
use crate::doc::rights::changes;
use crate::doc::tests::{Deaf, Fixture, forked, insert, session};
use crate::doc::{
    Config, ConnId, Encoders, Event, EventKind, Failure, Join, Mode, Refusal, State, Welcome, Write,
};
use crate::log::{Position, Record};
use crate::text::Operation;
use crate::types::{Author, Epoch, LogId, Offset, Revision, Seq};

fn subject(name: &str) -> Subject {
    name.parse().unwrap()
}

/// Returns somebody known, to whom these rights are granted; nobody known where there is no name.
fn asker(name: &str, granted: &str) -> Asker {
    Asker { subject: name.parse().ok(), granted: granted.parse().unwrap_or_default() }
}

fn access(change: AccessChange) -> Write {
    event(EventKind::AccessChanged(change))
}

fn member(name: &str, rights: &str) -> Write {
    access(AccessChange::Member(subject(name), rights.parse().unwrap_or_default()))
}

fn event(kind: EventKind) -> Write {
    Write::Event { author: Author::anonymous(), kind }
}

fn edit(base: u64) -> Write {
    Write::Edit { author: Author::anonymous(), base: Revision(base), op: insert(0, "e") }
}

impl Fixture {
    /// Returns a document with the text "x" that `olga` has written.
    fn of_olga() -> Self {
        let mut doc = Self::new(Config::default());
        doc.come(1, "olga", "write").unwrap();
        doc.submit(1, 1, 0, insert(0, "x"));
        doc.accept_all();
        doc.told.clear();
        doc
    }

    /// Connects somebody who wants to edit, whose session has the number of the connection.
    fn come(&mut self, number: u8, name: &str, granted: &str) -> Result<Mode, Refusal> {
        self.come_as(number, asker(name, granted), Mode::Edit).map(|welcome| welcome.mode)
    }

    fn come_as(&mut self, number: u8, asker: Asker, mode: Mode) -> Result<Welcome, Refusal> {
        let join = Join { asker, mode, ..Join::new(session(number), Arc::new(Deaf)) };
        self.take(number.into(), &join)
    }

    /// Has something written, and durable where it is taken.
    fn done(&mut self, asker: Asker, write: Write) -> Result<Revision, Failure> {
        let mut outcome = self.write(asker, write);
        self.accept_all();
        outcome.try_recv().expect("it is settled")
    }

    /// Has the owner change something.
    fn owner_does(&mut self, write: Write) {
        self.done(asker("olga", ""), write).unwrap();
    }

    fn closed(&mut self) -> Vec<(u64, Refusal)> {
        let closed = |(conn, event): (ConnId, Event)| match event {
            Event::Closed(refusal) => Some((conn.0, refusal)),
            _ => None,
        };
        self.told.drain(..).filter_map(closed).collect()
    }

    fn owner(&self) -> Option<&str> {
        self.state.access().owner.as_ref().map(Subject::as_str)
    }
}

fn denied(right: Right) -> Refusal {
    Refusal::Denied(Denied::Forbidden(right))
}

#[test]
fn who_may_not_read_learns_nothing_of_a_document() {
    let never = || Fixture::new(Config::default());
    let after = |kind| {
        let mut doc = Fixture::of_olga();
        doc.owner_does(event(kind));
        doc
    };
    let apart = EventKind::Quarantined { reason: "for a test".to_owned() };
    let docs = [never as fn() -> Fixture, Fixture::of_olga]
        .map(|make| make())
        .into_iter()
        .chain([after(EventKind::Deleted), after(apart)]);
    for mut doc in docs {
        let unknown = || Refusal::Denied(Denied::Unknown(Right::Read));
        doc.told.clear();
        for mode in [Mode::Edit, Mode::View] {
            let come = |doc: &mut Fixture, asker| doc.come_as(9, asker, mode).err();
            assert_eq!(come(&mut doc, asker("", "")), Some(unknown()));
            assert_eq!(come(&mut doc, asker("eve", "")), Some(denied(Right::Read)));
        }
        for (write, right) in [(edit(0), Right::Write), (event(EventKind::Deleted), Right::Admin)] {
            let refused = Err(Failure::Refused(denied(right)));
            assert_eq!(doc.done(asker("eve", ""), write), refused);
        }
        assert!(doc.handed.is_empty() && doc.told.is_empty(), "nobody else notices");
    }
}

#[test]
fn a_name_that_was_never_used_is_welcome_to_those_who_may_write() {
    let mut doc = Fixture::new(Config::default());
    assert_eq!(doc.come(1, "rita", "read"), Err(Refusal::NoDocument));
    assert_eq!(doc.come(2, "wim", "write"), Ok(Mode::Edit));
}

#[test]
fn who_may_not_write_reads_and_an_edit_is_refused() {
    let mut doc = Fixture::of_olga();
    doc.owner_does(access(AccessChange::Visibility(Visibility::Public)));
    for (number, name, granted) in [(2, "", ""), (3, "eve", ""), (4, "rita", "history")] {
        assert_eq!(doc.come(number, name, granted), Ok(Mode::View));
        doc.submit(number.into(), 1, 1, insert(0, "!"));
        assert_eq!(doc.refused(), Some(Refusal::ReadOnly));
        assert!(doc.handed.is_empty());
    }
    assert_eq!(doc.state.text(), "x");
    assert_eq!(doc.come(5, "wim", "write"), Ok(Mode::Edit));
    doc.submit(5, 1, 1, insert(0, "y"));
    doc.accept_all();
    assert_eq!(doc.state.text(), "yx");
    doc.check_replay();
}

#[test]
fn each_thing_takes_its_right() {
    let rev = Revision(1);
    let restore = Write::Restore {
        author: Author::anonymous(),
        base: rev,
        op: Operation::identity(),
        rev: Revision(0),
    };
    let named = EventKind::VersionNamed { name: "first".to_owned(), rev };
    let things = [
        (edit(1), Right::Write),
        (restore, Right::Write),
        (event(EventKind::Created), Right::Write),
        (event(named), Right::Write),
        (event(EventKind::Exported { rev }), Right::History),
        (event(EventKind::Deleted), Right::Admin),
        (event(EventKind::Undeleted), Right::Admin),
        (event(EventKind::HistoryCut { before: rev }), Right::Admin),
        (member("mia", "read"), Right::Admin),
    ];
    for (write, right) in things {
        for granted in Right::ALL {
            let mut doc = Fixture::of_olga();
            if matches!(&write, Write::Event { kind: EventKind::Undeleted, .. }) {
                doc.owner_does(event(EventKind::Deleted));
            }
            let records = doc.accepted.len();
            let result = doc.done(asker("eve", granted.name()), write.clone());
            let exists = Err(Failure::Refused(Refusal::Exists));
            if matches!(&write, Write::Event { kind: EventKind::Created, .. })
                && Rights::from(granted).has(right)
            {
                assert_eq!(result, exists, "it is there, and may be told so");
            } else if Rights::from(granted).has(right) {
                assert!(result.is_ok(), "{write:?} with {granted:?}: {result:?}");
            } else {
                assert_eq!(result, Err(Failure::Refused(denied(right))), "{write:?}");
                assert_eq!(doc.accepted.len(), records, "nothing is written");
            }
            doc.check_replay();
        }
    }
}

#[test]
fn who_loses_the_right_to_write_keeps_what_was_taken_before() {
    let mut doc = Fixture::of_olga();
    doc.owner_does(member("mia", "write"));
    assert_eq!(doc.come(2, "mia", ""), Ok(Mode::Edit));
    doc.submit(2, 1, 1, insert(0, "a"));
    let withdrawn = doc.write(asker("olga", ""), member("mia", "read"));
    doc.submit(2, 1, 1, insert(0, "a"));
    assert_eq!(doc.refused(), None, "it is on its way");
    doc.accept();
    doc.submit(2, 2, 2, insert(0, "b"));
    assert_eq!(doc.refused(), Some(denied(Right::Write)), "the order knows, if the log does not");
    doc.submit(2, 1, 1, insert(0, "a"));
    assert!(matches!(doc.told.pop(), Some((_, Event::Repeated { .. }))), "it stays accepted");
    drop(withdrawn);
    doc.accept_all();
    assert_eq!(doc.closed(), [], "it may still read");
    doc.submit(2, 2, 2, insert(0, "b"));
    assert_eq!(doc.refused(), Some(denied(Right::Write)));
    assert_eq!((doc.state.text().as_str(), doc.handed.len()), ("ax", 0));
    assert_eq!(doc.come(2, "mia", ""), Ok(Mode::View));
    doc.owner_does(member("mia", "write"));
    doc.submit(2, 2, 2, insert(0, "b"));
    assert_eq!(doc.refused(), Some(Refusal::ReadOnly), "it was welcomed to read");
    assert_eq!(doc.come(2, "mia", ""), Ok(Mode::Edit));
    doc.check_replay();
}

#[test]
fn who_loses_the_right_to_read_is_sent_away_once_that_is_durable() {
    let mut doc = Fixture::of_olga();
    for (number, name, rights) in [(2, "mia", "read"), (3, "max", "write")] {
        doc.owner_does(member(name, rights));
        doc.come(number, name, "").unwrap();
    }
    doc.come(4, "mia", "read").unwrap();
    doc.owner_does(access(AccessChange::Visibility(Visibility::Public)));
    doc.come(5, "", "").unwrap();
    doc.come(6, "eve", "").unwrap();
    let gone = |number| doc_of(number, denied(Right::Read));
    drop(doc.write(asker("olga", ""), access(AccessChange::Visibility(Visibility::Private))));
    drop(doc.write(asker("olga", ""), member("mia", "")));
    drop(doc.write(asker("olga", ""), member("max", "")));
    assert_eq!(doc.closed(), [], "nobody knows yet whether it counts");
    doc.accept();
    let unknown = Refusal::Denied(Denied::Unknown(Right::Read));
    assert_eq!(doc.closed(), [doc_of(5, unknown), gone(6)]);
    doc.accept();
    assert_eq!(doc.closed(), [gone(2)], "what was granted to the other one stays");
    doc.submit(3, 1, 1, insert(0, "!"));
    assert_eq!(doc.refused(), Some(denied(Right::Write)));
    doc.accept();
    assert_eq!(doc.closed(), [gone(3)]);
    for number in [2, 3, 5, 6] {
        doc.submit(number, 1, 1, insert(0, "!"));
        assert_eq!((doc.told.len(), doc.handed.len()), (0, 0), "it has no connection");
    }
    assert_eq!(doc.state.text(), "x");
    doc.check_replay();
}

fn doc_of(conn: u64, refusal: Refusal) -> (u64, Refusal) {
    (conn, refusal)
}

#[test]
fn an_owner_can_lose_a_document_to_another() {
    let mut doc = Fixture::of_olga();
    doc.owner_does(access(AccessChange::Owner(Some(subject("nora")))));
    assert_eq!(doc.closed(), [], "a pattern lets it read all the same");
    let mut away = doc.write(asker("olga", "write"), member("olga", "admin"));
    let refused = Err(Failure::Refused(denied(Right::Admin)));
    assert_eq!(away.try_recv(), Ok(refused));
    assert!(doc.done(asker("nora", ""), member("olga", "read")).is_ok());
    doc.check_replay();
}

#[test]
fn whoever_begins_a_document_owns_it() {
    let mut doc = Fixture::new(Config::default());
    doc.come(1, "ada", "write").unwrap();
    doc.come(2, "bob", "write").unwrap();
    doc.submit(1, 1, 9, insert(0, "no"));
    assert!(matches!(doc.refused(), Some(Refusal::BadBase { .. })));
    assert!(doc.handed.is_empty(), "what is refused begins nothing");
    doc.submit(2, 1, 0, insert(0, "b"));
    doc.submit(1, 1, 0, insert(0, "a"));
    doc.accept_all();
    assert_eq!((doc.owner(), doc.state.head()), (Some("bob"), Revision(2)));
    assert_eq!(doc.accepted.len(), 3, "one of them is of the owner");
    assert!(matches!(&doc.accepted[0], Record::Event(event) if event.by == Some(subject("bob"))));
    doc.check_replay();
    for mut doc in [Fixture::new(Config::default()), Fixture::new(Config::default())] {
        assert!(doc.done(Asker::anything(), edit(0)).is_ok());
        assert!(doc.done(asker("eve", "admin"), edit(1)).is_ok());
        assert_eq!(doc.owner(), None, "nobody known has begun it");
        doc.check_replay();
    }
    for write in [edit(0), event(EventKind::Created)] {
        let mut doc = Fixture::new(Config::default());
        drop(doc.write(asker("ada", "write"), write));
        let again = doc.done(asker("bob", "write"), event(EventKind::Created));
        assert_eq!(again, Err(Failure::Refused(Refusal::Exists)), "also before it is durable");
        assert_eq!((doc.owner(), doc.state.exists()), (Some("ada"), true));
        doc.check_replay();
    }
}

#[test]
fn a_document_whose_first_batch_was_lost_has_its_owner() {
    let mut doc = Fixture::new(Config::default());
    doc.come(1, "ada", "write").unwrap();
    doc.submit(1, 1, 0, insert(0, "lost"));
    doc.accept();
    let mut again = State::new("doc".parse().unwrap(), Arc::new(Config::default()));
    again.replay(Offset(1), &doc.accepted[0], 1).unwrap();
    again.reclaimed(Epoch(0), doc_time(), &mut Vec::new());
    let mut doc = Fixture { state: again, ..Fixture::new(Config::default()) };
    assert!(doc.state.exists(), "it is empty");
    assert_eq!(doc.come(2, "rita", "read"), Ok(Mode::View));
    assert!(doc.done(asker("bob", "write"), edit(0)).is_ok());
    assert_eq!(doc.owner(), Some("ada"));
}

fn doc_time() -> crate::types::Timestamp {
    crate::types::Timestamp(1)
}

#[test]
fn the_order_bounds_the_members() {
    let mut doc = Fixture::of_olga();
    for n in 0..MEMBERS_MAX - 1 {
        doc.owner_does(member(&format!("m{n}"), "read"));
    }
    let owner = asker("olga", "");
    let last = doc.write(owner.clone(), member("last", "read"));
    let full = Err(Failure::Refused(Refusal::TooManyMembers(TooManyMembers)));
    let mut over = doc.write(owner.clone(), member("over", "read"));
    assert_eq!(over.try_recv(), Ok(full.clone()), "one on its way has the last place");
    drop(doc.write(owner.clone(), member("m0", "")));
    let after = doc.write(owner.clone(), member("over", "read"));
    doc.accept_all();
    for mut taken in [last, after] {
        assert!(matches!(taken.try_recv(), Ok(Ok(_))));
    }
    assert_eq!(doc.done(owner, member("m0", "read")), full);
    assert_eq!(doc.state.access().members().len(), MEMBERS_MAX);
    doc.check_replay();
}

/// Returns what `owner` and members with these rights are granted.
fn of(owner: &str, members: &[(&str, &str)]) -> Access {
    let mut access = Access::default();
    access.owner = owner.parse().ok();
    for (member, rights) in members {
        access.admit(subject(member), rights.parse().unwrap()).unwrap();
    }
    access
}

fn grant(wanted: &Access, seen: Option<&[&Access]>) -> Write {
    let expected = seen.map(|seen| seen.iter().map(|seen| seen.fingerprint()).collect());
    Write::Grant { author: Author::anonymous(), wanted: wanted.clone(), expected }
}

#[test]
fn only_what_differs_changes_and_oneself_last() {
    let before = of("olga", &[("anna", "admin"), ("bob", "read"), ("cleo", "write")]);
    let mut wanted = of("anna", &[("bob", "write"), ("cleo", "write"), ("dan", "read")]);
    wanted.visibility = Visibility::Public;
    let anna = AccessChange::Member(subject("anna"), Rights::NONE);
    let owner = AccessChange::Owner(wanted.owner.clone());
    for (asks, last) in [("anna", &anna), ("olga", &owner), ("eve", &owner)] {
        let all = changes(&before, &wanted, Some(&subject(asks)));
        let mut made = before.clone();
        all.iter().for_each(|change| made.apply(change).unwrap());
        assert_eq!(made, wanted);
        assert_eq!((all.len(), all.last()), (5, Some(last)), "{asks}: {all:?}");
    }
    assert_eq!(changes(&before, &wanted, None).first(), Some(&anna), "who goes makes room");
    assert_eq!(changes(&wanted, &wanted, None), []);
}

#[test]
fn of_two_who_have_seen_the_same_rights_one_changes_them() {
    let mut doc = Fixture::of_olga();
    let (owner, seen) = (asker("olga", ""), of("olga", &[]));
    let (bob, cleo) = (of("olga", &[("bob", "read")]), of("olga", &[("cleo", "read")]));
    // Neither is durable while the other one asks.
    let mut first = doc.write(owner.clone(), grant(&bob, Some(&[&seen])));
    let mut second = doc.write(owner.clone(), grant(&cleo, Some(&[&seen])));
    assert_eq!(second.try_recv(), Ok(Err(Failure::OtherAccess)));
    assert!(first.try_recv().is_err(), "it is not durable");
    // The first one comes again, and waits for what is on its way.
    let mut again = doc.write(owner.clone(), grant(&bob, Some(&[&seen])));
    doc.accept();
    assert!(matches!(first.try_recv(), Ok(Ok(_))));
    assert!(again.try_recv().is_err());
    doc.accept_all();
    assert!(matches!(again.try_recv(), Ok(Ok(_))));
    let records = doc.accepted.len();
    assert!(doc.done(owner.clone(), grant(&bob, Some(&[&seen]))).is_ok(), "once more");
    assert_eq!(doc.accepted.len(), records, "nothing is left to do");
    assert_eq!(doc.state.access(), &bob);
    let none = Some(&[][..]);
    assert_eq!(doc.done(owner.clone(), grant(&cleo, none)), Err(Failure::OtherAccess));
    let two = Some(&[&seen, &bob][..]);
    assert!(doc.done(owner.clone(), grant(&cleo, two)).is_ok(), "one of them is enough");
    assert!(doc.done(owner, grant(&bob, None)).is_ok());
    assert_eq!(doc.state.access(), &bob);
    doc.check_replay();
}

#[test]
fn rights_are_granted_as_a_whole_or_not_at_all() {
    let mut doc = Fixture::of_olga();
    let name = |n: usize| format!("m{n}");
    let names: Vec<_> = (0..=MEMBERS_MAX).map(name).collect();
    let full = |names: &[String]| {
        of("olga", &names.iter().map(|name| (&**name, "admin")).collect::<Vec<_>>())
    };
    let before = full(&names[..MEMBERS_MAX]);
    doc.done(asker("olga", ""), grant(&before, None)).unwrap();
    // One who goes at last does not make room for another one.
    let (oneself, other) = (asker("m0", ""), full(&names[1..]));
    let refused = Failure::Refused(Refusal::TooManyMembers(TooManyMembers));
    let records = doc.accepted.len();
    assert_eq!(doc.done(oneself, grant(&other, None)), Err(refused));
    assert_eq!((doc.state.access(), doc.accepted.len()), (&before, records));
    assert!(doc.done(asker("m1", ""), grant(&other, None)).is_ok());
    assert_eq!(doc.state.access(), &other);
    let eve = doc.done(asker("eve", "write"), grant(&before, Some(&[&other])));
    assert_eq!(eve, Err(Failure::Refused(denied(Right::Admin))));
    let mut never = Fixture::new(Config::default());
    let asked = never.done(asker("ada", "admin"), grant(&before, None));
    assert_eq!(asked, Err(Failure::Refused(Refusal::NoDocument)));
    doc.check_replay();
}

#[tokio::test]
async fn a_long_fork_of_somebody_who_may_not_write_any_more_is_refused() {
    let (mut doc, mut fork) = forked();
    fork.asker = asker("mia", "");
    doc.merge(fork, 0).await;
    assert_eq!(doc.refused(), Some(denied(Right::Write)));
    assert!(doc.handed.is_empty());
    doc.submit(1, 2, 1, insert(1, "fork"));
    assert!(doc.forks.pop().is_some(), "the session goes on");
}

#[test]
fn who_restored_what_is_in_the_log_behind_the_edit() {
    let mut doc = Fixture::of_olga();
    let (author, base, rev): (Author, _, _) = ("Olga".parse().unwrap(), Revision(1), Revision(0));
    let op = Operation::builder().delete(1).build();
    let restored = Write::Restore { author: author.clone(), base, op, rev };
    assert_eq!(doc.done(asker("olga", ""), restored), Ok(Revision(2)));
    let [.., Record::Frame(frame), Record::Event(event)] = &doc.accepted[..] else { panic!() };
    assert_eq!((frame.base_rev, event.base_rev), (Revision(1), Revision(2)));
    assert_eq!((&event.author, &event.by), (&author, &Some(subject("olga"))));
    assert_eq!(event.kind, EventKind::Restored { rev });
    let op = insert(9, "it does not fit");
    let restored = Write::Restore { author, base: Revision(2), op, rev };
    assert!(doc.done(asker("olga", ""), restored).is_err());
    assert_eq!(doc.accepted.len(), 4, "what is refused is not told of");
    doc.check_replay();
}

#[tokio::test]
async fn only_those_with_the_right_are_told_of_earlier_texts() {
    let mut doc = Fixture::of_olga();
    doc.type_on(1, 1, 1);
    let reader = doc.past().limited(Err(Denied::Forbidden(Right::History)));
    let refused = || Failure::Refused(denied(Right::History));
    let (rev, head) = (Revision(1), Revision(2));
    assert_eq!(reader.text_at(head).await, Ok(".x".to_owned()));
    assert_eq!(reader.text_at(rev).await, Err(refused()));
    assert_eq!(reader.text_at(Revision(9)).await, Err(refused()), "nor whether there is one");
    assert_eq!(reader.blame(head).await, Err(refused()));
    assert_eq!(reader.page(rev, 9).await, Err(refused()));
    assert_eq!(reader.diff(rev, head).await, Err(refused()));
    assert_eq!(reader.verify((head, ".x".to_owned())).await, Err(refused()));
    assert_eq!(doc.past().text_at(rev).await, Ok("x".to_owned()));
}

/// What happens to a document, for the property below.
#[derive(Debug, Clone)]
enum Step {
    Change(AccessChange),
    Batch(u8),
    Accept,
    /// The shard is claimed again; the first record on its way was found in the log, or not.
    Claim {
        found: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let who = || (0..4_u8).prop_map(|n| subject(&format!("s{n}")));
    let change = prop_oneof![
        proptest::option::of(who()).prop_map(AccessChange::Owner),
        any::<bool>().prop_map(|public| AccessChange::Visibility(match public {
            true => Visibility::Public,
            false => Visibility::Private,
        })),
        (who(), 0..16_u8).prop_map(|(who, bits)| {
            AccessChange::Member(who, Rights::from_bits(bits).unwrap())
        }),
    ];
    prop_oneof![
        3 => change.prop_map(Step::Change),
        3 => (1..=4_u8).prop_map(Step::Batch),
        3 => Just(Step::Accept),
        1 => any::<bool>().prop_map(|found| Step::Claim { found }),
    ]
}

proptest! {
    /// Whatever happens: what replays is the same, and so is what is read from a checkpoint; each
    /// batch in the log was allowed by the records before it.
    #[test]
    fn replay_and_checkpoint_grant_what_the_living_document_grants(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut doc = Fixture::new(Config::default());
        let mut epoch = 0;
        for step in steps {
            match step {
                Step::Change(change) => drop(doc.write(Asker::anything(), access(change))),
                Step::Batch(number) => {
                    let granted = if number == 1 { "write" } else { "" };
                    let _ = doc.come(number, &format!("s{}", number - 1), granted);
                    let seq = doc.state.last_seq(&session(number)).next();
                    let base = doc.state.head().0;
                    doc.submit(number.into(), seq.0, base, insert(0, "x"));
                }
                Step::Accept if doc.handed.is_empty() => {}
                Step::Accept => doc.accept(),
                Step::Claim { found } => {
                    epoch += 1;
                    doc.claim(found, epoch);
                }
            }
        }
        doc.accept_all();
        doc.check_replay();
        doc.check_writers();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(doc.check_checkpoint());
    }
}

impl Fixture {
    fn claim(&mut self, found: bool, epoch: u64) {
        if found && !self.handed.is_empty() {
            let record = self.handed.remove(0);
            let offset = Offset(self.accepted.len() as u64 + 1);
            self.state.recovered(offset, &record, &mut self.effects);
            self.accepted.push(record);
        }
        self.handed.clear();
        self.state.reclaimed(Epoch(epoch), doc_time(), &mut self.effects);
        self.carry_out();
    }

    /// Checks each batch in the log against the access that the records before it make.
    fn check_writers(&self) {
        let mut before = State::new("doc".parse().unwrap(), Arc::new(Config::default()));
        for (offset, record) in (1..).zip(&self.accepted) {
            if let Record::Frame(frame) = record {
                for entry in &frame.entries {
                    let number = entry.session.0[0];
                    let granted = if number == 1 { "write" } else { "" };
                    let asker = asker(&format!("s{}", number - 1), granted);
                    assert_eq!(before.access().check(&asker, Right::Write), Ok(()), "{record:?}");
                }
            }
            before.replay(Offset(offset), record, 1).unwrap();
        }
    }

    async fn check_checkpoint(&mut self) {
        let store = Memory::new();
        let (log, doc) = (LogId(1), "doc".parse().unwrap());
        self.state.begin_save(log, doc_time()).run(&store, &Encoders::new(2)).await.unwrap();
        let loaded = load(&store, &doc, log).await.unwrap().expect("it was saved");
        let again = State::restore(&loaded.snapshot, Arc::new(Config::default())).unwrap();
        assert_eq!(again.access(), self.state.access());
        assert_eq!(again.access_ordered, self.state.access_ordered);
        assert_eq!(self.state.access(), &self.state.access_ordered, "nothing is open");
    }
}

#[test]
fn a_seq_of_a_session_is_nobodys_right() {
    // The session is known; who asks is somebody else.
    let mut doc = Fixture::of_olga();
    assert_eq!(doc.come(1, "eve", ""), Err(denied(Right::Read)));
    assert_eq!(doc.closed(), [], "the session's own connection stays");
    doc.submit(1, 2, 1, insert(0, "y"));
    doc.accept_all();
    assert_eq!(doc.state.last_seq(&session(1)), Seq(2));
}
