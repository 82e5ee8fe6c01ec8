//! Clients whose sockets do not take their data: caught up without a gap, then sent away.

use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use quire::access::{Asker, Right};
use quire::checkpoint;
use quire::config::Config;
use quire::doc::{self, Event, Failure, Mode, Refusal};
use quire::log;
use quire::shard::{self, Ports, Room};
use quire::testing::Way;
use quire::text::Operation;
use quire::types::{Author, LogId, Revision, SessionId, ShardId};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::inner::{PATIENCE, Under, id, join_as, ports, router, write as insert};
use crate::plain::{metric, reaches};
use crate::raw::{Raw, node};

/// The length of a batch: some tens of them are more than sockets hold.
const LENGTH: u64 = 200_000;

/// Batches until the socket of a client that does not read is full.
const ROUNDS: u64 = 120;

/// How many were sent away because they do not take their data, and how many were left to wait.
const SLOW: &str = r#"quire_edge_closes_total{reason="slow-consumer"}"#;
const HELD: &str = "quire_edge_held_total";

/// Keeps everything for those who are behind.
fn patient(config: &mut Config) {
    // What is written here is written as fast as it can be.
    config.edge.bytes_per_second = ByteSize::gib(1);
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
    assert_eq!(metric(&node, "quire_edge_lagged_total").await, 1);
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
    assert!(metric(&node, "quire_edge_lagged_total").await >= 1, "it was behind");
    let (_, welcome) = Raw::join(&node, "a", '3', "").await;
    assert_eq!((&welcome["text"], &welcome["head"]), (&json!(text), &json!(head)));
}

#[tokio::test]
async fn a_socket_that_takes_nothing_for_long_is_given_up() {
    let node = node(|config| {
        patient(config);
        config.edge.outbox_grace = Duration::from_millis(300);
    })
    .await;
    let (still, _) = Raw::join(&node, "a", '2', "").await;
    let (mut writer, _) = Raw::join(&node, "a", '1', "").await;
    write(&mut writer, 0).await;
    reaches(&node, SLOW, 1).await;
    drop(still);
}

/// Returns the bytes of so many pings of the WebSocket, each as long as one may be.
fn pings(count: usize) -> Vec<u8> {
    let mut ping = vec![0x89, 0x80 | 125];
    ping.resize(2 + 4 + 125, 0);
    ping.repeat(count)
}

