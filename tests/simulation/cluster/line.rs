//! A node's way to a log: records travel in order, take their time, and stop at walls. Where the
//! node ends, those that are under way are lost or arrive, as its end wants it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use quire::log::{AppendError, Appended, Batch, Log, Marks, ReadError, Refusal, Stored};
use quire::task::{Ice, Tasks};
use quire::types::{LogId, Offset, ShardId};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::gate::Gate;

/// What stands between a node and the logs, in each direction.
#[derive(Clone, Default)]
pub(crate) struct Walls {
    pub(crate) up: Ice,
    pub(crate) down: Ice,
}

impl Walls {
    pub(crate) fn fall(&self) {
        self.up.thaw();
        self.down.thaw();
    }
}

/// How long things take on the way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) latency_max: Duration,
    /// How long a record may take until nobody knows what became of it.
    pub(crate) append_timeout: Duration,
}

/// The log as one life of a node reaches it.
pub(crate) struct Line {
    inner: Arc<dyn Log>,
    gate: Gate,
    walls: Walls,
    post: Vec<mpsc::UnboundedSender<Parcel>>,
    pace: Pace,
}

/// A record on its way.
struct Parcel {
    record: Bytes,
    until: Instant,
    reply: oneshot::Sender<Result<Offset, AppendError>>,
}

/// Brings the records of one shard to the log, one after the other.
struct Carrier {
    shard: ShardId,
    inner: Arc<dyn Log>,
    walls: Walls,
    lost: CancellationToken,
    inbox: mpsc::UnboundedReceiver<Parcel>,
    rng: ChaCha8Rng,
    pace: Pace,
    tasks: Tasks,
}

impl Line {
    /// Returns a way whose records are carried by `tasks`, which outlive the node.
    pub(crate) fn new(
        inner: Arc<dyn Log>,
        (gate, walls): (Gate, Walls),
        pace: Pace,
        seed: u64,
        tasks: &Tasks,
    ) -> Self {
        let carry = |shard: u32| {
            let (outbox, inbox) = mpsc::unbounded_channel();
            let carrier = Carrier {
                shard: ShardId(shard),
                inner: inner.clone(),
                walls: walls.clone(),
                lost: gate.cut.clone(),
                inbox,
                rng: ChaCha8Rng::seed_from_u64(seed.wrapping_mul(64) + u64::from(shard)),
                pace,
                tasks: tasks.clone(),
            };
            tasks.spawn("carrier", carrier.run());
            outbox
        };
        let post = (0..inner.shards()).map(carry).collect();
        Self { inner, gate, walls, post, pace }
    }

    /// The gate stands behind the wall on the way there.
    async fn there(&self) {
        self.gate.pass().await;
    }

    async fn back(&self) {
        self.walls.down.thawed().await;
        if self.gate.cut.is_cancelled() {
            std::future::pending::<()>().await;
        }
    }
}

impl Carrier {
    async fn run(mut self) {
        let lost = self.lost.clone();
        while let Some(Some(parcel)) = lost.run_until_cancelled(self.inbox.recv()).await {
            if lost.run_until_cancelled(self.carry(parcel)).await.is_none() {
                return;
            }
        }
    }

    async fn carry(&mut self, parcel: Parcel) {
        let Parcel { record, until, reply } = parcel;
        sleep(self.latency()).await;
        let mut reply = Some(reply);
        if timeout_at(until, self.walls.up.thawed()).await.is_err() {
            // Whoever asked may have gone, here and below.
            let _ = reply.take().map(|reply| reply.send(unknown("not there in time")));
            if self.rng.random() {
                return;
            }
            self.walls.up.thawed().await;
        }
        let written = self.inner.append(self.shard, record).await;
        let Some(reply) = reply else { return };
        let (latency, down) = (self.latency(), self.walls.down.clone());
        self.tasks.spawn("receipt", async move {
            sleep(latency).await;
            let back = timeout_at(until, down.thawed()).await;
            let _ = reply.send(back.map_or_else(|_| unknown("no receipt in time"), |()| written));
        });
    }

    fn latency(&mut self) -> Duration {
        self.pace.latency_max.mul_f64(self.rng.random::<f64>().powi(3))
    }
}

fn unknown(what: &'static str) -> Result<Offset, AppendError> {
    Err(AppendError::Unknown { source: Arc::new(std::io::Error::other(what)) })
}

#[async_trait]
impl Log for Line {
    fn id(&self) -> LogId {
        self.inner.id()
    }

    fn shards(&self) -> u32 {
        self.inner.shards()
    }

    fn append(&self, shard: ShardId, record: Bytes) -> Appended {
        let (reply, answer) = oneshot::channel();
        let until = Instant::now() + self.pace.append_timeout;
        let outbox = usize::try_from(shard.0).ok().and_then(|at| self.post.get(at));
        let Some(outbox) = outbox else {
            let reason = Refusal::NoShard { shard, shards: self.shards() };
            return std::future::ready(Err(AppendError::NotWritten { reason })).boxed();
        };
        // After a power cut nobody carries anything, and nobody is told.
        let _ = outbox.send(Parcel { record, until, reply });
        let cut = self.gate.cut.clone();
        async move {
            match answer.await {
                Ok(outcome) if !cut.is_cancelled() => outcome,
                _ => std::future::pending().await,
            }
        }
        .boxed()
    }

    async fn marks(&self, shard: ShardId) -> Result<Marks, ReadError> {
        self.there().await;
        let marks = self.inner.marks(shard).await;
        self.back().await;
        marks
    }

    async fn read(
        &self,
        shard: ShardId,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Batch, ReadError> {
        self.there().await;
        let batch = self.inner.read(shard, from, bytes_max).await;
        self.back().await;
        batch
    }

    async fn fetch(&self, shard: ShardId, offsets: &[Offset]) -> Result<Vec<Stored>, ReadError> {
        self.there().await;
        let found = self.inner.fetch(shard, offsets).await;
        self.back().await;
        found
    }

    async fn wait(&self, shard: ShardId, past: Offset) -> Result<(), ReadError> {
        self.there().await;
        let there = self.inner.wait(shard, past).await;
        self.back().await;
        there
    }

    async fn trim(&self, shard: ShardId, before: Offset) -> Result<(), ReadError> {
        self.there().await;
        let trimmed = self.inner.trim(shard, before).await;
        self.back().await;
        trimmed
    }

    async fn close(&self) {}
}
