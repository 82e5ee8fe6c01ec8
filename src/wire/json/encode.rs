//! The writer of JSON, of both directions: straight into the frame's buffer.

use bytes::Bytes;
use serde::Serialize;

use crate::text::{Component, Operation};
use crate::types::{ParticipantId, Revision, Seq};
use crate::wire::{
    Allowance, CatchUp, ClientMessage, ErrorCode, Hello, Participant, Selection, ServerMessage,
    User, Welcome,
};

/// The size of a frame beside its operations: keys and numbers.
const FRAME_BYTES: usize = 96;

/// Encodes a message of a client.
pub(crate) fn client(message: &ClientMessage) -> Bytes {
    match message {
        ClientMessage::Hello(hello) => self::hello(hello),
        ClientMessage::Op { seq, base, op } => {
            let mut object = Object::begin("op", op_bytes(op));
            object.put("seq", seq).put("base", base).operation("op", op);
            object.end()
        }
        ClientMessage::Cursor { rev, sel } => {
            let mut object = Object::begin("cursor", 0);
            object.put("rev", rev).put("sel", &sel.map(pair));
            object.end()
        }
        ClientMessage::Ping { n } => {
            let mut object = Object::begin("ping", 0);
            object.put("n", n);
            object.end()
        }
    }
}

/// Encodes a message of the server.
pub(crate) fn server(message: &ServerMessage) -> Bytes {
    match message {
        ServerMessage::Welcome(welcome) => self::welcome(welcome),
        ServerMessage::Op { rev, author, base, op } => self::op(*rev, *author, *base, op),
        ServerMessage::Ops { rev, list } => {
            ops(*rev, list.iter().map(|edit| (edit.author, edit.base, &edit.op)))
        }
        ServerMessage::Merged { rev, op } => {
            let mut object = Object::begin("merged", op_bytes(op));
            object.put("rev", rev).operation("op", op);
            object.end()
        }
        ServerMessage::Ordered { seq, rev } => {
            let mut object = Object::begin("ordered", 0);
            object.put("seq", seq).put("rev", rev);
            object.end()
        }
        ServerMessage::Ack { seq, rev, op } => ack(*seq, *rev, op.as_ref()),
        ServerMessage::Presence { rev, n, list } => {
            let mut object = Object::begin("presence", FRAME_BYTES * list.len());
            object.put("rev", rev).put("n", n).list("list", list, participant);
            object.end()
        }
        ServerMessage::Error { code, fatal, msg, seq, retry } => {
            let mut object = error(*code, *fatal, msg);
            object.put_some("seq", seq.as_ref()).put_some("retry_ms", retry.as_ref());
            object.end()
        }
        ServerMessage::Moved { retry, url } => {
            let mut object = Object::begin("moved", 0);
            object.put("retry_ms", retry).put_some("url", url.as_ref());
            object.end()
        }
        ServerMessage::Pong { n } => {
            let mut object = Object::begin("pong", 0);
            object.put("n", n);
            object.end()
        }
    }
}

/// Encodes `op`.
pub(crate) fn op(rev: Revision, author: ParticipantId, base: Revision, op: &Operation) -> Bytes {
    let mut object = Object::begin("op", op_bytes(op));
    object.put("rev", &rev).put("a", &author).put("base", &base).operation("op", op);
    object.end()
}

/// Encodes `ops`.
pub(crate) fn ops<'a>(
    rev: Revision,
    list: impl ExactSizeIterator<Item = (ParticipantId, Revision, &'a Operation)>,
) -> Bytes {
    let mut object = Object::begin("ops", FRAME_BYTES * list.len());
    object.put("rev", &rev).list("list", list, |entry, (author, base, op)| {
        entry.put("a", &author).put("base", &base).operation("op", op);
    });
    object.end()
}

/// Encodes `ack`.
pub(crate) fn ack(seq: Seq, rev: Revision, op: Option<&Operation>) -> Bytes {
    let mut object = Object::begin("ack", op.map_or(0, op_bytes));
    object.put("seq", &seq).put("rev", &rev);
    if let Some(op) = op {
        object.operation("op", op);
    }
    object.end()
}

fn hello(hello: &Hello) -> Bytes {
    let Hello { v, session, rev, mode, ordered, user } = hello;
    let mut object = Object::begin("hello", FRAME_BYTES);
    object.put("v", v).put("session", &session.to_hex()).put_some("rev", rev.as_ref());
    object.put("mode", mode.name());
    if *ordered {
        object.put("ordered", ordered);
    }
    if let Some(user) = user {
        object.user(user);
    }
    object.end()
}

