//! What operators may write, and what they are told otherwise.

use super::*;
use crate::auth::Policy;

fn now() -> Now {
    let (limits, at, policy) = (Limits::default(), Timestamp(1_000), Policy::default());
    let (issued, expired) = (policy.issued_until(at), policy.good_until(at));
    Now { shards: 16, limits, at, issued, expired }
}

fn check(ask: Ask, expected: Result<Order, &str>) {
    let read = order(&ask, now()).map_err(|refused| refused.to_string());
    match expected {
        Ok(order) => assert_eq!(read, Ok(order), "{ask:?}"),
        Err(part) => {
            let told = read.expect_err("it is refused");
            assert!(told.contains(part), "{ask:?}: {told}");
        }
    }
}

fn name(text: &str) -> NodeId {
    NodeId(text.parse().unwrap())
}

#[test]
fn numbers_are_shards_and_everything_else_is_a_document() {
    let doc = |text: &str| {
        let doc: DocId = text.parse().unwrap();
        Target { shard: doc.shard(16), doc: Some(doc) }
    };
    for (text, expected) in [
        ("7", Target { shard: ShardId(7), doc: None }),
        ("007", Target { shard: ShardId(7), doc: None }),
        ("notes", doc("notes")),
        ("7a", doc("7a")),
        ("doc:7", doc("7")),
        ("doc:notes", doc("notes")),
    ] {
        assert_eq!(target(text, 16), Ok(expected), "{text}");
    }
    for text in ["", "doc:", "a b", "a/b", "99999999999999999999", &"x".repeat(200)] {
        let refused = Refused::BadTarget { text: text.to_owned() };
        assert_eq!(target(text, 16), Err(refused), "{text}");
    }
}

#[test]
fn orders_are_read_with_their_shards_and_nodes() {
    let text = |text: &str| text.to_owned();
    let (shard, node) = (ShardId(3), name("b"));
    let drained = Timestamp(6_000);
    check(
        Ask::Move { what: text("3"), to: text("b") },
        Ok(Order::Move { shard, to: node.clone() }),
    );
    check(
        Ask::Pin { what: text("3"), node: text("b") },
        Ok(Order::Pin { shard, node: node.clone() }),
    );
    check(Ask::Unpin { what: text("3") }, Ok(Order::Unpin { shard }));
    check(
        Ask::Drain { node: text("b"), within_ms: Some(5_000) },
        Ok(Order::Drain { node: node.clone(), deadline: Some(drained) }),
    );
    check(
        Ask::Drain { node: text("b"), within_ms: Some(u64::MAX) },
        Ok(Order::Drain { node: node.clone(), deadline: Some(Timestamp(u64::MAX)) }),
    );
    check(
        Ask::Limits { per_node: None, cluster: Some(1) },
        Ok(Order::Limits(Limits { per_node: 2, cluster: 1 })),
    );
    check(Ask::Move { what: text("a b"), to: text("b") }, Err("is neither a shard nor"));
    check(Ask::Move { what: text("3"), to: text("") }, Err("is no name of a node"));
    check(Ask::Pin { what: text("3"), node: text("b c") }, Err("is no name of a node"));
    check(Ask::Unpin { what: text("") }, Err("is neither a shard nor"));
    check(Ask::Weight { node: text("/"), weight: 3 }, Err("is no name of a node"));
    check(Ask::Drain { node: text("/"), within_ms: None }, Err("is no name of a node"));
    check(Ask::Undrain { node: text("/") }, Err("is no name of a node"));
}

