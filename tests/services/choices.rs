//! What `quire log` chooses of a log in Kafka, and what it says of records that do not count.

use std::process::{Command, Stdio};

use bytes::Bytes;
use quire::log::kafka::Kafka;
use quire::log::{Claim, Entry, Frame, Log, Record};
use quire::text::Operation;
use quire::types::{Author, DocId, Epoch, NodeId, Offset, Revision, Seq, SessionId};
use quire::types::{ShardId, Timestamp};
use serde_json::Value;

use crate::kafka::{config, fresh_topic, hosts, open};
use crate::server::{QUIRE, quire};

/// 2026-01-31T08:00:00Z, and an hour more for each document.
const MORNING: u64 = 1_769_846_400_000;
const HOUR: u64 = 3_600_000;

/// Returns the nth document of a shard of two.
fn doc(shard: u32, nth: usize) -> DocId {
    let names = (0..).map(|n| format!("doc-{n}").parse::<DocId>().expect("an id"));
    names.filter(|doc| doc.shard(2) == ShardId(shard)).nth(nth).expect("there are enough")
}

fn claim(boot: u64, prev: Option<u64>) -> Bytes {
    let node = NodeId("n".parse().expect("an id"));
    Record::Claim(Claim { node, boot, prev: prev.map(Epoch) }).encode()
}

fn frame(doc: &DocId, hour: u64, epoch: u64, base_rev: u64, seq: u64) -> Bytes {
    let op = Operation::builder().insert("x").build();
    let (session, author) = (SessionId([7; 16]), Author::anonymous());
    let base = Revision(base_rev);
    let entries = vec![Entry { session, seq: Seq(seq), author, base, op }];
    let (epoch, at) = (Epoch(epoch), Timestamp(MORNING + hour * HOUR));
    Record::Frame(Frame { epoch, doc: doc.clone(), base_rev: base, at, entries }).encode()
}

const STALE: &str = "the record is of another epoch than the current one";
const REVISION: &str = "the record is for another revision than the document has";
const SEQ: &str = "a batch of the record is not the next one of its session";

/// Writes two shards: the first has one of everything that does not count.
async fn write(log: &Kafka) {
    let (a, b, c) = (doc(0, 0), doc(1, 0), doc(0, 1));
    let first = [
        claim(1, None),
        frame(&a, 0, 0, 0, 1),
        frame(&a, 0, 0, 0, 2),
        frame(&c, 1, 0, 0, 1),
        Bytes::from_static(b"no record of Quire"),
        claim(2, Some(0)),
        frame(&a, 2, 0, 1, 2),
        frame(&a, 2, 5, 1, 4),
        frame(&a, 2, 5, 1, 2),
    ];
    let second = [claim(1, None), frame(&b, 1, 0, 0, 1)];
    for (shard, records) in [(0, first.to_vec()), (1, second.to_vec())] {
        for (offset, record) in (0..).zip(records) {
            let written = log.append(ShardId(shard), record).await;
            assert_eq!(written.ok(), Some(Offset(offset)));
        }
    }
}

/// Returns shard and offset of each line, and why it does not count.
fn lines(said: &str) -> Vec<(u64, u64, String)> {
    let line = |line: &str| {
        let told: Value = serde_json::from_str(line).expect("JSON");
        let number = |key: &str| told[key].as_u64().expect("it is a number");
        (number("shard"), number("offset"), told["void"].as_str().unwrap_or_default().to_owned())
    };
    said.lines().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_chosen_by_shard_document_offset_and_time() {
    let topic = fresh_topic();
    let log = open(&topic, 2, &config()).await.expect("it is created");
    write(&log).await;
    let prefix = topic.strip_suffix("-log").expect("it is a log's");
    let url = format!("kafka://{}/{prefix}", hosts().join(","));
    let (a, c) = (doc(0, 0).to_string(), doc(0, 1).to_string());
    let ask = |verb: &str, choice: &[&str]| {
        let json = ["log", verb, "--log", &url, "--output", "json"];
        quire(&[&json[..], choice].concat())
    };
    let check = |choice: &[&str], wanted: &[(u64, u64)]| {
        let chosen = lines(&ask("cat", choice));
        let places: Vec<_> = chosen.iter().map(|(shard, offset, _)| (*shard, *offset)).collect();
        assert_eq!(places, wanted, "{choice:?}");
        let stats: Value = serde_json::from_str(&ask("stats", choice)).expect("JSON");
        let void: u64 =
            stats["void"].as_object().expect("it is one").values().flat_map(Value::as_u64).sum();
        let counted = stats["records"].as_u64().expect("a number");
        let raw = lines(&ask("cat", &[choice, &["--raw"]].concat()));
        assert_eq!(counted, raw.len() as u64, "{choice:?}");
        let why = raw.iter().filter(|(.., why)| !why.is_empty()).count() as u64;
        let unreadable = stats["unreadable"].as_u64().expect("a number");
        assert_eq!(void + unreadable, why, "{choice:?}");
    };
    check(&[], &[(0, 0), (0, 1), (0, 3), (0, 5), (0, 8), (1, 0), (1, 1)]);
    check(&["--shard", "1"], &[(1, 0), (1, 1)]);
    check(&["--partition", "0"], &[(0, 0), (0, 1), (0, 3), (0, 5), (0, 8)]);
    check(&["--doc", &a], &[(0, 1), (0, 8)]);
    check(&["--doc", &c], &[(0, 3)]);
    check(&["--from", "5"], &[(0, 5), (0, 8)]);
    check(&["--to", "3"], &[(0, 0), (0, 1), (0, 3), (1, 0), (1, 1)]);
    check(&["--from", "1", "--to", "5", "--shard", "0"], &[(0, 1), (0, 3), (0, 5)]);
    check(&["--since", "2026-01-31T09:00:00Z"], &[(0, 3), (0, 8), (1, 1)]);
    check(&["--until", "2026-01-31T09:00:00Z"], &[(0, 1)]);
    check(&["--doc", &a, "--since", "2026-01-31T09:00:00Z"], &[(0, 8)]);

    let raw = lines(&ask("cat", &["--raw", "--shard", "0"]));
    assert_eq!(raw.len(), 9, "{raw:?}");
    let why = |offset: usize| raw[offset].2.as_str();
    assert_eq!([why(2), why(6), why(7)], [REVISION, STALE, SEQ]);
    assert!(!why(4).is_empty(), "it cannot be read");

    let verify = |choice: &[&str]| {
        let mut command = Command::new(QUIRE);
        command.args(["log", "verify", "--log", &url]).args(choice).stdin(Stdio::null());
        let output = command.output().expect("the binary runs");
        (output.status.code(), String::from_utf8(output.stdout).expect("it is text"))
    };
    let (code, said) = verify(&[]);
    assert_eq!(code, Some(1), "a record cannot be read: {said}");
    let sum = "11 records, 7 edits accepted or void, 3 void, 1 cannot be read, 0 missing";
    assert_eq!(said.lines().last(), Some(sum));
    let (code, said) = verify(&["--doc", &a, "--from", "6"]);
    let wanted = [
        format!("shard 0 offset 6 of {a}: void: {STALE}"),
        format!("shard 0 offset 7 of {a}: void: {SEQ}"),
        "3 records, 3 edits accepted or void, 2 void, 0 cannot be read, 0 missing".to_owned(),
    ];
    assert_eq!(
        (code, said.lines().collect::<Vec<_>>()),
        (Some(0), wanted.each_ref().map(String::as_str).to_vec())
    );
    let (code, said) = verify(&["--partition", "1"]);
    assert_eq!((code, said.lines().count()), (Some(0), 1), "{said}");
}
