//! The bytes of a control record: one byte format version, a postcard body, a CRC-32 of both.
//!
//! The body has types of its own. The order of their variants and fields is the format: a change
//! is a new version, and the old one stays readable. A record has the least version that can say
//! it. One of a newer version is void for everybody: nobody writes it before the rules in force
//! have it (decision 11). With varints for all numbers and a length before each list and text; `x?`
//! is 0, or 1 and x:
//!
//! ```text
//! record  = version body crc32-le
//! body    = 0 cluster shards at                                          founded
//!         | 1 node boot replaces? client peer admin weight
//!             software speaks-min speaks-max rules-max at                join
//!         | 2 node boot ack-p99-ms sessions documents                    heartbeat
//!         | 3 node boot by by-boot                                       down
//!         | 4 node boot                                                  leave
//!         | 5 node boot (shard epoch)*                                   owned
//!         | 6 node boot (shard epoch)*                                   disowned
//!         | 7 shard from from-boot to at                                 move begun
//!         | 8 shard from from-boot (0 | 1 reason)                        move ended
//!         | 9 name why at expected? order                                command
//!         | 10 at state                                                  snapshot
//!         | 11 join rules-min                                            join, since version 2
//! order   = 0 node weight | 1 shard node | 2 shard | 3 node deadline? | 4 node
//!         | 5 per-node cluster | 6 | 7 | 8 shard to | 9 on | 10 token until
//! token   = 0 id | 1 subject issued
//! ```

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cluster::record::{
    Addresses, BadText, Command, Disowned, Down, Founded, Heartbeat, Join, Leave, Limits,
    MoveBegun, MoveEnded, Operator, Order, Outcome, Owned, Record, SHARDS_MAX, Snapshot, Token,
    Version,
};
use crate::types::{BadDocId, Epoch, NodeId, Offset, ShardId, Timestamp};

/// The longest control record, in bytes.
pub const RECORD_BYTES_MAX: usize = 1024 * 1024;

const VERSION: u8 = 2;
const CRC_BYTES: usize = 4;

