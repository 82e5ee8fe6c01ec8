//! How long honest writers wait for their acknowledgements while 500 hostile connections are at the
//! same node, against the same writers in quiet, and while the hostile are at another node of the
//! machine: what they raise there is the machine's, and no order of turns makes it less.
//!
//! The nodes are the real binary in processes of their own, with their logs on disk. The honest
//! write from this process, the hostile from one more that has a core when nobody else wants it, so
//! that what they compute themselves costs nobody much: elsewhere they have machines of their own.
//! All share the cores of one machine. The hostile come through a proxy, as one user or as 20, by
//! address.
//!
//! ```sh
//! cargo bench --bench fairness                     # both cases, three rounds each
//! cargo bench --bench fairness -- large slow       # with these kinds of noise only
//! QUIRE_FAIRNESS_SECONDS=30 QUIRE_FAIRNESS_SET=edge.ops-per-second=100 cargo bench ...
//! ```

#[allow(dead_code, reason = "the fuzzer uses more of it")]
#[path = "../tests/fuzz/socket/line.rs"]
mod line;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../tests/integration/server.rs"]
mod server;

use std::env;
use std::fmt;
use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use quire::client::{Document, Options};
use quire::text::Operation;
use quire::types::DocId;
use reqwest::{Method, StatusCode};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::line::{Frame, Heard, Line};
use crate::server::{Server, free_port};

const HONEST: usize = 50;

/// How often each of the honest writes.
const BEAT: Duration = Duration::from_millis(100);

const ROUNDS: usize = 3;
const SECONDS: u64 = 10;

/// What is left out at the beginning of each phase.
const SETTLING: Duration = Duration::from_secs(2);

/// The hostile, by what they do.
const NOISE: [(&str, u64); 7] = [
    ("small", 130),
    ("large", 40),
    ("slow", 90),
    ("knock", 70),
    ("garbage", 70),
    ("silent", 50),
    ("history", 50),
];

/// The text of a large edit: nearly all that one may have.
const LARGE: usize = 250 << 10;

/// How many lines a text has whose history is read: about a megabyte.
const LINES: usize = 60_000;

/// What is measured at the moment: the quiet node, the node while another one of the machine is
/// noisy, the noisy node, or nothing.
const QUIET: usize = 0;
const APART: usize = 1;
const NOISY: usize = 2;
const NOTHING: usize = 3;

fn main() {
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("threads");
    if words.first().is_some_and(|word| word == "noise") {
        return runtime.block_on(noise(&words[1..]));
    }
    let kinds: Vec<&str> = match words.is_empty() {
        true => NOISE.iter().map(|(kind, _)| *kind).collect(),
        false => words.iter().map(String::as_str).collect(),
    };
    runtime.block_on(async {
        measure("one noisy user, on other shards", (16, 1), &kinds).await;
        measure("20 noisy users, on other shards", (16, 20), &kinds).await;
        measure("20 noisy users, all on one shard", (1, 20), &kinds).await;
    });
}

/// How long the acknowledgements of each phase took, in microseconds.
type Took = [Mutex<Histogram<u64>>; NOTHING];

/// Writers whose acknowledgements are timed.
struct Honest {
    phase: Arc<AtomicUsize>,
    took: Arc<Took>,
    writers: JoinSet<()>,
}

impl Honest {
    fn begin(url: &str, shards: u32) -> Self {
        let phase = Arc::new(AtomicUsize::new(NOTHING));
        let empty = || Mutex::new(Histogram::<u64>::new(3).expect("three digits"));
        let took = Arc::new([empty(), empty(), empty()]);
        let mut writers = JoinSet::new();
        for id in ids("honest", shards, 0).take(HONEST) {
            let document = Document::open(id, Options::new(url));
            writers.spawn(write(document, phase.clone(), took.clone()));
        }
        Self { phase, took, writers }
    }

