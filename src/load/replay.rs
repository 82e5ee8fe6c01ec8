//! Replays recorded traffic: the batches of each document in their order, each by a client of its
//! session, at the recorded times or faster.
//!
//! A batch is sent once the revision before it is acknowledged and its time has come; its latency
//! is from the time at which it was meant to be sent (open loop), or from the moment it could be
//! where nothing is waited for. A log keeps operations rebased onto the revision before them, so
//! that is the base they are sent with. Beside the writers a replica of each document looks on;
//! it must show the recorded text in the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::{Document, Error};
use crate::load::history::Joined;
use crate::load::oracle::{ask, check, import};
use crate::load::recording::{Recording, Step};
use crate::load::target::all;
use crate::load::{Measured, Progress, Report, Target};
use crate::task::Tasks;
use crate::text::{Component, Operation, apply};
use crate::types::{DocId, Revision, Seq, SessionId, Timestamp};
use crate::wire::{ClientMessage, ServerMessage};

/// A longer text than this comes from an import: clients send at most 256 KiB, encoded.
const BATCH_BYTES_MAX: usize = 64 << 10;

/// How long a replica that looks on may take to show the end.
const REPLICA_MAX: Duration = Duration::from_secs(60);

/// How long a client waits before it connects again.
const AGAIN: Duration = Duration::from_millis(200);

/// How fast a recording is replayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// So many times as fast as it was recorded.
    Speed(f64),
    /// As fast as the server acknowledges.
    Max,
}

/// Replays every document `copies` times at once.
///
/// # Errors
/// Where a server ends a session for good; wrong texts are faults in the report.
pub async fn replay(
    name: &str,
    recording: Arc<Recording>,
    target: Arc<Target>,
    (pace, copies): (Pace, usize),
    progress: Progress,
) -> anyhow::Result<Report> {
    let tasks = Tasks::new();
    let began = Instant::now();
    let times = recording.docs().values().flatten().map(|step| step.at);
    let first = times.min().unwrap_or_default();
    let docs: Vec<_> = recording.docs().keys().cloned().collect();
    let play = |n: usize| {
        let (recording, target) = (Arc::clone(&recording), Arc::clone(&target));
        let (doc, progress, tasks_) =
            (docs[n % docs.len()].clone(), progress.clone(), tasks.clone());
        tasks.spawn("document", async move {
            let steps = &recording.docs()[&doc];
            let clock = Clock { began, first, pace };
            play(steps, &target, n, clock, &progress, &tasks_).await
        })
    };
    let players: Vec<_> = (0..docs.len() * copies).map(play).collect();
    let (mut measured, mut clients) = (Measured::default(), 0);
    for (one, sessions) in all(players).await? {
        measured.add(&one);
        clients += sessions;
    }
    let took = began.elapsed();
    progress.finish();
    let mut faults = Vec::new();
    for n in 0..docs.len() * copies {
        let steps = &recording.docs()[&docs[n % docs.len()]];
        let doc = target.doc(n)?;
        let told = ask(&target, &doc).await?;
        faults.extend(check(&doc, &told, &end(steps)?, steps.len() as u64));
    }
    Ok(Report::new(name, (docs.len() * copies, clients), &measured, took, faults))
}

/// Returns the text that a document ends with.
fn end(steps: &[Step]) -> anyhow::Result<String> {
    let mut text = String::new();
    for step in steps {
        text = apply(&step.op, &text).context("the recording does not fit together")?;
    }
    Ok(text)
}

/// When batches are meant to be sent.
#[derive(Debug, Clone, Copy)]
struct Clock {
    began: Instant,
    first: Timestamp,
    pace: Pace,
}

impl Clock {
    fn intended(&self, at: Timestamp) -> Instant {
        match self.pace {
            Pace::Max => Instant::now(),
            Pace::Speed(speed) => {
                let since = Duration::from_millis(at.0.saturating_sub(self.first.0));
                self.began + since.div_f64(speed)
            }
        }
    }
}

/// A batch on its way to a client, and what the client says of it.
type Order = (Seq, Revision, Operation);
type Done = anyhow::Result<Revision>;

