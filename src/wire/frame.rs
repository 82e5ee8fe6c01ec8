//! The messages and their parts.
//!
//! The serde derives are the binary encoding (variants by number, fields in order) and, for a
//! server's messages, what the JSON decoder reads; so variants and fields are only ever appended.
//! JSON is written, and a client's JSON is read, by hand in `json`.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::Operation;
use crate::types::{Author, ParticipantId, Revision, Seq, SessionId};
use crate::wire::{ErrorCode, operation};

/// The version of the protocol: `hello.v` and `welcome.v`.
pub const VERSION: u32 = 1;

/// The largest number on the wire: what a JavaScript number counts exactly, 2^53 - 1.
pub const NUMBER_MAX: u64 = (1 << 53) - 1;

/// A message from a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub enum ClientMessage {
    /// Opens or resumes: the first message.
    Hello(Hello),
    /// Sends one batch.
    Op {
        /// The batch's number within the session, from 1.
        seq: Seq,
        /// The revision that the operation applies to.
        base: Revision,
        /// The edits.
        #[serde(with = "operation")]
        op: Operation,
    },
    /// Tells where the caret is.
    Cursor {
        /// The revision that the positions are for.
        rev: Revision,
        /// The selection; `None`: there is none any more.
        sel: Option<Selection>,
    },
    /// Asks for a `pong`.
    Ping {
        /// Comes back.
        n: u64,
    },
}

/// The body of `hello`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Hello {
    /// [`VERSION`].
    pub v: u32,
    /// The client's session: a secret.
    pub session: SessionId,
    /// The last revision that the client has; `None`: it has nothing.
    pub rev: Option<Revision>,
    /// What the client wants to do.
    pub mode: Mode,
    /// Whether the client wants `ordered` messages.
    pub ordered: bool,
    /// How the client's user is shown to the others.
    pub user: Option<User>,
}

/// What a connection may do with its document.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Read and write.
    #[default]
    Edit,
    /// Read only.
    View,
}

/// Tells that a string is no mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a mode is edit or view")]
pub struct BadMode;

impl Mode {
    /// Returns the mode as it stands in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::View => "view",
        }
    }
}

impl FromStr for Mode {
    type Err = BadMode;

    fn from_str(name: &str) -> Result<Self, BadMode> {
        [Self::Edit, Self::View].into_iter().find(|mode| mode.name() == name).ok_or(BadMode)
    }
}

/// How a participant is shown to the others.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct User {
    /// The name beside the caret.
    pub name: Author,
    /// The colour of the caret.
    pub color: Color,
}

/// A colour: red, green, blue. In JSON `#rrggbb`, so that nothing else reaches a style sheet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Color(pub [u8; 3]);

/// Tells that a string is no colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a color is # and six hex digits")]
pub struct BadColor;

impl FromStr for Color {
    type Err = BadColor;

    fn from_str(text: &str) -> Result<Self, BadColor> {
        let digits = text.strip_prefix('#').ok_or(BadColor)?;
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadColor);
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| BadColor)?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl Color {
    /// Spells the colour as `#rrggbb`.
    pub fn to_css(self) -> String {
        let [red, green, blue] = self.0;
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

impl Serialize for Color {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&self.to_css())
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Color {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            <[u8; 3]>::deserialize(deserializer).map(Self)
        }
    }
}

/// A selection: `[anchor, head]`, positions in scalar values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Selection {
    /// Where it began.
    pub anchor: u64,
    /// Where the caret is.
    pub head: u64,
}

/// A duration in whole milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl From<Duration> for Millis {
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_millis()).unwrap_or(NUMBER_MAX).min(NUMBER_MAX))
    }
}

impl From<Millis> for Duration {
    fn from(millis: Millis) -> Self {
        Self::from_millis(millis.0)
    }
}

