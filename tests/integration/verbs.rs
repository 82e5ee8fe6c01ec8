//! The verbs of `quire doc` against the real server: what `history` does not show.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::server::{QUIRE, Server, free_port, quire};

/// Everything so small that history is sealed within a few revisions.
const SETTINGS: &[&str] = &[
    "document.checkpoint-log-bytes-min=4KiB",
    "document.checkpoint-log-factor=1",
    "document.segment-bytes-min=1KiB",
    "document.window-revisions=4",
    "telemetry.log-level=warn",
];

fn doc(server: &Server, args: &[&str]) -> String {
    quire(&[&["doc"], args, &["--url", &server.url]].concat())
}

/// Runs a verb that fails, and returns its exit code and what it says.
fn refused(server: &Server, args: &[&str]) -> (Option<i32>, String) {
    let all = [&["doc"], args, &["--url", &server.url]].concat();
    let output = Command::new(QUIRE).args(all).stdin(Stdio::null()).output();
    let Output { status, stderr, .. } = output.expect("the binary runs");
    (status.code(), String::from_utf8(stderr).expect("it is text"))
}

#[tokio::test]
async fn bodies_that_are_read_at_once_have_a_bound_together() {
    let node = crate::raw::node(|config| {
        config.edge.body_bytes_max = bytesize::ByteSize::mib(1);
        config.edge.bodies_bytes_max = bytesize::ByteSize::mib(1);
    })
    .await;
    let put = async |address: std::net::SocketAddr| {
        let client = Client::new().put(format!("http://{address}/v1/docs/a"));
        client.json(&json!({"text": "x"})).send().await.expect("it answers").status().as_u16()
    };
    // A body that is announced and does not come takes its room all the same.
    let mut slow = tokio::net::TcpStream::connect(node.address).await.expect("it listens");
    let head = "PUT /v1/docs/b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1048576\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut slow, head.as_bytes()).await.expect("it is taken");
    let refused = async {
        while put(node.address).await != 503 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::inner::PATIENCE, refused).await.expect("there is no room");
    drop(slow);
    let taken = async {
        while put(node.address).await != 201 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::inner::PATIENCE, taken).await.expect("there is room again");
}

#[test]
fn a_document_is_exported_deleted_and_brought_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data").display().to_string();
    let server = Server::start(Path::new(&data), free_port(), SETTINGS);
    let (file, copy) = (folder.path().join("in.txt"), folder.path().join("out.txt"));
    let text = "one 🦀\r\ntwo\n";
    fs::write(&file, text).expect("it can be written");
    let (file, copy) = (file.display().to_string(), copy.display().to_string());
    doc(&server, &["import", "story", &file, "--author", "ann"]);
    doc(&server, &["export", "story", &copy]);
    assert_eq!(fs::read_to_string(&copy).expect("it was written"), text);

    doc(&server, &["delete", "story"]);
    for verb in [&["cat", "story"][..], &["history", "story"], &["delete", "story"]] {
        let (code, said) = refused(&server, verb);
        assert!(code != Some(0) && said.contains("no such document"), "{verb:?}: {said}");
    }
    doc(&server, &["undelete", "story"]);
    assert_eq!(doc(&server, &["cat", "story"]), text);
    assert!(refused(&server, &["undelete", "never"]).1.contains("no such document"));
    server.stop();
    let log = quire(&["log", "cat", "--data", &data, "--doc", "story", "--output", "json"]);
    assert_eq!(log.matches("exported").count(), 1, "each export, and no reading: {log}");
}

#[tokio::test]
async fn each_way_to_take_a_whole_document_away_is_in_its_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data, free_port(), SETTINGS);
    let ask = async |method: Method, query: &str| {
        let url = format!("{}/v1/docs/story{query}", server.url);
        let body = json!({"text": query});
        let asked = Client::new().request(method, url).json(&body).send().await;
        assert!(asked.expect("it answers").status().is_success(), "{query}");
    };
    ask(Method::PUT, "").await;
    let kept =
        ["", "?format=markdown", "?format=json", "?format=json&from=0", "?format=json&from=1"];
    for query in kept {
        ask(Method::GET, &format!("/export{query}")).await;
    }
    // The rest of what was begun elsewhere, and what is no export.
    ask(Method::GET, "/export?format=json&from=2").await;
    ask(Method::GET, "").await;
    server.stop();
    let data = data.display().to_string();
    let log = quire(&["log", "cat", "--data", &data, "--doc", "story", "--output", "json"]);
    assert_eq!(log.matches("exported").count(), kept.len(), "{log}");
}

#[test]
fn a_cut_in_the_middle_of_a_sealed_segment_leaves_exactly_the_rest() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("data"), free_port());
    let server = Server::start(&data, port, SETTINGS);
    let file = folder.path().join("in.txt");
    let mut texts = vec![String::new()];
    let mut state = 9_u64;
    for n in 0..60 {
        let mut line = format!("{n}:");
        for _ in 0..40 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            line.push_str(&format!(" {:x}", state >> 40));
        }
        texts.push(line);
        fs::write(&file, &texts[n + 1]).expect("it can be written");
        doc(&server, &["import", "story", &file.display().to_string(), "--author", "ann"]);
    }
    let settled: Value =
        serde_json::from_str(&doc(&server, &["verify", "story", "--output", "json"]))
            .expect("JSON");
    assert_eq!(settled["equal"], true);
    doc(&server, &["cut", "story", "--before", "13"]);
    let check = |server: &Server| {
        for rev in [13, 14, 40, 60] {
            assert_eq!(doc(server, &["cat", "story", "--rev", &rev.to_string()]), texts[rev]);
        }
        let (_, said) = refused(server, &["cat", "story", "--rev", "12"]);
        assert!(said.contains("it holds 13 to 60"), "{said}");
        let verified = doc(server, &["verify", "story", "--output", "json"]);
        let verified: Value = serde_json::from_str(&verified).expect("JSON");
        assert_eq!((&verified["equal"], &verified["replayed"]), (&true.into(), &47.into()));
    };
    check(&server);
    server.stop();
    let server = Server::start(&data, port, SETTINGS);
    check(&server);
    server.kill();
    check(&Server::start(&data, port, SETTINGS));
}
