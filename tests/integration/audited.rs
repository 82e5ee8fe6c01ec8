//! The real `quire audit` over what a server has left: it agrees, and one acknowledgement that
//! nobody got is found.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use quire::audit::{Event, History, Line, Recorder};
use quire::types::{ParticipantId, Revision, Seq, Timestamp};
use serde_json::Value;

use crate::server::QUIRE;

/// A log and its checkpoints, as the server was told where they are.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    pub(crate) data: &'a Path,
    pub(crate) set: &'a [&'a str],
}

/// What is decided wherever there are edits, clients and checkpoints.
const DECIDED: &[&str] = &["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10"];

/// Why nothing can be said of checkpoints that stand above where a trimmed log begins.
const TRIMMED: &str = "the log is not whole for the document";

impl Left<'_> {
    /// Checks that nothing is violated, and that the same with a lie in its history is.
    pub(crate) fn check(self, history: &Path) {
        let report = self.audit(history, "json", 0);
        let report: Value = serde_json::from_str(&report).expect("JSON");
        assert_eq!(report["clean"], true, "{report:#}");
        for name in DECIDED {
            let all = report["invariants"].as_array().expect("a list");
            let tally = all.iter().find(|tally| tally["invariant"] == *name).expect("it is there");
            let trimmed = tally["reason"] == TRIMMED;
            let decided = tally["decided"].as_u64() > Some(0);
            assert!(decided || trimmed, "{name} is not decided: {report:#}");
        }
        let count = |name: &str| report[name].as_u64().expect("a number");
        let [records, void, events] = ["records", "void", "events"].map(count);
        eprintln!("audit: {records} records, {void} void, {events} events, clean");

        let lying = history.with_file_name(format!("lying-{}", name(history)));
        let Line { doc, event, .. } = forge(history, &lying);
        let Event::Ack { rev, .. } = event else { panic!("it is one") };
        let told = self.audit(&lying, "table", 1);
        let first = told.lines().find_map(|line| line.strip_prefix("I1 is violated, first here: "));
        let first = first.unwrap_or_else(|| panic!("the first place is named: {told}"));
        let place = format!(" · document {doc} · revision {rev} · ");
        assert!(first.contains(&place) && first.contains(" · client nobody · line "), "{first}");
        let offset = first.split_once(" · offset ").and_then(|(_, rest)| rest.split_once(' '));
        let offset = offset.expect("its record is named").0;
        self.holds(doc.as_str(), rev, offset);
        // And nothing else: the lie is about one acknowledgement.
        assert_eq!(told.matches(" is violated, first here: ").count(), 1, "{told}");
        assert!(told.ends_with("VIOLATED\n"), "{told}");
    }

    /// Checks that the record at an offset makes a revision.
    fn holds(self, doc: &str, rev: Revision, offset: &str) {
        let chosen = ["--doc", doc, "--from", offset, "--to", offset, "--output", "json"];
        let Output { stdout, stderr, .. } = self.run(&["log", "cat"], &chosen);
        let said = String::from_utf8_lossy(&stderr);
        let record: Value = serde_json::from_slice(&stdout).unwrap_or_else(|_| panic!("{said}"));
        let base = record["base_rev"].as_u64().unwrap_or_else(|| panic!("{record:#}"));
        let edits = record["entries"].as_array().map_or(0, Vec::len) as u64;
        assert!((base + 1..=base + edits).contains(&rev.0), "{record:#} and revision {rev}");
    }

    fn audit(self, history: &Path, output: &str, wanted: i32) -> String {
        let history = history.to_str().expect("UTF-8");
        let Output { status, stdout, stderr } =
            self.run(&["audit"], &["--history", history, "--output", output]);
        let told = String::from_utf8(stdout).expect("it is text");
        let said = String::from_utf8_lossy(&stderr);
        assert_eq!(status.code(), Some(wanted), "{said}{told}");
        told
    }

    fn run(self, verb: &[&str], args: &[&str]) -> Output {
        let mut command = Command::new(QUIRE);
        command.args(verb).arg("--data").arg(self.data).args(args).stdin(Stdio::null());
        for setting in self.set {
            command.args(["--set", setting]);
        }
        command.output().expect("the binary runs")
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("UTF-8")
}

/// Appends to a copy of a history that somebody else, too, got its last acknowledgement; returns
/// what was written there before.
fn forge(history: &Path, copy: &Path) -> Line {
    let mut read = History::open(history).expect("it is one");
    let mut last = None;
    while let Some((_, line)) = read.read().expect("it is one") {
        if matches!(line.event, Event::Ack { .. }) {
            last = Some(line);
        }
    }
    let last = last.expect("somebody was told something");
    let Event::Ack { rev, .. } = last.event else { panic!("it is one") };
    let before = Revision(rev.0 - 1);
    let lie = copy.with_file_name(format!("lie-{}", name(copy)));
    let recorder = Recorder::create(&lie).expect("a file");
    let tape = recorder.tape("nobody", &last.doc, ParticipantId(!last.session.0));
    for event in
        [Event::Welcome { rev: before, head: before, seq: Seq(0) }, Event::Ack { seq: Seq(1), rev }]
    {
        tape.note(Timestamp(0), event);
    }
    recorder.close().expect("it is written");
    let bytes = [history, &lie].map(|path| fs::read(path).expect("it is there"));
    fs::write(copy, bytes.concat()).expect("it is written");
    last
}
