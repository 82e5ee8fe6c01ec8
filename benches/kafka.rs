//! The time of an acknowledgement through Quire, beside a bare produce of the same bytes to the
//! same broker in the same run. `KAFKA_BOOTSTRAP=HOST:PORT cargo bench --bench kafka`.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use quire::client::{Connection, Credentials};
use quire::clock::Clock;
use quire::config::{Config, Engine, Remote};
use quire::node::Node;
use quire::text::Operation;
use quire::types::{Revision, Seq, SessionId};
use quire::wire::{ClientMessage, Codec, Hello, Mode, ServerMessage, VERSION};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::time::{Instant, interval_at};

/// About a frame with one keystroke.
const RECORD: [u8; 92] = [7; 92];

const SECONDS: u64 = 10;
const DOCS: u32 = 100;

fn main() {
    let Ok(hosts) = std::env::var("KAFKA_BOOTSTRAP") else {
        // `cargo test --benches` and the like have no broker.
        return println!("KAFKA_BOOTSTRAP is not set: nothing is measured");
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("threads").block_on(measure(hosts));
}

async fn measure(hosts: String) {
    let name = format!("bench-{:08x}", rand::random::<u32>());
    let hosts: Vec<String> = hosts.split(',').map(str::to_owned).collect();
    let mut config = Config {
        listen: ([127, 0, 0, 1], 0).into(),
        log: Engine::Kafka(Remote { hosts: hosts.clone(), name: name.clone() }),
        checkpoints: Engine::Memory,
        ..Config::default()
    };
    config.kafka.create_topics = true;
    config.kafka.allow_single_replica = true;
    let node = Node::start(&config, Clock::wall()).await.expect("it starts");
    println!("{:>10} {:>22} {:>22}", "edits/s", "bare p50 / p99 ms", "Quire p50 / p99 ms");
    for rate in [100_u64, 2_000] {
        for _ in 0..3 {
            let bare = bare(&hosts, &format!("{name}-log"), rate).await;
            let through = through(&node, rate).await;
            println!(
                "{rate:>10} {:>13.2} / {:>6.2} {:>13.2} / {:>6.2}",
                bare.0, bare.1, through.0, through.1
            );
        }
    }
    node.stop().await.expect("all is saved");
}

/// Produces at a rate, to partitions in turn, as Quire's producer is set up.
async fn bare(hosts: &[String], topic: &str, rate: u64) -> (f64, f64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", hosts.join(","));
    config.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "0");
    config.set("socket.nagle.disable", "true");
    let producer: FutureProducer = config.create().expect("a producer");
    let step = Duration::from_secs(1) / u32::try_from(rate).expect("small");
    let mut ticks = interval_at(Instant::now() + step, step);
    let mut latencies: Histogram<u64> = Histogram::new(3).expect("three digits");
    let mut open = FuturesUnordered::new();
    let mut sent = 0;
    while sent < rate * SECONDS || !open.is_empty() {
        tokio::select! {
            biased;
            Some(took) = open.next() => latencies.saturating_record(took),
            _ = ticks.tick(), if sent < rate * SECONDS => {
                let partition = i32::try_from(sent % 16).expect("small");
                let record: FutureRecord<'_, (), [u8]> =
                    FutureRecord::to(topic).partition(partition).payload(&RECORD);
                let began = Instant::now();
                let delivery = producer.send_result(record);
                let delivery = delivery.map_err(|(error, _)| error).expect("there is room");
                open.push(async move {
                    delivery.await.expect("it lives").map_err(|it| it.0).expect("it is written");
                    u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)
                });
                sent += 1;
            }
        }
    }
    (quantile(&latencies, 0.5), quantile(&latencies, 0.99))
}

/// Sends keystrokes at a rate, one client a document; from the send to the acknowledgement.
async fn through(node: &Node, rate: u64) -> (f64, f64) {
    let url = format!("http://{}", node.address);
    let prefix = rand::random::<u32>();
    let step = Duration::from_secs(1) * DOCS / u32::try_from(rate).expect("small");
    let client = async |doc: u32| {
        let id = format!("{prefix}-{doc}").parse().expect("an id");
        let session = SessionId(rand::random());
        let hello =
            Hello { v: VERSION, session, rev: None, mode: Mode::Edit, ordered: false, user: None };
        let opened =
            Connection::open(&url, &Credentials::default(), &id, Codec::Binary, hello).await;
        let (mut connection, _) = opened.expect("it is taken");
        let op = Operation::builder().insert("x").build();
        // All clients are connected before the first one sends, and they do not send at once.
        let first = Instant::now() + Duration::from_secs(2) + step * doc / DOCS;
        let mut ticks = interval_at(first, step);
        let mut latencies = Vec::new();
        for n in 0..rate * SECONDS / u64::from(DOCS) {
            ticks.tick().await;
            let (seq, base, op) = (Seq(n + 1), Revision(n), op.clone());
            let began = Instant::now();
            connection.send(&ClientMessage::Op { seq, base, op }).await.expect("it is open");
            while !matches!(
                connection.receive().await.expect("it is open"),
                Some(ServerMessage::Ack { .. })
            ) {}
            latencies.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
        }
        latencies
    };
    let mut all: Histogram<u64> = Histogram::new(3).expect("three digits");
    let clients = join_all((0..DOCS).map(client)).await;
    clients.into_iter().flatten().for_each(|took| all.saturating_record(took));
    (quantile(&all, 0.5), quantile(&all, 0.99))
}

fn quantile(latencies: &Histogram<u64>, quantile: f64) -> f64 {
    latencies.value_at_quantile(quantile) as f64 / 1_000.0
}
