//! What docs/OPERATIONS.md names: the events are those that a node tells, each of them; the alerts
//! are some of deploy/. The codes of problems in docs/API.md are those of the source.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What stands before the kind of an event in the source.
const BEFORE_KIND: &[&str] = &["of(\"", "on(\"", "moved(\"", "=> (\"", "kind: \""];

/// Returns the kinds that a source tells.
fn told(source: &str) -> BTreeSet<String> {
    behind(source, BEFORE_KIND)
}

/// Returns the kinds that the table of events explains.
fn explained(doc: &str) -> BTreeSet<String> {
    let rows = doc.lines().skip_while(|line| !line.starts_with("| event | means |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// What stands before the code of a problem in the source of the edge.
const BEFORE_CODE: &[&str] = &[".code(\"", "bad_request(\"", "unfit(\""];

/// Returns the words in quotes that stand behind one of these.
fn behind(source: &str, before: &[&str]) -> BTreeSet<String> {
    let code: String = source.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(");
    let word = |rest: &str| rest.split_once('"').map(|(word, _)| word.to_owned());
    let words = |before: &&str| code.split(*before).skip(1).filter_map(word).collect::<Vec<_>>();
    before.iter().flat_map(words).collect()
}

/// Returns the codes of sockets that a source names, as they are spelled.
fn named(source: &str) -> BTreeSet<String> {
    let name = |rest: &str| {
        let letters = rest.chars().take_while(char::is_ascii_alphanumeric);
        let spelled = letters.flat_map(|one| {
            [one.is_ascii_uppercase().then_some('-'), Some(one.to_ascii_lowercase())]
        });
        let spelled: String = spelled.flatten().collect();
        spelled.strip_prefix('-').map(str::to_owned)
    };
    source.split("ErrorCode::").skip(1).filter_map(name).collect()
}

/// Returns the codes that the table of problems explains.
fn problems(doc: &str) -> BTreeSet<String> {
    let rows = doc.lines().skip_while(|line| !line.starts_with("| status | code |")).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split('|').nth(2));
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

/// Returns all sources below a folder as one text.
fn sources(folder: &Path) -> String {
    let entries =
        fs::read_dir(folder).expect("it is there").map(|entry| entry.expect("it is").path());
    let text = |path: PathBuf| match path.is_dir() {
        true => sources(&path),
        false => fs::read_to_string(path).expect("it is text"),
    };
    entries.map(text).collect()
}

#[test]
fn every_code_of_a_problem_is_explained_and_there_is_no_other() {
    let edge = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/edge"));
    let mut all = behind(&edge, BEFORE_CODE);
    all.extend(behind(&read("src/edge/problem.rs"), &["=> \""]));
    // What a document or the doors refuse is called as it is on sockets.
    all.extend(named(&read("src/edge/refusal.rs")));
    all.extend(named(&read("src/edge/doors/refused.rs")));
    assert!(all.len() > 30, "the codes were not found: {all:?}");
    assert_eq!(problems(&read("docs/API.md")), all);
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
    let source = r#"
        StatusCode::CONFLICT => "conflict", Problem::bad_request("bad-x", &it).code( "y")
        Refusal::Gap { .. } => ErrorCode::Gap, ErrorCode::BadOp
    "#;
    assert_eq!(behind(source, BEFORE_CODE), of(&["bad-x", "y"]));
    assert_eq!(named(source), of(&["bad-op", "gap"]));
    let table = "| status | code | |\n|---|---|---|\n| 401, 403 | `a`, `b-c` | a `d` |\n\n";
    assert_eq!(problems(&format!("| `no` |\n{table}| 400 | `f` |\n")), of(&["a", "b-c"]));
    assert_eq!(alerts("Quire tells `QuireA` (QuireBad)."), of(&["QuireA", "QuireBad"]));
}
