//! Documents by themselves: a router over one shard in memory, and clients that only listen.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use quire::access::Asker;
use quire::checkpoint::{self, Store};
use quire::doc::{self, Event, Handle, Join, Mode, Outbox, Refusal, Welcome, Write};
use quire::log::{self, Log};
use quire::router::Router;
use quire::shard::{self, Ports};
use quire::text::Operation;
use quire::types::{Author, DocId, LogId, Revision, SessionId, ShardId};
use tokio::sync::Notify;
use tokio::time::timeout;

/// A guard against a test that hangs, not a measure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps what a client is told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) events: Mutex<Vec<Event>>,
    more: Notify,
}

impl Outbox for Told {
    fn push(&self, event: Event) {
        self.events.lock().push(event);
        self.more.notify_one();
    }
}

impl Told {
    /// Waits until the connection is over and returns why.
    pub(crate) async fn closed(&self) -> Refusal {
        let end = |event: &Event| match event {
            Event::Closed(refusal) => Some(refusal.clone()),
            _ => None,
        };
        let waiting = async {
            loop {
                let more = self.more.notified();
                if let Some(refusal) = self.events.lock().iter().find_map(end) {
                    return refusal;
                }
                more.await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("the client is told")
    }
}

pub(crate) fn id(name: &str) -> DocId {
    name.parse().expect("a valid id")
}

/// What a shard works with.
pub(crate) struct Under {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) config: doc::Config,
}

impl Default for Under {
    fn default() -> Self {
        Self {
            log: Arc::new(log::Memory::new(LogId(1), 1)),
            store: Arc::new(checkpoint::Memory::new()),
            config: doc::Config::default(),
        }
    }
}

pub(crate) async fn router(under: Under) -> Router {
    let ports = ports(under, "node");
    Router::new(vec![shard::start(ShardId(0), ports).await.expect("it starts")])
}

/// Returns what the shards of a node work with.
pub(crate) fn ports(under: Under, node: &str) -> Ports {
    let Under { log, store, config } = under;
    Ports { doc_config: Arc::new(config), ..quire::testing::ports(log, store, node) }
}

/// Connects a viewer.
pub(crate) async fn join(handle: &Handle) -> Arc<Told> {
    let (welcome, told) = join_as(handle, Asker::anything(), Mode::View).await;
    welcome.expect("it is taken");
    told
}

/// Connects somebody.
pub(crate) async fn join_as(
    handle: &Handle,
    asker: Asker,
    mode: Mode,
) -> (Result<Welcome, Refusal>, Arc<Told>) {
    let told = Arc::new(Told::default());
    let join = Join { asker, mode, ..Join::new(SessionId(rand::random()), told.clone()) };
    (handle.join(join).await.expect("it is open"), told)
}

/// Writes one letter at the beginning.
pub(crate) async fn write(handle: &Handle, base: u64) -> Revision {
    let op = Operation::builder().insert("x").build();
    let edit = Write::Edit { author: Author::anonymous(), base: Revision(base), op };
    handle.write(SessionId(rand::random()), Asker::anything(), edit).await.expect("it is taken")
}
