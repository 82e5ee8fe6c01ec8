//! How many moves run at once, and how fast a node is emptied, as operators say; what weights move.

use std::time::Duration;

use quire::testing::Faults;
use serde_json::{Value, json};

use crate::operators::{Cluster, SHARDS, nodes};

/// Returns the most moves that ran at once, by the events of the first node.
async fn at_once(cluster: &Cluster) -> usize {
    let (mut running, mut most) = (0_usize, 0);
    for line in cluster.done(0, &["events", "--json"]).await.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        match event["kind"].as_str().expect("text") {
            "move-begun" => running += 1,
            "moved" => running -= 1,
            "move-undone" => panic!("nothing is in the way: {event}"),
            _ => continue,
        }
        most = most.max(running);
    }
    most
}

/// Has the log take its time, so that moves that may run at once do.
fn slow(cluster: &Cluster) {
    let faults = Faults { slow: 1_000, delay_max: Duration::from_millis(200), ..Faults::default() };
    cluster.logs.iter().for_each(|log| log.set(faults));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_is_emptied_by_as_many_moves_at_once_as_the_command_says() {
    let cluster = Cluster::of(&["a", "b"]).await;
    slow(&cluster);
    let plan = cluster.json(0, &["plan", "drain", "b"]).await;
    let (id, count) = (plan["id"].to_string(), plan["moves"].as_array().expect("a list").len());
    assert!(count > 4, "{plan}");
    cluster.done(1, &["apply", &id, "drain", "b", "--throttle", "4", "--wait"]).await;
    assert_eq!(at_once(&cluster).await, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_are_told_and_changed_and_hold() {
    let mut cluster = Cluster::of(&["a"]).await;
    let limits = |per_node: u32, cluster: u32| json!({"per_node": per_node, "cluster": cluster});
    assert_eq!(cluster.json(0, &["limits"]).await, limits(2, 20));
    assert_eq!(cluster.done(0, &["limits"]).await, "of a node  2\nin all     20\n");
    let printed = cluster.done(0, &["limits", "--node", "3"]).await;
    assert!(printed.contains("done: limits --node 3 --cluster 20"), "{printed}");
    assert_eq!(cluster.json(0, &["limits"]).await, limits(3, 20));
    cluster.start("b").await;
    cluster.settled().await;
    slow(&cluster);
    cluster.done(1, &["limits", "--cluster", "1", "--why", "a slow disk"]).await;
    assert_eq!(cluster.json(1, &["limits"]).await, limits(3, 1));
    let before = cluster.json(1, &["status"]).await["at"].to_string();
    cluster.done(0, &["drain", "b", "--wait"]).await;
    let events = cluster.done(0, &["events", "--after", &before]).await;
    let kinds = events.lines().filter_map(|line| line.split_whitespace().nth(2));
    let moves: Vec<_> = kinds.filter(|kind| ["move-begun", "moved"].contains(kind)).collect();
    assert!(moves.len() > 4, "{events}");
    assert!(moves.chunks(2).all(|pair| pair == ["move-begun", "moved"]), "one by one: {events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_a_drain_with_a_deadline_is_applied_with_it() {
    let cluster = Cluster::of(&["a", "b"]).await;
    let plan = cluster.json(0, &["plan", "drain", "b", "--deadline", "1h"]).await;
    let of = plan["of"].as_str().expect("text");
    assert!(of.starts_with("drain b by 2"), "{of}");
    assert!(!plan["moves"].as_array().expect("a list").is_empty(), "{plan}");
    let id = plan["id"].to_string();
    let applied = cluster.done(0, &["apply", &id, "drain", "b", "--deadline", "1h"]).await;
    assert!(applied.contains("done: drain b by 2"), "{applied}");
    let listed = cluster.json(0, &["nodes"]).await;
    assert!(listed[1]["deadline"].is_string(), "{listed}");
    assert!(cluster.done(0, &["nodes"]).await.contains("draining by 2"), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_a_greater_weight_has_more_shards_when_the_command_is_done() {
    let cluster = Cluster::of(&["a", "b"]).await;
    let shards = async || {
        let status = cluster.json(1, &["status"]).await;
        let of = |name: &str| nodes(&status).find(|node| node["node"] == name).cloned();
        let count = |name: &str| of(name).expect("it is there")["shards"].as_u64();
        (count("a").expect("a number"), count("b").expect("a number"))
    };
    let before = shards().await;
    slow(&cluster);
    let moved = cluster.done(0, &["weight", "b", "50", "--wait"]).await;
    assert!(moved.contains("done: weight b 50") && moved.contains(" shards move"), "{moved}");
    let (a, b) = shards().await;
    assert!(b > before.1 && a < before.0, "{before:?}, then {:?}", (a, b));
    // Five sixths are its share.
    assert!((9..=11).contains(&b) && a + b == u64::from(SHARDS), "{:?}", (a, b));
}
