//! The HTTP API over real connections: each route, what it is told in headers, and bad input.

mod bad_input;
mod bounds;
mod edits;
mod names;
mod pages;
mod rights;

use std::fmt::Display;

use futures_util::future::join_all;
use quire::node::Node;
use reqwest::header::{HeaderMap, HeaderName};
use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::nodes::{Nodes, Settings};
use crate::raw::node;

/// Asks a node.
struct Api {
    http: Client,
    url: String,
}

/// What is answered.
#[derive(Debug)]
struct Told {
    status: u16,
    headers: HeaderMap,
    text: String,
}

const NONE: &[(&str, &str)] = &[];

impl Api {
    fn at(url: impl Display) -> Self {
        Self { http: Client::new(), url: url.to_string() }
    }

    fn of(node: &Node) -> Self {
        Self::at(format_args!("http://{}", node.address))
    }

    /// Asks with any body.
    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> Told {
        let method: Method = method.parse().expect("a method");
        let mut asked = self.http.request(method, format!("{}{path}", self.url)).body(body);
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            asked = asked.header(name, value.as_bytes());
        }
        let answer = asked.send().await.expect("it answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let told = Told { status, headers, text: answer.text().await.expect("it is text") };
        assert_ne!(told.status, 500, "{told:?}");
        told
    }

    async fn get(&self, path: &str) -> Told {
        self.send("GET", path, NONE, "").await
    }

    /// Asks with a JSON body.
    async fn json(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Told {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.send(method, path, &headers, body.to_string()).await
    }

    async fn op(&self, doc: &str, headers: &[(&str, &str)], base: u64, op: Value) -> Told {
        let path = format!("/v1/docs/{doc}/ops");
        self.json("POST", &path, headers, json!({ "base": base, "op": op })).await
    }

    /// Returns the newest text.
    async fn text(&self, doc: &str) -> String {
        let told = self.get(&format!("/v1/docs/{doc}")).await.is(200);
        told.value()["text"].as_str().expect("text").to_owned()
    }
}

impl Told {
    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Checks that it is a problem with this code.
    #[track_caller]
    fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert!(self.header("cache-control").ends_with("no-store"), "{self:?}");
        let problem = self.value();
        assert_eq!((self.status, &problem["code"]), (status, &code.into()), "{self:?}");
        assert_eq!((&problem["status"], &problem["type"]), (&status.into(), &"about:blank".into()));
        let said = |field: &str| problem[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(said("title") && said("detail"), "{self:?}");
        self
    }

