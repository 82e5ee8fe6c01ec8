//! Replays a recording of one writer: each transaction is a batch, sent when the one before it is
//! acknowledged; many documents at once get the same.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use crate::client::Connection;
use crate::load::oracle::{ask, check};
use crate::load::{Measured, Progress, Report, Sequential, Target};
use crate::task::Tasks;
use crate::types::{DocId, Revision, Seq, SessionId};
use crate::wire::{ClientMessage, Hello, Mode, ServerMessage, VERSION};

/// Replays a recording into `docs` documents at once, at most `edits_max` transactions of it.
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
    for client in clients {
        measured.add(&client.await.context("a client failed")??);
    }
    let took = began.elapsed();
    progress.finish();
    let mut faults = Vec::new();
    for n in 0..docs {
        let doc = name_of(&target, n);
        let told = ask(&target, &doc).await?;
        faults.extend(check(&doc, &told, &trace.end, trace.edits.len() as u64));
    }
    Ok(Report::new(name, (docs, docs), &measured, took, faults))
}

fn name_of(target: &Target, n: usize) -> String {
    format!("{}-{n}", target.prefix)
}

async fn write(
    trace: &Sequential,
    target: &Target,
    n: usize,
    progress: &Progress,
) -> anyhow::Result<Measured> {
    let doc: DocId = name_of(target, n).parse()?;
    let hello = Hello {
        v: VERSION,
        session: SessionId(rand::random()),
        rev: None,
        mode: Mode::Edit,
        ordered: false,
        user: None,
    };
    let (mut connection, _) = Connection::open(target.url(n), &doc, target.codec, hello).await?;
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
    connection.close().await;
    Ok(measured)
}

/// Waits until a batch is durable; one that came too fast is sent again.
async fn acknowledged(
    connection: &mut Connection,
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
