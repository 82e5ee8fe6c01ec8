//! The decoder of a client's JSON.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::text::Operation;
use crate::types::{Revision, Seq};
use crate::wire::field::{self, Field};
use crate::wire::json::component::ComponentSeed;
use crate::wire::json::context::{Context, Maybe, Number, Parsed};
use crate::wire::json::tag::tag;
use crate::wire::operation::{Tally, collect};
use crate::wire::{
    ClientMessage, ErrorCode, Hello, Limits, Mode, NUMBER_MAX, Refusal, Selection, User, VERSION,
};

const ANY: Number = Number { min: 0, max: NUMBER_MAX };
const POSITIVE: Number = Number { min: 1, max: NUMBER_MAX };

/// Decodes a client's frame.
///
/// # Errors
/// A [`Refusal`] that says which field is wrong and what it must be.
pub(crate) fn decode(frame: &[u8], limits: &Limits) -> Result<ClientMessage, Refusal> {
    let context = Context::new(limits);
    match message(frame, &context) {
        Ok(message) => Ok(message),
        Err(error) => Err(context.refusal(&error)),
    }
}

fn message(frame: &[u8], context: &Context<'_>) -> Result<ClientMessage, serde_json::Error> {
    let kind = match &*tag(frame).map_err(|error| no_tag(context, error))? {
        "op" => Kind::Op,
        "cursor" => Kind::Cursor,
        "ping" => Kind::Ping,
        "hello" => Kind::Hello,
        _ => return Err(context.refuse(field::TAG.refusal())),
    };
    let mut json = serde_json::Deserializer::from_slice(frame);
    let message = json.deserialize_map(Message { kind, context })?;
    json.end()?;
    Ok(message)
}

/// A frame without a readable `t`: an object lacks it, anything else is no message at all.
fn no_tag(context: &Context<'_>, error: serde_json::Error) -> serde_json::Error {
    if error.is_data() {
        let why = "frame must be a JSON object with one string t: hello, op, cursor or ping";
        return context.refuse(Refusal::new(ErrorCode::BadFrame, why));
    }
    error
}

#[derive(Clone, Copy)]
enum Kind {
    Hello,
    Op,
    Cursor,
    Ping,
}

/// Reads the object whose `t` is known.
#[derive(Clone, Copy)]
struct Message<'a> {
    kind: Kind,
    context: &'a Context<'a>,
}

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ClientMessage;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ClientMessage, A::Error> {
        match self.kind {
            Kind::Hello => self.hello(map),
            Kind::Op => self.op(map),
            Kind::Cursor => self.cursor(map),
            Kind::Ping => self.ping(map),
        }
    }
}

/// Each reads the fields of its message; whatever else `t` may be is known, so it is read over.
impl<'a> Message<'a> {
    fn op<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<ClientMessage, A::Error> {
        const KNOWN: &[&Field] = &[&field::TAG, &field::SEQ, &field::BASE, &field::OP];
        let Self { context, .. } = self;
        let (mut t, mut seq, mut base, mut op) = (None, None, None, None);
        while let Some(field) = context.next(&mut map, KNOWN)? {
            match field.key {
                "seq" => context.fill(&mut map, &mut seq, POSITIVE)?,
                "base" => context.fill(&mut map, &mut base, ANY)?,
                "op" => context.fill(&mut map, &mut op, Op { context })?,
                _ => context.fill(&mut map, &mut t, PhantomData::<IgnoredAny>)?,
            }
        }
        Ok(ClientMessage::Op {
            seq: Seq(context.need(seq, &field::SEQ)?),
            base: Revision(context.need(base, &field::BASE)?),
            op: context.need(op, &field::OP)?,
        })
    }

    fn cursor<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<ClientMessage, A::Error> {
        const KNOWN: &[&Field] = &[&field::TAG, &field::REV, &field::SEL];
        let Self { context, .. } = self;
        let (mut t, mut rev, mut sel) = (None, None, None);
        while let Some(field) = context.next(&mut map, KNOWN)? {
            match field.key {
                "rev" => context.fill(&mut map, &mut rev, ANY)?,
                "sel" => context.fill(&mut map, &mut sel, Maybe(Sel))?,
                _ => context.fill(&mut map, &mut t, PhantomData::<IgnoredAny>)?,
            }
        }
        let rev = Revision(context.need(rev, &field::REV)?);
        Ok(ClientMessage::Cursor { rev, sel: context.need(sel, &field::SEL)? })
    }

