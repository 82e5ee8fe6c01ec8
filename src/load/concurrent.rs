//! Replays a recording of several writers: each is a client of its own that sees, when it writes a
//! transaction, just what its writer had seen.
//!
//! A client takes what its server tells in order, but holds it back as long as the next remote
//! revision is one that the writer had not seen yet. Its own acknowledgements wait behind it, so
//! what it writes meanwhile queues up: one transaction a batch, each relative to the one before,
//! carried through the remote revisions when they are let in. One that has become empty on the way
//! (both deleted the same) takes no revision; the others are told beside the server ([`Fates`]), as
//! they count each other's transactions by their revisions.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::client::replica::{Batch, Effects, Keep, Replica};
use crate::client::welcomed;
use crate::load::history::Joined;
use crate::load::model::Told as Document;
use crate::load::oracle::ask;
use crate::load::target::all;
use crate::load::trace::Transaction;
use crate::load::{Concurrent, Measured, Progress, Report, Target};
use crate::task::Tasks;
use crate::text::{Operation, Side, transform};
use crate::types::{DocId, ParticipantId, Revision, SessionId};
use crate::wire::{ClientMessage, ServerMessage, Welcome};

/// Replays a recording into `docs` documents at once.
///
/// # Errors
/// Where a server cannot be reached or ends a session, or the recording cannot be replayed in any
/// order; replicas that differ are faults in the report.
pub async fn replay(
    name: &str,
    trace: Arc<Concurrent>,
    target: Arc<Target>,
    docs: usize,
    progress: Progress,
) -> anyhow::Result<Report> {
    let (tasks, began) = (Tasks::new(), Instant::now());
    let one = |n: usize| {
        let (trace, target, progress) = (trace.clone(), target.clone(), progress.clone());
        tasks.spawn("recording", async move { write(&trace, &target, n, &progress).await })
    };
    let running: Vec<_> = (0..docs).map(one).collect();
    let written = all(running).await?;
    let took = began.elapsed();
    progress.finish();
    let (mut measured, mut faults) = (Measured::default(), Vec::new());
    for Written { doc, measured: one, texts } in &written {
        let told = ask(&target, doc).await?;
        faults.extend(check(doc, &told, texts, &trace.end, one.batches));
        measured.add(one);
    }
    Ok(Report::new(name, (docs, docs * trace.agents.len()), &measured, took, faults))
}

/// One document when every writer has written everything and seen everything.
struct Written {
    doc: DocId,
    measured: Measured,
    /// What each writer sees.
    texts: Vec<String>,
}

async fn write(
    trace: &Concurrent,
    target: &Target,
    n: usize,
    progress: &Progress,
) -> anyhow::Result<Written> {
    let doc = target.doc(n)?;
    let sessions: Vec<_> = trace.agents.iter().map(|_| SessionId(rand::random())).collect();
    let fates = Fates::new(vec![Vec::new(); sessions.len()]);
    let mut agents = Vec::new();
    for own in 0..sessions.len() {
        let opened = target.join(own, &doc, sessions[own]).await?;
        let agent = Agent::new(own, opened, &sessions, fates.clone(), progress.clone())?;
        agents.push(agent.run(&trace.agents));
    }
    let (mut measured, mut texts) = (Measured::default(), Vec::new());
    for (one, text) in try_join_all(agents).await? {
        measured.add(&one);
        texts.push(text);
    }
    Ok(Written { doc, measured, texts })
}

/// Compares what the writers see with what the server tells, and both with the recording.
fn check(doc: &DocId, told: &Document, texts: &[String], end: &str, batches: u64) -> Vec<String> {
    let mut faults = Vec::new();
    if let Some(n) = texts.iter().position(|text| *text != told.text) {
        faults.push(format!("{doc}: writer {n} has another text than the server"));
    }
    let (got, wanted) = (told.text.chars().count(), end.chars().count());
    if got != wanted {
        faults.push(format!("{doc}: {got} characters, the recording has {wanted}"));
    }
    if told.head != batches {
        faults.push(format!("{doc}: {} revisions for {batches} batches", told.head));
    }
    faults
}

/// For each writer, whether its transactions, as far as they have been sent or left out, take a
/// revision.
type Fates = watch::Sender<Vec<Vec<bool>>>;

