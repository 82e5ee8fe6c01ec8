//! Answers that nobody takes: they have a room together, and whoever takes nothing is cut.

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use bytesize::ByteSize;
use quire::node::Node;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::doors::{guarded, hour};
use crate::https::{PREFACE, Site, frame, get, next_frame, site};
use crate::inner::PATIENCE;
use crate::plain::{refused, say_with_little_room, until};
use crate::raw::{Raw, hello, node};

/// More than sockets hold, in characters.
const LONG: usize = 9_000_000;

/// What fits into the half of 4 MiB three times, in characters.
const MIDDLE: usize = 600_000;

async fn put(node: &Node, token: &str, chars: usize) {
    let url = format!("http://{}/v1/docs/a", node.address);
    let put = Client::new().put(&url).bearer_auth(token).json(&json!({"text": "x".repeat(chars)}));
    let answer = put.send().await.expect("it answers");
    assert!(answer.status().is_success(), "{answer:?}");
}

async fn ask(address: SocketAddr, token: &str) -> Response {
    let asked = Client::new().get(format!("http://{address}/v1/docs/a")).bearer_auth(token);
    asked.send().await.expect("it answers")
}

/// Asks for the document over HTTP/1.1, and reads no more than the head of its answer.
async fn unread(address: SocketAddr, more: &str) -> TcpStream {
    let ask = format!("GET /v1/docs/a HTTP/1.1\r\nHost: localhost\r\n{more}\r\n");
    let mut stream = say_with_little_room(address, ask.as_bytes()).await;
    until(&mut stream, "HTTP/1.1 200 OK").await;
    stream
}

/// Returns the code and the detail of an answer that is put off.
async fn put_off(answer: Response, status: u16) -> (String, String) {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers().get("retry-after").expect("a time"), "1");
    let problem: Value = answer.json().await.expect("JSON");
    let said = |name: &str| problem[name].as_str().expect("text").to_owned();
    (said("code"), said("detail"))
}

#[tokio::test]
async fn an_answer_that_finds_no_room_among_all_is_put_off() {
    let node = node(|config| config.edge.answers_bytes_max = ByteSize::mib(16)).await;
    put(&node, "", LONG).await;
    // It is longer than the room of those whom nobody knows, and takes all of it.
    let slow = unread(node.address, "").await;
    let (code, detail) = put_off(ask(node.address, "").await, 503).await;
    assert_eq!(code, "unavailable");
    assert!(detail.contains("too much is being read from this node"), "{detail}");
    let what = |path: &str| reqwest::get(format!("http://{}{path}", node.address));
    assert_eq!(what("/readyz").await.expect("it answers").status(), StatusCode::OK, "it is short");
    assert_eq!(what("/d/a").await.expect("it answers").status(), StatusCode::OK, "it is there");
    drop(slow);
    let again = async {
        loop {
            let answer = ask(node.address, "").await;
            if answer.status() == StatusCode::OK {
                return answer.text().await.expect("it comes").len();
            }
        }
    };
    let taken = timeout(PATIENCE, again).await.expect("there is room again");
    assert!(taken > LONG, "{taken} bytes of it came");
    assert!(refused(&node, "answers").await > 0);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn answers_to_one_user_leave_room_for_those_to_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |config| {
        config.edge.answers_bytes_max = ByteSize::mib(64);
        config.edge.user_bytes_per_second = ByteSize::b(0);
        config.edge.requests_per_second = 0;
    })
    .await;
    let token = |subject: &str| hour(subject, &[("a", "write")]);
    put(&node, &token("anna"), LONG).await;
    // It is longer than the part of one.
    let slow = unread(node.address, &format!("Authorization: Bearer {}\r\n", token("eve"))).await;
    let (code, detail) = put_off(ask(node.address, &token("eve")).await, 429).await;
    assert_eq!(code, "rate");
    assert!(detail.contains("take the answers that you have asked for"), "{detail}");
    assert_eq!((refused(&node, "user-answers").await, refused(&node, "answers").await), (1, 0));
    let taken = ask(node.address, &token("anna")).await.text().await.expect("it comes").len();
    assert!(taken > LONG, "{taken} bytes of it came");
    drop(slow);
    let again = async { while ask(node.address, &token("eve")).await.status() == 429 {} };
    timeout(PATIENCE, again).await.expect("it has gone");
    node.stop().await.expect("it stops");
}

