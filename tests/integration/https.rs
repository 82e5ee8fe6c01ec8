//! The clients' port over TLS: certificates that are renewed, HTTP/2 and its floods.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, Version};
use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quire::config::Config;
use quire::node::Node;
use quire::task::Tasks;
use rcgen::date_time_ymd;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::certificates::{Authority, Folder, Shown};
use crate::inner::PATIENCE;
use crate::plain::{refused_row, rest, row, say, statuses, until};
use crate::raw::{hello, node};

pub(crate) const NAME: &str = "localhost";

const ASK: &str = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A node over TLS, and who has signed its certificate.
pub(crate) struct Site {
    pub(crate) node: Node,
    ca: Authority,
    folder: Folder,
}

pub(crate) async fn site(change: impl FnOnce(&mut Config)) -> Site {
    let ca = Authority::new("clients");
    let folder = Folder::new(&ca.issue(&[NAME]), &ca.pem);
    let node = node(|config| {
        config.edge.tls_certificate_file = folder.path("node.pem");
        config.edge.tls_key_file = folder.path("node.key");
        change(config);
    })
    .await;
    Site { node, ca, folder }
}

/// Connects to whoever shows a certificate of this authority; the error is what TLS has against it.
pub(crate) async fn dial(
    ca: &Authority,
    address: SocketAddr,
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.expect("it listens");
    agree(ca, stream, protocols, versions).await
}

/// Agrees on TLS over a connection.
async fn agree(
    ca: &Authority,
    stream: TcpStream,
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.pem.as_bytes()).expect("a certificate");
    roots.add(ca).expect("a certificate");
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(ring)
        .with_protocol_versions(versions)
        .expect("there are some")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from(NAME).expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

impl Site {
    /// Connects; the error is what TLS has against it.
    pub(crate) async fn dial(
        &self,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        dial(&self.ca, self.node.address, protocols, versions).await
    }

    async fn plain_http(&self) -> TlsStream<TcpStream> {
        self.dial(&["http/1.1"], &[&TLS13]).await.expect("they agree")
    }

    pub(crate) async fn http2(&self) -> SendRequest<Body> {
        let stream = self.dial(&["h2"], &[&TLS13]).await.expect("they agree");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (send, connection) =
            handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it is HTTP/2");
        // It ends with its connection.
        Tasks::new().spawn("client", connection);
        send
    }

    /// Returns the serial number's certificate that is shown now.
    async fn shown(&self) -> Vec<u8> {
        let stream = self.plain_http().await;
        let shown = stream.get_ref().1.peer_certificates().expect("TLS shows one");
        shown[0].to_vec()
    }

    fn write(&self, shown: &Shown) {
        self.folder.write("node.pem", &shown.certificate);
        self.folder.write("node.key", &shown.key);
    }

    async fn metric(&self, name: &str) -> u64 {
        let mut stream = self.plain_http().await;
        let ask = "GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n";
        stream.write_all(ask.as_bytes()).await.expect("it is open");
        let text = rest(&mut stream).await;
        row(&text, name).unwrap_or_else(|| panic!("{name}"))
    }

    pub(crate) async fn refused(&self, reason: &str) -> u64 {
        self.metric(&refused_row(reason)).await
    }
}

pub(crate) fn der(shown: &Shown) -> Vec<u8> {
    CertificateDer::from_pem_slice(shown.certificate.as_bytes()).expect("a certificate").to_vec()
}

pub(crate) fn get(path: &str) -> Request<Body> {
    let uri = format!("https://{NAME}{path}");
    Request::builder().uri(uri).body(Body::empty()).expect("a request")
}

async fn text(answer: Response<Incoming>) -> String {
    let body = axum::body::to_bytes(Body::new(answer.into_body()), 1 << 20).await;
    String::from_utf8(body.expect("it comes").to_vec()).expect("text")
}

