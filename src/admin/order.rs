//! From what an operator writes to an order: names, numbers and texts. Pure.

use std::time::Duration;

use crate::access::Subject;
use crate::admin::Refused;
use crate::admin::model::{Ask, Given};
use crate::auth::TokenId;
use crate::cluster::{Command, Limits, Operator, Order, Text, Token};
use crate::types::{DocId, NodeId, Offset, ShardId, Timestamp};

/// For how long something is revoked at most, in days: a list that is full is not so for ever.
const REVOKED_DAYS_MAX: u64 = 400;

/// A shard, and the document that named it if one did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) shard: ShardId,
    pub(crate) doc: Option<DocId>,
}

/// What must be known to understand an operator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    /// How many shards there are.
    pub(crate) shards: u32,
    /// The limits that hold.
    pub(crate) limits: Limits,
    /// The time.
    pub(crate) at: Timestamp,
    /// Up to when tokens that are good now can have been issued, by their own account.
    pub(crate) issued: Timestamp,
    /// When the last of them has expired.
    pub(crate) expired: Timestamp,
}

/// Reads `7` as a shard, and anything else, or what stands behind `doc:`, as a document.
pub(crate) fn target(text: &str, shards: u32) -> Result<Target, Refused> {
    let bad = || Refused::BadTarget { text: text.to_owned() };
    let named = text.strip_prefix("doc:");
    if named.is_none() && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Target { shard: ShardId(text.parse().map_err(|_| bad())?), doc: None });
    }
    let doc: DocId = named.unwrap_or(text).parse().map_err(|_| bad())?;
    Ok(Target { shard: doc.shard(shards.max(1)), doc: Some(doc) })
}

/// Reads the name of a node.
pub(crate) fn node(text: &str) -> Result<NodeId, Refused> {
    text.parse().map(NodeId).map_err(|_| Refused::BadNode { text: text.to_owned() })
}

/// Returns the document that an operator names, with its shard, if the order is about one.
pub(crate) fn about(ask: &Ask, shards: u32) -> Result<Option<Target>, Refused> {
    match ask {
        Ask::Move { what, .. } | Ask::Pin { what, .. } | Ask::Unpin { what } => {
            Ok(Some(target(what, shards)?).filter(|target| target.doc.is_some()))
        }
        Ask::Weight { .. }
        | Ask::Drain { .. }
        | Ask::Undrain { .. }
        | Ask::Limits { .. }
        | Ask::Pause
        | Ask::Resume
        | Ask::RevokeToken { .. }
        | Ask::RevokeSubject { .. } => Ok(None),
    }
}

/// Reads an order.
pub(crate) fn order(ask: &Ask, now: Now) -> Result<Order, Refused> {
    let shard = |what: &str| target(what, now.shards).map(|target| target.shard);
    Ok(match ask {
        Ask::Move { what, to } => Order::Move { shard: shard(what)?, to: node(to)? },
        Ask::Pin { what, node: name } => Order::Pin { shard: shard(what)?, node: node(name)? },
        Ask::Unpin { what } => Order::Unpin { shard: shard(what)? },
        Ask::Weight { node: name, weight } => Order::Weight { node: node(name)?, weight: *weight },
        Ask::Drain { node: name, within_ms } => {
            let deadline = within_ms.map(|millis| Timestamp(now.at.0.saturating_add(millis)));
            Order::Drain { node: node(name)?, deadline }
        }
        Ask::Undrain { node: name } => Order::Undrain { node: node(name)? },
        Ask::Limits { per_node, cluster } => Order::Limits(Limits {
            per_node: per_node.unwrap_or(now.limits.per_node),
            cluster: cluster.unwrap_or(now.limits.cluster),
        }),
        Ask::Pause => Order::Pause,
        Ask::Resume => Order::Resume,
        Ask::RevokeToken { jti, until } => {
            let id: TokenId = jti.parse().map_err(bad)?;
            Order::Revoke {
                token: Token::Id(text("token's id", id.as_str())?),
                until: end(until, now)?,
            }
        }
        Ask::RevokeSubject { subject, issued_up_to, until } => {
            let name: Subject = subject.parse().map_err(bad)?;
            let given = issued_up_to.as_deref().map(moment).transpose()?;
            let issued = given.unwrap_or(now.issued);
            let token = Token::Subject { subject: text("subject", name.as_str())?, issued };
            Order::Revoke { token, until: end(until, now)? }
        }
    })
}

