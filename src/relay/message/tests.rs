//! Messages byte by byte.

use std::sync::Arc;

use super::*;
use crate::testing::hex;

#[test]
fn what_is_encoded_once_for_all_links_is_the_message_of_each() {
    let op = Operation::builder().retain(300).insert("é😀").delete(2).build();
    let change = doc::Change {
        rev: Revision(300),
        session: SessionId([9; 16]),
        seq: Seq(2),
        author: Author::anonymous(),
        base: Revision(299),
        op,
        via: Some(ConnId(7)),
        surprising: true,
    };
    let changes = vec![Arc::new(change)];
    for sub in [0, 1, 127, 128, u64::MAX] {
        let shared_parts = [changed_head(sub), shared(&rows(&changes))].concat();
        let told = Told::Changed { sub, rows: rows(&changes) };
        assert_eq!(shared_parts, encode(0, &told));
        let people = || People { rev: Revision(1), count: 0, list: Vec::new() };
        let shared_parts = [presence_head(sub), shared(&people())].concat();
        assert_eq!(shared_parts, encode(0, &Told::Presence { sub, people: people() }));
    }
    let back: Vec<_> = rows(&changes).into_iter().map(doc::Change::from).collect();
    assert_eq!(back, [(*changes[0]).clone()]);
}

#[test]
fn operations_that_are_none_are_refused() {
    let submit = |parts: &[u8]| {
        // No call, a batch, its subscription, connection, number and base.
        let bytes = [&[0, 5, 1, 1, 1, 0], parts].concat();
        decode::<Ask>(&bytes).map(|(_, ask)| ask)
    };
    let op = Op(Operation::builder().retain(1).insert("a").build());
    let (sub, conn, seq, base) = (1, 1, Seq(1), Revision(0));
    let fits = Ask::Submit { sub, conn, seq, base, op };
    assert_eq!(submit(&[2, 0, 1, 1, 1, b'a']), Ok(fits));
    for bad in [
        &[1, 0, 0][..],
        &[1, 2, 0],
        &[1, 1, 0],
        &[1, 3, 1],
        &[1, 1, 1, 0xff],
        &[2, 0, 0xff, 0xff, 0xff, 0xff, 15, 2, 1],
        &[0xff, 0xff, 0xff, 0xff, 15],
    ] {
        assert!(matches!(submit(bad), Err(DecodeError::Body(_))), "{bad:?}");
    }
}

#[test]
fn every_refusal_survives_the_way() {
    let retry = Duration::from_millis(200);
    let text = || "why".to_owned();
    let rev = Revision;
    for refusal in [
        Refusal::BadOp { detail: text() },
        Refusal::BadBase { base: rev(1), oldest: rev(2), head: rev(3) },
        Refusal::Pipelined { pending: Seq(4) },
        Refusal::Gap { expected: Seq(5) },
        Refusal::TooLarge { chars: 6, limit: 7 },
        Refusal::TooLong { bytes: 8, limit: 9 },
        Refusal::TooManyVersions { limit: 10 },
        Refusal::Internal { reason: text() },
        Refusal::ReadOnly,
        Refusal::NoDocument,
        Refusal::Replaced,
        Refusal::Quarantined { reason: text() },
        Refusal::Full { retry },
        Refusal::Moved,
        Refusal::Unavailable { reason: text(), retry },
        Refusal::Occupied { by: 11 },
        Refusal::Exists,
        Refusal::TooManyMembers(TooManyMembers),
        Refusal::Denied(Denied::Unknown(access::Right::Read)),
        Refusal::Denied(Denied::Unknown(access::Right::Write)),
        Refusal::Denied(Denied::Forbidden(access::Right::History)),
        Refusal::Denied(Denied::Forbidden(access::Right::Admin)),
    ] {
        assert_eq!(Refusal::from(Denial::from(&refusal)), refusal);
    }
}

fn row() -> Row {
    let op = Op(Operation::builder().retain(3).insert("é").delete(2).build());
    let (session, seq, base, via) = (SessionId([5; 16]), Seq(2), Revision(7), Some(4));
    Row { rev: Revision(8), session, seq, base, via, surprising: false, op }
}

fn asks() -> Vec<Ask> {
    let (sub, conn) = (1, 300);
    let client = Client {
        session: SessionId([5; 16]),
        socket: 6,
        replaces: Some(5),
        subject: "ada@x".parse().ok(),
        granted: access::Right::Write.into(),
        rev: Some(Revision(7)),
        mode: Access::View,
        ordered: true,
        user: Some(("Ada".to_owned(), "#0066cc".to_owned())),
        author: "ada".parse().unwrap(),
    };
    let body = Blob("{}".into());
    let (method, target) = ("PUT".to_owned(), "/v1/docs/a".to_owned());
    let content_type = Some("text/plain".to_owned());
    let who =
        Who { subject: "ada@x".parse().ok(), granted: Rights::ALL, name: client.author.clone() };
    let (doc, from, mode) = ("a".parse().unwrap(), Some(Revision(7)), Access::View);
    let headers = vec![("if-match".to_owned(), "\"rev-7\"".to_owned())];
    vec![
        Ask::Ping,
        Ask::Subscribe { sub, doc: "a".parse().unwrap(), from: Some(Revision(7)) },
        Ask::Unsubscribe { sub },
        Ask::Attach { sub, client },
        Ask::Detach { sub, conn },
        Ask::Submit { sub, conn, seq: Seq(2), base: Revision(7), op: row().op },
        Ask::Place { sub, carets: vec![Caret { conn, rev: Revision(7), sel: Some((1, 2)) }] },
        Ask::Missed { sub, from: Revision(7) },
        Ask::Request(Request { method, target, content_type, headers, who: who.clone(), body }),
        Ask::Warm { shard: ShardId(3) },
        Ask::Released { shard: ShardId(3), offset: Offset(900) },
        Ask::Follow { sub, doc, from, who, mode },
    ]
}

