//! Replays a recording of several writers: each is a client of its own that sees, when it writes a
//! transaction, just what its writer had seen.
//!
//! A client takes what its server tells in order, but holds it back as long as the next remote
//! revision is one that the writer had not seen yet. Its own acknowledgements wait behind it, so
//! what it writes meanwhile queues up: one transaction a batch, each relative to the one before,
//! carried through the remote revisions when they are let in.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::time::Instant;

use crate::client::replica::{Batch, Effects, Keep, Replica};
use crate::client::{Connection, welcomed};
use crate::load::oracle::ask;
use crate::load::trace::Transaction;
use crate::load::{Concurrent, Measured, Progress, Report, Target};
use crate::task::Tasks;
use crate::text::{Operation, Side, transform};
use crate::types::{DocId, ParticipantId, Revision, SessionId};
use crate::wire::{ClientMessage, Hello, Mode, ServerMessage, VERSION};

/// Replays a recording into one document.
///
/// # Errors
/// Where a server cannot be reached or ends a session, or the recording cannot be replayed in any
/// order; replicas that differ are faults in the report.
pub async fn replay(
    name: &str,
    trace: Arc<Concurrent>,
    target: Arc<Target>,
    progress: Progress,
) -> anyhow::Result<Report> {
    let doc: DocId = target.prefix.parse()?;
    let (tasks, began) = (Tasks::new(), Instant::now());
    let sessions: Arc<Vec<_>> =
        Arc::new(trace.agents.iter().map(|_| SessionId(rand::random())).collect());
    let mut agents = Vec::new();
    for n in 0..trace.agents.len() {
        agents.push(Agent::open(&doc, &target, &sessions, n, progress.clone()).await?);
    }
    let run = |(n, agent): (usize, Agent)| {
        let trace = trace.clone();
        tasks.spawn("agent", async move { agent.run(&trace.agents, n).await })
    };
    let running: Vec<_> = agents.into_iter().enumerate().map(run).collect();
    let (mut measured, mut texts) = (Measured::default(), Vec::new());
    for agent in running {
        let (one, text) = agent.await.context("a client failed")??;
        measured.add(&one);
        texts.push(text);
    }
    let took = began.elapsed();
    progress.finish();
    let told = ask(&target, &target.prefix).await?;
    let mut faults = Vec::new();
    if let Some(n) = texts.iter().position(|text| *text != told.text) {
        faults.push(format!("{doc}: writer {n} has another text than the server"));
    }
    let (got, wanted) = (told.text.chars().count(), trace.end.chars().count());
    if got != wanted {
        faults.push(format!("{doc}: {got} characters, the recording has {wanted}"));
    }
    if told.head != measured.batches {
        let batches = measured.batches;
        faults.push(format!("{doc}: {} revisions for {batches} batches", told.head));
    }
    Ok(Report::new(name, (1, trace.agents.len()), &measured, took, faults))
}

struct Agent {
    connection: Connection,
    replica: Replica,
    /// The writers' public ids.
    ids: Vec<ParticipantId>,
    /// How many transactions of each writer are in the replica.
    seen: Vec<usize>,
    /// What the server told and the replica has not taken yet.
    held: VecDeque<Told>,
    /// Transactions that wait for the one in flight, each relative to the one before.
    later: VecDeque<Operation>,
    sent: Instant,
    measured: Measured,
    progress: Progress,
}

/// One revision, as the server told it.
enum Told {
    Remote { rev: Revision, writer: usize, base: Revision, op: Operation },
    Ack { seq: crate::types::Seq, rev: Revision, op: Option<Operation> },
}

impl Agent {
    async fn open(
        doc: &DocId,
        target: &Target,
        sessions: &[SessionId],
        n: usize,
        progress: Progress,
    ) -> anyhow::Result<Self> {
        let hello = Hello {
            v: VERSION,
            session: sessions[n],
            rev: None,
            mode: Mode::Edit,
            ordered: false,
            user: None,
        };
        let opened = Connection::open(target.url(n), doc, target.codec, hello).await?;
        let (connection, welcome) = opened;
        let mut replica = Replica::new(Keep::Text);
        // Nothing has been written yet, so that there is nothing to show or to send.
        let _ = replica.welcome(welcomed(welcome))?;
        Ok(Self {
            connection,
            replica,
            ids: sessions.iter().map(SessionId::participant).collect(),
            seen: vec![0; sessions.len()],
            held: VecDeque::new(),
            later: VecDeque::new(),
            sent: Instant::now(),
            measured: Measured::default(),
            progress,
        })
    }

