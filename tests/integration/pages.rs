//! Pages of public documents: what they show, who may keep them, and what is told where there is
//! none.

use std::time::Duration;

use quire::access::{AccessChange, Asker, Visibility};
use quire::doc::{EventKind, Write};
use quire::types::{Author, SessionId};
use reqwest::{Client, Method, Response, StatusCode};
use tokio::time::timeout;

use crate::doors::{guarded, hour};
use crate::inner::PATIENCE;
use crate::nodes::{Nodes, Settings};
use crate::plain::{becomes, metric};
use crate::raw;

async fn get(url: &str, with: &[(&str, &str)]) -> Response {
    ask(Method::GET, url, with).await
}

async fn ask(method: Method, url: &str, with: &[(&str, &str)]) -> Response {
    let mut request = Client::new().request(method, url);
    for (name, value) in with {
        request = request.header(*name, *value);
    }
    request.send().await.expect("it answers")
}

async fn put(url: &str, text: &str) {
    let body = serde_json::json!({ "text": text }).to_string();
    let put = Client::new()
        .put(url)
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await
        .expect("it answers");
    assert!(put.status().is_success(), "{put:?}");
}

/// Returns what tells one answer from another: everything but the time.
async fn all_of(answer: Response) -> (StatusCode, Vec<(String, String)>, String) {
    let headers = answer.headers().iter().filter(|(name, _)| *name != "date");
    let spelled = |value: &reqwest::header::HeaderValue| value.to_str().expect("ASCII").to_owned();
    let headers = headers.map(|(name, value)| (name.to_string(), spelled(value)));
    let mut headers: Vec<_> = headers.collect();
    headers.sort();
    (answer.status(), headers, answer.text().await.expect("text"))
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().expect("ASCII"))
}

#[tokio::test]
async fn a_page_shows_the_newest_text_and_says_for_how_long_it_may_be_kept() {
    let node = raw::node(|config| {
        config.edge.page_max_age = Duration::from_secs(7);
        config.edge.page_stale = Duration::from_secs(3);
    })
    .await;
    let (page, doc) = (
        format!("http://{}/pub/notes", node.address),
        format!("http://{}/v1/docs/notes", node.address),
    );
    put(&doc, "# One & *all*\n\n<script>alert(1)</script>").await;
    let first = get(&page, &[]).await;
    let tag = header(&first, "etag").to_owned();
    let caching = "public, max-age=7, stale-while-revalidate=3";
    for (name, value) in [
        ("cache-control", caching),
        ("surrogate-key", "doc-notes"),
        ("cache-tag", "doc-notes"),
        ("content-type", "text/html; charset=utf-8"),
    ] {
        assert_eq!(header(&first, name), value);
    }
    let length = header(&first, "content-length").to_owned();
    let text = first.text().await.expect("text");
    assert!(text.contains("<title>One &amp; all</title>"), "{text}");
    assert!(text.contains("<h1>One &amp; <em>all</em></h1>"), "{text}");
    assert!(text.contains("<p>&lt;script&gt;") && !text.contains("<script"), "{text}");
    assert_eq!(length, text.len().to_string());

    let head = ask(Method::HEAD, &page, &[]).await;
    assert_eq!((header(&head, "etag"), header(&head, "content-length")), (&*tag, &*length));
    assert_eq!(head.text().await.expect("nothing"), "");

    let had = get(&page, &[("if-none-match", &tag)]).await;
    assert_eq!((had.status().as_u16(), header(&had, "etag")), (304, &*tag));
    assert_eq!(header(&had, "cache-control"), caching);
    assert_eq!(header(&had, "surrogate-key"), "doc-notes");
    let made = metric(&node, "quire_edge_pages_made_total").await;
    assert_eq!(made, 2, "one for GET, one for HEAD");

    for alias in ["?", "?a=b"].map(|query| format!("{page}{query}")) {
        let answer = get(&alias, &[]).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "etag")), (200, &*tag), "{alias}");
        assert_eq!(header(&answer, "cache-control"), "no-store", "{alias}: no cache knows of it");
    }
    let alias = get(&page.replace("notes", "note%73"), &[("if-none-match", &tag)]).await;
    assert_eq!((alias.status().as_u16(), header(&alias, "cache-control")), (304, "no-store"));

    put(&doc, "no heading").await;
    let next = get(&page, &[("if-none-match", &tag)]).await;
    assert_eq!(next.status().as_u16(), 200);
    assert_ne!(header(&next, "etag"), tag);
    let text = next.text().await.expect("text");
    assert!(text.contains("<title>notes</title>") && text.contains("<p>no heading</p>"), "{text}");
}