    /// Measures one phase.
    async fn phase(&self, phase: usize, seconds: u64, server: &Server) -> Phase {
        sleep(SETTLING).await;
        let (before, began) = (busy(server), Instant::now());
        self.phase.store(phase, Ordering::Relaxed);
        sleep(Duration::from_secs(seconds)).await;
        self.phase.store(NOTHING, Ordering::Relaxed);
        let cores = (busy(server) - before) / began.elapsed().as_secs_f64();
        let took = self.took[phase].lock();
        let [p50, p99] = [0.5, 0.99].map(|part| took.value_at_quantile(part));
        Phase { p50, p99, count: took.len(), cores }
    }
}

/// What was measured: times in microseconds, and how many cores the node had.
struct Phase {
    p50: u64,
    p99: u64,
    count: u64,
    cores: f64,
}

impl Phase {
    /// Spells the ratio of the 99th percentiles.
    fn against(&self, other: &Self) -> String {
        format!("{:.2}", self.p99 as f64 / other.p99 as f64)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, count, cores } = self;
        write!(f, "p50 {p50} us, p99 {p99} us ({count} edits, {cores:.2} cores)")
    }
}

/// Names documents: the honest have the shards with even numbers, the others those with odd ones,
/// where there are several.
fn ids(name: &'static str, shards: u32, odd: u32) -> impl Iterator<Item = DocId> {
    let all = (0..).map(move |n| format!("{name}-{n}").parse::<DocId>().expect("a name"));
    all.filter(move |id| shards == 1 || id.shard(shards).0 % 2 == odd)
}

async fn write(document: Document, phase: Arc<AtomicUsize>, took: Arc<Took>) {
    sleep(BEAT.mul_f64(rand::random())).await;
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let now = phase.load(Ordering::Relaxed);
        let began = Instant::now();
        document.edit(&Operation::builder().insert("x").build()).expect("it fits");
        document.wait_durable().await.expect("the server takes the client");
        if let Some(took) = took.get(now) {
            let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            // Who waits long does not write meanwhile: the edits that are left out count, too.
            let beat = u64::try_from(BEAT.as_micros()).expect("it is short");
            let recorded = took.lock().record_correct(micros, beat);
            recorded.expect("it is in the range");
        }
    }
}

async fn measure(case: &str, (shards, users): (u32, u64), kinds: &[&str]) {
    let variable = |name| env::var(name).ok();
    let seconds = variable("QUIRE_FAIRNESS_SECONDS").and_then(|text| text.parse().ok());
    let seconds = seconds.unwrap_or(SECONDS);
    let more = variable("QUIRE_FAIRNESS_SET").unwrap_or_default();
    let shards_set = format!("shards={shards}");
    let mut set = vec![shards_set.as_str(), "telemetry.log-level=error"];
    // The hostile come from elsewhere, through a proxy that says so.
    set.extend(["edge.trusted-proxies=127.0.0.0/8", "edge.proxy-header=forwarded"]);
    set.extend(more.split_terminator(','));
    let mut ratios = [Vec::new(), Vec::new(), Vec::new()];
    for round in 1..=ROUNDS {
        let data = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
        let [server, other] = [0, 1].map(|at| Server::start(data[at].path(), free_port(), &set));
        let mut honest = Honest::begin(&server.url, shards);
        let quiet = honest.phase(QUIET, seconds, &server).await;
        println!("{case}, round {round}: quiet {quiet}");
        let noise = Noise::begin(&other.url, (shards, users), kinds);
        let apart = honest.phase(APART, seconds, &server).await;
        println!("  noise at another node: {apart}; {}", noise.end());
        drop(other);
        let noise = Noise::begin(&server.url, (shards, users), kinds);
        let noisy = honest.phase(NOISY, seconds, &server).await;
        println!("  noise at this node: {noisy}; {}", noise.end());
        honest.writers.abort_all();
        while honest.writers.join_next().await.is_some() {}
        ratios[0].push(noisy.against(&quiet));
        ratios[1].push(apart.against(&quiet));
        ratios[2].push(noisy.against(&apart));
    }
    let [noisy, apart, over] = ratios.map(|ratios| ratios.join(", "));
    println!(
        "{case}: p99 with noise against without: {noisy} (goal: 2); what the machine does to it, \
         with the noise at another node: {apart}; at this node against that: {over}"
    );
}

