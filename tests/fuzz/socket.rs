//! Enemies at the sockets of the real binary while honest clients write: to documents of their own,
//! and to those that the enemies look into. Nothing that is said may harm anybody else, panic,
//! be answered as a fault of the server, or stay in its memory.
//!
//! `QUIRE_FUZZ_RUNS` sets the number of cases, `QUIRE_FUZZ_SEED` where they begin, and
//! `QUIRE_FUZZ_SILENT` how many connect at once and say nothing, `QUIRE_FUZZ_SET` options of the
//! server, with commas between; the seed of a finding is printed.

mod attack;
mod grammar;
mod guarded;
mod line;
mod pass;

use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use quire::log::{Embedded, Metrics, Options};
use quire::wire::Codec;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::audited::Left;
use crate::mutation::variable;
use crate::server::{Server, free_port};
use crate::socket::attack::{Counts, Field, Seen, run};
use crate::socket::grammar::{FRAME_BYTES, OP_BYTES, case, own_docs};
use crate::socket::line::{Heard, Line, PATIENCE};
use crate::storm::{Crowd, SETTINGS, Storm};

const RUNS: u64 = 4_000;
const SILENT: u64 = 500;

/// Honest writers rest, so that the log stays readable and their documents small: in a debug build
/// each of their characters takes half a KiB, since a node of a rope holds 10 bytes there.
const CROWD: Crowd = Crowd { docs: 4, writers: 8, rest: Duration::from_millis(50) };

/// How far the server may grow from the middle of a run to its end, in KiB. Each time nothing is
/// there but the honest, whose documents grow, and the caches of the log and the checkpoints, which
/// fill up; of 200,000 cases that is half of it.
const GROWTH_MAX: u64 = 32 << 10;

/// A server under siege.
struct Siege {
    /// Comes first, while there is a log.
    _told: Told,
    folder: tempfile::TempDir,
    server: Server,
    address: SocketAddr,
    set: Vec<String>,
    storm: Storm,
    /// What the honest show, where somebody is asked who they are.
    token: Option<String>,
}

/// Tells the last that a server has logged to a file, where the test fails.
struct Told(PathBuf);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(&self.0).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the server's log ends with {:#?}", &lines[lines.len().saturating_sub(20)..]);
        }
    }
}

impl Siege {
    fn begin(settings: &[&str]) -> Self {
        Self::within(tempfile::tempdir().expect("a folder"), settings, None)
    }

    /// Begins with files that are there; the honest show what one of them holds.
    fn within(folder: tempfile::TempDir, settings: &[&str], token: Option<&Path>) -> Self {
        let own = [
            format!("edge.frame-bytes-max={FRAME_BYTES}B"),
            format!("edge.op-bytes-max={OP_BYTES}B"),
            // What is held for documents that nobody uses ends soon.
            "document.idle-after=1s".to_owned(),
        ];
        let given = SETTINGS.iter().chain(settings).map(|set| (*set).to_owned());
        let set: Vec<String> = given.chain(own).collect();
        let set_now: Vec<&str> = set.iter().map(String::as_str).collect();
        let data = folder.path().join("data");
        let told = Told(folder.path().join("log"));
        let log = File::create(&told.0).expect("a file");
        // What the arenas of glibc keep in pieces counted as growth: 18 MiB of 40 in a long run.
        let one_arena = [("MALLOC_ARENA_MAX", "1")];
        let server = Server::start_with((&one_arena, log.into()), &data, free_port(), &set_now);
        let address = server.address();
        let storm = Storm::with(CROWD, std::slice::from_ref(&server.url), token);
        let token = token.map(|file| fs::read_to_string(file).expect("it was written"));
        Self { _told: told, folder, server, address, set, storm, token }
    }

    /// Asks for something as the honest do.
    async fn get(&self, path: &str) -> reqwest::Response {
        let mut asked = reqwest::Client::new().get(format!("{}{path}", self.server.url));
        if let Some(token) = &self.token {
            asked = asked.bearer_auth(token);
        }
        asked.send().await.expect("it answers")
    }

