//! `quire doc` against a node that is made up: what it asks, what it prints, what it refuses.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::any;
use axum::{Json, Router};
use serde_json::{Value, json};

const AT: &str = "2026-01-02T03:04:05Z";

/// Answers like a node that has one document, `notes`, and keeps what it was asked.
struct Node {
    runtime: tokio::runtime::Runtime,
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Node {
    fn start() -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&asked);
        let answer_one = move |method: Method, uri: Uri, body: Bytes| {
            let line = format!("{method} {uri} {}", String::from_utf8_lossy(&body));
            let answer = answer(line.trim_end());
            kept.lock().expect("no panic").push(line.trim_end().to_owned());
            async move { answer }
        };
        let router = Router::new().fallback(any(answer_one));
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("bound");
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { runtime, address, asked }
    }

    /// Runs `quire doc` with these arguments and this standard input.
    fn doc(&self, args: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_quire"))
            .arg("doc")
            .args(args)
            .args(["--url", &format!("http://{}/", self.address)])
            .env("NO_PROXY", "127.0.0.1")
            .env("USER", "ada")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdin = child.stdin.take().expect("piped");
        // Most verbs read nothing, and may have ended already.
        if let Err(error) = stdin.write_all(input.as_bytes()) {
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{error}");
        }
        drop(stdin);
        child.wait_with_output().expect("the binary ends")
    }

    /// Runs a verb and compares what was asked, the exit code and what was printed.
    fn check(&self, args: &[&str], asked: &[&str], code: i32, printed: &str) {
        self.asked.lock().expect("no panic").clear();
        let output = self.doc(args, "from stdin");
        let text = match code {
            0 => &output.stdout,
            _ => &output.stderr,
        };
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(text), printed, "{args:?}");
        assert_eq!(*self.asked.lock().expect("no panic"), asked, "{args:?}");
    }

    fn stop(self) {
        self.runtime.shutdown_background();
    }
}

fn row(rev: u64) -> Value {
    json!({"rev": rev, "author": "a\u{1b}[2Jda", "at": AT, "participant": 7, "base": rev - 1,
        "inserted": 3, "deleted": 0})
}

fn answer(asked: &str) -> axum::response::Response {
    let version = json!({"name": "first", "rev": 1, "author": "ada", "at": AT});
    let page = |rows: &[u64], next: Option<u64>| {
        let rows: Vec<Value> = rows.iter().map(|rev| row(*rev)).collect();
        json!({"head": 3, "revisions": rows, "versions": [version.clone()], "next": next})
    };
    let path = asked.replace(" /v1/docs/", " ");
    let body = match path.as_str() {
        "GET notes" => json!({"doc": "notes", "rev": 3, "head": 3, "text": "a\u{1b}b\n"}),
        "GET notes?rev=1" => json!({"doc": "notes", "rev": 1, "head": 3, "text": "old"}),
        "GET notes/export?rev=1" => return ([("etag", "\"rev-1.text\"")], "old").into_response(),
        "GET odd/export" => return "a text".into_response(),
        "GET notes/history?limit=1000" => page(&[1, 2], Some(3)),
        "GET notes/history?from=3&limit=1000" => page(&[3], None),
        "GET notes/history?from=2&limit=1000" => page(&[2], Some(2)),
        "GET notes/history?limit=1" => page(&[1], Some(2)),
        "GET notes/diff?from=2&to=3&limit=10000" => json!({"from": 2, "to": 3, "op": [1, "b"],
            "hunks": [{"kind": "same", "text": "a"}], "next": 1}),
        "GET notes/diff?from=2&to=3&piece=1&limit=10000" => json!({"from": 2, "to": 3,
            "hunks": [{"kind": "inserted", "text": "b"}], "next": null}),
        "GET notes/blame?limit=10000" => json!({"rev": 3, "spans": [
            {"text": "x\ny", "rev": 3, "author": "ada", "at": AT}], "next": 1}),
        "GET notes/blame?rev=3&from=1&limit=10000" => json!({"rev": 3, "spans": [
            {"text": "z", "rev": null, "author": null, "at": null}], "next": null}),
        "GET notes/verify" => {
            json!({"rev": 3, "text_hash": "00ff", "replayed": 3, "equal": true})
        }
        "GET torn/verify" => {
            json!({"rev": 3, "text_hash": "00ff", "replayed": 3, "equal": false})
        }
        "GET gone" => {
            let problem = json!({"title": "no-document", "detail": "gone is deleted: undelete it",
                "status": 404});
            let kind = [("content-type", "application/problem+json")];
            return (StatusCode::NOT_FOUND, kind, problem.to_string()).into_response();
        }
        "GET other" => return (StatusCode::BAD_GATEWAY, "<html>").into_response(),
        "GET moved" => {
            let location = [("location", "/v1/docs/notes")];
            return (StatusCode::TEMPORARY_REDIRECT, location, "").into_response();
        }
        "GET odd" => json!({"nothing": 1}),
        cut if cut.starts_with("POST notes/cut") => json!({"base": 2}),
        erase if erase.contains("/erase") => {
            let waits: &[&str] = if erase.contains("torn") { &["the log"] } else { &[] };
            json!({"doc": "notes", "before": 2, "complete": waits.is_empty(), "waits_for": waits,
                "log": {"start": 7, "may_hold": "segments\u{1b}"},
                "checkpoints": {"left": [{"rev": 3}], "removed": ["body"], "may_hold": null},
                "copies": "began again", "elsewhere": "backups"})
        }
        get if get.starts_with("GET") => panic!("unexpected: {get}"),
        _ => json!({"rev": 4}),
    };
    Json(body).into_response()
}

