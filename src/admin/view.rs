//! The state of the cluster as operators read it. Pure.

use std::collections::BTreeMap;

use crate::admin::Refused;
use crate::admin::model::{Burden, Limits, Listed, Move, Node, Part, Revoked, Shard, Status};
use crate::admin::order::{millis, spelled, time};
use crate::cluster::{
    self, Command, Control, Lasts, Member, Operator, Order, Pending, Plan, REVOKED_BYTES_MAX, Ring,
    Stage, Why,
};
use crate::types::{NodeId, ShardId, Timestamp};

/// How many entries of what is revoked are told at once, and how many where nobody says.
const LISTED_MAX: usize = 1_000;
const LISTED: usize = 100;

fn name(node: &NodeId) -> String {
    node.0.to_string()
}

fn shards(control: &Control) -> impl Iterator<Item = ShardId> + use<> {
    (0..control.shards()).map(ShardId)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Tells how well a node reads the control topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hearing {
    /// Whether it does not hear of itself any more.
    pub(crate) suspended: bool,
    /// How many records it could not read.
    pub(crate) unreadable: u64,
}

/// Returns the state as `told_by` has read it.
pub(crate) fn status(control: &Control, told_by: &NodeId, heard: Hearing) -> Status {
    let Hearing { suspended, unreadable } = heard;
    let owned = shards(control).filter(|shard| control.owner(*shard).is_some()).count();
    let plan = Plan::of(control);
    let waiting = plan.pending.iter().filter(|pending| pending.stage == Stage::Waiting).count();
    Status {
        told_by: name(told_by),
        suspended,
        cluster: control.cluster().map(|id| format!("{id:032x}")).unwrap_or_default(),
        at: control.at().map_or(0, |at| at.0),
        fingerprint: format!("{:016x}", control.fingerprint()),
        rules: control.rules().unwrap_or(0),
        unreadable,
        shards: control.shards(),
        owned: count(owned),
        moving: count(control.moves().count()),
        waiting: count(waiting),
        pins: count(control.pins().len()),
        paused: control.is_paused(),
        guarded: control.is_guarded(),
        limits: limits(control.limits()),
        nodes: nodes(control),
    }
}

pub(crate) fn limits(of: cluster::Limits) -> Limits {
    Limits { per_node: of.per_node, cluster: of.cluster }
}

/// Returns every node, by name.
pub(crate) fn nodes(control: &Control) -> Vec<Node> {
    let mut owned: BTreeMap<NodeId, u32> = BTreeMap::new();
    let mut placed: BTreeMap<NodeId, u32> = BTreeMap::new();
    for shard in shards(control) {
        if let Some(owner) = control.owner(shard) {
            *owned.entry(owner.node).or_default() += 1;
        }
        if let Some(node) = control.placement(shard) {
            *placed.entry(node.clone()).or_default() += 1;
        }
    }
    let of = |(node, member): (&NodeId, &Member)| Node {
        node: name(node),
        status: status_of(member).to_owned(),
        draining: member.drain.is_some(),
        deadline: member.drain.and_then(|drain| drain.deadline).map(time),
        weight: member.weight,
        shards: owned.get(node).copied().unwrap_or(0),
        placed: placed.get(node).copied().unwrap_or(0),
        sessions: member.load.map(|load| load.sessions),
        documents: member.load.map(|load| load.documents),
        ack_p99_ms: member.load.map(|load| millis(load.ack_p99)).filter(|ms| *ms > 0),
        votes: member.votes.iter().map(name).collect(),
        boot: member.boot,
        joined_at: time(member.joined_at),
        software: member.version.software.to_string(),
        rules: member.version.rules,
        speaks: member.version.speaks,
        client: member.addresses.client.to_string(),
        peer: member.addresses.peer.to_string(),
        admin: member.addresses.admin.to_string(),
    };
    control.members().iter().map(of).collect()
}

fn status_of(member: &Member) -> &'static str {
    match member.status {
        cluster::Status::Up => "up",
        cluster::Status::Down => "down",
        cluster::Status::Left => "left",
    }
}

/// Returns the shards that a node owns or is to own, or all.
pub(crate) fn shards_of(control: &Control, node: Option<&NodeId>) -> Vec<Shard> {
    let concerns = |shard: &ShardId| {
        node.is_none_or(|node| {
            control.owner(*shard).is_some_and(|owner| owner.node == *node)
                || control.placement(*shard) == Some(node)
        })
    };
    shards(control).filter(concerns).map(|id| shard(control, id)).collect()
}

/// Returns one shard.
pub(crate) fn shard(control: &Control, id: ShardId) -> Shard {
    let (owner, placed) = (control.owner(id), control.placement(id));
    let moving = control.moving(id);
    let state = match (&owner, placed) {
        (None, _) => "unowned",
        (Some(_), _) if moving.is_some() => "moving",
        (Some(owner), Some(placed)) if owner.node != *placed => "to move",
        (Some(_), _) => "served",
    };
    Shard {
        shard: id.0,
        state: state.to_owned(),
        epoch: owner.as_ref().map(|owner| owner.epoch.0),
        owner: owner.map(|owner| name(&owner.node)),
        placed: placed.map(name),
        pinned: control.pins().get(&id).map(|pin| name(&pin.node)),
        moving_to: moving.map(|moving| name(&moving.to)),
        undone: control.undone(id),
    }
}

