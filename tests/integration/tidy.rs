//! Holds the rules of the tree that no other tool holds: who imports whom, where a crate is named,
//! how a file looks. Each rule is also shown to be able to fail.

mod documented;
mod rules;
mod source;
mod threats;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rules::breaches;

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeMap::new();
    for folder in ["src", "tests", "benches"] {
        collect(root, &root.join(folder), &mut files);
    }
    assert!(files.contains_key("src/lib.rs"), "the sources were not found");
    let only_tests = test_paths(&files);
    let mut found = Vec::new();
    for (path, text) in &files {
        let for_tests = !path.starts_with("src/")
            || only_tests.iter().any(|prefix| {
                let rest = path.strip_prefix(prefix.as_str());
                rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
        found.extend(breaches(path, text, for_tests));
    }
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

/// Reads the Rust files below a folder; what others made (`node_modules`) is not looked at.
fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() && !path.ends_with("node_modules") {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let name = path.strip_prefix(root).expect("it is below").to_string_lossy();
            files.insert(name.replace('\\', "/"), fs::read_to_string(&path).expect("UTF-8"));
        }
    }
}

/// Returns the paths, without their ends, of modules that only tests see.
fn test_paths(files: &BTreeMap<String, String>) -> Vec<String> {
    let mut paths = Vec::new();
    for (path, text) in files {
        let stem = path.strip_suffix(".rs").unwrap_or(path);
        let folder = match stem.strip_suffix("/mod").or_else(|| stem.strip_suffix("/lib")) {
            Some(folder) => folder,
            None => stem,
        };
        let modules = source::test_modules(&source::code(text));
        paths.extend(modules.into_iter().map(|name| format!("{folder}/{name}")));
    }
    paths
}

fn check(path: &str, text: &str, expected: &[&str]) {
    let found = breaches(path, text, false);
    assert_eq!(found.len(), expected.len(), "{path}: {text}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.contains(expected), "{found}\ndoes not hold\n{expected}");
    }
}

#[test]
fn the_import_table_can_fail() {
    check("src/crdt/a.rs", "//! A.\nuse crate::log::Log;", &["a.rs:2: crdt may not import log"]);
    check("src/crdt/a.rs", "//! A.\nuse crate::{text::Op, crdt::b, types};", &[]);
    check("src/types.rs", "//! A.\nuse crate::text::Op;", &["types may not import text"]);
    check("src/text/a.rs", "//! A.\nuse crate::types::Revision;", &[]);
    let grouped = "//! A.\nuse crate::{\n    doc::{self, a::{b, edge}},\n    edge, cli::run,\n};";
    let expected = &["shard may not import cli", "shard may not import edge"];
    check("src/shard/a.rs", grouped, expected);
    check("src/doc/a.rs", "//! A.\nfn f() { crate::shard::g() }", &["doc may not import shard"]);
    check("src/main.rs", "//! A.\nfn f() { quire::log::g() }", &["main may not import log"]);
    check("src/node.rs", "//! A.\nuse crate::{cli, edge, shard};", &[]);
    check("src/new/a.rs", "//! A.\n", &["new has no row in the import table"]);
    check(
        "src/log/a.rs",
        "//! A.\n// crate::doc\n/// [`crate::doc`]\nconst A: &str = \"crate::doc\";",
        &[],
    );
}

#[test]
fn the_places_of_crates_can_fail() {
    for (name, good, bad) in [
        ("diamond_types", "src/crdt/segment.rs", "src/doc/state.rs"),
        ("redb", "src/log/embedded/file.rs", "src/log/memory.rs"),
        ("redb", "src/checkpoint/embedded.rs", "src/checkpoint/mod.rs"),
        ("tokio_tungstenite", "src/edge/session.rs", "src/wire/frame.rs"),
        ("ractor", "src/doc/actor.rs", "src/doc/state.rs"),
        ("prometheus", "src/log/metrics.rs", "src/log/memory.rs"),
        ("prometheus", "src/telemetry.rs", "src/node.rs"),
        ("reqwest", "src/cli/doc/client.rs", "src/client/a.rs"),
        ("SystemTime", "src/clock.rs", "src/task.rs"),
        ("serde", "src/doc/config.rs", "src/doc/state.rs"),
    ] {
        let text = format!("//! A.\nuse {name}::A;\nuse {name}x::B;");
        check(good, &text, &[]);
        check(bad, &text, &[&format!("{bad}:2: {name} belongs in ")]);
    }
}

#[test]
fn the_rules_of_a_file_can_fail() {
    let path = "src/log/a.rs";
    check(path, "use std::fmt;\n", &["a.rs:1: the file does not begin with //!"]);
    check(path, &format!("//! A.\n{}", "\n".repeat(599)), &[]);
    check(path, &format!("//! A.\n{}", "\n".repeat(600)), &["a.rs:601: 601 lines, 600 are"]);
    check(path, &format!("//! A.\n//{}", "ä".repeat(98)), &[]);
    check(path, &format!("//! A.\n//{}", "ä".repeat(99)), &["a.rs:2: 101 characters, 100 are"]);
    check(path, "//! A.\nuse super::b;", &["a.rs:2: super:: outside tests"]);
    check(path, "//! A.\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n", &[]);
    let after = "//! A.\n#[cfg(test)]\nfn a() {}\nuse super::b;";
    check(path, after, &["a.rs:4: super:: outside tests"]);
    assert_eq!(breaches(path, "//! A.\nuse super::b;", true), [""; 0]);
}

#[test]
fn the_rule_of_mod_rs_can_fail() {
    let path = "src/log/mod.rs";
    check(path, "//! A.\nmod a;\npub use a::B;\npub struct C { pub f: fn(u8) -> u8 }", &[]);
    check(path, "//! A.\npub trait T {\n    fn a(&self);\n    fn b(&self) { if true {} }\n}", &[]);
    check(path, "//! A.\nfn a() {}", &["mod.rs:2: a function body in mod.rs"]);
    check(
        path,
        "//! A.\nimpl A {\n    pub fn a(&self) -> u8 {\n        1\n    }\n}",
        &["mod.rs:3:"],
    );
    check(path, "//! A.\n#[cfg(test)]\nmod tests { fn a() {} }", &["mod.rs:3:"]);
    check("src/log/a.rs", "//! A.\nfn a() {}", &[]);
}