/// Returns until when something is revoked.
fn end(until: &Option<String>, now: Now) -> Result<Timestamp, Refused> {
    let Some(until) = until else { return Ok(now.expired) };
    let until = moment(until)?;
    let most = now.at.0.saturating_add(REVOKED_DAYS_MAX * 24 * 3_600_000);
    if until.0 > most {
        return Err(Refused::TooLasting { days: REVOKED_DAYS_MAX });
    }
    Ok(until)
}

/// Reads a time.
fn moment(text: &str) -> Result<Timestamp, Refused> {
    let read = text.parse::<jiff::Timestamp>().ok();
    let millis = read.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    millis.map(Timestamp).ok_or_else(|| Refused::BadTime { text: text.to_owned() })
}

fn bad(name: impl std::error::Error) -> Refused {
    Refused::BadToken { what: name.to_string() }
}

/// Reads a command.
pub(crate) fn command(given: &Given, now: Now) -> Result<Command, Refused> {
    if given.by.trim().is_empty() {
        return Err(Refused::BadText { which: "operator's name", max: 64 });
    }
    let by = Operator {
        name: text("operator's name", &given.by)?,
        why: text("reason", &given.why)?,
        at: now.at,
    };
    Ok(Command { by, expected: given.expected.map(Offset), order: order(&given.ask, now)? })
}

/// Returns the command that a dry run tries.
pub(crate) fn tried(ask: &Ask, now: Now) -> Result<Command, Refused> {
    let by = Operator {
        name: text("operator's name", "a dry run")?,
        why: text("reason", "")?,
        at: now.at,
    };
    Ok(Command { by, expected: None, order: order(ask, now)? })
}

fn text<const MAX: usize>(which: &'static str, text: &str) -> Result<Text<MAX>, Refused> {
    text.parse().map_err(|_| Refused::BadText { which, max: MAX })
}

/// Spells an order.
pub(crate) fn spelled(order: &Order) -> String {
    match order {
        Order::Weight { node, weight } => format!("weight {} {weight}", node.0),
        Order::Pin { shard, node } => format!("pin {shard} --to {}", node.0),
        Order::Unpin { shard } => format!("unpin {shard}"),
        Order::Drain { node, deadline: None } => format!("drain {}", node.0),
        Order::Drain { node, deadline: Some(by) } => format!("drain {} by {}", node.0, time(*by)),
        Order::Undrain { node } => format!("undrain {}", node.0),
        Order::Limits(Limits { per_node, cluster }) => {
            format!("limits --node {per_node} --cluster {cluster}")
        }
        Order::Pause => "pause".to_owned(),
        Order::Resume => "resume".to_owned(),
        Order::Move { shard, to } => format!("move {shard} --to {}", to.0),
        Order::Guard { on: true } => "stop moves: acknowledgements are slow".to_owned(),
        Order::Guard { on: false } => "moves go on: acknowledgements are fast again".to_owned(),
        Order::Revoke { token: Token::Id(id), until } => {
            format!("revoke --jti {id} --until {}", time(*until))
        }
        Order::Revoke { token: Token::Subject { subject, issued }, until } => {
            let (issued, until) = (time(*issued), time(*until));
            format!("revoke --subject {subject} --issued-up-to {issued} --until {until}")
        }
    }
}

/// Spells a time as RFC 3339.
pub(crate) fn time(at: Timestamp) -> String {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map(|time| time.to_string()).unwrap_or_default()
}

/// Returns a duration in whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
