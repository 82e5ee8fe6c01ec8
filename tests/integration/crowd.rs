//! The port in a crowd: who holds connections open, makes many, says nothing, or takes nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use futures_util::future::join_all;
use quire::config::Config;
use quire::edge::ProxyHeader;
use quire::node::Node;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::https::hsts;
use crate::inner::PATIENCE;
use crate::plain::{
    metrics, refusals, refused, refused_row, rest, row, say, say_with_little_room, statuses, until,
    until_or_reset,
};
use crate::raw::{Raw, hello, node};
use crate::server::{Server, free_port};

const ASK: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

const UPGRADE: &str = "GET /ws/a HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";

/// A node in front of which this machine's proxies tell who their clients are.
async fn behind(change: impl FnOnce(&mut Config)) -> Node {
    node(|config| {
        config.edge.trusted_proxies = "127.0.0.0/8, 10.0.0.0/8".parse().expect("networks");
        change(config);
    })
    .await
}

/// Connects as a proxy does for a client.
async fn through(node: &Node, client: &str) -> TcpStream {
    let header = format!("PROXY TCP4 {client} 127.0.0.1 1 2\r\n{ASK}");
    say(node.address, header.as_bytes()).await
}

/// Returns how often something was refused, as the proxy itself asks for it.
async fn counted(node: &Node, reason: &str) -> u64 {
    let ask = "PROXY UNKNOWN\r\nGET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
    let text = rest(&mut say(node.address, ask.as_bytes()).await).await;
    row(&text, &refused_row(reason)).expect("it is there")
}

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let short = Duration::from_millis(200);
    let node = node(|config| config.edge.header_timeout = short).await;
    for part in ["", "G", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX: "] {
        let mut stream = say(node.address, part.as_bytes()).await;
        assert_eq!(rest(&mut stream).await, "");
    }
    refusals(&node, "slow-head", 3).await;
    // Nor does it help to say a letter now and then, nor to have asked something before.
    let mut stream = say(node.address, ASK.as_bytes()).await;
    until(&mut stream, "ok\n").await;
    stream.write_all(b"GET /livez HTTP/1.1\r\nX: ").await.expect("it is open");
    let (mut reading, mut writing) = stream.into_split();
    let trickle = async {
        let mut now_and_then = interval(short / 20);
        while writing.write_all(b"x").await.is_ok() {
            now_and_then.tick().await;
        }
    };
    let ended = async { tokio::join!(rest(&mut reading), trickle) };
    timeout(PATIENCE, ended).await.expect("it ends");
    refusals(&node, "slow-head", 4).await;
}

