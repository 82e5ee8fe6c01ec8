//! The peer port: the links that other nodes make to this one, and what they ask.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::doc::Refusal;
use crate::relay::down::Down;
use crate::relay::error::{DecodeError, HelloError};
use crate::relay::link::{Frames, Greeted, Identity, Limits, on_wire};
use crate::relay::message::{Ask, Blob, Denial, Response, Told, decode, encode};
use crate::relay::network::{Listener, Stream};
use crate::relay::queue::Outgoing;
use crate::relay::strangers::Strangers;
use crate::relay::subscription::{Entrance, Subscription, full};
use crate::relay::waiters::Behind;
use crate::relay::{Answers, Config, Metrics, Tls};
use crate::shard::{Directory, Heirs};
use crate::task::Tasks;
use crate::text::{Component, Operation};
use crate::types::{DocId, NodeId, Revision};

/// How many links there may be at once, and how many documents one may subscribe to.
const LINKS_MAX: usize = 1_024;
const SUBSCRIPTIONS_MAX: usize = 1 << 20;

/// How many requests of one link are worked on at once, how many of what nodes ask for themselves,
/// and how many hand-offs: no request of a client keeps a sign-out from being told, or a shard from
/// moving.
const REQUESTS_MAX: usize = 64;
const OF_NODES_MAX: usize = 1_024;
const HAND_OFFS_MAX: usize = 1_024;

/// The most components of an operation, as for clients.
const COMPONENTS_MAX: usize = 1 << 16;

/// How much of a refusal's text is carried, in bytes.
const DENIED_BYTES_MAX: usize = 128;

/// How long the listener waits where the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the peer port works with.
pub struct Ports {
    /// Who this node is.
    pub me: Identity,
    /// The limits.
    pub config: Config,
    /// What secures connections, where they are not plain.
    pub tls: Option<Tls>,
    /// The most text that an operation inserts, in bytes.
    pub op_bytes_max: usize,
    /// Knows which shards are here.
    pub directory: Arc<dyn Directory>,
    /// Knows which nodes are down.
    pub down: Down,
    /// Answers requests of the HTTP API.
    pub answers: Arc<dyn Answers>,
    /// Takes shards over.
    pub heirs: Arc<dyn Heirs>,
    /// Owns the links.
    pub tasks: Tasks,
    /// What is counted.
    pub metrics: Metrics,
}

/// Serves the port until `stop` is cancelled; links end when the tasks of the ports do.
pub async fn serve(mut listener: impl Listener, ports: Arc<Ports>, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(LINKS_MAX));
    let strangers = Arc::new(Strangers::default());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(reason) => {
                warn!(%reason, "could not accept a peer");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (ports, strangers, room) = (ports.clone(), strangers.clone(), room.clone());
        let tasks = ports.tasks.clone();
        tasks.spawn("peer", link(stream, from, ports, strangers, room));
    }
}

impl Ports {
    pub(crate) fn limits(&self) -> Limits {
        limits(&self.config)
    }

    /// Checks an operation as if it came off a socket.
    pub(crate) fn check(&self, op: &Operation) -> Result<(), Refusal> {
        let text = |component: &Component| match component {
            Component::Insert(text) => text.len(),
            Component::Retain(_) | Component::Delete(_) => 0,
        };
        let bytes = op.components().iter().map(text).sum::<usize>();
        let limit = self.op_bytes_max;
        if bytes > limit {
            return Err(Refusal::TooLong { bytes, limit });
        }
        if op.components().len() > COMPONENTS_MAX {
            let detail = format!("it has more than {COMPONENTS_MAX} components");
            return Err(Refusal::BadOp { detail });
        }
        Ok(())
    }
}

pub(crate) fn limits(config: &Config) -> Limits {
    let frame_bytes_max = usize::try_from(config.frame_bytes_max.as_u64()).unwrap_or(usize::MAX);
    Limits { hello_timeout: config.hello_timeout, frame_bytes_max }
}

/// Greets whoever has dialled, once it is certain who that can be.
async fn greet(
    stream: Box<dyn Stream>,
    ports: &Ports,
) -> Result<Greeted<Box<dyn Stream>>, HelloError> {
    let limits = ports.limits();
    let Some(tls) = &ports.tls else { return ports.me.answer(stream, limits, &ports.down).await };
    let (stream, certificate) = tls.accept(stream, limits.hello_timeout).await?;
    let greeted = ports.me.answer(stream, limits, &ports.down).await?;
    certificate.names(&greeted.peer.node)?;
    Ok(greeted)
}

