//! From what was set to a `Config`, once: every value, every key and what must hold between them.
//!
//! Nothing stops at the first mistake. A value that a later source replaces is judged all the same.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::admin::is_inner;
use crate::config::error::{Mistake, Mistakes, Origin};
use crate::config::nearest::nearest;
use crate::config::options::{OPTIONS, RELATIONS, Relation, SECTIONS, find};
use crate::config::root::Config;
use crate::config::source::{self, Raw, Sources};
use crate::edge::Networks;

/// Holds a checked configuration and where each of its values comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Every option's value, in the order of the file.
    pub effective: Vec<Effective>,
}

/// Holds the value of one option that holds in the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// The key, with its section before a dot.
    pub key: &'static str,
    /// The value, as TOML.
    pub value: toml::Value,
    /// Where it was set, if it is not the default.
    pub origin: Option<Origin>,
}

/// Reads and checks a configuration: file, then environment, then flags, the last one wins.
///
/// # Errors
/// [`Mistakes`]: all of them.
pub fn load(sources: &Sources) -> Result<Loaded, Mistakes> {
    let mut mistakes = Vec::new();
    let raws = source::read(sources, &mut mistakes);
    let mut values = defaults();
    let mut doubtful = Vec::new();
    for raw in raws {
        if let Err(mistake) = set(&mut values, &raw) {
            doubtful.push(raw.key);
            mistakes.push(mistake);
        }
    }
    for relation in RELATIONS {
        let known = |key: &str| !doubtful.iter().any(|doubtful| doubtful == key);
        if known(relation.small) && known(relation.large) && matters(relation, &values) {
            mistakes.extend(broken(relation, &values));
        }
    }
    mistakes.extend(forgetful(&values));
    mistakes.extend(exposed(&values));
    mistakes.extend(halved(&values));
    mistakes.extend(unguarded(&values));
    mistakes.extend(unpaired(&values));
    mistakes.extend(untrusting(&values));
    if !mistakes.is_empty() {
        mistakes.sort_by_key(|mistake| rank(&mistake.origin));
        return Err(Mistakes(mistakes));
    }
    let config = assemble(&values);
    let effective = OPTIONS.iter().filter_map(|option| values.remove(option.key)).collect();
    Ok(Loaded { config, effective })
}

fn defaults() -> BTreeMap<&'static str, Effective> {
    let parsed = |text: &str| text.parse().expect("a default is TOML, as a test holds");
    let of = |key, default| Effective { key, value: parsed(default), origin: None };
    OPTIONS.iter().map(|option| (option.key, of(option.key, option.default))).collect()
}

fn set(values: &mut BTreeMap<&'static str, Effective>, raw: &Raw) -> Result<(), Mistake> {
    let mistake = |what| Mistake { origin: raw.origin.clone(), key: raw.key.clone(), what };
    let option = find(&raw.key).ok_or_else(|| mistake(unknown(raw)))?;
    let value = option.kind.read(&raw.written).map_err(mistake)?;
    let origin = Some(raw.origin.clone());
    values.insert(option.key, Effective { key: option.key, value, origin });
    Ok(())
}

fn unknown(Raw { key, origin, .. }: &Raw) -> String {
    if let Some(meant) = nearest(key, OPTIONS.iter().map(|option| option.key)) {
        return match origin {
            Origin::Environment(_) => {
                format!("unknown key: did you mean {}?", source::variable(meant))
            }
            Origin::File { .. } | Origin::Flag(_) => format!("unknown key: did you mean {meant}?"),
        };
    }
    let section = key.split_once('.').map(|(section, _)| section);
    let sections = SECTIONS.iter().map(|(name, _)| *name);
    match section.and_then(|section| sections.clone().find(|name| *name == section)) {
        Some(section) => {
            let names = OPTIONS.iter().filter_map(|option| option.key.strip_prefix(section));
            let names: Vec<&str> = names.filter_map(|name| name.strip_prefix('.')).collect();
            format!("unknown key: [{section}] has {}", names.join(", "))
        }
        None => {
            let names = OPTIONS.iter().map(|option| option.key).filter(|key| !key.contains('.'));
            let names: Vec<&str> = names.collect();
            let sections: Vec<String> = sections.map(|name| format!("[{name}]")).collect();
            format!("unknown key: there are {} and {}", names.join(", "), sections.join(", "))
        }
    }
}

/// Tells whether the log is where both options are of use.
fn matters(relation: &Relation, values: &BTreeMap<&'static str, Effective>) -> bool {
    let log = values.get("log").and_then(|log| log.value.as_str());
    !relation.large.starts_with("kafka.") || log.is_some_and(|log| log.starts_with("kafka:"))
}

/// Tells if a relation does not hold, at the place of the one of the two that was set.
fn broken(relation: &Relation, values: &BTreeMap<&'static str, Effective>) -> Option<Mistake> {
    let Relation { small, large, why } = relation;
    let amount = |value: &Effective| find(value.key)?.kind.amount(&value.value);
    let (lesser, greater) = (values.get(small)?, values.get(large)?);
    if amount(lesser)? <= amount(greater)? {
        return None;
    }
    let is = format!("{small} = {} exceeds {large} = {}", lesser.value, greater.value);
    let what = format!("{is}, but {why}: lower the first or raise the second");
    let origin = [lesser, greater].into_iter().find_map(|value| value.origin.clone())?;
    Some(Mistake { origin, key: String::new(), what })
}