#[tokio::test]
async fn a_head_has_so_many_bytes_and_fields() {
    const BYTES: usize = 8 << 10;
    let node = node(|config| config.edge.head_bytes_max = ByteSize::b(BYTES as u64)).await;
    let ask = |more: &str| {
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{more}\r\n")
    };
    let long = |bytes: usize| {
        let pad = "x".repeat(bytes - ask("X: \r\n").len());
        ask(&format!("X: {pad}\r\n"))
    };
    // With those that it has already.
    let fields = |count: usize| ask(&"X: x\r\n".repeat(count - 2));
    let (mut count, most) = (0, BYTES);
    for (head, status) in [
        (long(most), 200),
        (fields(100), 200),
        (long(most + 1), 431),
        (long(8 * most), 431),
        (fields(101), 431),
    ] {
        // At once, and in two pieces.
        for first in [head.len(), head.len() - 1, 100] {
            let mut stream = TcpStream::connect(node.address).await.expect("it listens");
            stream.set_nodelay(true).expect("it is open");
            let (first, second) = head.as_bytes().split_at(first);
            stream.write_all(first).await.expect("it is open");
            // It may be refused already.
            let _ = stream.write_all(second).await;
            assert_eq!(statuses(&rest(&mut stream).await), [status], "{} bytes", head.len());
            count += u64::from(status == 431);
            assert_eq!(refused(&node, "long-head").await, count, "{} bytes", head.len());
        }
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let node = node(|config| config.edge.body_timeout = Duration::from_millis(200)).await;
    let head = "PUT /v1/docs/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nslow";
    let mut stream = say(node.address, head.as_bytes()).await;
    assert_eq!(statuses(&rest(&mut stream).await), [408]);
    refusals(&node, "slow-body", 1).await;
    // Nor is a body waited for that nobody reads.
    let head = "PUT /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nslow";
    let mut stream = say(node.address, head.as_bytes()).await;
    assert_eq!(statuses(&rest(&mut stream).await), [404]);
}

#[tokio::test]
async fn a_connection_that_asks_nothing_more_ends() {
    let node = node(|config| config.edge.idle_timeout = Duration::from_millis(200)).await;
    let mut stream = say(node.address, ASK.as_bytes()).await;
    assert_eq!(statuses(&rest(&mut stream).await), [200]);
    // A socket is no idle connection.
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    let mut stream = say(node.address, ASK.as_bytes()).await;
    rest(&mut stream).await;
    raw.send(r#"{"t":"ping","n":1}"#).await;
    raw.hear("pong").await;
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_cut_off() {
    let node = node(|config| config.edge.idle_timeout = Duration::from_secs(2)).await;
    let client = reqwest::Client::new();
    let url = format!("http://{}/v1/docs/a", node.address);
    let put = client
        .put(&url)
        .json(&serde_json::json!({"text": "x".repeat(9_000_000)}))
        .send()
        .await
        .expect("it answers");
    assert!(put.status().is_success(), "{put:?}");
    let ask = b"GET /v1/docs/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut stream = say_with_little_room(node.address, ask).await;
    refusals(&node, "slow-reader", 1).await;
    let taken = rest(&mut stream).await.len();
    assert!(taken < 9_000_000, "{taken} came all the same");
}

/// Returns the code of a problem that the port tells by itself.
fn problem(answer: &str) -> String {
    assert!(answer.contains("\r\ncontent-type: application/problem+json\r\n"), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{answer}");
    let told: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!(told["status"].as_u64(), statuses(answer).first().map(|one| u64::from(*one)));
    assert!(!told["detail"].as_str().unwrap_or_default().is_empty(), "{answer}");
    told["code"].as_str().expect("a word").to_owned()
}

#[tokio::test]
async fn a_proxy_says_first_who_its_client_is() {
    let node = behind(|config| {
        config.edge.proxy_protocol = true;
        config.edge.connections_per_address = 1;
        config.edge.handshake_timeout = Duration::from_millis(500);
    })
    .await;
    let mut first = through(&node, "192.0.2.1").await;
    until(&mut first, "ok\n").await;
    let mut second = through(&node, "192.0.2.1").await;
    let answer = rest(&mut second).await;
    assert_eq!(statuses(&answer), [429], "{answer}");
    assert!(answer.contains("retry-after: 10\r\n") && answer.contains("close some"), "{answer}");
    assert_eq!(problem(&answer), "rate", "{answer}");
    until(&mut through(&node, "192.0.2.2").await, "ok\n").await;
    assert_eq!((counted(&node, "address").await, counted(&node, "rate").await), (1, 0));
    // Version 2, from the first one's address and from another.
    let mut header =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x01\x7f\0\0\x01\0\x01\0\x02".to_vec();
    header.extend(ASK.as_bytes());
    assert_eq!(statuses(&rest(&mut say(node.address, &header).await).await), [429]);
    header[19] = 9;
    until(&mut say(node.address, &header).await, "ok\n").await;
    // The proxy itself is not counted: it asks how the node is.
    for _ in 0..3 {
        let own = format!("PROXY UNKNOWN\r\n{ASK}");
        until(&mut say(node.address, own.as_bytes()).await, "ok\n").await;
    }
    drop(first);
    let again = async {
        while statuses(&until(&mut through(&node, "192.0.2.1").await, "\r\n").await) == [429] {}
    };
    timeout(PATIENCE, again).await.expect("who has gone makes room");
}

#[tokio::test]
async fn what_is_not_the_proxy_protocol_is_refused() {
    let short = Duration::from_millis(200);
    let node = behind(|config| {
        config.edge.proxy_protocol = true;
        config.edge.handshake_timeout = short;
    })
    .await;
    let mut count = 0;
    for bad in [
        ASK.to_owned(),
        format!("PROXY TCP4 192.0.2.1 127.0.0.1 1\r\n{ASK}"),
        format!("PROXY TCP4 192.0.2.1.example 127.0.0.1 1 2\r\n{ASK}"),
        format!("PROXY UNKNOWN {}\r\n{ASK}", "x".repeat(100)),
        format!("\r\n\r\n\0\r\nQUIT\n\x21\x11\x7f\x7f{ASK}"),
        format!("\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0{ASK}"),
        format!("\x16\x03\x01{ASK}"),
    ] {
        let mut stream = say(node.address, bad.as_bytes()).await;
        assert_eq!(rest(&mut stream).await, "", "{bad:?}");
        count += 1;
    }
    assert_eq!(counted(&node, "proxy").await, count);
    for slow in ["", "PROXY TCP4 192.0.2.1", "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"] {
        let mut stream = say(node.address, slow.as_bytes()).await;
        assert_eq!(rest(&mut stream).await, "", "{slow:?}");
    }
    assert_eq!(counted(&node, "slow-handshake").await, 3);
}

#[tokio::test]
async fn who_is_no_trusted_proxy_speaks_for_nobody() {
    let node = node(|config| {
        config.edge.trusted_proxies = "10.0.0.0/8".parse().expect("networks");
        config.edge.proxy_protocol = true;
    })
    .await;
    for first in ["PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n", ""] {
        let mut stream = say(node.address, format!("{first}{ASK}").as_bytes()).await;
        assert_eq!(rest(&mut stream).await, "");
    }
    // Where no proxy begins like that, it is no request either.
    let node = behind(|_| {}).await;
    assert_eq!(statuses(&rest(&mut through(&node, "192.0.2.1").await).await), [400]);
}

#[tokio::test]
async fn a_trusted_proxy_alone_tells_that_a_client_came_over_tls() {
    let (forwarded, x) = (ProxyHeader::Forwarded, ProxyHeader::XForwarded);
    let always = "max-age=31536000";
    for (header, trusted, said, expected) in [
        (forwarded, "127.0.0.0/8", "Forwarded: for=192.0.2.1;proto=https", &[always][..]),
        (forwarded, "127.0.0.0/8", "Forwarded: for=192.0.2.1;proto=http", &[]),
        (forwarded, "127.0.0.0/8", "Forwarded: for=192.0.2.1", &[]),
        (forwarded, "127.0.0.0/8", "X: y", &[]),
        // What the client has made up stands to the left of what the proxy says.
        (forwarded, "127.0.0.0/8", "Forwarded: for=9.9.9.9;proto=https, for=192.0.2.1", &[]),
        (forwarded, "10.0.0.0/8", "Forwarded: for=192.0.2.1;proto=https", &[]),
        (forwarded, "127.0.0.0/8", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https", &[]),
        (x, "127.0.0.0/8", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https", &[always]),
        (x, "127.0.0.0/8", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http", &[]),
        (x, "10.0.0.0/8", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https", &[]),
        (ProxyHeader::None, "127.0.0.0/8", "Forwarded: for=192.0.2.1;proto=https", &[]),
    ] {
        let node = node(|config| {
            config.edge.trusted_proxies = trusted.parse().expect("networks");
            config.edge.proxy_header = header;
        })
        .await;
        // Of one with two hosts no route is asked.
        for (path, more) in [("/livez", ""), ("/", ""), ("/nowhere", ""), ("/", "Host: evil\r\n")] {
            let said = format!("{more}{said}\r\nConnection: close\r\n\r\n");
            let ask = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{said}");
            let answer = rest(&mut say(node.address, ask.as_bytes()).await).await;
            assert_eq!(hsts(&answer), expected, "{path} {said} behind {trusted}");
        }
    }
}

/// Upgrades behind a proxy, of whose header the client has made up the beginning.
async fn socket(node: &Node, client: &str) -> Raw {
    let value = format!("for=198.51.100.1;proto=https, for={client}");
    let headers = [("forwarded", value.as_str()), ("sec-websocket-protocol", "quire.v1")];
    Raw::upgrade_with(node, "/ws/a", &headers).await.expect("it is taken")
}

#[tokio::test]
async fn sockets_behind_a_proxy_are_counted_under_their_clients() {
    let node = behind(|config| {
        config.edge.proxy_header = ProxyHeader::Forwarded;
        config.edge.connections_per_address = 1;
    })
    .await;
    let mut first = socket(&node, "192.0.2.1").await;
    first.send(&hello('1', "")).await;
    first.hear("welcome").await;
    let (error, code) = socket(&node, "192.0.2.1").await.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("rate"), 4529), "{error}");
    assert_eq!(error["retry_ms"], 10_000, "{error}");
    assert_eq!((refused(&node, "address").await, refused(&node, "rate").await), (1, 0));
    let mut other = socket(&node, "192.0.2.2").await;
    other.send(&hello('2', "")).await;
    other.hear("welcome").await;
    drop(first);
    let again = async {
        loop {
            let mut again = socket(&node, "192.0.2.1").await;
            again.send(&hello('3', "")).await;
            let heard = again.next().await;
            if heard["t"] == "welcome" {
                return;
            }
            assert_eq!(heard["code"], "rate", "{heard}");
        }
    };
    timeout(PATIENCE, again).await.expect("who has gone makes room");
}

#[tokio::test]
async fn an_address_that_comes_too_often_is_told_when_to_come_again() {
    let node = behind(|config| {
        config.edge.proxy_protocol = true;
        config.edge.handshakes_per_second = 1;
    })
    .await;
    let come = async |client: &str| {
        let header = format!(
            "PROXY TCP4 {client} 127.0.0.1 1 2\r\nGET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n"
        );
        rest(&mut say(node.address, header.as_bytes()).await).await
    };
    let found = join_all((0..8).map(|_| come("192.0.2.1"))).await;
    let taken = found.iter().filter(|text| text.starts_with("HTTP/1.0 200")).count();
    let late: Vec<_> = found.iter().filter(|text| statuses(text) == [429]).collect();
    // The burst, those that wait for their turn, and what the time has brought meanwhile.
    assert!((2..8).contains(&taken) && taken + late.len() == 8, "{found:?}");
    assert!(late[0].contains("retry-after: ") && late[0].contains("fewer"), "{late:?}");
    assert!(come("192.0.2.2").await.contains("200"), "others may come");
    assert_eq!(counted(&node, "rate").await, late.len() as u64);
}

#[tokio::test]
async fn a_node_that_is_full_says_so_and_has_room_again() {
    let node = node(|config| config.edge.connections_max = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = say(node.address, ASK.as_bytes()).await;
        until(&mut stream, "ok\n").await;
        held.push(stream);
    }
    let mut stream = TcpStream::connect(node.address).await.expect("it listens");
    let answer = rest(&mut stream).await;
    assert_eq!((statuses(&answer), problem(&answer)), (vec![503], "unavailable".to_owned()));
    assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
    drop(held);
    let again = async {
        loop {
            let mut stream = TcpStream::connect(node.address).await.expect("it listens");
            let _ = stream.write_all(b"GET /livez HTTP/1.0\r\nHost: localhost\r\n\r\n").await;
            if rest(&mut stream).await.contains(" 200 ") {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("there is room again");
    assert!(refused(&node, "full").await >= 1);
}

/// So many waves of handshakes in a row must leave nothing behind.
const WAVES: usize = 5;

/// Makes sockets that say nothing, and waits until they are sent away; returns how many came again
/// because they were reset before anything came.
async fn wave(address: SocketAddr, count: usize) -> usize {
    let resets = AtomicUsize::new(0);
    let one = async || loop {
        let mut stream = say(address, UPGRADE.as_bytes()).await;
        if let Some(told) = until_or_reset(&mut stream, "hello-timeout").await {
            return assert_eq!(statuses(&told), [101], "{told}");
        }
        resets.fetch_add(1, Ordering::Relaxed);
    };
    let all = join_all((0..count).map(|_| one()));
    timeout(4 * PATIENCE, all).await.expect("they are sent away");
    resets.into_inner()
}

/// `QUIRE_HANDSHAKES` says how many come at once.
#[tokio::test]
async fn handshakes_without_a_hello_leave_nothing_behind() {
    let count = std::env::var("QUIRE_HANDSHAKES").map_or(500, |count| count.parse().unwrap());
    let data = tempfile::tempdir().expect("a folder");
    // One heap, so that what is free is used again before another part of it grows.
    let server = Server::start_under(
        &[("MALLOC_ARENA_MAX", "1")],
        data.path(),
        free_port(),
        &["edge.hello-timeout=1s"],
    );
    // What is free is in pieces at first; with time there are enough of every size.
    let mut after = vec![server.memory()];
    let mut resets = 0;
    let grown = loop {
        resets += wave(server.address(), count).await;
        after.push(server.memory());
        let before = after[after.len().saturating_sub(WAVES + 1)];
        let grown = after[after.len() - 1].saturating_sub(before);
        // A connection takes some KiB while it is there.
        if after.len() > WAVES && grown < (WAVES * count / 4) as u64 {
            break grown;
        }
        assert!(after.len() < 8 * WAVES, "it grows with each wave: {after:?} KiB");
    };
    println!("{} waves of {count}: {after:?} KiB, at last {grown} more", after.len() - 1);
    let made = (after.len() - 1) * count;
    let over = async {
        loop {
            let text = metrics(&server).await;
            if text.contains("quire_edge_sessions 0\n") {
                return text;
            }
        }
    };
    let text = timeout(PATIENCE, over).await.expect("no session is left");
    let all = format!("quire_edge_closes_total{{reason=\"hello-timeout\"}} {made}\n");
    assert!(text.contains(&all), "{text}");
    // It was seen once, of one of some hundred thousand; by whom is not known.
    assert!(resets <= 1, "{resets} were reset");
    server.stop();
}
