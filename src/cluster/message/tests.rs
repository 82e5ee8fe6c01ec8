//! The bytes of every kind of record, kept for ever, and what is refused.

use proptest::prelude::*;

use super::*;
use crate::cluster::testing::{self, node, text};
use crate::testing::hex;

fn sealed(version: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&[version], body].concat();
    let crc = crc32fast::hash(&bytes);
    bytes.extend(crc.to_le_bytes());
    bytes
}

fn join() -> Record {
    Record::Join(Join {
        node: node("a"),
        boot: 300,
        replaces: Some(2),
        addresses: Addresses { client: text("c:1"), peer: text("p:2"), admin: text("d:3") },
        weight: 10,
        version: Version { software: text("0.2.0"), speaks: (1, 2), rules: (1, 1) },
        at: Timestamp(5),
    })
}

fn joining_within() -> Record {
    let Record::Join(mut join) = join() else { panic!("it is a join") };
    join.version.rules = (2, 3);
    Record::Join(join)
}

fn command(order: Order) -> Record {
    let by = Operator { name: text("ann"), why: text("test"), at: Timestamp(9) };
    Record::Command(Command { by, expected: Some(Offset(4)), order })
}

fn every_kind() -> Vec<(Record, &'static str)> {
    let (shard, at) = (ShardId(3), Timestamp(5));
    let (a, b) = (node("a"), node("b"));
    let shards = vec![(ShardId(3), Epoch(200)), (ShardId(4), Epoch(0))];
    let ended =
        |outcome| Record::MoveEnded(MoveEnded { shard, from: node("a"), from_boot: 1, outcome });
    let beat = Heartbeat { node: node("a"), boot: 1, ack_p99_ms: 7, sessions: 300, documents: 2 };
    let begun = MoveBegun { shard, from: node("a"), from_boot: 1, to: node("b"), at };
    let revoke = |token| command(Order::Revoke { token, until: Timestamp(99) });
    vec![
        (
            Record::Founded(Founded { cluster: u128::MAX - 1, shards: 256, at }),
            "0100feffffffffffffffffffffffffffffffffff03800205f8eab357",
        ),
        (join(), "01010161ac02010203633a3103703a3203643a330a05302e322e3001020105ff2fad7f"),
        (
            joining_within(),
            "020b0161ac02010203633a3103703a3203643a330a05302e322e300102030502f8871ab1",
        ),
        (Record::Heartbeat(beat), "010201610107ac02027866657a"),
        (
            Record::Down(Down { node: a.clone(), boot: 1, by: b.clone(), by_boot: 2 }),
            "0103016101016202692dd5f7",
        ),
        (Record::Leave(Leave { node: a.clone(), boot: 1 }), "0104016101bd49037e"),
        (
            Record::Owned(Owned { node: a.clone(), boot: 1, shards: shards.clone() }),
            "01050161010203c8010400bba8523d",
        ),
        (
            Record::Disowned(Disowned { node: a.clone(), boot: 1, shards }),
            "01060161010203c8010400b81365d6",
        ),
        (Record::MoveBegun(begun), "010703016101016205c96e8e3b"),
        (ended(Outcome::Done), "0108030161010044db5a78"),
        (ended(Outcome::Undone(text("slow"))), "0108030161010104736c6f7730b45636"),
        (
            command(Order::Weight { node: a.clone(), weight: 20 }),
            "010903616e6e04746573740901040001611495ba1cdf",
        ),
        (
            command(Order::Pin { shard, node: a.clone() }),
            "010903616e6e0474657374090104010301618ae7b621",
        ),
        (command(Order::Unpin { shard }), "010903616e6e047465737409010402036e6e6230"),
        (
            command(Order::Drain { node: a.clone(), deadline: Some(at) }),
            "010903616e6e04746573740901040301610105b7fcc752",
        ),
        (command(Order::Undrain { node: a }), "010903616e6e0474657374090104040161428e3674"),
        (
            command(Order::Limits(Limits { per_node: 2, cluster: 20 })),
            "010903616e6e04746573740901040502140532b67e",
        ),
        (command(Order::Pause), "010903616e6e047465737409010406d33396df"),
        (command(Order::Resume), "010903616e6e047465737409010407450391a8"),
        (command(Order::Move { shard, to: b }), "010903616e6e047465737409010408030162baf9b7c5"),
        (command(Order::Guard { on: true }), "010903616e6e0474657374090104090189d6983d"),
        (revoke(Token::Id(text("j"))), "010903616e6e04746573740901040a00016a638244648d"),
        (
            revoke(Token::Subject { subject: text("s"), issued: Timestamp(98) }),
            "010903616e6e04746573740901040a010173626329d90e32",
        ),
        (
            Record::Snapshot(Snapshot { at: Offset(7), state: Bytes::from_static(&[1, 2]) }),
            "010a070201021dd66859",
        ),
    ]
}

