//! The same siege of a server that asks who somebody is: the honest have a token, and nothing that
//! the enemies show lets them write what is not theirs.

use std::env;
use std::fs;
use std::sync::atomic::Ordering;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::mutation::variable;
use crate::server::free_port;
use crate::socket::Siege;
use crate::socket::attack::Field;
use crate::socket::grammar::{LATE, own_docs};
use crate::socket::pass::{Desk, Passes, SECRET, VAULTS, honest};

/// What is refused at the door, whatever else is: each is met in every run.
const REASONS: &[&str] = &[
    "expired",
    "not-yet",
    "audience",
    "signature",
    "revoked",
    "credentials",
    "ticket",
    "cookies",
    "login-forged",
    "csrf-missing",
    "csrf-signature",
];

/// Begins a siege of a server with keys, and returns where its operators are.
fn begin() -> (Siege, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, token) = (folder.path().join("key"), folder.path().join("token"));
    fs::write(&key, SECRET).expect("it is written");
    fs::write(&token, honest()).expect("it is written");
    let admin = format!("127.0.0.1:{}", free_port());
    let set = env::var("QUIRE_FUZZ_SET").unwrap_or_default();
    let mut set: Vec<&str> = set.split_terminator(',').collect();
    let own = [format!("auth.keys={}", key.display()), format!("admin-listen={admin}")];
    set.extend(own.iter().map(String::as_str));
    (Siege::within(folder, &set, Some(&token)), format!("http://{admin}"))
}

/// A siege, and the documents in it that nobody may write.
struct Guarded {
    siege: Siege,
    vaults: Vec<Value>,
}

impl Guarded {
    /// Has the honest write what nobody is to change.
    async fn of(siege: Siege) -> Self {
        for number in 0..VAULTS {
            let url = format!("{}/v1/docs/vault-{number}", siege.server.url);
            let put = reqwest::Client::new().put(url).json(&json!({ "text": "locked" }));
            let put = put.bearer_auth(siege.token.as_deref().expect("they have one")).send().await;
            assert!(put.expect("it answers").status().is_success());
        }
        let mut guarded = Self { siege, vaults: Vec::new() };
        guarded.vaults = guarded.look().await;
        assert!(guarded.vaults.iter().all(|vault| vault["text"] == "locked"));
        guarded
    }

    /// Returns what is in the documents that nobody may write, and at which revision.
    async fn look(&self) -> Vec<Value> {
        let mut found = Vec::new();
        for number in 0..VAULTS {
            let answer = self.siege.get(&format!("/v1/docs/vault-{number}")).await;
            let answer: Value = answer.json().await.expect("JSON");
            found.push(json!({ "text": answer["text"], "head": answer["head"] }));
        }
        found
    }

    /// Checks that nobody has written after their token was revoked.
    async fn nothing_late(&self, runs: u64) {
        let first = variable("QUIRE_FUZZ_SEED", 1);
        for doc in own_docs(first..first + runs) {
            let answer = self.siege.get(&format!("/v1/docs/{doc}")).await;
            if answer.status() == StatusCode::NOT_FOUND {
                continue;
            }
            let text = answer.text().await.expect("it is text");
            assert!(!text.contains(LATE), "{doc}: {text}");
        }
    }

    /// Checks that what was refused was counted, under each reason; returns how much it was.
    async fn counted(&self) -> u64 {
        let text = self.siege.get("/metrics").await.text().await.expect("it is text");
        let of = |metric: &str| {
            let prefix = format!("{metric}{{reason=\"");
            let lines = text.lines().filter_map(move |line| line.strip_prefix(&prefix));
            let read = lines.filter_map(|line| line.split_once("\"} "));
            read.map(|(reason, count)| (reason.to_owned(), count.parse().expect("a number")))
                .collect::<Vec<(String, u64)>>()
        };
        let refused = of("quire_auth_refused_total");
        for wanted in REASONS {
            assert!(refused.iter().any(|(reason, _)| reason == wanted), "{wanted}: {refused:?}");
        }
        let closes = of("quire_edge_closes_total");
        for wanted in ["unauthenticated", "forbidden"] {
            assert!(closes.iter().any(|(reason, _)| reason == wanted), "{wanted}: {closes:?}");
        }
        eprintln!("refused: {refused:?}; closed: {closes:?}");
        refused.iter().map(|(_, count)| count).sum()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enemies_who_may_not_write_change_nothing() {
    let (siege, admin) = begin();
    let desk = Desk::new(&siege.server.url, admin);
    siege.storm.more(1).await;
    let guarded = Guarded::of(siege).await;
    let siege = &guarded.siege;
    let passes = Passes::prepare(&siege.server.url, &desk).await;
    let case = Box::new(move |seed| passes.case(seed));
    let field = Field { address: siege.address, case, desk: Some(desk) };
    let (runs, counts) = siege.stand(field).await;
    assert!(counts.acks.load(Ordering::Relaxed) > runs / 40, "no enemy with a right gets far");
    assert!(counts.welcomes.load(Ordering::Relaxed) > runs / 10, "no enemy comes in");
    assert_eq!(guarded.look().await, guarded.vaults, "who had no right has written");
    guarded.nothing_late(runs).await;
    let refused = counts.refused.load(Ordering::Relaxed);
    assert!(refused > runs / 4, "few are refused at the door: {refused}");
    assert!(guarded.counted().await >= refused, "{refused} were refused");
    guarded.siege.end().await;
}
