//! Who is let in, over real sockets and HTTP: tokens, logins and tickets, and when they end.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quire::access::Subject;
use quire::auth::{Claims, Draft, Grant, SigningKey, issue};
use quire::clock::Clock;
use quire::config::Config;
use quire::node::Node;
use quire::task::Tasks;
use quire::types::Timestamp;
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Client, Method, Response, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::raw::{Listens, Raw, hello, node};
use crate::server::Server;

pub(crate) const SECRET: &str = "a secret of these tests, long enough";

/// Starts a node that takes tokens which are signed with [`SECRET`].
pub(crate) async fn guarded(folder: &Path, change: impl FnOnce(&mut Config)) -> Node {
    let key = folder.join("key");
    std::fs::write(&key, SECRET).expect("it is written");
    node(|config| {
        config.auth.keys = key.display().to_string();
        config.auth.leeway = Duration::ZERO;
        change(config);
    })
    .await
}

/// Issues a token that is good for so long.
pub(crate) fn token(subject: &str, rights: &[(&str, &str)], lasts: Duration) -> String {
    let key = SigningKey::read(None, SECRET.as_bytes()).expect("a key");
    signed(&key, subject, rights, lasts)
}

/// Issues a token that a key has signed.
pub(crate) fn signed(
    key: &SigningKey,
    subject: &str,
    rights: &[(&str, &str)],
    lasts: Duration,
) -> String {
    let subject: Subject = subject.parse().expect("a subject");
    let now = Timestamp(Clock::wall().now().0 / 1_000 * 1_000);
    let grant = |(pattern, rights): &(&str, &str)| Grant {
        pattern: pattern.parse().expect("a pattern"),
        rights: rights.parse().expect("rights"),
    };
    let claims = Claims {
        name: subject.beginning(),
        subject,
        expires: Timestamp(now.0 + lasts.as_millis() as u64),
        issued: Some(now),
        id: format!("{:x}", rand::random::<u64>()).parse().ok(),
        grants: rights.iter().map(grant).collect(),
        key: None,
    };
    let draft = Draft { claims: &claims, audience: "quire", issuer: None, not_before: None };
    issue(&draft, key).expect("it signs").expose_secret().to_owned()
}

pub(crate) fn hour(subject: &str, rights: &[(&str, &str)]) -> String {
    token(subject, rights, Duration::from_secs(3_600))
}

/// Starts a process that takes tokens which are signed with [`SECRET`], with more settings; returns
/// the file that it logs into, too. The key is beside it.
pub(crate) fn guarded_process(folder: &Path, more: &[&str]) -> (Server, PathBuf) {
    let (key, log) = (folder.join("key"), folder.join("log"));
    std::fs::write(&key, SECRET).expect("it is written");
    let keys = format!("auth.keys={}", key.display());
    let to = File::create(&log).expect("it is made");
    let set = [&[&*keys], more].concat();
    (Server::start_with((&[], to.into()), &folder.join("data"), 0, &set), log)
}

impl Listens for Server {
    fn address(&self) -> SocketAddr {
        self.address()
    }
}

/// A browser, as far as it matters here.
#[derive(Default)]
pub(crate) struct Browser {
    login: String,
    pub(crate) csrf: String,
}