/// Tells if checkpoints are in memory of a log that is not: it is trimmed below them.
fn forgetful(values: &BTreeMap<&'static str, Effective>) -> Option<Mistake> {
    let (log, store) = (values.get("log")?, values.get("checkpoints")?);
    let in_memory = |value: &Effective| value.value.as_str() == Some("memory");
    if in_memory(log) || !in_memory(store) {
        return None;
    }
    let what = format!(
        "checkpoints = {} would be lost with the process, and with them what they let the log = {} \
         forget: keep both in memory, or neither",
        store.value, log.value
    );
    let origin = [store, log].into_iter().find_map(|value| value.origin.clone())?;
    Some(Mistake { origin, key: String::new(), what })
}

/// Tells if operators are to be served where strangers reach them.
fn exposed(values: &BTreeMap<&'static str, Effective>) -> Option<Mistake> {
    let admin = values.get("admin-listen")?;
    let address: SocketAddr = admin.value.as_str()?.parse().ok()?;
    let allowed = values.get("admin.allow-public")?.value.as_bool() == Some(true);
    if allowed || is_inner(address.ip()) {
        return None;
    }
    let what = format!(
        "whoever reaches {address} could move shards and revoke tokens, for there is no log-in: \
         choose 127.0.0.1 or a private address, or set admin.allow-public where a firewall keeps \
         strangers out"
    );
    Some(Mistake { origin: admin.origin.clone()?, key: "admin-listen".to_owned(), what })
}

/// Tells if nodes are to speak TLS with each other, and a file for it is not named.
fn halved(values: &BTreeMap<&'static str, Effective>) -> Option<Mistake> {
    let files = ["relay.tls-certificate-file", "relay.tls-key-file", "relay.tls-ca-file"];
    let named = |key: &&str| values.get(*key).is_some_and(|file| file.value.as_str() != Some(""));
    let key = files.into_iter().find(named)?;
    let missing = files.into_iter().find(|key| !named(key))?;
    let what = format!("TLS between nodes needs {missing}, too: set all three, or none");
    Some(Mistake { origin: values.get(key)?.origin.clone()?, key: key.to_owned(), what })
}

/// Tells if everybody is to be let in where strangers reach the node, or nobody could be.
fn unguarded(values: &BTreeMap<&'static str, Effective>) -> Option<Mistake> {
    let on = |key| values.get(key).is_some_and(|value| value.value.as_bool() == Some(true));
    let named = |key| values.get(key).is_some_and(|value| value.value.as_str() != Some(""));
    let origin = |keys: &[&str]| keys.iter().find_map(|key| values.get(*key)?.origin.clone());
    let listen = values.get("listen")?;
    let address: SocketAddr = listen.value.as_str()?.parse().ok()?;
    let (open, keys) = (on("auth.open"), named("auth.keys") || named("auth.jwks-url"));
    let (key, what) = if open && keys {
        let what = "a node that is open takes no tokens: leave auth.open or the keys out";
        ("auth.open", what.to_owned())
    } else if open && !address.ip().is_loopback() && !on("auth.open-public") {
        let what = format!(
            "whoever reaches {address} could read and change everything: listen on 127.0.0.1, set \
             auth.keys or auth.jwks-url, or say --open-public, too"
        );
        ("auth.open", what)
    } else if !open && !keys && !address.ip().is_loopback() {
        let what = format!(
            "nobody could be let in at {address}: set auth.keys or auth.jwks-url for those with \
             tokens, or --open and --open-public for everybody"
        );
        ("listen", what)
    } else {
        return None;
    };
    Some(Mistake { origin: origin(&[key, "listen"])?, key: key.to_owned(), what })
}

/// Tells if clients are to be served over TLS, and one of the two files is not named.
fn unpaired(values: &BTreeMap<&'static str, Effective>) -> Option<Mistake> {
    let files = ["edge.tls-certificate-file", "edge.tls-key-file"];
    let named = |key: &&str| values.get(*key).is_some_and(|file| file.value.as_str() != Some(""));
    let key = files.into_iter().find(named)?;
    let missing = files.into_iter().find(|key| !named(key))?;
    let what = format!("TLS needs {missing}, too: set both, or neither");
    Some(Mistake { origin: values.get(key)?.origin.clone()?, key: key.to_owned(), what })
}

/// Tells if proxies are to tell of their clients, and none is trusted.
fn untrusting(values: &BTreeMap<&'static str, Effective>) -> Option<Mistake> {
    let trusted = values.get("edge.trusted-proxies")?.value.as_str()?;
    if trusted.parse::<Networks>().is_ok_and(|networks| !networks.is_empty()) {
        return None;
    }
    let says = |key: &&str| match values.get(*key).map(|value| &value.value) {
        Some(toml::Value::Boolean(on)) => *on,
        Some(toml::Value::String(word)) => word != "none",
        _ => false,
    };
    let key = ["edge.proxy-protocol", "edge.proxy-header"].into_iter().find(says)?;
    let what = "it needs edge.trusted-proxies, too: whose word on clients is taken".to_owned();
    Some(Mistake { origin: values.get(key)?.origin.clone()?, key: key.to_owned(), what })
}

fn rank(origin: &Origin) -> (u8, usize) {
    match origin {
        Origin::File { line, .. } => (0, line.unwrap_or(0)),
        Origin::Environment(_) => (1, 0),
        Origin::Flag(_) => (2, 0),
    }
}

fn assemble(values: &BTreeMap<&'static str, Effective>) -> Config {
    let mut top = toml::Table::new();
    for (key, Effective { value, .. }) in values {
        match key.split_once('.') {
            None => {
                top.insert((*key).to_owned(), value.clone());
            }
            Some((section, name)) => {
                let section = top.entry(section).or_insert_with(|| toml::Table::new().into());
                let table = section.as_table_mut().expect("no option has a section's name");
                table.insert(name.to_owned(), value.clone());
            }
        }
    }
    Config::deserialize(top).expect("every value was read by its kind")
}
