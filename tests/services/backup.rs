//! Backup and restore as docs/OPERATIONS.md describes them.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::server::{QUIRE, Server, free_port, quire};
use crate::service::Service;

fn import(server: &Server, folder: &Path, doc: &str, text: &str) {
    let file = folder.join("in.txt");
    fs::write(&file, text).expect("it can be written");
    let file = file.display().to_string();
    quire(&["doc", "import", doc, &file, "--author", "ann", "--url", &server.url]);
}

/// Writes two documents with some history and a named version.
fn write(server: &Server, folder: &Path) {
    for round in 0..5 {
        for doc in ["one", "two"] {
            import(server, folder, doc, &format!("{doc}, round {round}"));
        }
    }
    quire(&["doc", "name", "one", "draft", "--rev", "3", "--url", &server.url]);
}

/// Tells all there is to see of them.
fn look(server: &Server) -> Vec<String> {
    let ask = |args: &[&str]| quire(&[&["doc"], args, &["--url", &server.url]].concat());
    let asked = |doc: &&str| {
        [
            ask(&["cat", doc]),
            ask(&["cat", doc, "--rev", "2"]),
            ask(&["history", doc, "--output", "json"]),
            ask(&["blame", doc, "--output", "json"]),
        ]
    };
    ["one", "two"].iter().flat_map(asked).collect()
}

/// Makes a folder what another one is.
fn copy(from: &Path, to: &Path) {
    if to.exists() {
        fs::remove_dir_all(to).expect("it is the test's own");
    }
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "{from:?} to {to:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_keyspace_brings_every_document_back_with_its_history() {
    let (_kafka, broker) = Service::start("kafka").await;
    let (cassandra, hosts) = Service::start("cassandra").await;
    let folder = tempfile::tempdir().expect("a folder");
    let (folder, kept) = (folder.path(), folder.path().join("kept"));
    let store = format!("checkpoints=cql://{hosts}/kept");
    let [first, second] = ["first", "second"].map(|name| format!("log=kafka://{broker}/{name}"));
    let own = [
        &store,
        "kafka.create-topics=true",
        "kafka.allow-single-replica=true",
        "cql.replication-factor=1",
        "shards=4",
    ];
    let on = |log: &str| Server::start(folder, free_port(), &[&own[..], &[log]].concat());
    let server = on(&first);
    write(&server, folder);
    let before = look(&server);
    server.stop();
    cassandra.run("stop").await;
    copy(cassandra.folder(), &kept);
    cassandra.run("start").await;
    let server = on(&first);
    import(&server, folder, "one", "after the copy");
    let after = look(&server);
    server.stop();

    // The store is lost, and the topic still has what came after the copy.
    cassandra.run("kill").await;
    copy(&kept, cassandra.folder());
    cassandra.run("start").await;
    let server = on(&first);
    assert_eq!(look(&server), after);
    server.kill();

    // Both are lost.
    cassandra.run("kill").await;
    copy(&kept, cassandra.folder());
    cassandra.run("start").await;
    let set = own.iter().copied().chain([second.as_str()]).flat_map(|set| ["--set", set]);
    let mut serve = Command::new(QUIRE);
    serve.args(["serve", "--listen", "127.0.0.1:0"]).args(set).stdin(Stdio::null());
    let refused = serve.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("the checkpoints belong to another log"), "{said}");
    let adopting = [&own[..], &[&second, "adopt-log=true"]].concat();
    let server = Server::start(folder, free_port(), &adopting);
    assert_eq!(look(&server), before);
    import(&server, folder, "one", "after the loss");
    let after = look(&server);
    server.stop();
    // Once is enough.
    let server = on(&second);
    assert_eq!(look(&server), after);
    server.stop();
}

#[test]
fn a_copy_of_a_data_folder_brings_every_document_back_with_its_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, kept) = (folder.path().join("data"), folder.path().join("kept"));
    let server = Server::start(&data, free_port(), &[]);
    write(&server, folder.path());
    let before = look(&server);
    server.stop();
    copy(&data, &kept);
    let server = Server::start(&data, free_port(), &[]);
    import(&server, folder.path(), "one", "after the copy");
    server.kill();
    copy(&kept, &data);
    let server = Server::start(&data, free_port(), &[]);
    assert_eq!(look(&server), before);
    server.stop();
}
