//! Replays a recording of one writer: each transaction is a batch, sent when the one before it is
//! acknowledged; many documents at once get the same.

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::time::Instant;

use crate::load::history::Joined;
use crate::load::oracle::{ask, check};
use crate::load::target::all;
use crate::load::{Measured, Progress, Report, Sequential, Target};
use crate::task::Tasks;
use crate::types::{Revision, Seq, SessionId};
use crate::wire::{ClientMessage, ServerMessage};

/// Replays a recording into `docs` documents at once.
///
/// # Errors
/// Where a server cannot be reached or ends a session; wrong texts are faults in the report.
pub async fn replay(
    name: &str,
    trace: Arc<Sequential>,
    target: Arc<Target>,
    docs: usize,
    progress: Progress,
) -> anyhow::Result<Report> {
    let tasks = Tasks::new();
    let began = Instant::now();
    let client = |n: usize| {
        let (trace, target, progress) = (trace.clone(), target.clone(), progress.clone());
        tasks.spawn("client", async move { write(&trace, &target, n, &progress).await })
    };
    let clients: Vec<_> = (0..docs).map(client).collect();
    let mut measured = Measured::default();
    for one in all(clients).await? {
        measured.add(&one);
    }
    let took = began.elapsed();
    progress.finish();
    let mut faults = Vec::new();
    for n in 0..docs {
        let doc = target.doc(n)?;
        let told = ask(&target, &doc).await?;
        faults.extend(check(&doc, &told, &trace.end, trace.edits.len() as u64));
    }
    Ok(Report::new(name, (docs, docs), &measured, took, faults))
}

async fn write(
    trace: &Sequential,
    target: &Target,
    n: usize,
    progress: &Progress,
) -> anyhow::Result<Measured> {
    let session = SessionId(rand::random());
    let (mut connection, _) = target.join(n, &target.doc(n)?, session).await?;
    let mut measured = Measured::default();
    for (base, op) in (0..).zip(&trace.edits) {
        let (seq, base) = (Seq(base + 1), Revision(base));
        let message = ClientMessage::Op { seq, base, op: op.clone() };
        let sent = Instant::now();
        connection.send(&message).await?;
        acknowledged(&mut connection, &message, seq).await?;
        measured.ack(sent.elapsed());
        measured.operations += 1;
        measured.batches += 1;
        progress.add(1);
    }
    measured.carried(connection.traffic());
    connection.close().await;
    Ok(measured)
}

/// Waits until a batch is durable; one that came too fast is sent again.
async fn acknowledged(
    connection: &mut Joined,
    message: &ClientMessage,
    seq: Seq,
) -> anyhow::Result<()> {
    loop {
        match connection.receive().await? {
            Some(ServerMessage::Ack { seq: acked, rev, .. }) if acked == seq => {
                if rev.0 != seq.0 {
                    bail!("batch {seq} became revision {rev}: somebody else writes here");
                }
                return Ok(());
            }
            Some(ServerMessage::Error { fatal: false, retry, .. }) => {
                let retry = retry.map_or(Duration::from_millis(10), Duration::from);
                tokio::time::sleep(retry).await;
                connection.send(message).await?;
            }
            Some(ServerMessage::Error { msg, .. }) => bail!("the server ended the session: {msg}"),
            _ => {}
        }
    }
}