/// Serves one connection, whatever it is.
async fn link(
    stream: Box<dyn Stream>,
    from: SocketAddr,
    ports: Arc<Ports>,
    strangers: Arc<Strangers>,
    room: Arc<Semaphore>,
) {
    let token = ports.tasks.token().clone();
    let stranger = strangers.enter();
    let greeted = token.run_until_cancelled(stranger.keep(greet(stream, &ports))).await;
    let Some(greeted) = greeted else { return };
    drop(stranger);
    let Greeted { peer, version, frames, socket } = match greeted {
        Ok(greeted) => greeted,
        Err(error) => {
            ports.metrics.refused.with_label_values(&[error.reason()]).inc();
            strangers.note(from, &error);
            return;
        }
    };
    let Ok(_permit) = room.try_acquire() else {
        ports.metrics.refused.with_label_values(&["full"]).inc();
        return;
    };
    info!(node = ?peer.node, %from, version, "a node has made a link");
    ports.metrics.links_in.inc();
    let queue_bytes = usize::try_from(ports.config.queue_bytes.as_u64()).unwrap_or(usize::MAX);
    let outgoing = Arc::new(Outgoing::new(queue_bytes, token.child_token()));
    let (writer, counted) = (outgoing.clone(), ports.metrics.clone());
    ports.tasks.spawn("peer writer", async move { writer.write_to(socket, &counted).await });
    let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
    let of_nodes = Arc::new(Semaphore::new(OF_NODES_MAX));
    let hand_offs = Arc::new(Semaphore::new(HAND_OFFS_MAX));
    let (node, boot, subs) = (peer.node, peer.boot, BTreeMap::new());
    let mut serving = Serving { ports, node, boot, outgoing, requests, of_nodes, hand_offs, subs };
    let why = serving.run(frames).await;
    serving.outgoing.end.cancel();
    serving.ports.metrics.links_in.dec();
    serving.ports.metrics.lost.inc();
    info!(node = ?serving.node, %from, why, "the link of a node has ended");
}

/// A link that another node has made.
struct Serving {
    ports: Arc<Ports>,
    node: NodeId,
    boot: u64,
    outgoing: Arc<Outgoing>,
    requests: Arc<Semaphore>,
    of_nodes: Arc<Semaphore>,
    hand_offs: Arc<Semaphore>,
    subs: BTreeMap<u64, Entrance>,
}

