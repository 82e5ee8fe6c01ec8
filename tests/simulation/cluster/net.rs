//! The network between the nodes: streams of bytes in memory that take their time, stop at walls,
//! and are cut.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use quire::relay::{HelloError, Listener, Network, Stream};
use quire::task::{Ice, Tasks};
use quire::types::NodeId;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How much one direction of a connection holds.
const PIPE_BYTES: usize = 1 << 16;

/// All connections between nodes.
#[derive(Clone)]
pub(crate) struct Net {
    state: Arc<Mutex<State>>,
    tasks: Tasks,
    latency_max: Duration,
}

struct State {
    ports: BTreeMap<String, (usize, mpsc::UnboundedSender<DuplexStream>)>,
    /// What stands in the way from one node to another.
    walls: BTreeMap<(usize, usize), Ice>,
    connections: Vec<Connection>,
    rng: ChaCha8Rng,
}

struct Connection {
    ends: (usize, usize),
    cut: CancellationToken,
    hush: CancellationToken,
}

/// The network as one node sees it.
pub(crate) struct Seat {
    net: Net,
    node: usize,
}

/// Takes the connections to one life of a node.
pub(crate) struct Port(mpsc::UnboundedReceiver<DuplexStream>);

impl Net {
    pub(crate) fn new(seed: u64, latency_max: Duration, tasks: Tasks) -> Self {
        let state = State {
            ports: BTreeMap::new(),
            walls: BTreeMap::new(),
            connections: Vec::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        Self { state: Arc::new(Mutex::new(state)), tasks, latency_max }
    }

    pub(crate) fn seat(&self, node: usize) -> Seat {
        Seat { net: self.clone(), node }
    }

    /// Opens an address until it is opened again or closed.
    pub(crate) fn listen(&self, node: usize, address: String) -> Port {
        let (outbox, inbox) = mpsc::unbounded_channel();
        self.state().ports.insert(address, (node, outbox));
        Port(inbox)
    }

    pub(crate) fn close(&self, address: &str) {
        self.state().ports.remove(address);
    }

    pub(crate) fn wall(&self, from: usize, to: usize) -> Ice {
        self.state().walls.entry((from, to)).or_default().clone()
    }

    /// Lets everything pass again.
    pub(crate) fn heal(&self) {
        let walls: Vec<_> = self.state().walls.values().cloned().collect();
        walls.iter().for_each(Ice::thaw);
    }

    /// Cuts the connections that are chosen by their ends; without a word where it is silent.
    pub(crate) fn cut(&self, chosen: impl Fn((usize, usize)) -> bool, silently: bool) {
        let mut state = self.state();
        let cut: Vec<_> = state.connections.extract_if(.., |one| chosen(one.ends)).collect();
        drop(state);
        for one in cut {
            if silently { one.hush.cancel() } else { one.cut.cancel() }
        }
    }

    fn connect(&self, node: usize, address: &str) -> io::Result<DuplexStream> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let mut state = self.state();
        let (to, outbox) = state.ports.get(address).cloned().ok_or_else(refused)?;
        let (near, near_end) = duplex(PIPE_BYTES);
        let (far, far_end) = duplex(PIPE_BYTES);
        outbox.send(far).map_err(|_| refused())?;
        let (cut, hush) = (CancellationToken::new(), CancellationToken::new());
        let (near_in, near_out) = split(near_end);
        let (far_in, far_out) = split(far_end);
        for (ends, from, into) in [((node, to), near_in, far_out), ((to, node), far_in, near_out)] {
            let wall = state.walls.entry(ends).or_default().clone();
            let pipe = Pipe {
                wall,
                hush: hush.clone(),
                latency_max: self.latency_max,
                rng: ChaCha8Rng::seed_from_u64(state.rng.random()),
            };
            let cut = cut.clone();
            self.tasks.spawn("pipe", async move {
                // Both ends see the connection closed where one does.
                cut.run_until_cancelled(pipe.carry(from, into)).await;
                cut.cancel();
            });
        }
        state.connections.retain(|one| !one.cut.is_cancelled());
        state.connections.push(Connection { ends: (node, to), cut, hush });
        Ok(near)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked")
    }
}

/// One direction of a connection.
struct Pipe {
    wall: Ice,
    hush: CancellationToken,
    latency_max: Duration,
    rng: ChaCha8Rng,
}

impl Pipe {
    async fn carry(mut self, mut from: ReadHalf<DuplexStream>, mut into: WriteHalf<DuplexStream>) {
        let mut buffer = vec![0; PIPE_BYTES];
        while let Ok(bytes) = from.read(&mut buffer).await {
            sleep(self.latency_max.mul_f64(self.rng.random::<f64>().powi(3))).await;
            self.wall.thawed().await;
            if self.hush.is_cancelled() {
                std::future::pending::<()>().await;
            }
            if bytes == 0 || into.write_all(&buffer[..bytes]).await.is_err() {
                break;
            }
        }
    }
}

#[async_trait]
impl Network for Seat {
    async fn dial(&self, _: &NodeId, address: &str) -> Result<Box<dyn Stream>, HelloError> {
        let to = self.net.state().ports.get(address).map(|(node, _)| *node);
        if let Some(to) = to {
            for (from, to) in [(self.node, to), (to, self.node)] {
                self.net.wall(from, to).thawed().await;
            }
        }
        let lost = |error: io::Error| HelloError::Lost(error.to_string());
        Ok(Box::new(self.net.connect(self.node, address).map_err(lost)?))
    }
}

#[async_trait]
impl Listener for Port {
    async fn accept(&mut self) -> io::Result<(Box<dyn Stream>, SocketAddr)> {
        match self.0.recv().await {
            Some(stream) => Ok((Box::new(stream), SocketAddr::from(([127, 0, 0, 1], 1)))),
            None => std::future::pending().await,
        }
    }
}
