//! Erasing a document's history: from the log, the checkpoints, the files and what other nodes
//! keep. An audit that shares nothing with it says whether it is gone.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quire::access::{Asker, Right};
use quire::audit::{Erasure, Wanted, erased, holds};
use quire::checkpoint::{self, BlobId, BlobKind, Manifest, Store};
use quire::doc::{self, Write};
use quire::log::{self, EventKind, Log};
use quire::shard::{self, Handle, Wait};
use quire::text::Operation;
use quire::types::{Author, LogId, Revision, SessionId, ShardId};
use serde_json::{Value, json};

use crate::inner::{PATIENCE, Under, id, ports, write};
use crate::nodes::{Nodes, Settings};
use crate::raw::Raw;
use crate::server::{QUIRE, Server, free_port, quire};

const SHARD: ShardId = ShardId(0);
const SECRET: &str = "her name is Rosalind";

/// A shard in memory with the margin and the delay that it has by default.
struct Shard {
    log: Arc<dyn Log>,
    store: Arc<dyn Store>,
    handle: Handle,
}

impl Shard {
    async fn start() -> Self {
        let log: Arc<dyn Log> = Arc::new(log::Memory::new(LogId(1), 1));
        Self::on(log, Arc::new(checkpoint::Memory::new()), "first").await
    }

    async fn on(log: Arc<dyn Log>, store: Arc<dyn Store>, name: &str) -> Self {
        let config = doc::Config { idle_after: DAY, ..doc::Config::default() };
        let under = Under { log: log.clone(), store: store.clone(), config };
        let handle = shard::start(SHARD, ports(under, name)).await.expect("it starts");
        Self { log, store, handle }
    }

    /// Has the next owner go on, as after a crash.
    async fn restart(self) -> Self {
        self.handle.kill();
        // Its writer, too: it would go on trimming.
        self.handle.end();
        Self::on(self.log, self.store, "second").await
    }

    async fn open(&self, doc: &str) -> doc::Handle {
        self.handle.open(id(doc)).await.expect("it opens")
    }

    /// Writes a secret a few times, and removes it: four revisions.
    async fn write(&self, doc: &str) -> doc::Handle {
        let handle = self.open(doc).await;
        let chars = u32::try_from(SECRET.len()).expect("it is short");
        let ops = [
            Operation::builder().insert(SECRET).build(),
            Operation::builder().insert("still ").build(),
            Operation::builder().delete(chars + 6).build(),
            Operation::builder().insert("nobody").build(),
        ];
        for (base, op) in (0..).zip(ops) {
            let (author, base) = (Author::anonymous(), Revision(base));
            let edit = Write::Edit { author, base, op };
            handle.write(session(), Asker::anything(), edit).await.expect("it is taken");
        }
        handle
    }

    async fn cut(&self, doc: &str, before: u64) {
        let kind = EventKind::HistoryCut { before: Revision(before) };
        let event = Write::Event { author: Author::anonymous(), kind };
        self.open(doc).await.write(session(), Asker::anything(), event).await.expect("it is taken");
    }

    /// Erases until nothing is waited for; returns what was waited for first.
    async fn erase(&self, doc: &str, before: u64) -> Vec<Wait> {
        let first = self.erase_once(doc, before).await;
        let mut waits = first.clone();
        for _ in 0..10 {
            if waits.is_empty() {
                return first;
            }
            waits = self.erase_once(doc, before).await;
        }
        panic!("it waits for {waits:?}");
    }

    async fn erase_once(&self, doc: &str, before: u64) -> Vec<Wait> {
        let erased = self.handle.erase(&id(doc), Revision(before)).await;
        erased.expect("it is erased, or waits").waits
    }

    async fn audit(&self, doc: &str, before: u64) -> Erasure {
        let text = Some(SECRET.to_owned());
        let wanted = Wanted { doc: id(doc), before: Revision(before), text };
        erased(&*self.log, &*self.store, wanted).await.expect("it can be read")
    }
}

const DAY: Duration = Duration::from_secs(86_400);

fn session() -> SessionId {
    SessionId(rand::random())
}

