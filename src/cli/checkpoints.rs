//! `quire checkpoints`: makes the store ready before the first node starts, for instance by
//! somebody who may create keyspaces where nodes may not.

use anyhow::Context;
use clap::Subcommand;

use crate::cli::exit::Exit;
use crate::cli::settings::Settings;
use crate::clock::Clock;
use crate::node::open_store;
use crate::task::Fatal;

/// Holds the arguments of `quire checkpoints`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create the tables or files that are missing, or bring them to the newest format
    Init {
        #[command(flatten)]
        settings: Settings,
    },
}

/// Runs a verb.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let Verb::Init { settings } = &args.verb;
    let config = settings.load()?.config;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("threads could not be started")?.block_on(async {
        let store = open_store(&config, &Fatal::default(), &Clock::wall()).await?;
        println!("the store of checkpoints is ready: {}", config.checkpoints);
        Ok(store.close().await.map(|()| Exit::Success)?)
    })
}
