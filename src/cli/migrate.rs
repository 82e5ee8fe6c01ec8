//! `quire migrate`: from one log and checkpoint store to others, while no node runs on either.
//!
//! What is moved are the checkpoints, which hold everything: texts, history, sessions, versions.
//! Those of another log are older than every record of the new one, which begins empty.

use anyhow::{Context, bail};

use crate::checkpoint::copy;
use crate::cli::exit::Exit;
use crate::clock::Clock;
use crate::config::{Config, Flags, Sources, load};
use crate::load::Progress;
use crate::log::Log;
use crate::node::{Stores, save_everything};
use crate::task::Fatal;
use crate::telemetry;
use crate::types::{DocId, Offset, ShardId};

/// How many documents are listed at once.
const PAGE: usize = 500;

/// Holds the arguments of `quire migrate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The data folder to move from
    #[arg(long, value_name = "FOLDER", required_unless_present = "from_log")]
    from: Option<String>,
    /// The log to move from, instead of a folder
    #[arg(long, value_name = "URL", requires = "from_checkpoints", conflicts_with = "from")]
    from_log: Option<String>,
    /// The checkpoints to move from
    #[arg(long, value_name = "URL", requires = "from_log")]
    from_checkpoints: Option<String>,
    /// The data folder to move to
    #[arg(long, value_name = "FOLDER", required_unless_present = "to_log")]
    to: Option<String>,
    /// The log to move to, instead of a folder
    #[arg(long, value_name = "URL", requires = "to_checkpoints", conflicts_with = "to")]
    to_log: Option<String>,
    /// The checkpoints to move to
    #[arg(long, value_name = "URL", requires = "to_log")]
    to_checkpoints: Option<String>,
    /// Any option of both: kafka.create-topics=true; may be given more than once
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
}

impl Args {
    fn side(
        &self,
        folder: Option<&String>,
        log: Option<&String>,
        checkpoints: Option<&String>,
    ) -> anyhow::Result<Config> {
        let own = [("data", folder), ("log", log), ("checkpoints", checkpoints)];
        let own = own.into_iter().filter_map(|(key, value)| Some((key, value?.clone())));
        let flags = Flags { set: self.set.clone(), own: own.collect() };
        let environment = std::env::vars_os().collect();
        Ok(load(&Sources { file: None, environment, flags })?.config)
    }
}

/// Moves everything.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let from =
        args.side(args.from.as_ref(), args.from_log.as_ref(), args.from_checkpoints.as_ref())?;
    let to = args.side(args.to.as_ref(), args.to_log.as_ref(), args.to_checkpoints.as_ref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("threads could not be started")?.block_on(migrate(&from, &to))
}

async fn migrate(from: &Config, to: &Config) -> anyhow::Result<Exit> {
    let fatal = Fatal::default();
    let (one, other) = (telemetry::registry(), telemetry::registry());
    let old = Stores::open(from, None, &one, &fatal, &Clock::wall()).await?;
    let new = Stores::open(to, to.shards(), &other, &fatal, &Clock::wall()).await?;
    check_empty(&*new.log).await?;
    // Whatever is in the log alone goes into checkpoints first.
    let unsaved = save_everything(&old, from).await?;
    for (doc, reason) in &unsaved {
        eprintln!("{doc} is left out: {reason}");
    }
    let mut docs = Vec::new();
    while let page = old.store.docs(docs.last(), PAGE).await?
        && !page.is_empty()
    {
        docs.extend(page);
    }
    let progress = Progress::new("documents", docs.len() as u64);
    let (mut moved, mut bytes) = (0_u64, 0);
    docs.retain(|doc| unsaved.iter().all(|(left_out, _)| left_out != doc));
    for doc in &docs {
        let copied = copy(&*old.store, &*new.store, doc, old.log.id()).await;
        if let Some(copied) = copied.with_context(|| failed(doc))? {
            moved += 1;
            bytes += copied.bytes;
        }
        progress.add(1);
    }
    progress.finish();
    println!("{moved} documents, {bytes} bytes; every piece has the hash that it had");
    for side in [&old, &new] {
        side.log.close().await;
        side.store.close().await?;
    }
    if !unsaved.is_empty() {
        bail!(
            "{} documents were left out, see above: repair or delete them, then move again",
            unsaved.len()
        );
    }
    Ok(Exit::Success)
}

fn failed(doc: &DocId) -> String {
    format!("{doc} could not be moved: run it again, it goes on where it was")
}

/// A log that holds records already is somebody's.
async fn check_empty(log: &dyn Log) -> anyhow::Result<()> {
    for shard in (0..log.shards()).map(ShardId) {
        let high = log.marks(shard).await?.high;
        if high > Offset(0) {
            bail!("the log to move to has records already: move to a new topic or folder");
        }
    }
    Ok(())
}
