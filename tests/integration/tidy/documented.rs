//! What docs/OPERATIONS.md names: the events are those that a node tells, each of them; the alerts
//! are some of deploy/.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What stands before the kind of an event in the source.
const BEFORE_KIND: &[&str] = &["of(\"", "on(\"", "moved(\"", "=> (\"", "kind: \""];

/// Returns the kinds that a source tells.
fn told(source: &str) -> BTreeSet<String> {
    let code: String = source.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
    let kinds = |before: &&str| {
        let kind = |rest: &str| rest.split_once('"').map(|(kind, _)| kind.to_owned());
        code.split(*before).skip(1).filter_map(kind).collect::<Vec<_>>()
    };
    BEFORE_KIND.iter().flat_map(kinds).collect()
}

/// Returns the kinds that the table of events explains.
fn explained(doc: &str) -> BTreeSet<String> {
    let rows = doc.lines().skip_while(|line| !line.starts_with("| event | means |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Returns the alerts that a text names.
fn alerts(text: &str) -> BTreeSet<String> {
    let words = text.split(|one: char| !one.is_ascii_alphanumeric());
    let is_alert = |word: &&str| {
        let rest = word.strip_prefix("Quire").and_then(|rest| rest.chars().next());
        rest.is_some_and(|next| next.is_ascii_uppercase())
    };
    words.filter(is_alert).map(str::to_owned).collect()
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).expect("it is there")
}

#[test]
fn every_event_is_explained_and_there_is_no_other() {
    let mut kinds = told(&read("src/admin/events.rs"));
    kinds.extend(told(&read("src/admin/routes.rs")));
    assert!(kinds.len() > 20, "the kinds were not found: {kinds:?}");
    assert_eq!(explained(&read("docs/OPERATIONS.md")), kinds);
}

#[test]
fn every_alert_that_is_named_is_there() {
    let rules = read("deploy/prometheus/alerts.yml");
    let named = alerts(&read("docs/OPERATIONS.md"));
    assert!(named.len() > 3, "the alerts were not found: {named:?}");
    let missing = named.iter().filter(|name| !rules.contains(&format!("- alert: {name}\n")));
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn kinds_are_found_in_source_and_table() {
    let of = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
    let source = r#"
        None => ("command", format!("{by}")),
        Change::Joined { node, .. } => on("joined", node, format!("{} is up", node.0)),
        Change::Placed { .. } => of(
            "placed", text,
        ),
        moved("moved", of, text) Event { kind: "lost".to_owned(), text }
    "#;
    assert_eq!(told(source), of(&["command", "joined", "lost", "moved", "placed"]));
    let table = "| event | means | do |\n|---|---|---|\n| `a`, `b-c` | a `d` | `e` |\n\n";
    let doc = format!("| `no` | x |\n\n{table}| `f` | g |\n");
    assert_eq!(explained(&doc), of(&["a", "b-c"]));
    assert_eq!(alerts("Quire tells `QuireA` (QuireBad)."), of(&["QuireA", "QuireBad"]));
}
