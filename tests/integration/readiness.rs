//! Whether a node of a cluster asks for traffic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quire::checkpoint;
use quire::clock::Clock;
use quire::config::Config;
use quire::log::Memory;
use quire::node::{Node, Stores};
use quire::testing::{Faults, FaultyLog};
use quire::types::{LogId, NodeId};
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