#[test]
fn bytes_of_every_kind_stay_as_they_are() {
    let (mut found, mut kept) = (Vec::new(), Vec::new());
    for (record, golden) in every_kind() {
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Ok(record));
        found.push(hex(&bytes));
        kept.push(golden.to_owned());
    }
    assert_eq!(found, kept);
}

#[test]
fn any_change_of_a_byte_is_noticed() {
    for (record, _) in every_kind() {
        let bytes = record.encode();
        for at in 0..bytes.len() {
            let mut torn = bytes.to_vec();
            torn[at] ^= 0x40;
            assert_eq!(Record::decode(&torn), Err(DecodeError::Checksum), "{record:?} at {at}");
            let short = DecodeError::Length { bytes: at };
            let cut = if at < 5 { short } else { DecodeError::Checksum };
            assert_eq!(Record::decode(&bytes[..at]), Err(cut), "{record:?}");
        }
    }
}

#[test]
fn bad_bodies_are_refused_even_with_a_good_checksum() {
    let check = |bytes: &[u8], error: DecodeError| {
        assert_eq!(Record::decode(bytes), Err(error), "{}", hex(bytes));
    };
    let end = DecodeError::Body(postcard::Error::DeserializeUnexpectedEnd);
    assert!(Record::decode(&sealed(1, &[4, 1, b'a', 1])).is_ok());
    for found in [0, VERSION + 1] {
        check(&sealed(found, &[4, 1, b'a', 1]), DecodeError::Version { found });
    }
    check(&sealed(2, &[4, 1, b'a', 1]), DecodeError::Kind { found: 2 });
    check(&sealed(1, &[4, 1, b'a', 1, 0]), DecodeError::Trailing { bytes: 1 });
    check(&sealed(1, &[4, 1, b'a']), end.clone());
    check(&sealed(1, &[4, 1, b'/', 1]), DecodeError::Node(BadDocId));
    check(&sealed(1, &[99]), DecodeError::Body(postcard::Error::SerdeDeCustom));
    check(&sealed(1, &[10, 1, 200, 1]), end);
    check(&vec![0; RECORD_BYTES_MAX + 1], DecodeError::Length { bytes: RECORD_BYTES_MAX + 1 });
    let pause = |name: &[u8]| {
        let length = u8::try_from(name.len()).unwrap();
        sealed(1, &[&[9, length], name, &[0, 5, 0, 6]].concat())
    };
    assert!(Record::decode(&pause(&[b'x'; 64])).is_ok());
    check(&pause(&[b'x'; 65]), DecodeError::Text(BadText { bytes_max: 64 }));
    check(&pause(b"\x1b[2J"), DecodeError::Text(BadText { bytes_max: 64 }));
}

#[test]
fn lists_have_a_bound() {
    let owned = |count: u16| {
        let mut body = vec![5, 1, b'a', 1, u8::try_from(count & 127).unwrap() | 128];
        body.push(u8::try_from(count >> 7).unwrap());
        body.extend((0..count).flat_map(|_| [1, 1]));
        Record::decode(&sealed(1, &body))
    };
    assert!(owned(8_192).is_ok());
    assert_eq!(owned(8_193), Err(DecodeError::TooMany { count: 8_193 }));
}

proptest! {
    #[test]
    fn records_survive_the_round_trip(record in testing::record()) {
        prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn garbage_never_panics(
        version in 1..=VERSION,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(record) = Record::decode(&sealed(version, &body)) {
            prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
        }
    }
}