impl Serving {
    /// Reads what is asked until the link ends; tells why it did.
    async fn run<S: Stream>(&mut self, mut frames: Frames<S>) -> &'static str {
        let (end, mut begun) = (self.outgoing.end.clone(), 0);
        let mut down = self.ports.down.clone();
        loop {
            let frame = tokio::select! {
                biased;
                () = end.cancelled() => return "it does not take its data, or this node stops",
                () = down.comes(&self.node, self.boot) => return "the node is held for dead",
                frame = timeout(self.ports.config.silence_max, frames.next()) => frame,
            };
            let before = std::mem::replace(&mut begun, frames.begun());
            let frame = match frame {
                // A long message is no silence.
                Err(_) if begun > before => continue,
                Err(_) => return "it is silent",
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) => return "it was closed",
                Ok(Err(_)) => return "it was lost, or a message is too long",
            };
            self.ports.metrics.received.inc_by(on_wire(&frame));
            match decode::<Ask>(&frame) {
                Ok((call, ask)) => {
                    if !self.take(call, ask, frame.len()) {
                        return "the peer does not keep to the rules";
                    }
                }
                Err(DecodeError::Unknown { call, .. }) => {
                    self.ports.metrics.unknown.inc();
                    if call > 0 {
                        self.outgoing.force(encode(call, &Told::Unknown));
                    }
                }
                Err(reason) => {
                    warn!(node = ?self.node, %reason, "a peer's message is damaged");
                    return "a message is damaged";
                }
            }
        }
    }

    /// Takes a message; tells whether the peer keeps to the rules.
    fn take(&mut self, call: u64, ask: Ask, bytes: usize) -> bool {
        let sub = match ask {
            Ask::Ping => {
                self.outgoing.force(encode(call, &Told::Pong));
                return true;
            }
            Ask::Subscribe { sub, doc, from } => {
                return self.subscribe(call, (sub, doc), from, Behind::anybody());
            }
            Ask::Follow { sub, doc, from, who, mode } => {
                let behind = Behind { asker: who.into(), mode: mode.into() };
                return self.subscribe(call, (sub, doc), from, behind);
            }
            Ask::Request(_) | Ask::Warm { .. } | Ask::Released { .. } => {
                self.call(call, ask);
                return true;
            }
            Ask::Unsubscribe { sub }
            | Ask::Attach { sub, .. }
            | Ask::Detach { sub, .. }
            | Ask::Submit { sub, .. }
            | Ask::Place { sub, .. }
            | Ask::Missed { sub, .. } => sub,
        };
        match self.subs.get(&sub) {
            Some(entrance) if !entrance.ended.is_cancelled() => {
                if let Err(ask) = entrance.give(call, ask, bytes)
                    && let Some(answer) = full(call, &ask)
                {
                    self.outgoing.force(answer);
                }
                !entrance.is_flooded()
            }
            // It is over, and the peer is being told so.
            _ => {
                if call > 0 {
                    let moved = Denial::from(&Refusal::Moved);
                    self.outgoing.force(encode(call, &Told::Refused(moved)));
                }
                true
            }
        }
    }

    /// Begins a subscription; tells whether the peer keeps to the rules.
    fn subscribe(
        &mut self,
        call: u64,
        (sub, doc): (u64, DocId),
        from: Option<Revision>,
        behind: Behind,
    ) -> bool {
        self.subs.retain(|_, entrance| !entrance.ended.is_cancelled());
        if self.subs.contains_key(&sub) {
            return false;
        }
        if self.subs.len() >= SUBSCRIPTIONS_MAX {
            let denial = Denial::from(&Refusal::Full { retry: Duration::from_secs(1) });
            self.outgoing.force(encode(call, &Told::Refused(denial)));
            return true;
        }
        let subscribed = Subscription::new((sub, doc), &self.outgoing, self.ports.clone());
        let (subscription, entrance) = subscribed;
        self.subs.insert(sub, entrance);
        self.ports.tasks.spawn("subscription", subscription.run(call, from, behind));
        true
    }

    /// Works on something that has one answer.
    fn call(&self, call: u64, ask: Ask) {
        let room = match &ask {
            Ask::Request(request) if self.ports.answers.is_of_nodes(request) => &self.of_nodes,
            Ask::Request(_) => &self.requests,
            _ => &self.hand_offs,
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            let busy = "this node works on too many requests of yours: try again".to_owned();
            self.outgoing.force(encode(call, &Told::Denied(busy)));
            return;
        };
        let (ports, node, outgoing) =
            (self.ports.clone(), self.node.clone(), self.outgoing.clone());
        self.ports.tasks.spawn("call", async move {
            let answer = async {
                match ask {
                    Ask::Request(request) => {
                        Told::Response(ports.bounded(ports.answers.answer(request).await))
                    }
                    Ask::Warm { shard } => done(ports.heirs.warm(node, shard).await),
                    Ask::Released { shard, offset } => {
                        done(ports.heirs.released(node, shard, offset).await)
                    }
                    _ => Told::Unknown,
                }
            };
            tokio::select! {
                biased;
                () = outgoing.end.cancelled() => {}
                // Whoever asked waits no longer either.
                told = timeout(ports.config.request_timeout, answer) => {
                    let late = || Told::Denied("it took too long: try again".to_owned());
                    let frame = encode(call, &told.unwrap_or_else(|_| late())).into();
                    // A peer that does not take it is told nothing else either.
                    let _ = outgoing.send(&frame, ports.config.request_timeout).await;
                }
            }
            drop(permit);
        });
    }
}

impl Ports {
    /// Replaces an answer that no message takes.
    fn bounded(&self, response: Response) -> Response {
        const HEADERS: usize = 4_096;
        if response.body.0.len() + HEADERS <= self.limits().frame_bytes_max {
            return response;
        }
        let text = "the answer is too long to be carried between nodes: ask the document's owner, \
                    or raise relay.frame-bytes-max\n";
        let (content_type, headers) = (Some("text/plain".to_owned()), Vec::new());
        Response { status: 503, content_type, headers, body: Blob(text.into()) }
    }
}

fn done(result: Result<(), String>) -> Told {
    match result {
        Ok(()) => Told::Done,
        Err(mut why) => {
            why.truncate(why.floor_char_boundary(DENIED_BYTES_MAX));
            Told::Denied(why)
        }
    }
}