    #[track_caller]
    fn value(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// Returns a header, empty where it is not there.
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

#[tokio::test]
async fn a_document_is_created_once() {
    let node = node(|_| {}).await;
    let api = Api::of(&node);
    let creations = (0..8).map(|_| api.json("POST", "/v1/docs/a", NONE, json!({"text": "abc"})));
    let mut all = join_all(creations).await;
    all.sort_by_key(|told| told.status);
    let first = all.remove(0).is(201);
    assert_eq!(first.value(), json!({"rev": 1}));
    assert_eq!((first.header("location"), first.header("etag")), ("/v1/docs/a", "\"rev-1\""));
    for other in all {
        other.problem(409, "exists");
    }
    assert_eq!(api.text("a").await, "abc");
    // An empty one is there, too.
    let empty = api.send("POST", "/v1/docs/b", NONE, "").await.is(201);
    assert_eq!((empty.value(), empty.header("etag")), (json!({"rev": 0}), "\"rev-0\""));
    api.send("POST", "/v1/docs/b", NONE, "").await.problem(409, "exists");
    assert_eq!(api.text("b").await, "");
    api.send("DELETE", "/v1/docs/a", NONE, "").await.is(200);
    api.send("POST", "/v1/docs/a", NONE, "").await.problem(409, "deleted");
    api.get("/v1/docs/a").await.problem(404, "no-document");
    api.send("POST", "/v1/docs/a/undelete", NONE, "").await.is(200);
    assert_eq!(api.text("a").await, "abc");
    api.send("POST", "/v1/docs/never/undelete", NONE, "").await.problem(404, "no-document");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_text_comes_in_the_form_that_is_wanted_and_once() {
    let node = node(|_| {}).await;
    let api = Api::of(&node);
    api.json("PUT", "/v1/docs/a", NONE, json!({"text": "one", "author": "ann"})).await.is(201);
    api.json("PUT", "/v1/docs/a", NONE, json!({"text": "one é"})).await.is(200);
    let bare = [("accept", "text/plain")];
    for (path, headers, tag, text) in [
        ("/v1/docs/a", NONE, "\"rev-2\"", r#"{"doc":"a","rev":2,"head":2,"text":"one é"}"#),
        ("/v1/docs/a?rev=1", NONE, "\"rev-1.2\"", r#"{"doc":"a","rev":1,"head":2,"text":"one"}"#),
        ("/v1/docs/a", &bare, "\"rev-2.text\"", "one é"),
        ("/v1/docs/a?rev=0", &bare, "\"rev-0.text\"", ""),
    ] {
        let told = api.send("GET", path, headers, "").await.is(200);
        assert_eq!((told.header("etag"), &*told.text), (tag, text), "{path}");
        assert_eq!(
            (told.header("cache-control"), told.header("vary")),
            ("private, no-store", "accept")
        );
        let kind =
            if headers.is_empty() { "application/json" } else { "text/plain; charset=utf-8" };
        assert_eq!(told.header("content-type"), kind);
        let head = api.send("HEAD", path, headers, "").await.is(200);
        assert_eq!((head.header("etag"), &*head.text), (tag, ""));
        assert_eq!(head.header("content-length"), text.len().to_string());
        let had = [headers, &[("if-none-match", tag)]].concat();
        let told = api.send("GET", path, &had, "").await.is(304);
        assert_eq!((told.header("etag"), &*told.text), (tag, ""));
        let other = [headers, &[("if-none-match", "\"rev-9\"")]].concat();
        api.send("GET", path, &other, "").await.is(200);
    }
    api.get("/v1/docs/a?rev=3").await.problem(404, "no-revision");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_text_is_imported_bare_or_as_json_and_only_over_what_was_seen() {
    let node = node(|_| {}).await;
    let api = Api::of(&node);
    let put = async |headers: &[(&str, &str)], body: &'static [u8]| {
        api.send("PUT", "/v1/docs/a", headers, body).await
    };
    let plain = ("content-type", "text/plain; charset=UTF-8");
    let told = put(&[plain], "naïve\r\n".as_bytes()).await.is(201);
    assert_eq!((told.header("location"), told.header("etag")), ("/v1/docs/a", "\"rev-1\""));
    assert_eq!(api.text("a").await, "naïve\r\n");
    put(&[plain], b"\xff\xfe").await.problem(400, "bad-body");
    put(&[("content-type", "text/plain; charset=latin1")], b"x")
        .await
        .problem(415, "unsupported-media-type");
    put(&[], b"{\"text\":\"x\"}").await.problem(415, "unsupported-media-type");
    let expecting = |tag: &'static str| [plain, ("if-match", tag)];
    put(&expecting("\"rev-0\""), b"x").await.problem(412, "precondition-failed");
    put(&expecting("W/\"rev-1\""), b"x").await.problem(412, "precondition-failed");
    put(&expecting("\"rev-1\""), b"x").await.is(200);
    put(&expecting("*"), b"y").await.is(200);
    let never = api.send("PUT", "/v1/docs/never", &expecting("*"), "x").await;
    never.problem(412, "precondition-failed");
    api.get("/v1/docs/never").await.problem(404, "no-document");
    let unless = |tag: &'static str| [plain, ("if-none-match", tag)];
    for tag in ["*", "\"rev-3\"", "\"x\", W/\"rev-3\""] {
        put(&unless(tag), b"z").await.problem(412, "precondition-failed");
    }
    assert_eq!(api.text("a").await, "y");
    put(&unless("\"rev-2\""), b"z").await.is(200);
    assert_eq!(api.text("a").await, "z");
    // Of many who begin a document, one does.
    let absent = unless("*");
    let beginning = (0..16).map(async |nth: u8| {
        let body = nth.to_string();
        let told = api.send("PUT", "/v1/docs/new", &absent, body.clone()).await;
        (told.status == 201).then_some(body).or_else(|| {
            told.problem(412, "precondition-failed");
            None
        })
    });
    let begun: Vec<String> = join_all(beginning).await.into_iter().flatten().collect();
    assert_eq!(begun, [api.text("new").await]);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn what_a_request_says_and_is_told_goes_with_it_to_the_owner_and_back() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let (owner, other) = (Api::at(nodes.url(0)), Api::at(nodes.url(1)));
    let created = other.json("POST", "/v1/docs/a", NONE, json!({"text": "abc"})).await.is(201);
    assert_eq!((created.header("location"), created.header("etag")), ("/v1/docs/a", "\"rev-1\""));
    other.json("POST", "/v1/docs/a", NONE, json!({})).await.problem(409, "exists");
    let bare = other.send("GET", "/v1/docs/a", &[("accept", "text/plain")], "").await.is(200);
    assert_eq!((&*bare.text, bare.header("vary")), ("abc", "accept"));
    let had = [("if-none-match", "\"rev-1\"")];
    assert_eq!(other.send("GET", "/v1/docs/a", &had, "").await.is(304).header("etag"), "\"rev-1\"");
    let head = other.send("HEAD", "/v1/docs/a", NONE, "").await.is(200);
    assert_eq!(head.header("content-length"), "41");
    let late = other.op("a", &[("if-match", "\"rev-0\"")], 0, json!(["x"])).await;
    late.problem(412, "precondition-failed");
    // The id in its other spelling is the same document.
    let spelled = other.get("/v1/docs/%61").await.is(200);
    assert_eq!(spelled.value()["text"], "abc");
    let key = [("idempotency-key", "one")];
    let mut revs = Vec::new();
    for api in [&other, &owner, &other] {
        revs.push(api.op("a", &key, 1, json!([3, "d"])).await.is(200).value()["rev"].clone());
    }
    assert_eq!(revs, [2, 2, 2], "at whichever node");
    assert_eq!(owner.text("a").await, "abcd");
    let export = other.get("/v1/docs/a/export").await.is(200);
    assert_eq!(export.header("content-disposition"), "attachment; filename=\"a.txt\"");
    other.send("PUT", "/v1/docs/a/history", NONE, "").await.problem(405, "method-not-allowed");
}
