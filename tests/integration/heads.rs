//! Heads of HTTP/2 that are badly made, or that would hide something from whoever makes HTTP/1.1
//! of them: the stream or the connection is refused, and others are served.

use axum::http::StatusCode;
use rustls::version::TLS13;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::https::{NAME, PREFACE, Site, frame, get, site};
use crate::inner::PATIENCE;

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "https");
const PATH: (&str, &str) = (":path", "/livez");
const AUTHORITY: (&str, &str) = (":authority", NAME);

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// The first digit of its status.
    Answer(u8),
    /// The stream was refused, or the connection ended.
    Refused,
}

/// Spells a head with every field in full (RFC 7541, 6.2.2): nothing of it is looked up anywhere.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes
                .push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("short"));
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// Returns the first digit of the status that a head of an answer begins with (RFC 7541, 5 and A).
fn digit(block: &[u8]) -> u8 {
    match block {
        [0x88..=0x8a, ..] => 2,
        [0x8b, ..] => 3,
        [0x8c | 0x8d, ..] => 4,
        [0x8e, ..] => 5,
        // Huffman's code of a digit from 3 on has six bits.
        [0x48 | 0x08 | 0x18, length, first, ..] if length & 0x80 != 0 => match first >> 2 {
            six @ 0b01_1001..=0b01_1011 => six - 0b01_1001 + 3,
            _ => 2,
        },
        [0x48 | 0x08 | 0x18, _, first, ..] => first - b'0',
        _ => panic!("no status: {block:?}"),
    }
}

/// Asks with a head, and with more frames behind it.
async fn ask(site: &Site, fields: &[(&str, &str)], flags: u8, more: &[u8]) -> Came {
    let mut stream = site.dial(&["h2"], &[&TLS13]).await.expect("they agree");
    let head = frame(1, flags, 1, &block(fields));
    let said = [PREFACE, &frame(4, 0, 0, &[]), &head, more].concat();
    stream.write_all(&said).await.expect("it is open");
    let hearing = async {
        let mut head = [0; 9];
        while stream.read_exact(&mut head).await.is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).expect("it fits")];
            if stream.read_exact(&mut payload).await.is_err() {
                break;
            }
            match head[3] {
                1 => return Came::Answer(digit(&payload)),
                3 | 7 => return Came::Refused,
                _ => {}
            }
        }
        Came::Refused
    };
    timeout(PATIENCE, hearing).await.expect("something comes of it")
}

/// With these behind what every request has.
const AFTER: &[(&str, &str)] = &[
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", "identity"),
    ("transfer-encoding", ""),
    ("connection", "keep-alive"),
    ("connection", "transfer-encoding"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("upgrade", "h2c"),
    ("upgrade", "websocket"),
    ("te", "gzip"),
    ("content-length", "x"),
    ("content-length", "-1"),
    ("content-length", "5"),
    ("x", "a\r\nset-cookie: x=1"),
    ("x", "a\rb"),
    ("x", "a\nb"),
    ("x", "a\0b"),
    ("x", "a\u{1}b"),
    ("x", "a\u{7f}b"),
    ("x\r\nhost", "evil"),
    ("x: y\r\nz", "a"),
    ("x y", "a"),
    ("x:", "a"),
    ("x\0", "a"),
    ("", "a"),
    ("Host", "localhost"),
    ("host", "127.0.0.1"),
    ("host", "localhost/livez"),
    ("X-Upper", "a"),
    (":method", "POST"),
    (":method", "GET"),
    (":path", "/readyz"),
    (":path", "/livez"),
    (":scheme", "http"),
    (":authority", "evil.example"),
    (":authority", "localhost"),
    (":protocol", "websocket"),
    (":status", "200"),
    (":evil", "1"),
    (":", "1"),
];

#[tokio::test]
async fn heads_over_http2_that_hide_something_are_refused() {
    let site = site(|_| {}).await;
    let good = [METHOD, SCHEME, PATH, AUTHORITY];
    assert_eq!(ask(&site, &good, 5, &[]).await, Came::Answer(2), "it is asked as it should be");
    let with = |at: usize, field: (&'static str, &'static str)| {
        let mut fields = good.to_vec();
        fields[at] = field;
        fields
    };
    let without = |at: usize| [&good[..at], &good[at + 1..]].concat();
    let mut heads: Vec<_> = AFTER.iter().map(|field| [&good[..], &[*field]].concat()).collect();
    heads.extend((0..3).map(without));
    heads.push([&[("x", "a")], &good[..]].concat());
    heads.push([&good[..2], &[("x", "a")], &good[2..]].concat());
    heads.push([&good[..], &[("content-length", "0"), ("content-length", "1")]].concat());
    heads.push([&good[..], &[("host", "localhost"), ("host", "evil.example")]].concat());
    heads.extend(
        [
            (2, (":path", "")),
            (2, (":path", "livez")),
            (2, (":path", "/livez HTTP/1.1\r\nhost: evil")),
            (2, (":path", "/livez x")),
            (2, (":path", "/livez\0")),
            (0, (":method", "GET /livez HTTP/1.1\r\nx:")),
            (0, (":method", "G T")),
            (0, (":method", "")),
            (1, (":scheme", "https\r\n")),
            (3, (":authority", "localhost\r\nx: y")),
            (3, (":authority", "a b")),
            (3, (":authority", "u:p@localhost")),
        ]
        .map(|(at, field)| with(at, field)),
    );
    assert_eq!(heads.len(), 59);
    let mut wrong = Vec::new();
    for fields in &heads {
        match ask(&site, fields, 5, &[]).await {
            Came::Refused | Came::Answer(4) => {}
            Came::Answer(digit) => wrong.push((digit, fields.clone())),
        }
        let mut send = site.http2().await;
        let answer = send.send_request(get("/livez")).await.expect("others are served");
        assert_eq!(answer.status(), StatusCode::OK, "{fields:?}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn bodies_over_http2_that_are_not_as_long_as_they_say_are_refused() {
    let site = site(|_| {}).await;
    let put = [(":method", "PUT"), SCHEME, (":path", "/v1/docs/a"), AUTHORITY];
    let kind = ("content-type", "text/plain");
    for (length, bodies) in [("5", &["four"][..]), ("3", &["four"][..]), ("0", &["x"][..])] {
        let fields = [&put[..], &[kind, ("content-length", length)]].concat();
        let body: Vec<u8> =
            bodies.iter().flat_map(|body| frame(0, 1, 1, body.as_bytes())).collect();
        let came = ask(&site, &fields, 4, &body).await;
        assert!(matches!(came, Came::Refused | Came::Answer(4)), "{length}: {came:?}");
        let mut send = site.http2().await;
        let answer = send.send_request(get("/v1/docs/a")).await.expect("others are served");
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "nothing was written");
    }
    let fields = [&put[..], &[kind, ("content-length", "4")]].concat();
    assert_eq!(ask(&site, &fields, 4, &frame(0, 1, 1, b"four")).await, Came::Answer(2));
}