#[tokio::test]
async fn what_has_no_page_is_the_same_whatever_the_reason() {
    let node = raw::node(|_| {}).await;
    let doc = format!("http://{}/v1/docs/gone", node.address);
    put(&doc, "x").await;
    let page = |name: &str| format!("http://{}/pub/{name}", node.address);
    assert_eq!(get(&page("gone"), &[]).await.status().as_u16(), 200);
    ask(Method::DELETE, &doc, &[]).await;
    let never = all_of(get(&page("never"), &[]).await).await;
    assert_eq!(never.0.as_u16(), 404);
    assert!(never.1.contains(&("cache-control".to_owned(), "no-store".to_owned())), "{never:?}");
    for name in ["gone", "a%20b", "a%2Fb", "%2e%2e%2f", &"x".repeat(129)] {
        assert_eq!(all_of(get(&page(name), &[]).await).await, never, "{name}");
    }
    assert_eq!(all_of(get(&page("gone"), &[("if-none-match", "*")]).await).await, never);
    ask(Method::POST, &format!("{doc}/undelete"), &[]).await;
    assert_eq!(get(&page("gone"), &[]).await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_private_document_has_no_page_for_anybody() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let bearer = format!("Bearer {}", hour("olga", &[("*", "admin")]));
    let doc = format!("http://{}/v1/docs/secret", node.address);
    let put = Client::new().put(&doc).header("authorization", &bearer);
    let put = put.header("content-type", "application/json").body(r#"{"text":"x"}"#);
    assert_eq!(put.send().await.expect("it answers").status().as_u16(), 201);
    let page = |name: &str| format!("http://{}/pub/{name}", node.address);
    let never = all_of(get(&page("never"), &[]).await).await;
    assert_eq!(never.0.as_u16(), 404);
    for with in [&[][..], &[("authorization", &*bearer)], &[("if-none-match", "*")]] {
        assert_eq!(all_of(get(&page("secret"), with).await).await, never, "{with:?}");
    }
    assert_eq!(get(&doc, &[("authorization", &bearer)]).await.status().as_u16(), 200);
    let become_of = async |visibility| {
        let handle = node.router().open(&"secret".parse().expect("an id")).await.expect("it opens");
        let kind = EventKind::AccessChanged(AccessChange::Visibility(visibility));
        let write = Write::Event { author: Author::anonymous(), kind };
        handle.write(SessionId(rand::random()), Asker::anything(), write).await.expect("written");
    };
    become_of(Visibility::Public).await;
    let (status, _, text) = all_of(get(&page("secret"), &[]).await).await;
    assert_eq!((status.as_u16(), text.contains("<p>x</p>")), (200, true));
    become_of(Visibility::Private).await;
    assert_eq!(all_of(get(&page("secret"), &[]).await).await, never);
}

#[tokio::test]
async fn names_that_are_only_asked_for_do_not_stay_in_memory() {
    let node = raw::node(|_| {}).await;
    let url = format!("http://{}", node.address);
    for n in 0..100 {
        get(&format!("{url}/pub/never-{n}"), &[]).await;
    }
    // They leave long before they are idle for a minute.
    becomes(&node, "quire_doc_open", 0).await;
    put(&format!("{url}/v1/docs/never-1"), "x").await;
    assert_eq!(get(&format!("{url}/pub/never-1"), &[]).await.status().as_u16(), 200);
}

#[tokio::test]
async fn pages_of_other_nodes_documents_are_the_owners_in_every_header() {
    let nodes = Nodes::start(1, Settings::default()).await;
    let (owner, other) = (nodes.url(0), nodes.url(1));
    put(&format!("{owner}/v1/docs/a"), "# A").await;
    let page = format!("{other}/pub/a");
    let own = all_of(get(&format!("{owner}/pub/a"), &[]).await).await;
    assert_eq!((own.0.as_u16(), own.2.contains("<h1>A</h1>")), (200, true));
    assert_eq!(all_of(get(&page, &[]).await).await, own);
    let tag = own.1.iter().find(|(name, _)| name == "etag").expect("it has one").1.clone();
    let had = all_of(get(&page, &[("if-none-match", &tag)]).await).await;
    assert_eq!(had.0.as_u16(), 304);
    assert_eq!(all_of(get(&format!("{owner}/pub/a"), &[("if-none-match", &tag)]).await).await, had);
    let head = ask(Method::HEAD, &page, &[]).await;
    assert_eq!(header(&head, "content-length"), own.2.len().to_string());
    for name in ["never", "a%20b"] {
        let own = all_of(get(&format!("{owner}/pub/{name}"), &[]).await).await;
        assert_eq!(all_of(get(&format!("{other}/pub/{name}"), &[]).await).await, own);
        assert_eq!(own.0.as_u16(), 404);
    }
    *nodes.owner_at.lock() = None;
    nodes.all[1].peers.give_up(&crate::nodes::name(0));
    let lost = async {
        loop {
            let answer = get(&page, &[]).await;
            if answer.status().as_u16() == 503 {
                return answer;
            }
        }
    };
    let lost = timeout(PATIENCE, lost).await.expect("the link is given up");
    assert_eq!((header(&lost, "retry-after"), header(&lost, "cache-control")), ("1", "no-store"));
}
