//! Arbitrary messages come back as they were, in both encodings.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::samples::op;
use crate::text::{Component, Operation};
use crate::types::{ParticipantId, Revision, Seq, SessionId};
use crate::wire::*;

const CODECS: [Codec; 2] = [Codec::Json, Codec::Binary];

fn operation() -> impl Strategy<Value = Operation> {
    let component = prop_oneof![
        (1..100_000_000u32).prop_map(Component::Retain),
        "\\PC{1,30}|[\\x00-\\x7f\u{2028}\u{1f600}\u{10ffff}]{1,8}"
            .prop_map(|text| Component::Insert(text.into())),
        (1..100_000_000u32).prop_map(Component::Delete),
    ];
    vec(component, 0..12).prop_map(|components| op(&components))
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300u64, 0..=NUMBER_MAX, Just(NUMBER_MAX)]
}

fn rev() -> impl Strategy<Value = Revision> {
    number().prop_map(Revision)
}

fn seq() -> impl Strategy<Value = Seq> {
    number().prop_map(|n| Seq(n.max(1)))
}

fn selection() -> impl Strategy<Value = Selection> {
    (number(), number()).prop_map(|(anchor, head)| Selection { anchor, head })
}

fn user() -> impl Strategy<Value = User> {
    let name = "[^\\p{Cc}]{0,16}";
    (name, any::<[u8; 3]>())
        .prop_map(|(name, color)| User { name: name.parse().unwrap(), color: Color(color) })
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Edit), Just(Mode::View)]
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    let hello = (any::<[u8; 16]>(), option::of(rev()), mode(), any::<bool>(), option::of(user()))
        .prop_map(|(session, rev, mode, ordered, user)| {
            let session = SessionId(session);
            ClientMessage::Hello(Hello { v: VERSION, session, rev, mode, ordered, user })
        });
    prop_oneof![
        hello,
        (seq(), rev(), operation()).prop_map(|(seq, base, op)| ClientMessage::Op { seq, base, op }),
        (rev(), option::of(selection())).prop_map(|(rev, sel)| ClientMessage::Cursor { rev, sel }),
        number().prop_map(|n| ClientMessage::Ping { n }),
    ]
}

fn author() -> impl Strategy<Value = ParticipantId> {
    any::<u32>().prop_map(ParticipantId)
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let past = (author(), rev(), operation(), option::of(seq()))
        .prop_map(|(author, base, op, own)| PastEdit { author, base, op, own });
    let catch_up = prop_oneof![
        any::<String>().prop_map(CatchUp::Text),
        vec(past, 0..4).prop_map(CatchUp::Ops),
    ];
    let limits =
        (number(), number(), any::<u32>()).prop_map(|(op_bytes, doc_chars, ops_per_second)| {
            Allowance { op_bytes, doc_chars, ops_per_second }
        });
    (rev(), rev(), number(), catch_up, mode(), author(), limits).prop_map(
        |(rev, head, seq, catch_up, mode, you, limits)| {
            let seq = Seq(seq);
            Welcome { v: VERSION, rev, head, seq, catch_up, mode, you, limits }
        },
    )
}

fn participant() -> impl Strategy<Value = Participant> {
    (author(), option::of(user()), option::of(selection()), any::<bool>())
        .prop_map(|(id, user, sel, gone)| Participant { id, user, sel, gone })
}

fn server_message() -> impl Strategy<Value = ServerMessage> {
    let edit =
        (author(), rev(), operation()).prop_map(|(author, base, op)| Edit { author, base, op });
    let code = prop::sample::select(&ErrorCode::ALL[..]);
    let millis = || number().prop_map(Millis);
    let error =
        (code, any::<bool>(), any::<String>(), option::of(seq()), option::of(millis())).prop_map(
            |(code, fatal, msg, seq, retry)| ServerMessage::Error { code, fatal, msg, seq, retry },
        );
    prop_oneof![
        welcome().prop_map(ServerMessage::Welcome),
        (rev(), author(), rev(), operation())
            .prop_map(|(rev, author, base, op)| ServerMessage::Op { rev, author, base, op }),
        (rev(), vec(edit, 0..4)).prop_map(|(rev, list)| ServerMessage::Ops { rev, list }),
        (rev(), operation()).prop_map(|(rev, op)| ServerMessage::Merged { rev, op }),
        (seq(), rev()).prop_map(|(seq, rev)| ServerMessage::Ordered { seq, rev }),
        (seq(), rev(), option::of(operation())).prop_map(|(seq, rev, op)| ServerMessage::Ack {
            seq,
            rev,
            op
        }),
        (rev(), any::<u32>(), vec(participant(), 0..4))
            .prop_map(|(rev, n, list)| ServerMessage::Presence { rev, n, list }),
        error,
        (millis(), option::of(any::<String>()))
            .prop_map(|(retry, url)| ServerMessage::Moved { retry, url }),
        number().prop_map(|n| ServerMessage::Pong { n }),
    ]
}

/// Moves `t` behind the other members.
fn tag_last(json: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(json).unwrap();
    let (tag, rest) = text.strip_prefix('{').unwrap().split_once(',').unwrap();
    format!("{{{},{tag}}}", rest.strip_suffix('}').unwrap()).into_bytes()
}

proptest! {
    #[test]
    fn client_messages_come_back(message in client_message()) {
        for codec in CODECS {
            let frame = encode_client(codec, &message);
            prop_assert_eq!(decode_client(codec, &frame, &Limits::default()), Ok(message.clone()));
        }
        let frame = tag_last(&encode_client(Codec::Json, &message));
        prop_assert_eq!(decode_client(Codec::Json, &frame, &Limits::default()), Ok(message));
    }

    #[test]
    fn server_messages_come_back(message in server_message()) {
        for codec in CODECS {
            let frame = encode_server(codec, &message);
            prop_assert_eq!(decode_server(codec, &frame), Ok(Some(message.clone())));
        }
        let frame = tag_last(&encode_server(Codec::Json, &message));
        prop_assert_eq!(decode_server(Codec::Json, &frame), Ok(Some(message)));
    }

    #[test]
    fn json_is_an_object_with_t_first(message in server_message()) {
        let frame = encode_server(Codec::Json, &message);
        let first = frame.starts_with(b"{\"t\":\"");
        prop_assert!(first);
        let value: serde_json::Value = serde_json::from_slice(&frame).unwrap();
        prop_assert_eq!(value.to_string().len(), frame.len(), "compact");
    }
}
