//! The load tool against a node in this process: what it replays, counts and finds wrong.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use quire::audit::{Event, History};
use quire::client::Credentials;
use quire::load::{
    Concurrent, Progress, Report, Sequential, Target, Trace, Typing, replay_concurrent,
    replay_sequential, run_typing,
};
use quire::node::Node;
use quire::task::Tasks;
use quire::text::Operation;
use quire::wire::Codec;
use serde_json::Value;
use tokio::time::timeout;

use crate::audited::Left;
use crate::raw::{Raw, node};
use crate::server::{QUIRE, Server, free_port, quire};
use crate::storm::SETTINGS;

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/traces").join(name)
}

fn one_writer() -> Sequential {
    match Trace::read(&path("one-writer.json")).expect("a recording") {
        Trace::Sequential(trace) => trace,
        Trace::Concurrent(_) => panic!("it is by one writer"),
    }
}

fn two_writers() -> Concurrent {
    match Trace::read(&path("two-writers.json")).expect("a recording") {
        Trace::Concurrent(trace) => trace,
        Trace::Sequential(_) => panic!("it is by two writers"),
    }
}

fn target(node: &Node, codec: Codec, prefix: &str) -> Arc<Target> {
    let urls = vec![format!("http://{}", node.address)];
    Arc::new(Target {
        urls,
        credentials: Credentials::default(),
        codec,
        prefix: prefix.to_owned(),
        history: None,
    })
}

async fn sequential(trace: Sequential, target: Arc<Target>, docs: usize) -> Report {
    let run = replay_sequential("it", Arc::new(trace), target, docs, Progress::hidden());
    timeout(PATIENCE, run).await.expect("it ends").expect("it can be replayed")
}

async fn concurrent(trace: Concurrent, target: Arc<Target>, docs: usize) -> anyhow::Result<Report> {
    let run = replay_concurrent("it", Arc::new(trace), target, docs, Progress::hidden());
    timeout(PATIENCE, run).await.expect("it ends")
}

async fn typing(typing: Typing, target: Arc<Target>) -> Report {
    let run = run_typing(typing, target, Progress::hidden());
    timeout(PATIENCE, run).await.expect("it ends").expect("they can type")
}

/// Half a second of fast typing.
const BURST: Typing =
    Typing { docs: 2, clients: 6, rate: 60.0, duration: Duration::from_millis(500), seed: 1 };

#[tokio::test]
async fn a_recording_of_one_writer_goes_into_many_documents() {
    let node = node(|_| {}).await;
    let mut sent = Vec::new();
    for (codec, prefix) in [(Codec::Binary, "bin"), (Codec::Json, "json")] {
        let report = sequential(one_writer(), target(&node, codec, prefix), 3).await;
        assert_eq!(report.faults, [""; 0]);
        // The text it begins with is a batch of its own.
        assert_eq!((report.docs, report.operations, report.batches), (3, 3 * 81, 3 * 81));
        assert!(report.ack_p50_ms > 0.0 && report.ack_p50_ms <= report.ack_max_ms);
        assert!(report.received_bytes > 0, "acknowledgements are counted");
        sent.push(report.sent_bytes);
    }
    assert!(0 < sent[0] && 2 * sent[0] < sent[1], "binary is the shorter one: {sent:?}");
}

#[tokio::test]
async fn a_recording_of_two_writers_ends_with_equal_replicas() {
    let node = node(|_| {}).await;
    let trace = two_writers();
    let (edits, end) = (trace.agents.iter().map(Vec::len).sum::<usize>(), trace.end.clone());
    let report = concurrent(trace, target(&node, Codec::Binary, "two"), 2).await;
    let report = report.expect("it can be replayed");
    assert_eq!(report.faults, [""; 0]);
    assert_eq!((report.docs, report.clients), (2, 4));
    assert_eq!(report.operations, 2 * edits as u64);
    // What both delete may be left out by the second one.
    assert!(report.batches <= report.operations && report.batches > report.operations - 10);
    // No two inserts of this one tie, so that there is one right text.
    for doc in ["two-0", "two-1"] {
        let url = format!("http://{}/v1/docs/{doc}", node.address);
        let told = reqwest::get(url).await.expect("it answers");
        let told: Value = told.json().await.expect("a document");
        assert_eq!(told["text"], *end);
    }
}

