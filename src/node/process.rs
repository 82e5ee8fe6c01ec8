//! A node as a process: what signals do with it.

use std::future::pending;

use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use crate::clock::Clock;
use crate::config::Config;
use crate::node::Node;

/// Runs a node until the process is told to stop (SIGTERM, SIGINT) or cannot go on; a second
/// signal ends it at once. SIGHUP has it read its certificate and its keys again.
///
/// # Errors
/// Where it cannot start, or had to end; the message says what to do next.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut stop = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let node = tokio::select! {
        started = Node::start(&config, Clock::wall()) => started?,
        () = stop() => {
            info!("told to stop before it served: nothing was promised");
            return Ok(());
        }
    };
    let scheme = if node.tls.is_some() { "https" } else { "http" };
    println!("listening on {scheme}://{}", node.address);
    let reload = async {
        while hang_up.recv().await.is_some() {
            node.reload().await;
        }
        pending::<()>().await;
    };
    let failed = tokio::select! {
        () = stop() => None,
        reason = node.fatal.wait() => Some(reason.to_owned()),
        () = reload => None,
    };
    if let Some(reason) = failed {
        anyhow::bail!("{reason}; what was acknowledged is safe");
    }
    info!("stopping: clients are sent away and documents saved; a second signal stops at once");
    tokio::select! {
        stopped = node.stop() => stopped,
        () = stop() => anyhow::bail!("stopped at once: the log keeps what was acknowledged"),
    }
}
