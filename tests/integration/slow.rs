//! Clients whose sockets do not take their data: caught up without a gap, then sent away.

use std::time::Duration;

use bytesize::ByteSize;
use quire::config::Config;
use quire::doc::{self, Event};
use quire::node::Node;
use quire::types::Revision;
use serde_json::{Value, json};

use crate::inner::{Under, id, join, router, write as insert};
use crate::raw::{Raw, node};

/// The length of a batch: some tens of them are more than sockets hold.
const LENGTH: u64 = 200_000;

/// Batches until the socket of a client that does not read is full.
const ROUNDS: u64 = 120;

/// Keeps everything for those who are behind.
fn patient(config: &mut Config) {
    config.document.window_bytes = ByteSize::mib(256);
    config.document.window_revisions = 100_000;
    config.edge.outbox_grace = Duration::from_secs(3_600);
}

/// Replaces the text by another one, `ROUNDS` times.
async fn write(writer: &mut Raw, from: u64) {
    for rev in from..from + ROUNDS {
        let letter = char::from(b'a' + u8::try_from(rev % 26).expect("below 26"));
        let text = letter.to_string().repeat(usize::try_from(LENGTH).expect("short"));
        let op = if rev == 0 { json!([text]) } else { json!([{"d": LENGTH}, text]) };
        let batch = json!({"t":"op","seq":rev + 1,"base":rev,"op":op});
        writer.send(&batch.to_string()).await;
        writer.hear("ack").await;
    }
}

async fn metric(node: &Node, name: &str) -> u64 {
    let answer = reqwest::get(format!("http://{}/metrics", node.address)).await;
    let text = answer.expect("it answers").text().await.expect("it is text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("it is counted");
    line.trim().parse().expect("a number")
}

/// Applies an operation as it is spelled in JSON to a text of one byte a character.
fn apply(text: &str, op: &Value) -> String {
    let (mut rest, mut after) = (text, String::new());
    for component in op.as_array().expect("a list") {
        let take = |rest: &mut &str, count: &Value| {
            let count = usize::try_from(count.as_u64().expect("a count")).expect("short");
            let (taken, left) = rest.split_at(count);
            *rest = left;
            taken.to_owned()
        };
        match component {
            Value::String(text) => after.push_str(text),
            Value::Number(_) => after.push_str(&take(&mut rest, component)),
            deleted => drop(take(&mut rest, &deleted["d"])),
        }
    }
    after + rest
}

#[tokio::test]
async fn an_editor_is_caught_up_without_a_gap_and_the_second_time_sent_away() {
    let node = node(|config| {
        patient(config);
        config.edge.outbox_bytes_max = ByteSize::kib(64);
    })
    .await;
    let (mut slow, _) = Raw::join(&node, "a", '2', "").await;
    let (mut writer, _) = Raw::join(&node, "a", '1', "").await;
    write(&mut writer, 0).await;
    let mut next = 1;
    while next <= ROUNDS {
        let message = slow.next().await;
        match message["t"].as_str() {
            Some("op") => {
                assert_eq!(message["rev"], next, "no gap");
                next += 1;
            }
            Some("ops") => {
                assert_eq!(message["rev"], next, "no gap");
                next += message["list"].as_array().map_or(0, |list| list.len() as u64);
            }
            Some("presence") => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(metric(&node, "quire_edge_lagged_total ").await, 1);
    write(&mut writer, ROUNDS).await;
    let (error, code) = slow.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("slow-consumer"), 4529));
}

#[tokio::test]
async fn a_viewer_is_caught_up_and_sees_what_everybody_sees() {
    let node = node(|config| {
        patient(config);
        config.edge.outbox_bytes_max = ByteSize::mib(8);
        config.document.viewer_tick = Duration::from_millis(2);
    })
    .await;
    let (mut writer, _) = Raw::join(&node, "a", '1', "").await;
    write(&mut writer, 0).await;
    let (mut viewer, welcome) = Raw::join(&node, "a", '2', r#","mode":"view""#).await;
    let mut text = welcome["text"].as_str().expect("the text").to_owned();
    write(&mut writer, ROUNDS).await;
    write(&mut writer, 2 * ROUNDS).await;
    // From here on the viewer reads while the writer goes on.
    let head = 4 * ROUNDS;
    let reading = async {
        let mut rev = ROUNDS;
        while rev < head {
            let message = viewer.hear("merged").await;
            let next = message["rev"].as_u64().expect("a revision");
            assert!(next > rev, "{next} after {rev}");
            text = apply(&text, &message["op"]);
            rev = next;
        }
    };
    tokio::join!(reading, write(&mut writer, 3 * ROUNDS));
    assert!(metric(&node, "quire_edge_lagged_total ").await >= 1, "it was behind");
    let (_, welcome) = Raw::join(&node, "a", '3', "").await;
    assert_eq!((&welcome["text"], &welcome["head"]), (&json!(text), &json!(head)));
}

#[tokio::test]
async fn what_waits_for_a_tick_is_part_of_what_was_missed() {
    let hour = Duration::from_secs(3_600);
    let config = doc::Config { viewer_tick: hour, ..doc::Config::default() };
    let router = router(Under { config, ..Under::default() }).await;
    let handle = router.open(&id("a")).await.expect("it opens");
    insert(&handle, 0).await;
    let viewer = join(&handle).await;
    for base in 1..3 {
        insert(&handle, base).await;
    }
    assert!(viewer.events.lock().is_empty(), "it waits for the tick");
    let missed = handle.missed(Revision(1)).await.expect("it is open").expect("it is at hand");
    assert_eq!(missed.iter().map(|change| change.rev.0).collect::<Vec<_>>(), [2, 3]);
    // What comes with the next tick begins after what was handed out just now.
    let rest = |event: &Event| match event {
        Event::Merged(merged) => Some((merged.first, merged.rev)),
        _ => None,
    };
    let merged: Vec<_> = viewer.events.lock().iter().filter_map(rest).collect();
    assert_eq!(merged, [(Revision(2), Revision(3))]);
    router.drain().await;
}