/// A message from the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServerMessage {
    /// Answers `hello`.
    Welcome(Welcome),
    /// Tells one revision of someone else.
    Op {
        /// The revision: the client's own plus 1.
        rev: Revision,
        /// Who wrote it.
        #[serde(rename = "a")]
        author: ParticipantId,
        /// The revision that its author had.
        base: Revision,
        /// The accepted operation.
        #[serde(with = "operation")]
        op: Operation,
    },
    /// Tells several consecutive revisions of others.
    Ops {
        /// The revision of the first.
        rev: Revision,
        /// The revisions, in order.
        list: Vec<Edit>,
    },
    /// Tells several revisions composed into one, to a viewer.
    Merged {
        /// The revision of the last.
        rev: Revision,
        /// The composition.
        #[serde(with = "operation")]
        op: Operation,
    },
    /// Tells that a batch has its place but is not durable yet.
    Ordered {
        /// The batch.
        seq: Seq,
        /// The revision it is going to be.
        rev: Revision,
    },
    /// Tells that a batch is durable.
    Ack {
        /// The batch.
        seq: Seq,
        /// The revision that it is.
        rev: Revision,
        /// The accepted operation, where it is not the one that the client predicts.
        #[serde(default, with = "operation::optional")]
        op: Option<Operation>,
    },
    /// Tells who is there and where.
    Presence {
        /// The revision that the positions are for.
        rev: Revision,
        /// How many participants there are.
        n: u32,
        /// Those that changed.
        list: Vec<Participant>,
    },
    /// Says what went wrong.
    Error {
        /// What.
        #[serde(deserialize_with = "tolerant_code")]
        code: ErrorCode,
        /// Whether the connection ends.
        fatal: bool,
        /// What, for a person.
        msg: String,
        /// The batch that it is about, or the one that is expected.
        seq: Option<Seq>,
        /// When to try again.
        #[serde(rename = "retry_ms")]
        retry: Option<Millis>,
    },
    /// Tells to connect again, because the document changes its node.
    Moved {
        /// When.
        #[serde(rename = "retry_ms")]
        retry: Millis,
        /// Where, if not to the same address.
        url: Option<String>,
    },
    /// Answers `ping`.
    Pong {
        /// What the `ping` said.
        n: u64,
    },
}

/// The body of `welcome`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// [`VERSION`].
    pub v: u32,
    /// The revision that the client has before it applies the catch-up; `head` with a text.
    pub rev: Revision,
    /// The revision that the client has after it.
    pub head: Revision,
    /// The last durable batch of the session; 0: none.
    pub seq: Seq,
    /// What the client lacks.
    pub catch_up: CatchUp,
    /// What the client may do.
    pub mode: Mode,
    /// The client's own participant id.
    pub you: ParticipantId,
    /// What the client must keep to.
    pub limits: Allowance,
}

/// How a welcomed client reaches the head.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CatchUp {
    /// The text at the head.
    Text(String),
    /// The revisions from the client's own to the head.
    Ops(Vec<PastEdit>),
}

/// A revision in `ops`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Edit {
    /// Who wrote it.
    #[serde(rename = "a")]
    pub author: ParticipantId,
    /// The revision that its author had.
    pub base: Revision,
    /// The accepted operation.
    #[serde(with = "operation")]
    pub op: Operation,
}

/// A revision in `welcome`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PastEdit {
    /// Who wrote it.
    #[serde(rename = "a")]
    pub author: ParticipantId,
    /// The revision that its author had.
    pub base: Revision,
    /// The accepted operation.
    #[serde(with = "operation")]
    pub op: Operation,
    /// The batch's number, where it is of the welcomed session.
    pub own: Option<Seq>,
}

/// What a client must keep to: `welcome.limits`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Allowance {
    /// The most text that one operation inserts, in bytes of UTF-8.
    pub op_bytes: u64,
    /// The longest document, in scalar values.
    pub doc_chars: u64,
    /// The most batches a second, on average.
    pub ops_per_second: u32,
}

/// A participant in `presence`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Participant {
    /// Who.
    pub id: ParticipantId,
    /// How it is shown; `None`: as before.
    pub user: Option<User>,
    /// Its selection; `None`: it has none.
    pub sel: Option<Selection>,
    /// Whether it left.
    #[serde(default)]
    pub gone: bool,
}

/// Reads an error code; one of a later version counts as internal, which is tried again.
fn tolerant_code<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ErrorCode, D::Error> {
    let code = if deserializer.is_human_readable() {
        String::deserialize(deserializer)?.parse().ok()
    } else {
        let number = u32::deserialize(deserializer)?;
        usize::try_from(number).ok().and_then(|number| ErrorCode::ALL.get(number).copied())
    };
    Ok(code.unwrap_or(ErrorCode::Internal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_color_is_six_hex_digits() {
        assert_eq!("#00fFa1".parse(), Ok(Color([0, 255, 0xa1])));
        assert_eq!(Color([0, 255, 0xa1]).to_css(), "#00ffa1");
        for bad in ["", "#", "red", "#fff", "#12345", "#1234567", "#+12345", "#12345é", "#12345g"]
        {
            assert_eq!(bad.parse::<Color>(), Err(BadColor), "{bad}");
        }
    }

    #[test]
    fn a_duration_that_does_not_fit_is_cut() {
        assert_eq!(Millis::from(Duration::from_micros(2999)), Millis(2));
        assert_eq!(Millis::from(Duration::MAX), Millis(NUMBER_MAX));
        assert_eq!(Duration::from(Millis(5)), Duration::from_millis(5));
    }
}
