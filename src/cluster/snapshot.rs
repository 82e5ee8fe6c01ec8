//! The bytes of the whole state, as a snapshot record holds it: one byte format version and a
//! postcard body. The record around it has the checksum.
//!
//! One state has one encoding: the fingerprint is a hash of it. Nodes stand as places in the list
//! of members, so that a state with all that is allowed fits one record. Every bound of the state
//! is checked when it is read back. Version 2 ends with the least version of the rules of each
//! member; a state has version 1 where that is the greatest, too, for all of them.

use std::collections::BTreeMap;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use crate::cluster::control::{
    Drain, Lasts, Load, MEMBERS_MAX, Member, Pin, Revoked, Shard, State, Status,
};
use crate::cluster::record::{Addresses, Founded, Limits, SHARDS_MAX, Token, Version};
use crate::types::{Epoch, NodeId, Offset, ShardId, Timestamp};

/// The versions of the format.
const PLAIN: u8 = 1;
const WITH_LEAST: u8 = 2;

/// The version of the format of a list of what is revoked.
const LISTED: u8 = 1;

const HASH_KEY: (u64, u64) = (0x7175_6972_652d_636f, 0x6e74_726f_6c2d_6670);

#[derive(Serialize, Deserialize)]
struct StateBody<'a> {
    founded: Option<(u128, u32, Timestamp)>,
    rules: Option<u16>,
    #[serde(borrow)]
    members: Vec<MemberBody<'a>>,
    shards: Vec<ShardBody>,
    pins: Vec<(ShardId, u32, LastsBody)>,
    revoked: RevokedBody<'a>,
    limits: (u32, u32),
    paused: bool,
    guard: bool,
    placement_changed_at: Option<Offset>,
}

#[derive(Serialize, Deserialize)]
struct MemberBody<'a> {
    node: &'a str,
    boot: u64,
    status: StatusBody,
    client: &'a str,
    peer: &'a str,
    admin: &'a str,
    weight: u32,
    configured_weight: u32,
    software: &'a str,
    speaks: (u16, u16),
    /// The greatest version.
    rules: u16,
    joined_at: Timestamp,
    drain: Option<Option<Timestamp>>,
    load: Option<(u32, u32, u32)>,
    votes: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
enum StatusBody {
    Up,
    Down,
    Left,
}

#[derive(Serialize, Deserialize)]
enum LastsBody {
    Always,
    UntilThere,
}

