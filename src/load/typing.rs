//! Made-up typing: many people over some documents, in bursts, with corrections and jumps.
//!
//! Keys are pressed at times fixed beforehand (open loop); the latency of a key is from that time
//! until it is durable, whether or not earlier ones are late. When everybody has typed, each waits
//! until it has seen what the others of its document wrote; then all texts are compared.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::replica::{Batch, Effects, Keep, Replica};
use crate::client::welcomed;
use crate::load::history::Joined;
use crate::load::oracle::{ask, check};
use crate::load::target::all;
use crate::load::{Measured, Progress, Report, Target};
use crate::task::Tasks;
use crate::text::Operation;
use crate::types::{Revision, SessionId};
use crate::wire::{ClientMessage, ServerMessage};

/// How long people wait for what the others wrote.
const CATCH_UP_MAX: Duration = Duration::from_secs(30);

/// When a batch is sent again that the server did not take, where it does not say.
const RESEND: Duration = Duration::from_millis(10);

/// How much typing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Typing {
    /// Documents.
    pub docs: usize,
    /// People, spread over the documents.
    pub clients: usize,
    /// Keys a second of one person.
    pub rate: f64,
    /// For how long.
    pub duration: Duration,
    /// Where the randomness begins.
    pub seed: u64,
}

/// Types.
///
/// # Errors
/// Where a server cannot be reached or ends a session; wrong texts are faults in the report.
pub async fn run(
    typing: Typing,
    target: Arc<Target>,
    progress: Progress,
) -> anyhow::Result<Report> {
    let (tasks, began) = (Tasks::new(), Instant::now());
    let docs = typing.docs.clamp(1, typing.clients.max(1));
    let people_of = |doc: usize| (doc..typing.clients).step_by(docs).count();
    let settled: Vec<_> = (0..docs)
        .map(|doc| watch::Sender::new(Settled { typing: people_of(doc), batches: 0 }))
        .collect();
    let join = |n: usize| {
        let (target, progress) = (target.clone(), progress.clone());
        let settled = settled[n % docs].clone();
        tasks.spawn("person", async move {
            let (person, connection) = Person::join(typing, &target, n, n % docs).await?;
            person.type_all(connection, typing, &settled, &progress).await
        })
    };
    let people = all((0..typing.clients).map(join).collect()).await?;
    progress.finish();
    let (mut measured, mut took) = (Measured::default(), Duration::ZERO);
    for person in &people {
        measured.add(&person.measured);
        took = took.max(person.settled.duration_since(began));
    }
    let mut faults = Vec::new();
    for (n, settled) in settled.iter().enumerate().take(typing.clients) {
        let doc = target.doc(n)?;
        let told = ask(&target, &doc).await?;
        faults.extend(check(&doc, &told, &told.text, settled.borrow().batches));
        for (n, person) in people.iter().enumerate().skip(n).step_by(docs) {
            if person.replica.view().as_ref() != Some(&told.text) {
                faults.push(format!("{doc}: person {n} has another text than the server"));
            }
        }
    }
    Ok(Report::new("typing", (docs, typing.clients), &measured, took, faults))
}

/// How far the people of one document are.
#[derive(Debug, Clone, Copy, Default)]
struct Settled {
    /// How many people are still at it.
    typing: usize,
    /// The batches of the others, all of them durable.
    batches: u64,
}

struct Person {
    replica: Replica,
    rng: StdRng,
    caret: u32,
    /// The number of each key's edit and when it was to be pressed, until it is durable.
    pressed: VecDeque<(u64, Instant)>,
    /// When the batch in flight is to be sent again.
    resend: Option<Instant>,
    /// When everything typed was durable.
    settled: Instant,
    measured: Measured,
}

impl Person {
    async fn join(
        typing: Typing,
        target: &Target,
        n: usize,
        doc: usize,
    ) -> anyhow::Result<(Self, Joined)> {
        let session = SessionId(rand::random());
        let (connection, welcome) = target.join(n, &target.doc(doc)?, session).await?;
        let mut replica = Replica::new(Keep::Text);
        // Nothing has been written here yet, so that there is nothing to show or to send.
        let _ = replica.welcome(welcomed(welcome))?;
        let person = Self {
            replica,
            rng: StdRng::seed_from_u64(typing.seed.wrapping_add(n as u64)),
            caret: 0,
            pressed: VecDeque::new(),
            resend: None,
            settled: Instant::now(),
            measured: Measured::default(),
        };
        Ok((person, connection))
    }

