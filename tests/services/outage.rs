//! Services that are gone for a while: nothing is acknowledged without the log, editing goes on
//! without the checkpoints, and all resumes by itself.

use std::collections::HashMap;
use std::time::Duration;

use bytesize::ByteSize;
use quire::client::{Document, Options, Status};
use quire::config::{Config, Engine, Remote};
use quire::log::{Log, Marks};
use quire::node::Node;
use quire::shard;
use quire::text::Operation;
use quire::types::{DocId, Offset, ShardId};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::kill::settings;
use crate::raw::{Raw, hello, node};
use crate::server::{Server, free_port};
use crate::service::{Service, metric};

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

fn open(server: &Server, doc: &str) -> Document {
    Document::open(doc.parse().expect("an id"), Options::new(&server.url))
}

pub(crate) fn append(document: &Document, text: &str) {
    let end = |chars: u64| u32::try_from(chars).expect("short");
    let edited =
        document.change(|view| Operation::builder().retain(end(view.chars())).insert(text).build());
    edited.expect("the end is not past the end");
}

pub(crate) async fn durable(document: &Document) {
    let durable = timeout(PATIENCE, document.wait_durable()).await.expect("it becomes durable");
    durable.expect("the server takes the client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_services_a_node_promises_nothing_and_goes_on_by_itself() {
    let (kafka, broker) = Service::start("kafka").await;
    let (cassandra, hosts) = Service::start("cassandra").await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut own = settings(&broker, &hosts);
    own.extend(["kafka.append-timeout=1s", "document.idle-after=1s"].map(str::to_owned));
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let server = Server::start(folder.path(), free_port(), &own);
    let document = open(&server, "a");
    append(&document, "before ");
    durable(&document).await;

    // Without the log: clients are told after a while, and keep what they have written.
    kafka.run("kill").await;
    append(&document, "meanwhile ");
    let mut status = document.status();
    let told = status.wait_for(|status| *status == Status::Offline);
    timeout(PATIENCE, told).await.expect("the client is told").expect("it is open");
    append(&document, "offline ");
    kafka.run("start").await;
    durable(&document).await;
    assert_eq!(document.text(), "before meanwhile offline ", "all of it, and once");

    // Without the checkpoints: who is connected edits on, and what is closed waits.
    let url = format!("{}/v1/docs", server.url);
    let closed = open(&server, "closed");
    append(&closed, "text");
    durable(&closed).await;
    closed.close().await;
    let health = async |doc: &str| reqwest::get(format!("{url}/{doc}")).await.expect("it answers");
    cassandra.run("kill").await;
    append(&document, "on ");
    durable(&document).await;
    let never = health("never-opened").await;
    assert_eq!(never.status().as_u16(), 503, "whether it exists is not known");
    cassandra.run("start").await;
    let back = async {
        while health("never-opened").await.status().as_u16() == 503 {}
        let text = health("closed").await.text().await.expect("it is text");
        assert!(text.contains("\"text\":\"text\""), "{text}");
    };
    timeout(PATIENCE, back).await.expect("it goes on by itself");
    append(&document, "after");
    durable(&document).await;
    assert_eq!(document.text(), "before meanwhile offline on after");
    server.stop();
}

/// Has a node keep its log in Kafka.
fn on_kafka(config: &mut Config, broker: &str) {
    config.log = Engine::Kafka(Remote { hosts: vec![broker.to_owned()], name: "gone".to_owned() });
    config.kafka.create_topics = true;
    config.kafka.allow_single_replica = true;
}

fn op(seq: u64, base: u64, text: &str) -> String {
    serde_json::json!({"t": "op", "seq": seq, "base": base, "op": [text]}).to_string()
}

/// Returns the next message of these kinds; nobody hears another one's revision meanwhile.
async fn hear(raw: &mut Raw, kinds: &[&str]) -> Value {
    loop {
        let message = raw.next().await;
        let kind = message["t"].as_str().expect("it has a kind");
        if kinds.contains(&kind) {
            return message;
        }
        assert_eq!(kind, "presence", "{message}");
    }
}

/// Returns when the server wants a batch again that it has put off.
fn put_off(error: &Value) -> Duration {
    assert_eq!((&error["code"], &error["fatal"]), (&"rate".into(), &false.into()), "{error}");
    let retry = error["retry_ms"].as_u64().expect("it says when to try again");
    assert!(retry > 0, "{error}");
    Duration::from_millis(retry)
}

/// Is sent away: the document is not available, and when to come back.
async fn sent_away(raw: &mut Raw) -> Duration {
    // Between the pings of a connection that is left open for ever.
    let (error, close) = timeout(PATIENCE, raw.end()).await.expect("it is sent away");
    assert_eq!((error["code"].as_str(), close), (Some("unavailable"), 4503), "{error}");
    assert_eq!(error["fatal"], true);
    Duration::from_millis(error["retry_ms"].as_u64().expect("it says when to come back"))
}

/// Joins, as often as the server wants it.
async fn join(node: &Node, doc: &str, digit: char) -> (Raw, Value) {
    let joining = async {
        loop {
            let mut raw = Raw::say(node, doc, &hello(digit, "")).await;
            let answer = raw.next().await;
            if answer["t"] == "welcome" {
                return (raw, answer);
            }
            let retry = answer["retry_ms"].as_u64().expect("it says when to come back");
            sleep(Duration::from_millis(retry)).await;
        }
    };
    timeout(PATIENCE, joining).await.expect("it goes on by itself")
}

const DOCS: [&str; 3] = ["a", "b", "c"];
const WRITERS: usize = 8;
/// Characters of a batch, of four bytes each.
const CHARS: usize = 2_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_fit_the_queue_is_put_off_and_all_is_written_once_when_the_log_is_back() {
    let (kafka, broker) = Service::start("kafka").await;
    let (own, all) = (ByteSize::kib(64), ByteSize::kib(150));
    let node = node(|config| {
        on_kafka(config, &broker);
        config.kafka.append_timeout = PATIENCE;
        (config.document.queue_bytes, config.document.queue_bytes_total) = (own, all);
    })
    .await;
    let letter = |n: usize| char::from_u32(0x2_0000 + n as u32).expect("it is one");
    let text = |n| letter(n).to_string().repeat(CHARS);
    let mut writers = Vec::new();
    for n in 0..DOCS.len() * WRITERS {
        let digit = char::from_digit(n as u32 % 8 + 1, 10).expect("it is one");
        let (raw, _) = Raw::join(&node, DOCS[n / WRITERS], digit, r#","ordered":true"#).await;
        writers.push((n, raw));
    }
    kafka.run("freeze").await;
    for (n, raw) in &mut writers {
        raw.send(&op(1, 0, &text(*n))).await;
    }
    let (mut waiting, mut again) = (HashMap::new(), Vec::new());
    for (n, raw) in &mut writers {
        // Not one is acknowledged.
        let told = hear(raw, &["ordered", "error"]).await;
        if told["t"] == "ordered" {
            *waiting.entry(DOCS[*n / WRITERS]).or_insert(0) += 4 * CHARS as u64;
        } else {
            again.push((*n, put_off(&told)));
        }
    }
    assert!(waiting.values().all(|bytes| *bytes <= own.as_u64()), "{waiting:?}");
    assert!(waiting.values().sum::<u64>() <= all.as_u64(), "{waiting:?}");
    // No less than what fits, either: each document's writers have filled their part, or all have.
    assert!(waiting.values().sum::<u64>() + 5 * CHARS as u64 > all.as_u64(), "{waiting:?}");
    assert!(!again.is_empty(), "somebody was put off");
    // Who comes again too early is put off again, and nothing more is waiting than before.
    let (first, retry) = again[0];
    sleep(retry).await;
    writers[first].1.send(&op(1, 0, &text(first))).await;
    put_off(&hear(&mut writers[first].1, &["error"]).await);

    kafka.run("thaw").await;
    for (n, _) in &again {
        writers[*n].1.send(&op(1, 0, &text(*n))).await;
    }
    for (n, raw) in &mut writers {
        let mut acknowledged = 0;
        loop {
            let message = raw.next().await;
            match message["t"].as_str() {
                Some("ack") => {
                    acknowledged += 1;
                    raw.send(r#"{"t":"ping","n":1}"#).await;
                }
                Some("error") => {
                    sleep(put_off(&message)).await;
                    raw.send(&op(1, 0, &text(*n))).await;
                }
                Some("pong") => break,
                _ => {}
            }
        }
        assert_eq!(acknowledged, 1);
    }
    for (at, doc) in DOCS.iter().enumerate() {
        let (_, welcome) = Raw::join(&node, doc, '9', "").await;
        assert_eq!(welcome["head"], WRITERS, "each batch is one revision");
        let shown = welcome["text"].as_str().expect("the text");
        assert_eq!(shown.chars().count(), WRITERS * CHARS);
        for n in at * WRITERS..(at + 1) * WRITERS {
            assert!(shown.contains(&text(n)), "all of {n} is there");
        }
    }
    node.stop().await.expect("all is saved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_log_is_gone_clients_are_sent_away_and_nothing_is_acknowledged() {
    let (kafka, broker) = Service::start("kafka").await;
    let node = node(|config| {
        on_kafka(config, &broker);
        config.kafka.append_timeout = Duration::from_secs(1);
    })
    .await;
    let (mut raw, _) = Raw::join(&node, "a", '1', "").await;
    raw.send(&op(1, 0, "before ")).await;
    hear(&mut raw, &["ack"]).await;
    kafka.run("kill").await;
    raw.send(&op(2, 1, "meanwhile ")).await;
    sent_away(&mut raw).await;
    let retry = sent_away(&mut Raw::say(&node, "a", &hello('1', "")).await).await;
    assert!(!retry.is_zero());

    kafka.run("start").await;
    let (mut raw, welcome) = join(&node, "a", '1').await;
    // It may have been handed over to the brokers again meanwhile, and is not written twice.
    assert!([1, 2].contains(&welcome["seq"].as_u64().expect("a number")), "{welcome}");
    raw.send(&op(2, 1, "meanwhile ")).await;
    assert_eq!(hear(&mut raw, &["ack"]).await["rev"], 2);
    let (_, welcome) = Raw::join(&node, "a", '2', "").await;
    assert_eq!((&welcome["text"], &welcome["head"]), (&"meanwhile before ".into(), &2.into()));
    node.stop().await.expect("all is saved");
}

const SHARDS: u32 = 2;

/// Waits until something is so.
async fn until(so: impl AsyncFn() -> bool, what: &str) {
    let waiting = async {
        while !so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect(what);
}

async fn marks(log: &dyn Log) -> Vec<Marks> {
    let mut marks = Vec::new();
    for shard in (0..SHARDS).map(ShardId) {
        marks.push(log.marks(shard).await.expect("it answers"));
    }
    marks
}

/// Waits until everything is covered by checkpoints, and trimmed.
async fn trimmed(log: &dyn Log) {
    let trimmed = async || marks(log).await.iter().all(|marks| marks.low == marks.high);
    until(trimmed, "checkpoints catch up").await;
}

fn low(marks: &[Marks]) -> Vec<Offset> {
    marks.iter().map(|marks| marks.low).collect()
}

async fn uncovered(url: &str) -> f64 {
    metric(url, "quire_shard_tail_bytes").await
}

/// Returns the name of a document in each shard.
fn one_a_shard() -> Vec<String> {
    let shard_of = |name: &str| name.parse::<DocId>().expect("an id").shard(SHARDS);
    let name = |shard| {
        let mut names = (0..).map(|n| format!("hot-{n}"));
        names.find(|name| shard_of(name) == ShardId(shard)).expect("some name is there")
    };
    (0..SHARDS).map(name).collect()
}

/// One who fills a document.
struct Filler {
    raw: Raw,
    batches: u64,
}

impl Filler {
    /// Sends the next batch; tells whether it is durable, or else when it is wanted again.
    async fn write(&mut self) -> Result<(), Duration> {
        self.raw.send(&op(self.batches + 1, self.batches, &"x".repeat(FILL))).await;
        let told = hear(&mut self.raw, &["ack", "error"]).await;
        if told["t"] == "error" {
            return Err(put_off(&told));
        }
        self.batches += 1;
        Ok(())
    }
}

/// Characters of a batch that fills the log, of one byte each.
const FILL: usize = 32_000;

/// Bytes of the log that no checkpoint may cover.
const LIMIT: ByteSize = ByteSize::mib(1);

/// Writes until everybody is put off.
async fn fill(fillers: &mut [Filler], url: &str) {
    let mut put_off = false;
    while !put_off {
        put_off = true;
        for filler in &mut *fillers {
            put_off &= filler.write().await.is_err();
        }
        // One more of each document may be on its way when the bound is reached.
        let most = LIMIT.as_u64() as usize + (1 + fillers.len()) * (FILL + 200);
        let now = uncovered(url).await;
        assert!(now <= most as f64, "{now} of {LIMIT}");
    }
}

/// Returns the limits of shards whose logs are short.
fn trimmed_at_once() -> shard::Config {
    shard::Config {
        trim_margin: 0,
        trim_delay: Duration::ZERO,
        tail_age_max: Duration::from_secs(1),
        tail_bytes_limit: LIMIT,
        ..shard::Config::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_checkpoints_the_log_keeps_everything_up_to_a_bound_and_is_trimmed_afterwards() {
    let (_kafka, broker) = Service::start("kafka").await;
    let (cassandra, hosts) = Service::start("cassandra").await;
    let configure = |config: &mut Config| {
        on_kafka(config, &broker);
        let (hosts, name) = (vec![hosts.clone()], "gone".to_owned());
        config.checkpoints = Engine::Cql(Remote { hosts, name });
        config.cql.replication_factor = 1;
        config.cql.request_timeout = Duration::from_secs(2);
        config.shards = SHARDS;
        config.shard = trimmed_at_once();
        config.document.idle_after = Duration::from_secs(1);
    };
    let node = node(configure).await;
    let (log, url) = (node.stores().log, format!("http://{}", node.address));
    let (mut cold, _) = Raw::join(&node, "cold", '1', "").await;
    cold.send(&op(1, 0, "cold")).await;
    hear(&mut cold, &["ack"]).await;
    drop(cold);
    // The bound is over all shards.
    let names = one_a_shard();
    let mut fillers = Vec::new();
    for name in &names {
        let (raw, _) = Raw::join(&node, name, '1', "").await;
        let mut filler = Filler { raw, batches: 0 };
        filler.write().await.expect("there is room");
        fillers.push(filler);
    }
    trimmed(&*log).await;
    let closed = async || metric(&url, "quire_doc_open").await == f64::from(SHARDS);
    until(closed, "nobody uses the cold one").await;
    assert_eq!(uncovered(&url).await, 0.0);
    let before = marks(&*log).await;

    // The store stands still, then it is gone: who is connected edits on, what is closed waits.
    for outage in ["freeze", "kill"] {
        cassandra.run(outage).await;
        let retry = sent_away(&mut Raw::say(&node, "cold", &hello('2', "")).await).await;
        assert!(!retry.is_zero());
        for filler in &mut fillers {
            filler.write().await.expect("there is room");
        }
    }
    fill(&mut fillers, &url).await;
    let failed = r#"quire_doc_checkpoints_total{outcome="failed"}"#;
    let tried = async || metric(&url, failed).await >= f64::from(SHARDS);
    until(tried, "checkpoints are tried").await;
    assert!(uncovered(&url).await >= LIMIT.as_u64() as f64);
    assert_eq!(low(&marks(&*log).await), low(&before), "nothing is trimmed");

    cassandra.run("start").await;
    for filler in &mut fillers {
        let going_on = async {
            while let Err(retry) = filler.write().await {
                sleep(retry).await;
            }
        };
        timeout(PATIENCE, going_on).await.expect("it goes on by itself");
    }
    trimmed(&*log).await;
    assert_eq!(uncovered(&url).await, 0.0);
    let after = low(&marks(&*log).await);
    assert!(after.iter().zip(&low(&before)).all(|(after, before)| after > before), "{after:?}");
    node.stop().await.expect("all is saved");
    // Out of what was stored late, because the log has none of it any more.
    let node = crate::raw::node(configure).await;
    assert_eq!(join(&node, "cold", '3').await.1["text"], "cold");
    for (name, filler) in names.iter().zip(fillers) {
        let (_, welcome) = join(&node, name, '3').await;
        assert_eq!(welcome["head"], filler.batches);
        let chars = welcome["text"].as_str().map(str::len);
        assert_eq!(chars, Some(filler.batches as usize * FILL));
    }
    node.stop().await.expect("all is saved");
}
