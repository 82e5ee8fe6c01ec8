//! The Rust client by itself: over lines that are cut, against servers that refuse.

use std::time::Duration;

use bytesize::ByteSize;
use quire::client::{Document, EditError, Error, Options, Status};
use quire::node::Node;
use quire::text::{Operation, apply};
use quire::wire::{Codec, Mode};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::proxy::{Line, Proxy};
use crate::raw::node;

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

fn url(node: &Node) -> String {
    format!("http://{}", node.address)
}

fn open(url: &str) -> Document {
    Document::open("a".parse().expect("an id"), Options::new(url))
}

fn insert(at: u32, text: &str) -> Operation {
    Operation::builder().retain(at).insert(text).build()
}

/// Writes at the end of what is seen.
pub(crate) fn append(document: &Document, text: &str) {
    let edited = document.change(|view| insert(u32::try_from(view.chars()).expect("short"), text));
    edited.expect("the end is not past the end");
}

pub(crate) async fn durable(document: &Document) {
    let durable = timeout(PATIENCE, document.wait_durable()).await.expect("it becomes durable");
    durable.expect("the server takes the client");
}

pub(crate) async fn reach(document: &Document, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut status = document.status();
    let reached = timeout(PATIENCE, status.wait_for(wanted)).await.expect("it comes to it");
    reached.expect("the document is open").clone()
}

/// Waits until a replica shows a text.
async fn show(document: &Document, text: &str) {
    let mut shown = document.subscribe();
    let equal = async {
        while document.text() != text {
            shown.recv().await.expect("the document is open");
        }
    };
    timeout(PATIENCE, equal).await.expect("it shows the text");
}

/// Asks the server for the text and the number of its revision.
async fn told(node: &Node) -> (String, u64) {
    let answer = reqwest::get(format!("{}/v1/docs/a", url(node))).await.expect("it answers");
    let told: Value = answer.json().await.expect("a document");
    let text = told["text"].as_str().expect("a text").to_owned();
    (text, told["head"].as_u64().expect("a revision"))
}

#[tokio::test]
async fn clients_of_both_encodings_come_to_one_text() {
    let node = node(|_| {}).await;
    let json = Options { codec: Codec::Json, ..Options::new(&url(&node)) };
    let (ada, bob) = (open(&url(&node)), Document::open("a".parse().expect("an id"), json));
    let mut shown = bob.subscribe();
    for n in 0..50 {
        ada.change(|_| insert(0, &format!("<{n}>"))).expect("it fits");
        append(&bob, &format!("[{n}]"));
        if n % 10 == 0 {
            durable(&ada).await;
        }
    }
    durable(&ada).await;
    durable(&bob).await;
    let (text, _) = told(&node).await;
    show(&ada, &text).await;
    show(&bob, &text).await;
    assert_eq!(text.matches('<').count() + text.matches('[').count(), 100);
    assert!(shown.try_recv().is_ok(), "what others write is told");
}

#[tokio::test]
async fn changes_and_edits_give_an_observer_the_same_text() {
    let node = node(|_| {}).await;
    let (ada, bob) = (open(&url(&node)), open(&url(&node)));
    let (mut shown, mut copy) = (ada.subscribe(), String::new());
    for n in 0..200 {
        append(&bob, "b");
        let edited = ada.change(|view| {
            while let Ok(change) = shown.try_recv() {
                copy = apply(&change.op, &copy).expect("changes come in order");
            }
            assert_eq!(copy, view.text(), "the copy is what is seen");
            let at = u32::try_from(copy.chars().count() / 2).expect("short");
            let op = insert(at, "a");
            copy = apply(&op, &copy).expect("it fits");
            op
        });
        edited.expect("nothing comes between the look and the edit");
        if n % 5 == 0 {
            durable(&ada).await;
        }
    }
    durable(&ada).await;
    durable(&bob).await;
    show(&ada, &told(&node).await.0).await;
}

