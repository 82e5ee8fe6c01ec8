//! `quire load`: replays recorded editing, or types, against running servers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::audit::Recorder;
use crate::cli::credentials::CredentialArgs;
use crate::cli::exit::Exit;
use crate::client::Credentials;
use crate::load::{
    Floor, Progress, Report, Slo, Target, Trace, Typing, replay_concurrent, replay_sequential,
    run_typing,
};
use crate::wire::Codec;

/// Holds the arguments of `quire load`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recorded editing to replay (JSON, gzipped or not); one run after the other
    #[arg(long, value_name = "FILE", num_args = 1.., required_unless_present = "profile")]
    trace: Vec<PathBuf>,
    /// Made-up editing
    #[arg(long, value_enum, conflicts_with = "trace")]
    profile: Option<Profile>,
    /// A server; several may be named
    #[arg(long = "url", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    urls: Vec<String>,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// Documents at once: each gets the whole trace, or its share of the people
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    docs: u32,
    /// People who type (profile only)
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// Keys a second of each of them (profile only)
    #[arg(long, default_value_t = 5.0, value_parser = parse_rate)]
    rate: f64,
    /// For how many seconds they type (profile only)
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    /// The encoding
    #[arg(long, value_enum, default_value_t = Encoding::Bin)]
    codec: Encoding,
    /// Threads of the load itself
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Where the randomness begins (profile only)
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also measures what a durable append of 100 bytes costs in this folder, before and after
    #[arg(long, value_name = "FOLDER")]
    floor: Option<PathBuf>,
    /// Writes the reports as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes down what every client sees, for `quire audit`; compressed where it ends in .gz
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// An objective such as ack_p99<50ms; exit code 99 if one is missed
    #[arg(long, value_name = "EXPR", value_parser = parse_slo)]
    slo: Vec<Slo>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Profile {
    /// People typing in bursts, with corrections and jumps
    Typing,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Encoding {
    /// quire.v1
    Json,
    /// quire.v1.bin
    Bin,
}

fn parse_rate(spelled: &str) -> Result<f64, String> {
    let rate: f64 = spelled.parse().map_err(|_| "it is no number".to_owned())?;
    if (0.001..=10_000.0).contains(&rate) { Ok(rate) } else { Err("0.001 to 10000".to_owned()) }
}

fn parse_slo(spelled: &str) -> Result<Slo, String> {
    spelled.parse().map_err(|error: anyhow::Error| format!("{error:#}"))
}

/// Runs the load and prints what it measured.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut runtime = match args.threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    let threads = usize::try_from(args.threads).context("too many threads")?;
    let runtime = runtime.worker_threads(threads).enable_all().build();
    let runtime = runtime.context("threads could not be started")?;
    let before = args.floor.as_deref().map(Floor::measure).transpose()?;
    let history = args.history.as_deref().map(Recorder::create).transpose()?;
    let credentials = args.credentials.open(args.urls.iter().map(String::as_str))?;
    let target = || target(args, &credentials, history.as_ref());
    let measured = runtime.block_on(measure(args, target));
    // Of a load that failed, too: the audit tells what is true of it.
    let written = history.map_or(Ok(()), |history| history.close());
    let reports = measured?;
    written?;
    if let (Some(before), Some(folder)) = (before, &args.floor) {
        let after = Floor::measure(folder)?;
        println!("append and fdatasync of 100 bytes: before {before}; after {after}");
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&reports)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let faults: usize = reports.iter().map(|report| report.faults.len()).sum();
    if faults > 0 {
        bail!("{faults} faults: the server lost, doubled or mixed up edits");
    }
    let judge = |report| args.slo.iter().filter_map(move |slo: &Slo| slo.missed(report));
    let missed: Vec<_> = reports.iter().flat_map(judge).collect();
    for one in &missed {
        eprintln!("quire: objective missed: {one}");
    }
    Ok(if missed.is_empty() { Exit::Success } else { Exit::SloMissed })
}

async fn measure(args: &Args, target: impl Fn() -> Arc<Target>) -> anyhow::Result<Vec<Report>> {
    let mut reports = Vec::new();
    if let Some(Profile::Typing) = args.profile {
        let typing = Typing {
            docs: args.docs as usize,
            clients: args.clients as usize,
            rate: args.rate,
            duration: Duration::from_secs(args.seconds.into()),
            seed: args.seed,
        };
        let keys = f64::from(args.clients) * args.rate * f64::from(args.seconds);
        let progress = Progress::new("typing", keys as u64);
        reports.push(run_typing(typing, target(), progress).await?);
        println!("{}", reports[0]);
    }
    for path in &args.trace {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let docs = args.docs as usize;
        let report = match Trace::read(path)? {
            Trace::Sequential(trace) => {
                let progress = Progress::new(&name, (trace.edits.len() * docs) as u64);
                let trace = Arc::new(trace);
                replay_sequential(&name, trace, target(), docs, progress).await?
            }
            Trace::Concurrent(trace) => {
                let edits: usize = trace.agents.iter().map(Vec::len).sum();
                let progress = Progress::new(&name, (edits * docs) as u64);
                replay_concurrent(&name, Arc::new(trace), target(), docs, progress).await?
            }
        };
        println!("{report}");
        reports.push(report);
    }
    Ok(reports)
}

/// Returns the servers, and names for documents that nobody has used yet.
fn target(args: &Args, credentials: &Credentials, history: Option<&Recorder>) -> Arc<Target> {
    let codec = match args.codec {
        Encoding::Json => Codec::Json,
        Encoding::Bin => Codec::Binary,
    };
    let prefix = format!("load-{:016x}", rand::random::<u64>());
    Arc::new(Target {
        urls: args.urls.clone(),
        credentials: credentials.clone(),
        codec,
        prefix,
        history: history.cloned(),
    })
}
