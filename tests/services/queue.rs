//! More edits than may wait, while the brokers stand still: who comes too late is told so, and
//! everything else is written without a claim.

use std::time::Duration;

use reqwest::StatusCode;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::server::{Server, free_port};
use crate::service::Service;

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

const DOCUMENTS: usize = 60;
const BYTES: usize = 200_000;

fn is_put_off((status, said): &(StatusCode, String)) -> bool {
    *status == StatusCode::SERVICE_UNAVAILABLE && said.contains("nothing more is taken now")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_documents_that_is_full_does_not_fill_that_of_the_brokers() {
    let (kafka, broker) = Service::start("kafka").await;
    let log = format!("log=kafka://{broker}/queue");
    let own = [
        log.as_str(),
        "kafka.create-topics=true",
        "kafka.allow-single-replica=true",
        "kafka.append-timeout=2m",
        "kafka.queue-bytes=10MiB",
        "document.queue-bytes-total=8MiB",
        "shards=4",
        "telemetry.log-level=warn",
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path(), free_port(), &own);
    kafka.run("freeze").await;
    let (mut answers, client) = (JoinSet::new(), reqwest::Client::new());
    let body = serde_json::json!({ "text": "x".repeat(BYTES) }).to_string();
    for doc in 0..DOCUMENTS {
        let url = format!("{}/v1/docs/{doc}", server.url);
        let put = client.put(url).body(body.clone()).send();
        answers.spawn(async {
            let answer = put.await.expect("it answers");
            (answer.status(), answer.text().await.expect("it is text"))
        });
    }
    let mut answer = async || timeout(PATIENCE, answers.join_next()).await.expect("one comes");
    let first = answer().await.expect("there are some").expect("it is sent");
    assert!(is_put_off(&first), "{first:?}");
    kafka.run("thaw").await;
    let mut written = 0;
    while let Some(told) = answer().await {
        let told = told.expect("it is sent");
        assert!(told.0.is_success() || is_put_off(&told), "{told:?}");
        written += usize::from(told.0.is_success());
    }
    assert!(written >= 8 * 1_024 * 1_024 / BYTES - 4, "{written} were waiting");
    let page = reqwest::get(format!("{}/metrics", server.url)).await.expect("it answers");
    let page = page.text().await.expect("it is text");
    assert!(page.contains("quire_shard_reclaims_total 0\n"), "{page}");
    server.stop();
}
