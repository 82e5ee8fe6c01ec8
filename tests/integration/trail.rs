//! What is written down of those who come in: from which address they did, in every line; and that
//! whatever is refused has one, however often it is.

use std::path::{Path, PathBuf};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;

use crate::doors::{Browser, bearer, enter, guarded_process, hour, knock};
use crate::inner::PATIENCE;
use crate::plain::{rest, say};
use crate::server::Server;

const CLIENT: &str = "198.51.100.7";

/// Starts a server behind a proxy, with more settings, which writes down in a file.
fn written(folder: &Path, more: &[&str]) -> (Server, PathBuf) {
    let set = [
        "telemetry.log-format=json",
        "edge.trusted-proxies=127.0.0.1",
        "edge.proxy-header=x-forwarded",
    ];
    guarded_process(folder, &[&set, more].concat())
}

/// Reads what was written down of those who come in.
fn lines(log: &Path) -> Vec<Value> {
    let logged = std::fs::read_to_string(log).expect("it is text");
    let lines = logged.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "quire::audit").collect()
}

#[tokio::test]
async fn every_line_has_the_address_of_the_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, log) = written(folder.path(), &[]);
    let client = ("x-forwarded-for", CLIENT.to_owned());
    let (anna, eve) = (bearer(&hour("anna", &[("a", "admin")])), bearer(&hour("eve", &[])));
    let ask = async |browser: &Browser, method: Method, path: &str, headers: &[_]| {
        let headers = [std::slice::from_ref(&client), headers].concat();
        let answer = browser.ask(&server, method, path, &headers).await;
        (answer.status().as_u16(), answer)
    };
    let mut browser = Browser::default();
    let (status, answer) =
        ask(&browser, Method::POST, "/auth/session", std::slice::from_ref(&anna)).await;
    assert_eq!(status, 200);
    browser.keep(&answer);
    let nobody = Browser::default();
    let bad = bearer("a.b.c");
    let csrf = browser.csrf_header();
    for (browser, method, path, header, expected) in [
        (&nobody, Method::POST, "/auth/session", &bad, 401),
        (&nobody, Method::GET, "/v1/docs/a", &bad, 401),
        (&nobody, Method::GET, "/v1/docs/a", &eve, 403),
        (&nobody, Method::POST, "/v1/docs/a", &anna, 201),
        (&nobody, Method::GET, "/v1/docs/a/rights", &anna, 200),
        (&nobody, Method::GET, "/v1/docs/a/export", &anna, 200),
        (&browser, Method::DELETE, "/auth/session", &csrf, 204),
    ] {
        let (status, _) = ask(browser, method, path, std::slice::from_ref(header)).await;
        assert_eq!(status, expected, "{path} {header:?}");
    }
    let (anna, eve) = (&*anna.1, &*eve.1);
    for (token, expected) in [(eve, "forbidden"), ("Bearer a.b.c", "unauthenticated")] {
        let headers = [("authorization", token), ("x-forwarded-for", CLIENT)];
        assert_eq!(knock(&server, "/ws/a", &headers).await.0, expected);
    }
    let own = knock(&server, "/ws/a", &[("authorization", "Bearer x.y.z")]).await;
    assert_eq!(own.0, "unauthenticated", "the proxy itself");
    assert_eq!(knock(&server, "/ws/a", &[("authorization", anna)]).await.0, "welcome");
    server.stop();

    let lines = lines(&log);
    let addresses = lines.iter().map(|line| {
        let fields = &line["fields"];
        (fields["message"].as_str().expect("text"), fields["address"].as_str().unwrap_or("none"))
    });
    let addresses: Vec<_> = addresses.collect();
    let expected = [
        ("signed in", CLIENT),
        ("not signed in", CLIENT),
        ("not let in", CLIENT),
        ("asked", CLIENT),
        ("asked", CLIENT),
        ("asked", CLIENT),
        ("asked", CLIENT),
        ("signed out", CLIENT),
        ("not let in, or not any more", CLIENT),
        ("not let in, or not any more", CLIENT),
        ("not let in, or not any more", "127.0.0.1"),
    ];
    assert_eq!(addresses, expected, "{lines:#?}");
}