#[tokio::test]
async fn people_who_type_end_with_equal_texts() {
    let node = node(|_| {}).await;
    let report = typing(BURST, target(&node, Codec::Binary, "typing")).await;
    assert_eq!(report.faults, [""; 0]);
    assert_eq!((report.docs, report.clients), (2, 6));
    assert!(0 < report.batches && report.batches <= report.operations, "{report}");
}

#[tokio::test]
async fn what_comes_too_fast_is_sent_again_and_counted_once() {
    let node = node(|config| config.edge.ops_per_second = 100).await;
    let edits = (0..230).map(|_| Operation::builder().insert("x").build()).collect();
    let many = Sequential { edits, end: "x".repeat(230) };
    let report = sequential(many, target(&node, Codec::Binary, "fast"), 1).await;
    assert_eq!((report.faults.len(), report.batches), (0, 230), "{report}");
    let one = Typing { docs: 1, clients: 1, rate: 1_000.0, ..BURST };
    let report = typing(one, target(&node, Codec::Binary, "fast-typing")).await;
    assert_eq!(report.faults, [""; 0]);
}

#[tokio::test]
async fn a_wrong_text_and_a_foreign_batch_are_found() {
    let node = node(|_| {}).await;
    let mut other = one_writer();
    other.end.push('!');
    let report = sequential(other, target(&node, Codec::Binary, "other"), 1).await;
    assert!(report.faults[0].contains("the text differs"), "{report}");
    assert!(report.to_string().contains("WRONG"), "{report}");

    let mut longer = two_writers();
    longer.end.push('!');
    let report = concurrent(longer, target(&node, Codec::Binary, "longer"), 1).await;
    let report = report.expect("it can be replayed");
    assert!(report.faults[0].contains("the recording has"), "{report}");

    let (mut foreign, _) = Raw::join(&node, "foreign-0", '1', "").await;
    foreign.send(r#"{"t":"op","seq":1,"base":0,"op":["mine"]}"#).await;
    foreign.hear("ack").await;
    let report = typing(BURST, target(&node, Codec::Binary, "foreign")).await;
    // The batch is one revision too many, and whoever has not heard of it has another text.
    assert!(report.faults[0].contains("revisions for"), "{report}");
    assert!(report.faults.iter().all(|fault| fault.starts_with("foreign-0: ")), "{report}");
}

#[tokio::test]
async fn a_writer_that_fails_ends_those_who_wait_for_it() {
    let node = node(|_| {}).await;
    let mut broken = two_writers();
    let last = broken.agents[0].last_mut().expect("it writes");
    last.edit = Operation::builder().retain(10_000).insert("x").build();
    let ended = concurrent(broken, target(&node, Codec::Binary, "broken"), 2).await;
    let error = ended.expect_err("it does not fit");
    assert!(format!("{error:#}").contains("does not fit"), "{error:#}");
}

#[test]
fn recordings_are_read_gzipped_or_not_and_bad_ones_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let zipped = folder.path().join("one-writer.json.gz");
    let mut gzip = GzEncoder::new(fs::File::create(&zipped).expect("a file"), Compression::fast());
    gzip.write_all(&fs::read(path("one-writer.json")).expect("a file")).expect("it is written");
    gzip.finish().expect("it is written");
    let Trace::Sequential(read) = Trace::read(&zipped).expect("a recording") else {
        panic!("it is by one writer")
    };
    assert_eq!((read.edits, read.end), (one_writer().edits, one_writer().end));
    let bad = folder.path().join("bad.json");
    for (text, why) in [
        ("", "EOF"),
        (r#"{"txns":[]}"#, "endContent"),
        (r#"{"endContent":"","txns":[{"patches":[[-1,0,""]]}]}"#, "invalid value"),
        (
            r#"{"kind":"concurrent","endContent":"","numAgents":1,
                "txns":[{"agent":1,"patches":[]}]}"#,
            "there are 1",
        ),
        (
            r#"{"kind":"concurrent","endContent":"","numAgents":1,
                "txns":[{"agent":0,"parents":[0],"patches":[]}]}"#,
            "a parent that comes later",
        ),
    ] {
        fs::write(&bad, text).expect("it is written");
        let error = format!("{:#}", Trace::read(&bad).expect_err("it is bad"));
        assert!(error.contains("cannot read the trace") && error.contains(why), "{error}");
    }
}

