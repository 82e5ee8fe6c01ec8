//! Bytes of a peer that anything may have made: they decode or are refused, never more.

use std::fmt::Debug;
use std::time::Duration;

use bytes::Bytes;
use quire::access::{Rights, Subject};
use quire::relay::{
    Access, Alone, Ask, Blob, Caret, Client, Content, DecodeError, Denial, Hello, Message, Op,
    People, Person, Request, Response, Row, Told, Who, decode, encode,
};
use quire::testing::random_operation;
use quire::types::{
    Author, DocId, NodeId, Offset, ParticipantId, Revision, Seq, SessionId, ShardId,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::record::{RUNS, mutate, runs};

/// Draws a number of any length in bits.
fn number(rng: &mut impl Rng) -> u64 {
    rng.random::<u64>() >> rng.random_range(0..64)
}

fn text(rng: &mut impl Rng) -> String {
    (0..rng.random_range(0..20)).map(|_| rng.random::<char>()).collect()
}

fn op(rng: &mut impl Rng) -> Op {
    Op(random_operation(rng))
}

fn rows(rng: &mut impl Rng) -> Vec<Row> {
    let row = |rng: &mut _| Row {
        rev: Revision(number(rng)),
        session: SessionId([7; 16]),
        seq: Seq(number(rng)),
        base: Revision(number(rng)),
        via: (number(rng) > 9).then_some(3),
        surprising: number(rng) > 9,
        op: op(rng),
    };
    (0..rng.random_range(0..4)).map(|_| row(rng)).collect()
}

/// Returns one of every kind, in the order of kinds.
fn asks(rng: &mut impl Rng) -> Vec<Ask> {
    let doc: DocId = "notes.md".parse().expect("a valid id");
    let (sub, conn, seq, rev) = (number(rng), number(rng), Seq(number(rng)), Revision(number(rng)));
    let author: Author = "Ünal 😀".parse().expect("a valid name");
    let user = Some((text(rng), "#0066cc".to_owned()));
    let (session, mode) = (SessionId(rng.random()), Access::View);
    let (socket, from) = (number(rng), Some(rev));
    let replaces = (number(rng) > 9).then_some(socket);
    let subject: Option<Subject> = "ada@example.org".parse().ok();
    let granted = Rights::from_bits(rng.random_range(0..16)).expect("four rights");
    let who = Who { subject: subject.clone(), granted, name: author.clone() };
    let client = Client {
        session,
        socket,
        replaces,
        subject,
        granted,
        rev: from,
        mode,
        ordered: true,
        user,
        author,
    };
    let followed = doc.clone();
    let body = Blob(Bytes::from(text(rng)));
    let (method, target) = ("PUT".to_owned(), text(rng));
    let (content_type, headers) = (Some(text(rng)), vec![(text(rng), text(rng))]);
    vec![
        Ask::Ping,
        Ask::Subscribe { sub, doc, from },
        Ask::Unsubscribe { sub },
        Ask::Attach { sub, client },
        Ask::Detach { sub, conn },
        Ask::Submit { sub, conn, seq, base: rev, op: op(rng) },
        Ask::Place {
            sub,
            carets: vec![Caret { conn, rev, sel: Some((number(rng), number(rng))) }],
        },
        Ask::Missed { sub, from: rev },
        Ask::Request(Request { method, target, content_type, headers, who: who.clone(), body }),
        Ask::Warm { shard: ShardId(7) },
        Ask::Released { shard: ShardId(7), offset: Offset(number(rng)) },
        Ask::Follow { sub, doc: followed, from, who, mode: Access::View },
    ]
}

/// Returns one of every kind, in the order of kinds.
fn tolds(rng: &mut impl Rng) -> Vec<Told> {
    let (sub, conn, seq, head) =
        (number(rng), number(rng), Seq(number(rng)), Revision(number(rng)));
    let (mode, you) = (Access::Edit, ParticipantId(9));
    let person = Person { id: you, user: None, sel: Some((1, number(rng))), gone: true };
    let people = People { rev: head, count: number(rng), list: vec![person] };
    let denial = || Denial::Unavailable("busy".to_owned(), Duration::from_millis(200));
    let body = Blob(Bytes::from(text(rng)));
    let headers = vec![(text(rng), text(rng))];
    vec![
        Told::Pong,
        Told::Unknown,
        Told::Subscribed { head, content: Content::Text(text(rng)) },
        Told::Attached { conn, head, seq, mode, you },
        Told::Refused(denial()),
        Told::Missed(Some(rows(rng))),
        Told::Response(Response { status: 200, content_type: None, headers, body }),
        Told::Done,
        Told::Denied(text(rng)),
        Told::Changed { sub, rows: rows(rng) },
        Told::Presence { sub, people },
        Told::Alone { sub, conn, what: Alone::Refused { seq, denial: denial() } },
        Told::Closed { sub, denial: Denial::Moved },
    ]
}

/// Decodes the bytes; what comes out survives the round trip.
fn check<M: Message + PartialEq + Debug>(bytes: &[u8], seed: u64) -> bool {
    let Ok((call, message)) = decode::<M>(bytes) else { return false };
    assert_eq!(decode(&encode(call, &message)), Ok((call, message)), "seed {seed}");
    true
}

/// Round trips one of every kind, and decodes what is made of their bytes; returns how many of
/// those decoded, and how many did not.
fn mutated<M: Message + PartialEq + Debug>(
    messages: &[M],
    rng: &mut impl Rng,
    seed: u64,
) -> (u64, u64) {
    let (mut decoded, mut refused) = (0, 0);
    for message in messages {
        let call = number(rng);
        let mut bytes = encode(call, message).to_vec();
        assert_eq!(decode(&bytes).as_ref().map(|(_, one)| one), Ok(message), "seed {seed}");
        mutate(&mut bytes, rng);
        if check::<M>(&bytes, seed) {
            decoded += 1;
        } else {
            refused += 1;
        }
    }
    (decoded, refused)
}

#[test]
fn damaged_messages_are_refused_or_decode() {
    let mut sums = (0, 0);
    for seed in 0..runs() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (asks, tolds) = (asks(&mut rng), tolds(&mut rng));
        for found in [mutated(&asks, &mut rng, seed), mutated(&tolds, &mut rng, seed)] {
            sums = (sums.0 + found.0, sums.1 + found.1);
        }
        let mut noise = vec![0; rng.random_range(0..100)];
        rng.fill_bytes(&mut noise);
        check::<Ask>(&noise, seed);
        check::<Told>(&noise, seed);
    }
    let enough = sums.0 > 0 && sums.1 > 0;
    assert!(enough || runs() < RUNS, "the mutations are neither too weak nor too strong");
}

