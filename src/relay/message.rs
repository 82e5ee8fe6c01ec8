//! The bytes of what nodes say to each other, version 3.
//!
//! A message is a call's number (0 where no answer is wanted), a kind, and what the kind has, in
//! postcard. The order of kinds and fields is the format: a new kind comes last and raises the
//! version that a node speaks; a kind is never changed. A node that asks (`Ask`) has dialled; the
//! one that tells (`Told`) owns the documents.

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::access::{self, Asker, Denied, Rights, Subject, TooManyMembers};
use crate::doc::{self, ConnId, Mode, Presence, PresenceRow, Refusal, User};
use crate::relay::error::{DecodeError, HelloError};
use crate::text::{Component, Operation};
use crate::types::{
    Author, DocId, NodeId, Offset, ParticipantId, Revision, Seq, SessionId, ShardId,
};

/// The longest greeting, in bytes.
pub(crate) const HELLO_BYTES_MAX: usize = 1_024;

/// How a greeting begins, in every version.
const MAGIC: &[u8; 8] = b"quire\0p2";

/// The first message of both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The cluster.
    pub cluster: u128,
    /// The node.
    pub node: NodeId,
    /// Tells this start of it from others.
    pub boot: u64,
    /// The oldest and the newest version that it speaks.
    pub speaks: (u16, u16),
}

impl Hello {
    /// Returns the greeting's bytes.
    pub fn encode(&self) -> Bytes {
        let Self { cluster, node, boot, speaks } = self;
        let bytes = postcard::to_extend(&(cluster, node, boot, speaks), MAGIC.to_vec());
        Bytes::from(bytes.expect("a vector grows"))
    }

    /// Reads a greeting; what a newer one says beyond this is passed over.
    ///
    /// # Errors
    /// [`HelloError::Garbage`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        let garbage = |detail| HelloError::Garbage { detail };
        let rest = bytes.strip_prefix(MAGIC).ok_or(garbage("it does not begin like a node"))?;
        let ((cluster, node, boot, speaks), _) =
            postcard::take_from_bytes(rest).map_err(|_| garbage("its greeting is damaged"))?;
        Ok(Self { cluster, node, boot, speaks })
    }
}

/// What a node asks the owner of documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Whether it is there.
    Ping,
    /// To be told of a document from now on, beginning with what `from` lacks.
    Subscribe { sub: u64, doc: DocId, from: Option<Revision> },
    /// No more of it: all its clients are gone, too.
    Unsubscribe { sub: u64 },
    /// To take a client.
    Attach { sub: u64, client: Client },
    /// A client is gone.
    Detach { sub: u64, conn: u64 },
    /// To take a client's batch.
    Submit { sub: u64, conn: u64, seq: Seq, base: Revision, op: Op },
    /// Where clients are now.
    Place { sub: u64, carets: Vec<Caret> },
    /// The revisions after one that the copy does not keep any more.
    Missed { sub: u64, from: Revision },
    /// A request of the HTTP API.
    Request(Request),
    /// To warm up for a shard that comes.
    Warm { shard: ShardId },
    /// To claim a shard that was released.
    Released { shard: ShardId, offset: Offset },
    /// As `Subscribe`, where whoever is behind the copy may read; from version 3 on.
    Follow { sub: u64, doc: DocId, from: Option<Revision>, who: Who, mode: Access },
}

/// What the owner tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// It is there.
    Pong,
    /// It does not know what it was asked.
    Unknown,
    /// The subscription begins here.
    Subscribed { head: Revision, content: Content },
    /// The client is taken; `seq` is its last durable batch at `head`.
    Attached { conn: u64, head: Revision, seq: Seq, mode: Access, you: ParticipantId },
    /// The subscription or the client is not taken.
    Refused(Denial),
    /// What was missed, where it is at hand.
    Missed(Option<Vec<Row>>),
    /// The answer to a request.
    Response(Response),
    /// It is done.
    Done,
    /// It is not done, and why.
    Denied(String),
    /// Revisions are durable.
    Changed { sub: u64, rows: Vec<Row> },
    /// Who is there.
    Presence { sub: u64, people: People },
    /// Something for one client alone.
    Alone { sub: u64, conn: u64, what: Alone },
    /// The subscription is over.
    Closed { sub: u64, denial: Denial },
}

