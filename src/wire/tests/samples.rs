//! One or more examples of every message, named.

use crate::text::{Component, Operation};
use crate::types::{ParticipantId, Revision, Seq, SessionId};
use crate::wire::*;

/// A named message of either side.
pub(crate) enum Sample {
    Client(&'static str, ClientMessage),
    Server(&'static str, ServerMessage),
}

pub(crate) const SESSION: &str = "00112233445566778899aabbccddeeff";

pub(crate) fn op(components: &[Component]) -> Operation {
    Operation::from_components(components.iter().cloned()).unwrap()
}

pub(crate) fn keystroke(at: u32, text: &str) -> Operation {
    op(&[Component::Retain(at), Component::Insert(text.into())])
}

pub(crate) fn session() -> SessionId {
    SESSION.parse().unwrap()
}

pub(crate) fn all() -> Vec<Sample> {
    let client = client().into_iter().map(|(name, message)| Sample::Client(name, message));
    let server = server().into_iter().map(|(name, message)| Sample::Server(name, message));
    client.chain(server).collect()
}

fn user() -> User {
    User { name: "Zoë".parse().unwrap(), color: Color([0x1a, 0x7f, 0xd4]) }
}

fn client() -> Vec<(&'static str, ClientMessage)> {
    let replace = op(&[
        Component::Retain(3),
        Component::Insert("a\"\n\u{1f600}".into()),
        Component::Delete(2),
    ]);
    let hello = Hello {
        v: VERSION,
        session: session(),
        rev: None,
        mode: Mode::Edit,
        ordered: false,
        user: None,
    };
    let resume = Hello {
        rev: Some(Revision(4711)),
        mode: Mode::View,
        ordered: true,
        user: Some(user()),
        ..hello.clone()
    };
    let sel = Some(Selection { anchor: 130, head: 127 });
    vec![
        ("hello", ClientMessage::Hello(hello)),
        ("hello-resume", ClientMessage::Hello(resume)),
        (
            "op-keystroke",
            ClientMessage::Op { seq: Seq(97), base: Revision(4711), op: keystroke(1500, "e") },
        ),
        ("op-replace", ClientMessage::Op { seq: Seq(1), base: Revision(0), op: replace }),
        ("op-nothing", ClientMessage::Op { seq: Seq(NUMBER_MAX), base: Revision(7), op: op(&[]) }),
        ("cursor", ClientMessage::Cursor { rev: Revision(4712), sel }),
        ("cursor-none", ClientMessage::Cursor { rev: Revision(4712), sel: None }),
        ("ping", ClientMessage::Ping { n: 1 }),
    ]
}

fn welcome(rev: u64, catch_up: CatchUp) -> ServerMessage {
    ServerMessage::Welcome(Welcome {
        v: VERSION,
        rev: Revision(rev),
        head: Revision(4713),
        seq: Seq(96),
        catch_up,
        mode: Mode::Edit,
        you: session().participant(),
        limits: Allowance { op_bytes: 1 << 20, doc_chars: 10_000_000, ops_per_second: 200 },
    })
}

fn server() -> Vec<(&'static str, ServerMessage)> {
    let (author, base, rev, seq) = (ParticipantId(300), Revision(4711), Revision(4713), Seq(97));
    let past = |own| PastEdit { author, base, op: keystroke(9, "x"), own };
    let edit = |base| Edit { author, base: Revision(base), op: op(&[Component::Delete(1)]) };
    vec![
        ("welcome-text", welcome(4713, CatchUp::Text("say \"h\u{e9}\"\n".into()))),
        ("welcome-ops", welcome(4711, CatchUp::Ops(vec![past(None), past(Some(Seq(96)))]))),
        ("op", ServerMessage::Op { rev, author, base, op: keystroke(1500, "e") }),
        ("ops", ServerMessage::Ops { rev, list: vec![edit(4711), edit(4712)] }),
        ("merged", ServerMessage::Merged { rev, op: keystroke(3, "\u{2192}") }),
        ("ordered", ServerMessage::Ordered { seq, rev }),
        ("ack", ServerMessage::Ack { seq, rev, op: None }),
        ("ack-op", ServerMessage::Ack { seq, rev, op: Some(keystroke(1501, "e")) }),
    ]
    .into_iter()
    .chain(notices())
    .collect()
}

fn notices() -> Vec<(&'static str, ServerMessage)> {
    let rev = Revision(4713);
    let here = Participant {
        id: ParticipantId(300),
        user: Some(user()),
        sel: Some(Selection { anchor: 4, head: 4 }),
        gone: false,
    };
    let blurred = Participant { id: ParticipantId(7), user: None, sel: None, gone: false };
    let gone = Participant { id: ParticipantId(u32::MAX), user: None, sel: None, gone: true };
    let url = "wss://b.example/ws/notes".to_owned();
    vec![
        ("presence", ServerMessage::Presence { rev, n: 2, list: vec![here, blurred, gone] }),
        (
            "error-fatal",
            ServerMessage::Error {
                code: ErrorCode::Gap,
                fatal: true,
                msg: "seq must be 97".into(),
                seq: Some(Seq(97)),
                retry: None,
            },
        ),
        (
            "error-retry",
            ServerMessage::Error {
                code: ErrorCode::Rate,
                fatal: false,
                msg: "too many batches a second".into(),
                seq: Some(Seq(97)),
                retry: Some(Millis(250)),
            },
        ),
        ("moved", ServerMessage::Moved { retry: Millis(50), url: None }),
        ("moved-url", ServerMessage::Moved { retry: Millis(50), url: Some(url) }),
        ("pong", ServerMessage::Pong { n: 1 }),
    ]
}
