//! Names that are asked for and never written: they take no room for longer than the question.

use futures_util::future::join;
use serde_json::{Value, json};

use crate::api::{Api, NONE};
use crate::doors::{guarded, hour};
use crate::inner::PATIENCE;
use crate::plain::becomes;

/// How many documents may be open on a shard, and how many names are asked for at each address.
const OPEN_MAX: usize = 24;
const NAMES: usize = 30;

/// What reads, and what is refused to who has no right.
const ADDRESSES: [(&str, &str); 12] = [
    ("GET", ""),
    ("GET", "/export"),
    ("GET", "/export?format=json"),
    ("GET", "/history"),
    ("GET", "/blame"),
    ("GET", "/diff?from=0"),
    ("GET", "/verify"),
    ("GET", "/rights"),
    ("GET", "/versions"),
    ("POST", "/restore"),
    ("DELETE", ""),
    ("POST", "/cut"),
];

fn body(path: &str) -> Value {
    match path {
        "/restore" => json!({"rev": 1}),
        "/cut" => json!({"before": 1}),
        _ => json!({}),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_asked_for_do_not_fill_the_table_of_open_documents() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |config| {
        config.shard.documents_open_max = OPEN_MAX;
        config.document.idle_after = 10 * PATIENCE;
    })
    .await;
    let api = Api::of(&node);
    let (all, none) = (hour("ada", &[("**", "admin")]), hour("bo", &[]));
    let (all, none) = (format!("Bearer {all}"), format!("Bearer {none}"));
    let all = [("authorization", all.as_str())];
    api.json("POST", "/v1/docs/known", &all, json!({"text": "x"})).await.is(201);
    for (number, (method, rest)) in ADDRESSES.into_iter().enumerate() {
        for name in 0..NAMES {
            let path = format!("/v1/docs/{number}-{name}{rest}");
            api.json(method, &path, &all, body(rest)).await.problem(404, "no-document");
            let headers = [("authorization", none.as_str())];
            let path = format!("/v1/docs/{number}-{name}-denied{rest}");
            api.json(method, &path, &headers, body(rest)).await.problem(403, "forbidden");
        }
    }
    // What there is stays open: it will be used again.
    becomes(&node, "quire_doc_open", 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_a_new_name_is_not_disturbed_by_those_who_ask_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let api = Api::of(&node);
    let all = format!("Bearer {}", hour("ada", &[("**", "admin")]));
    let headers = [("authorization", all.as_str())];
    for name in 0..100 {
        let path = format!("/v1/docs/{name}");
        let writing = api.json("PUT", &path, &headers, json!({"text": "x"}));
        let reading = async {
            for _ in 0..3 {
                api.send("GET", &path, NONE, "").await.problem(401, "unauthenticated");
            }
        };
        let (written, ()) = join(writing, reading).await;
        written.is(201);
    }
}
