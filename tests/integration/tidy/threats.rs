//! What docs/SECURITY.md names as tests is there: of threats, and of what was tried.

use std::fs;
use std::path::Path;

/// Returns what the table names, and nothing else has it: `file::test` in Rust, `file: title`.
fn named(text: &str) -> Vec<&str> {
    let rows =
        text.lines().filter(|line| line.starts_with("| ") && line.matches(" | ").count() == 2);
    let shown = rows.filter_map(|row| row.rsplit(" | ").next());
    let quoted = shown.flat_map(|shown| shown.split('`').skip(1).step_by(2));
    quoted.filter(|name| name.contains('/')).collect()
}

/// Tells whether a test is there; `read` returns what a file holds.
fn is_there(name: &str, read: impl Fn(&str) -> Option<String>) -> bool {
    if let Some((path, test)) = name.split_once("::") {
        let holds =
            |path: String| read(&path).is_some_and(|text| text.contains(&format!("fn {test}(")));
        // The tests of a module may have a file of their own.
        return holds(path.to_owned()) || holds(path.replace(".rs", "/tests.rs"));
    }
    match name.split_once(": ") {
        Some((path, title)) => {
            read(path).is_some_and(|text| text.contains(&format!("test('{title}")))
        }
        None => read(name).is_some_and(|text| {
            // A file of tests, or a program that tries things.
            text.contains("#[test]") || text.starts_with("#!/usr/bin/env bash\n")
        }),
    }
}

#[test]
fn every_threat_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let text = read("docs/SECURITY.md").expect("it is there");
    let tables = text.split("## Hardening").next().expect("a beginning");
    for (title, least) in [("## Tried and counted", 20), ("## Threats", 40)] {
        let found = named(tables.split(title).nth(1).expect("it has a section")).len();
        assert!(found > least, "the table of {title} was not found: {found}");
    }
    let named = named(tables);
    let gone: Vec<_> = named.iter().filter(|name| !is_there(name, read)).collect();
    assert!(gone.is_empty(), "not there: {gone:?}");
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    let read = |path: &str| match path {
        "src/a.rs" => Some("#[test]\nfn one() {}".to_owned()),
        "tests/a.test.mjs" => Some("test('it works well', ...".to_owned()),
        _ => None,
    };
    let row = "| a | b | `src/a.rs::one`, `src/a.rs`, `tests/a.test.mjs: it works` |\n\
        | a | b | `src/a.rs::on`, `src/b.rs::one`, `tests/a.test.mjs: works`, `src/b.rs` |\n";
    let found: Vec<_> = named(row).into_iter().map(|name| is_there(name, read)).collect();
    assert_eq!(found, [true, true, true, false, false, false, false]);
}