struct Agent {
    /// Which of the writers it is.
    own: usize,
    connection: Joined,
    replica: Replica,
    /// The writers' public ids.
    ids: Vec<ParticipantId>,
    /// How many transactions of each writer are in the replica.
    seen: Vec<usize>,
    fates: Fates,
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
    fn new(
        own: usize,
        (connection, welcome): (Joined, Welcome),
        sessions: &[SessionId],
        fates: Fates,
        progress: Progress,
    ) -> anyhow::Result<Self> {
        let mut replica = Replica::new(Keep::Text);
        // Nothing has been written yet, so that there is nothing to show or to send.
        let _ = replica.welcome(welcomed(welcome))?;
        Ok(Self {
            own,
            connection,
            replica,
            ids: sessions.iter().map(SessionId::participant).collect(),
            seen: vec![0; sessions.len()],
            fates,
            held: VecDeque::new(),
            later: VecDeque::new(),
            sent: Instant::now(),
            measured: Measured::default(),
            progress,
        })
    }

    async fn run(mut self, agents: &[Vec<Transaction>]) -> anyhow::Result<(Measured, String)> {
        for transaction in &agents[self.own] {
            self.let_in(&transaction.seen).await?;
            self.later.push_back(transaction.edit.clone());
            self.send_next().await?;
        }
        let all: Vec<_> = agents.iter().map(Vec::len).collect();
        self.let_in(&all).await?;
        while !(self.replica.is_settled() && self.later.is_empty()) {
            let message = self.connection.receive().await?;
            self.hear(message)?;
            self.release(&all).await?;
        }
        let text = self.replica.view().context("the replica keeps its text")?;
        self.connection.shows(self.replica.revision(), &text);
        self.measured.carried(self.connection.traffic());
        self.connection.close().await;
        Ok((self.measured, text))
    }

    /// Lets in what the writer had seen, and waits for what has not come yet.
    async fn let_in(&mut self, seen: &[usize]) -> anyhow::Result<()> {
        let mut fates = self.fates.subscribe();
        loop {
            self.release(seen).await?;
            fates.mark_unchanged();
            for writer in 0..self.seen.len() {
                self.pass_empty(writer);
            }
            let missing =
                |(n, (have, want)): (usize, (&usize, &usize))| n != self.own && have < want;
            if !self.seen.iter().zip(seen).enumerate().any(missing) {
                return Ok(());
            }
            if let Some(Told::Remote { writer, rev, .. }) = self.held.front() {
                bail!("revision {rev} of writer {writer} is in the way: more than two writers");
            }
            tokio::select! {
                biased;
                message = self.connection.receive() => self.hear(message?)?,
                changed = fates.changed() => changed?,
            }
        }
    }

    /// Counts transactions of a writer as seen that take no revision.
    fn pass_empty(&mut self, writer: usize) {
        let fates = self.fates.borrow();
        while fates[writer].get(self.seen[writer]) == Some(&false) {
            self.seen[writer] += 1;
        }
    }

    /// Takes from what is held all that may be let in.
    async fn release(&mut self, seen: &[usize]) -> anyhow::Result<()> {
        while let Some(told) = self.held.pop_front() {
            if let Told::Remote { writer, .. } = told {
                self.pass_empty(writer);
            }
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

    async fn send_next(&mut self) -> anyhow::Result<()> {
        while self.replica.is_settled() {
            let Some(op) = self.later.pop_front() else { return Ok(()) };
            let batch = self.replica.edit(&op).with_context(|| {
                let written = self.fates.borrow()[self.own].len();
                format!("transaction {written} of writer {} does not fit", self.own)
            })?;
            self.tell_fate(batch.is_some());
            if let Some(Batch { seq, base, op }) = batch {
                self.sent = Instant::now();
                self.measured.batches += 1;
                self.connection.send(&ClientMessage::Op { seq, base, op }).await?;
            } else {
                self.measured.operations += 1;
                self.progress.add(1);
            }
        }
        Ok(())
    }

    /// Before the batch is sent, so that whoever gets its revision knows which transaction it is.
    fn tell_fate(&self, takes_revision: bool) {
        self.fates.send_if_modified(|fates| {
            fates[self.own].push(takes_revision);
            // A revision tells of itself.
            !takes_revision
        });
    }

    /// Takes a message off the connection.
    fn hear(&mut self, message: Option<ServerMessage>) -> anyhow::Result<()> {
        match message {
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
