//! What is written down of those who come in: from which address they did, in every line.

use reqwest::Method;
use serde_json::Value;

use crate::doors::{At, Browser, SECRET, bearer, hour, knock};
use crate::server::Server;

const CLIENT: &str = "198.51.100.7";

#[tokio::test]
async fn every_line_has_the_address_of_the_client() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, log) = (folder.path().join("key"), folder.path().join("log"));
    std::fs::write(&key, SECRET).expect("it is written");
    let keys = format!("auth.keys={}", key.display());
    let log_file = std::fs::File::create(&log).expect("it is made");
    let set = [
        &*keys,
        "telemetry.log-format=json",
        "edge.trusted-proxies=127.0.0.1",
        "edge.proxy-header=x-forwarded",
    ];
    let server = Server::start_with((&[], log_file.into()), folder.path(), 0, &set);
    let at = At(server.url.strip_prefix("http://").expect("plain").parse().expect("an address"));
    let client = ("x-forwarded-for", CLIENT.to_owned());
    let (anna, eve) = (bearer(&hour("anna", &[("a", "admin")])), bearer(&hour("eve", &[])));
    let ask = async |browser: &Browser, method: Method, path: &str, headers: &[_]| {
        let headers = [std::slice::from_ref(&client), headers].concat();
        let answer = browser.ask(&at, method, path, &headers).await;
        (answer.status().as_u16(), answer)
    };
    let mut browser = Browser::default();
    let (status, answer) =
        ask(&browser, Method::POST, "/auth/session", std::slice::from_ref(&anna)).await;
    assert_eq!(status, 200);
    browser.keep(&answer);
    let nobody = Browser::default();
    let bad = bearer("a.b.c");
    let csrf = ("x-csrf-token", browser.csrf.clone());
    for (browser, method, path, header, expected) in [
        (&nobody, Method::POST, "/auth/session", &bad, 401),
        (&nobody, Method::GET, "/v1/docs/a", &bad, 401),
        (&nobody, Method::GET, "/v1/docs/a", &eve, 403),
        (&nobody, Method::POST, "/v1/docs/a", &anna, 201),
        (&nobody, Method::GET, "/v1/docs/a/rights", &anna, 200),
        (&browser, Method::DELETE, "/auth/session", &csrf, 204),
    ] {
        let (status, _) = ask(browser, method, path, std::slice::from_ref(header)).await;
        assert_eq!(status, expected, "{path} {header:?}");
    }
    let (anna, eve) = (&*anna.1, &*eve.1);
    for (token, expected) in [(eve, "forbidden"), ("Bearer a.b.c", "unauthenticated")] {
        let headers = [("authorization", token), ("x-forwarded-for", CLIENT)];
        assert_eq!(knock(&at, "/ws/a", &headers).await.0, expected);
    }
    let own = knock(&at, "/ws/a", &[("authorization", "Bearer x.y.z")]).await;
    assert_eq!(own.0, "unauthenticated", "the proxy itself");
    assert_eq!(knock(&at, "/ws/a", &[("authorization", anna)]).await.0, "welcome");
    server.stop();

    let logged = std::fs::read_to_string(&log).expect("it is text");
    let lines = logged.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines: Vec<_> = lines.filter(|line| line["target"] == "quire::audit").collect();
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
        ("signed out", CLIENT),
        ("not let in, or not any more", CLIENT),
        ("not let in, or not any more", CLIENT),
        ("not let in, or not any more", "127.0.0.1"),
    ];
    assert_eq!(addresses, expected, "{lines:#?}");
}
