//! Answers of the admin port as tables.

use crate::admin::model::{
    Done, Event, Explained, Limits, Listed, Move, Node, Plan, Revoked, Shard, Status, Where,
};
use crate::cli::table::{Align, Table, one_line};

/// Spells a text that may be missing.
fn or_none(text: &Option<String>) -> String {
    text.as_deref().map_or("-".to_owned(), one_line)
}

/// Spells a number that may not be known.
fn known<T: ToString>(number: Option<T>) -> String {
    number.map_or("?".to_owned(), |number| number.to_string())
}

/// Spells the state of the cluster.
pub(crate) fn status(status: &Status) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| out.push_str(&format!("{name:<11}{value}\n"));
    line("cluster", one_line(&status.cluster));
    line("told by", format!("{}, at {}", one_line(&status.told_by), status.at));
    line("shards", format!("{} of {} owned", status.owned, status.shards));
    let Status { moving, waiting, pins, .. } = status;
    line("moves", format!("{moving} on the way, {waiting} waiting, {pins} pinned"));
    let limits = status.limits;
    line("limits", format!("{} of a node, {} in all", limits.per_node, limits.cluster));
    if status.unreadable > 0 {
        let what = "control records that this node cannot read: its log says why";
        line("unreadable", format!("{} {what}", status.unreadable));
    }
    if status.paused {
        line("paused", "yes: `quire resume` lets moves begin again".to_owned());
    }
    if status.guarded {
        line("guard", "moves wait until acknowledgements are fast again".to_owned());
    }
    if status.suspended {
        let what = "yes: this node does not hear of itself, what it tells may be old";
        line("suspended", what.to_owned());
    }
    out.push('\n');
    out.push_str(&busy(&status.nodes));
    out
}

fn state(node: &Node) -> String {
    let mut state = one_line(&node.status);
    if node.draining {
        state.push_str(", draining");
        if let Some(deadline) = &node.deadline {
            state.push_str(&format!(" by {}", one_line(deadline)));
        }
    }
    if !node.votes.is_empty() {
        state.push_str(&format!(", silent for {}", one_line(&node.votes.join(", "))));
    }
    state
}

fn busy(nodes: &[Node]) -> String {
    let columns = [
        ("NODE", Align::Left),
        ("STATE", Align::Left),
        ("SHARDS", Align::Right),
        ("PLACED", Align::Right),
        ("WEIGHT", Align::Right),
        ("SESSIONS", Align::Right),
        ("DOCUMENTS", Align::Right),
        ("ACK P99", Align::Right),
    ];
    let row = |node: &Node| {
        [
            one_line(&node.node),
            state(node),
            node.shards.to_string(),
            node.placed.to_string(),
            node.weight.to_string(),
            known(node.sessions),
            known(node.documents),
            node.ack_p99_ms.map_or("?".to_owned(), |millis| format!("{millis} ms")),
        ]
    };
    Table::new(columns, 0).rows(&nodes.iter().map(row).collect::<Vec<_>>())
}

/// Spells the nodes.
pub(crate) fn nodes(nodes: &[Node]) -> String {
    let columns = [
        ("NODE", Align::Left),
        ("STATE", Align::Left),
        ("SINCE", Align::Left),
        ("VERSION", Align::Left),
        ("CLIENTS", Align::Left),
        ("PEERS", Align::Left),
        ("OPERATORS", Align::Left),
    ];
    let row = |node: &Node| {
        let admin = if node.admin.is_empty() { "-" } else { &node.admin };
        [
            one_line(&node.node),
            state(node),
            one_line(&node.joined_at),
            one_line(&node.software),
            one_line(&node.client),
            one_line(&node.peer),
            one_line(admin),
        ]
    };
    Table::new(columns, 0).rows(&nodes.iter().map(row).collect::<Vec<_>>())
}

/// Spells the shards.
pub(crate) fn shards(shards: &[Shard]) -> String {
    let columns = [
        ("SHARD", Align::Right),
        ("STATE", Align::Left),
        ("OWNER", Align::Left),
        ("TO BE ON", Align::Left),
        ("PINNED TO", Align::Left),
        ("EPOCH", Align::Right),
        ("UNDONE", Align::Right),
    ];
    let row = |shard: &Shard| {
        [
            shard.shard.to_string(),
            one_line(&shard.state),
            or_none(&shard.owner),
            or_none(&shard.placed),
            or_none(&shard.pinned),
            shard.epoch.map_or("-".to_owned(), |epoch| epoch.to_string()),
            shard.undone.to_string(),
        ]
    };
    Table::new(columns, 0).rows(&shards.iter().map(row).collect::<Vec<_>>())
}

/// Spells where a document is.
pub(crate) fn found(found: &Where) -> String {
    format!(
        "document  {}\nshard     {}\nowner     {}\nto be on  {}\nclients   {}\nrevision  {}\n",
        one_line(&found.doc),
        found.shard,
        or_none(&found.owner),
        or_none(&found.placed),
        or_none(&found.client),
        known(found.rev)
    )
}

/// Spells why a shard is where it is.
pub(crate) fn explained(explained: &Explained) -> String {
    let mut out = match &explained.doc {
        Some(doc) => {
            let unchecked = match explained.rev {
                Some(_) => "",
                None => ", if there is such a document: its owner does not tell",
            };
            format!("{} is on shard {}{unchecked}\n", one_line(doc), explained.shard.shard)
        }
        None => format!("shard {}\n", explained.shard.shard),
    };
    out.push_str("\nwhy it is there:\n");
    explained.because.iter().for_each(|why| out.push_str(&format!("  {}\n", one_line(why))));
    out.push_str("what would move it:\n");
    explained.moved_by.iter().for_each(|what| out.push_str(&format!("  {}\n", one_line(what))));
    out
}

