//! `quire record` and `quire replay`: traffic out of a log, and into servers again.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::cli::credentials::CredentialArgs;
use crate::cli::exit::Exit;
use crate::cli::log::Which;
use crate::load::{Pace, Progress, Recording, Target, replay_recording};
use crate::log::Record;
use crate::types::Revision;
use crate::wire::Codec;

/// Holds the arguments of `quire record`.
#[derive(Debug, clap::Args)]
pub(crate) struct RecordArgs {
    #[command(flatten)]
    which: Which,
    /// Where to; compressed if it ends in .gz
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Holds the arguments of `quire replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// What `quire record` wrote; or name a log with --log
    #[arg(required_unless_present = "log", conflicts_with = "log")]
    file: Option<PathBuf>,
    #[command(flatten)]
    which: Which,
    /// A server; several may be named
    #[arg(long = "url", value_name = "URL", default_value = "http://127.0.0.1:8080")]
    urls: Vec<String>,
    #[command(flatten)]
    credentials: CredentialArgs,
    /// How many times as fast as recorded, or max
    #[arg(long, value_name = "X|max", default_value = "1", value_parser = pace)]
    speed: Pace,
    /// Every document so many times at once: x4
    #[arg(long, value_name = "xN", default_value = "x1", value_parser = copies)]
    remap: usize,
    /// Writes the report as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn pace(text: &str) -> Result<Pace, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(Pace::Max),
        Ok(speed) if (0.001..=1e6).contains(&speed) => Ok(Pace::Speed(speed)),
        _ => Err("write max, or a number from 0.001 to 1000000".to_owned()),
    }
}

fn copies(text: &str) -> Result<usize, String> {
    let number = text.strip_prefix('x').and_then(|number| number.parse().ok());
    let number = number.filter(|number| (1..=100_000).contains(number));
    number.ok_or_else(|| "write x and a number from 1 to 100000".to_owned())
}

/// Records what a log holds.
pub(crate) fn record(args: &RecordArgs) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("threads could not be started")?.block_on(async {
        let recording = read_log(&args.which).await?;
        recording.write(&args.out)?;
        let (docs, steps) = (recording.docs().len(), recording.steps());
        println!("{steps} revisions of {docs} documents in {}", args.out.display());
        Ok(Exit::Success)
    })
}

/// Takes what counts out of a log.
async fn read_log(which: &Which) -> anyhow::Result<Recording> {
    let log = which.open().await?;
    let mut recording = Recording::default();
    let read = which.each(&*log, |_, judged| {
        let (Ok(Record::Frame(frame)), Ok(())) = (judged.record, judged.verdict) else {
            return Ok(());
        };
        for (rev, entry) in (frame.base_rev.0 + 1..).zip(frame.entries) {
            let from = (entry.session, frame.at);
            recording.add_or_leave_out(&frame.doc, Revision(rev), from, entry.op);
        }
        Ok(())
    });
    read.await?;
    let partial = recording.partial();
    if let Some(first) = partial.first() {
        eprintln!(
            "{} documents are left out, {first} is one: some of their revisions were trimmed, are \
             not chosen, or cannot be read",
            partial.len()
        );
    }
    if recording.docs().is_empty() {
        bail!(
            "nothing is left to record: documents are recorded from their first revision, so \
             choose an earlier --from or --since, or other documents by --doc"
        );
    }
    log.close().await;
    Ok(recording)
}

/// Replays a recording and prints what it measured.
pub(crate) fn replay(args: &ReplayArgs) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("threads could not be started")?;
    let (name, recording) = match &args.file {
        Some(file) => {
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
            (name.unwrap_or_default(), Recording::read(file)?)
        }
        None => ("the log".to_owned(), runtime.block_on(read_log(&args.which))?),
    };
    let (steps, recording) = (recording.steps(), Arc::new(recording));
    if steps == 0 {
        bail!("{name} holds no revision: nothing to replay");
    }
    let prefix = format!("replay-{:016x}", rand::random::<u64>());
    let credentials = args.credentials.open(args.urls.iter().map(String::as_str))?;
    let (urls, codec, history) = (args.urls.clone(), Codec::Binary, None);
    let target = Arc::new(Target { urls, credentials, codec, prefix, history });
    let report = runtime.block_on(async {
        let progress = Progress::new(&name, (steps * args.remap) as u64);
        replay_recording(&name, recording, target, (args.speed, args.remap), progress).await
    })?;
    println!("{report}");
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(&report)?;
        std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    if !report.faults.is_empty() {
        bail!("{} faults: the server lost, doubled or mixed up edits", report.faults.len());
    }
    Ok(Exit::Success)
}
