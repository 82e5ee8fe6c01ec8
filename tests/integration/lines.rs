//! What each action and each refusal leaves in the log of the process, with who, which document,
//! and from which address.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::doors::{Browser, bearer, enter, guarded_process, hour, knock, token};
use crate::inner::PATIENCE;
use crate::plain::denied;
use crate::server::{Server, free_port, quire};

const CLIENT: &str = "198.51.100.7";

type Header = (&'static str, String);

/// A server whose log is kept, behind a proxy that says who the client is.
struct Watched {
    folder: tempfile::TempDir,
    server: Server,
    log: PathBuf,
    admin: String,
    /// How many lines were looked at.
    seen: Cell<usize>,
}

impl Watched {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let admin = format!("127.0.0.1:{}", free_port());
        let set = [
            &*format!("admin-listen={admin}"),
            "auth.leeway=0s",
            "telemetry.log-format=json",
            "edge.trusted-proxies=127.0.0.1",
            "edge.proxy-header=x-forwarded",
        ];
        let (server, log) = guarded_process(folder.path(), &set);
        Self { folder, server, log, admin, seen: Cell::new(0) }
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

    /// Returns how often somebody was refused for a reason.
    async fn refusals(&self, reason: &str) -> u64 {
        denied(&self.server, reason).await
    }

    /// Returns what the lines say that have come since it was asked before.
    fn written(&self) -> Vec<String> {
        let logged = fs::read_to_string(&self.log).expect("it is text");
        // One that is not whole yet comes later.
        let lines = logged.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let all: Vec<Value> = lines.filter(|line| line["target"] == "quire::audit").collect();
        let seen = self.seen.replace(all.len());
        let new = all[seen..].iter().map(|line| &line["fields"]);
        new.inspect(|line| assert_eq!(line["address"], CLIENT, "{line}")).map(spelled).collect()
    }

    /// Checks that what was done has left this line, and no other.
    async fn left(&self, line: &str) {
        self.refused(line, async || {}).await;
    }

    /// Does what is refused, and checks that this is the line it leaves. It may be done again:
    /// who is refused often need not have a line each time.
    async fn refused(&self, line: &str, act: impl AsyncFn()) {
        let found = async {
            loop {
                act().await;
                let new = self.written();
                if !new.is_empty() {
                    assert_eq!(new, [line]);
                    return;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("no line: {line}"));
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
    let nobody = Browser::default();
    let ask = async |how: (Method, &str, &Value), who: Option<&Header>, status: u16| {
        let headers: Vec<_> = who.into_iter().cloned().collect();
        let shown = format!("{} {} {who:?}", how.0, how.1);
        let answer = watched.ask(&nobody, how, &headers).await;
        assert_eq!(answer.status().as_u16(), status, "{shown}");
    };
    for (method, path, body, action, status) in actions() {
        let at = format!("/v1/docs/a{path}");
        let path = at.split('?').next().expect("a path");
        let how = || (method.clone(), &*at, &body);
        ask(how(), Some(&anna), status).await;
        watched.left(&format!("asked {action} anna {method} {path} {status}")).await;
        // Whoever may not do it is written down, too.
        for (who, subject, status) in [(Some(&eve), "eve", 403), (None, "-", 401)] {
            let line = format!("asked {action} {subject} {method} {path} {status}");
            watched.refused(&line, async || ask(how(), who, status).await).await;
        }
        if action != "import" {
            continue;
        }
        for (method, path, body) in [
            (Method::GET, "", Value::Null),
            (Method::GET, "/history", Value::Null),
            (Method::POST, "/ops", json!({ "base": 2, "op": ["x"] })),
        ] {
            // Of these there is only a line where they are refused.
            let at = format!("/v1/docs/a{path}");
            ask((method.clone(), &at, &body), Some(&anna), 200).await;
            let line = format!("asked use eve {method} {at} 403");
            let asking = async || ask((method.clone(), &at, &body), Some(&eve), 403).await;
            watched.refused(&line, asking).await;
        }
    }
    // Who took it away is in the document's records, too.
    let exported = exported(watched, "a");
    let told = exported.first().expect("it was exported");
    assert_eq!((&told["by"], &told["base_rev"]), (&json!("anna"), &json!(4)), "{told}");
}

/// Stops the server, and returns the records of a document that tell of exports.
fn exported(Watched { server, folder, .. }: Watched, doc: &str) -> Vec<Value> {
    server.stop();
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    let printed = quire(&["log", "cat", "--data", data, "--doc", doc, "--output", "json"]);
    let records = serde_json::Deserializer::from_str(&printed).into_iter::<Value>();
    let records = records.map(|record| record.expect("JSON"));
    records.filter(|record| record["kind"] == "exported").collect()
}

#[tokio::test]
async fn who_may_only_read_does_not_have_a_log_grow() {
    let watched = Watched::start();
    let (anna, nobody) = (bearer(&hour("anna", &[("b", "admin")])), Browser::default());
    let eve = bearer(&hour("eve", &[("b", "read")]));
    let public = json!({ "owner": "anna", "public": true, "members": {} });
    for (method, path, body, who, line) in [
        (Method::POST, "/v1/docs/b", json!({ "text": "one" }), Some(&anna), "create anna"),
        (Method::PUT, "/v1/docs/b/rights", public, Some(&anna), "change-rights anna"),
        (Method::GET, "/v1/docs/b/export", Value::Null, None, "export -"),
        (Method::GET, "/v1/docs/b/export", Value::Null, Some(&eve), "export eve"),
        (Method::GET, "/v1/docs/b/export", Value::Null, Some(&anna), "export anna"),
    ] {
        let status = if method == Method::POST { 201 } else { 200 };
        let line = format!("asked {line} {method} {path} {status}");
        let headers: Vec<_> = who.into_iter().cloned().collect();
        let answer = watched.ask(&nobody, (method, path, &body), &headers).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        watched.left(&line).await;
    }
    let exported = exported(watched, "b");
    assert_eq!(exported.len(), 1, "{exported:#?}");
    assert_eq!(exported[0]["by"], "anna");
}

#[tokio::test]
async fn every_kind_of_refused_entry_leaves_one_line() {
    let watched = Watched::start();
    let rights = &[("a", "write")];
    let (anna, eve) = (bearer(&hour("anna", rights)), bearer(&hour("eve", rights)));
    let browser = watched.sign_in(&anna).await;
    watched.left("signed in anna").await;
    let other = watched.sign_in(&eve).await;
    watched.left("signed in eve").await;
    let nobody = Browser::default();
    let csrf = Browser::csrf_header;
    let cookie = |value: &str| ("cookie", format!("__Host-quire-login={value}"));
    let expired = bearer(&token("anna", rights, Duration::ZERO));
    let basic = ("authorization", "Basic YTpi".to_owned());
    let evil = ("origin", "http://evil.example".to_owned());
    let ask = async |browser: &Browser, how: (Method, &str), headers: &[Header]| {
        let answer = watched.ask(browser, (how.0, how.1, &Value::Null), headers).await;
        assert!(matches!(answer.status().as_u16(), 401 | 403), "{answer:?}");
    };
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
        let line = format!("not let in {reason} DELETE /v1/docs/a");
        let asking = async || ask(browser, (Method::DELETE, "/v1/docs/a"), &headers).await;
        watched.refused(&line, asking).await;
    }
    for (header, reason) in [(&basic, "credentials"), (&expired, "expired")] {
        let header = std::slice::from_ref(header);
        let asking = async || ask(&nobody, (Method::POST, "/auth/session"), header).await;
        watched.refused(&format!("not signed in {reason}"), asking).await;
    }
    let twice = &[cookie("x"), cookie("y")];
    let counted = watched.refusals("cookies").await;
    let asking = async || ask(&nobody, (Method::GET, "/auth/session"), twice).await;
    watched.refused("not signed in cookies", asking).await;
    assert!(watched.refusals("cookies").await > counted);
    sockets(&watched, &anna.1, &eve.1).await;
    let how = (Method::DELETE, "/auth/session", &Value::Null);
    let answer = watched.ask(&browser, how, &[csrf(&browser)]).await;
    assert_eq!(answer.status().as_u16(), 204);
    watched.left("signed out anna").await;
    // A copy of the cookie is good for nothing then.
    let how = (Method::GET, "/v1/docs/a");
    let asking = async || ask(&browser, how.clone(), &[]).await;
    watched.refused("not let in login-ended GET /v1/docs/a", asking).await;
    let asking = async || ask(&nobody, how.clone(), std::slice::from_ref(&eve)).await;
    watched.refused("not let in revoked GET /v1/docs/a", asking).await;
    watched.server.stop();
}

/// Comes to sockets in every way that ends in a refusal.
async fn sockets(watched: &Watched, anna: &str, eve: &str) {
    let client = ("x-forwarded-for", CLIENT);
    let knocks = async |path: &str, headers: &[(&'static str, &str)], told: &str| {
        let headers = [&[client], headers].concat();
        assert_eq!(knock(&watched.server, path, &headers).await.0, told);
    };
    let unknown = "not let in, or not any more unauthenticated - a";
    for (path, headers) in [
        ("/ws/a", &[("authorization", "Bearer a.b.c")][..]),
        ("/ws/a?ticket=made-up", &[]),
        ("/ws/a", &[]),
    ] {
        watched.refused(unknown, async || knocks(path, headers, "unauthenticated").await).await;
    }
    let of_eve = [("authorization", eve)];
    let knocking = async || knocks("/ws/b", &of_eve, "forbidden").await;
    watched.refused("not let in, or not any more forbidden eve b", knocking).await;
    let headers = [client, ("authorization", eve)];
    let mut open = enter(&watched.server, "/ws/a", '1', &headers).await;
    watched.revoke("eve").await;
    assert_eq!(open.end().await.1, 4401);
    watched.left("not let in, or not any more unauthenticated eve a").await;
    watched.refused(unknown, async || knocks("/ws/a", &of_eve, "unauthenticated").await).await;
    knocks("/ws/a", &[("authorization", anna)], "welcome").await;
}
