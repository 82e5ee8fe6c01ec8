//! Services that are gone for a while: nothing is acknowledged without the log, editing goes on
//! without the checkpoints, and all resumes by itself.

use std::time::Duration;

use quire::client::{Document, Options, Status};
use quire::text::Operation;
use tokio::time::timeout;

use crate::kill::settings;
use crate::server::{Server, free_port};
use crate::service::Service;

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(90);

fn open(server: &Server, doc: &str) -> Document {
    Document::open(doc.parse().expect("an id"), Options::new(&server.url))
}

fn append(document: &Document, text: &str) {
    let end = |chars: u64| u32::try_from(chars).expect("short");
    let edited =
        document.change(|view| Operation::builder().retain(end(view.chars())).insert(text).build());
    edited.expect("the end is not past the end");
}

async fn durable(document: &Document) {
    let durable = timeout(PATIENCE, document.wait_durable()).await.expect("it becomes durable");
    durable.expect("the server takes the client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_services_a_node_promises_nothing_and_goes_on_by_itself() {
    let (kafka, broker) = Service::start("kafka").await;
    let (cassandra, hosts) = Service::start("cassandra").await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut own = settings(&broker, &hosts);
    own.extend(["kafka.append-timeout=1s", "document.idle-after=1s"].map(str::to_owned));
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let server = Server::start(folder.path(), free_port(), &own);
    let document = open(&server, "a");
    append(&document, "before ");
    durable(&document).await;

    // Without the log: clients are told after a while, and keep what they have written.
    kafka.run("kill").await;
    append(&document, "meanwhile ");
    let mut status = document.status();
    let told = status.wait_for(|status| *status == Status::Offline);
    timeout(PATIENCE, told).await.expect("the client is told").expect("it is open");
    append(&document, "offline ");
    kafka.run("start").await;
    durable(&document).await;
    assert_eq!(document.text(), "before meanwhile offline ", "all of it, and once");

    // Without the checkpoints: who is connected edits on, and what is closed waits.
    let url = format!("{}/v1/docs", server.url);
    let closed = open(&server, "closed");
    append(&closed, "text");
    durable(&closed).await;
    closed.close().await;
    let health = async |doc: &str| reqwest::get(format!("{url}/{doc}")).await.expect("it answers");
    cassandra.run("kill").await;
    append(&document, "on ");
    durable(&document).await;
    let never = health("never-opened").await;
    assert_eq!(never.status().as_u16(), 503, "whether it exists is not known");
    cassandra.run("start").await;
    let back = async {
        while health("never-opened").await.status().as_u16() == 503 {}
        let text = health("closed").await.text().await.expect("it is text");
        assert!(text.contains("\"text\":\"text\""), "{text}");
    };
    timeout(PATIENCE, back).await.expect("it goes on by itself");
    append(&document, "after");
    durable(&document).await;
    assert_eq!(document.text(), "before meanwhile offline on after");
    server.stop();
}
