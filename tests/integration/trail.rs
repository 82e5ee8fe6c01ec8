//! What is written down of those who come in: each action and each refusal once, with who, which
//! document, and from which address.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::doors::{At, Browser, SECRET, bearer, hour, knock, token};
use crate::raw::{Raw, hello};
use crate::server::{Server, free_port, quire};

const CLIENT: &str = "198.51.100.7";

type Header = (&'static str, String);

/// A server whose log is kept, behind a proxy that says who the client is.
struct Watched {
    folder: tempfile::TempDir,
    server: Server,
    at: At,
    admin: String,
}

impl Watched {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key");
        fs::write(&key, SECRET).expect("it is written");
        let admin = format!("127.0.0.1:{}", free_port());
        let set = [
            &*format!("auth.keys={}", key.display()),
            &*format!("admin-listen={admin}"),
            "auth.leeway=0s",
            "telemetry.log-format=json",
            "edge.trusted-proxies=127.0.0.1",
            "edge.proxy-header=x-forwarded",
        ];
        let log = File::create(folder.path().join("log")).expect("it is made");
        let data = folder.path().join("data");
        let server = Server::start_with((&[], log.into()), &data, 0, &set);
        let address = server.url.strip_prefix("http://").expect("plain").parse();
        let at = At(address.expect("an address"));
        Self { folder, server, at, admin }
    }

    /// Asks for something as a client behind the proxy, and returns the answer.
    async fn ask(
        &self,
        browser: &Browser,
        (method, path, body): (Method, &str, &Value),
        headers: &[Header],
    ) -> reqwest::Response {
        let mut asked =
            reqwest::Client::new().request(method, format!("{}{path}", self.server.url));
        asked = asked.header("x-forwarded-for", CLIENT);
        if !browser.csrf.is_empty() {
            asked = asked.header("cookie", browser.cookies());
        }
        for (name, value) in headers {
            asked = asked.header(*name, value);
        }
        if !body.is_null() {
            asked = asked.json(body);
        }
        asked.send().await.expect("it answers")
    }

    async fn sign_in(&self, token: &Header) -> Browser {
        let mut browser = Browser::default();
        let how = (Method::POST, "/auth/session", &Value::Null);
        let answer = self.ask(&browser, how, std::slice::from_ref(token)).await;
        assert_eq!(answer.status(), 200);
        browser.keep(&answer);
        browser
    }

    /// Has all tokens of somebody revoked.
    async fn revoke(&self, subject: &str) {
        let ask = json!({ "order": "revoke-subject", "subject": subject });
        let given = reqwest::Client::new().post(format!("http://{}/v1/commands", self.admin));
        let given = given.body(json!({ "by": "ada", "ask": ask }).to_string()).send().await;
        assert!(given.expect("it answers").status().is_success());
    }

    /// Ends the server, and returns the lines it has written, and where its data is.
    fn stop(self) -> (Vec<Value>, PathBuf, tempfile::TempDir) {
        self.server.stop();
        let logged = fs::read_to_string(self.folder.path().join("log")).expect("it is text");
        let lines = logged.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines = lines.filter(|line| line["target"] == "quire::audit");
        let lines = lines.map(|mut line| line["fields"].take()).collect();
        (lines, self.folder.path().join("data"), self.folder)
    }
}