#[test]
fn what_is_revoked_lasts_as_long_as_what_it_stops() {
    let text = |text: &str| text.to_owned();
    let time = |text: &str| Some(text.to_owned());
    let of = |subject: &str, issued| Token::Subject {
        subject: subject.parse().unwrap(),
        issued: Timestamp(issued),
    };
    let id = Token::Id("j1".parse().unwrap());
    // 31 days, and 30 s on each end.
    let longest = Timestamp(1_000 + 31 * 86_400_000 + 60_000);
    let until = longest;
    check(
        Ask::RevokeToken { jti: text("j1"), until: None },
        Ok(Order::Revoke { token: id.clone(), until }),
    );
    let until = time("1970-01-02T00:00:00Z");
    check(
        Ask::RevokeToken { jti: text("j1"), until: until.clone() },
        Ok(Order::Revoke { token: id, until: Timestamp(86_400_000) }),
    );
    let subject = |subject: &str, issued_up_to, until| Ask::RevokeSubject {
        subject: subject.to_owned(),
        issued_up_to,
        until,
    };
    let long = "s".repeat(255);
    // Whose clock is ahead has issued tokens that seem to be from later on, and are taken.
    check(
        subject(&long, None, None),
        Ok(Order::Revoke { token: of(&long, 31_000), until: longest }),
    );
    check(
        subject("s", time("1970-01-01T00:00:09.5+00:00"), until),
        Ok(Order::Revoke { token: of("s", 9_500), until: Timestamp(86_400_000) }),
    );
    check(subject(&"s".repeat(256), None, None), Err("1 to 255 visible ASCII"));
    check(subject("a b", None, None), Err("1 to 255 visible ASCII"));
    check(Ask::RevokeToken { jti: text(""), until: None }, Err("1 to 128 visible ASCII"));
    check(subject("s", time("tomorrow"), None), Err("\"tomorrow\" is no time"));
    check(subject("s", None, time("1969-12-31T00:00:00Z")), Err("is no time"));
    check(subject("s", None, time("1971-02-06T00:00:00Z")), Err("for longer than 400 days"));
}

#[test]
fn who_and_why_must_fit_a_record() {
    let given = |by: &str, why: &str| Given {
        by: by.to_owned(),
        why: why.to_owned(),
        expected: Some(9),
        ask: Ask::Pause,
    };
    let read = command(&given("ada", "the disk is full"), now()).unwrap();
    assert_eq!((read.expected, read.order), (Some(Offset(9)), Order::Pause));
    assert_eq!((read.by.name.as_str(), read.by.at), ("ada", Timestamp(1_000)));
    for (by, why) in [
        ("", ""),
        (" ", ""),
        ("a\u{1b}", ""),
        (&"x".repeat(65), ""),
        ("ada", &"x".repeat(201)),
        ("ada", "a\nb"),
    ] {
        let refused = command(&given(by, why), now()).unwrap_err();
        assert!(matches!(refused, Refused::BadText { .. }), "{refused}");
    }
}

#[test]
fn every_refusal_has_a_reason_and_a_next_step() {
    use crate::cluster::{Refusal, Void};
    let (node, shard) = (name("a"), ShardId(99));
    let voids = [
        Void::UnknownNode { node: node.clone() },
        Void::UnknownShard { shard, shards: 16 },
        Void::NodeDown { node: node.clone() },
        Void::NodeDraining { node: node.clone() },
        Void::NotDraining { node: node.clone() },
        Void::LastNode { node: node.clone() },
        Void::Pinned { shard, node: node.clone() },
        Void::NotPinned { shard },
        Void::AlreadyThere { shard, node },
        Void::WeightRange { weight: 0 },
        Void::LimitsRange { per_node: 0, cluster: 0 },
        Void::Stale { changed_at: Offset(7) },
        Void::TooManyRevoked { count: 9 },
    ];
    let doc: DocId = "notes".parse().unwrap();
    let own = [
        Refused::BadRequest { what: "x".to_owned() },
        Refused::BadNode { text: "/".to_owned() },
        Refused::BadTarget { text: "/".to_owned() },
        Refused::BadText { which: "reason", max: 200 },
        Refused::UnknownDocument { doc: doc.clone(), shard },
        Refused::UncheckedDocument { doc, shard },
        Refused::Suspended,
        Refused::NotKnown(crate::admin::error::LATE.to_owned()),
        Refused::Alone,
        bad("".parse::<Subject>().unwrap_err()),
        Refused::BadTime { text: "x".to_owned() },
        Refused::TooLasting { days: 400 },
        Refused::BadPart { max: 1_000 },
        Refused::NotKept { reason: "x".to_owned() },
        Refused::Browser,
        Refused::Host,
        Refused::NoAddress,
    ];
    let all = voids.into_iter().map(|void| Refused::from(Refusal::from(void))).chain(own);
    for refused in all {
        let (reason, next) = refused.parts();
        assert!(!reason.is_empty() && !next.is_empty(), "{refused}");
        assert!(refused.status().as_u16() >= 400, "{refused}");
    }
}