/// Returns for how many seconds a server has had a core.
fn busy(server: &Server) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", server.child.id())).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks: f64 = fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
}

/// The process of the hostile.
struct Noise(Child);

impl Noise {
    fn begin(url: &str, (shards, users): (u32, u64), kinds: &[&str]) -> Self {
        let address = url.trim_start_matches("http://");
        let own = env::current_exe().expect("it runs");
        let mut command = Command::new("chrt");
        command.args(["--idle", "0"]).arg(own).args(["noise", address]);
        command
            .args([shards.to_string(), users.to_string()])
            .args(kinds)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self(command.spawn().expect("chrt (util-linux) runs"))
    }

    /// Ends it, and returns what it has done.
    fn end(mut self) -> String {
        drop(self.0.stdin.take());
        let mut done = String::new();
        let mut told = self.0.stdout.take().expect("it is piped");
        told.read_to_string(&mut done).expect("it is text");
        self.0.wait().expect("it was started here");
        done.trim().to_owned()
    }
}

/// Counts what the hostile do.
type Done = Arc<[AtomicU64; NOISE.len()]>;

/// Makes noise until the process that wanted it ends it.
async fn noise(words: &[String]) {
    let [address, shards, users, kinds @ ..] = words else { panic!("four words at least") };
    let address: SocketAddr = address.parse().expect("an address");
    let shards = shards.parse().expect("a number");
    let users: u64 = users.parse().expect("a number");
    let done = Done::default();
    let docs: Vec<DocId> = ids("noise", shards, 1).take(500).collect();
    let mut hostile = JoinSet::new();
    for (kind, (name, count)) in NOISE.iter().enumerate() {
        let count = if kinds.iter().any(|one| one == name) { *count } else { 0 };
        for number in 0..count {
            let doc = match *name {
                // They read what is written most.
                "slow" => docs[200 + usize::try_from(number).expect("short") % 40].clone(),
                "large" => docs[200 + usize::try_from(number).expect("short")].clone(),
                "history" => docs[300 + usize::try_from(number).expect("short")].clone(),
                _ => docs[usize::try_from(number).expect("short")].clone(),
            };
            hostile.spawn(annoy(kind, address, (doc, number % users), done.clone()));
        }
    }
    let began = Instant::now();
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    ended.await.expect("it ends").expect("it can be read");
    let seconds = began.elapsed().as_secs_f64();
    let rates = NOISE.iter().zip(done.iter()).map(|((kind, _), done)| {
        format!("{kind} {:.0}/s", done.load(Ordering::Relaxed) as f64 / seconds)
    });
    println!("{}", rates.collect::<Vec<_>>().join(", "));
    std::process::exit(0);
}

/// Is one hostile connection after the other.
async fn annoy(kind: usize, address: SocketAddr, (doc, user): (DocId, u64), done: Done) {
    loop {
        // Whatever the node does about it: they come again.
        let _ = hostility(NOISE[kind].0, address, (&doc, user), &done[kind]).await;
        sleep(Duration::from_millis(1)).await;
    }
}

async fn hostility(
    kind: &str,
    address: SocketAddr,
    (doc, user): (&DocId, u64),
    done: &AtomicU64,
) -> Result<(), String> {
    if kind == "history" {
        let read = read_on(&format!("http://{address}/v1/docs/{doc}"), user, done).await;
        return read.map_err(|error| error.to_string());
    }
    let mut line = Line::open(address).await;
    line.send(knock(doc, user).as_bytes()).await?;
    if line.answered().await?.is_none_or(|(status, _)| status != 101) {
        return Err("not let in".to_owned());
    }
    match kind {
        "knock" => drop(done.fetch_add(1, Ordering::Relaxed)),
        "silent" => {
            while line.hear().await? != Heard::End {}
            done.fetch_add(1, Ordering::Relaxed);
        }
        "garbage" => {
            join(&mut line).await?;
            line.send(text(b"{\"t\":\"op\",\"op\":[[[[[[").as_slice()).await?;
            while line.hear().await? != Heard::End {
                line.shut().await;
            }
            done.fetch_add(1, Ordering::Relaxed);
        }
        "slow" => {
            join(&mut line).await?;
            done.fetch_add(1, Ordering::Relaxed);
            // Reads nothing until it is thrown out.
            sleep(Duration::from_secs(60)).await;
        }
        _ => type_on(&mut line, if kind == "large" { LARGE } else { 1 }, done).await?,
    }
    Ok(())
}