    async fn run(
        mut self,
        agents: &[Vec<Transaction>],
        own: usize,
    ) -> anyhow::Result<(Measured, String)> {
        for (index, transaction) in agents[own].iter().enumerate() {
            self.let_in(&transaction.seen, own).await?;
            self.write(&transaction.edit)
                .await
                .with_context(|| format!("transaction {index} of writer {own} does not fit"))?;
        }
        let all: Vec<_> = agents.iter().map(Vec::len).collect();
        self.let_in(&all, own).await?;
        while !(self.replica.is_settled() && self.later.is_empty()) {
            self.hear().await?;
            self.release(&all).await?;
        }
        let text = self.replica.view().context("the replica keeps its text")?;
        self.connection.close().await;
        Ok((self.measured, text))
    }

    /// Lets in what the writer had seen, and waits for what has not come yet.
    async fn let_in(&mut self, seen: &[usize], own: usize) -> anyhow::Result<()> {
        loop {
            self.release(seen).await?;
            let missing = |(n, (have, want)): (usize, (&usize, &usize))| n != own && have < want;
            if !self.seen.iter().zip(seen).enumerate().any(missing) {
                return Ok(());
            }
            if let Some(Told::Remote { writer, rev, .. }) = self.held.front() {
                bail!("revision {rev} of writer {writer} is in the way: more than two writers");
            }
            self.hear().await?;
        }
    }

    /// Takes from what is held all that may be let in.
    async fn release(&mut self, seen: &[usize]) -> anyhow::Result<()> {
        while let Some(told) = self.held.pop_front() {
            let effects = match told {
                Told::Remote { writer, .. } if self.seen[writer] >= seen[writer] => {
                    self.held.push_front(told);
                    return Ok(());
                }
                Told::Remote { rev, writer, base, op } => {
                    self.seen[writer] += 1;
                    let shown = self.replica.remote(rev, base, op)?;
                    Effects { show: vec![shown], send: None }
                }
                Told::Ack { seq, rev, op } => {
                    self.measured.ack(self.sent.elapsed());
                    self.measured.operations += 1;
                    self.progress.add(1);
                    self.replica.ack(seq, rev, op)?
                }
            };
            for shown in effects.show {
                self.carry(shown);
            }
            self.send_next().await?;
        }
        Ok(())
    }

    /// Carries what waits through a change of what is below it.
    fn carry(&mut self, mut shown: Operation) {
        for later in &mut self.later {
            let carried = transform(later, &shown, Side::Right);
            shown = transform(&shown, later, Side::Left);
            *later = carried;
        }
    }

    async fn write(&mut self, edit: &Operation) -> anyhow::Result<()> {
        self.later.push_back(edit.clone());
        self.send_next().await
    }

    async fn send_next(&mut self) -> anyhow::Result<()> {
        if !self.replica.is_settled() {
            return Ok(());
        }
        let Some(op) = self.later.pop_front() else { return Ok(()) };
        match self.replica.edit(&op)? {
            Some(Batch { seq, base, op }) => {
                self.sent = Instant::now();
                self.measured.batches += 1;
                self.connection.send(&ClientMessage::Op { seq, base, op }).await?;
            }
            None => bail!("a transaction changes nothing, or comes before the welcome"),
        }
        Ok(())
    }

    async fn hear(&mut self) -> anyhow::Result<()> {
        match self.connection.receive().await? {
            Some(ServerMessage::Op { rev, author, base, op }) => {
                self.hold(rev, author, base, op)?;
            }
            Some(ServerMessage::Ops { rev, list }) => {
                for (rev, edit) in (rev.0..).zip(list) {
                    self.hold(Revision(rev), edit.author, edit.base, edit.op)?;
                }
            }
            Some(ServerMessage::Ack { seq, rev, op }) => {
                self.held.push_back(Told::Ack { seq, rev, op });
            }
            Some(ServerMessage::Error { msg, .. }) => bail!("the server ended the session: {msg}"),
            _ => {}
        }
        Ok(())
    }

    fn hold(
        &mut self,
        rev: Revision,
        author: ParticipantId,
        base: Revision,
        op: Operation,
    ) -> anyhow::Result<()> {
        let writer = self.ids.iter().position(|id| *id == author);
        let writer = writer.context("somebody else writes to this document")?;
        self.held.push_back(Told::Remote { rev, writer, base, op });
        Ok(())
    }
}