/// Runs `quire load` beside the node.
async fn load(node: &Node, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quire"));
    command.args(["load", "--url", &format!("http://{}", node.address)]).args(args);
    Tasks::offload(move || command.output().expect("the binary runs")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_reports_and_judges() {
    let node = node(|_| {}).await;
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("report.json");
    let (json, one, two) =
        (json.display().to_string(), path("one-writer.json"), path("two-writers.json"));
    let (one, two) = (one.display().to_string(), two.display().to_string());
    for (slo, code) in [("ack_p50<1m", 0), ("ack_p50<1us", 99), ("operations_per_second>1e12", 99)]
    {
        let args = ["--trace", &one, &two, "--docs", "2", "--json", &json, "--slo", slo];
        let Output { status, stdout, stderr } = load(&node, &args).await;
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert_eq!(status.code(), Some(code), "{slo}: {stdout}{stderr}");
        assert_eq!(stdout.matches("every text is right").count(), 2, "{stdout}");
        assert_eq!(stderr.contains("objective missed: "), code == 99, "{stderr}");
        let reports = fs::read_to_string(&json).expect("it was written");
        let reports: Value = serde_json::from_str(&reports).expect("JSON");
        assert_eq!(reports[0]["operations"], 2 * 81);
        assert_eq!(reports[1]["name"], "two-writers.json");
    }
    let typing = ["--profile", "typing", "--docs", "2", "--clients", "3", "--seconds", "1"];
    let typed = [typing.as_slice(), &["--codec", "json", "--threads", "2"]].concat();
    let typed = load(&node, &typed).await;
    assert_eq!(typed.status.code(), Some(0), "{}", String::from_utf8_lossy(&typed.stderr));
    for bad in [["--rate", "0"], ["--rate", "inf"], ["--slo", "ack<1"], ["--threads", "0"]] {
        let refused = load(&node, &[typing.as_slice(), bad.as_slice()].concat()).await;
        assert_eq!(refused.status.code(), Some(2), "{bad:?}");
    }
    let gone = load(&node, &["--trace", "nowhere.json"]).await;
    assert_eq!(gone.status.code(), Some(1));
}

/// Counts the acknowledgements that a history tells of.
fn acknowledgements(history: &Path) -> u64 {
    let mut history = History::open(history).expect("it is one");
    let mut count = 0;
    while let Some((_, line)) = history.read().expect("it is one") {
        count += u64::from(matches!(line.event, Event::Ack { .. }));
    }
    count
}

#[test]
fn what_a_load_has_written_down_is_audited_by_a_second_command() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (data, json) = (folder.path().join("data"), file("report.json"));
    let server = Server::start(&data, free_port(), SETTINGS);
    let [one, two] =
        ["one-writer.json", "two-writers.json"].map(|name| path(name).display().to_string());
    let typing = "--profile typing --docs 2 --clients 5 --seconds 1 --rate 30 --codec json";
    let loads = [
        ("typing.gz", typing.split(' ').collect()),
        ("traces.jsonl", vec!["--docs", "2", "--trace", &one, &two]),
    ];
    for (name, what) in &loads {
        let history = file(name);
        let load = ["load", "--url", &server.url, "--json", &json, "--history", &history];
        quire(&[&load[..], what].concat());
        let reports = fs::read_to_string(&json).expect("it was written");
        let reports: Vec<Value> = serde_json::from_str(&reports).expect("JSON");
        let batches = reports.iter().filter_map(|report| report["batches"].as_u64()).sum::<u64>();
        assert!(batches > 50 && acknowledgements(history.as_ref()) == batches, "{batches}");
    }
    server.stop();
    let set = &[SETTINGS, &["checkpoints=embedded"]].concat();
    for (name, _) in &loads {
        Left { data: &data, set }.check(file(name).as_ref());
    }
}

#[test]
fn a_history_that_cannot_be_written_is_said_before_anything_is_sent() {
    let nowhere = ["load", "--profile", "typing", "--history", "/nowhere/history.gz"];
    let refused = Command::new(QUIRE).args(nowhere).output().expect("the binary runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("the history /nowhere/history.gz cannot be read or written"), "{said}");
}
