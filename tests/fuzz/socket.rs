//! Enemies at the sockets of the real binary while honest clients write: to documents of their own,
//! and to those that the enemies look into. Nothing that is said may harm anybody else, panic,
//! be answered as a fault of the server, or stay in its memory.
//!
//! `QUIRE_FUZZ_RUNS` sets the number of cases, `QUIRE_FUZZ_SEED` where they begin, and
//! `QUIRE_FUZZ_SILENT` how many connect at once and say nothing, `QUIRE_FUZZ_SET` options of the
//! server, with commas between; the seed of a finding is printed.

mod grammar;
mod line;

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quire::log::{Embedded, Metrics, Options};
use quire::wire::{Codec, ServerMessage, decode_server};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::audited::Left;
use crate::mutation::variable;
use crate::server::{Server, free_port};
use crate::socket::grammar::{Case, End, FRAME_BYTES, OP_BYTES, Step, case, own_docs};
use crate::socket::line::{Finding, Frame, Heard, Line, PATIENCE};
use crate::storm::{Crowd, SETTINGS, Storm};

const RUNS: u64 = 4_000;
const SILENT: u64 = 500;

/// Enemies at once, and those who stay after what they have said.
const AT_ONCE: usize = 24;
const STAY_MAX: usize = 32;

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

/// What was seen of all cases.
#[derive(Default)]
struct Seen {
    answers: BTreeMap<String, u64>,
    findings: Vec<String>,
    staying: Vec<Line>,
    /// Edits of enemies that were acknowledged.
    acks: Arc<AtomicU64>,
}

impl Siege {
    fn begin(settings: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
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
        let server = Server::start_with((&[], log.into()), &data, free_port(), &set_now);
        let address = server.url.trim_start_matches("http://").parse().expect("an address");
        let storm = Storm::of(CROWD, std::slice::from_ref(&server.url));
        Self { _told: told, folder, server, address, set, storm }
    }