impl Browser {
    /// Takes the cookies of an answer.
    pub(crate) fn keep(&mut self, answer: &Response) {
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().expect("text").split(';').next().expect("a pair");
            match cookie.split_once('=').expect("a pair") {
                ("__Host-quire-login", value) => self.login = value.to_owned(),
                ("__Host-quire-csrf", value) => self.csrf = value.to_owned(),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn sign_in(node: &impl Listens, token: &str) -> Self {
        let mut browser = Self::default();
        let answer = browser.ask(node, Method::POST, "/auth/session", &[bearer(token)]).await;
        assert_eq!(answer.status(), StatusCode::OK);
        browser.keep(&answer);
        browser
    }

    pub(crate) fn cookies(&self) -> String {
        format!("__Host-quire-login={}; __Host-quire-csrf={}", self.login, self.csrf)
    }

    /// The subprotocols that a page offers, its CSRF token before them.
    pub(crate) fn offer(&self) -> String {
        format!("csrf.{}, quire.v1", self.csrf)
    }

    pub(crate) fn csrf_header(&self) -> (&'static str, String) {
        ("x-csrf-token", self.csrf.clone())
    }

    pub(crate) async fn ask(
        &self,
        node: &impl Listens,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
    ) -> Response {
        let mut asked = Client::new().request(method, format!("http://{}{path}", node.address()));
        if !self.login.is_empty() {
            asked = asked.header(COOKIE, self.cookies());
        }
        for (name, value) in headers {
            asked = asked.header(*name, value);
        }
        asked.send().await.expect("it answers")
    }
}

pub(crate) fn bearer(token: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {token}"))
}

/// Opens a document with these headers, and says hello.
pub(crate) async fn greet(
    node: &impl Listens,
    path: &str,
    digit: char,
    headers: &[(&'static str, &str)],
) -> Raw {
    let mut raw =
        Raw::upgrade_with(node, path, headers).await.expect("whoever comes is told inside");
    raw.send(&hello(digit, "")).await;
    raw
}

/// Opens a document with these headers, and is welcomed.
pub(crate) async fn enter(
    node: &impl Listens,
    path: &str,
    digit: char,
    headers: &[(&'static str, &str)],
) -> Raw {
    let mut raw = greet(node, path, digit, headers).await;
    raw.hear("welcome").await;
    raw
}

/// Connects to `a` and says hello; returns what comes back: its kind, and how it ends if it does.
pub(crate) async fn knock(
    node: &impl Listens,
    path: &str,
    headers: &[(&'static str, &str)],
) -> (String, u16) {
    let mut raw = greet(node, path, '1', headers).await;
    let first = raw.next().await;
    if first["t"] == "welcome" {
        return ("welcome".to_owned(), 0);
    }
    let (_, code) = raw.end().await;
    (first["code"].as_str().expect("an error has a code").to_owned(), code)
}

pub(crate) fn closed(code: &str, close: u16) -> (String, u16) {
    (code.to_owned(), close)
}

#[tokio::test]
async fn programs_come_in_with_a_token_that_is_good_for_the_document() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let with = async |token: &str| {
        let value = format!("Bearer {token}");
        knock(&node, "/ws/a", &[("authorization", &value)]).await
    };
    assert_eq!(with(&hour("anna", &[("a", "write")])).await, closed("welcome", 0));
    assert_eq!(with(&hour("anna", &[("b", "write")])).await, closed("forbidden", 4403));
    assert_eq!(with("a.b.c").await, closed("unauthenticated", 4401));
    let mut changed = hour("anna", &[("a", "write")]);
    changed.pop();
    assert_eq!(with(&changed).await, closed("unauthenticated", 4401));
    let basic = knock(&node, "/ws/a", &[("authorization", "Basic YTpi")]).await;
    assert_eq!(basic, closed("unauthenticated", 4401));
    let in_the_address = format!("/ws/a?token={}", hour("anna", &[("a", "write")]));
    assert_ne!(knock(&node, &in_the_address, &[]).await, closed("welcome", 0));
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_page_comes_in_with_its_login_and_the_csrf_token_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let browser = Browser::sign_in(&node, &hour("anna", &[("a", "write")])).await;
    let other = Browser::sign_in(&node, &hour("eve", &[("a", "write")])).await;
    let cookies = browser.cookies();
    let own = browser.offer();
    let with = async |cookies: &str, offer: &str| {
        let headers = [("cookie", cookies), ("sec-websocket-protocol", offer)];
        knock(&node, "/ws/a", &headers).await
    };
    assert_eq!(with(&cookies, &own).await, closed("welcome", 0));
    assert_eq!(with(&cookies, "quire.v1").await, closed("forbidden", 4403), "without the token");
    let theirs = other.offer();
    assert_eq!(with(&cookies, &theirs).await, closed("forbidden", 4403), "another one's token");
    let mixed = format!("__Host-quire-login={}; __Host-quire-csrf={}", browser.login, other.csrf);
    assert_eq!(with(&mixed, &theirs).await, closed("forbidden", 4403), "tossed, both the same");
    let twice = format!("{cookies}; __Host-quire-login={}", other.login);
    assert_eq!(with(&twice, &own).await, closed("unauthenticated", 4401), "tossed, there twice");
    let plain = cookies.replace("__Host-", "");
    assert_ne!(with(&plain, &own).await, closed("welcome", 0), "without the prefix");
    let headers = [
        ("cookie", &*cookies),
        ("sec-websocket-protocol", &own),
        ("origin", "http://evil.example"),
    ];
    assert_eq!(Raw::upgrade_with(&node, "/ws/a", &headers).await.err(), Some(403));
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_login_is_renewed_ended_and_goes_on_with_a_newer_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let nobody = Browser::default();
    let answer = nobody.ask(&node, Method::GET, "/auth/session", &[]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let answer = nobody.ask(&node, Method::POST, "/auth/session", &[]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let token = hour("anna", &[("a", "write")]);
    let mut browser = Browser::sign_in(&node, &token).await;
    let answer = browser.ask(&node, Method::GET, "/auth/session", &[]).await;
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
    assert!(!answer.headers().contains_key(SET_COOKIE), "other tabs keep their CSRF token");
    let who: Value = answer.json().await.expect("JSON");
    assert_eq!((&who["subject"], &who["open"]), (&"anna".into(), &false.into()));
    let bare = Browser { login: browser.login.clone(), csrf: String::new() };
    let answer = bare.ask(&node, Method::GET, "/auth/session", &[]).await;
    browser.keep(&answer);
    assert!(!who.to_string().contains(&token[..20]), "nothing of the token is told");

    // A newer token: the page that was open keeps its CSRF token.
    let old = browser.csrf.clone();
    let newer = [bearer(&hour("anna", &[("a", "read")]))];
    let answer = browser.ask(&node, Method::POST, "/auth/session", &newer).await;
    browser.keep(&answer);
    browser.csrf.clone_from(&old);
    let sent = ("x-csrf-token", old.clone());
    let answer = browser.ask(&node, Method::POST, "/auth/ticket", &[sent]).await;
    assert_eq!(answer.status(), StatusCode::OK);

    let answer = browser.ask(&node, Method::DELETE, "/auth/session", &[]).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "nobody else may end it");
    let answer =
        browser.ask(&node, Method::DELETE, "/auth/session", &[("x-csrf-token", old)]).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    browser.keep(&answer);
    assert_eq!((&*browser.login, &*browser.csrf), ("", ""));
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_ticket_opens_one_socket() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let nobody = Browser::default();
    let answer = nobody.ask(&node, Method::POST, "/auth/ticket", &[]).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    let token = hour("anna", &[("a", "write")]);
    let answer = nobody.ask(&node, Method::POST, "/auth/ticket", &[bearer(&token)]).await;
    let ticket: Value = answer.json().await.expect("JSON");
    let path = format!("/ws/a?ticket={}", ticket["ticket"].as_str().expect("text"));
    assert_eq!(knock(&node, &path, &[]).await, closed("welcome", 0));
    assert_eq!(knock(&node, &path, &[]).await, closed("unauthenticated", 4401), "once");
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_socket_ends_with_its_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let token = token("anna", &[("a", "write")], Duration::from_secs(2));
    let headers = [("authorization", &*format!("Bearer {token}"))];
    let mut open = enter(&node, "/ws/a", '1', &headers).await;
    open.send(r#"{"t":"op","seq":1,"base":0,"op":["a"]}"#).await;
    open.hear("ack").await;
    // One that has not said hello ends, too.
    let mut silent = Raw::upgrade_with(&node, "/ws/a", &headers).await.expect("it is taken");
    let (told, code) = open.end().await;
    assert_eq!((&told["code"], code), (&"unauthenticated".into(), 4401));
    assert_eq!(silent.end().await.1, 4401);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn pages_of_other_origins_are_kept_out_unless_they_are_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let listed = |config: &mut Config| config.auth.origins = "https://docs.example".to_owned();
    let node = guarded(folder.path(), listed).await;
    let browser = Browser::sign_in(&node, &hour("anna", &[("a", "admin")])).await;
    let from = async |origin: &str, more: &[(&'static str, String)]| {
        let headers = [&[("origin", origin.to_owned())], more].concat();
        browser.ask(&node, Method::GET, "/v1/docs/a", &headers).await
    };
    let answer = from("http://evil.example", &[]).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
    let own = format!("http://{}", node.address);
    assert_eq!(from(&own, &[]).await.status(), StatusCode::NOT_FOUND, "there is no document yet");
    let answer = from("https://docs.example", &[]).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://docs.example");
    assert!(!answer.headers().contains_key("access-control-allow-credentials"));
    let preflight = [
        ("origin", "https://docs.example".to_owned()),
        ("access-control-request-method", "PUT".to_owned()),
        ("access-control-request-headers", "authorization".to_owned()),
    ];
    let answer = browser.ask(&node, Method::OPTIONS, "/v1/docs/a", &preflight).await;
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://docs.example");
    let site = ("sec-fetch-site", "cross-site".to_owned());
    let answer =
        browser.ask(&node, Method::POST, "/auth/ticket", std::slice::from_ref(&site)).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn a_node_without_keys_is_open_to_whoever_reaches_it() {
    let node = node(|_| {}).await;
    let answer = Browser::default().ask(&node, Method::GET, "/auth/session", &[]).await;
    let who: Value = answer.json().await.expect("JSON");
    assert_eq!(who["open"], true);
    assert_eq!(knock(&node, "/ws/a", &[]).await, closed("welcome", 0));
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn who_may_only_read_is_not_told_what_was_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let come = async |subject: &str, rights: &str, digit: char| {
        let token = format!("Bearer {}", hour(subject, &[("a", rights)]));
        let headers = [("authorization", &*token)];
        let mut raw = Raw::upgrade_with(&node, "/ws/a", &headers).await.expect("it is taken");
        raw.send(&hello(digit, r#","rev":0"#)).await;
        let welcome = raw.hear("welcome").await;
        (raw, welcome)
    };
    let (mut writer, _) = come("anna", "write", '1').await;
    for (n, op) in [r#"["secret"]"#, r#"[{"d":6}]"#].into_iter().enumerate() {
        writer.send(&format!(r#"{{"t":"op","seq":{},"base":{n},"op":{op}}}"#, n + 1)).await;
        writer.hear("ack").await;
    }
    let (_, welcome) = come("bob", "read", '2').await;
    assert_eq!((&welcome["text"], &welcome["ops"]), (&"".into(), &Value::Null));
    for (digit, rights) in [('3', "history"), ('4', "write")] {
        let (_, welcome) = come("bob", rights, digit).await;
        assert!(welcome["ops"].to_string().contains("secret"), "{rights}: {welcome}");
    }
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn erasing_takes_the_right_from_the_issuer() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = guarded(folder.path(), |_| {}).await;
    let (nobody, kind) = (Browser::default(), ("content-type", "application/json".to_owned()));
    let ask = async |path: &str, rights: &str| {
        let token = bearer(&hour("anna", &[("a", rights)]));
        nobody.ask(&node, Method::POST, path, &[token, kind.clone()]).await.status()
    };
    assert_eq!(ask("/v1/docs/a", "write").await, StatusCode::CREATED, "it is hers now");
    assert_eq!(ask("/v1/docs/a/undelete", "read").await, StatusCode::OK, "as its owner");
    let erase = Client::new().post(format!("http://{}/v1/docs/a/erase", node.address));
    let erase = erase.bearer_auth(hour("anna", &[("a", "write")]));
    let answer = erase.json(&serde_json::json!({ "before": 1 })).send().await.expect("it answers");
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn the_keys_of_an_issuer_are_fetched_where_it_has_them() {
    let file = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/auth");
        std::fs::read(folder.join(name)).expect("it is there")
    };
    let keys = axum::routing::get(async move || file("jwks.json"));
    let issuer = axum::Router::new().route("/keys", keys);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it listens");
    let tasks = Tasks::new();
    tasks.spawn("issuer", async { axum::serve(listener, issuer).await.expect("it serves") });
    let node = node(|config| config.auth.jwks_url = format!("http://{address}/keys")).await;
    let signed = |pem: &str, kid: &str| {
        let key = SigningKey::read(kid.parse().ok(), &file(pem)).expect("a key");
        signed(&key, "anna", &[("a", "write")], Duration::from_secs(60))
    };
    for (pem, kid, expected) in [
        ("ed25519.pem", "ed25519", closed("welcome", 0)),
        ("p256.pem", "p256", closed("welcome", 0)),
        ("rsa.pem", "rsa", closed("welcome", 0)),
        ("ed25519.pem", "unknown", closed("unauthenticated", 4401)),
        ("ed25519.pem", "rsa", closed("unauthenticated", 4401)),
    ] {
        let token = format!("Bearer {}", signed(pem, kid));
        assert_eq!(knock(&node, "/ws/a", &[("authorization", &token)]).await, expected, "{kid}");
    }
    node.stop().await.expect("it stops");
}

#[tokio::test]
async fn nothing_secret_is_in_logs_metrics_or_answers() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, log) = guarded_process(folder.path(), &["telemetry.log-level=trace"]);
    let token = hour("anna", &[("a", "write")]);
    let browser = Browser::sign_in(&server, &token).await;
    let csrf = [browser.csrf_header()];
    let answer = browser.ask(&server, Method::POST, "/auth/ticket", &csrf).await;
    let ticket: Value = answer.json().await.expect("JSON");
    let ticket = ticket["ticket"].as_str().expect("text").to_owned();
    let value = format!("Bearer {token}");
    assert_eq!(knock(&server, "/ws/a", &[("authorization", &value)]).await.0, "welcome");
    let path = format!("/ws/a?ticket={ticket}");
    for expected in ["welcome", "unauthenticated"] {
        assert_eq!(knock(&server, &path, &[]).await.0, expected);
    }
    let (cookies, offer) = (browser.cookies(), browser.offer());
    let headers = [("cookie", &*cookies), ("sec-websocket-protocol", &offer)];
    assert_eq!(knock(&server, "/ws/a", &headers).await.0, "welcome");
    // What is refused is not told either.
    let spoiled = [format!("{token}x"), format!("{}x", browser.login)];
    let answer = browser.ask(&server, Method::GET, "/v1/docs/a", &[bearer(&spoiled[0])]).await;
    let mut told = answer.text().await.expect("text");
    let other = Browser { login: spoiled[1].clone(), csrf: browser.csrf.clone() };
    told += &other.ask(&server, Method::GET, "/v1/docs/a", &csrf).await.text().await.expect("text");
    for path in ["/metrics", "/auth/session", "/nowhere", "/v1/docs/a", "/v1/docs/%2e%2e"] {
        let answer = browser.ask(&server, Method::GET, path, &[]).await;
        told += &answer.text().await.expect("text");
    }
    server.stop();
    let logged = std::fs::read_to_string(&log).expect("it is text");
    assert!(logged.contains("not let in") && logged.contains("TRACE"), "it logs everything");
    // Signatures, and not what every token begins with.
    let secrets = [&token[token.len() - 20..], &browser.login, &browser.csrf, &ticket, SECRET];
    for secret in secrets {
        assert!(!told.contains(secret), "an answer has {secret}");
        let line = logged.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{line:?} has {secret}");
    }
}