/// Returns what is to move, without what only its owners know.
pub(crate) fn moves<'a>(pending: impl IntoIterator<Item = &'a Pending>) -> Vec<Move> {
    let of = |pending: &Pending| Move {
        shard: pending.shard.0,
        from: name(&pending.from),
        to: name(&pending.to),
        why: match pending.why {
            Why::Pin => "pin",
            Why::Move => "move",
            Why::Drain => "drain",
            Why::Balance => "balance",
        }
        .to_owned(),
        begun: pending.stage == Stage::Begun,
        bytes: None,
        documents: None,
        sessions: None,
    };
    pending.into_iter().map(of).collect()
}

/// Adds what the owners told of their shards.
pub(crate) fn burden(moves: &mut [Move], told: &BTreeMap<u32, Burden>) {
    for one in moves {
        if let Some(burden) = told.get(&one.shard) {
            one.bytes = Some(burden.bytes);
            one.documents = Some(burden.documents);
            one.sessions = Some(burden.sessions);
        }
    }
}

/// Tells what keeps moves from beginning.
pub(crate) fn notes(control: &Control) -> Vec<String> {
    let mut notes = Vec::new();
    if control.is_paused() {
        notes.push("moves are paused: they wait for `quire resume`".to_owned());
    }
    if control.is_guarded() {
        notes.push("moves are stopped until acknowledgements are fast again".to_owned());
    }
    notes
}

/// Tells why a shard is where it is.
pub(crate) fn because(control: &Control, id: ShardId) -> Vec<String> {
    let mut because = Vec::new();
    let (owner, placed) = (control.owner(id), control.placement(id));
    match (&owner, placed) {
        (_, None) => because.push("no node is up that could take it".to_owned()),
        (None, Some(placed)) => {
            because.push(format!("nobody serves it: {} is to claim it", placed.0));
        }
        (Some(owner), Some(placed)) if owner.node == *placed => {
            because.push(format!("{} serves it, and it is to be there", placed.0));
        }
        (Some(owner), Some(placed)) => {
            because.push(format!("{} serves it, and it is to be on {}", owner.node.0, placed.0));
        }
    }
    if let Some(pin) = control.pins().get(&id) {
        because.push(match pin.lasts {
            Lasts::Always => format!("it is pinned to {}", pin.node.0),
            Lasts::UntilThere => format!("an operator moves it to {}", pin.node.0),
        });
    }
    let drains = |node: &NodeId| control.member(node).is_some_and(|member| member.drain.is_some());
    if let Some(owner) = owner.as_ref().filter(|owner| drains(&owner.node)) {
        because.push(format!("{} is being emptied", owner.node.0));
    }
    if let Some(choice) = choice(control, id) {
        let stays = placed.is_some_and(|placed| *placed != choice);
        let why = ", and it stays elsewhere while each node has 90 to 110 % of its share";
        because.push(format!(
            "its place on the ring is {}{}",
            choice.0,
            if stays { why } else { "" }
        ));
    }
    because.extend(waits(control, id));
    because
}

/// Tells what a shard that is to move waits for.
fn waits(control: &Control, id: ShardId) -> Option<String> {
    let plan = Plan::of(control);
    let pending = plan.pending.iter().find(|pending| pending.shard == id)?;
    if pending.stage == Stage::Begun {
        return Some(format!("it is on the way to {}", pending.to.0));
    }
    if let Some(note) = notes(control).into_iter().next() {
        return Some(format!("it waits: {note}"));
    }
    if !plan.may_begin(|_| false).iter().any(|next| next.shard == id) {
        let waits = "it waits for other moves: `quire limits` tells how many run at once";
        return Some(waits.to_owned());
    }
    let again = match pending.undone {
        0 => "it begins to move now".to_owned(),
        count => format!("{count} tries were undone, `quire events` tells why: it is tried again"),
    };
    Some(again)
}

/// Returns where the ring would put a shard, were no node too full.
fn choice(control: &Control, id: ShardId) -> Option<NodeId> {
    let all_drain = control.up().all(|(_, member)| member.drain.is_some());
    let takes = |member: &Member| all_drain || member.drain.is_none();
    let nodes: Vec<_> = control.up().filter(|(_, member)| takes(member)).collect();
    let ring = Ring::new(nodes.iter().map(|(node, member)| (*node, member.weight)));
    nodes.get(ring.choice(id, 0)?).map(|(node, _)| (*node).clone())
}