    fn ping<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<ClientMessage, A::Error> {
        const KNOWN: &[&Field] = &[&field::TAG, &field::N];
        let Self { context, .. } = self;
        let (mut t, mut n) = (None, None);
        while let Some(field) = context.next(&mut map, KNOWN)? {
            match field.key {
                "n" => context.fill(&mut map, &mut n, ANY)?,
                _ => context.fill(&mut map, &mut t, PhantomData::<IgnoredAny>)?,
            }
        }
        Ok(ClientMessage::Ping { n: context.need(n, &field::N)? })
    }

    fn hello<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<ClientMessage, A::Error> {
        const KNOWN: &[&Field] = &[
            &field::TAG,
            &field::V,
            &field::SESSION,
            &field::REV,
            &field::MODE,
            &field::ORDERED,
            &field::USER,
        ];
        let Self { context, .. } = self;
        let (mut t, mut v, mut session, mut rev) = (None, None, None, None);
        let (mut mode, mut ordered, mut user) = (None, None, None);
        while let Some(field) = context.next(&mut map, KNOWN)? {
            match field.key {
                "v" => context.fill(&mut map, &mut v, Version { context })?,
                "session" => context.fill(&mut map, &mut session, Parsed::new())?,
                "rev" => context.fill(&mut map, &mut rev, Maybe(ANY))?,
                "mode" => context.fill(&mut map, &mut mode, Maybe(Parsed::<Mode>::new()))?,
                "ordered" => context.fill(&mut map, &mut ordered, PhantomData::<Option<bool>>)?,
                "user" => context.fill(&mut map, &mut user, Maybe(UserSeed { context }))?,
                _ => context.fill(&mut map, &mut t, PhantomData::<IgnoredAny>)?,
            }
        }
        Ok(ClientMessage::Hello(Hello {
            v: context.need(v, &field::V)?,
            session: context.need(session, &field::SESSION)?,
            rev: rev.flatten().map(Revision),
            mode: mode.flatten().unwrap_or_default(),
            ordered: ordered.flatten().unwrap_or(false),
            user: user.flatten(),
        }))
    }
}

/// Reads `v`. Another version ends the decoding at once: its other fields may be other ones.
struct Version<'a> {
    context: &'a Context<'a>,
}

impl<'de> DeserializeSeed<'de> for Version<'_> {
    type Value = u32;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<u32, D::Error> {
        let number = ANY.deserialize(value)?;
        if number == u64::from(VERSION) {
            Ok(VERSION)
        } else {
            Err(self.context.refuse(field::bad_version()))
        }
    }
}

/// Reads an operation, within the limits.
struct Op<'a> {
    context: &'a Context<'a>,
}

impl<'de> DeserializeSeed<'de> for Op<'_> {
    type Value = Operation;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Operation, D::Error> {
        value.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Op<'_> {
    type Value = Operation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Operation, A::Error> {
        let Self { context } = self;
        let mut tally = Tally::new(context.limits);
        let next = || {
            context.enter_component(tally.index());
            let component = list.next_element_seed(ComponentSeed)?;
            if let Some(component) = &component {
                tally.add(component).map_err(|refusal| context.refuse(refusal))?;
            }
            Ok(component)
        };
        let op = collect(next, |invalid| context.refuse(field::bad_op(invalid)))?;
        context.leave_components();
        Ok(op)
    }
}

/// Reads `[anchor, head]`.
struct Sel;

impl<'de> DeserializeSeed<'de> for Sel {
    type Value = Selection;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Selection, D::Error> {
        value.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Sel {
    type Value = Selection;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("two positions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Selection, A::Error> {
        let short = |length| <A::Error as serde::de::Error>::invalid_length(length, &self);
        let anchor = list.next_element_seed(ANY)?.ok_or_else(|| short(0))?;
        let head = list.next_element_seed(ANY)?.ok_or_else(|| short(1))?;
        if list.next_element::<IgnoredAny>()?.is_some() {
            return Err(short(3));
        }
        Ok(Selection { anchor, head })
    }
}

/// Reads `{name, color}`.
struct UserSeed<'a> {
    context: &'a Context<'a>,
}

impl<'de> DeserializeSeed<'de> for UserSeed<'_> {
    type Value = User;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<User, D::Error> {
        value.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for UserSeed<'_> {
    type Value = User;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<User, A::Error> {
        const KNOWN: &[&Field] = &[&field::USER_NAME, &field::USER_COLOR];
        let Self { context } = self;
        let (mut name, mut color) = (None, None);
        while let Some(field) = context.next(&mut map, KNOWN)? {
            match field.key {
                "name" => context.fill(&mut map, &mut name, Parsed::new())?,
                _ => context.fill(&mut map, &mut color, Parsed::new())?,
            }
        }
        Ok(User {
            name: context.need(name, &field::USER_NAME)?,
            color: context.need(color, &field::USER_COLOR)?,
        })
    }
}