    async fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics").await.text().await.expect("it is text");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |line| line.trim().parse().expect("a number"))
    }

    /// Waits until only the honest are there.
    async fn alone(&self) {
        let honest = CROWD.writers as u64;
        let gone = async {
            while self.metric("quire_edge_sessions ").await != honest {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, gone).await.expect("the sessions of the enemies end");
    }

    /// Waits until nothing but the honest and their documents is there, and returns what the server
    /// holds in memory then, in KiB.
    async fn memory_alone(&self) -> u64 {
        self.alone().await;
        let honest = CROWD.docs as u64;
        let left = async {
            while self.metric("quire_doc_open ").await != honest {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, left).await.expect("documents without clients leave memory");
        self.server.memory()
    }

    /// Lets all enemies come, in two halves, and checks that they find nothing and that nothing of
    /// them stays; returns how many have come, and what they were told.
    async fn stand(&self, field: Field) -> (u64, Arc<Counts>) {
        let (first, runs) = (variable("QUIRE_FUZZ_SEED", 1), variable("QUIRE_FUZZ_RUNS", RUNS));
        let (field, seen) = (Arc::new(field), Arc::<Mutex<Seen>>::default());
        let start = self.server.memory();
        run(&field, first, runs / 2, &seen).await;
        seen.lock().staying.clear();
        let middle = self.memory_alone().await;
        run(&field, first + runs / 2, runs - runs / 2, &seen).await;
        let Seen { answers, findings, staying, counts } = std::mem::take(&mut *seen.lock());
        drop(staying);
        let (end, written) = (self.memory_alone().await, self.verify(first..first + runs).await);
        eprintln!(
            "{runs} cases from seed {first}, {} findings, {counts:?}, {} honest edits; memory \
             {start} KiB, {middle} KiB in the middle, {end} KiB in the end; {answers:?}",
            findings.len(),
            self.storm.durable()
        );
        assert!(findings.is_empty(), "{findings:#?}");
        assert!(answers.len() > 10, "much of the grammar is not reached: {answers:?}");
        assert!(written > 0, "no enemy gets far");
        assert!(end < middle + GROWTH_MAX, "it grows: {middle} KiB, then {end} KiB");
        (runs, counts)
    }

    /// Checks that what the enemies of some seeds have written is whole, and returns in how many
    /// documents they have.
    async fn verify(&self, seeds: Range<u64>) -> usize {
        let mut written = 0;
        for doc in own_docs(seeds) {
            let answer = self.get(&format!("/v1/docs/{doc}/verify")).await;
            if answer.status() == 404 {
                continue;
            }
            let verified = answer.text().await.expect("it is text");
            assert!(verified.contains("\"equal\":true"), "{doc}: {verified}");
            written += 1;
        }
        written
    }

    /// Ends it: everything is checked that the enemies must not have touched.
    async fn end(self) {
        self.alone().await;
        // The honest go on.
        self.storm.more(100).await;
        for reason in ["internal", "unavailable"] {
            let name = format!("quire_edge_closes_total{{reason=\"{reason}\"}}");
            assert_eq!(self.metric(&name).await, 0, "{reason}");
        }
        let data = self.folder.path().join("data");
        let mut set: Vec<&str> = self.set.iter().map(String::as_str).collect();
        set.push("checkpoints=embedded");
        let log = async || {
            let metrics = Metrics::register(&prometheus::Registry::new()).expect("a new registry");
            Embedded::open(&data, Options::default(), metrics).expect("nobody else has it")
        };
        self.storm.end(self.server, Left { data: &data, set: &set }, log).await;
        let lines = fs::read_to_string(self.folder.path().join("log")).expect("it was written");
        let bad = |line: &&str| line.contains("panicked") || line.contains("ERROR");
        let bad: Vec<&str> = lines.lines().filter(bad).collect();
        assert!(bad.is_empty(), "{bad:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enemies_at_the_sockets_harm_nobody() {
    let set = env::var("QUIRE_FUZZ_SET").unwrap_or_default();
    let siege = Siege::begin(&set.split_terminator(',').collect::<Vec<_>>());
    let field = Field { address: siege.address, case: Box::new(case), desk: None };
    siege.storm.more(1).await;
    let (runs, counts) = siege.stand(field).await;
    assert!(counts.acks.load(Ordering::Relaxed) > runs / 20, "no enemy gets far");
    siege.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_say_nothing_are_sent_away_and_leave_nothing() {
    let silent = variable("QUIRE_FUZZ_SILENT", SILENT);
    // Long enough for all of them to be there at once.
    let siege = Siege::begin(&[&format!("edge.hello-timeout={}s", 2 + silent / 500)]);
    siege.storm.more(1).await;
    let start = siege.server.memory();
    let mut after = Vec::new();
    let most = say_nothing(&siege, silent).await;
    after.push(siege.server.memory());
    // What the first ones took is free, and used again.
    let last = loop {
        let before = siege.storm.durable();
        say_nothing(&siege, silent).await;
        after.push(siege.server.memory());
        let last = after[after.len() - 1].saturating_sub(after[after.len() - 2]);
        // Edits of the honest take 0.75 KiB each, and a connection some while it is there.
        if last < siege.storm.durable() - before + silent / 4 {
            break last;
        }
        assert!(after.len() < 5, "it grows each time: {after:?} KiB");
    };
    siege.storm.more(100).await;
    siege.alone().await;
    eprintln!(
        "{silent} handshakes without hello, {} times: memory {start} KiB, {most} KiB with all, \
         {after:?} KiB after, at last {last} more; {} honest edits",
        after.len(),
        siege.storm.durable()
    );
    siege.end().await;
}

/// Has so many shake hands and say nothing until they are sent away, and returns the memory that
/// the server has with all of them, in KiB.
async fn say_nothing(siege: &Siege, silent: u64) -> u64 {
    let mut waiting = JoinSet::new();
    for number in 0..silent {
        let mut line = Line::open(siege.address).await;
        line.send(&knock(number)).await.expect("it is read");
        waiting.spawn(async move {
            assert_eq!(line.answered().await, Ok(Some((101, Codec::Json))));
            loop {
                match line.hear().await.expect("frames") {
                    Heard::Data { .. } | Heard::Ping(_) | Heard::Pong => {}
                    other => return other,
                }
            }
        });
    }
    let most = siege.server.memory();
    siege.storm.more(100).await;
    while let Some(ended) = waiting.join_next().await {
        assert_eq!(ended.expect("it ends"), Heard::Close(Some(4408)));
    }
    most
}

fn knock(number: u64) -> Vec<u8> {
    format!(
        "GET /ws/kill-{} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        number % 4
    )
    .into_bytes()
}