    /// Returns what the server holds in memory, in KiB.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.child.id()));
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
        number.expect("it is told").parse().expect("a number")
    }

    async fn metric(&self, name: &str) -> u64 {
        let answer = reqwest::get(format!("{}/metrics", self.server.url)).await;
        let text = answer.expect("it answers").text().await.expect("it is text");
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
        self.memory()
    }

    /// Checks that what the enemies of some seeds have written is whole, and returns in how many
    /// documents they have.
    async fn verify(&self, seeds: Range<u64>) -> usize {
        let mut written = 0;
        for doc in own_docs(seeds) {
            let url = format!("{}/v1/docs/{doc}/verify", self.server.url);
            let answer = reqwest::get(url).await.expect("it answers");
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

/// Is one enemy from its first byte to its end.
async fn attack(
    address: SocketAddr,
    case: Case,
    acks: &AtomicU64,
) -> Result<(String, Option<Line>), Finding> {
    let mut line = Line::open(address).await;
    line.send(&case.handshake).await?;
    if !case.handshake.windows(4).any(|four| four == b"\r\n\r\n") {
        line.shut().await;
        return line.drain().await.map(|()| ("half a request".to_owned(), None));
    }
    let codec = match line.answered().await? {
        Some((101, codec)) => codec,
        Some((status @ 100..500, _)) => return Ok((status.to_string(), None)),
        Some((status, _)) => return Err(format!("the handshake was answered by {status}")),
        None => return Ok(("no answer".to_owned(), None)),
    };
    for step in &case.steps {
        match step {
            Step::Send(bytes) => line.send(bytes).await?,
            Step::Hear => {
                if let Some(end) = answer(&mut line, codec, acks).await? {
                    return Ok((end, None));
                }
            }
        }
    }
    match case.end {
        End::Stay => return Ok(("stays".to_owned(), Some(line))),
        End::Reset => {
            line.reset();
            return Ok(("resets".to_owned(), None));
        }
        End::Shut => line.shut().await,
        End::Close => {}
    }
    loop {
        match line.hear().await? {
            Heard::End => return Ok(("ended".to_owned(), None)),
            Heard::Close(code) => return closed(&mut line, code).await.map(|end| (end, None)),
            Heard::Data { is_text, payload } => drop(read(codec, is_text, &payload)?),
            Heard::Ping(_) | Heard::Pong => {}
        }
    }
}

/// Waits for what the server says to a message; returns how the connection ended, if it did.
async fn answer(
    line: &mut Line,
    codec: Codec,
    acks: &AtomicU64,
) -> Result<Option<String>, Finding> {
    loop {
        match line.hear().await? {
            Heard::End => return Ok(Some("ended".to_owned())),
            Heard::Close(code) => return closed(line, code).await.map(Some),
            Heard::Pong => {}
            Heard::Ping(payload) => {
                let (mask, payload) = (Some([7; 4]), payload.as_slice());
                let pong =
                    Frame { is_last: true, reserved: 0, opcode: 10, mask, claimed: None, payload };
                line.send(&pong.bytes()).await?;
            }
            Heard::Data { is_text, payload } => match read(codec, is_text, &payload)? {
                ServerMessage::Ack { .. } => {
                    acks.fetch_add(1, Ordering::Relaxed);
                    return Ok(None);
                }
                ServerMessage::Welcome(_)
                | ServerMessage::Error { .. }
                | ServerMessage::Moved { .. } => return Ok(None),
                _ => {}
            },
        }
    }
}

/// Reads a message strictly.
fn read(codec: Codec, is_text: bool, payload: &[u8]) -> Result<ServerMessage, Finding> {
    let shown = || String::from_utf8_lossy(payload).chars().take(200).collect::<String>();
    if is_text != (codec == Codec::Json) {
        return Err(format!("a frame of the other kind: {}", shown()));
    }
    if is_text && serde_json::from_slice::<Value>(payload).is_err() {
        return Err(format!("no JSON: {}", shown()));
    }
    match decode_server(codec, payload) {
        Ok(Some(message)) => Ok(message),
        other => Err(format!("{other:?}: {}", shown())),
    }
}

/// Checks a close code, answers it, and waits for the end.
async fn closed(line: &mut Line, code: Option<u16>) -> Result<String, Finding> {
    if matches!(code, Some(4500 | 1011)) {
        return Err(format!("the server calls it its own fault: {code:?}"));
    }
    let bye = Frame {
        is_last: true,
        reserved: 0,
        opcode: 8,
        mask: Some([0; 4]),
        claimed: None,
        payload: b"\x03\xe8",
    };
    line.send(&bye.bytes()).await?;
    line.shut().await;
    line.drain().await?;
    Ok(code.map_or("closed".to_owned(), |code| format!("closed {code}")))
}

/// Runs cases from `first` on, some at once.
async fn run(address: SocketAddr, first: u64, count: u64, seen: &Arc<Mutex<Seen>>) {
    let acks = seen.lock().acks.clone();
    let next = Arc::new(AtomicU64::new(first));
    let mut enemies = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (next, seen, acks) = (next.clone(), seen.clone(), acks.clone());
        enemies.spawn(async move {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return;
                }
                let attacked = attack(address, case(seed), &acks).await;
                let mut seen = seen.lock();
                match attacked {
                    Ok((how, stays)) => {
                        *seen.answers.entry(how).or_default() += 1;
                        seen.staying.extend(stays);
                        let too_many = seen.staying.len().saturating_sub(STAY_MAX);
                        drop(seen.staying.drain(..too_many));
                    }
                    Err(finding) => seen.findings.push(format!("seed {seed}: {finding}")),
                }
            }
        });
    }
    while let Some(ended) = enemies.join_next().await {
        ended.expect("an enemy does not fail by itself");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enemies_at_the_sockets_harm_nobody() {
    let set = env::var("QUIRE_FUZZ_SET").unwrap_or_default();
    let siege = Siege::begin(&set.split_terminator(',').collect::<Vec<_>>());
    let (first, runs) = (variable("QUIRE_FUZZ_SEED", 1), variable("QUIRE_FUZZ_RUNS", RUNS));
    let seen = Arc::<Mutex<Seen>>::default();
    siege.storm.more(1).await;
    let start = siege.memory();
    run(siege.address, first, runs / 2, &seen).await;
    seen.lock().staying.clear();
    let middle = siege.memory_alone().await;
    run(siege.address, first + runs / 2, runs - runs / 2, &seen).await;
    let Seen { answers, findings, staying, acks } = std::mem::take(&mut *seen.lock());
    drop(staying);
    let (end, written) = (siege.memory_alone().await, siege.verify(first..first + runs).await);
    eprintln!(
        "{runs} cases from seed {first}, {} findings, {} edits of enemies, {} honest edits; \
         memory {start} KiB, {middle} \
         KiB in the middle, {end} KiB in the end; {answers:?}",
        findings.len(),
        acks.load(Ordering::Relaxed),
        siege.storm.durable()
    );
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(answers.len() > 10, "much of the grammar is not reached: {answers:?}");
    assert!(written > 0 && acks.load(Ordering::Relaxed) > runs / 20, "no enemy gets far");
    assert!(end < middle + GROWTH_MAX, "it grows: {middle} KiB, then {end} KiB");
    siege.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_say_nothing_are_sent_away_and_leave_nothing() {
    let silent = variable("QUIRE_FUZZ_SILENT", SILENT);
    // Long enough for all of them to be there at once.
    let siege = Siege::begin(&[&format!("edge.hello-timeout={}s", 2 + silent / 500)]);
    siege.storm.more(1).await;
    let start = siege.memory();
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
    let most = siege.memory();
    siege.storm.more(100).await;
    while let Some(ended) = waiting.join_next().await {
        assert_eq!(ended.expect("it ends"), Heard::Close(Some(4408)));
    }
    siege.alone().await;
    let end = siege.memory();
    eprintln!(
        "{silent} handshakes without hello: memory {start} KiB, {most} KiB with all, {end} KiB in \
         the \
         end; {} honest edits",
        siege.storm.durable()
    );
    siege.end().await;
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