const ASKS: u8 = 12;
const TOLDS: u8 = 13;
const CHANGED: u8 = 9;
const PRESENCE: u8 = 10;

/// A kind of message.
pub trait Message: Serialize + DeserializeOwned {
    /// How many kinds there are.
    const KINDS: u8;
}

impl Message for Ask {
    const KINDS: u8 = ASKS;
}

impl Message for Told {
    const KINDS: u8 = TOLDS;
}

/// Returns the bytes of a message; `call` is 0 where no answer is wanted, or none is given.
pub fn encode(call: u64, message: &impl Message) -> Bytes {
    let bytes = postcard::to_extend(&(call, message), Vec::new());
    Bytes::from(bytes.expect("a vector grows, and every list knows its length"))
}

/// Reads a message, whoever wrote it.
///
/// # Errors
/// [`DecodeError`]; one of an unknown kind is no reason to close the link.
pub fn decode<M: Message>(bytes: &[u8]) -> Result<(u64, M), DecodeError> {
    let (call, rest) = postcard::take_from_bytes::<u64>(bytes)?;
    match rest.first() {
        None => return Err(DecodeError::Empty),
        Some(kind) if *kind >= M::KINDS => return Err(DecodeError::Unknown { call, kind: *kind }),
        Some(_) => {}
    }
    let (message, rest) = postcard::take_from_bytes(rest)?;
    if rest.is_empty() {
        Ok((call, message))
    } else {
        Err(DecodeError::Trailing { bytes: rest.len() })
    }
}

/// A client to be taken.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub session: SessionId,
    pub socket: u64,
    pub replaces: Option<u64>,
    pub subject: Option<Subject>,
    pub granted: Rights,
    pub rev: Option<Revision>,
    pub mode: Access,
    pub ordered: bool,
    pub user: Option<(String, String)>,
    pub author: Author,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?}, {:?})", self.session, self.rev)
    }
}

/// What a client may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    Edit,
    View,
}

impl From<Mode> for Access {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Edit => Self::Edit,
            Mode::View => Self::View,
        }
    }
}

impl From<Access> for Mode {
    fn from(access: Access) -> Self {
        match access {
            Access::Edit => Self::Edit,
            Access::View => Self::View,
        }
    }
}

/// What a copy begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Content {
    Text(String),
    Changes(Vec<Row>),
}

/// Where a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caret {
    pub conn: u64,
    pub rev: Revision,
    pub sel: Option<(u64, u64)>,
}

/// One revision. Its author's name is the history's, which only the owner has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub rev: Revision,
    pub session: SessionId,
    pub seq: Seq,
    pub base: Revision,
    pub via: Option<u64>,
    pub surprising: bool,
    pub op: Op,
}

impl From<&doc::Change> for Row {
    fn from(change: &doc::Change) -> Self {
        Self {
            rev: change.rev,
            session: change.session,
            seq: change.seq,
            base: change.base,
            via: change.via.map(|conn| conn.0),
            surprising: change.surprising,
            op: Op(change.op.clone()),
        }
    }
}

impl From<Row> for doc::Change {
    fn from(row: Row) -> Self {
        let Row { rev, session, seq, base, via, surprising, op: Op(op) } = row;
        let (author, via) = (Author::anonymous(), via.map(ConnId));
        Self { rev, session, seq, author, base, op, via, surprising }
    }
}

/// Returns the revisions as rows.
pub(crate) fn rows(changes: &[Arc<doc::Change>]) -> Vec<Row> {
    changes.iter().map(|change| Row::from(&**change)).collect()
}

/// Who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct People {
    pub rev: Revision,
    pub count: u64,
    pub list: Vec<Person>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub id: ParticipantId,
    pub user: Option<(String, String)>,
    pub sel: Option<(u64, u64)>,
    pub gone: bool,
}

impl From<&Presence> for People {
    fn from(presence: &Presence) -> Self {
        let person = |row: &PresenceRow| Person {
            id: row.id,
            user: row.user.clone().map(|user| (user.name, user.color)),
            sel: row.sel,
            gone: row.gone,
        };
        let list = presence.rows.iter().map(person).collect();
        Self { rev: presence.rev, count: presence.participants as u64, list }
    }
}