fn tolds() -> Vec<Told> {
    let (sub, conn, head, seq) = (1, 300, Revision(7), Seq(2));
    let (you, second) = (ParticipantId(9), Duration::from_secs(1));
    let user = Some(("Ada".to_owned(), "#0066cc".to_owned()));
    let person = Person { id: you, user, sel: Some((1, 2)), gone: false };
    let people = People { rev: head, count: 4, list: vec![person] };
    let content_type = Some("text/plain".to_owned());
    let headers = vec![("etag".to_owned(), "\"rev-7\"".to_owned())];
    let alone = |what| Told::Alone { sub, conn, what };
    let refused = |denial| alone(Alone::Refused { seq, denial });
    vec![
        Told::Pong,
        Told::Unknown,
        Told::Subscribed { head, content: Content::Text("text".to_owned()) },
        Told::Subscribed { head, content: Content::Changes(vec![row()]) },
        Told::Attached { conn, head, seq, mode: Access::Edit, you },
        Told::Missed(Some(vec![row()])),
        Told::Response(Response { status: 404, content_type, headers, body: Blob("no".into()) }),
        Told::Done,
        Told::Denied("busy".to_owned()),
        Told::Changed { sub, rows: vec![row()] },
        Told::Presence { sub, people },
        alone(Alone::Ordered { seq, rev: head }),
        alone(Alone::Repeated { seq, rev: head }),
        alone(Alone::Closed(Denial::Moved)),
        Told::Closed { sub, denial: Denial::Occupied(6) },
        Told::Refused(Denial::Unavailable("busy".to_owned(), second)),
        refused(Denial::BadOp("long".to_owned())),
        refused(Denial::BadBase { base: Revision(9), oldest: Revision(1), head }),
        refused(Denial::Pipelined(seq)),
        refused(Denial::Gap(seq)),
        refused(Denial::TooLarge { chars: 300, limit: 200 }),
        refused(Denial::TooLong { bytes: 300, limit: 200 }),
        refused(Denial::TooManyVersions(300)),
        refused(Denial::Internal("why".to_owned())),
        refused(Denial::ReadOnly),
        refused(Denial::NoDocument),
        refused(Denial::Replaced),
        refused(Denial::Quarantined("why".to_owned())),
        refused(Denial::Full(second)),
        refused(Denial::TooManyMembers),
        alone(Alone::Closed(Denial::Denied { known: true, right: Right::Read })),
        alone(Alone::Closed(Denial::Denied { known: false, right: Right::Admin })),
    ]
}

/// Returns the bytes of each, which survive the round trip.
fn all<M: Message + PartialEq + fmt::Debug>(messages: Vec<M>) -> Vec<String> {
    let bytes = messages.into_iter().map(|message| {
        let bytes = encode(2, &message);
        assert_eq!(decode(&bytes), Ok((2, message)));
        hex(&bytes)
    });
    bytes.collect()
}

/// Nodes of two versions of the program speak to each other while one replaces the other.
#[test]
fn bytes_of_every_kind_stay_as_they_are() {
    let hello = Hello { cluster: 7, node: NodeId("a".parse().unwrap()), boot: 3, speaks: (1, 2) };
    assert_eq!(hex(&hello.encode()), "7175697265007032070161030102");
    assert_eq!(
        all(asks()),
        [
            "0200",
            "02010101610107",
            "020201",
            concat!(
                "02030105050505050505050505050505050505060105010561646140780301",
                "0701010103416461072330303636636303616461"
            ),
            "020401ac02",
            "020501ac0202070300030102c3a90202",
            "02060101ac0207010102",
            "02070107",
            concat!(
                "0208035055540a2f76312f646f63732f61010a746578742f706c61696e",
                "010869662d6d6174636807227265762d3722",
                "010561646140780f03616461027b7d"
            ),
            "020903",
            "020a038407",
            "020b0101610107010561646140780f0361646101",
        ]
    );
    assert_eq!(
        all(tolds()),
        [
            "0200",
            "0201",
            "020207000474657874",
            "0202070101080505050505050505050505050505050502070104000300030102c3a90202",
            "0203ac0207020009",
            "02050101080505050505050505050505050505050502070104000300030102c3a90202",
            "02069403010a746578742f706c61696e01046574616707227265762d3722026e6f",
            "0207",
            "02080462757379",
            "02090101080505050505050505050505050505050502070104000300030102c3a90202",
            "020a01070401090103416461072330303636636301010200",
            "020b01ac02000207",
            "020b01ac02010207",
            "020b01ac02030d",
            "020c010f06",
            "02040e04627573790100",
            "020b01ac02020200046c6f6e67",
            "020b01ac02020201090107",
            "020b01ac0202020202",
            "020b01ac0202020302",
            "020b01ac02020204ac02c801",
            "020b01ac02020205ac02c801",
            "020b01ac02020206ac02",
            "020b01ac0202020703776879",
            "020b01ac02020208",
            "020b01ac02020209",
            "020b01ac0202020a",
            "020b01ac0202020b03776879",
            "020b01ac0202020c0100",
            "020b01ac02020210",
            "020b01ac0203110100",
            "020b01ac0203110003"
        ]
    );
}
