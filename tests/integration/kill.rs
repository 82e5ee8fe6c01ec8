//! Writers keep writing while their server is killed with SIGKILL and started again, many times.

use quire::log::{Embedded, Metrics, Options};

use crate::audited::Left;
use crate::server::{Server, free_port};
use crate::storm::{SETTINGS, Storm};

const KILLS: u64 = 20;

/// Durable edits of all writers between two kills.
const EDITS_BETWEEN: u64 = 300;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_or_doubled_by_twenty_kills() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let mut server = Server::start(folder.path(), port, SETTINGS);
    let storm = Storm::begin(std::slice::from_ref(&server.url));
    for _ in 0..KILLS {
        storm.more(EDITS_BETWEEN).await;
        server.kill();
        server = Server::start(folder.path(), port, SETTINGS);
    }
    let log = async || {
        let metrics = Metrics::register(&prometheus::Registry::new()).expect("a new registry");
        Embedded::open(folder.path(), Options::default(), metrics).expect("nobody else has it")
    };
    let set = &[SETTINGS, &["checkpoints=embedded"]].concat();
    storm.end(server, Left { data: folder.path(), set }, log).await;
}