#[test]
fn kinds_are_numbered_in_order_and_the_next_one_is_unknown() {
    fn check<M: Message + PartialEq + Debug>(messages: &[M]) {
        for (kind, message) in messages.iter().enumerate() {
            assert_eq!(usize::from(encode(0, message)[1]), kind);
        }
        assert_eq!(usize::from(M::KINDS), messages.len());
        let next = decode::<M>(&[5, M::KINDS]);
        assert_eq!(next, Err(DecodeError::Unknown { call: 5, kind: M::KINDS }));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    check(&asks(&mut rng));
    check(&tolds(&mut rng));
}

#[test]
fn greetings_decode_or_are_refused() {
    let node = NodeId("node-1".parse().expect("a valid id"));
    let hello = Hello { cluster: u128::MAX, node, boot: u64::MAX, speaks: (1, 9) };
    let bytes = hello.encode();
    assert_eq!(Hello::decode(&bytes), Ok(hello.clone()));
    let more = [&*bytes, b"of a newer version"].concat();
    assert_eq!(Hello::decode(&more), Ok(hello));
    for at in 0..bytes.len() {
        assert!(Hello::decode(&bytes[..at]).is_err(), "{at}");
    }
    for seed in 0..runs() {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut bytes = bytes.to_vec();
        mutate(&mut bytes, &mut rng);
        if let Ok(hello) = Hello::decode(&bytes) {
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello), "seed {seed}");
        }
    }
}