#[test]
fn the_reading_verbs_print_tables_that_text_cannot_break() {
    let node = Node::start();
    node.check(&["cat", "notes"], &["GET /v1/docs/notes"], 0, "a\u{1b}b\n");
    let asked = &["GET /v1/docs/notes/export?rev=1"];
    node.check(&["export", "notes", "--rev", "1"], asked, 0, "old");
    let json = "{\n  \"rev\": 1,\n  \"text\": \"old\"\n}\n";
    node.check(&["export", "notes", "--rev", "1", "--output", "json"], asked, 0, json);
    let untagged = node.doc(&["export", "odd"], "");
    let said = String::from_utf8_lossy(&untagged.stderr);
    assert!(!untagged.status.success() && said.contains("is not understood"), "{said}");
    let history =
        "     REV  AT                        BASE  INSERTED   DELETED  PARTICIPANT  AUTHOR
       1  2026-01-02T03:04:05Z         0         3         0            7  a\\u{1b}[2Jda
       2  2026-01-02T03:04:05Z         1         3         0            7  a\\u{1b}[2Jda
       3  2026-01-02T03:04:05Z         2         3         0            7  a\\u{1b}[2Jda

VERSION  REV  AT                    AUTHOR
first      1  2026-01-02T03:04:05Z  ada
";
    let asked =
        ["GET /v1/docs/notes/history?limit=1000", "GET /v1/docs/notes/history?from=3&limit=1000"];
    node.check(&["history", "notes"], &asked, 0, history);
    let asked = [
        "GET /v1/docs/notes/history?limit=1",
        "GET /v1/docs/notes/diff?from=2&to=3&limit=10000",
        "GET /v1/docs/notes/diff?from=2&to=3&piece=1&limit=10000",
    ];
    node.check(&["diff", "notes"], &asked, 0, "a{+b+}\n");
    let blame = "\
REV  AT                    AUTHOR  TEXT
  3  2026-01-02T03:04:05Z  ada     x\\n
  3  2026-01-02T03:04:05Z  ada     y
  ?  ?                     ?       z
";
    let asked = [
        "GET /v1/docs/notes/blame?limit=10000",
        "GET /v1/docs/notes/blame?rev=3&from=1&limit=10000",
    ];
    node.check(&["blame", "notes"], &asked, 0, blame);
    let verified = "revision   3\ntext hash  00ff\nreplayed   3\nequal      yes\n";
    node.check(&["verify", "notes"], &["GET /v1/docs/notes/verify"], 0, verified);
    node.stop();
}

#[test]
fn the_changing_verbs_say_who_and_which_revision_it_became() {
    let node = Node::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("new.md");
    std::fs::write(&file, "from a file").expect("written");
    let file = file.to_str().expect("UTF-8");
    for (args, asked) in [
        (&["import", "notes"][..], "PUT notes {\"text\":\"from stdin\",\"author\":\"ada\"}"),
        (
            &["import", "notes", file, "--author", "bo"],
            "PUT notes {\"text\":\"from a file\",\"author\":\"bo\"}",
        ),
        (&["restore", "notes", "--rev", "2"], "POST notes/restore {\"rev\":2,\"author\":\"ada\"}"),
        (&["name", "notes", "v 1"], "POST notes/versions {\"name\":\"v 1\",\"author\":\"ada\"}"),
        (&["delete", "notes"], "DELETE notes"),
        (&["undelete", "notes"], "POST notes/undelete"),
    ] {
        let asked = asked.replacen(" notes", " /v1/docs/notes", 1);
        node.check(args, &[&asked], 0, "revision 4\n");
    }
    let asked = "POST /v1/docs/notes/cut {\"before\":2,\"author\":\"ada\"}";
    node.check(&["cut", "notes", "--before", "2"], &[asked], 0, "history begins at revision 2\n");
    let asked = &["GET /v1/docs/notes/export?rev=1"];
    let printed = format!("revision 1 written to {file}\n");
    node.check(&["export", "notes", file, "--rev", "1"], asked, 0, &printed);
    assert_eq!(std::fs::read_to_string(file).expect("it is there"), "old");
    node.stop();
}

#[test]
fn an_erasure_is_told_with_its_proof_and_fails_while_it_waits() {
    let node = Node::start();
    let asked = "POST /v1/docs/notes/erase {\"before\":2,\"author\":\"ada\"}";
    let proof = "\
complete                true
log begins at           7
log may hold            segments\\u{1b}
checkpoints left        [{\"rev\":3}]
checkpoints removed     [\"body\"]
checkpoints may hold    nothing
copies                  began again
elsewhere               backups
";
    node.check(&["erase", "notes", "--before", "2"], &[asked], 0, proof);
    let asked = "POST /v1/docs/torn/erase {\"before\":2,\"author\":\"ada\"}";
    let told = "quire: it is not erased yet: give the command again\n";
    node.check(&["erase", "torn", "--before", "2", "--wait-max", "0s"], &[asked], 1, told);
    node.stop();
}

#[test]
fn json_is_the_whole_answer() {
    let node = Node::start();
    let output = node.doc(&["history", "notes", "--to", "2", "--output", "json"], "");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = json["revisions"].as_array().expect("a list");
    assert_eq!(rows, &[row(1), row(2)]);
    assert_eq!(json["versions"].as_array().map(Vec::len), Some(1));
    node.stop();
}

#[test]
fn refusals_are_failures_that_say_why() {
    let node = Node::start();
    let differs = "quire: the document differs from its records: keep the data folder and report \
                   it\n";
    node.check(&["verify", "torn"], &["GET /v1/docs/torn/verify"], 1, differs);
    let detail = "quire: gone is deleted: undelete it\n";
    node.check(&["cat", "gone"], &["GET /v1/docs/gone"], 1, detail);
    let at = format!("http://{}", node.address);
    let other =
        format!("quire: {at} answered 502 Bad Gateway: is it a quire node of this version?\n");
    node.check(&["cat", "other"], &["GET /v1/docs/other"], 1, &other);
    let elsewhere = format!(
        "quire: {at} answered 307 Temporary Redirect, which is not followed: name the address \
         where it leads to with --url\n"
    );
    node.check(&["cat", "moved"], &["GET /v1/docs/moved"], 1, &elsewhere);
    let output = node.doc(&["cat", "odd"], "");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("is not understood"), "{stderr}");
    let turning = "quire: the node's pages of history do not go on\n";
    let asked = &["GET /v1/docs/notes/history?from=2&limit=1000"];
    node.check(&["history", "notes", "--from", "2"], asked, 1, turning);
    node.stop();
}

#[test]
fn a_node_that_is_not_there_is_named_with_what_to_do() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = free.local_addr().expect("bound");
    drop(free);
    let output = Command::new(env!("CARGO_BIN_EXE_quire"))
        .args(["doc", "cat", "notes", "--url", &format!("http://{address}")])
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let expected = format!(
        "quire: no node answers at http://{address}: start one with `quire serve`, or name it with \
         --url\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
}