#[tokio::test]
async fn clients_of_both_versions_speak_what_they_ask_for() {
    let site = site(|_| {}).await;
    for version in [&TLS13, &TLS12] {
        for (protocols, agreed) in [
            (&[][..], None),
            (&["http/1.1"][..], Some(&b"http/1.1"[..])),
            (&["http/1.1", "h2"][..], Some(&b"h2"[..])),
        ] {
            let mut stream = site.dial(protocols, &[version]).await.expect("they agree");
            assert_eq!(stream.get_ref().1.alpn_protocol(), agreed, "{version:?}");
            if agreed != Some(b"h2") {
                stream.write_all(ASK.as_bytes()).await.expect("it is open");
                until(&mut stream, "ok\n").await;
            }
        }
    }
    assert!(site.dial(&["spdy/3"], &[&TLS13]).await.is_err(), "nothing in common");
    assert_eq!(site.refused("tls").await, 1);
    let mut send = site.http2().await;
    let answer = send.send_request(get("/livez")).await.expect("it answers");
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    assert_eq!(text(answer).await, "ok\n");
}

#[tokio::test]
async fn who_comes_over_tls_is_to_come_so_again() {
    let site = site(|_| {}).await;
    for version in [&TLS13, &TLS12] {
        for path in ["/livez", "/", "/d/a", "/v1/docs/never", "/nowhere", "/ws/a"] {
            let mut stream = site.dial(&["http/1.1"], &[version]).await.expect("they agree");
            let said = "Host: localhost\r\nConnection: close\r\n\r\n";
            let ask = format!("GET {path} HTTP/1.1\r\n{said}");
            stream.write_all(ask.as_bytes()).await.expect("it is open");
            assert_eq!(hsts(&rest(&mut stream).await), ["max-age=31536000"], "{path}");
        }
        // No route is asked: there are two hosts, a name and a password, or no host.
        for (target, host) in
            [("/livez", "localhost\r\nHost: evil"), ("/livez", "u:p@localhost"), ("*", "a b")]
        {
            let mut stream = site.dial(&["http/1.1"], &[version]).await.expect("they agree");
            let ask = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            stream.write_all(ask.as_bytes()).await.expect("it is open");
            let answer = rest(&mut stream).await;
            assert_eq!(statuses(&answer), [400], "{host}: {answer}");
            assert_eq!(hsts(&answer), ["max-age=31536000"], "{host}");
        }
    }
}

/// Returns what an answer says of how long to come over TLS alone.
pub(crate) fn hsts(answer: &str) -> Vec<String> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
    assert!(head.starts_with("http/1.1 "), "{head}");
    let said = head.lines().filter_map(|line| line.strip_prefix("strict-transport-security:"));
    said.map(|value| value.trim().to_owned()).collect()
}

#[tokio::test]
async fn a_page_that_came_without_tls_is_one_of_another_origin() {
    let site = site(|_| {}).await;
    for (origin, status) in [("https://localhost", 200), ("http://localhost", 403)] {
        let mut stream = site.plain_http().await;
        let said = format!("Host: localhost\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n");
        let ask = format!("GET /livez HTTP/1.1\r\n{said}");
        stream.write_all(ask.as_bytes()).await.expect("it is open");
        assert_eq!(statuses(&rest(&mut stream).await), [status], "{origin}");
        let mut asked = get("/livez");
        asked.headers_mut().insert("origin", origin.parse().expect("a value"));
        let answer = site.http2().await.send_request(asked).await.expect("it answers");
        assert_eq!(answer.status(), status, "{origin}");
    }
}

#[tokio::test]
async fn who_does_not_speak_tls_is_not_served() {
    let short = Duration::from_millis(300);
    let site = site(|config| config.edge.handshake_timeout = short).await;
    let mut plain = say(site.node.address, ASK.as_bytes()).await;
    assert_eq!(statuses(&rest(&mut plain).await), [0; 0]);
    for part in [&b""[..], &b"\x16\x03\x01\x02\x00\x01"[..]] {
        let mut silent = say(site.node.address, part).await;
        assert_eq!(rest(&mut silent).await, "");
    }
    assert_eq!(site.refused("tls").await, 1);
    assert_eq!(site.refused("slow-handshake").await, 2);
}