/// Opens the document over a socket, and reads no more than that it is open.
async fn unread_socket(address: SocketAddr) -> TcpStream {
    let upgrade = "GET /ws/a HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: quire.v1\r\n\
        Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    let mut stream = say_with_little_room(address, upgrade.as_bytes()).await;
    until(&mut stream, "HTTP/1.1 101 ").await;
    let hello = hello('1', "");
    // Under a mask that changes nothing.
    let length = 0x80 | u8::try_from(hello.len()).expect("short");
    let said = [&[0x81, length, 0, 0, 0, 0], hello.as_bytes()].concat();
    stream.write_all(&said).await.expect("it is open");
    stream
}

#[tokio::test]
async fn a_text_on_its_way_to_a_socket_takes_room_as_answers_do() {
    let node = node(|config| config.edge.answers_bytes_max = ByteSize::mib(16)).await;
    put(&node, "", LONG).await;
    let slow = unread_socket(node.address).await;
    let taken =
        async { while ask(node.address, "").await.status() != StatusCode::SERVICE_UNAVAILABLE {} };
    timeout(PATIENCE, taken).await.expect("it takes its room");
    let (error, code) = Raw::say(&node, "a", &hello('2', "")).await.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("unavailable"), 4503), "{error}");
    assert_eq!(error["retry_ms"], 1_000, "{error}");
    assert!(error["msg"].to_string().contains("too much is being read"), "{error}");
    drop(slow);
    let again = async {
        loop {
            let next = Raw::say(&node, "a", &hello('3', "")).await.next().await;
            if next["t"] == "welcome" {
                return next["text"].as_str().expect("a text").len();
            }
            assert_eq!(next["code"], "unavailable", "{next}");
        }
    };
    assert_eq!(timeout(PATIENCE, again).await.expect("there is room again"), LONG);
    // A welcome that was read takes none.
    let (_reader, _) = Raw::join(&node, "a", '4', "").await;
    let asked = async { while ask(node.address, "").await.status() != StatusCode::OK {} };
    timeout(PATIENCE, asked).await.expect("its room is free");
    node.stop().await.expect("it stops");
}

/// Asks for the document over HTTP/2 so many times, with windows of no bytes, and goes on asking
/// until the connection ends.
async fn ask_and_take_nothing(site: &Site, times: u32) {
    let stream = site.dial(&["h2"], &[&rustls::version::TLS13]).await.expect("they agree");
    let (mut reading, mut writing) = tokio::io::split(stream);
    let no_window = [0, 4, 0, 0, 0, 0];
    let document = b"\x82\x87\x04\x0a/v1/docs/a\x01\x09localhost";
    let mut said = [PREFACE, &frame(4, 0, 0, &no_window)].concat();
    (0..times).for_each(|nth| said.extend(frame(1, 5, 2 * nth + 1, document)));
    writing.write_all(&said).await.expect("it is open");
    let asking = async {
        let mut now_and_then = interval(Duration::from_millis(500));
        let mut number = 2 * times + 1;
        let live = b"\x82\x87\x04\x06/livez\x01\x09localhost";
        while writing.write_all(&frame(1, 5, number, live)).await.is_ok() {
            number += 2;
            now_and_then.tick().await;
        }
    };
    let hearing = async { while next_frame(&mut reading).await.is_some() {} };
    tokio::select! {
        () = hearing => {}
        () = asking => {}
    }
}

#[tokio::test]
async fn who_takes_nothing_over_http2_is_cut_whatever_it_asks() {
    let site = site(|config| {
        config.edge.answers_bytes_max = ByteSize::mib(4);
        config.edge.idle_timeout = Duration::from_secs(3);
    })
    .await;
    let mut client = site.http2().await;
    let mut write = get("/v1/docs/a");
    *write.method_mut() = axum::http::Method::PUT;
    write.headers_mut().insert("content-type", "text/plain".parse().expect("a value"));
    *write.body_mut() = "x".repeat(MIDDLE).into();
    let answer = client.send_request(write).await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::CREATED);
    let mut ask = async || {
        let answer = client.send_request(get("/v1/docs/a")).await.expect("it answers");
        let status = answer.status();
        let body = axum::body::to_bytes(axum::body::Body::new(answer.into_body()), 1 << 20).await;
        (status, body.expect("it comes").len())
    };
    let holding = async {
        timeout(PATIENCE, ask_and_take_nothing(&site, 10)).await.expect("it is cut");
    };
    let others = async {
        while ask().await.0 != StatusCode::SERVICE_UNAVAILABLE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while ask().await.0 == StatusCode::SERVICE_UNAVAILABLE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::join!(holding, timeout(2 * PATIENCE, others)).1.expect("there is room again");
    assert_eq!(site.refused("slow-reader").await, 1);
    let (status, length) = ask().await;
    assert!(status == StatusCode::OK && length > MIDDLE, "{status}, {length} bytes");
}
