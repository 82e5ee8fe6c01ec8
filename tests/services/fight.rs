//! Two processes that both believe they own the same shards: one is started while the other one
//! runs, or stands still and is woken after it.

use std::process::Command;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::audited::Left;
use crate::kill::{logged, settings};
use crate::server::{Server, free_port, quire};
use crate::service::Service;
use crate::storm::Storm;

/// For how long the shards are taken over, again and again, where `QUIRE_FIGHT_SECONDS` does not
/// say.
const SECONDS: u64 = 12;

/// Durable edits of all writers between two of them.
const EDITS_BETWEEN: u64 = 200;

fn signal(server: &Server, name: &str) {
    let told = Command::new("kill").args([name, &server.child.id().to_string()]).status();
    assert!(told.is_ok_and(|status| status.success()), "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_to_claim_owns_the_shards_and_the_other_acknowledges_nothing() {
    let (_kafka, broker) = Service::start("kafka").await;
    let (_cassandra, hosts) = Service::start("cassandra").await;
    let folder = tempfile::tempdir().expect("a folder");
    let ports = [free_port(), free_port()];
    let own = settings(&broker, &hosts);
    let start = |round: u64| {
        let one = usize::from(round % 2 == 1);
        let name = format!("node=node-{one}");
        let set: Vec<&str> = own.iter().map(String::as_str).chain([name.as_str()]).collect();
        Server::start(folder.path(), ports[one], &set)
    };
    let mut owner = start(0);
    let urls = ports.map(|port| format!("http://127.0.0.1:{port}"));
    let storm = Storm::begin(&urls);
    let seconds = std::env::var("QUIRE_FIGHT_SECONDS").ok().and_then(|text| text.parse().ok());
    let (began, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
    let mut round = 0;
    while began.elapsed() < Duration::from_secs(seconds.unwrap_or(SECONDS)) || round < 4 {
        round += 1;
        storm.more(EDITS_BETWEEN).await;
        // Now and then the owner stands still for a while, and goes on.
        if rng.random_ratio(1, 3) {
            signal(&owner, "-STOP");
            tokio::time::sleep(Duration::from_millis(rng.random_range(20..600))).await;
            signal(&owner, "-CONT");
        }
        // Every other time it stands still while it is replaced, and finds out when it is woken.
        let frozen = round % 2 == 0;
        if frozen {
            signal(&owner, "-STOP");
        }
        let next = start(round);
        if frozen {
            signal(&owner, "-CONT");
        }
        let ended = owner.child.wait().expect("it was started here");
        assert_eq!(ended.code(), Some(1), "who has lost the shards ends");
        owner = next;
    }
    let set: Vec<&str> = own.iter().map(String::as_str).collect();
    let left = Left { data: folder.path(), set: &set };
    storm.end(owner, left, async || logged(&broker).await).await;

    let log = format!("kafka://{broker}/kill");
    let verified = quire(&["log", "verify", "--log", &log]);
    let last = verified.lines().last().expect("it sums up");
    let void = verified.lines().filter(|line| line.contains(": void: ")).count();
    assert!(last.contains(&format!(" {void} void, 0 cannot be read, 0 missing")), "{last}");
    // What came from an owner that had lost the shard is named with its reason.
    let stale = "the record is of another epoch than the current one";
    let named = verified.lines().filter(|line| line.contains(": void: "));
    assert!(named.clone().all(|line| line.contains(stale)), "{verified}");
    let stats = quire(&["log", "stats", "--log", &log, "--output", "json"]);
    let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
    assert!(stats["claims"].as_u64() >= Some(16 * (round + 1)), "{stats}");
    assert!(void > 0, "no owner wrote after it had lost the shard: {last}");
    println!("{round} take-overs: {last}");
}