/// Spells what a line says, but for the address.
fn spelled(line: &Value) -> String {
    let fields = ["message", "action", "reason", "subject", "method", "path", "doc", "status"];
    let said = fields.iter().filter_map(|name| match &line[name] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    });
    said.collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn every_line_has_the_address_of_the_client() {
    let watched = Watched::start();
    let (anna, eve) = (bearer(&hour("anna", &[("a", "admin")])), bearer(&hour("eve", &[])));
    let browser = watched.sign_in(&anna).await;
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
        let how = (method, path, &Value::Null);
        let answer = watched.ask(browser, how, std::slice::from_ref(header)).await;
        assert_eq!(answer.status().as_u16(), expected, "{path} {header:?}");
    }
    let (anna, eve) = (&*anna.1, &*eve.1);
    for (token, expected) in [(eve, "forbidden"), ("Bearer a.b.c", "unauthenticated")] {
        let headers = [("authorization", token), ("x-forwarded-for", CLIENT)];
        assert_eq!(knock(&watched.at, "/ws/a", &headers).await.0, expected);
    }
    let own = knock(&watched.at, "/ws/a", &[("authorization", "Bearer x.y.z")]).await;
    assert_eq!(own.0, "unauthenticated", "the proxy itself");
    assert_eq!(knock(&watched.at, "/ws/a", &[("authorization", anna)]).await.0, "welcome");
    let (lines, ..) = watched.stop();
    let addresses = lines.iter().map(|fields| {
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

/// What is written down wherever it is done, in an order in which all of it can be: how it is
/// asked for, what it is called, and the answer.
fn actions() -> [(Method, &'static str, Value, &'static str, u16); 11] {
    let (rev, before) = (json!({ "rev": 1 }), json!({ "before": 1 }));
    let rights = json!({ "owner": "anna", "public": false, "members": { "mia": ["read"] } });
    [
        (Method::POST, "", json!({ "text": "one" }), "create", 201),
        (Method::PUT, "", json!({ "text": "two" }), "import", 200),
        (Method::GET, "/rights", Value::Null, "read-rights", 200),
        (Method::PUT, "/rights", rights, "change-rights", 200),
        (Method::POST, "/restore", rev, "restore", 200),
        (Method::GET, "/export", Value::Null, "export", 200),
        (Method::GET, "/export?format=json", Value::Null, "export", 200),
        (Method::POST, "/cut", before, "cut", 200),
        (Method::DELETE, "", Value::Null, "delete", 200),
        (Method::POST, "/undelete", Value::Null, "undelete", 200),
        (Method::POST, "/erase", json!({ "before": 0 }), "erase", 200),
    ]
}

#[tokio::test]
async fn every_action_leaves_one_line_done_or_refused() {
    let watched = Watched::start();
    let (anna, eve) = (bearer(&hour("anna", &[("a", "admin")])), bearer(&hour("eve", &[])));
    let (nobody, mut expected) = (Browser::default(), Vec::new());
    let plain = [
        (Method::GET, "", Value::Null, 200),
        (Method::GET, "/history", Value::Null, 200),
        (Method::POST, "/ops", json!({ "base": 2, "op": ["x"] }), 200),
    ];
    for (method, path, body, action, status) in actions() {
        let at = format!("/v1/docs/a{path}");
        let path = at.split('?').next().expect("a path");
        // Whoever may not do it is written down, too.
        for (who, subject, status) in
            [(Some(&anna), "anna", status), (Some(&eve), "eve", 403), (None, "-", 401)]
        {
            let how = (method.clone(), &*at, &body);
            let headers: Vec<_> = who.into_iter().cloned().collect();
            let answer = watched.ask(&nobody, how, &headers).await.status().as_u16();
            assert_eq!(answer, status, "{method} {at} by {subject}");
            expected.push(format!("asked {action} {subject} {method} {path} {status}"));
        }
        if action == "import" {
            for (method, path, body, status) in &plain {
                let at = format!("/v1/docs/a{path}");
                let how = (method.clone(), &*at, body);
                let answer = watched.ask(&nobody, how, std::slice::from_ref(&anna)).await;
                assert_eq!(answer.status().as_u16(), *status, "{at}");
                // Only who may not do it leaves a line.
                let how = (method.clone(), &*at, body);
                let answer = watched.ask(&nobody, how, std::slice::from_ref(&eve)).await;
                assert_eq!(answer.status().as_u16(), 403, "{at}");
                expected.push(format!("asked use eve {method} {at} 403"));
            }
        }
    }
    let (lines, data, _folder) = watched.stop();
    let said: Vec<_> = lines.iter().map(spelled).collect();
    assert_eq!(said, expected);
    assert!(lines.iter().all(|line| line["address"] == CLIENT), "{lines:#?}");
    let refused = |line: &&Value| line["refused"] == json!(true);
    assert_eq!(lines.iter().filter(refused).count(), 2 * actions().len() + plain.len());
    // What takes more away than the text leaves a record of the document, too: it says who.
    let data = data.to_str().expect("UTF-8");
    let printed = quire(&["log", "cat", "--data", data, "--doc", "a", "--output", "json"]);
    let records = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
    let records: Vec<Value> = records.map(|record| record.expect("JSON")).collect();
    let exported: Vec<_> = records.iter().filter(|one| one["kind"] == "exported").collect();
    assert_eq!(exported.len(), 1, "{records:#?}");
    let told = &exported[0];
    assert_eq!((&told["by"], &told["base_rev"]), (&json!("anna"), &json!(4)), "{told}");
}

#[tokio::test]
async fn every_kind_of_refused_entry_leaves_one_line() {
    let watched = Watched::start();
    let rights = &[("a", "write")];
    let (anna, eve) = (bearer(&hour("anna", rights)), bearer(&hour("eve", rights)));
    let (browser, other) = (watched.sign_in(&anna).await, watched.sign_in(&eve).await);
    let mut expected = vec!["signed in anna".to_owned(), "signed in eve".to_owned()];
    let nobody = Browser::default();
    let csrf = |browser: &Browser| ("x-csrf-token", browser.csrf.clone());
    let cookie = |value: &str| ("cookie", format!("__Host-quire-login={value}"));
    let expired = bearer(&token("anna", rights, Duration::ZERO));
    let basic = ("authorization", "Basic YTpi".to_owned());
    let evil = ("origin", "http://evil.example".to_owned());
    let signed_in = Method::POST;
    for (browser, headers, reason) in [
        (&nobody, vec![bearer("a.b.c")], "shape"),
        (&nobody, vec![expired.clone()], "expired"),
        (&nobody, vec![basic.clone()], "credentials"),
        (&nobody, vec![anna.clone(), anna.clone()], "credentials"),
        (&nobody, vec![cookie("x")], "login-forged"),
        (&nobody, vec![cookie("x"), cookie("y")], "cookies"),
        (&browser, vec![], "csrf-missing"),
        (&browser, vec![csrf(&other)], "csrf-differs"),
        (&browser, vec![csrf(&browser), evil], "origin"),
    ] {
        let how = (Method::DELETE, "/v1/docs/a", &Value::Null);
        let answer = watched.ask(browser, how, &headers).await.status().as_u16();
        assert!(matches!(answer, 401 | 403), "{reason}: {answer}");
        expected.push(format!("not let in {reason} DELETE /v1/docs/a"));
    }
    for (header, reason) in [(&basic, "credentials"), (&expired, "expired")] {
        let how = (signed_in.clone(), "/auth/session", &Value::Null);
        let answer = watched.ask(&nobody, how, std::slice::from_ref(header)).await;
        assert_eq!(answer.status().as_u16(), 401);
        expected.push(format!("not signed in {reason}"));
    }
    let sockets = sockets(&watched, &anna.1, &eve.1).await;
    expected.extend(sockets.into_iter().map(str::to_owned));
    let how = (Method::DELETE, "/auth/session", &Value::Null);
    let answer = watched.ask(&browser, how, &[csrf(&browser)]).await;
    assert_eq!(answer.status().as_u16(), 204);
    expected.push("signed out anna".to_owned());
    // A copy of the cookie is good for nothing then.
    for (path, reason) in [("/v1/docs/a", "login-ended"), ("/v1/docs/b", "login-ended")] {
        let how = (Method::GET, path, &Value::Null);
        assert_eq!(watched.ask(&browser, how, &[]).await.status().as_u16(), 401);
        expected.push(format!("not let in {reason} GET {path}"));
    }
    let how = (Method::GET, "/v1/docs/a", &Value::Null);
    assert_eq!(watched.ask(&nobody, how, std::slice::from_ref(&eve)).await.status(), 401);
    expected.push("not let in revoked GET /v1/docs/a".to_owned());
    let (lines, ..) = watched.stop();
    assert_eq!(lines.iter().map(spelled).collect::<Vec<_>>(), expected);
    assert!(lines.iter().all(|line| line["address"] == CLIENT), "{lines:#?}");
}

/// Comes to sockets in every way that ends in a refusal; returns what is to be written down.
async fn sockets(watched: &Watched, anna: &str, eve: &str) -> Vec<&'static str> {
    let client = ("x-forwarded-for", CLIENT);
    let knocks = async |path: &str, headers: &[(&'static str, &str)]| {
        let headers = [&[client], headers].concat();
        knock(&watched.at, path, &headers).await.0
    };
    assert_eq!(knocks("/ws/a", &[("authorization", "Bearer a.b.c")]).await, "unauthenticated");
    assert_eq!(knocks("/ws/a?ticket=made-up", &[]).await, "unauthenticated");
    assert_eq!(knocks("/ws/a", &[]).await, "unauthenticated");
    assert_eq!(knocks("/ws/b", &[("authorization", eve)]).await, "forbidden");
    let headers = [client, ("authorization", eve)];
    let mut open = Raw::upgrade_with(&watched.at, "/ws/a", &headers).await.expect("it is taken");
    open.send(&hello('1', "")).await;
    open.hear("welcome").await;
    watched.revoke("eve").await;
    assert_eq!(open.end().await.1, 4401);
    assert_eq!(knocks("/ws/a", &[("authorization", eve)]).await, "unauthenticated");
    assert_eq!(knocks("/ws/a", &[("authorization", anna)]).await, "welcome");
    vec![
        "not let in, or not any more unauthenticated - a",
        "not let in, or not any more unauthenticated - a",
        "not let in, or not any more unauthenticated - a",
        "not let in, or not any more forbidden eve b",
        "not let in, or not any more unauthenticated eve a",
        "not let in, or not any more unauthenticated - a",
    ]
}
