//! Postcard in binary frames: the serde derives of `frame`, one message a frame.
//!
//! A client's frame is read field by field, so that a refusal names the field and no count is
//! trusted. Bytes after the last known field are of a later version and are not looked at.

use bytes::Bytes;
use postcard::Error;
use serde::{Deserialize, Serialize};

use crate::text::{Component, Operation};
use crate::types::{ParticipantId, Revision, Seq, SessionId};
use crate::wire::field::{self, Field};
use crate::wire::operation::{Lent, Part, Tally, collect};
use crate::wire::{
    ClientMessage, Color, ErrorCode, Hello, Limits, Mode, NUMBER_MAX, Refusal, Selection,
    ServerMessage, User, VERSION,
};

// The numbers of the client's messages.
const HELLO: u32 = 0;
const OP: u32 = 1;
const CURSOR: u32 = 2;
const PING: u32 = 3;

// The numbers of the server's messages that are encoded from borrowed parts.
const SERVER_OP: u32 = 1;
const SERVER_OPS: u32 = 2;
const SERVER_ACK: u32 = 5;

/// How many messages of the server this version knows: numbers from here are of a later one.
const SERVER_KINDS: u32 = 10;

/// Encodes a message of either side.
pub(crate) fn encode(message: &impl Serialize) -> Bytes {
    finish(append(Vec::with_capacity(64), message))
}

/// Encodes `op`.
pub(crate) fn encode_op(
    rev: Revision,
    author: ParticipantId,
    base: Revision,
    op: &Operation,
) -> Bytes {
    encode(&(SERVER_OP, rev, author, base, Lent(op)))
}

/// Encodes `ops`.
pub(crate) fn encode_ops<'a>(
    rev: Revision,
    list: impl ExactSizeIterator<Item = (ParticipantId, Revision, &'a Operation)>,
) -> Bytes {
    let out = Vec::with_capacity(16 + 24 * list.len());
    let head = append(out, &(SERVER_OPS, rev, list.len()));
    finish(list.fold(head, |out, (author, base, op)| append(out, &(author, base, Lent(op)))))
}

/// Encodes `ack`.
pub(crate) fn encode_ack(seq: Seq, rev: Revision, op: Option<&Operation>) -> Bytes {
    encode(&(SERVER_ACK, seq, rev, op.map(Lent)))
}

/// Decodes a client's frame.
///
/// # Errors
/// A [`Refusal`] that says which field is wrong and what it must be.
pub(crate) fn decode_client(frame: &[u8], limits: &Limits) -> Result<ClientMessage, Refusal> {
    let mut fields = Fields { rest: frame };
    match fields.take::<u32>(&field::TAG)? {
        HELLO => fields.hello().map(ClientMessage::Hello),
        OP => Ok(ClientMessage::Op {
            seq: Seq(fields.number(&field::SEQ, 1)?),
            base: Revision(fields.number(&field::BASE, 0)?),
            op: fields.operation(limits)?,
        }),
        CURSOR => Ok(ClientMessage::Cursor {
            rev: Revision(fields.number(&field::REV, 0)?),
            sel: fields.optional(&field::SEL, Fields::selection)?,
        }),
        PING => Ok(ClientMessage::Ping { n: fields.number(&field::N, 0)? }),
        _ => Err(field::TAG.refusal()),
    }
}

/// Decodes a server's frame; `None` if it is a message of a later version.
///
/// # Errors
/// A [`Refusal`] if it is no message.
pub(crate) fn decode_server(frame: &[u8]) -> Result<Option<ServerMessage>, Refusal> {
    let message = || {
        let (kind, _) = postcard::take_from_bytes::<u32>(frame)?;
        if kind >= SERVER_KINDS { Ok(None) } else { postcard::from_bytes(frame).map(Some) }
    };
    message().map_err(|error: Error| Refusal::new(ErrorCode::BadFrame, error.to_string()))
}

fn append(out: Vec<u8>, value: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(value, out).expect("memory takes every byte and lists know their length")
}

fn finish(out: Vec<u8>) -> Bytes {
    out.into()
}

/// What of a client's frame is still to be read.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn take<T: Deserialize<'a>>(&mut self, field: &Field) -> Result<T, Refusal> {
        let (value, rest) =
            postcard::take_from_bytes(self.rest).map_err(|error| refusal(field, &error))?;
        self.rest = rest;
        Ok(value)
    }

    fn number(&mut self, field: &Field, min: u64) -> Result<u64, Refusal> {
        let number = self.take(field)?;
        let fits = (min..=NUMBER_MAX).contains(&number);
        if fits { Ok(number) } else { Err(field.refusal()) }
    }

    fn optional<T>(
        &mut self,
        field: &Field,
        read: impl FnOnce(&mut Self) -> Result<T, Refusal>,
    ) -> Result<Option<T>, Refusal> {
        match self.take::<u8>(field)? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(field.refusal()),
        }
    }

    fn hello(&mut self) -> Result<Hello, Refusal> {
        let v = self.number(&field::V, 0)?;
        if v != u64::from(VERSION) {
            return Err(field::bad_version());
        }
        Ok(Hello {
            v: VERSION,
            session: self.take::<SessionId>(&field::SESSION)?,
            rev: self
                .optional(&field::REV, |fields| fields.number(&field::REV, 0).map(Revision))?,
            mode: self.take::<Mode>(&field::MODE)?,
            ordered: self.take(&field::ORDERED)?,
            user: self.optional(&field::USER, Self::user)?,
        })
    }

    fn user(&mut self) -> Result<User, Refusal> {
        let name = self.take::<&str>(&field::USER_NAME)?;
        Ok(User {
            name: name.parse().map_err(|_| field::USER_NAME.refusal())?,
            color: self.take::<Color>(&field::USER_COLOR)?,
        })
    }

    fn selection(&mut self) -> Result<Selection, Refusal> {
        let mut position = || self.number(&field::SEL, 0);
        Ok(Selection { anchor: position()?, head: position()? })
    }

    fn operation(&mut self, limits: &Limits) -> Result<Operation, Refusal> {
        let count = self.take::<u64>(&field::OP)?;
        let max = limits.op_components;
        let count = usize::try_from(count).ok().filter(|count| *count <= max);
        let count = count.ok_or_else(|| field::too_many_components(max))?;
        let mut tally = Tally::new(limits);
        let next = || {
            if tally.index() == count {
                return Ok(None);
            }
            let component = self.component(tally.index())?;
            tally.add(&component)?;
            Ok(Some(component))
        };
        collect(next, field::bad_op)
    }

    fn component(&mut self, index: usize) -> Result<Component, Refusal> {
        let bad = || field::bad_component(index, field::COMPONENT);
        let (part, rest) = match postcard::take_from_bytes(self.rest) {
            Ok(taken) => taken,
            Err(Error::DeserializeUnexpectedEnd) => return Err(cut_off("op")),
            Err(_) => return Err(bad()),
        };
        self.rest = rest;
        match part {
            Part::Retain(0) | Part::Delete(0) | Part::Insert("") => Err(bad()),
            Part::Retain(_) | Part::Delete(_) | Part::Insert(_) => Ok(part.into()),
        }
    }
}

fn refusal(field: &Field, error: &Error) -> Refusal {
    match error {
        Error::DeserializeUnexpectedEnd => cut_off(field.path),
        _ => field.refusal(),
    }
}

fn cut_off(path: &str) -> Refusal {
    Refusal::new(ErrorCode::BadFrame, format!("frame is cut off in {path}"))
}
