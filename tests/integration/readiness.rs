//! Whether a node of a cluster asks for traffic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use quire::checkpoint;
use quire::clock::Clock;
use quire::cluster::{Order, Record};
use quire::config::Config;
use quire::log::{Log, Memory, Stored};
use quire::node::{Node, Stores};
use quire::testing::{Around, Faults, FaultyLog};
use quire::types::{LogId, NodeId, Offset, ShardId};
use tokio::time::{sleep, timeout};

use crate::inner::{PATIENCE, id};

/// Asks until the answer is what is wanted, and returns what is said.
async fn until(node: &Node, wanted: u16) -> String {
    let url = format!("http://{}/readyz", node.address);
    let asking = async {
        loop {
            let answer = reqwest::get(&url).await.expect("it answers");
            let status = answer.status().as_u16();
            let text = answer.text().await.expect("a text");
            if status == wanted {
                return text;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("it never answers {wanted}"))
}

#[tokio::test]
async fn a_node_that_does_not_hear_of_itself_is_not_ready_until_it_does() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let node = NodeId(id("a"));
    let config = Config { node, listen: any, peer_listen: Some(any), ..Config::default() };
    let log = Arc::new(Memory::new(LogId(1), 4));
    let stores = Stores { log, store: Arc::new(checkpoint::Memory::new()) };
    let topic = Arc::new(Memory::new(LogId(2), 1));
    let control = Arc::new(FaultyLog::new(topic, 1, Faults::default()));
    let node = Node::start_on(&config, Clock::wall(), stores, control.clone()).await;
    let node = node.expect("it starts");
    assert_eq!(until(&node, 200).await, "ready\n");
    control.set(Faults { lost: 1_000, ..Faults::default() });
    let text = until(&node, 503).await;
    assert!(text.starts_with("suspended: ") && text.contains("look at the brokers"), "{text}");
    control.set(Faults::default());
    assert_eq!(until(&node, 200).await, "ready\n");
    node.stop().await.expect("all is saved");
}

/// Whether it is still away when it is told to stop does not decide what becomes of its shards.
#[tokio::test]
async fn a_node_that_stops_just_after_it_was_away_hands_over_what_it_has() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (log, store) = (Memory::new(LogId(1), 4), checkpoint::Memory::new());
    let topic = Memory::new(LogId(2), 1);
    let start = async |name: &str, control: Arc<dyn Log>| {
        let node = NodeId(id(name));
        let config = Config { node, listen: any, peer_listen: Some(any), ..Config::default() };
        let store = Arc::new(store.reopen().expect("it is open"));
        let stores = Stores { log: Arc::new(log.reopen()), store };
        Node::start_on(&config, Clock::wall(), stores, control).await.expect("it starts")
    };
    let away = Arc::new(FaultyLog::new(Arc::new(topic.reopen()), 1, Faults::default()));
    let first = start("a", away.clone()).await;
    let second = start("b", Arc::new(topic.reopen())).await;
    away.set(Faults { lost: 1_000, ..Faults::default() });
    let (stopped, ()) = tokio::join!(
        async {
            until(&first, 503).await;
            timeout(PATIENCE, first.stop()).await
        },
        async {
            until(&first, 503).await;
            away.set(Faults::default());
        }
    );
    stopped.expect("it has a bound").expect("others have what it had");
    let records = topic.read(ShardId(0), Offset(0), usize::MAX).await.expect("it is there").records;
    let drains = |stored: &Stored| match Record::decode(&stored.bytes) {
        Ok(Record::Command(command)) => {
            command.order == Order::Drain { node: NodeId(id("a")), deadline: None }
        }
        _ => false,
    };
    assert!(records.iter().any(drains), "it asks the other one");
    second.stop().await.expect("all is saved");
}

/// A log that does not end.
struct Endless(Memory);

#[async_trait]
impl Around for Endless {
    fn inner(&self) -> &dyn Log {
        &self.0
    }

    async fn close(&self) {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn a_node_stops_although_its_log_does_not() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let config = Config { node: NodeId(id("a")), listen: any, ..Config::default() };
    let config = Config { peer_listen: Some(any), ..config };
    let log = Arc::new(Endless(Memory::new(LogId(1), 4)));
    let stores = Stores { log, store: Arc::new(checkpoint::Memory::new()) };
    let control = Arc::new(Memory::new(LogId(2), 1));
    let node = Node::start_on(&config, Clock::wall(), stores, control).await.expect("it starts");
    timeout(PATIENCE, node.stop()).await.expect("it stops").expect("all is saved");
}
