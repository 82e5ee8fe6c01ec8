//! The protocol over real sockets: docs/PROTOCOL.md, line by line where a good client never gets.

use std::time::Duration;

use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::raw::{Raw, hello, node};

#[tokio::test]
async fn the_subprotocol_is_chosen_and_the_token_never_echoed() {
    let node = node(|_| {}).await;
    for (offer, echoed) in [
        ("", None),
        ("quire.v1", Some("quire.v1")),
        ("quire.v1.bin, quire.v1", Some("quire.v1.bin")),
        ("csrf.secret, quire.v1", Some("quire.v1")),
    ] {
        let raw = Raw::upgrade(&node, "/ws/a", offer).await.expect("it is taken");
        assert_eq!(raw.echoed.as_deref(), echoed, "{offer}");
    }
    for (path, offer, status) in [
        ("/ws/a", "quire.v9", 400),
        ("/ws/a%2Fb", "quire.v1", 404),
        ("/ws/..", "quire.v1", 404),
        ("/ws/", "quire.v1", 404),
    ] {
        assert_eq!(Raw::upgrade(&node, path, offer).await.err(), Some(status), "{path} {offer}");
    }
    let plain = reqwest::get(format!("http://{}/ws/a", node.address)).await.expect("it answers");
    assert_eq!(plain.status().as_u16(), 426);
}

