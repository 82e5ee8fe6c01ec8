//! From a document's events to frames of the protocol; what all clients get is encoded once. And
//! how messages of a socket carry frames.

use std::sync::Arc;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::doc::{Change, ConnId, Content, Merged, Presence, Update, Welcome};
use crate::edge::session::farewell::Farewell;
use crate::task::Tasks;
use crate::text::compose_all;
use crate::types::{Revision, SessionId};
use crate::wire::{
    Allowance, CatchUp, Codec, ErrorCode, PastEdit, Selection, ServerMessage, VERSION, encode_ack,
    encode_op, encode_ops, encode_server,
};

/// How much of what others wrote goes into one frame, about: whoever was behind by much is not sent
/// one that its buffers cannot take.
const OPS_BYTES_MAX: usize = 256 << 10;

/// Who a connection's frames are for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addressee {
    pub(crate) session: SessionId,
    pub(crate) conn: ConnId,
    pub(crate) codec: Codec,
    /// The head at which the connection was welcomed: a batch from before it was sent over an
    /// older connection, and its client predicts something else.
    pub(crate) welcomed: Revision,
}

impl Addressee {
    /// Encodes an update: shared bytes where nothing in it is the addressee's own.
    pub(crate) fn update(&self, update: &Update, out: &mut Vec<Bytes>) {
        if update.changes.iter().all(|change| change.session != self.session) {
            let shared = update.encoded[slot(self.codec)]
                .get_or_init(|| encode_others(self.codec, &update.changes));
            out.push(shared.clone());
        } else {
            self.changes(&update.changes, out);
        }
    }

    /// Encodes revisions in order: others' as few frames, the addressee's own as acknowledgements.
    pub(crate) fn changes(&self, changes: &[Arc<Change>], out: &mut Vec<Bytes>) {
        let mut bytes = 0;
        let joins = |a: &Arc<Change>, b: &Arc<Change>| {
            bytes += a.weight();
            let fits = bytes + b.weight() <= OPS_BYTES_MAX;
            let joins = fits && a.session != self.session && b.session != self.session;
            bytes = if joins { bytes } else { 0 };
            joins
        };
        for part in changes.chunk_by(joins) {
            match part {
                [own] if own.session == self.session => {
                    let differs =
                        own.surprising || own.via != Some(self.conn) || own.base < self.welcomed;
                    let op = differs.then_some(&own.op);
                    out.push(encode_ack(self.codec, own.seq, own.rev, op));
                }
                others => out.push(encode_others(self.codec, others)),
            }
        }
    }

    /// Encodes revisions for a viewer: one composed operation.
    pub(crate) fn composed(&self, changes: &[Arc<Change>]) -> Option<Bytes> {
        let rev = changes.last()?.rev;
        let ops: Vec<_> = changes.iter().map(|change| &change.op).collect();
        let weight = changes.iter().map(|change| change.weight()).sum();
        let op = Tasks::on_bytes(weight, || compose_all(&ops));
        Some(encode_server(self.codec, &ServerMessage::Merged { rev, op }))
    }

    /// Encodes the answer to `hello`.
    pub(crate) fn welcome(&self, welcome: Welcome, limits: Allowance) -> Bytes {
        let past = |change: Arc<Change>| PastEdit {
            author: change.participant(),
            base: change.base,
            own: (change.session == self.session).then_some(change.seq),
            op: change.op.clone(),
        };
        let catch_up = match welcome.content {
            Content::Text(text) => CatchUp::Text(text),
            Content::Changes(changes) => CatchUp::Ops(changes.into_iter().map(past).collect()),
        };
        let message = crate::wire::Welcome {
            v: VERSION,
            rev: welcome.rev,
            head: welcome.head,
            seq: welcome.seq,
            catch_up,
            mode: mode(welcome.mode),
            you: welcome.you,
            limits,
        };
        encode_server(self.codec, &ServerMessage::Welcome(message))
    }

    /// Encodes what viewers get.
    pub(crate) fn merged(&self, merged: &Merged) -> Bytes {
        let encode = || {
            let (rev, op) = (merged.rev, merged.op.clone());
            encode_server(self.codec, &ServerMessage::Merged { rev, op })
        };
        merged.encoded[slot(self.codec)].get_or_init(encode).clone()
    }

    /// Encodes who is there.
    pub(crate) fn presence(&self, presence: &Presence) -> Bytes {
        let encode = || encode_server(self.codec, &presence_message(presence));
        presence.encoded[slot(self.codec)].get_or_init(encode).clone()
    }
}

/// Encodes revisions none of which is the receiver's own.
fn encode_others(codec: Codec, changes: &[Arc<Change>]) -> Bytes {
    match changes {
        [one] => encode_op(codec, one.rev, one.participant(), one.base, &one.op),
        many => {
            let first = many.first().map_or(Revision(0), |change| change.rev);
            let list = many.iter().map(|one| (one.participant(), one.base, &one.op));
            encode_ops(codec, first, list)
        }
    }
}

fn presence_message(presence: &Presence) -> ServerMessage {
    let participant = |row: &crate::doc::PresenceRow| crate::wire::Participant {
        id: row.id,
        user: row.user.as_ref().and_then(wire_user),
        sel: row.sel.map(|(anchor, head)| Selection { anchor, head }),
        gone: row.gone,
    };
    ServerMessage::Presence {
        rev: presence.rev,
        n: u32::try_from(presence.participants).unwrap_or(u32::MAX),
        list: presence.rows.iter().map(participant).collect(),
    }
}

fn wire_user(user: &crate::doc::User) -> Option<crate::wire::User> {
    let (name, color) = (user.name.parse().ok()?, user.color.parse().ok()?);
    Some(crate::wire::User { name, color })
}

fn mode(mode: crate::doc::Mode) -> crate::wire::Mode {
    match mode {
        crate::doc::Mode::Edit => crate::wire::Mode::Edit,
        crate::doc::Mode::View => crate::wire::Mode::View,
    }
}

fn slot(codec: Codec) -> usize {
    match codec {
        Codec::Json => 0,
        Codec::Binary => 1,
    }
}

/// Returns the frame that a message of the socket carries, if it carries one.
pub(in crate::edge::session) fn payload(
    message: Message,
    codec: Codec,
) -> Result<Option<Bytes>, Farewell> {
    match (message, codec) {
        (Message::Text(text), Codec::Json) => Ok(Some(Bytes::from(text))),
        (Message::Binary(bytes), Codec::Binary) => Ok(Some(bytes)),
        (Message::Text(_) | Message::Binary(_), _) => {
            let why = "quire.v1 takes text frames, quire.v1.bin binary ones";
            Err(Farewell::refused(ErrorCode::BadFrame, why))
        }
        (Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_), _) => {
            Ok(None)
        }
    }
}

/// Returns the message of the socket that carries a frame.
pub(in crate::edge::session) fn message(codec: Codec, frame: Bytes) -> Message {
    match codec {
        Codec::Json => match Utf8Bytes::try_from(frame) {
            Ok(text) => Message::Text(text),
            Err(error) => unreachable!("JSON is UTF-8: {error}"),
        },
        Codec::Binary => Message::Binary(frame),
    }
}