#[derive(Serialize, Deserialize)]
struct RevokedBody<'a> {
    #[serde(borrow)]
    tokens: Vec<(&'a str, Timestamp)>,
    /// With up to when they were issued.
    subjects: Vec<(&'a str, Timestamp, Timestamp)>,
}

#[derive(Serialize, Deserialize)]
struct ShardBody {
    placed: Option<u32>,
    owner: Option<u32>,
    epoch: Option<Epoch>,
    moving: Option<(u32, Timestamp)>,
    undone: u32,
}

/// Returns the bytes of a state.
pub(in crate::cluster) fn encode(state: &State) -> Bytes {
    let places: BTreeMap<&NodeId, u32> = state.members.keys().zip(0..).collect();
    let place = |node: &NodeId| places.get(node).copied().expect("the state names members only");
    let members = state.members.iter().map(|(node, member)| member_body(node, member, &place));
    let shards = state.shards.iter().map(|shard| ShardBody {
        placed: shard.placed.as_ref().map(place),
        owner: shard.owner.as_ref().map(place),
        epoch: shard.epoch,
        moving: shard.moving.as_ref().map(|(to, at)| (place(to), *at)),
        undone: shard.undone,
    });
    let pins = state.pins.iter().map(|(shard, pin)| {
        let lasts = match pin.lasts {
            Lasts::Always => LastsBody::Always,
            Lasts::UntilThere => LastsBody::UntilThere,
        };
        (*shard, place(&pin.node), lasts)
    });
    let founded = state.founded.as_ref();
    let body = StateBody {
        founded: founded.map(|founded| (founded.cluster, founded.shards, founded.at)),
        rules: state.rules,
        members: members.collect(),
        shards: shards.collect(),
        pins: pins.collect(),
        revoked: revoked_body(&state.revoked),
        limits: (state.limits.per_node, state.limits.cluster),
        paused: state.paused,
        guard: state.guard,
        placement_changed_at: state.placement_changed_at,
    };
    let rules = state.members.values().map(|member| member.version.rules);
    let least: Vec<_> = rules.clone().map(|(least, _)| least).collect();
    let bytes = if rules.clone().all(|(least, greatest)| least == greatest) {
        postcard::to_extend(&body, vec![PLAIN])
    } else {
        postcard::to_extend(&(body, least), vec![WITH_LEAST])
    };
    Bytes::from(bytes.expect("a vector grows, and every list knows its length"))
}

/// Returns the bytes of a list of what is revoked by itself: version, body, checksum.
pub(in crate::cluster) fn encode_revoked(revoked: &Revoked) -> Vec<u8> {
    let bytes = postcard::to_extend(&revoked_body(revoked), vec![LISTED]);
    let mut bytes = bytes.expect("a vector grows, and every list knows its length");
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// Reads such a list back; none if the bytes are none.
pub(in crate::cluster) fn decode_revoked(bytes: &[u8]) -> Option<Revoked> {
    let (checked, crc) = bytes.split_last_chunk()?;
    if crc32fast::hash(checked) != u32::from_le_bytes(*crc) {
        return None;
    }
    let (&LISTED, body) = checked.split_first()? else { return None };
    let revoked = revoked(postcard::from_bytes(body).ok()?)?;
    (encode_revoked(&revoked) == bytes).then_some(revoked)
}

fn revoked_body(revoked: &Revoked) -> RevokedBody<'_> {
    let tokens = revoked.tokens().map(|(id, until)| (id.as_str(), until));
    let subjects = revoked.subjects();
    let subjects = subjects.map(|(subject, issued, until)| (subject.as_str(), issued, until));
    RevokedBody { tokens: tokens.collect(), subjects: subjects.collect() }
}

/// Returns the list; none if it is longer than any.
fn revoked(body: RevokedBody<'_>) -> Option<Revoked> {
    let mut revoked = Revoked::default();
    let mut add = |token: &Token, until| revoked.revoke(token, until, Timestamp(0)).ok();
    for (id, until) in body.tokens {
        add(&Token::Id(id.parse().ok()?), until)?;
    }
    for (subject, issued, until) in body.subjects {
        add(&Token::Subject { subject: subject.parse().ok()?, issued }, until)?;
    }
    Some(revoked)
}

fn member_body<'a>(
    node: &'a NodeId,
    member: &'a Member,
    place: &impl Fn(&NodeId) -> u32,
) -> MemberBody<'a> {
    let Load { ack_p99, sessions, documents } = member.load.unwrap_or_default();
    let ack_p99 = u32::try_from(ack_p99.as_millis()).unwrap_or(u32::MAX);
    MemberBody {
        node: node.0.as_str(),
        boot: member.boot,
        status: match member.status {
            Status::Up => StatusBody::Up,
            Status::Down => StatusBody::Down,
            Status::Left => StatusBody::Left,
        },
        client: member.addresses.client.as_str(),
        peer: member.addresses.peer.as_str(),
        admin: member.addresses.admin.as_str(),
        weight: member.weight,
        configured_weight: member.configured_weight,
        software: member.version.software.as_str(),
        speaks: member.version.speaks,
        rules: member.version.rules.1,
        joined_at: member.joined_at,
        drain: member.drain.map(|drain| drain.deadline),
        load: member.load.map(|_| (ack_p99, sessions, documents)),
        votes: member.votes.iter().map(place).collect(),
    }
}