#[tokio::test]
async fn a_new_certificate_is_used_without_a_restart_and_a_bad_one_is_not() {
    let site = site(|_| {}).await;
    let mut open = site.plain_http().await;
    let first = site.shown().await;
    let good = |year: i32| {
        site.ca.issue_with(&[NAME], |params| params.not_after = date_time_ymd(year, 1, 1))
    };
    let next = good(2050);
    site.write(&next);
    site.node.reload().await;
    assert_eq!(site.shown().await, der(&next));
    assert_eq!(site.metric("quire_edge_tls_expires_seconds").await, 2_524_608_000);
    let other = good(2051);
    for (certificate, key) in [
        (&*good(2020).certificate, &*next.key),
        (&*other.certificate, &*next.key),
        ("", &*next.key),
        (&*other.certificate, "nothing"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &*other.key),
    ] {
        site.folder.write("node.pem", certificate);
        site.folder.write("node.key", key);
        site.node.reload().await;
        assert_eq!(site.shown().await, der(&next), "{certificate}");
    }
    assert_eq!(site.metric("quire_edge_tls_expires_seconds").await, 2_524_608_000);
    // Nobody has to say that there is a new one.
    site.write(&other);
    let renewed = async {
        while site.shown().await != der(&other) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, renewed).await.expect("it is read again");
    assert_eq!(site.metric("quire_edge_tls_expires_seconds").await, 2_556_144_000);
    assert_ne!(first, der(&other));
    // What was open goes on with what it began with.
    open.write_all(ASK.as_bytes()).await.expect("it is open");
    until(&mut open, "ok\n").await;
}

#[tokio::test]
async fn a_node_does_not_start_with_a_certificate_that_nobody_takes() {
    let ca = Authority::new("clients");
    let past = ca.issue_with(&[NAME], |params| params.not_after = date_time_ymd(2020, 1, 1));
    let other = Shown { certificate: ca.issue(&[NAME]).certificate, key: past.key.clone() };
    for (shown, why) in [(past, "it has expired"), (other, "edge.tls-key-file is not the key")] {
        let folder = Folder::new(&shown, &ca.pem);
        let edge = quire::edge::Config {
            tls_certificate_file: folder.path("node.pem"),
            tls_key_file: folder.path("node.key"),
            ..quire::edge::Config::default()
        };
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            log: quire::config::Engine::Memory,
            checkpoints: quire::config::Engine::Memory,
            edge,
            ..Config::default()
        };
        let started = Node::start(&config, quire::clock::Clock::wall()).await;
        let said = started.err().expect("it does not start").to_string();
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn people_type_over_tls() {
    let site = site(|_| {}).await;
    let stream = site.plain_http().await;
    let request = format!("wss://{NAME}/ws/a").into_client_request().expect("a request");
    let (mut socket, _) = client_async(request, stream).await.expect("it is taken");
    socket.send(Message::text(hello('1', ""))).await.expect("it is open");
    let welcome = timeout(PATIENCE, socket.next()).await.expect("it comes");
    let welcome = welcome.expect("it is open").expect("it can be read");
    assert!(welcome.to_text().expect("text").contains("\"welcome\""), "{welcome}");
}

#[tokio::test]
async fn requests_over_http2_are_bounded_and_no_sockets() {
    let site = site(|config| config.edge.streams_max = 3).await;
    let mut send = site.http2().await;
    // Who has heard how many it may have waits for its turn.
    let answer = send.send_request(get("/livez")).await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::OK);
    let all: Vec<_> = (0..50).map(|_| send.send_request(get("/livez"))).collect();
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.expect("it answers").status(), StatusCode::OK);
    }
    assert_eq!(settings(&site).await.get(&3), Some(&3), "it is told how many it may have");
    // WebSockets are for HTTP/1.1.
    assert_eq!(settings(&site).await.get(&8), None);
    let answer = send.send_request(get("/ws/a")).await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED);
    let connect = Request::connect(format!("{NAME}:443")).body(Body::empty());
    let answer = send.send_request(connect.expect("a request")).await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    // Two hosts, and a head that is too long.
    let mut two = get("/livez");
    two.headers_mut().insert("host", "other.example".parse().expect("a value"));
    let answer = send.send_request(two).await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let mut long = get("/livez");
    long.headers_mut().insert("x", "x".repeat(64 << 10).parse().expect("a value"));
    let answer = send.send_request(long).await;
    let refused = answer.map_or(true, |answer| answer.status().as_u16() == 431);
    assert!(refused, "it is not served");
}