/// Spells how many moves run at once.
pub(crate) fn limits(limits: &Limits) -> String {
    format!("of a node  {}\nin all     {}\n", limits.per_node, limits.cluster)
}

/// Spells a plan.
pub(crate) fn plan(plan: &Plan) -> String {
    let mut out = match &plan.of {
        Some(of) => format!("plan {} of `{}`\n", plan.id, one_line(of)),
        None => format!("plan {}: what is to move already\n", plan.id),
    };
    notes(&mut out, &plan.notes);
    if plan.moves.is_empty() {
        out.push_str("nothing would move\n");
        return out;
    }
    out.push_str(&moves(&plan.moves));
    let pause = plan.expected_pause_ms.map_or("not known yet".to_owned(), |ms| format!("{ms} ms"));
    let untold = match plan.untold {
        0 => String::new(),
        nodes => format!(", {nodes} nodes did not tell"),
    };
    out.push_str(&format!(
        "{} shards, {} bytes, {} sessions{untold}; pause of each at most {pause}; {} at once of a \
         node, {} in all\n",
        plan.moves.len(),
        plan.bytes,
        plan.sessions,
        plan.limits.per_node,
        plan.limits.cluster
    ));
    out
}

fn moves(moves: &[Move]) -> String {
    let columns = [
        ("SHARD", Align::Right),
        ("FROM", Align::Left),
        ("TO", Align::Left),
        ("WHY", Align::Left),
        ("BEGUN", Align::Left),
        ("BYTES", Align::Right),
        ("DOCUMENTS", Align::Right),
        ("SESSIONS", Align::Right),
    ];
    let row = |one: &Move| {
        [
            one.shard.to_string(),
            one_line(&one.from),
            one_line(&one.to),
            one_line(&one.why),
            if one.begun { "yes" } else { "no" }.to_owned(),
            known(one.bytes),
            known(one.documents),
            known(one.sessions),
        ]
    };
    Table::new(columns, 0).rows(&moves.iter().map(row).collect::<Vec<_>>())
}

fn notes(out: &mut String, notes: &[String]) {
    notes.iter().for_each(|note| out.push_str(&format!("note: {}\n", one_line(note))));
}

/// Spells what became of a command.
pub(crate) fn done(done: &Done) -> String {
    let mut out = format!("done: {}\n", one_line(&done.done));
    notes(&mut out, &done.notes);
    match done.moves.as_slice() {
        [] => out.push_str("nothing moves because of it\n"),
        [one] => {
            let (from, to) = (one_line(&one.from), one_line(&one.to));
            out.push_str(&format!("shard {} moves from {from} to {to}\n", one.shard));
        }
        moves => out.push_str(&format!("{} shards move because of it\n", moves.len())),
    }
    out
}

/// Spells a command that moves nothing.
pub(crate) fn given(done: &Done) -> String {
    format!("done: {}\n", one_line(&done.done))
}

/// Spells what is revoked.
pub(crate) fn revoked(listed: &Listed) -> String {
    let columns = [
        ("WHAT", Align::Left),
        ("NAME", Align::Left),
        ("ISSUED UP TO", Align::Left),
        ("UNTIL", Align::Left),
    ];
    let row = |one: &Revoked| {
        let what = if one.jti.is_some() { "token" } else { "subject" };
        let name = or_none(&one.jti.clone().or_else(|| one.subject.clone()));
        [what.to_owned(), name, or_none(&one.issued_up_to), one_line(&one.until)]
    };
    let mut out = Table::new(columns, 0).rows(&listed.revoked.iter().map(row).collect::<Vec<_>>());
    let Listed { count, bytes, bytes_max, .. } = listed;
    out.push_str(&format!("{count} in all, {bytes} of {bytes_max} bytes\n"));
    if let Some(next) = &listed.next {
        out.push_str(&format!("there are more: --after {}\n", one_line(next)));
    }
    out
}

/// Spells an event on one line.
pub(crate) fn event(event: &Event) -> String {
    let why = match (&event.by, &event.why) {
        (Some(_), Some(why)) => format!(" ({})", one_line(why)),
        _ => String::new(),
    };
    let given = event.given_at.as_deref().map(one_line);
    let given = given.map(|at| format!(", given at {at}")).unwrap_or_default();
    let (time, kind, text) = (&event.time, &event.kind, one_line(&event.text));
    format!("{:<8} {:<24}  {:<11}  {text}{why}{given}\n", event.at, one_line(time), one_line(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_what_is_not_known() {
        let one = Move {
            shard: 7,
            from: "a".to_owned(),
            to: "b\u{1b}".to_owned(),
            why: "drain".to_owned(),
            begun: false,
            bytes: Some(120),
            documents: None,
            sessions: None,
        };
        let given = Plan {
            id: 41,
            of: Some("drain a".to_owned()),
            moves: vec![one],
            bytes: 120,
            sessions: 0,
            untold: 1,
            expected_pause_ms: None,
            limits: Limits { per_node: 2, cluster: 20 },
            notes: vec!["moves are paused".to_owned()],
        };
        let expected = "\
plan 41 of `drain a`
note: moves are paused
SHARD  FROM  TO       WHY    BEGUN  BYTES  DOCUMENTS  SESSIONS
    7  a     b\\u{1b}  drain  no       120          ?         ?
1 shards, 120 bytes, 0 sessions, 1 nodes did not tell; pause of each at most not known yet; \
2 at once of a node, 20 in all
";
        assert_eq!(plan(&given), expected);
    }
}