impl From<People> for Presence {
    fn from(people: People) -> Self {
        let row = |person: Person| PresenceRow {
            id: person.id,
            user: person.user.map(|(name, color)| User { name, color }),
            sel: person.sel,
            gone: person.gone,
        };
        Self {
            rev: people.rev,
            participants: usize::try_from(people.count).unwrap_or(usize::MAX),
            rows: people.list.into_iter().map(row).collect(),
            encoded: doc::Encodings::default(),
        }
    }
}

/// What one client is told alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Alone {
    Ordered { seq: Seq, rev: Revision },
    Repeated { seq: Seq, rev: Revision },
    Refused { seq: Seq, denial: Denial },
    Closed(Denial),
}

/// A request of the HTTP API, as it came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path and query.
    pub target: String,
    /// What the body is.
    pub content_type: Option<String>,
    /// Other headers that say what is wanted, of a fixed list.
    pub headers: Vec<(String, String)>,
    /// Who asks: the node that the request came to has found out.
    pub who: Who,
    /// The body.
    pub body: Blob,
}

/// Who asks for something about one document.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Who, where that is known.
    pub subject: Option<Subject>,
    /// What was granted for the document, whatever it says itself.
    pub granted: Rights,
    /// The name that others see.
    pub name: Author,
}

impl Who {
    /// Returns the server itself, or anybody where it is open.
    pub fn anything() -> Self {
        let Asker { subject, granted } = Asker::anything();
        Self { subject, granted, name: Author::anonymous() }
    }
}

impl fmt::Debug for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Who({:?}, {:?})", self.subject, self.granted)
    }
}

impl From<Who> for Asker {
    fn from(who: Who) -> Self {
        Self { subject: who.subject, granted: who.granted }
    }
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// What the body is.
    pub content_type: Option<String>,
    /// Other headers that the client is told, of a fixed list.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Blob,
}

/// A refusal, field by field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denial {
    BadOp(String),
    BadBase { base: Revision, oldest: Revision, head: Revision },
    Pipelined(Seq),
    Gap(Seq),
    TooLarge { chars: u64, limit: u64 },
    TooLong { bytes: u64, limit: u64 },
    TooManyVersions(u64),
    Internal(String),
    ReadOnly,
    NoDocument,
    Replaced,
    Quarantined(String),
    Full(Duration),
    Moved,
    Unavailable(String, Duration),
    Occupied(u64),
    TooManyMembers,
    Denied { known: bool, right: Right },
    Exists,
}

/// A right that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Right {
    Read,
    Write,
    History,
    Admin,
}

impl From<access::Right> for Right {
    fn from(right: access::Right) -> Self {
        match right {
            access::Right::Read => Self::Read,
            access::Right::Write => Self::Write,
            access::Right::History => Self::History,
            access::Right::Admin => Self::Admin,
        }
    }
}

impl From<Right> for access::Right {
    fn from(right: Right) -> Self {
        match right {
            Right::Read => Self::Read,
            Right::Write => Self::Write,
            Right::History => Self::History,
            Right::Admin => Self::Admin,
        }
    }
}