fn welcome(welcome: &Welcome) -> Bytes {
    let Welcome { v, rev, head, seq, catch_up, mode, you, limits } = welcome;
    let size = match catch_up {
        CatchUp::Text(text) => text.len() + text.len() / 8,
        CatchUp::Ops(list) => FRAME_BYTES * list.len(),
    };
    let mut object = Object::begin("welcome", FRAME_BYTES + size);
    object.put("v", v).put("rev", rev).put("head", head).put("seq", seq);
    match catch_up {
        CatchUp::Text(text) => object.put("text", text),
        CatchUp::Ops(list) => object.list("ops", list, |entry, edit| {
            entry.put("a", &edit.author).put("base", &edit.base).operation("op", &edit.op);
            entry.put_some("own", edit.own.as_ref());
        }),
    };
    object.put("mode", mode.name()).put("you", you).nested("limits", |entry| {
        let Allowance { op_bytes, doc_chars, ops_per_second } = limits;
        entry.put("op_bytes", op_bytes).put("doc_chars", doc_chars);
        entry.put("ops_per_second", ops_per_second);
    });
    object.end()
}

fn participant(entry: &mut Object, participant: &Participant) {
    let Participant { id, user, sel, gone } = participant;
    entry.put("id", id);
    if let Some(user) = user {
        entry.user(user);
    }
    if sel.is_some() || !gone {
        entry.put("sel", &sel.map(pair));
    }
    if *gone {
        entry.put("gone", gone);
    }
}

fn error(code: ErrorCode, fatal: bool, msg: &str) -> Object {
    let mut object = Object::begin("error", msg.len());
    object.put("code", code.name()).put("fatal", &fatal).put("msg", msg);
    object
}

fn pair(selection: Selection) -> [u64; 2] {
    [selection.anchor, selection.head]
}

/// Estimates an operation's length, so that the buffer seldom grows.
fn op_bytes(op: &Operation) -> usize {
    let length = |component: &Component| match component {
        Component::Insert(text) => text.len() + 4,
        Component::Retain(_) | Component::Delete(_) => 16,
    };
    op.components().iter().map(length).sum()
}

/// Writes one JSON object after another, member by member; keys need no escaping.
struct Object {
    out: Vec<u8>,
}

impl Object {
    fn begin(tag: &'static str, more: usize) -> Self {
        let mut out = Vec::with_capacity(FRAME_BYTES + more);
        out.extend_from_slice(br#"{"t":""#);
        out.extend_from_slice(tag.as_bytes());
        out.push(b'"');
        Self { out }
    }

    fn end(mut self) -> Bytes {
        self.out.push(b'}');
        self.out.into()
    }

    fn put(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) -> &mut Self {
        self.key(key);
        self.value(value);
        self
    }

    fn put_some(&mut self, key: &'static str, value: Option<&impl Serialize>) -> &mut Self {
        if let Some(value) = value {
            self.put(key, value);
        }
        self
    }

    fn operation(&mut self, key: &'static str, op: &Operation) -> &mut Self {
        self.key(key);
        self.out.push(b'[');
        for (index, component) in op.components().iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            match component {
                Component::Retain(n) => self.value(n),
                Component::Insert(text) => self.value(text.as_str()),
                Component::Delete(n) => {
                    self.out.extend_from_slice(br#"{"d":"#);
                    self.value(n);
                    self.out.push(b'}');
                }
            }
        }
        self.out.push(b']');
        self
    }

    fn list<T>(
        &mut self,
        key: &'static str,
        items: impl IntoIterator<Item = T>,
        write: impl Fn(&mut Self, T),
    ) -> &mut Self {
        self.key(key);
        self.out.push(b'[');
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.out.push(b'{');
            write(self, item);
            self.out.push(b'}');
        }
        self.out.push(b']');
        self
    }

    fn nested(&mut self, key: &'static str, write: impl Fn(&mut Self)) -> &mut Self {
        self.key(key);
        self.out.push(b'{');
        write(self);
        self.out.push(b'}');
        self
    }

    fn user(&mut self, user: &User) {
        self.nested("user", |entry| {
            entry.put("name", user.name.as_str()).put("color", &user.color);
        });
    }

    fn key(&mut self, key: &'static str) {
        let first = self.out.last() == Some(&b'{');
        self.out.extend_from_slice(if first { b"\"" } else { b",\"" });
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn value(&mut self, value: &(impl Serialize + ?Sized)) {
        serde_json::to_writer(&mut self.out, value).expect("numbers and strings are always JSON");
    }
}
