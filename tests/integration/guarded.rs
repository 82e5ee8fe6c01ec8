//! Moves that wait while acknowledgements are slow: two whole nodes on logs that take their time.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bytesize::ByteSize;
use futures_util::future::{join, join_all};
use quire::config::Config;
use quire::log::Memory;
use quire::testing::{Faults, Way};
use quire::types::LogId;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::inner::PATIENCE;
use crate::moves::type_in;
use crate::nodes::{Nodes, Settings};
use crate::operators::{Cluster, opened};
use crate::raw::Raw;

/// Has the place of a batch told.
const ORDERED: &str = r#","ordered":true"#;

/// Far more than a log in memory takes, with room for a machine that is busy.
const OBJECTIVE: Duration = Duration::from_millis(200);

/// Each node has so few acknowledgements then that it goes by how long batches wait.
const SLOW: Faults = Faults {
    lost: 0,
    lost_unknown: 0,
    written_unknown: 0,
    late: 0,
    torn: 0,
    duplicated: 0,
    slow: 1_000,
    delay_max: Duration::from_secs(2),
    unreadable: 0,
};

/// Goes through a guard that begins, holds a move back, and ends; returns which shard moved where.
async fn held_back(cluster: &Cluster) -> (u32, &'static str) {
    cluster.logs.iter().for_each(|log| log.set(SLOW));
    cluster.until(1, |status| status["guarded"] == true).await;
    let owner = cluster.owner(3).await;
    let to = if owner == "a" { "b" } else { "a" };
    let given = cluster.done(1, &["move", "3", "--to", to]).await;
    assert!(given.contains("note: moves are stopped until acknowledgements are fast"), "{given}");
    let at = cluster.json(0, &["status"]).await["at"].as_u64().expect("a number");
    // So many heartbeats later it would have begun.
    let status = cluster.until(0, |status| status["at"].as_u64() > Some(at + 20)).await;
    assert_eq!((&status["moving"], &status["waiting"]), (&json!(0), &json!(1)), "{status}");
    assert_eq!(cluster.owner(3).await, owner);
    cluster.logs.iter().for_each(|log| log.set(Faults::default()));
    cluster.until(0, |status| status["guarded"] == false).await;
    cluster.settled().await;
    (3, to)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_waits_while_acknowledgements_are_slow_and_goes_when_they_are_fast_again() {
    let mut config = Config::default();
    config.cluster.ack_objective = OBJECTIVE;
    let cluster = Cluster::with(&["a", "b"], config).await;
    let (documents, statuses) = opened(&cluster, 6).await;
    let done = Cell::new(false);
    let letters = || std::iter::repeat_n('x', 100_000).take_while(|_| !done.get());
    let typing = join_all(documents.iter().map(|one| type_in(one, letters())));
    let holding = async {
        let held = held_back(&cluster).await;
        done.set(true);
        held
    };
    let (_, (shard, to)) = timeout(4 * PATIENCE, join(typing, holding)).await.expect("it ends");
    assert_eq!(cluster.owner(shard).await, to);
    assert!(statuses.iter().all(|one| !one.has_changed().expect("it is open")), "all stayed");
    let printed = cluster.done(0, &["events", "--json"]).await;
    let events: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds = events.iter().map(|event| event["kind"].as_str().expect("text"));
    let of_moves = ["guard-on", "guard-off", "move-begun", "moved"];
    let told: Vec<_> = kinds.filter(|kind| of_moves.contains(kind)).collect();
    assert!(told.ends_with(&["guard-on", "guard-off", "move-begun", "moved"]), "{told:?}");
    let command = events.iter().rfind(|event| {
        event["text"].as_str().is_some_and(|text| {
            text.contains("gave the command: stop moves: acknowledgements are slow")
        })
    });
    let command = command.expect("it is a record");
    assert!(command["why"].as_str().is_some_and(|why| why.contains(" ms at ")), "{command}");
}

#[tokio::test]
async fn a_batch_waits_until_it_is_acknowledged_again_or_put_off() {
    let log = Way::to(Arc::new(Memory::new(LogId(1), 1)));
    let mut settings = Settings { log: Some(log.clone()), ..Settings::default() };
    settings.doc.queue_bytes = ByteSize::b(100);
    let nodes = Nodes::start(1, settings).await;
    let waits = |number: usize| nodes.all[number].edge.waiting.oldest();
    for (number, doc) in [(0, "a"), (1, "b")] {
        let (mut one, _) = Raw::join(&nodes.all[number], doc, '1', ORDERED).await;
        let (mut other, _) = Raw::join(&nodes.all[1 - number], doc, '2', "").await;
        log.appends.freeze();
        let batch = |text: &str| format!(r#"{{"t":"op","seq":1,"base":0,"op":["{text}"]}}"#);
        one.send(&batch(&"x".repeat(200))).await;
        one.hear("ordered").await;
        assert!(waits(number).is_some(), "the log does not answer");
        other.send(&batch("y")).await;
        assert_eq!(other.hear("error").await["code"], "rate", "there is no room for it");
        assert_eq!(waits(1 - number), None, "it is put off");
        log.appends.thaw();
        assert_eq!(one.hear("ack").await["rev"], 1);
        assert_eq!(waits(number), None);
        one.send(&batch(&"x".repeat(200))).await;
        assert_eq!(one.hear("ack").await["rev"], 1, "once is enough");
        assert_eq!(waits(number), None);
    }
}