/// Whoever opens more streams at once than they were told is refused those, and nothing else.
#[tokio::test]
async fn a_stream_too_many_is_refused_and_the_others_go_on() {
    let site = site(|config| config.edge.streams_max = 3).await;
    let mut stream = site.dial(&["h2"], &[&TLS13]).await.expect("they agree");
    // PUT https /v1/docs/a, as text; and GET https /livez.
    let mut put = vec![0x02, 3];
    put.extend(b"PUT\x87\x04\x0a/v1/docs/a\x01\x09localhost");
    put.extend(b"\x0f\x10\x0atext/plain");
    let get = b"\x82\x87\x04\x06/livez\x01\x09localhost";
    let mut said = [PREFACE, &frame(4, 0, 0, &[])].concat();
    // Bodies that do not end, then one stream more.
    [1, 3, 5].iter().for_each(|number| said.extend(frame(1, 4, *number, &put)));
    said.extend(frame(1, 5, 7, get));
    stream.write_all(&said).await.expect("it is open");
    const REFUSED_STREAM: [u8; 4] = [0, 0, 0, 7];
    assert_eq!(heard(&mut stream, 7).await, (3, REFUSED_STREAM.to_vec()));
    // One of them ends: there is room.
    stream.write_all(&frame(0, 1, 3, b"tides")).await.expect("it is open");
    assert_eq!(heard(&mut stream, 3).await.0, 1, "it is answered");
    stream.write_all(&frame(1, 5, 9, get)).await.expect("it is open");
    assert_eq!(heard(&mut stream, 9).await.0, 1, "it is answered");
}

/// Waits for the next frame of a stream, and returns its kind and what it holds.
async fn heard(stream: &mut TlsStream<TcpStream>, number: u32) -> (u8, Vec<u8>) {
    let hearing = async {
        loop {
            let (kind, of, payload) = next_frame(stream).await.expect("it goes on");
            if of == number {
                return (kind, payload);
            }
        }
    };
    timeout(PATIENCE, hearing).await.expect("it comes")
}

/// A proxy that speaks no TLS itself says who its client is before the handshake.
#[tokio::test]
async fn what_a_proxy_says_comes_before_tls_and_nowhere_else() {
    let site = site(|config| {
        config.edge.trusted_proxies = "127.0.0.0/8".parse().expect("networks");
        config.edge.proxy_protocol = true;
        config.edge.connections_per_address = 1;
    })
    .await;
    let through = async |first: &str| {
        let stream = say(site.node.address, first.as_bytes()).await;
        agree(&site.ca, stream, &["http/1.1"], &[&TLS13]).await
    };
    let client = |number: u8| format!("PROXY TCP4 192.0.2.{number} 127.0.0.1 1 2\r\n");
    let mut first = through(&client(1)).await.expect("they agree");
    first.write_all(ASK.as_bytes()).await.expect("it is open");
    until(&mut first, "ok\n").await;
    // It is the client who is counted.
    assert!(through(&client(1)).await.is_err(), "one has as many as it may have");
    let mut other = through(&client(2)).await.expect("they agree");
    other.write_all(ASK.as_bytes()).await.expect("it is open");
    until(&mut other, "ok\n").await;
    assert!(through("").await.is_err(), "TLS alone is not what a proxy says");
    let mut inside = through(&client(3)).await.expect("they agree");
    inside.write_all(format!("{}{ASK}", client(4)).as_bytes()).await.expect("it is open");
    assert_eq!(statuses(&rest(&mut inside).await), [400], "there it is no request");
}

