//! `quire serve`: runs a node until it is told to stop.

use anyhow::Context;

use crate::cli::exit::Exit;
use crate::cli::settings::Settings;
use crate::{node, telemetry};

/// Holds the arguments of `quire serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Settings,
}

/// Runs the node.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.settings.load()?.config;
    telemetry::start_logs(&config.telemetry)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // What the log has written is told from threads of its own: it waits for that many steps of
        // others (31 by tokio's default), several times for each batch.
        .global_queue_interval(4)
        .thread_name("quire")
        .build()
        .context("threads could not be started")?;
    let served = runtime.block_on(node::serve(config));
    // What still blocks waits for what does not answer: everything else was awaited.
    runtime.shutdown_background();
    served?;
    Ok(Exit::Success)
}