#[tokio::test]
async fn whatever_is_refused_has_a_line_and_a_flood_of_it_has_few() {
    let folder = tempfile::tempdir().expect("a folder");
    let set = [
        "edge.address-requests-per-second=1",
        "edge.requests-per-second=1",
        "edge.sockets-per-user=1",
        "edge.header-timeout=1s",
    ];
    let (server, log) = written(folder.path(), &set);
    let anna = bearer(&hour("anna", &[("a", "write")]));
    let (nobody, bad) = (Browser::default(), bearer("a.b.c"));
    let ask = async |client: &str, method: Method, path: &str, header: Option<_>| {
        let client = ("x-forwarded-for", client.to_owned());
        let headers: Vec<_> = [client].into_iter().chain(header).collect();
        nobody.ask(&server, method, path, &headers).await.status().as_u16()
    };
    let ask_until = async |client: &str, path: &str, header: Option<&(&'static str, String)>| {
        let asking =
            async { while ask(client, Method::GET, path, header.cloned()).await != 429 {} };
        timeout(PATIENCE, asking).await.expect("there is a rate");
    };
    // By address; by user; credentials that are not looked at.
    ask_until("192.0.2.1", "/pub/a", None).await;
    ask_until("192.0.2.2", "/v1/docs/a", Some(&anna)).await;
    ask_until("192.0.2.3", "/v1/docs/a", Some(&bad)).await;
    // Who shows nothing, and a login that is none.
    assert_eq!(ask("192.0.2.4", Method::POST, "/auth/ticket", None).await, 401);
    assert_eq!(ask("192.0.2.5", Method::POST, "/auth/session", None).await, 401);
    let login = ("cookie", "__Host-quire-login=none".to_owned());
    assert_eq!(ask("192.0.2.6", Method::GET, "/auth/session", Some(login)).await, 401);
    // One socket more than a user may have.
    let headers = [("authorization", &*anna.1), ("x-forwarded-for", "192.0.2.7")];
    let _open = enter(&server, "/ws/a", '1', &headers).await;
    assert_eq!(knock(&server, "/ws/a", &headers).await.1, 4529);
    // What the port refuses by itself.
    for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"[..], b"GET /"] {
        rest(&mut say(server.address(), bytes).await).await;
    }
    let guess = || ask("192.0.2.8", Method::GET, "/v1/docs/a", Some(bad.clone()));
    let flood = join_all((0..100).map(|_| guess())).await;
    assert!(flood.iter().all(|status| [401, 429].contains(status)), "{flood:?}");
    server.stop();

    let lines = lines(&log);
    let has = |address: &str, reason: &str| {
        let is = |line: &&Value| {
            let fields = &line["fields"];
            let told = [&fields["reason"], &fields["status"]].map(|one| one.to_string());
            fields["address"] == address && told.iter().any(|one| one.trim_matches('"') == reason)
        };
        assert!(lines.iter().any(|line| is(&line)), "{address} {reason}: {lines:#?}");
    };
    for (address, reason) in [
        ("192.0.2.1", "address-requests"),
        ("192.0.2.2", "requests"),
        ("192.0.2.3", "guesses"),
        ("192.0.2.4", "401"),
        ("192.0.2.5", "nobody"),
        ("192.0.2.6", "login-forged"),
        ("192.0.2.7", "rate"),
        ("127.0.0.1", "head"),
        ("127.0.0.1", "slow-head"),
    ] {
        has(address, reason);
    }
    let of_flood = lines.iter().filter(|line| line["fields"]["address"] == "192.0.2.8").count();
    assert!((1..flood.len()).contains(&of_flood), "{of_flood} lines");
}
