//! Requests that hide another one: whatever a server in front takes them for, here they are one
//! request at most.

use quire::node::Node;
use tokio::io::AsyncWriteExt;

use crate::plain::{refused, rest, say, statuses, until};
use crate::raw::node;

/// The request that is hidden: it would be answered with 200.
const HIDDEN: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

async fn answers(node: &Node, bytes: &str) -> Vec<u16> {
    let mut stream = say(node.address, bytes.as_bytes()).await;
    // What waits for more of a body, or for another request, sees that there is none.
    stream.shutdown().await.expect("it is open");
    statuses(&rest(&mut stream).await)
}

#[tokio::test]
async fn two_requests_at_once_are_two() {
    let node = node(|_| {}).await;
    let put = "PUT /v1/docs/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
               Content-Length: 12\r\n\r\n{\"text\":\"\"}\n";
    let chunked =
        "PUT /v1/docs/b HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(answers(&node, &format!("{HIDDEN}\r\n{HIDDEN}")).await, [200, 200]);
    let put = answers(&node, &format!("{put}{HIDDEN}")).await;
    assert!(matches!(put[..], [200..=299, 200]), "{put:?}");
    // The end of chunks is found, and still nobody else's request comes after them.
    let chunked = answers(&node, &format!("{chunked}{HIDDEN}")).await;
    assert!(matches!(chunked[..], [200..=499]), "{chunked:?}");
    let upgrade =
        "GET /livez HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(answers(&node, &format!("{upgrade}{HIDDEN}")).await, [200]);
    assert_eq!(refused(&node, "head").await, 0);
}

#[tokio::test]
async fn what_could_hide_a_request_is_refused() {
    let node = node(|_| {}).await;
    let length = HIDDEN.len();
    let mut count = 0;
    for head in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        "Content-Length: 0\r\nContent-Length: 0".to_owned(),
        format!("Content-Length: 0, {length}"),
        format!("Content-Length: +{length}"),
        "Content-Length: 0\r\n Content-Length: 9".to_owned(),
        "Content-Length : 0".to_owned(),
        "Content-Length\t: 0".to_owned(),
        "Transfer-Encoding: xchunked".to_owned(),
        "Transfer-Encoding: chunked, identity".to_owned(),
        "Transfer-Encoding: identity, chunked".to_owned(),
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".to_owned(),
        "Transfer-Encoding : chunked".to_owned(),
        "Transfer-Encoding: \u{b}chunked".to_owned(),
        "Transfer-Encoding\r\n: chunked".to_owned(),
        "X: a\nContent-Length: 0".to_owned(),
        "X: a\rContent-Length: 0".to_owned(),
        "X: a\0b".to_owned(),
        "X: a\u{1}b".to_owned(),
        "X y: a".to_owned(),
        ": a".to_owned(),
        "no colon".to_owned(),
        " Content-Length: 0".to_owned(),
        "Host: b".to_owned(),
    ] {
        for method in ["GET", "POST"] {
            let request =
                format!("{method} /livez HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n{HIDDEN}");
            assert_eq!(answers(&node, &request).await, [400], "{head:?}");
        }
        count += 2;
    }
    for request in [
        format!("GET /livez HTTP/1.1\nHost: localhost\n\n{HIDDEN}"),
        format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n\n{HIDDEN}"),
        format!("GET /livez HTTP/1.1\r\n\r\n{HIDDEN}"),
        format!("GET http://b/livez HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}"),
        format!("GET http://u:p@localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}"),
        format!("CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n{HIDDEN}"),
        format!("GET /livez HTTP/1.1 \r\nHost: localhost\r\n\r\n{HIDDEN}"),
        format!("GET /livez  HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}"),
        format!("GET /livez\u{1}x HTTP/1.1\r\nHost: localhost\r\n\r\n{HIDDEN}"),
        format!("GET /livez HTTP/3.7\r\nHost: localhost\r\n\r\n{HIDDEN}"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    ] {
        let found = answers(&node, &request).await;
        let is_one = found.first().is_none_or(|status| (400..506).contains(status));
        let is_closed = found.len() < 2 || found[1..] == [200];
        assert!(is_one && is_closed, "{request:?}: {found:?}");
        count += 1;
    }
    assert_eq!(count, 61);
    let absolute = "GET http://localhost/livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    assert_eq!(answers(&node, absolute).await, [200]);
    assert_eq!(answers(&node, HIDDEN).await, [200], "others are served");
}

#[tokio::test]
async fn chunks_that_two_servers_read_in_two_ways_end_the_connection() {
    let node = node(|_| {}).await;
    for chunks in [
        "5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5;\nx\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "0\r\nContent-Length: 5\r\n\r\nhello",
    ] {
        let head =
            "PUT /v1/docs/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        let found = answers(&node, &format!("{head}{chunks}{HIDDEN}")).await;
        assert!(
            found.len() <= 1 && found.iter().all(|status| *status < 500),
            "{chunks:?}: {found:?}"
        );
    }
}

/// Sends a body in chunks that would be applied to a document that nobody has written, and another
/// request behind it. Returns the answers, and the status of the document afterwards.
async fn sent(node: &Node, (method, doc): (&str, &str), chunks: &str) -> (Vec<u16>, Vec<u16>) {
    let path = if method == "POST" { format!("{doc}/ops") } else { doc.to_owned() };
    let head = format!(
        "{method} /v1/docs/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    );
    let found = answers(node, &format!("{head}{chunks}{HIDDEN}")).await;
    (found, is_there(node, doc).await)
}

async fn is_there(node: &Node, doc: &str) -> Vec<u16> {
    let last = "Host: localhost\r\nConnection: close\r\n\r\n";
    let get = format!("GET /v1/docs/{doc} HTTP/1.1\r\n{last}");
    // Who ends its side while it waits for an answer has gone.
    statuses(&rest(&mut say(node.address, get.as_bytes()).await).await)
}

#[tokio::test]
async fn a_body_in_chunks_is_applied_where_they_are_good_and_else_nothing_is() {
    let node = node(|_| {}).await;
    let puts = r#"{"text":"hello"}"#;
    let applies = r#"{"base":0,"op":["hello"]}"#;
    let mut count = 0;
    for (method, body) in [("PUT", puts), ("POST", applies)] {
        let (size, (one, two)) = (body.len(), body.split_at(7));
        let (first, second) = (one.len(), two.len());
        for chunks in [
            format!("{size:x}\r\n{body}\r\n0\r\n\r\n"),
            format!("{size:X};name=value\r\n{body}\r\n000\r\n\r\n"),
            format!("{first:x}\r\n{one}\r\n00{second:x}\r\n{two}\r\n0\r\n\r\n"),
        ] {
            count += 1;
            let doc = format!("good-{count}");
            let (found, there) = sent(&node, (method, &doc), &chunks).await;
            let is_taken = matches!(found[..], [200 | 201]);
            assert!(is_taken && there == [200], "{chunks:?}: {found:?}, {there:?}");
        }
        let (less, more) = (size - 1, size + 1);
        for chunks in [
            format!("g\r\n{body}\r\n0\r\n\r\n"),
            format!("0x{size:x}\r\n{body}\r\n0\r\n\r\n"),
            format!("+{size:x}\r\n{body}\r\n0\r\n\r\n"),
            format!("-{size:x}\r\n{body}\r\n0\r\n\r\n"),
            format!(" {size:x}\r\n{body}\r\n0\r\n\r\n"),
            format!("{size:x} {size:x}\r\n{body}\r\n0\r\n\r\n"),
            format!("{size:x}\0\r\n{body}\r\n0\r\n\r\n"),
            format!("\r\n{body}\r\n0\r\n\r\n"),
            format!("{less:x}\r\n{body}\r\n0\r\n\r\n"),
            format!("{more:x}\r\n{body}\r\n0\r\n\r\n"),
            format!("1{:016x}\r\n{body}\r\n0\r\n\r\n", size),
            format!("fffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
            format!("{size:x}\r\n{body}0\r\n\r\n"),
            format!("{size:x}\r\n{body}\n0\r\n\r\n"),
            format!("{size:x}\r\n{body}\r0\r\n\r\n"),
            format!("{size:x}\n{body}\r\n0\r\n\r\n"),
            format!("{size:x}\r{body}\r\n0\r\n\r\n"),
            format!("{size:x}{body}\r\n0\r\n\r\n"),
            format!("{size:x};\nx\r\n{body}\r\n0\r\n\r\n"),
            format!("{size:x};x=\r{body}\r\n0\r\n\r\n"),
            format!("{size:x};{}\r\n{body}\r\n0\r\n\r\n", "x".repeat(64 << 10)),
            format!("{size:x},x\r\n{body}\r\n0\r\n\r\n"),
            format!("{size:x}\r\n{body}\r\n"),
            format!("{size:x}\r\n{body}\r\n0"),
            format!("{size:x}\r\n{body}\r\n0\r\n"),
            format!("{size:x}\r\n{body}\r\n0\n\n"),
            format!("{first:x}\r\n{one}\r\n-{second:x}\r\n{two}\r\n0\r\n\r\n"),
        ] {
            count += 1;
            let doc = format!("bad-{count}");
            let (found, there) = sent(&node, (method, &doc), &chunks).await;
            assert!(matches!(found[..], [] | [400]), "{chunks:?}: {found:?}");
            assert_eq!(there, [404], "{chunks:?}");
        }
        // The body is whole, and what comes behind it is nobody's request.
        for end in ["\n", "no colon\r\n\r\n", "GET /livez HTTP/1.1\r\n\r\n"] {
            count += 1;
            let chunks = format!("{size:x}\r\n{body}\r\n0\r\n{end}");
            let doc = format!("end-{count}");
            let (found, there) = sent(&node, (method, &doc), &chunks).await;
            let is_one = matches!((&found[..], &there[..]), ([200 | 201], [200]) | ([400], [404]));
            assert!(is_one, "{chunks:?}: {found:?}, {there:?}");
        }
    }
    assert_eq!(count, 66);
    assert_eq!(answers(&node, HIDDEN).await, [200], "others are served");
}

#[tokio::test]
async fn what_a_client_says_stays_where_it_belongs() {
    let node = node(|_| {}).await;
    for path in [
        "/v1/docs/a%0d%0aSet-Cookie:%20x=1",
        "/d/a%0d%0aX-Evil:%201",
        "/ws/a%0d%0aX-Evil:%201",
        "/assets/a%0d%0aX-Evil:%201",
        "/?next=%0d%0aX-Evil:%201",
        "/v1/docs/..%2f..%2fetc",
        "/d/%2e%2e",
    ] {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let mut stream = say(node.address, request.as_bytes()).await;
        let answer = rest(&mut stream).await.to_lowercase();
        let head = answer.split("\r\n\r\n").next().unwrap_or_default();
        assert!(!head.contains("x-evil") && !head.contains("\r\nset-cookie: x"), "{path}: {head}");
        assert!(!head.starts_with("http/1.1 5"), "{path}: {head}");
    }
    // A head that is too long, or has too many lines.
    for more in [format!("X: {}\r\n", "x".repeat(64 << 10)), "X: x\r\n".repeat(200)] {
        let request = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{more}\r\n{HIDDEN}");
        assert_eq!(answers(&node, &request).await, [431]);
    }
    let mut stream = say(node.address, HIDDEN.as_bytes()).await;
    until(&mut stream, "ok\n").await;
}
