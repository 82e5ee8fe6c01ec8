//! How many shards a log in Kafka has where nobody says how many.

use crate::kafka::{admin, create, fresh_topic, hosts};
use crate::server::{Server, free_port, quire};

/// Runs a node on a topic once, and returns how many partitions that has then.
fn partitions(topic: &str, more: &[&str]) -> usize {
    let hosts = hosts().join(",");
    let prefix = topic.strip_suffix("-log").expect("it is a log's");
    let log = format!("log=kafka://{hosts}/{prefix}");
    let own = [&[log.as_str(), "kafka.allow-single-replica=true"], more].concat();
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), free_port(), &own);
    let file = folder.path().join("in.txt");
    std::fs::write(&file, "text").expect("it can be written");
    let file = file.display().to_string();
    quire(&["doc", "import", "a", &file, "--author", "ann", "--url", &server.url]);
    assert_eq!(quire(&["doc", "cat", "a", "--url", &server.url]), "text");
    server.stop();
    let patience = std::time::Duration::from_secs(10);
    let found = admin(&hosts).inner().fetch_metadata(Some(topic), patience);
    found.expect("it answers").topics()[0].partitions().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_a_node_makes_has_256_and_one_that_is_there_is_taken_as_it_is() {
    assert_eq!(partitions(&fresh_topic(), &["kafka.create-topics=true"]), 256);
    let topic = fresh_topic();
    create(&hosts().join(","), &topic, (3, 1), &[]).await;
    assert_eq!(partitions(&topic, &[]), 3);
}