#[tokio::test]
async fn a_cut_connection_is_resumed_and_nothing_is_lost_or_doubled() {
    let node = node(|_| {}).await;
    let proxy = Proxy::to(node.address, Line::Open).await;
    let (document, other) = (open(&proxy.url), open(&url(&node)));
    let mut wanted = String::new();
    for round in 0..8 {
        for n in 0..5 {
            let word = format!("({round}.{n})");
            append(&document, &word);
            wanted.push_str(&word);
        }
        // A new connection has begun, so that what is online is this one: each cut hits one.
        timeout(PATIENCE, proxy.wait(|calls| calls.begun > round)).await.expect("it calls again");
        reach(&document, |status| *status == Status::Online).await;
        proxy.cut().await;
        other.change(|_| insert(0, "x")).expect("it fits");
    }
    durable(&document).await;
    durable(&other).await;
    let (text, _) = told(&node).await;
    // Where an x lands depends on what its writer had seen, and so on time.
    assert_eq!(text.matches('x').count(), 8);
    assert_eq!(text.replace('x', ""), wanted);
    show(&document, &text).await;
}

#[tokio::test]
async fn a_batch_whose_acknowledgement_was_lost_counts_once() {
    let node = node(|_| {}).await;
    let proxy = Proxy::to(node.address, Line::Open).await;
    let (document, other) = (open(&proxy.url), open(&url(&node)));
    append(&document, "one");
    durable(&document).await;
    proxy.set(Line::Deaf);
    append(&document, " two");
    show(&other, "one two").await;
    append(&document, " three");
    let unheard = timeout(Duration::from_millis(50), document.wait_durable()).await;
    assert!(unheard.is_err(), "nothing is taken for durable that was not acknowledged");
    proxy.cut().await;
    durable(&document).await;
    assert_eq!(told(&node).await, ("one two three".to_owned(), 3));
}

#[tokio::test]
async fn what_is_edited_offline_survives_and_meets_what_others_wrote() {
    let node = node(|_| {}).await;
    let proxy = Proxy::to(node.address, Line::Cut).await;
    let (document, other) = (open(&proxy.url), open(&url(&node)));
    append(&document, "before the first welcome");
    assert_eq!(document.text(), "before the first welcome");
    append(&other, "[meanwhile]");
    durable(&other).await;
    proxy.wait(|calls| calls.ended > 1).await;
    assert_eq!(reach(&document, |_| true).await, Status::Offline);
    proxy.set(Line::Open);
    durable(&document).await;
    assert_eq!(reach(&document, |status| *status == Status::Online).await, Status::Online);
    proxy.set(Line::Cut);
    reach(&document, |status| *status == Status::Offline).await;
    document.edit(&Operation::builder().delete(6).build()).expect("it fits");
    document.change(|_| insert(0, "Offline")).expect("it fits");
    other.change(|_| insert(0, "{again}")).expect("it fits");
    durable(&other).await;
    proxy.set(Line::Open);
    durable(&document).await;
    let (text, head) = told(&node).await;
    show(&document, &text).await;
    show(&other, &text).await;
    assert!(text.contains("{again}") && text.contains("Offline"), "{text}");
    assert_eq!(head, 4, "what piles up offline is one batch");
}

#[tokio::test]
async fn edits_that_change_nothing_are_durable_at_once() {
    let node = node(|_| {}).await;
    let proxy = Proxy::to(node.address, Line::Open).await;
    let document = open(&proxy.url);
    durable(&document).await;
    append(&document, "text");
    durable(&document).await;
    document.edit(&Operation::identity()).expect("it fits");
    durable(&document).await;
    proxy.set(Line::Cut);
    reach(&document, |status| *status == Status::Offline).await;
    append(&document, "!");
    let waiting = timeout(Duration::from_millis(50), document.wait_durable()).await;
    assert!(waiting.is_err(), "nothing becomes durable offline");
    document.edit(&Operation::builder().retain(4).delete(1).build()).expect("it fits");
    durable(&document).await;
    let past_end = document.edit(&insert(5, "?"));
    assert!(past_end.is_err(), "an edit past the end is refused");
    assert_eq!((document.text().as_str(), document.chars()), ("text", 4));
}

#[tokio::test]
async fn an_edit_over_the_limit_of_a_batch_goes_in_several() {
    let node = node(|config| config.edge.op_bytes_max = ByteSize::kib(1)).await;
    let document = open(&url(&node));
    let paste = "0123456789".repeat(1_000);
    append(&document, &paste);
    durable(&document).await;
    let (text, head) = told(&node).await;
    assert_eq!(text, paste);
    assert!(head >= 10, "{head} batches");
}