/// Tells what would move a shard.
pub(crate) fn moved_by(control: &Control, id: ShardId) -> Vec<String> {
    let mut moved_by = vec![
        format!("`quire move {id} --to NODE`, once"),
        format!("`quire pin {id} --to NODE`, until it is unpinned"),
    ];
    let mut tries = Vec::new();
    if control.pins().contains_key(&id) {
        tries.push(Order::Unpin { shard: id });
    }
    if let Some(owner) = control.owner(id) {
        tries.push(Order::Drain { node: owner.node, deadline: None });
    }
    for order in tries {
        let (name, why) = ("explain".parse(), "".parse());
        let (Ok(name), Ok(why)) = (name, why) else { continue };
        let by = Operator { name, why, at: Timestamp(0) };
        let command = Command { by, expected: None, order: order.clone() };
        let spelled = spelled(&order);
        match Plan::after(control, &command) {
            Ok(plan) => {
                if let Some(pending) = plan.pending.iter().find(|pending| pending.shard == id) {
                    moved_by.push(format!("`quire {spelled}`: to {}", pending.to.0));
                }
            }
            Err(reason) => moved_by.push(format!("not `quire {spelled}`: {reason}")),
        }
    }
    moved_by
}

/// Returns a part of what is revoked.
pub(crate) fn revoked(all: &cluster::Revoked, part: &Part) -> Result<Listed, Refused> {
    let bad = Refused::BadPart { max: LISTED_MAX };
    let limit = part.limit.unwrap_or(LISTED);
    let after = match part.after.as_deref() {
        None => None,
        Some(text) => {
            let place = text.split_once(':').filter(|(kind, _)| ["jti", "subject"].contains(kind));
            Some(place.ok_or_else(|| bad.clone())?)
        }
    };
    if !(1..=LISTED_MAX).contains(&limit) {
        return Err(bad);
    }
    let tokens = all.tokens().map(|(id, until)| ("jti", id.as_str(), None, until));
    let subjects = all
        .subjects()
        .map(|(subject, issued, until)| ("subject", subject.as_str(), Some(issued), until));
    let mut left = tokens
        .chain(subjects)
        .skip_while(|(kind, name, ..)| after.is_some_and(|after| (*kind, *name) <= after));
    let shown: Vec<_> = left.by_ref().take(limit).collect();
    let next = left.next().and(shown.last()).map(|(kind, name, ..)| format!("{kind}:{name}"));
    let entry = |(kind, name, issued, until): (&str, &str, Option<Timestamp>, Timestamp)| {
        let named = |which: &str| (kind == which).then(|| name.to_owned());
        let (jti, subject) = (named("jti"), named("subject"));
        Revoked { jti, subject, issued_up_to: issued.map(time), until: time(until) }
    };
    Ok(Listed {
        count: all.count(),
        bytes: all.bytes(),
        bytes_max: REVOKED_BYTES_MAX,
        revoked: shown.into_iter().map(entry).collect(),
        next,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Token;

    #[test]
    fn what_is_revoked_is_told_part_by_part() {
        let mut all = cluster::Revoked::default();
        let until = Timestamp(86_400_000);
        // A name may hold what stands between kind and name.
        for id in ["j:2", "j:1", "j"] {
            let token = Token::Id(id.parse().unwrap());
            all.revoke(&token, until, Timestamp(0)).unwrap();
        }
        for subject in ["s", "a:b"] {
            let (subject, issued) = (subject.parse().unwrap(), Timestamp(1_000));
            all.revoke(&Token::Subject { subject, issued }, until, Timestamp(0)).unwrap();
        }
        let (mut after, mut told) = (None, Vec::new());
        loop {
            let part = Part { after, limit: Some(2) };
            let listed = revoked(&all, &part).unwrap();
            assert_eq!((listed.count, listed.bytes), (5, all.bytes()));
            assert!(listed.revoked.iter().all(|one| one.until == "1970-01-02T00:00:00Z"));
            let names = listed.revoked.into_iter().map(|one| (one.jti, one.subject));
            told.push(names.collect::<Vec<_>>());
            after = listed.next;
            if after.is_none() {
                break;
            }
        }
        let jti = |id: &str| (Some(id.to_owned()), None);
        let subject = |name: &str| (None, Some(name.to_owned()));
        let parts: [Vec<_>; 3] =
            [vec![jti("j"), jti("j:1")], vec![jti("j:2"), subject("a:b")], vec![subject("s")]];
        assert_eq!(told, parts);
        let whole = revoked(&all, &Part::default()).unwrap();
        assert_eq!((whole.revoked.len(), whole.next), (5, None));
        assert_eq!(whole.revoked[4].issued_up_to.as_deref(), Some("1970-01-01T00:00:01Z"));
        for (after, limit) in [(None, 0), (None, 1_001), (Some("x:y"), 1), (Some("jti"), 1)] {
            let part = Part { after: after.map(str::to_owned), limit: Some(limit) };
            assert_eq!(revoked(&all, &part), Err(Refused::BadPart { max: 1_000 }), "{part:?}");
        }
    }
}
