//! The protocol over real sockets: docs/PROTOCOL.md, line by line where a good client never gets.

use std::time::Duration;

use bytesize::ByteSize;
use quire::access::Asker;
use quire::doc::Write;
use quire::log::EventKind;
use quire::types::{Author, SessionId};
use serde_json::{Value, json};

use crate::inner::id;
use crate::plain::{metric, reaches};
use crate::raw::{Listens, Raw, hello, node};

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
async fn a_frame_or_an_operation_that_is_too_long_ends_the_connection_and_is_not_applied() {
    const FRAME_BYTES: usize = 64 << 10;
    let node = node(|config| {
        config.edge.frame_bytes_max = ByteSize::b(FRAME_BYTES as u64);
        config.edge.op_bytes_max = ByteSize::b(10);
    })
    .await;
    // What is around a message counts, too.
    let frame = |text: &str, length: usize| {
        let op = json!({"t":"op","seq":1,"base":0,"op":[text]}).to_string();
        let blank = " ".repeat(length.saturating_sub(op.len()));
        format!("{op}{blank}")
    };
    let (mut first, _) = Raw::join(&node, "a", '1', "").await;
    first.send(&frame("ten letter", FRAME_BYTES)).await;
    first.hear("ack").await;
    // Of a frame that is too long nothing is read but how long it is.
    let (unread, bytes) = ("the frame is too large", "at most 10 bytes of text");
    for (digit, text, length, why) in [
        ('2', "x", FRAME_BYTES + 1, unread),
        ('3', "x", 4 * FRAME_BYTES, unread),
        ('4', "more than ten", 0, bytes),
    ] {
        let (mut raw, welcome) = Raw::join(&node, "a", digit, "").await;
        assert_eq!(welcome["rev"], 1);
        raw.send(&frame(text, length)).await;
        let (error, code, reason) = raw.close().await;
        let told = (error["code"].as_str(), code, reason.as_str());
        assert_eq!(told, (Some("too-large"), 4413, "too-large"), "{length}: {error}");
        assert!(error["msg"].as_str().is_some_and(|msg| msg.contains(why)), "{error}");
        assert_eq!(error["fatal"], true);
    }
    assert_eq!(metric(&node, r#"quire_edge_closes_total{reason="too-large"}"#).await, 3);
    // Nobody else has noticed.
    first.send(r#"{"t":"op","seq":2,"base":1,"op":[10,"y"]}"#).await;
    assert_eq!(first.hear("ack").await["rev"], 2);
    let (_, welcome) = Raw::join(&node, "a", '5', "").await;
    assert_eq!(welcome["text"], "ten lettery");
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

/// Checks what the clients of a document are told, one of which writes at one node and two listen
/// at another; returns the one that writes.
pub(crate) async fn all_are_told(here: &impl Listens, there: &impl Listens) -> Raw {
    let (mut writer, _) = Raw::join(here, "a", '1', r#","ordered":true"#).await;
    writer.send(r#"{"t":"op","seq":1,"base":0,"op":["ab"]}"#).await;
    assert_eq!(writer.hear("ordered").await["rev"], 1);
    assert_eq!(writer.hear("ack").await, json!({"t":"ack","seq":1,"rev":1}));
    let (mut other, _) = Raw::join(there, "a", '2', "").await;
    let (mut viewer, welcome) = Raw::join(there, "a", '3', r#","mode":"view""#).await;
    assert_eq!((&welcome["mode"], &welcome["text"]), (&json!("view"), &json!("ab")));
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
    writer
}

#[tokio::test]
async fn revisions_reach_the_others_and_viewers_get_them_composed() {
    let node = node(|_| {}).await;
    all_are_told(&node, &node).await;
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
async fn carets_and_pings_over_their_rates_are_dropped_and_counted() {
    const MANY: u64 = 1_000;
    let node = node(|config| config.edge.cursors_per_second = 1).await;
    let dropped = async |what: &str| {
        metric(&node, &format!("quire_edge_dropped_total{{what=\"{what}\"}}")).await
    };
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    for _ in 0..MANY {
        raw.send(r#"{"t":"cursor","rev":0,"sel":[0,0]}"#).await;
    }
    // Once it is acknowledged, what was sent before has been looked at.
    raw.send(r#"{"t":"op","seq":1,"base":0,"op":["x"]}"#).await;
    raw.hear("ack").await;
    let carets = dropped("caret").await;
    assert!(carets > 0 && carets < MANY, "{carets}");
    assert_eq!(dropped("ping").await, 0);
    for n in 0..MANY {
        raw.send(&json!({"t": "ping", "n": n}).to_string()).await;
    }
    raw.send(r#"{"t":"op","seq":2,"base":1,"op":["x",1]}"#).await;
    let mut answered = 0;
    loop {
        match raw.next().await["t"].as_str() {
            Some("pong") => answered += 1,
            Some("ack") => break,
            other => assert_eq!(other, Some("presence")),
        }
    }
    assert!(answered > 0 && answered < MANY, "{answered}");
    assert_eq!(dropped("ping").await, MANY - answered);
    assert_eq!(dropped("caret").await, carets);
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
    assert_eq!(metric(&node, "quire_edge_rate_limited_total").await, 1);
    tokio::time::sleep(Duration::from_millis(wait)).await;
    raw.send(r#"{"t":"op","seq":3,"base":2,"op":["x"]}"#).await;
    assert_eq!(raw.hear("ack").await["rev"], 3);
}

#[tokio::test]
async fn a_session_that_sends_too_much_waits_and_no_other_does() {
    // Whoever is on this machine and not known is no user: only the session's rate is in the way.
    let node = node(|config| {
        config.edge.bytes_per_second = ByteSize::kib(64);
        config.edge.frame_bytes_max = ByteSize::mib(4);
        config.edge.op_bytes_max = ByteSize::mib(4);
    })
    .await;
    let op = |seq: u64, text: &str| json!({"t":"op","seq":seq,"base":0,"op":[text]}).to_string();
    let (mut first, _) = Raw::join(&node, "a", '1', "").await;
    // The rate is used up for more than half a minute.
    first.send(&op(1, &"x".repeat(3 << 20))).await;
    first.hear("ack").await;
    assert_eq!(metric(&node, "quire_edge_held_total").await, 0);
    first.send(&op(2, "late")).await;
    reaches(&node, "quire_edge_held_total", 1).await;
    let (mut second, _) = Raw::join(&node, "a", '2', "").await;
    for seq in 1..=3 {
        second.send(&op(seq, "y")).await;
        assert_eq!(second.hear("ack").await["rev"], seq + 1, "the first one's waits still");
    }
    assert_eq!(metric(&node, "quire_edge_held_total").await, 1);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn many_subscribers_are_told_once_a_tick_and_miss_nothing() {
    let node = node(|config| {
        config.document.tick_subscribers = 1;
        config.document.tick = Duration::from_millis(50);
        config.document.viewer_tick = Duration::from_millis(50);
    })
    .await;
    let (mut one, _) = Raw::join(&node, "a", '1', "").await;
    one.send(r#"{"t":"op","seq":1,"base":0,"op":["-"]}"#).await;
    one.hear("ack").await;
    let (mut other, _) = Raw::join(&node, "a", '2', "").await;
    let (mut viewer, _) = Raw::join(&node, "a", '3', r#","mode":"view""#).await;
    let (mut listener, _) = Raw::join(&node, "a", '4', "").await;
    // Both are sent at once, so that they wait for one tick.
    for (writer, seq) in [(&mut one, 2), (&mut other, 1)] {
        let op = json!({"t":"op","seq":seq,"base":1,"op":["x"]});
        writer.send(&op.to_string()).await;
    }
    let told = listener.hear("ops").await;
    assert_eq!(told["rev"], 2);
    let list = told["list"].as_array().expect("a list");
    assert_eq!(list.len(), 2, "{told}");
    assert_ne!(list[0]["a"], list[1]["a"]);
    let merged = viewer.hear("merged").await;
    assert_eq!((&merged["rev"], &merged["op"]), (&json!(3), &json!(["xx"])));
    // Each writer gets its own as an acknowledgement at its place between the other's.
    for writer in [&mut one, &mut other] {
        let mut revs = Vec::new();
        while revs.len() < 2 {
            let message = writer.next().await;
            if message["t"] == "op" || message["t"] == "ack" {
                revs.push(message["rev"].clone());
            }
        }
        assert_eq!(revs, [2, 3]);
    }
    // A newcomer stands where all the others do.
    one.send(r#"{"t":"op","seq":3,"base":3,"op":["y"]}"#).await;
    one.hear("ack").await;
    let (_, welcome) = Raw::join(&node, "a", '5', "").await;
    assert_eq!((&welcome["text"], &welcome["rev"]), (&json!("yxx-"), &json!(4)));
    assert_eq!(listener.hear("op").await["rev"], 4);
}

#[tokio::test]
async fn a_batch_before_the_acknowledgement_of_the_last_is_refused() {
    let node = node(|_| {}).await;
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    let op = |seq: u64| json!({"t":"op","seq":seq,"base":0,"op":["x"]}).to_string();
    raw.send_both(&op(1), &op(2)).await;
    let (refused, code) = raw.end().await;
    assert_eq!((&refused["code"], &refused["fatal"]), (&json!("pipelined"), &json!(true)));
    assert_eq!(code, 4400);
    let (_, welcome) = Raw::join(&node, "a", '1', "").await;
    assert_eq!(
        (&welcome["text"], &welcome["seq"]),
        (&json!("x"), &json!(1)),
        "the first one is in"
    );
}

#[tokio::test]
async fn a_page_of_another_origin_is_refused() {
    let node = node(|_| {}).await;
    let (own, foreign) = (format!("http://{}", node.address), "http://elsewhere.example");
    assert!(Raw::upgrade_from(&node, &own).await.is_ok());
    assert_eq!(Raw::upgrade_from(&node, foreign).await.err(), Some(403));
    let url = format!("{own}/v1/docs/a");
    let http = reqwest::Client::new();
    for (origin, status) in [(own.as_str(), 201), (foreign, 403)] {
        let put =
            http.put(&url).header("origin", origin).json(&json!({"text": "x", "author": "ann"}));
        assert_eq!(put.send().await.expect("it answers").status().as_u16(), status, "{origin}");
    }
}

#[tokio::test]
async fn a_text_that_no_record_holds_is_refused_and_the_document_lives_on() {
    let node = node(|config| config.document.doc_chars_max = 100_000_000).await;
    let url = format!("http://{}/v1/docs/a", node.address);
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    let put = |text: String| {
        let body = json!({"text": text, "author": "ann"});
        reqwest::Client::new().put(&url).json(&body).send()
    };
    let refused = put("€".repeat(6_000_000)).await.expect("it answers");
    assert_eq!(refused.status().as_u16(), 413);
    let problem: Value = refused.json().await.expect("a problem");
    assert!(problem["detail"].as_str().is_some_and(|it| it.contains("in pieces")), "{problem}");
    // Nor is a document begun that it would be the text of.
    let (other, body) = (url.replace("/a", "/b"), json!({"text": "€".repeat(6_000_000)}));
    let refused = reqwest::Client::new().post(&other).json(&body).send().await;
    assert_eq!(refused.expect("it answers").status().as_u16(), 413);
    assert_eq!(reqwest::get(&other).await.expect("it answers").status().as_u16(), 404);
    // In pieces it goes.
    for pieces in [1, 2] {
        let taken = put("€".repeat(pieces * 3_000_000)).await.expect("it answers");
        assert!(taken.status().is_success());
    }
    assert_eq!(raw.hear("op").await["rev"], 1, "the connection is the one from before");
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
    stopped.expect("all is saved");
    assert_eq!((ended.0["code"].as_str(), ended.1), (Some("unavailable"), 4503));
    assert!(ended.0["retry_ms"].as_u64().is_some_and(|millis| millis > 0));
}

#[tokio::test]
async fn whoever_is_sent_away_is_counted_under_the_reason_that_was_told() {
    let node = node(|_| {}).await;
    let op = |seq: u64, base: u64| json!({"t":"op","seq":seq,"base":base,"op":["x"]}).to_string();
    let bad_op = r#"{"t":"op","seq":1,"base":0,"op":[9,"x"]}"#.to_owned();
    // Most of them share their close code with others.
    let cases = [
        ("bad-frame", 4400, "[]".to_owned(), None),
        ("bad-op", 4400, bad_op, None),
        ("bad-base", 4400, op(1, 9), None),
        ("pipelined", 4400, op(1, 0), Some(op(2, 0))),
        ("gap", 4409, op(5, 0), None),
    ];
    for (times, (name, code, said, more)) in (1..).zip(&cases) {
        // Each as often as its place says, so that no two of them are counted alike.
        for n in 0..times {
            let doc = format!("{name}-{n}");
            let (mut raw, _) = Raw::join(&node, &doc, '1', "").await;
            match more {
                Some(more) => raw.send_both(said, more).await,
                None => raw.send(said).await,
            }
            let (error, closed, reason) = raw.close().await;
            let told = (error["code"].as_str(), closed, reason.as_str());
            assert_eq!(told, (Some(*name), *code, *name), "{error}");
        }
    }
    let (mut raw, _) = Raw::join(&node, "apart", '1', "").await;
    let handle = node.router().open(&id("apart")).await.expect("it is open");
    let kind = EventKind::Quarantined { reason: "for a test".to_owned() };
    let apart = Write::Event { author: Author::anonymous(), kind };
    handle.write(SessionId([7; 16]), Asker::anything(), apart).await.expect("it is taken");
    let (error, code, reason) = raw.close().await;
    assert_eq!((error["retry_ms"].as_u64(), code), (Some(30_000), 4503), "{error}");
    assert_eq!(reason, "unavailable");
    let times = (1..).zip(cases.iter().map(|(name, ..)| *name));
    for (times, name) in times.chain([(1, "unavailable"), (0, "moved")]) {
        let row = format!(r#"quire_edge_closes_total{{reason="{name}"}}"#);
        assert_eq!(metric(&node, &row).await, times, "{name}");
    }
}