#[tokio::test]
async fn a_batch_over_the_rate_is_sent_again_and_others_are_heard_meanwhile() {
    let node = node(|config| config.edge.ops_per_second = 1).await;
    let (document, other) = (open(&url(&node)), open(&url(&node)));
    for word in ["one", " two"] {
        append(&document, word);
        durable(&document).await;
    }
    append(&document, " three");
    // The third has to wait for about a second; what another one writes has not.
    other.change(|_| insert(0, "(")).expect("it fits");
    show(&document, "(one two three").await;
    let waiting = timeout(Duration::ZERO, document.wait_durable()).await;
    assert!(waiting.is_err(), "it was heard before the rate let the third through");
    durable(&document).await;
    assert_eq!(told(&node).await, ("(one two three".to_owned(), 4));
}

#[tokio::test]
async fn servers_are_tried_in_turn() {
    let node = node(|_| {}).await;
    let dead = Proxy::to(node.address, Line::Cut).await;
    let urls = vec![dead.url.clone(), url(&node)];
    let document =
        Document::open("a".parse().expect("an id"), Options { urls, ..Options::new("") });
    append(&document, "text");
    durable(&document).await;
    dead.wait(|calls| calls.begun == 1).await;
}

#[tokio::test]
async fn a_client_that_is_not_taken_is_told_why_and_does_not_try_again() {
    let node = node(|_| {}).await;
    let view = Options { mode: Mode::View, ..Options::new(&url(&node)) };
    let viewer = Document::open("a".parse().expect("an id"), view);
    assert_eq!(viewer.edit(&insert(0, "text")), Err(EditError::ReadOnly));
    let Status::Failed(error) = reach(&viewer, |status| *status != Status::Offline).await else {
        panic!("there is no such document");
    };
    assert!(matches!(error, Error::Refused { close_code: 4404, .. }), "{error}");
    let written = open(&url(&node));
    append(&written, "text");
    durable(&written).await;
    let deleted = reqwest::Client::new().delete(format!("{}/v1/docs/a", url(&node))).send().await;
    assert!(deleted.expect("it answers").status().is_success());
    let proxy = Proxy::to(node.address, Line::Open).await;
    let document = open(&proxy.url);
    let Status::Failed(error) = reach(&document, |status| *status != Status::Offline).await else {
        panic!("it is deleted");
    };
    append(&document, "text");
    assert_eq!(timeout(PATIENCE, document.wait_durable()).await, Ok(Err(error)));
    proxy.wait(|calls| calls.begun == 1 && calls.ended == 1).await;
    for urls in [Vec::new(), vec!["ftp://h:1".to_owned()], vec!["http://nowhere".to_owned()]] {
        let options = Options { urls, ..Options::new("") };
        let document = Document::open("a".parse().expect("an id"), options);
        let status = reach(&document, |status| *status != Status::Offline).await;
        assert!(matches!(status, Status::Failed(Error::Url { .. })), "{status:?}");
    }
}

#[tokio::test]
async fn a_server_that_has_forgotten_revisions_is_not_asked_all_the_time() {
    let (first, empty) = (node(|_| {}).await, node(|_| {}).await);
    let proxy = Proxy::to(first.address, Line::Open).await;
    let document = open(&proxy.url);
    append(&document, "text");
    durable(&document).await;
    proxy.lead_to(empty.address);
    let began = Instant::now();
    proxy.cut().await;
    timeout(PATIENCE, proxy.wait(|calls| calls.begun >= 5)).await.expect("it goes on");
    // Four waits, each at least half of what it may be: they
    // double although every connection is welcomed.
    let shortest = Duration::from_millis(50 + 100 + 200 + 400);
    assert!(began.elapsed() >= shortest, "{:?}", began.elapsed());
    assert_eq!(document.text(), "text", "nothing is thrown away");
}

#[tokio::test]
async fn a_document_that_is_closed_or_dropped_ends_its_connection() {
    let node = node(|_| {}).await;
    let proxy = Proxy::to(node.address, Line::Open).await;
    for (round, close) in [(1, true), (2, false)] {
        let document = open(&proxy.url);
        reach(&document, |status| *status == Status::Online).await;
        if close {
            document.close().await;
        } else {
            drop(document);
        }
        timeout(PATIENCE, proxy.wait(|calls| calls.ended == round)).await.expect("it ends");
    }
}