    async fn type_all(
        mut self,
        mut connection: Joined,
        typing: Typing,
        settled: &watch::Sender<Settled>,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let between = Duration::from_secs_f64(1.0 / typing.rate.max(0.001));
        let mut next = Instant::now() + between.mul_f64(self.rng.random());
        let end = Instant::now() + typing.duration;
        while next < end || !self.replica.is_settled() {
            let batch = tokio::select! {
                biased;
                message = connection.receive() => self.hear(message?)?,
                () = sleep_until(self.resend.unwrap_or(end)), if self.resend.is_some() => {
                    self.resend = None;
                    self.replica.resend()
                }
                () = sleep_until(next), if next < end => {
                    let batch = self.press(next)?;
                    progress.add(1);
                    next += between.mul_f64(self.pause());
                    batch
                }
            };
            if let Some(Batch { seq, base, op }) = batch {
                connection.send(&ClientMessage::Op { seq, base, op }).await?;
            }
        }
        self.settled = Instant::now();
        self.measured.batches = self.replica.durable().0;
        settled.send_modify(|settled| {
            settled.typing -= 1;
            settled.batches += self.measured.batches;
        });
        // Where it does not come to it in time, the texts differ, and that is told.
        if let Ok(ended) = timeout(CATCH_UP_MAX, self.catch_up(&mut connection, settled)).await {
            ended?;
        }
        if let (true, Some(text)) = (self.replica.is_settled(), self.replica.view()) {
            connection.shows(self.replica.revision(), &text);
        }
        self.measured.carried(connection.traffic());
        connection.close().await;
        Ok(self)
    }

    /// Follows the document until everybody is settled and everything of theirs has come.
    async fn catch_up(
        &mut self,
        connection: &mut Joined,
        settled: &watch::Sender<Settled>,
    ) -> anyhow::Result<()> {
        let mut changed = settled.subscribe();
        loop {
            let Settled { typing, batches } = *changed.borrow_and_update();
            if typing == 0 && self.replica.revision().0 >= batches {
                return Ok(());
            }
            tokio::select! {
                biased;
                message = connection.receive() => {
                    self.hear(message?)?;
                }
                told = changed.changed() => told?,
            }
        }
    }

    /// Returns the time to the next key, in mean times: bursts with pauses between them.
    fn pause(&mut self) -> f64 {
        if self.rng.random_bool(0.05) { 6.0 } else { self.rng.random_range(0.4..1.0) }
    }

    fn press(&mut self, meant: Instant) -> anyhow::Result<Option<Batch>> {
        let chars = u32::try_from(self.replica.view_chars()).context("the text is too long")?;
        if self.rng.random_bool(0.02) {
            self.caret = self.rng.random_range(0..=chars);
        }
        self.caret = self.caret.min(chars);
        let key = Operation::builder();
        let op = if self.caret > 0 && self.rng.random_bool(0.1) {
            self.caret -= 1;
            key.retain(self.caret).delete(1).build()
        } else {
            self.caret += 1;
            let typed = char::from(self.rng.random_range(b'a'..=b'z'));
            key.retain(self.caret - 1).insert(typed.encode_utf8(&mut [0; 4])).build()
        };
        let batch = self.replica.edit(&op)?;
        self.pressed.push_back((self.replica.edits(), meant));
        Ok(batch)
    }

    /// Takes a message; returns what is to be sent.
    fn hear(&mut self, message: Option<ServerMessage>) -> anyhow::Result<Option<Batch>> {
        let batch = match message {
            Some(ServerMessage::Op { rev, base, op, .. }) => {
                self.replica.remote(rev, base, op)?;
                None
            }
            Some(ServerMessage::Ops { rev, list }) => {
                for (rev, edit) in (rev.0..).zip(list) {
                    self.replica.remote(Revision(rev), edit.base, edit.op)?;
                }
                None
            }
            Some(ServerMessage::Ack { seq, rev, op }) => {
                let Effects { send, .. } = self.replica.ack(seq, rev, op)?;
                send
            }
            Some(ServerMessage::Error { fatal: false, retry, .. }) => {
                self.resend = Some(Instant::now() + retry.map_or(RESEND, Duration::from));
                None
            }
            Some(ServerMessage::Error { msg, .. }) => bail!("the server ended the session: {msg}"),
            _ => None,
        };
        let durable = self.replica.durable_edits();
        let now = Instant::now();
        while let Some((_, meant)) = self.pressed.pop_front_if(|(edit, _)| *edit <= durable) {
            self.measured.ack(now - meant);
            self.measured.operations += 1;
        }
        Ok(batch)
    }
}
