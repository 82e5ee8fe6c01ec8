//! `quire audit`: whether a log, its checkpoints and what clients saw agree.
//!
//! Exit 0 says that nothing is violated, 1 that something is, 2 that nothing was decided.

mod erased;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use serde::Serialize;

use crate::audit::{self, History, Range, Report, Sources};
use crate::cli::config::Output;
use crate::cli::exit::Exit;
use crate::cli::settings::Settings;
use crate::config::Mistakes;
use crate::load::Progress;
use crate::node::{open_log_to_read, open_store_to_read};
use crate::types::{Offset, ShardId};

/// Holds the arguments of `quire audit`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    only: Option<Only>,
    #[command(flatten)]
    settings: Settings,
    /// What clients saw, as their recorders wrote it; several may be named
    #[arg(long, value_name = "FILE", num_args = 1..)]
    history: Vec<PathBuf>,
    /// Decide only from this offset on, in every shard
    #[arg(long, value_name = "OFFSET")]
    from: Option<u64>,
    /// Decide only up to this offset, in every shard
    #[arg(long, value_name = "OFFSET")]
    to: Option<u64>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Only {
    /// Decide only whether the history of a document before a revision is gone
    Erased(erased::Args),
}

/// Makes the audit and prints what it found.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    match &args.only {
        Some(Only::Erased(args)) => {
            decide(erased::audit(args), args.output, |erasure| erasure.clean)
        }
        None => decide(audit(args), args.output, |report| report.clean),
    }
}

fn decide<T: Serialize + Display>(
    audit: impl Future<Output = anyhow::Result<T>>,
    output: Output,
    is_clean: impl FnOnce(&T) -> bool,
) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("threads could not be started")?;
    let report = match runtime.block_on(audit) {
        Ok(report) => report,
        Err(error) if error.is::<Mistakes>() => return Err(error),
        Err(error) => {
            // 1 says that something is violated, and nothing else does.
            eprintln!("quire: {error:#}\nnothing was decided");
            return Ok(Exit::Usage);
        }
    };
    let told = match output {
        Output::Json => serde_json::to_string_pretty(&report)?,
        Output::Table => report.to_string(),
    };
    match writeln!(io::stdout().lock(), "{told}") {
        // Whoever reads no further still gets the exit code.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    Ok(if is_clean(&report) { Exit::Success } else { Exit::Failure })
}

async fn audit(args: &Args) -> anyhow::Result<Report> {
    if let (Some(from), Some(to)) = (args.from, args.to)
        && from > to
    {
        bail!("--from {from} is above --to {to}: no record is in this range");
    }
    let opened = args.history.iter().map(|path| History::open(path));
    let histories = opened.collect::<Result<Vec<_>, _>>()?;
    let loaded = args.settings.load()?;
    let named = loaded.effective.iter().any(|it| it.key == "checkpoints" && it.origin.is_some());
    let log = open_log_to_read(&loaded.config).await?;
    let store = match named {
        true => Some(open_store_to_read(&loaded.config).await?),
        false => None,
    };
    let mut records = 0;
    for shard in (0..log.shards()).map(ShardId) {
        let marks = log.marks(shard).await?;
        records += marks.high.0 - marks.low.0;
    }
    if records == 0 && histories.is_empty() {
        bail!("the log is empty: name another one with --log");
    }
    let progress = Progress::new("records", records);
    let range = Range { from: Offset(args.from.unwrap_or(0)), to: args.to.map(Offset) };
    let sources = Sources { log: &*log, store: store.as_deref(), histories, range };
    let report = audit::run(sources, |read| progress.add(read)).await?;
    progress.finish();
    log.close().await;
    if let Some(store) = store {
        store.close().await?;
    }
    Ok(report)
}