async fn play(
    steps: &[Step],
    target: &Arc<Target>,
    n: usize,
    clock: Clock,
    progress: &Progress,
    tasks: &Tasks,
) -> anyhow::Result<(Measured, usize)> {
    let doc = target.doc(n)?;
    let (told, mut outcomes) = mpsc::channel::<Done>(1);
    let mut players: HashMap<usize, (mpsc::Sender<Order>, Seq)> = HashMap::new();
    let mut measured = Measured::default();
    let replica = Document::open(doc.clone(), target.options(n));
    for (base, step) in (0_u64..).zip(steps) {
        let (orders, seq) = players.entry(step.session).or_insert_with(|| {
            let (orders, inbox) = mpsc::channel(1);
            let client = Client::new(target.clone(), n, doc.clone());
            tasks.spawn("client", client.run(inbox, told.clone()));
            (orders, Seq(0))
        });
        *seq = seq.next();
        let intended = clock.intended(step.at);
        sleep_until(intended).await;
        if inserted_bytes(&step.op) > BATCH_BYTES_MAX {
            // It came in as an import, and no client may send it.
            import(target, &doc, &end(&steps[..=base as usize])?).await?;
            *seq = Seq(seq.0 - 1);
            measured.operations += 1;
            measured.batches += 1;
            progress.add(1);
            continue;
        }
        let order = (*seq, Revision(base), step.op.clone());
        orders.send(order).await.ok().context("a client has ended")?;
        let rev = outcomes.recv().await.context("a client has ended")??;
        if rev != Revision(base + 1) {
            bail!("{doc}: a batch became revision {rev} and not {}: who else writes?", base + 1);
        }
        measured.ack(intended.elapsed());
        measured.operations += 1;
        measured.batches += 1;
        progress.add(1);
    }
    let sessions = players.len();
    drop(players);
    let wanted = end(steps)?;
    if timeout(REPLICA_MAX, shows(&replica, &wanted)).await.is_err() {
        bail!("{doc}: a replica that looked on does not show what was replayed");
    }
    Ok((measured, sessions))
}

/// Waits until a replica shows a text.
async fn shows(replica: &Document, wanted: &str) {
    let mut shown = replica.subscribe();
    while replica.text() != wanted {
        // What was missed is shown all the same.
        let _ = shown.recv().await;
    }
}

fn inserted_bytes(op: &Operation) -> usize {
    let inserted = |component: &Component| match component {
        Component::Insert(text) => text.len(),
        Component::Retain(_) | Component::Delete(_) => 0,
    };
    op.components().iter().map(inserted).sum()
}

/// One session: connected for as long as it has to be, and again after a loss.
struct Client {
    target: Arc<Target>,
    n: usize,
    doc: DocId,
    session: SessionId,
}

impl Client {
    fn new(target: Arc<Target>, n: usize, doc: DocId) -> Self {
        Self { target, n, doc, session: SessionId(rand::random()) }
    }

    async fn run(self, mut inbox: mpsc::Receiver<Order>, told: mpsc::Sender<Done>) {
        let mut open: Option<Order> = None;
        loop {
            match self.serve(&mut inbox, &told, &mut open).await {
                // Nobody has anything to send any more.
                Ok(()) => return,
                Err(error) => {
                    if !matches!(error.downcast_ref::<Error>(), Some(Error::Lost { .. })) {
                        // Whoever waits for it may have ended already.
                        let _ = told.send(Err(error)).await;
                        return;
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }

    async fn serve(
        &self,
        inbox: &mut mpsc::Receiver<Order>,
        told: &mpsc::Sender<Done>,
        open: &mut Option<Order>,
    ) -> anyhow::Result<()> {
        let joined = self.target.join(self.n, &self.doc, self.session).await?;
        let (mut connection, welcome) = joined;
        match open {
            // It was durable before the connection was lost.
            Some((seq, base, _)) if welcome.seq >= *seq => {
                let rev = base.next();
                *open = None;
                told.send(Ok(rev)).await?;
            }
            Some(order) => send(&mut connection, order).await?,
            None => {}
        }
        loop {
            let message = tokio::select! {
                biased;
                message = connection.receive() => message?,
                order = inbox.recv(), if open.is_none() => match order {
                    Some(order) => {
                        send(&mut connection, open.insert(order)).await?;
                        continue;
                    }
                    None => {
                        connection.close().await;
                        return Ok(());
                    }
                },
            };
            match message {
                Some(ServerMessage::Ack { seq, rev, .. })
                    if open.take_if(|(own, ..)| *own == seq).is_some() =>
                {
                    told.send(Ok(rev)).await?;
                }
                Some(ServerMessage::Error { fatal: false, retry, .. }) => {
                    tokio::time::sleep(retry.map_or(AGAIN, Duration::from)).await;
                    if let Some(order) = open {
                        send(&mut connection, order).await?;
                    }
                }
                Some(ServerMessage::Error { code, msg, retry, .. }) => {
                    return Err(Error::told(code, msg, retry.map(Duration::from)).into());
                }
                _ => {}
            }
        }
    }
}

async fn send(connection: &mut Joined, (seq, base, op): &Order) -> Result<(), Error> {
    connection.send(&ClientMessage::Op { seq: *seq, base: *base, op: op.clone() }).await
}
