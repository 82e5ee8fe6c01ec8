//! The decoder of a server's JSON: tolerant, and without buffering as the derive for internally
//! tagged enums does it.

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, IntoDeserializer,
    VariantAccess, Visitor,
};
use serde_json::Error;

use crate::types::{ParticipantId, Revision, Seq};
use crate::wire::json::tag::tag;
use crate::wire::{Allowance, CatchUp, ErrorCode, Mode, PastEdit, Refusal, ServerMessage, Welcome};

/// Decodes a server's frame; `None` if its `t` is of a later version.
///
/// # Errors
/// A [`Refusal`] if it is no message.
pub(crate) fn decode(frame: &[u8]) -> Result<Option<ServerMessage>, Refusal> {
    message(frame).map_err(|error| Refusal::new(ErrorCode::BadFrame, error.to_string()))
}

fn message(frame: &[u8]) -> Result<Option<ServerMessage>, Error> {
    let tag = tag(frame)?;
    match &*tag {
        "welcome" => {
            let body: WelcomeBody = serde_json::from_slice(frame)?;
            body.try_into().map(|welcome| Some(ServerMessage::Welcome(welcome)))
        }
        "op" | "ops" | "merged" | "ordered" | "ack" | "presence" | "error" | "moved" | "pong" => {
            let mut json = serde_json::Deserializer::from_slice(frame);
            let message = ServerMessage::deserialize(Tagged { tag: &tag, body: &mut json })?;
            json.end()?;
            Ok(Some(message))
        }
        _ => Ok(None),
    }
}

/// `welcome` as it stands in JSON: the catch-up under one of two keys.
#[derive(Deserialize)]
struct WelcomeBody {
    v: u32,
    rev: Revision,
    head: Revision,
    seq: Seq,
    text: Option<String>,
    ops: Option<Vec<PastEdit>>,
    mode: Mode,
    you: ParticipantId,
    limits: Allowance,
}

impl TryFrom<WelcomeBody> for Welcome {
    type Error = Error;

    fn try_from(body: WelcomeBody) -> Result<Self, Error> {
        let WelcomeBody { v, rev, head, seq, text, ops, mode, you, limits } = body;
        let catch_up = match (text, ops) {
            (Some(text), None) => CatchUp::Text(text),
            (None, Some(list)) => CatchUp::Ops(list),
            (Some(_), Some(_)) | (None, None) => {
                return Err(Error::custom("welcome has either text or ops"));
            }
        };
        Ok(Self { v, rev, head, seq, catch_up, mode, you, limits })
    }
}

/// Presents an object with a known `t` as the enum that the derive expects; `t` itself is one of
/// the fields that the variant does not know.
struct Tagged<'a, B> {
    tag: &'a str,
    body: B,
}

impl<'de, B: Deserializer<'de>> Deserializer<'de> for Tagged<'_, B> {
    type Error = B::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, B::Error> {
        visitor.visit_enum(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de, B: Deserializer<'de>> EnumAccess<'de> for Tagged<'_, B> {
    type Error = B::Error;
    type Variant = Body<B>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Body<B>), B::Error> {
        let tag: StrDeserializer<'_, B::Error> = self.tag.into_deserializer();
        Ok((seed.deserialize(tag)?, Body(self.body)))
    }
}

struct Body<B>(B);

impl<'de, B: Deserializer<'de>> VariantAccess<'de> for Body<B> {
    type Error = B::Error;

    fn unit_variant(self) -> Result<(), B::Error> {
        IgnoredAny::deserialize(self.0).map(drop)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, B::Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, B::Error> {
        self.0.deserialize_map(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, B::Error> {
        self.0.deserialize_struct("message", fields, visitor)
    }
}