/// Waits until a connection has ended.
async fn closed(send: &SendRequest<Body>) {
    let ended = async {
        while !send.is_closed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("it ends");
}

/// Returns a frame of HTTP/2.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Reads a frame of HTTP/2, and returns its kind, its stream, and what it holds.
pub(crate) async fn next_frame(from: &mut (impl AsyncRead + Unpin)) -> Option<(u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    from.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; usize::try_from(length).expect("it fits")];
    from.read_exact(&mut payload).await.ok()?;
    Some((head[3], u32::from_be_bytes(head[5..].try_into().expect("four")), payload))
}

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Returns what the server says first of itself.
async fn settings(site: &Site) -> BTreeMap<u16, u32> {
    let mut stream = site.dial(&["h2"], &[&TLS13]).await.expect("they agree");
    let begin = [PREFACE, &frame(4, 0, 0, &[])].concat();
    stream.write_all(&begin).await.expect("it is open");
    let (kind, _, payload) = next_frame(&mut stream).await.expect("it comes");
    assert_eq!(kind, 4, "settings come first");
    let setting = |bytes: &[u8]| {
        let (id, value) = bytes.split_at(2);
        let id = u16::from_be_bytes(id.try_into().expect("two"));
        (id, u32::from_be_bytes(value.try_into().expect("four")))
    };
    payload.chunks_exact(6).map(setting).collect()
}

/// Says something over HTTP/2, and returns why the connection ends (GOAWAY), if it is told.
async fn ends(site: &Site, mut said: impl FnMut(u32) -> Vec<u8>) -> Option<u32> {
    let stream = site.dial(&["h2"], &[&TLS13]).await.expect("they agree");
    let (mut reading, mut writing) = tokio::io::split(stream);
    let saying = async {
        let begin = [PREFACE, &frame(4, 0, 0, &[])].concat();
        let _ = writing.write_all(&begin).await;
        let mut stream = 1;
        while writing.write_all(&said(stream)).await.is_ok() && stream < 1 << 20 {
            stream += 2;
        }
    };
    let hearing = async {
        loop {
            let (kind, _, payload) = next_frame(&mut reading).await?;
            if kind == 7 {
                return payload[4..8].try_into().ok().map(u32::from_be_bytes);
            }
        }
    };
    let both = async {
        tokio::select! {
            reason = hearing => reason,
            () = async { saying.await; std::future::pending().await } => None,
        }
    };
    timeout(2 * PATIENCE, both).await.expect("it ends")
}

#[tokio::test]
async fn floods_over_http2_end_the_connection() {
    let site = site(|_| {}).await;
    // GET https /livez, with a name that every request has anew.
    let mut head = vec![0x82, 0x87, 0x04, 6];
    head.extend(b"/livez");
    head.extend([0x01, 1, b'a']);
    let calm = 11;
    let resets = ends(&site, |stream| {
        [frame(1, 5, stream, &head), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    });
    assert_eq!(resets.await, Some(calm), "requests that are taken back at once");
    let unfinished = ends(&site, |stream| {
        let (kind, number) = if stream == 1 { (1, 1) } else { (9, 1) };
        let block: &[u8] = if kind == 1 { &head } else { &[0x0f; 0] };
        frame(kind, 0, number, &[block, &[0; 0]].concat())
    });
    assert!(unfinished.await.is_some_and(|reason| reason != 0), "a head without an end");
    let wrong = ends(&site, |stream| frame(8, 0, stream, &[0, 0, 0, 0]));
    assert!(wrong.await.is_some_and(|reason| reason != 0), "windows of streams that are not");
    let mut send = site.http2().await;
    let answer = send.send_request(get("/livez")).await.expect("others are served");
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn connections_over_http2_begin_in_time_and_end_when_they_are_idle() {
    let short = Duration::from_millis(300);
    let site = site(|config| {
        config.edge.header_timeout = short;
        config.edge.idle_timeout = 4 * short;
    })
    .await;
    for part in [&b""[..], &PREFACE[..20]] {
        let mut stream = site.dial(&["h2"], &[&TLS13]).await.expect("they agree");
        stream.write_all(part).await.expect("it is open");
        rest(&mut stream).await;
    }
    assert_eq!(site.refused("slow-head").await, 2);
    let mut send = site.http2().await;
    let answer = send.send_request(get("/livez")).await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::OK);
    closed(&send).await;
    assert_eq!(site.refused("slow-reader").await, 0);
}

#[tokio::test]
async fn a_node_stops_with_connections_over_http2_open() {
    let site = site(|_| {}).await;
    let mut send = site.http2().await;
    let answer = send.send_request(get("/livez")).await.expect("it answers");
    assert_eq!(text(answer).await, "ok\n");
    timeout(PATIENCE, site.node.stop()).await.expect("it stops").expect("in order");
    closed(&send).await;
}
