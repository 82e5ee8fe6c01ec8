//! What one user may take: sockets, requests and bytes, and nothing before they say who they are.

use bytesize::ByteSize;
use futures_util::future::join_all;
use quire::config::Config;
use quire::edge::ProxyHeader;
use quire::node::Node;
use quire::task::cores;
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::doors::{Browser, bearer, greet, guarded, hour, knock};
use crate::inner::PATIENCE;
use crate::plain::{metric, refusals, refused, say, until};
use crate::raw::{Raw, hello, node};

async fn limited(change: impl FnOnce(&mut Config)) -> (tempfile::TempDir, Node) {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), change).await;
    (folder, node)
}

async fn socket(node: &Node, token: &str, digit: char) -> Raw {
    socket_to(node, "a", token, digit).await
}

async fn socket_to(node: &Node, doc: &str, token: &str, digit: char) -> Raw {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("sec-websocket-protocol", "quire.v1")];
    greet(node, &format!("/ws/{doc}"), digit, &headers).await
}

#[tokio::test]
async fn a_user_has_so_many_sockets_whatever_their_tokens() {
    let (_folder, node) = limited(|config| config.edge.sockets_per_user = 2).await;
    let token = || hour("anna", &[("a", "write")]);
    let mut first = socket(&node, &token(), '1').await;
    let mut second = socket(&node, &token(), '2').await;
    first.hear("welcome").await;
    second.hear("welcome").await;
    let (error, code) = socket(&node, &token(), '3').await.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("rate"), 4529), "{error}");
    assert!(error["msg"].as_str().expect("text").contains("close some"), "{error}");
    assert_eq!(refused(&node, "user").await, 1);
    socket(&node, &hour("eve", &[("a", "write")]), '4').await.hear("welcome").await;
    drop(first);
    // Until the node has noticed that it is gone.
    loop {
        let heard = socket(&node, &token(), '5').await.next().await;
        if heard["t"] == "welcome" {
            break;
        }
        assert_eq!(heard["code"], "rate", "{heard}");
    }
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_user_has_so_many_documents_open_over_all_sockets() {
    let (_folder, node) = limited(|config| config.edge.documents_per_user = 2).await;
    let token = || hour("anna", &[("*", "write")]);
    let open = async |doc: &str, digit| socket_to(&node, doc, &token(), digit).await;
    let mut first = open("a", '1').await;
    let mut again = open("a", '2').await;
    let mut second = open("b", '3').await;
    for raw in [&mut first, &mut again, &mut second] {
        raw.hear("welcome").await;
    }
    let (error, code) = open("c", '4').await.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("rate"), 4529), "{error}");
    assert!(
        error["retry_ms"].is_u64() && error["msg"].to_string().contains("documents"),
        "{error}"
    );
    assert_eq!(refused(&node, "documents").await, 1);
    socket_to(&node, "c", &hour("eve", &[("*", "write")]), '5').await.hear("welcome").await;
    drop((first, again));
    // Until the node has noticed that both are gone.
    loop {
        let heard = open("c", '6').await.next().await;
        if heard["t"] == "welcome" {
            break;
        }
        assert_eq!(heard["code"], "rate", "{heard}");
    }
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_user_asks_at_a_rate_and_is_told_when_to_ask_again() {
    let (_folder, node) = limited(|config| config.edge.requests_per_second = 1).await;
    let url = format!("http://{}/v1/docs/a", node.address);
    let client = Client::new();
    let ask = async |subject: &str| {
        let token = hour(subject, &[("a", "write")]);
        let answer = client.get(&url).bearer_auth(token).send().await.expect("it answers");
        (answer.status(), answer.headers().contains_key("retry-after"))
    };
    let found = join_all((0..8).map(|_| ask("anna"))).await;
    let late = |answer: &&(StatusCode, bool)| **answer == (StatusCode::TOO_MANY_REQUESTS, true);
    let many = found.iter().filter(late).count();
    // The burst, and what the time has brought meanwhile.
    assert!((1..=6).contains(&many), "{found:?}");
    assert_eq!(refused(&node, "user").await, many as u64);
    assert_eq!(ask("eve").await.0, StatusCode::NOT_FOUND, "others may ask");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn who_sends_too_much_waits_and_loses_nothing() {
    let (_folder, node) = limited(|config| {
        config.edge.user_bytes_per_second = ByteSize::kib(256);
    })
    .await;
    let token = hour("anna", &[("a", "write")]);
    let mut raw = socket(&node, &token, '1').await;
    raw.hear("welcome").await;
    let long = "x".repeat(150 << 10);
    for n in 1..=6 {
        // The bucket has 512 KiB: the last ones wait.
        raw.send(&json!({"t": "op", "seq": n, "base": n - 1, "op": [long]}).to_string()).await;
        assert_eq!(raw.hear("ack").await["rev"], n);
    }
    assert!(metric(&node, "quire_edge_held_total").await > 0);
    let other = hour("eve", &[("a", "read")]);
    let mut other = socket(&node, &other, '2').await;
    let text = other.hear("welcome").await["text"].as_str().expect("a text").len();
    assert_eq!(text, 6 * long.len());
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_body_over_http_waits_as_frames_do() {
    let (_folder, node) = limited(|config| {
        config.edge.user_bytes_per_second = ByteSize::kib(256);
    })
    .await;
    let token = hour("anna", &[("a", "write")]);
    // The bucket has 512 KiB.
    let long = "x".repeat(1_280 << 10);
    let url = format!("http://{}/v1/docs/a", node.address);
    let sent = Client::new().put(&url).bearer_auth(&token).body(long.clone());
    let sent = sent.header("content-type", "text/plain").send();
    assert_eq!(sent.await.expect("it answers").status(), StatusCode::CREATED);
    assert!(metric(&node, "quire_edge_held_total").await > 0, "nothing had to wait");
    let mut own = socket(&node, &token, '1').await;
    assert_eq!(own.hear("welcome").await["text"].as_str().map(str::len), Some(long.len()));
    node.stop().await.expect("it stops");
}

/// Has room for one body of one MiB.
fn one_body(config: &mut Config) {
    config.edge.body_bytes_max = ByteSize::mib(1);
    config.edge.bodies_bytes_max = ByteSize::mib(1);
}

/// Returns the head of a request that announces a body of one MiB, with these lines.
fn announced(who: &str) -> String {
    format!(
        "PUT /v1/docs/b HTTP/1.1\r\nhost: localhost\r\n{who}content-length: 1048576\r\n\
         expect: 100-continue\r\n\r\n"
    )
}

#[tokio::test]
async fn bodies_of_one_user_leave_room_for_those_of_others() {
    let (_folder, node) = limited(|config| {
        config.edge.body_bytes_max = ByteSize::mib(1);
        config.edge.bodies_bytes_max = ByteSize::mib(4);
        config.edge.requests_per_second = 0;
    })
    .await;
    let token = |subject: &str| hour(subject, &[("**", "write")]);
    let put = async |subject: &str| {
        let url = format!("http://{}/v1/docs/{subject}", node.address);
        let asked = Client::new().put(url).bearer_auth(token(subject)).json(&json!({"text": "x"}));
        asked.send().await.expect("it answers").status().as_u16()
    };
    // What is announced and does not come takes its room.
    let head = announced(&format!("authorization: Bearer {}\r\n", token("eve")));
    let mut slow = say(node.address, head.as_bytes()).await;
    until(&mut slow, "100 Continue").await;
    assert_eq!(put("eve").await, 429, "it is too much");
    until(&mut say(node.address, head.as_bytes()).await, "429 Too Many Requests").await;
    refusals(&node, "user-bodies", 2).await;
    assert_eq!(refused(&node, "user").await, 0);
    assert!([200, 201].contains(&put("anna").await), "there is room for others");
    drop(slow);
    timeout(PATIENCE, async { while put("eve").await == 429 {} }).await.expect("it has gone");
}

/// Returns a client's first message, of which so many bytes go over its socket.
fn hello_of(digit: char, bytes: usize) -> String {
    // What is around a message that is neither short nor very long.
    const AROUND: usize = 8;
    let empty = hello(digit, r#","pad":"""#);
    let pad = "x".repeat(bytes - AROUND - empty.len());
    empty.replace(r#""pad":"""#, &format!(r#""pad":"{pad}""#))
}

#[tokio::test]
async fn little_is_read_of_whom_nobody_knows() {
    const BYTES: usize = 2 << 10;
    let node = node(|config| config.edge.hello_bytes_max = ByteSize::b(BYTES as u64)).await;
    Raw::say(&node, "a", &hello_of('1', BYTES)).await.hear("welcome").await;
    assert_eq!(refused(&node, "hello").await, 0);
    let long = [hello_of('2', BYTES + 1), "x".repeat(64 << 10)];
    for (times, said) in (1..).zip(long) {
        let (error, code) = Raw::say(&node, "a", &said).await.end().await;
        assert_eq!((error["code"].as_str(), code), (Some("too-large"), 4413), "{error}");
        let why = error["msg"].as_str().expect("text");
        assert!(why.contains("within 2048 bytes") && why.contains("only after hello"), "{why}");
        assert_eq!(refused(&node, "hello").await, times);
    }
    // With a hello before it, as much is taken.
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    let long = "x".repeat(64 << 10);
    raw.send(&json!({"t": "op", "seq": 1, "base": 0, "op": [long]}).to_string()).await;
    raw.hear("ack").await;
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_body_that_finds_no_room_among_all_is_put_off() {
    let (_folder, node) = limited(one_body).await;
    let eve = hour("eve", &[("b", "write")]);
    let head = announced(&format!("authorization: Bearer {eve}\r\n"));
    let mut slow = say(node.address, head.as_bytes()).await;
    until(&mut slow, "100 Continue").await;
    let (url, token) = (format!("http://{}/v1/docs/a", node.address), hour("a", &[("a", "write")]));
    let put = async || {
        let asked = Client::new().put(&url).bearer_auth(&token).json(&json!({"text": "x"}));
        asked.send().await.expect("it answers")
    };
    let answer = put().await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "one body has all");
    assert_eq!(answer.headers().get("retry-after").expect("a time"), "1");
    let problem: Value = answer.json().await.expect("JSON");
    assert_eq!(problem["code"], "unavailable", "{problem}");
    assert!(problem["detail"].as_str().expect("text").contains("too much is being written"));
    assert_eq!(refused(&node, "bodies").await, 1);
    drop(slow);
    let again = async { while !put().await.status().is_success() {} };
    timeout(PATIENCE, again).await.expect("there is room again");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn whoever_shows_nothing_finds_out_before_room_for_a_body_is_looked_for() {
    let (_folder, node) = limited(one_body).await;
    let eve = format!("authorization: Bearer {}\r\n", hour("eve", &[("b", "write")]));
    let mut all = say(node.address, announced(&eve).as_bytes()).await;
    until(&mut all, "100 Continue").await;
    until(&mut say(node.address, announced("").as_bytes()).await, "401 Unauthorized").await;
    assert_eq!(refused(&node, "bodies").await, 0);
    drop(all);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn bodies_from_one_address_leave_room_for_those_from_others() {
    let node = node(|config| {
        behind_a_proxy(config);
        config.edge.body_bytes_max = ByteSize::mib(1);
        config.edge.bodies_bytes_max = ByteSize::mib(4);
    })
    .await;
    let announce = async |address: &str, wanted: &str| {
        let head = announced(&format!("x-forwarded-for: {address}\r\n"));
        let mut stream = say(node.address, head.as_bytes()).await;
        until(&mut stream, wanted).await;
        stream
    };
    let one = announce("198.51.100.1", "100 Continue").await;
    announce("198.51.100.1", "429 Too Many Requests").await;
    let other = announce("198.51.100.2", "100 Continue").await;
    refusals(&node, "user-bodies", 1).await;
    drop((one, other));
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn who_is_told_to_go_and_goes_on_is_cut_off() {
    let (_folder, node) = limited(|config| {
        config.edge.hello_bytes_max = ByteSize::kib(1);
        config.edge.frame_bytes_max = ByteSize::kib(256);
    })
    .await;
    let much = "x".repeat(2 << 10);
    // Of whoever is not let in as much is read as a hello may have.
    let mut raw = socket(&node, "a.b.c", '1').await;
    let (error, code) = raw.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("unauthenticated"), 4401), "{error}");
    timeout(PATIENCE, async { while raw.overhear().await {} }).await.expect("it ends");
    assert_eq!(refused(&node, "farewell").await, 0);
    let mut raw = socket(&node, "a.b.c", '1').await;
    raw.try_send(&much).await;
    let (error, code) = raw.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("unauthenticated"), 4401), "{error}");
    refusals(&node, "farewell", 1).await;
    // Whoever was welcomed may have a frame on its way.
    let mut raw = socket(&node, &hour("anna", &[("a", "write")]), '1').await;
    raw.hear("welcome").await;
    raw.send_both("nonsense", &"x".repeat(64 << 10)).await;
    let (error, code) = raw.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("bad-frame"), 4400), "{error}");
    timeout(PATIENCE, async { while raw.overhear().await {} }).await.expect("it ends");
    assert_eq!(refused(&node, "farewell").await, 1);
    let mut raw = socket(&node, &hour("anna", &[("a", "write")]), '2').await;
    raw.hear("welcome").await;
    raw.send_both("nonsense", &"x".repeat(200 << 10)).await;
    raw.try_send(&"x".repeat(200 << 10)).await;
    let (error, code) = raw.end().await;
    assert_eq!((error["code"].as_str(), code), (Some("bad-frame"), 4400), "{error}");
    refusals(&node, "farewell", 2).await;
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn what_comes_over_http_has_its_turn_too() {
    let (_folder, node) = limited(|_| {}).await;
    let url = format!("http://{}/v1/docs/a", node.address);
    let token = hour("anna", &[("a", "write")]);
    let client = Client::new();
    let ask = || client.get(&url).bearer_auth(&token).send();
    assert_eq!(ask().await.expect("it answers").status(), StatusCode::NOT_FOUND);
    assert_eq!(metric(&node, "quire_edge_queued_total").await, 0, "nobody else was there");
    let many = 100 * cores();
    for answer in join_all((0..many).map(|_| ask())).await {
        assert_eq!(answer.expect("it answers").status(), StatusCode::NOT_FOUND);
    }
    assert!(metric(&node, "quire_edge_queued_total").await > 0, "{many} came at once");
    node.stop().await.expect("it stops");
}

/// Takes who a client is from the header that a proxy on this machine sends.
fn behind_a_proxy(config: &mut Config) {
    config.edge.trusted_proxies = "127.0.0.1".parse().expect("an address");
    config.edge.proxy_header = ProxyHeader::XForwarded;
    config.edge.address_requests_per_second = 1;
}

/// Asks as a client at an address; tells the status, and the code of a problem.
async fn ask_from(node: &Node, address: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let url = format!("http://{}{path}", node.address);
    let mut asked = Client::new().get(url).header("x-forwarded-for", address);
    if let Some(token) = token {
        asked = asked.bearer_auth(token);
    }
    let answer = asked.send().await.expect("it answers");
    let status = answer.status();
    assert_eq!(answer.headers().contains_key("retry-after"), status == 429, "{path}");
    let problem: Value = answer.json().await.unwrap_or_default();
    (status.as_u16(), problem["code"].as_str().unwrap_or_default().to_owned())
}

/// Repeats it until it is refused for its rate.
async fn refused_in_the_end(mut ask: impl AsyncFnMut() -> (u16, String)) {
    for _ in 0..1_000 {
        match ask().await {
            (429, code) => return assert_eq!(code, "rate"),
            (200 | 401 | 404, _) => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("there is no rate");
}

#[tokio::test]
async fn an_address_asks_at_a_rate_for_whatever_nobody_has_to_be_known_for() {
    let (_folder, node) = limited(behind_a_proxy).await;
    let paths = [
        "/pub/a",
        "/",
        "/d/a",
        "/metrics",
        "/auth/session",
        "/v1/openapi.json",
        "/v1/docs/a",
        "/x",
    ];
    for (nth, path) in paths.iter().enumerate() {
        let address = format!("198.51.100.{nth}");
        refused_in_the_end(async || ask_from(&node, &address, path, None).await).await;
    }
    assert_eq!(refused(&node, "address-requests").await, paths.len() as u64);
    // One in a network of IPv6 takes the share of another one.
    let mut hosts = (1..).map(|host| format!("2001:db8::{host:x}"));
    let mut next = || hosts.next().expect("there are many");
    refused_in_the_end(async || ask_from(&node, &next(), "/pub/a", None).await).await;
    // A page's assets do not count, nor does a user.
    let token = hour("anna", &[("a", "read")]);
    for _ in 0..30 {
        assert_eq!(ask_from(&node, "198.51.100.1", "/assets/none.js", None).await.0, 404);
        assert_eq!(ask_from(&node, "198.51.100.1", "/v1/docs/a", Some(&token)).await.0, 404);
    }
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn an_address_that_guesses_is_refused_before_it_is_looked_at_what_it_sends() {
    let (_folder, node) = limited(behind_a_proxy).await;
    let good = hour("anna", &[("a", "read")]);
    let from = async |address: &str, token: &str| {
        ask_from(&node, address, "/v1/docs/a", Some(token)).await
    };
    let of = |address: &str| ("x-forwarded-for", address.to_owned());
    let (mut page, same) = (Browser::default(), of("198.51.100.1"));
    let signed_in = [bearer(&good), same.clone()];
    page.keep(&page.ask(&node, Method::POST, "/auth/session", &signed_in).await);
    refused_in_the_end(async || {
        assert_ne!(from("198.51.100.1", "a.b.c").await.0, 200);
        from("198.51.100.1", &good).await
    })
    .await;
    assert_eq!(from("198.51.100.2", &good).await.0, 404, "others are looked at");
    let answer = page.ask(&node, Method::GET, "/v1/docs/a", &[same]).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND, "and who is signed in");
    // Nor is it where somebody signs in, or opens a socket.
    let browser = Browser::default();
    let forwarded = of("198.51.100.3");
    refused_in_the_end(async || {
        let headers = [bearer("a.b.c"), forwarded.clone()];
        let answer = browser.ask(&node, Method::POST, "/auth/session", &headers).await;
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.expect("JSON");
        (status, problem["code"].as_str().expect("text").to_owned())
    })
    .await;
    refused_in_the_end(async || {
        let headers = [("x-forwarded-for", "198.51.100.4")];
        match knock(&node, "/ws/a?ticket=none", &headers).await {
            (code, 4529) => (429, code),
            (_, close) => (close - 4_000, String::new()),
        }
    })
    .await;
    assert!(refused(&node, "guesses").await >= 2);
    node.stop().await.expect("it stops");
}
