//! What is long comes in pages.

use quire::edge::description;
use serde_json::{Value, json};

use crate::api::{Api, NONE};
use crate::raw::node;

/// Follows `next` and returns what all pages have, and how many there were.
async fn all(api: &Api, path: &str, from: &str, list: &str) -> (Vec<Value>, usize) {
    let (mut rows, mut pages) = (Vec::new(), 0);
    let mut next = Value::Null;
    loop {
        let from = if next.is_null() { String::new() } else { format!("&{from}={next}") };
        let page = api.get(&format!("{path}{from}")).await.is(200).value();
        rows.extend(page[list].as_array().expect("a list").iter().cloned());
        pages += 1;
        next = page["next"].clone();
        if next.is_null() {
            return (rows, pages);
        }
        assert!(pages < 100, "pages go on for ever");
    }
}

#[tokio::test]
async fn pages_together_are_the_whole_and_have_bounds() {
    let node = node(|_| {}).await;
    let api = Api::of(&node);
    for n in 0..7_u64 {
        api.op("a", NONE, n, json!([n.to_string()])).await.is(200);
        let name = json!({"name": format!("v{n}"), "author": "ann"});
        api.json("POST", "/v1/docs/a/versions", NONE, name).await.is(200);
    }
    let (rows, pages) = all(&api, "/v1/docs/a/history?limit=3", "from", "revisions").await;
    assert_eq!(rows.iter().map(|row| &row["rev"]).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(pages, 3);
    let (rows, pages) = all(&api, "/v1/docs/a/versions?limit=3", "from", "versions").await;
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().expect("a name")).collect();
    assert_eq!((names, pages), (vec!["v0", "v1", "v2", "v3", "v4", "v5", "v6"], 3));
    let (rows, pages) = all(&api, "/v1/docs/a/blame?rev=6&limit=4", "from", "spans").await;
    let text: String = rows.iter().map(|row| row["text"].as_str().expect("text")).collect();
    assert_eq!((&*text, pages), ("543210", 2));
    api.op("a", NONE, 7, json!([1, "x", 2, {"d": 1}, 1, "y"])).await.is(200);
    let path = "/v1/docs/a/diff?from=7&to=8&limit=2";
    let (rows, pages) = all(&api, path, "piece", "hunks").await;
    let hunk = |row: &Value| format!("{}:{}", row["kind"].as_str().unwrap(), row["text"]);
    let hunks: Vec<_> = rows.iter().map(hunk).collect();
    let wanted = ["same:\"6\"", "inserted:\"x542y\"", "deleted:\"5432\"", "same:\"10\""];
    assert_eq!((&hunks[..], pages), (&wanted.map(str::to_owned)[..], 2));
    let (rows, pages) =
        all(&api, "/v1/docs/a/export?format=json&rev=6&limit=4", "from", "revisions").await;
    assert_eq!((rows.len(), pages), (6, 2));
    for (what, most) in [("history", 1_000), ("versions", 1_000), ("blame", 10_000)] {
        let path = |limit| format!("/v1/docs/a/{what}?limit={limit}");
        for bad in [0, most + 1] {
            api.get(&path(bad)).await.problem(400, "bad-query");
        }
        api.get(&path(most)).await.is(200);
        let beyond = api.get(&format!("/v1/docs/a/{what}?from=4000000000")).await.is(200).value();
        assert_eq!(beyond["next"], Value::Null);
    }
    api.get("/v1/docs/a/diff?from=0&limit=10001").await.problem(400, "bad-query");
    api.get("/v1/docs/a/export?format=json&limit=1001").await.problem(400, "bad-query");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_document_is_exported_in_each_form() {
    let node = node(|_| {}).await;
    let api = Api::of(&node);
    api.json("PUT", "/v1/docs/a", NONE, json!({"text": "# A", "author": "ann"})).await.is(201);
    api.json("PUT", "/v1/docs/a", NONE, json!({"text": "# AB", "author": "bob"})).await.is(200);
    api.json("POST", "/v1/docs/a/versions", NONE, json!({"name": "v", "rev": 1})).await.is(200);
    for (query, kind, name, text) in [
        ("", "text/plain; charset=utf-8", "a.txt", "# AB"),
        ("?format=text&rev=1", "text/plain; charset=utf-8", "a.txt", "# A"),
        ("?format=markdown", "text/markdown; charset=utf-8", "a.md", "# AB"),
    ] {
        let told = api.get(&format!("/v1/docs/a/export{query}")).await.is(200);
        assert_eq!((told.header("content-type"), &*told.text), (kind, text));
        let name = format!("attachment; filename=\"{name}\"");
        assert_eq!(told.header("content-disposition"), name);
    }
    let told = api.get("/v1/docs/a/export?format=json&limit=1").await.is(200).value();
    assert_eq!(
        (&told["doc"], &told["rev"], &told["text"]),
        (&json!("a"), &json!(2), &json!("# AB"))
    );
    assert_eq!((&told["versions"][0]["name"], &told["next"]), (&json!("v"), &json!(2)));
    assert_eq!(told["revisions"][0]["author"], "ann");
    let next = api.get("/v1/docs/a/export?format=json&rev=2&from=2").await.is(200).value();
    assert_eq!((next.get("text"), next.get("versions")), (None, None), "it was in the first one");
    assert_eq!((&next["revisions"][0]["author"], &next["next"]), (&json!("bob"), &Value::Null));
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn history_is_restored_cut_and_verified() {
    let node = node(|_| {}).await;
    let api = Api::of(&node);
    for text in ["one", "two", "three"] {
        api.json("PUT", "/v1/docs/a", NONE, json!({ "text": text })).await;
    }
    let told = api.json("POST", "/v1/docs/a/restore", NONE, json!({"rev": 1})).await.is(200);
    assert_eq!((told.value(), told.header("etag")), (json!({"rev": 4}), "\"rev-4\""));
    assert_eq!(api.text("a").await, "one");
    let verified = api.get("/v1/docs/a/verify").await.is(200).value();
    assert_eq!((&verified["equal"], &verified["replayed"]), (&json!(true), &json!(4)));
    let told = api.json("POST", "/v1/docs/a/cut", NONE, json!({"before": 3})).await.is(200);
    assert_eq!(told.value(), json!({"base": 3}));
    api.get("/v1/docs/a?rev=2").await.problem(404, "no-revision");
    api.json("POST", "/v1/docs/a/restore", NONE, json!({"rev": 2}))
        .await
        .problem(422, "no-revision");
    api.json("POST", "/v1/docs/a/cut", NONE, json!({"before": 9}))
        .await
        .problem(422, "no-revision");
    node.stop().await.expect("it stops");
}

/// Each path takes the methods that its description has, and says so where another one comes.
#[tokio::test]
async fn every_address_takes_what_its_description_says_and_nothing_else() {
    const METHODS: [&str; 7] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "TRACE"];
    let node = node(|_| {}).await;
    let api = Api::of(&node);
    let served = api.get("/v1/openapi.json").await.is(200);
    assert_eq!((&*served.text, served.header("cache-control")), (description(), "no-store"));
    let described = served.value();
    let mut asked = 0;
    for (path, item) in described["paths"].as_object().expect("paths") {
        let at = path.replace("{doc}", "a").replace("{name}", "x");
        let has = |method: &str| match method {
            "HEAD" => item.get("get").is_some(),
            other => item.get(other.to_lowercase()).is_some(),
        };
        for method in METHODS {
            let told = api.send(method, &at, NONE, "").await;
            asked += 1;
            assert_eq!(has(method), told.status != 405, "{method} {path}: {told:?}");
            if has(method) {
                continue;
            }
            let told = match method {
                "HEAD" => told,
                _ => told.problem(405, "method-not-allowed"),
            };
            let mut allowed: Vec<_> = told.header("allow").split(',').map(str::trim).collect();
            let mut wanted: Vec<_> = METHODS.into_iter().filter(|method| has(method)).collect();
            allowed.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(allowed, wanted, "{method} {path}");
        }
    }
    assert!(asked > 100, "{asked}");
    for nowhere in ["/v1", "/v1/docs", "/v1/docs/", "/v1/docs/a/x", "/v2/docs/a", "/x"] {
        api.get(nowhere).await.problem(404, "no-route");
    }
    node.stop().await.expect("it stops");
}