impl From<&Refusal> for Denial {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::BadOp { detail } => Self::BadOp(detail.clone()),
            Refusal::BadBase { base, oldest, head } => {
                Self::BadBase { base: *base, oldest: *oldest, head: *head }
            }
            Refusal::Pipelined { pending } => Self::Pipelined(*pending),
            Refusal::Gap { expected } => Self::Gap(*expected),
            Refusal::TooLarge { chars, limit } => Self::TooLarge { chars: *chars, limit: *limit },
            Refusal::TooLong { bytes, limit } => {
                Self::TooLong { bytes: *bytes as u64, limit: *limit as u64 }
            }
            Refusal::TooManyVersions { limit } => Self::TooManyVersions(*limit as u64),
            Refusal::Internal { reason } => Self::Internal(reason.clone()),
            Refusal::ReadOnly => Self::ReadOnly,
            Refusal::NoDocument => Self::NoDocument,
            Refusal::Replaced => Self::Replaced,
            Refusal::Quarantined { reason } => Self::Quarantined(reason.clone()),
            Refusal::Full { retry } => Self::Full(*retry),
            Refusal::Moved => Self::Moved,
            Refusal::Unavailable { reason, retry } => Self::Unavailable(reason.clone(), *retry),
            Refusal::Occupied { by } => Self::Occupied(*by),
            Refusal::TooManyMembers(TooManyMembers) => Self::TooManyMembers,
            Refusal::Denied(Denied::Unknown(right)) => {
                Self::Denied { known: false, right: (*right).into() }
            }
            Refusal::Denied(Denied::Forbidden(right)) => {
                Self::Denied { known: true, right: (*right).into() }
            }
            Refusal::Exists => Self::Exists,
        }
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        match denial {
            Denial::BadOp(detail) => Self::BadOp { detail },
            Denial::BadBase { base, oldest, head } => Self::BadBase { base, oldest, head },
            Denial::Pipelined(pending) => Self::Pipelined { pending },
            Denial::Gap(expected) => Self::Gap { expected },
            Denial::TooLarge { chars, limit } => Self::TooLarge { chars, limit },
            Denial::TooLong { bytes, limit } => {
                Self::TooLong { bytes: size(bytes), limit: size(limit) }
            }
            Denial::TooManyVersions(limit) => Self::TooManyVersions { limit: size(limit) },
            Denial::Internal(reason) => Self::Internal { reason },
            Denial::ReadOnly => Self::ReadOnly,
            Denial::NoDocument => Self::NoDocument,
            Denial::Replaced => Self::Replaced,
            Denial::Quarantined(reason) => Self::Quarantined { reason },
            Denial::Full(retry) => Self::Full { retry },
            Denial::Moved => Self::Moved,
            Denial::Unavailable(reason, retry) => Self::Unavailable { reason, retry },
            Denial::Occupied(by) => Self::Occupied { by },
            Denial::TooManyMembers => Self::TooManyMembers(TooManyMembers),
            Denial::Denied { known: false, right } => Self::Denied(Denied::Unknown(right.into())),
            Denial::Denied { known: true, right } => Self::Denied(Denied::Forbidden(right.into())),
            Denial::Exists => Self::Exists,
        }
    }
}

/// Returns how a message about revisions begins; what follows is the same for every link.
pub(crate) fn changed_head(sub: u64) -> Bytes {
    head(CHANGED, sub)
}

/// Returns how a message about who is there begins; what follows is the same for every link.
pub(crate) fn presence_head(sub: u64) -> Bytes {
    head(PRESENCE, sub)
}

fn head(kind: u8, sub: u64) -> Bytes {
    shared(&(0_u64, kind, sub))
}

/// Encodes what every link is sent alike.
pub(crate) fn shared(what: &impl Serialize) -> Bytes {
    Bytes::from(postcard::to_extend(what, Vec::new()).expect("a vector grows"))
}

/// Bytes that are nobody's business on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blob(pub Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let bytes = <&[u8]>::deserialize(from)?;
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }
}

/// An operation: a list of components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op(pub Operation);

#[derive(Serialize, Deserialize)]
enum Part<'a> {
    Retain(u32),
    Insert(&'a str),
    Delete(u32),
}

impl Serialize for Op {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let components = self.0.components();
        let mut list = serializer.serialize_seq(Some(components.len()))?;
        for component in components {
            list.serialize_element(&match component {
                Component::Retain(chars) => Part::Retain(*chars),
                Component::Insert(text) => Part::Insert(text),
                Component::Delete(chars) => Part::Delete(*chars),
            })?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Op {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Parts;

        impl<'de> Visitor<'de> for Parts {
            type Value = Op;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an operation")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Op, A::Error> {
                let mut components = Vec::new();
                while let Some(part) = list.next_element::<Part<'_>>()? {
                    components.push(match part {
                        Part::Retain(chars) => Component::Retain(chars),
                        Part::Insert(text) => Component::Insert(text.into()),
                        Part::Delete(chars) => Component::Delete(chars),
                    });
                }
                Operation::from_components(components).map(Op).map_err(A::Error::custom)
            }
        }

        from.deserialize_seq(Parts)
    }
}

#[cfg(test)]
mod tests;