#[tokio::test]
async fn what_is_no_hello_ends_the_connection() {
    let node = node(|config| config.edge.hello_timeout = Duration::from_millis(300)).await;
    let mut silent = Raw::upgrade(&node, "/ws/a", "quire.v1").await.expect("it is taken");
    let (error, code) = silent.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("hello-timeout"), 4408));
    for (first, name, close) in [
        (r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#.to_owned(), "bad-frame", 4400),
        (r#"{"t":"sing"}"#.to_owned(), "bad-frame", 4400),
        ("nonsense".to_owned(), "bad-frame", 4400),
        (hello('1', "").replace("\"v\":1", "\"v\":7"), "version", 4426),
        (hello('A', ""), "bad-frame", 4400),
        (hello('1', r#","mode":"view""#), "no-document", 4404),
        (format!(r#"{{"t":"hello","pad":"{}"}}"#, "x".repeat(2 << 20)), "too-large", 4413),
    ] {
        let (error, code) = Raw::say(&node, "never", &first).await.end().await;
        assert_eq!((error["code"].as_str(), code), (Some(name), close), "{error}");
        assert_eq!(error["fatal"], true);
    }
}

/// Says one bad thing after a welcome on a document with the text "abc" at revision 1.
async fn check(said: &str, name: &str, close: u16) -> Value {
    let node = node(|config| config.document.doc_chars_max = 10).await;
    let (mut first, _) = Raw::join(&node, "a", '1', "").await;
    first.send(r#"{"t":"op","seq":1,"base":0,"op":["abc"]}"#).await;
    first.hear("ack").await;
    let (mut raw, _) = Raw::join(&node, "a", '2', "").await;
    raw.send(said).await;
    let (error, code) = raw.end().await;
    assert_eq!((error["code"].as_str(), code), (Some(name), close), "{said}: {error}");
    // Nothing of it was applied, and nobody else noticed.
    first.send(r#"{"t":"op","seq":2,"base":1,"op":[3,"d"]}"#).await;
    assert_eq!(first.hear("ack").await["rev"], 2);
    error
}

#[tokio::test]
async fn bad_messages_are_told_and_nothing_of_them_is_applied() {
    check(r#"{"t":"op","seq":1,"base":1,"op":[4,"x"]}"#, "bad-op", 4400).await;
    check(r#"{"t":"op","seq":1,"base":1,"op":[{"d":4}]}"#, "bad-op", 4400).await;
    check(r#"{"t":"op","seq":1,"base":1,"op":[0]}"#, "bad-op", 4400).await;
    check(r#"{"t":"op","seq":1,"base":1,"op":[""]}"#, "bad-op", 4400).await;
    check(r#"{"t":"op","seq":1,"base":1,"op":["\ud800"]}"#, "bad-op", 4400).await;
    check(r#"{"t":"op","seq":1,"base":2,"op":["x"]}"#, "bad-base", 4400).await;
    check(r#"{"t":"op","seq":1,"base":1,"op":["eleven char"]}"#, "too-large", 4413).await;
    check(r#"{"t":"hello","v":1}"#, "bad-frame", 4400).await;
    check(r#"{"t":"sing"}"#, "bad-frame", 4400).await;
    check("[]", "bad-frame", 4400).await;
    let gap = check(r#"{"t":"op","seq":5,"base":1,"op":["x"]}"#, "gap", 4409).await;
    assert_eq!(gap["seq"], 1, "the expected one is told");
}

#[tokio::test]
async fn frames_of_the_other_encoding_are_refused() {
    let node = node(|_| {}).await;
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    raw.send_binary(&[1, 2, 3]).await;
    assert_eq!(raw.end().await.1, 4400);
}

#[tokio::test]
async fn a_session_has_one_connection_and_its_batches_count_once() {
    let node = node(|_| {}).await;
    let (mut old, _) = Raw::join(&node, "a", '1', "").await;
    old.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    assert_eq!(old.hear("ack").await, json!({"t":"ack","seq":1,"rev":1}));
    let (mut new, welcome) = Raw::join(&node, "a", '1', r#","rev":0"#).await;
    let (error, code) = old.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("replaced"), 4410));
    assert_eq!((&welcome["seq"], &welcome["head"]), (&json!(1), &json!(1)));
    assert_eq!(welcome["ops"][0]["own"], 1);
    new.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    assert_eq!(new.hear("ack").await["rev"], 1, "acknowledged again");
    new.send(r#"{"t":"op","seq":2,"base":1,"op":[1,"y"]}"#).await;
    assert_eq!(new.hear("ack").await["rev"], 2, "and not applied again");
    let (_, welcome) = Raw::join(&node, "a", '2', "").await;
    assert_eq!((&welcome["text"], &welcome["rev"]), (&json!("xy"), &json!(2)));
}

#[tokio::test]
async fn a_client_resumes_from_its_revision_or_gets_the_text() {
    let node = node(|config| config.document.window_revisions = 3).await;
    let (mut writer, _) = Raw::join(&node, "a", '1', "").await;
    for n in 0..6 {
        let op = format!(r#"{{"t":"op","seq":{},"base":{n},"op":["x"]}}"#, n + 1);
        writer.send(&op).await;
        writer.hear("ack").await;
    }
    let (_, welcome) = Raw::join(&node, "a", '2', r#","rev":4"#).await;
    assert_eq!((&welcome["rev"], &welcome["head"]), (&json!(4), &json!(6)));
    assert_eq!(welcome["ops"].as_array().map(Vec::len), Some(2));
    for gone in [r#","rev":1"#, r#","rev":99"#] {
        let (_, welcome) = Raw::join(&node, "a", '3', gone).await;
        assert_eq!(welcome["text"], "xxxxxx", "{gone}");
    }
    // A batch from before the window is merged all the same, and its author told how.
    let (mut late, _) = Raw::join(&node, "a", '4', "").await;
    late.send(r#"{"t":"op","seq":1,"base":1,"op":[1,"L"]}"#).await;
    let ack = late.hear("ack").await;
    assert_eq!((&ack["rev"], &ack["op"]), (&json!(7), &json!([6, "L"])));
}

#[tokio::test]
async fn revisions_reach_the_others_and_viewers_get_them_composed() {
    let node = node(|_| {}).await;
    let (mut writer, _) = Raw::join(&node, "a", '1', r#","ordered":true"#).await;
    writer.send(r#"{"t":"op","seq":1,"base":0,"op":["ab"]}"#).await;
    assert_eq!(writer.hear("ordered").await["rev"], 1);
    writer.hear("ack").await;
    let (mut other, _) = Raw::join(&node, "a", '2', "").await;
    let (mut viewer, welcome) = Raw::join(&node, "a", '3', r#","mode":"view""#).await;
    assert_eq!(welcome["mode"], "view");
    for (seq, op) in [(2, r#"[2,"c"]"#), (3, r#"[{"d":1}]"#)] {
        let base = seq - 1;
        writer.send(&format!(r#"{{"t":"op","seq":{seq},"base":{base},"op":{op}}}"#)).await;
        writer.hear("ordered").await;
        writer.hear("ack").await;
    }
    let told = other.hear("op").await;
    assert_eq!((&told["rev"], &told["op"]), (&json!(2), &json!([2, "c"])));
    assert_eq!(other.hear("op").await["rev"], 3);
    let merged = viewer.hear("merged").await;
    assert_eq!((&merged["rev"], &merged["op"]), (&json!(3), &json!([{"d":1}, 1, "c"])));
    viewer.send(r#"{"t":"op","seq":1,"base":3,"op":["x"]}"#).await;
    let (error, code) = viewer.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("forbidden"), 4403));
}

#[tokio::test]
async fn presence_tells_names_and_carets_that_move_with_the_text() {
    let node = node(|config| config.document.presence_interval = Duration::from_millis(20)).await;
    let user = r##","user":{"name":"Ada","color":"#0066cc"}"##;
    let (mut ada, welcome) = Raw::join(&node, "a", '1', user).await;
    ada.send(r#"{"t":"op","seq":1,"base":0,"op":["hello"]}"#).await;
    ada.hear("ack").await;
    ada.send(r#"{"t":"cursor","rev":1,"sel":[1,4]}"#).await;
    ada.send(r#"{"t":"ping","n":7}"#).await;
    assert_eq!(ada.hear("pong").await["n"], 7);
    let (mut bob, _) = Raw::join(&node, "a", '2', "").await;
    bob.send(r#"{"t":"op","seq":1,"base":1,"op":["12"]}"#).await;
    let id = &welcome["you"];
    let seen = |message: &Value, wanted: &Value| {
        let list = message["list"].as_array().expect("a list").clone();
        list.iter().any(|row| row["id"] == *id && row["sel"] == *wanted)
    };
    loop {
        let message = bob.next().await;
        if message["t"] == "presence" && seen(&message, &json!([1, 4])) {
            let row = &message["list"][0];
            assert_eq!(row["user"]["name"], "Ada");
            break;
        }
    }
    let (mut late, _) = Raw::join(&node, "a", '3', "").await;
    let all = late.hear("presence").await;
    assert!(seen(&all, &json!([3, 6])), "the caret moved with the text: {all}");
    drop(ada);
    loop {
        let message = late.hear("presence").await;
        if message["list"].as_array().expect("a list").iter().any(|row| row["gone"] == true) {
            assert_eq!(message["n"], 2);
            break;
        }
    }
}

#[tokio::test]
async fn a_rate_is_told_and_the_batch_can_be_sent_again() {
    let node = node(|config| config.edge.ops_per_second = 1).await;
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    for n in 0..2 {
        let op = format!(r#"{{"t":"op","seq":{},"base":{n},"op":["x"]}}"#, n + 1);
        raw.send(&op).await;
        raw.hear("ack").await;
    }
    raw.send(r#"{"t":"op","seq":3,"base":2,"op":["x"]}"#).await;
    let error = raw.hear("error").await;
    assert_eq!((&error["code"], &error["fatal"]), (&json!("rate"), &json!(false)));
    assert_eq!(error["seq"], 3);
    let wait = error["retry_ms"].as_u64().expect("it tells when");
    tokio::time::sleep(Duration::from_millis(wait)).await;
    raw.send(r#"{"t":"op","seq":3,"base":2,"op":["x"]}"#).await;
    assert_eq!(raw.hear("ack").await["rev"], 3);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_caught_up_without_a_gap() {
    let node = node(|config| {
        config.edge.outbox_bytes_max = ByteSize::kib(64);
        config.document.window_bytes = ByteSize::mib(256);
        config.document.window_revisions = 100_000;
    })
    .await;
    let (mut slow, _) = Raw::join(&node, "a", '2', "").await;
    let (mut writer, _) = Raw::join(&node, "a", '1', "").await;
    // Far more than sockets hold: an insert that the next batch deletes again.
    let text = "x".repeat(200_000);
    let rounds = 120;
    for n in 0..rounds {
        let op = if n % 2 == 0 { json!([text]) } else { json!([{"d": 200_000}]) };
        writer.send(&json!({"t":"op","seq":n + 1,"base":n,"op":op}).to_string()).await;
        writer.hear("ack").await;
    }
    let mut next = 1;
    while next <= rounds {
        let message = slow.next().await;
        match message["t"].as_str() {
            Some("op") => {
                assert_eq!(message["rev"], next, "no gap");
                next += 1;
            }
            Some("ops") => {
                assert_eq!(message["rev"], next, "no gap");
                next += message["list"].as_array().map_or(0, |list| list.len() as u64);
            }
            Some("presence") => {}
            other => panic!("{other:?}"),
        }
    }
    let metrics = reqwest::get(format!("http://{}/metrics", node.address)).await;
    let metrics = metrics.expect("it answers").text().await.expect("it is text");
    let lagged = metrics.lines().find(|line| line.starts_with("quire_edge_lagged_total "));
    assert_eq!(lagged, Some("quire_edge_lagged_total 1"));
}

#[tokio::test]
async fn deleting_sends_everyone_away_and_undeleting_brings_all_back() {
    let node = node(|_| {}).await;
    let url = format!("http://{}/v1/docs/a", node.address);
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    raw.send(r#"{"t":"op","seq":1,"base":0,"op":["abc"]}"#).await;
    raw.hear("ack").await;
    let http = reqwest::Client::new();
    let deleted = http.delete(&url).send().await.expect("it answers");
    assert_eq!(deleted.status().as_u16(), 200);
    assert_eq!(raw.end().await.1, 4404);
    let (_, code) = Raw::say(&node, "a", &hello('1', "")).await.end().await;
    assert_eq!(code, 4404);
    let gone = reqwest::get(&url).await.expect("it answers");
    assert_eq!(gone.status().as_u16(), 404);
    assert_eq!(gone.headers()["content-type"], "application/problem+json");
    let back = http.post(format!("{url}/undelete")).send().await.expect("it answers");
    assert_eq!(back.status().as_u16(), 200);
    let (_, welcome) = Raw::join(&node, "a", '1', "").await;
    assert_eq!(welcome["text"], "abc");
}

#[tokio::test]
async fn stopping_tells_clients_when_to_come_back() {
    let node = node(|_| {}).await;
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    raw.send(r#"{"t":"op","seq":1,"base":0,"op":["abc"]}"#).await;
    raw.hear("ack").await;
    let (stopped, ended) = tokio::join!(node.stop(), raw.end());
    let () = stopped;
    assert_eq!((ended.0["code"].as_str(), ended.1), (Some("unavailable"), 4503));
    assert!(ended.0["retry_ms"].as_u64().is_some_and(|millis| millis > 0));
}