/// Reads a state back; none if the bytes are no state of this version.
pub(in crate::cluster) fn decode(bytes: &[u8]) -> Option<State> {
    let (&version, body) = bytes.split_first()?;
    let (body, rest) = postcard::take_from_bytes::<StateBody<'_>>(body).ok()?;
    let greatest = || body.members.iter().map(|member| member.rules).collect();
    let (least, rest): (Vec<u16>, _) = match version {
        PLAIN => (greatest(), rest),
        WITH_LEAST => postcard::take_from_bytes(rest).ok()?,
        _ => return None,
    };
    let bounded = body.members.len() <= MEMBERS_MAX;
    if least.len() != body.members.len() || !rest.is_empty() || !bounded {
        return None;
    }
    let names = body.members.iter().map(|member| member.node.parse().ok().map(NodeId));
    let names: Vec<NodeId> = names.collect::<Option<_>>()?;
    let members = body.members.into_iter().zip(least);
    let members = members.map(|(body, least)| member(body, least, &names));
    let members: BTreeMap<_, _> =
        names.iter().cloned().zip(members.collect::<Option<Vec<_>>>()?).collect();
    let (cluster, count, at) = body.founded?;
    let shards = body.shards.into_iter().map(|body| shard(body, &names));
    let pins = body.pins.into_iter().map(|(shard, place, lasts)| {
        let lasts = match lasts {
            LastsBody::Always => Lasts::Always,
            LastsBody::UntilThere => Lasts::UntilThere,
        };
        Some((shard, Pin { node: name(&names, place)?, lasts }))
    });
    let (per_node, cluster_limit) = body.limits;
    let state = State {
        founded: Some(Founded { cluster, shards: count, at }),
        rules: body.rules,
        members,
        shards: shards.collect::<Option<_>>()?,
        pins: pins.collect::<Option<_>>()?,
        revoked: Arc::new(revoked(body.revoked)?),
        limits: Limits { per_node, cluster: cluster_limit },
        paused: body.paused,
        guard: body.guard,
        placement_changed_at: body.placement_changed_at,
    };
    (is_sound(&state) && encode(&state) == bytes).then_some(state)
}

fn member(body: MemberBody<'_>, least: u16, names: &[NodeId]) -> Option<Member> {
    let votes = body.votes.into_iter().map(|place| name(names, place));
    let load = |(ack_p99, sessions, documents)| Load {
        ack_p99: Duration::from_millis(u64::from(ack_p99)),
        sessions,
        documents,
    };
    Some(Member {
        boot: body.boot,
        status: match body.status {
            StatusBody::Up => Status::Up,
            StatusBody::Down => Status::Down,
            StatusBody::Left => Status::Left,
        },
        addresses: Addresses {
            client: body.client.parse().ok()?,
            peer: body.peer.parse().ok()?,
            admin: body.admin.parse().ok()?,
        },
        weight: body.weight,
        configured_weight: body.configured_weight,
        version: Version {
            software: body.software.parse().ok()?,
            speaks: body.speaks,
            rules: (least, body.rules),
        },
        joined_at: body.joined_at,
        drain: body.drain.map(|deadline| Drain { deadline }),
        load: body.load.map(load),
        votes: votes.collect::<Option<_>>()?,
    })
}

fn shard(body: ShardBody, names: &[NodeId]) -> Option<Shard> {
    let named = |place: Option<u32>| place.map_or(Some(None), |place| name(names, place).map(Some));
    let moving = match body.moving {
        Some((to, at)) => Some((name(names, to)?, at)),
        None => None,
    };
    let (placed, owner) = (named(body.placed)?, named(body.owner)?);
    Some(Shard { placed, owner, epoch: body.epoch, moving, undone: body.undone })
}

fn name(names: &[NodeId], place: u32) -> Option<NodeId> {
    names.get(usize::try_from(place).ok()?).cloned()
}

/// Tells whether a state is one that records can lead to, as far as the code relies on it.
fn is_sound(state: &State) -> bool {
    let is_up = |node: &NodeId| state.members.get(node).is_some_and(Member::is_up);
    let count = state.shard_count();
    let shard_is_sound = |shard: &Shard| {
        let placed = shard.placed.as_ref().is_none_or(is_up);
        let owner = shard.owner.as_ref().is_none_or(|node| is_up(node) && shard.epoch.is_some());
        let moving = shard.moving.as_ref().is_none_or(|(to, _)| is_up(to) && shard.owner.is_some());
        placed && owner && moving
    };
    let weights = |member: &Member| (1..=100).contains(&member.weight);
    (1..=SHARDS_MAX).contains(&count)
        && state.shards.len() == count as usize
        && state.shards.iter().all(shard_is_sound)
        && state.pins.keys().all(|shard| shard.0 < count)
        && state.members.values().all(weights)
}