fn knock(doc: &DocId, user: u64) -> String {
    let address = 1 + user;
    format!(
        "GET /ws/{doc} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\n\
         forwarded: for=192.0.2.{address}\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Has two texts compared, and the document verified, as fast as it is answered.
async fn read_on(url: &str, user: u64, done: &AtomicU64) -> reqwest::Result<()> {
    let client = reqwest::Client::new();
    let ask = async |method: Method, path: &str, body: String| {
        let asked = client.request(method, format!("{url}{path}")).body(body);
        let asked = asked.header("forwarded", format!("for=192.0.2.{}", 1 + user));
        let answer = asked.header("content-type", "text/plain").send().await?;
        let status = answer.status();
        // To its end, so that the connection goes on.
        answer.bytes().await.map(|_| status)
    };
    loop {
        for path in ["/diff?from=1&to=2&limit=1", "/verify"] {
            match ask(Method::GET, path, String::new()).await? {
                StatusCode::OK => drop(done.fetch_add(1, Ordering::Relaxed)),
                StatusCode::NOT_FOUND => drop(ask(Method::PUT, "", lines()).await?),
                _ => {}
            }
        }
    }
}

/// Returns lines in no order: to compare them takes as much work as a comparison may.
fn lines() -> String {
    let line = |_| format!("line {:011}\n", rand::random_range(0..5_000));
    (0..LINES).map(line).collect()
}

fn text(payload: &[u8]) -> Vec<u8> {
    let (mask, claimed) = (Some([0; 4]), None);
    Frame { is_last: true, reserved: 0, opcode: 1, mask, claimed, payload }.bytes()
}

/// Joins the document, and returns its revision.
async fn join(line: &mut Line) -> Result<u64, String> {
    let session = rand::random::<u128>();
    let hello = format!("{{\"t\":\"hello\",\"v\":1,\"session\":\"{session:032x}\"}}");
    line.send(&text(hello.as_bytes())).await?;
    let welcome = told(line, "welcome").await?.ok_or("it was put off")?;
    let welcome = String::from_utf8_lossy(&welcome);
    let revision = welcome.split("\"rev\":").nth(1).and_then(|rest| rest.split(',').next());
    revision.and_then(|text| text.parse().ok()).ok_or("no revision".to_owned())
}

/// Waits for a message; there is none where an error came that leaves the connection open.
async fn told(line: &mut Line, kind: &str) -> Result<Option<Vec<u8>>, String> {
    loop {
        let payload = match line.hear().await? {
            Heard::Data { payload, .. } => payload,
            Heard::End | Heard::Close(_) => return Err("sent away".to_owned()),
            Heard::Ping(_) | Heard::Pong => continue,
        };
        let begins = |with: &str| payload.starts_with(format!("{{\"t\":\"{with}\"").as_bytes());
        match () {
            () if begins(kind) => return Ok(Some(payload)),
            () if begins("error") => {
                let text = String::from_utf8_lossy(&payload);
                return if text.contains("\"fatal\":true") { Err(text.into()) } else { Ok(None) };
            }
            () => {}
        }
    }
}

/// Replaces its own text as fast as it is let.
async fn type_on(line: &mut Line, length: usize, done: &AtomicU64) -> Result<(), String> {
    let head = join(line).await?;
    let new = "y".repeat(length);
    for seq in 1_u64.. {
        let op = format!("\"{new}\"");
        let op = if seq == 1 { op } else { format!("{{\"d\":{length}}},{op}") };
        let base = head + seq - 1;
        let message = format!("{{\"t\":\"op\",\"seq\":{seq},\"base\":{base},\"op\":[{op}]}}");
        let message = text(message.as_bytes());
        loop {
            line.send(&message).await?;
            if told(line, "ack").await?.is_some() {
                break;
            }
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