/// Tells why bytes are no control record: a reader skips the record and counts it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is shorter than any record or longer than the longest.
    #[error("a control record has 6 to {RECORD_BYTES_MAX} bytes, this one has {bytes}")]
    Length {
        /// The length.
        bytes: usize,
    },
    /// The checksum does not hold: it was damaged, or is something else.
    #[error("the checksum of the control record does not hold")]
    Checksum,
    /// A newer program wrote it.
    #[error("the control record has format {found}, this program knows 1 to {VERSION}: upgrade")]
    Version {
        /// The format.
        found: u8,
    },
    /// The body is of a kind that its format does not have.
    #[error("the control record is of a kind that format {found} does not have")]
    Kind {
        /// The format.
        found: u8,
    },
    /// The body is not of this format.
    #[error("the body of the control record does not decode")]
    Body(#[from] postcard::Error),
    /// Something stands behind the body.
    #[error("{bytes} bytes stand behind the body of the control record")]
    Trailing {
        /// How much.
        bytes: usize,
    },
    /// A list is too long.
    #[error("the control record lists {count} shards, {SHARDS_MAX} are allowed")]
    TooMany {
        /// Its length.
        count: usize,
    },
    /// A node name is none.
    #[error("the control record holds an invalid node name")]
    Node(#[from] BadDocId),
    /// A text is too long, or not for people.
    #[error("the control record holds an invalid text")]
    Text(#[from] BadText),
}

#[derive(Serialize, Deserialize)]
enum Body<'a> {
    Founded(u128, u32, Timestamp),
    #[serde(borrow)]
    Join(JoinBody<'a>),
    Heartbeat(&'a str, u64, u32, u32, u32),
    Down(&'a str, u64, &'a str, u64),
    Leave(&'a str, u64),
    Owned(&'a str, u64, Shards<'a>),
    Disowned(&'a str, u64, Shards<'a>),
    MoveBegun(ShardId, &'a str, u64, &'a str, Timestamp),
    MoveEnded(ShardId, &'a str, u64, OutcomeBody<'a>),
    Command(&'a str, &'a str, Timestamp, Option<Offset>, OrderBody<'a>),
    Snapshot(Offset, &'a [u8]),
    /// With the least version of the rules, where it is not the greatest.
    JoinWithin(JoinBody<'a>, u16),
}

type Shards<'a> = Cow<'a, [(ShardId, Epoch)]>;

#[derive(Serialize, Deserialize)]
struct JoinBody<'a> {
    node: &'a str,
    boot: u64,
    replaces: Option<u64>,
    client: &'a str,
    peer: &'a str,
    admin: &'a str,
    weight: u32,
    software: &'a str,
    speaks: (u16, u16),
    rules: u16,
    at: Timestamp,
}

#[derive(Serialize, Deserialize)]
enum OutcomeBody<'a> {
    Done,
    Undone(&'a str),
}

#[derive(Serialize, Deserialize)]
enum OrderBody<'a> {
    Weight(&'a str, u32),
    Pin(ShardId, &'a str),
    Unpin(ShardId),
    Drain(&'a str, Option<Timestamp>),
    Undrain(&'a str),
    Limits(u32, u32),
    Pause,
    Resume,
    Move(ShardId, &'a str),
    Guard(bool),
    Revoke(TokenBody<'a>, Timestamp),
}

#[derive(Serialize, Deserialize)]
enum TokenBody<'a> {
    Id(&'a str),
    Subject(&'a str, Timestamp),
}

impl Record {
    /// Returns the record's bytes: format version, body, checksum.
    ///
    /// # Panics
    /// If the record is over a bound that decoding holds: it lists more than [`SHARDS_MAX`]
    /// shards, or a snapshot makes it longer than [`RECORD_BYTES_MAX`] bytes.
    pub fn encode(&self) -> Bytes {
        let body = body(self);
        let bytes = postcard::to_extend(&body, vec![body.version()]);
        let mut bytes = bytes.expect("a vector grows, and every list of the body knows its length");
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        assert!(bytes.len() <= RECORD_BYTES_MAX, "a control record of {} bytes", bytes.len());
        Bytes::from(bytes)
    }

    /// Reads a record back from its bytes, whoever wrote them.
    ///
    /// # Errors
    /// If they are not the bytes of a control record of this version; the checksum is checked
    /// first.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let length = DecodeError::Length { bytes: bytes.len() };
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(length);
        }
        let Some((checked, crc)) = bytes.split_last_chunk::<CRC_BYTES>() else {
            return Err(length);
        };
        let [version, body @ ..] = checked else { return Err(length) };
        if crc32fast::hash(checked) != u32::from_le_bytes(*crc) {
            return Err(DecodeError::Checksum);
        }
        if !(1..=VERSION).contains(version) {
            return Err(DecodeError::Version { found: *version });
        }
        let (body, rest) = postcard::take_from_bytes::<Body<'_>>(body)?;
        if !rest.is_empty() {
            return Err(DecodeError::Trailing { bytes: rest.len() });
        }
        if body.version() != *version {
            return Err(DecodeError::Kind { found: *version });
        }
        record(body)
    }
}

impl DecodeError {
    /// Tells whether a newer program wrote the record.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Version { found } if *found > VERSION)
    }

    /// Names the reason: each is logged by itself.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Length { .. } => "length",
            Self::Checksum => "checksum",
            Self::Version { .. } => "version",
            Self::Kind { .. }
            | Self::Body(_)
            | Self::Trailing { .. }
            | Self::TooMany { .. }
            | Self::Node(_)
            | Self::Text(_) => "body",
        }
    }
}

impl Body<'_> {
    /// Returns the first version that has this kind.
    fn version(&self) -> u8 {
        match self {
            Self::Founded(..)
            | Self::Join(_)
            | Self::Heartbeat(..)
            | Self::Down(..)
            | Self::Leave(..)
            | Self::Owned(..)
            | Self::Disowned(..)
            | Self::MoveBegun(..)
            | Self::MoveEnded(..)
            | Self::Command(..)
            | Self::Snapshot(..) => 1,
            Self::JoinWithin(..) => 2,
        }
    }
}

fn body(record: &Record) -> Body<'_> {
    match record {
        Record::Founded(Founded { cluster, shards, at }) => Body::Founded(*cluster, *shards, *at),
        Record::Join(join) => match join.version.rules {
            (least, greatest) if least == greatest => Body::Join(join_body(join)),
            (least, _) => Body::JoinWithin(join_body(join), least),
        },
        Record::Heartbeat(Heartbeat { node, boot, ack_p99_ms, sessions, documents }) => {
            Body::Heartbeat(name(node), *boot, *ack_p99_ms, *sessions, *documents)
        }
        Record::Down(Down { node, boot, by, by_boot }) => {
            Body::Down(name(node), *boot, name(by), *by_boot)
        }
        Record::Leave(Leave { node, boot }) => Body::Leave(name(node), *boot),
        Record::Owned(Owned { node, boot, shards }) => {
            Body::Owned(name(node), *boot, listed(shards))
        }
        Record::Disowned(Disowned { node, boot, shards }) => {
            Body::Disowned(name(node), *boot, listed(shards))
        }
        Record::MoveBegun(MoveBegun { shard, from, from_boot, to, at }) => {
            Body::MoveBegun(*shard, name(from), *from_boot, name(to), *at)
        }
        Record::MoveEnded(MoveEnded { shard, from, from_boot, outcome }) => {
            let outcome = match outcome {
                Outcome::Done => OutcomeBody::Done,
                Outcome::Undone(why) => OutcomeBody::Undone(why.as_str()),
            };
            Body::MoveEnded(*shard, name(from), *from_boot, outcome)
        }
        Record::Command(Command { by, expected, order }) => {
            let Operator { name, why, at } = by;
            Body::Command(name.as_str(), why.as_str(), *at, *expected, order_body(order))
        }
        Record::Snapshot(Snapshot { at, state }) => Body::Snapshot(*at, state),
    }
}

fn join_body(join: &Join) -> JoinBody<'_> {
    JoinBody {
        node: name(&join.node),
        boot: join.boot,
        replaces: join.replaces,
        client: join.addresses.client.as_str(),
        peer: join.addresses.peer.as_str(),
        admin: join.addresses.admin.as_str(),
        weight: join.weight,
        software: join.version.software.as_str(),
        speaks: join.version.speaks,
        rules: join.version.rules.1,
        at: join.at,
    }
}

fn order_body(order: &Order) -> OrderBody<'_> {
    match order {
        Order::Weight { node, weight } => OrderBody::Weight(name(node), *weight),
        Order::Pin { shard, node } => OrderBody::Pin(*shard, name(node)),
        Order::Unpin { shard } => OrderBody::Unpin(*shard),
        Order::Drain { node, deadline } => OrderBody::Drain(name(node), *deadline),
        Order::Undrain { node } => OrderBody::Undrain(name(node)),
        Order::Limits(Limits { per_node, cluster }) => OrderBody::Limits(*per_node, *cluster),
        Order::Pause => OrderBody::Pause,
        Order::Resume => OrderBody::Resume,
        Order::Move { shard, to } => OrderBody::Move(*shard, name(to)),
        Order::Guard { on } => OrderBody::Guard(*on),
        Order::Revoke { token, until } => {
            let token = match token {
                Token::Id(id) => TokenBody::Id(id.as_str()),
                Token::Subject { subject, issued } => TokenBody::Subject(subject.as_str(), *issued),
            };
            OrderBody::Revoke(token, *until)
        }
    }
}

fn name(node: &NodeId) -> &str {
    node.0.as_str()
}

fn listed(shards: &[(ShardId, Epoch)]) -> Shards<'_> {
    assert!(shards.len() <= SHARDS_MAX as usize, "a record lists {} shards", shards.len());
    Cow::Borrowed(shards)
}

fn record(body: Body<'_>) -> Result<Record, DecodeError> {
    Ok(match body {
        Body::Founded(cluster, shards, at) => Record::Founded(Founded { cluster, shards, at }),
        Body::Join(body) => Record::Join(join(body.rules, body)?),
        Body::JoinWithin(body, least) => Record::Join(join(least, body)?),
        Body::Heartbeat(name, boot, ack_p99_ms, sessions, documents) => {
            let node = node(name)?;
            Record::Heartbeat(Heartbeat { node, boot, ack_p99_ms, sessions, documents })
        }
        Body::Down(name, boot, by, by_boot) => {
            Record::Down(Down { node: node(name)?, boot, by: node(by)?, by_boot })
        }
        Body::Leave(name, boot) => Record::Leave(Leave { node: node(name)?, boot }),
        Body::Owned(name, boot, list) => {
            Record::Owned(Owned { node: node(name)?, boot, shards: shards(list)? })
        }
        Body::Disowned(name, boot, list) => {
            Record::Disowned(Disowned { node: node(name)?, boot, shards: shards(list)? })
        }
        Body::MoveBegun(shard, from, from_boot, to, at) => {
            let (from, to) = (node(from)?, node(to)?);
            Record::MoveBegun(MoveBegun { shard, from, from_boot, to, at })
        }
        Body::MoveEnded(shard, from, from_boot, outcome) => {
            let outcome = match outcome {
                OutcomeBody::Done => Outcome::Done,
                OutcomeBody::Undone(why) => Outcome::Undone(why.parse()?),
            };
            Record::MoveEnded(MoveEnded { shard, from: node(from)?, from_boot, outcome })
        }
        Body::Command(name, why, at, expected, body) => {
            let by = Operator { name: name.parse()?, why: why.parse()?, at };
            Record::Command(Command { by, expected, order: order(body)? })
        }
        Body::Snapshot(at, state) => {
            Record::Snapshot(Snapshot { at, state: Bytes::copy_from_slice(state) })
        }
    })
}

fn join(least: u16, body: JoinBody<'_>) -> Result<Join, DecodeError> {
    let addresses = Addresses {
        client: body.client.parse()?,
        peer: body.peer.parse()?,
        admin: body.admin.parse()?,
    };
    let (speaks, rules) = (body.speaks, (least, body.rules));
    Ok(Join {
        node: node(body.node)?,
        boot: body.boot,
        replaces: body.replaces,
        addresses,
        weight: body.weight,
        version: Version { software: body.software.parse()?, speaks, rules },
        at: body.at,
    })
}

fn order(body: OrderBody<'_>) -> Result<Order, DecodeError> {
    Ok(match body {
        OrderBody::Weight(name, weight) => Order::Weight { node: node(name)?, weight },
        OrderBody::Pin(shard, name) => Order::Pin { shard, node: node(name)? },
        OrderBody::Unpin(shard) => Order::Unpin { shard },
        OrderBody::Drain(name, deadline) => Order::Drain { node: node(name)?, deadline },
        OrderBody::Undrain(name) => Order::Undrain { node: node(name)? },
        OrderBody::Limits(per_node, cluster) => Order::Limits(Limits { per_node, cluster }),
        OrderBody::Pause => Order::Pause,
        OrderBody::Resume => Order::Resume,
        OrderBody::Move(shard, to) => Order::Move { shard, to: node(to)? },
        OrderBody::Guard(on) => Order::Guard { on },
        OrderBody::Revoke(token, until) => {
            let token = match token {
                TokenBody::Id(id) => Token::Id(id.parse()?),
                TokenBody::Subject(subject, issued) => {
                    Token::Subject { subject: subject.parse()?, issued }
                }
            };
            Order::Revoke { token, until }
        }
    })
}

fn node(name: &str) -> Result<NodeId, BadDocId> {
    name.parse().map(NodeId)
}

fn shards(list: Shards<'_>) -> Result<Vec<(ShardId, Epoch)>, DecodeError> {
    let count = list.len();
    if count > SHARDS_MAX as usize {
        return Err(DecodeError::TooMany { count });
    }
    Ok(list.into_owned())
}

#[cfg(test)]
mod tests;
