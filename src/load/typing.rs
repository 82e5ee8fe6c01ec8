//! Made-up typing: many people over some documents, in bursts, with corrections and jumps.
//!
//! Keys are pressed at times fixed beforehand (open loop); the latency of a key is from that time
//! until it is durable, whether or not earlier ones are late.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until};

use crate::client::replica::{Batch, Effects, Keep, Replica};
use crate::client::{Connection, welcomed};
use crate::load::{Measured, Progress, Report, Target};
use crate::task::Tasks;
use crate::text::Operation;
use crate::types::{DocId, Revision, SessionId};
use crate::wire::{ClientMessage, Hello, Mode, ServerMessage, VERSION};

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
/// Where a server cannot be reached or ends a session.
pub async fn run(
    typing: Typing,
    target: Arc<Target>,
    progress: Progress,
) -> anyhow::Result<Report> {
    let (tasks, began) = (Tasks::new(), Instant::now());
    let person = |n: usize| {
        let (target, progress) = (target.clone(), progress.clone());
        tasks.spawn("person", async move { person(typing, &target, n, &progress).await })
    };
    let people: Vec<_> = (0..typing.clients).map(person).collect();
    let mut measured = Measured::default();
    for person in people {
        measured.add(&person.await.context("a client failed")??);
    }
    let took = began.elapsed();
    progress.finish();
    Ok(Report::new("typing", (typing.docs, typing.clients), &measured, took, Vec::new()))
}

async fn person(
    typing: Typing,
    target: &Target,
    n: usize,
    progress: &Progress,
) -> anyhow::Result<Measured> {
    let doc: DocId = format!("{}-{}", target.prefix, n % typing.docs.max(1)).parse()?;
    let hello = Hello {
        v: VERSION,
        session: SessionId(rand::random()),
        rev: None,
        mode: Mode::Edit,
        ordered: false,
        user: None,
    };
    let (mut connection, welcome) =
        Connection::open(target.url(n), &doc, target.codec, hello).await?;
    let mut replica = Replica::new(Keep::Length);
    // Nothing has been written here yet, so that there is nothing to show or to send.
    let _ = replica.welcome(welcomed(welcome))?;
    let mut person = Person {
        replica,
        rng: StdRng::seed_from_u64(typing.seed.wrapping_add(n as u64)),
        caret: 0,
        pressed: VecDeque::new(),
        measured: Measured::default(),
    };
    let between = Duration::from_secs_f64(1.0 / typing.rate.max(0.001));
    let mut next = Instant::now() + between.mul_f64(person.rng.random());
    let end = Instant::now() + typing.duration;
    loop {
        let typed_all = next >= end;
        if typed_all && person.replica.is_settled() {
            break;
        }
        tokio::select! {
            biased;
            message = connection.receive() => {
                if let Some(message) = message?
                    && let Some(batch) = person.hear(message)?
                {
                    send(&mut connection, batch).await?;
                }
            }
            () = sleep_until(next), if !typed_all => {
                if let Some(batch) = person.press(next)? {
                    send(&mut connection, batch).await?;
                }
                progress.add(1);
                next += between.mul_f64(person.pause());
            }
        }
    }
    connection.close().await;
    Ok(person.measured)
}

async fn send(connection: &mut Connection, batch: Batch) -> anyhow::Result<()> {
    let Batch { seq, base, op } = batch;
    Ok(connection.send(&ClientMessage::Op { seq, base, op }).await?)
}

struct Person {
    replica: Replica,
    rng: StdRng,
    caret: u32,
    /// The number of each key's edit and when it was to be pressed, until it is durable.
    pressed: VecDeque<(u64, Instant)>,
    measured: Measured,
}

impl Person {
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
        self.measured.batches += u64::from(batch.is_some());
        Ok(batch)
    }

    fn hear(&mut self, message: ServerMessage) -> anyhow::Result<Option<Batch>> {
        let batch = match message {
            ServerMessage::Op { rev, base, op, .. } => {
                self.replica.remote(rev, base, op)?;
                None
            }
            ServerMessage::Ops { rev, list } => {
                for (rev, edit) in (rev.0..).zip(list) {
                    self.replica.remote(Revision(rev), edit.base, edit.op)?;
                }
                None
            }
            ServerMessage::Ack { seq, rev, op } => {
                let Effects { send, .. } = self.replica.ack(seq, rev, op)?;
                send
            }
            ServerMessage::Error { fatal: false, .. } => self.replica.resend(),
            ServerMessage::Error { msg, .. } => bail!("the server ended the session: {msg}"),
            _ => None,
        };
        self.measured.batches += u64::from(batch.is_some());
        let durable = self.replica.durable_edits();
        let now = Instant::now();
        while let Some((_, meant)) = self.pressed.pop_front_if(|(edit, _)| *edit <= durable) {
            self.measured.ack(now - meant);
            self.measured.operations += 1;
        }
        Ok(batch)
    }
}