#[tokio::test]
async fn who_takes_no_pongs_is_read_no_further_and_given_up() {
    let node = node(|config| {
        config.edge.bytes_per_second = ByteSize::gib(1);
        config.edge.outbox_grace = Duration::from_millis(200);
        // It is not asked whether it is there.
        config.edge.ping_every = Duration::from_secs(3_600);
    })
    .await;
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    // Nothing else is to be told.
    raw.hear("presence").await;
    let (pings, mut sent) = (pings(1_000), 0);
    // Far more than the sockets of both sides hold.
    while sent < 64 << 20 && metric(&node, SLOW).await == 0 {
        raw.push(&pings).await;
        sent += pings.len();
    }
    assert_eq!(metric(&node, SLOW).await, 1, "{sent} bytes were read");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn pings_of_the_websocket_are_answered_at_a_rate() {
    let node = node(|config| config.edge.bytes_per_second = ByteSize::kib(16)).await;
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    raw.push(&pings(100)).await;
    raw.send(r#"{"t":"ping","n":1}"#).await;
    raw.hear("pong").await;
    assert_eq!(metric(&node, HELD).await, 0);
    raw.push(&pings(2_000)).await;
    reaches(&node, HELD, 1).await;
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn who_says_nothing_to_the_end_is_given_up_and_who_answers_is_not() {
    let node = node(|config| {
        config.edge.ping_every = Duration::from_millis(100);
        config.edge.silence_max = Duration::from_millis(200);
    })
    .await;
    let (mut good, _) = Raw::join(&node, "good", '1', "").await;
    // It is asked far longer than others are waited for.
    let answering = async {
        for _ in 0..20 {
            good.asked().await;
        }
        good.send(r#"{"t":"op","seq":1,"base":0,"op":["a"]}"#).await;
        good.hear("ack").await;
    };
    let silent = async {
        let (mut silent, _) = Raw::join(&node, "a", '1', "").await;
        while silent.overhear().await {}
    };
    // A text of 256 bytes, under a mask that changes nothing.
    let head: &[u8] = &[0x81, 0xfe, 0x01, 0x00, 0, 0, 0, 0];
    let half = async {
        let (mut half, _) = Raw::join(&node, "b", '1', "").await;
        half.push(head).await;
        while half.overhear().await {}
    };
    let trickling = async {
        let (mut trickling, _) = Raw::join(&node, "c", '1', "").await;
        trickling.push(head).await;
        while trickling.overhear().await {
            trickling.push(b" ").await;
        }
    };
    tokio::join!(answering, silent, half, trickling);
    assert_eq!(metric(&node, r#"quire_edge_closes_total{reason="silent"}"#).await, 3);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn what_is_too_old_in_an_outbox_is_replaced_by_a_catch_up() {
    let node = node(|config| {
        patient(config);
        config.edge.outbox_age_max = Duration::from_millis(100);
        config.edge.outbox_bytes_max = ByteSize::gib(1);
    })
    .await;
    let (mut late, _) = Raw::join(&node, "a", '2', "").await;
    let (mut writer, _) = Raw::join(&node, "a", '1', "").await;
    write(&mut writer, 0).await;
    let mut next = 1;
    while next <= ROUNDS {
        let message = late.next().await;
        let (first, count) = match message["t"].as_str() {
            Some("op") => (&message["rev"], 1),
            Some("ops") => (&message["rev"], message["list"].as_array().map_or(0, Vec::len)),
            _ => continue,
        };
        assert_eq!(first, next, "no gap");
        next += count as u64;
    }
    assert!(metric(&node, "quire_edge_lagged_total").await >= 1, "something got too old");
}

#[tokio::test]
async fn above_a_number_of_participants_presence_is_a_count_and_a_sample() {
    let node = node(|config| {
        config.document.participants_listed_max = 2;
        config.document.presence_interval = Duration::from_millis(20);
    })
    .await;
    let mut others = Vec::new();
    for digit in ['1', '2', '3', '4', '5'] {
        others.push(Raw::join(&node, "a", digit, "").await.0);
    }
    let (mut newcomer, _) = Raw::join(&node, "a", '6', "").await;
    let all = newcomer.hear("presence").await;
    assert_eq!(all["n"], 5, "whoever was there before");
    assert_eq!(all["list"].as_array().map(Vec::len), Some(2), "a sample of them");
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_room_is_put_off_and_taken_later() {
    let log = Way::to(Arc::new(log::Memory::new(LogId(1), 1)));
    let config = doc::Config { queue_bytes: ByteSize::b(40), ..doc::Config::default() };
    let router = router(Under { log: log.clone(), config, ..Under::default() }).await;
    let handle = router.open(&id("a")).await.expect("it opens");
    log.appends.freeze();
    let first = handle.write(
        SessionId([1; 16]),
        Asker::anything(),
        edit(0, "taken, and on its way to the log"),
    );
    tokio::pin!(first);
    assert!(futures_util::poll!(&mut first).is_pending());
    let refused = handle
        .write(SessionId([2; 16]), Asker::anything(), edit(0, "there is no room for this one now"))
        .await;
    assert!(matches!(refused, Err(Failure::Refused(Refusal::Full { .. }))), "{refused:?}");
    log.appends.thaw();
    assert_eq!(first.await, Ok(Revision(1)));
    let later =
        handle.write(SessionId([2; 16]), Asker::anything(), edit(1, "now there is room")).await;
    assert_eq!(later, Ok(Revision(2)));
    router.drain().await;
}

#[tokio::test]
async fn edits_are_put_off_where_too_much_is_not_covered_by_checkpoints() {
    let store = Arc::new(checkpoint::Memory::new());
    let under = Under { store: store.clone(), ..Under::default() };
    let ports = Ports { room: Arc::new(Room::new(60)), ..ports(under, "node") };
    let shard = shard::start(ShardId(0), ports).await.expect("it starts");
    let handle = shard.open(id("a")).await.expect("it opens");
    let first = handle
        .write(SessionId([1; 16]), Asker::anything(), edit(0, "longer than there is room for"))
        .await;
    assert_eq!(first, Ok(Revision(1)));
    // What is uncovered is counted right after it was told.
    let put_off = async {
        let mut base = 1;
        loop {
            match handle.write(SessionId(rand::random()), Asker::anything(), edit(base, "x")).await
            {
                Ok(Revision(head)) => base = head,
                refused => return refused,
            }
        }
    };
    let refused = timeout(PATIENCE, put_off).await.expect("there is no room");
    assert!(matches!(refused, Err(Failure::Refused(Refusal::Full { .. }))), "{refused:?}");
    handle.save().await.expect("it is in memory");
    let head = handle.past(&Asker::anything(), Right::History).await.expect("it is open").head();
    let taken = async {
        while handle
            .write(SessionId(rand::random()), Asker::anything(), edit(head.0, "y"))
            .await
            .is_err()
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, taken).await.expect("checkpoints have made room");
    shard.drain().await;
}

fn edit(base: u64, text: &str) -> doc::Write {
    let op = Operation::builder().insert(text).build();
    doc::Write::Edit { author: Author::anonymous(), base: Revision(base), op }
}

#[tokio::test]
async fn what_waits_for_a_tick_is_part_of_what_was_missed() {
    let hour = Duration::from_secs(3_600);
    let config = doc::Config { viewer_tick: hour, ..doc::Config::default() };
    let router = router(Under { config, ..Under::default() }).await;
    let handle = router.open(&id("a")).await.expect("it opens");
    insert(&handle, 0).await;
    let (welcome, viewer) = join_as(&handle, Asker::anything(), Mode::View).await;
    let conn = welcome.expect("it is taken").conn;
    for base in 1..3 {
        insert(&handle, base).await;
    }
    assert!(viewer.events.lock().is_empty(), "it waits for the tick");
    let missed = handle.missed(conn, Revision(1)).await.expect("it is open");
    let missed = missed.expect("it is at hand");
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
