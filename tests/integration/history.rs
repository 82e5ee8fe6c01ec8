//! The history of a document by two authors, over the command line: before and after it was
//! checkpointed, its segments sealed, the log trimmed, and the server stopped and killed.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::server::{Server, free_port, quire};

/// Everything so small that all of it happens within a few revisions.
const SETTINGS: &[&str] = &[
    "document.checkpoint-log-bytes-min=4KiB",
    "document.checkpoint-log-factor=1",
    "document.segment-bytes-min=1KiB",
    "document.window-revisions=4",
    "shard.trim-margin=0",
    "shard.trim-delay=0s",
    "telemetry.log-level=warn",
];

fn doc(server: &Server, args: &[&str]) -> String {
    let mut all = vec!["doc"];
    all.extend(args);
    all.extend(["--url", &server.url]);
    quire(&all)
}

fn json(server: &Server, args: &[&str]) -> Value {
    let mut all = args.to_vec();
    all.extend(["--output", "json"]);
    serde_json::from_str(&doc(server, &all)).expect("it prints JSON")
}

/// Imports a text as somebody's revision.
fn import(server: &Server, folder: &Path, author: &str, text: &str) {
    let file = folder.join("import.txt");
    fs::write(&file, text).expect("it can be written");
    let file = file.to_str().expect("a plain path");
    doc(server, &["import", "story", file, "--author", author]);
}

/// Writes twenty paragraphs in turns; the text cannot be compressed much.
fn write(server: &Server, folder: &Path) -> Vec<String> {
    let mut texts = vec![String::new()];
    let mut state = 7_u64;
    for n in 0..20 {
        let author = ["ann", "bob"][n % 2];
        let mut text = texts[n].clone();
        text.push_str(&format!("{author} {n}:"));
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(&format!(" {:x}", state >> 40));
        }
        text.push_str(" 🦀\r\n");
        import(server, folder, author, &text);
        texts.push(text);
    }
    texts
}

fn check(server: &Server, texts: &[String]) {
    let history = json(server, &["history", "story"]);
    let rows = history["revisions"].as_array().expect("a list");
    assert!(rows.len() >= 20, "{history}");
    for (n, row) in rows.iter().take(20).enumerate() {
        assert_eq!(row["author"], ["ann", "bob"][n % 2]);
        assert_eq!(row["rev"], n as u64 + 1);
    }
    for (rev, text) in texts.iter().enumerate().skip(1) {
        assert_eq!(doc(server, &["cat", "story", "--rev", &rev.to_string()]), *text, "at {rev}");
    }
    let blame = json(server, &["blame", "story", "--rev", "20"]);
    let spans = blame["spans"].as_array().expect("a list");
    let joined: String = spans.iter().filter_map(|span| span["text"].as_str()).collect();
    assert_eq!(joined, texts[20]);
    for span in spans {
        let (text, author) = (span["text"].as_str(), span["author"].as_str());
        let (text, author) = (text.expect("text"), author.expect("an author"));
        assert!(text.starts_with(author), "{author} wrote {text}");
    }
    let diff = json(server, &["diff", "story", "--from", "19", "--to", "20"]);
    let inserted: String = diff["hunks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|hunk| hunk["kind"] == "inserted")
        .filter_map(|hunk| hunk["text"].as_str())
        .collect();
    assert_eq!(inserted, texts[20][texts[19].len()..]);
    assert_eq!(json(server, &["verify", "story"])["equal"], true);
}

#[test]
fn history_survives_checkpoints_seals_trims_stops_and_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("data"), free_port());
    let server = Server::start(&data, port, SETTINGS);
    let texts = write(&server, folder.path());
    check(&server, &texts);
    doc(&server, &["name", "story", "first draft", "--rev", "7", "--author", "ann"]);
    server.stop();

    let server = Server::start(&data, port, SETTINGS);
    check(&server, &texts);
    doc(&server, &["restore", "story", "--rev", "7", "--author", "bob"]);
    assert_eq!(doc(&server, &["cat", "story"]), texts[7], "a restore is a new revision");
    server.kill();

    let server = Server::start(&data, port, SETTINGS);
    check(&server, &texts);
    assert_eq!(doc(&server, &["cat", "story"]), texts[7]);
    let history = json(&server, &["history", "story"]);
    assert_eq!(history["versions"][0]["name"], "first draft");
    let last = history["revisions"].as_array().and_then(|rows| rows.last()).expect("there is one");
    assert_eq!((&last["rev"], &last["author"]), (&Value::from(21), &Value::from("bob")));

    doc(&server, &["cut", "story", "--before", "21", "--author", "ann"]);
    assert_eq!(doc(&server, &["cat", "story"]), texts[7]);
    assert_eq!(json(&server, &["verify", "story"])["equal"], true);
    server.stop();
    let server = Server::start(&data, port, SETTINGS);
    assert_eq!(json(&server, &["history", "story"])["revisions"], Value::Array(Vec::new()));
    assert_eq!(doc(&server, &["cat", "story"]), texts[7]);
}