/// Returns a fixed hash of a state's bytes.
pub(in crate::cluster) fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(HASH_KEY.0, HASH_KEY.1);
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::record::Order;
    use crate::cluster::testing::{Topic, begun, command, disowned, down, heartbeat, node, text};
    use crate::testing::hex;

    /// A state with something in every place.
    fn full() -> State {
        let mut topic = Topic::with(4, &["a", "b", "c"]);
        let owner = topic.control.owner(ShardId(0)).unwrap().node;
        let to = ["b", "c"].into_iter().find(|name| node(name) != owner).unwrap();
        topic.ok(&heartbeat("b", 1));
        topic.ok(&down("a", 1, "b", 1));
        topic.ok(&command(Order::Move { shard: ShardId(0), to: node(to) }));
        topic.ok(&begun(0, owner.0.as_str(), 1, to));
        topic.ok(&command(Order::Drain { node: node("a"), deadline: Some(Timestamp(9)) }));
        let last = topic.control.owner(ShardId(3)).unwrap();
        topic.ok(&disowned(last.node.0.as_str(), 1, &[(3, last.epoch.0)]));
        topic.ok(&command(Order::Pin { shard: ShardId(2), node: node("b") }));
        let of = Token::Subject { subject: text("s"), issued: Timestamp(98) };
        for token in [Token::Id(text("j")), of] {
            topic.ok(&command(Order::Revoke { token, until: Timestamp(99) }));
        }
        topic.ok(&command(Order::Guard { on: true }));
        decode(&topic.control.to_snapshot().unwrap().state).unwrap()
    }

    #[test]
    fn bytes_and_fingerprint_of_a_state_stay_as_they_are() {
        let bytes = encode(&full());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = [
            "0101070401010103016101000163017001610a0a013001020101010109000101016201000163",
            "017001610a0a013001020101000105010200016301000163017001610a0a0130010201010000",
            "00040101010201ec07010103000102010001ed0700000101010101ee07000001020001ef0700",
            "000200010102010001016a63010173626302140001010c",
        ];
        assert_eq!(hex, golden.concat());
        assert_eq!(fingerprint(&bytes), 0x760f84d13ddb1bb8);
        assert_eq!(decode(&bytes), Some(full()));
    }

    #[test]
    fn what_records_cannot_lead_to_is_refused() {
        let check = |spoil: &dyn Fn(&mut State)| {
            let mut state = full();
            spoil(&mut state);
            assert_eq!(decode(&encode(&state)), None, "{state:?}");
        };
        check(&|state| state.founded = None);
        check(&|state| drop(state.shards.pop()));
        check(&|state| state.shards[0].epoch = None);
        check(&|state| state.shards[0].owner = None);
        check(&|state| drop(state.pins.insert(ShardId(4), state.pins[&ShardId(2)].clone())));
        check(&|state| state.members.get_mut(&node("a")).unwrap().weight = 0);
        check(&|state| state.members.get_mut(&node("b")).unwrap().status = Status::Down);
        let bytes = encode(&full());
        assert_eq!(decode(&[&bytes, &[0][..]].concat()), None);
        assert_eq!(decode(&[&[WITH_LEAST + 1], &bytes[1..]].concat()), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn bytes_of_a_list_stay_as_they_are_and_damaged_ones_are_refused() {
        let mut list = Revoked::default();
        assert_eq!(decode_revoked(&encode_revoked(&list)), Some(list.clone()));
        for token in [
            Token::Id(text("j")),
            Token::Subject { subject: text(&"s".repeat(255)), issued: Timestamp(98) },
        ] {
            list.revoke(&token, Timestamp(99), Timestamp(0)).unwrap();
        }
        let bytes = encode_revoked(&list);
        let subject = "73".repeat(255);
        let golden = format!("0101016a6301ff01{subject}6263a556ecb4");
        assert_eq!(hex(&bytes), golden);
        assert_eq!(decode_revoked(&bytes), Some(list.clone()));
        for at in 0..bytes.len() {
            let mut torn = bytes.clone();
            torn[at] ^= 0x10;
            assert_eq!(decode_revoked(&torn), None, "{at}");
            assert_eq!(decode_revoked(&bytes[..at]), None, "{at}");
        }
        let sealed = |body: &[u8]| [body, &crc32fast::hash(body).to_le_bytes()].concat();
        assert_eq!(decode_revoked(&sealed(&[1, 0, 0])), Some(Revoked::default()));
        // Another version, something behind it, and what is not in order.
        for body in [&[2, 0, 0][..], &[1, 0, 0, 0], &[1, 2, 1, b'b', 9, 1, b'a', 9, 0]] {
            assert_eq!(decode_revoked(&sealed(body)), None, "{body:?}");
        }
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = encode(&full()).to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Some(state) = decode(&bytes) {
                prop_assert_eq!(encode(&state), bytes.clone());
            }
            bytes.truncate(cut.index(bytes.len()));
            prop_assert_eq!(decode(&bytes), None);
        }
    }
}