fn places(erasure: &Erasure) -> Vec<&str> {
    erasure.found.iter().map(|trace| trace.place.split(' ').nth(1).unwrap_or_default()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_erased_is_nowhere_and_a_document_beside_it_keeps_its_history() {
    let shard = Shard::start().await;
    let other = shard.write("other").await;
    let gone = shard.write("gone").await;
    // A checkpoint of the very revision that is kept, with all that came before it.
    gone.save().await.expect("it is saved");
    let found = shard.audit("gone", 4).await;
    for place in ["record", "manifest", "of"] {
        assert!(places(&found).contains(&place), "{place} is not found: {found}");
    }
    shard.cut("gone", 4).await;
    let found = shard.audit("gone", 4).await;
    assert!(places(&found).contains(&"record"), "a cut leaves the log: {found}");

    let waits = shard.erase("gone", 4).await;
    assert!(matches!(waits[..], [Wait::Trim(_)]), "not before shard.trim-delay: {waits:?}");
    let found = shard.audit("gone", 4).await;
    assert!(found.clean, "{found}");
    assert!(shard.log.marks(SHARD).await.expect("it is there").low.0 > 4, "there is no margin");
    assert_eq!(shard.erase("gone", 4).await, [], "once more it waits for nothing");

    let check = async |other: doc::Handle, gone: doc::Handle| {
        let asker = Asker::anything();
        let past = other.past(&asker, Right::History).await.expect("it is open");
        assert_eq!(past.text_at(Revision(2)).await.as_deref(), Ok("still her name is Rosalind"));
        assert_eq!(past.page(Revision(1), 9).await.expect("it is there").rows.len(), 4);
        let past = gone.past(&asker, Right::History).await.expect("it is open");
        assert_eq!(past.text_at(Revision(4)).await.as_deref(), Ok("nobody"));
        assert!(past.text_at(Revision(3)).await.is_err(), "it is gone");
    };
    check(other, gone).await;
    assert!(!shard.audit("other", 4).await.clean, "only one of them was erased");
    let shard = shard.restart().await;
    check(shard.open("other").await, shard.open("gone").await).await;
    assert_eq!(write(&shard.open("gone").await, 4).await, Revision(5));
    assert!(shard.audit("gone", 4).await.clean);
}

#[tokio::test(start_paused = true)]
async fn an_erasure_that_a_crash_cut_off_is_begun_again_by_the_next_owner() {
    let shard = Shard::start().await;
    let gone = shard.write("gone").await;
    shard.cut("gone", 4).await;
    let waits = shard.erase_once("gone", 4).await;
    assert!(matches!(waits[..], [Wait::Trim(_)]), "{waits:?}");
    drop(gone);
    // The mark is stored, nobody knows when, and nothing new will come.
    let shard = shard.restart().await;
    shard.erase("gone", 4).await;
    assert!(shard.audit("gone", 4).await.clean);
}

#[tokio::test(start_paused = true)]
async fn what_saves_have_left_goes_by_what_is_in_it() {
    let shard = Shard::start().await;
    let gone = shard.write("gone").await;
    gone.save().await.expect("it is saved");
    // A save from before the cut that ends after it: all of the history is in it.
    let stored = shard.store.manifests(&id("gone"), 9).await.expect("it is in memory");
    let whole = Manifest::decode(&stored[0].bytes).expect("it is one").body();
    let body = shard.store.chunk(&whole, 0).await.expect("it is there").expect("it is there");
    shard.cut("gone", 4).await;
    gone.save().await.expect("it is saved");
    shard.store.put_chunk(&whole, 0, body).await.expect("it is in memory");
    let late = &stored[0];
    shard.store.put_manifest(&late.id, late.bytes.clone()).await.expect("it is in memory");
    // And one of which only a part is there.
    let torn = BlobId { kind: BlobKind::Body, hash: 7, ..whole.clone() };
    let part = Bytes::from_static(SECRET.as_bytes());
    shard.store.put_chunk(&torn, 0, part).await.expect("it is in memory");

    for _ in 0..10 {
        shard.erase_once("gone", 4).await;
    }
    assert_eq!(shard.erase_once("gone", 4).await, [Wait::Torn], "it may be under way");
    let blobs = shard.store.blobs(&id("gone")).await.expect("it is in memory");
    assert!(!blobs.contains(&whole) && blobs.contains(&torn), "{blobs:?}");
    assert_eq!(places(&shard.audit("gone", 4).await), ["of", "of"], "the part, and its text");
    write(&gone, 4).await;
    shard.erase("gone", 4).await;
    let found = shard.audit("gone", 4).await;
    assert!(found.clean, "the next revision takes it along: {found}");
}

#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_saved_keeps_the_log_and_is_named() {
    let shard = Shard::start().await;
    write(&shard.open("bad").await, 0).await;
    shard.write("gone").await;
    let other = Shard::on(Arc::new(log::Memory::new(LogId(2), 1)), shard.store.clone(), "another");
    let other = other.await.open("bad").await;
    let op = Operation::builder().insert("y").build();
    let edit = Write::Edit { author: Author::anonymous(), base: Revision(0), op };
    other.write(session(), Asker::anything(), edit).await.expect("it is taken");
    other.save().await.expect("nothing else is stored yet");
    shard.cut("gone", 4).await;
    assert_eq!(shard.erase_once("gone", 4).await, [Wait::Unsaved(vec![id("bad")])]);
    checkpoint::erase(&*shard.store, &id("bad")).await.expect("it is in memory");
    let shard = shard.restart().await;
    shard.erase("gone", 4).await;
    assert!(shard.audit("gone", 4).await.clean);
}

#[tokio::test]
async fn a_copy_at_another_node_drops_what_was_cut_and_its_clients_stay() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let node = &nodes.all[1];
    let (mut writer, _) = Raw::join(node, "a", '1', "").await;
    let ops = [r#"["secret"]"#, r#"[{"d":6}]"#, r#"["clean"]"#];
    for (n, op) in ops.iter().enumerate() {
        let seq = n + 1;
        writer.send(&format!(r#"{{"t":"op","seq":{seq},"base":{n},"op":{op}}}"#)).await;
        writer.hear("ack").await;
    }
    let (_, welcome) = Raw::join(node, "a", '2', r#","rev":0"#).await;
    assert!(welcome.to_string().contains("secret"), "the copy has it: {welcome}");
    let address = format!("http://{}/v1/docs/a/cut", node.address);
    let cut = reqwest::Client::new().post(address).json(&serde_json::json!({"before": 3}));
    let cut = cut.send().await;
    assert_eq!(cut.expect("it answers").status().as_u16(), 200);
    let (_, welcome) = Raw::join(node, "a", '3', r#","rev":0"#).await;
    assert_eq!((&welcome["text"], &welcome["ops"]), (&json!("clean"), &Value::Null));
    writer.send(r#"{"t":"op","seq":4,"base":3,"op":[5,"!"]}"#).await;
    assert_eq!(writer.hear("ack").await["rev"], 4, "who was there is there");
}

/// Runs a command of the binary; returns its exit code and what it prints.
fn run(args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(QUIRE).args(args).stdin(Stdio::null()).output();
    let Output { status, stdout, stderr } = output.expect("the binary runs");
    let said = [stdout, stderr].concat();
    (status.code(), String::from_utf8(said).expect("it is text"))
}

fn import(server: &Server, folder: &Path, doc: &str, text: &str) {
    let file = folder.join("in.txt");
    fs::write(&file, text).expect("it can be written");
    let file = file.to_str().expect("a plain path");
    quire(&["doc", "import", doc, file, "--url", &server.url]);
}

/// Tells in which files of a data folder the secret is, byte by byte.
fn files_with_secret(data: &Path) -> Vec<String> {
    let mut with = Vec::new();
    for entry in fs::read_dir(data).expect("it is there") {
        let path = entry.expect("it can be listed").path();
        if holds(&fs::read(&path).expect("it can be read"), SECRET) {
            with.push(path.file_name().expect("a name").to_string_lossy().into_owned());
        }
    }
    with
}

/// Audits a data folder that nobody has open; returns the exit code.
fn audit(data: &Path, doc: &str) -> (Option<i32>, String) {
    let secret = data.with_file_name("secret.txt");
    fs::write(&secret, SECRET).expect("it can be written");
    let [data, secret] = [data, &secret].map(|path| path.to_str().expect("a plain path"));
    run(&["audit", "erased", doc, "--before", "2", "--text", secret, "--data", data])
}

#[test]
fn files_hold_nothing_of_what_was_erased_also_where_a_kill_came_between() {
    let folder = tempfile::tempdir().expect("a folder");
    let (data, port) = (folder.path().join("data"), free_port());
    let never = ["shard.trim-delay=1h", "telemetry.log-level=warn"];
    let server = Server::start(&data, port, &never);
    import(&server, folder.path(), "other", "what others write");
    import(&server, folder.path(), "other", "what others write, and write again");
    import(&server, folder.path(), "story", &format!("I say that {SECRET}, and more."));
    import(&server, folder.path(), "story", "I say nothing.");
    assert_eq!(files_with_secret(&data), ["log.redb"]);

    // The node waits for the delay when it is killed.
    let mut asking = Command::new(QUIRE);
    asking.args(["doc", "erase", "story", "--before", "2", "--url", &server.url]);
    let asking = asking.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut asking = asking.expect("the binary runs");
    let ask = |server: &Server, args: &[&str]| {
        run(&[&["doc"], args, &["--url", &server.url, "--output", "json"]].concat())
    };
    let began = Instant::now();
    while ask(&server, &["cat", "story", "--rev", "1"]).0 == Some(0) {
        assert!(began.elapsed() < PATIENCE, "it is cut");
    }
    server.kill();
    assert_eq!(asking.wait().expect("it ends").code(), Some(1), "nobody answers");
    let (code, said) = audit(&data, "story");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("a frame from revision 1 on"), "{said}");
    assert!(said.contains("log.redb: the text, in its bytes"), "{said}");

    let server = Server::start(&data, port, &["shard.trim-delay=0s", "telemetry.log-level=warn"]);
    let (code, said) = ask(&server, &["erase", "story", "--before", "2"]);
    assert_eq!(code, Some(0), "{said}");
    let proof: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(proof["complete"], true, "{proof:#}");
    assert_eq!(proof["checkpoints"]["left"][0]["cut"], 2, "{proof:#}");
    assert!(proof["log"]["start"].as_u64() > Some(0), "{proof:#}");
    assert_eq!(files_with_secret(&data), [""; 0], "the node runs, and its files are clean");
    assert_eq!(ask(&server, &["cat", "other", "--rev", "1"]).0, Some(0));
    assert_eq!(quire(&["doc", "cat", "story", "--url", &server.url]), "I say nothing.");
    let verified = ask(&server, &["verify", "story"]);
    assert_eq!(verified.0, Some(0), "{}", verified.1);
    import(&server, folder.path(), "story", "I say nothing more.");
    server.kill();
    let (code, said) = audit(&data, "story");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = audit(&data, "other");
    assert_eq!(code, Some(1), "that one has its history: {said}");
}

#[test]
fn a_deleted_document_is_erased_with_all_of_its_text_and_stays_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let server = Server::start(&data, 0, &["shard.trim-delay=0s", "telemetry.log-level=warn"]);
    let ask = |args: &[&str]| {
        run(&[&["doc"], args, &["--url", &server.url, "--output", "json"]].concat())
    };
    // One was cleaned before it was deleted, of the other one the newest text is to go.
    import(&server, folder.path(), "clean", SECRET);
    import(&server, folder.path(), "clean", "I say nothing.");
    import(&server, folder.path(), "story", &format!("I say that {SECRET}, and more."));
    assert_eq!(ask(&["erase", "never", "--before", "1"]).0, Some(1), "there is nothing");
    for doc in ["clean", "story"] {
        assert_eq!(ask(&["delete", doc]).0, Some(0));
        let (code, said) = ask(&["erase", doc, "--before", "9"]);
        assert_eq!(code, Some(1), "there is no such revision: {said}");
        assert!(!files_with_secret(&data).is_empty(), "that it is deleted erases nothing");
    }
    for doc in ["clean", "story"] {
        let (code, said) = ask(&["erase", doc, "--before", "2"]);
        assert_eq!(code, Some(0), "{said}");
        let proof: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!((&proof["complete"], &proof["before"]), (&json!(true), &json!(2)), "{proof:#}");
        assert_eq!(proof["checkpoints"]["left"][0]["cut"], 2, "{proof:#}");
        assert_eq!(ask(&["erase", doc, "--before", "2"]).0, Some(0), "once more");
        assert_eq!(ask(&["cat", doc]).0, Some(1), "it stays deleted");
    }
    assert_eq!(files_with_secret(&data), [""; 0]);
    for (doc, text) in [("clean", "I say nothing."), ("story", "")] {
        assert_eq!(ask(&["undelete", doc]).0, Some(0));
        assert_eq!(quire(&["doc", "cat", doc, "--url", &server.url]), text);
        assert_eq!(ask(&["verify", doc]).0, Some(0));
        assert_eq!(ask(&["delete", doc]).0, Some(0));
    }
    server.kill();
    for doc in ["clean", "story"] {
        let (code, said) = audit(&data, doc);
        assert_eq!(code, Some(0), "{said}");
    }
}
