//! The links that this node makes to the owners of documents, and the copies that live on them.
//!
//! ```text
//! wanted ─► dialled, greeted ─► up ──silent, lost, given up──► down ─► wanted again
//!              └─ failed: not before a wait, doubling, with jitter
//! ```

use std::collections::{BTreeMap, HashMap};
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use siphasher::sip::SipHasher24;
use tokio::sync::{Mutex as Turn, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::doc::{self, Join, Refusal, Welcome};
use crate::relay::copy::Copy;
use crate::relay::error::{DecodeError, HelloError, PeerError};
use crate::relay::handle::Handle;
use crate::relay::link::{FOLLOWS, Frames, Greeted, Identity, on_wire};
use crate::relay::message::{Ask, Request, Response, Told, decode, encode};
use crate::relay::network::{Network, Stream};
use crate::relay::queue::{Frame, Full, Outgoing};
use crate::relay::server::limits;
use crate::relay::waiters::Behind;
use crate::relay::{Config, Metrics};
use crate::shard;
use crate::task::Tasks;
use crate::types::{DocId, NodeId, Offset, Revision, ShardId};

/// How long is waited after the first failed try, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// How often a copy that was dropped just now is asked for again.
const TRIES: usize = 5;

/// How long the other node may take to warm up, or to claim.
const HAND_OFF_MAX: Duration = Duration::from_secs(30);

/// Knows the nodes of the cluster that are up.
pub trait Members: Send + Sync {
    /// Returns where a node's peer port is, if it is up.
    fn address(&self, node: &NodeId) -> Option<String>;

    /// Returns all of them.
    fn up(&self) -> Vec<NodeId>;
}

/// Reaches the other nodes; cheap to clone.
#[derive(Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    me: Identity,
    members: Arc<dyn Members>,
    network: Arc<dyn Network>,
    config: Config,
    doc_config: Arc<doc::Config>,
    tasks: Tasks,
    metrics: Metrics,
    peers: Mutex<HashMap<NodeId, Arc<Peer>>>,
    copies: Mutex<BTreeMap<DocId, Arc<Copy>>>,
    /// The next number of a call or of a subscription: no two links share one, so that no answer
    /// is taken for another's.
    next: Arc<AtomicU64>,
}

/// One other node.
#[derive(Default)]
struct Peer {
    /// Whose turn it is to dial.
    dialling: Turn<Pause>,
    /// Ends the try that is under way.
    given_up: Mutex<CancellationToken>,
    link: Mutex<Option<Arc<Link>>>,
}

/// When the next try may be made.
#[derive(Default)]
struct Pause {
    failed: u32,
    until: Option<Instant>,
    /// The last failure that was logged.
    told: Option<&'static str>,
}

impl Peers {
    /// Returns a node's way to the others over a network.
    pub fn over(
        network: Arc<dyn Network>,
        (me, members): (Identity, Arc<dyn Members>),
        (config, doc_config): (Config, Arc<doc::Config>),
        tasks: Tasks,
        metrics: Metrics,
    ) -> Self {
        let (peers, copies) = (Mutex::default(), Mutex::default());
        let next = Arc::new(AtomicU64::new(1));
        let every = config.copy_idle.max(Duration::from_millis(2)) / 2;
        let inner =
            Inner { me, members, network, config, doc_config, tasks, metrics, peers, copies, next };
        let peers = Self { inner: Arc::new(inner) };
        let (sweeping, token) = (peers.clone(), peers.inner.tasks.token().clone());
        peers.inner.tasks.spawn("copies", async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while token.run_until_cancelled(ticks.tick()).await.is_some() {
                sweeping.sweep();
            }
        });
        peers
    }

    /// Connects a client to a document of another node.
    ///
    /// # Errors
    /// [`Refusal`]; `Moved` where there is no link to the node, or it is not the owner.
    pub async fn join(
        &self,
        owner: &NodeId,
        doc: &DocId,
        join: impl Fn() -> Join,
    ) -> Result<(Handle, Welcome), Refusal> {
        for _ in 0..TRIES {
            let copy = self.copy(doc);
            if let Some(joined) = copy.join(self, owner, join()).await {
                if joined.is_err() {
                    self.let_go(&copy);
                }
                return joined;
            }
        }
        Err(Refusal::Moved)
    }

    /// Tells whether a node is known that can be asked; no other is ever dialled.
    pub fn is_up(&self, node: &NodeId) -> bool {
        self.inner.members.address(node).is_some()
    }

    /// Returns the other nodes that are up.
    pub fn others(&self) -> Vec<NodeId> {
        let mut up = self.inner.members.up();
        up.retain(|node| *node != self.inner.me.node);
        up
    }

    /// Has a request of the HTTP API answered by another node.
    ///
    /// # Errors
    /// [`PeerError`].
    ///
    /// # Cancel safety
    /// The other node may work on a request of a call that was dropped; nothing waits for the
    /// answer.
    pub async fn carry(&self, owner: &NodeId, request: Request) -> Result<Response, PeerError> {
        self.inner.metrics.carried.inc();
        let within = self.inner.config.request_timeout;
        match self.ask(owner, &Ask::Request(request), within).await? {
            Told::Response(response) => Ok(response),
            other => Err(unwanted(other)),
        }
    }

    /// Gives the link to a node up, or the try to make one, where it is known to be gone: nobody
    /// waits until it has been silent for long enough.
    pub fn give_up(&self, node: &NodeId) {
        let Some(peer) = self.inner.peers.lock().get(node).cloned() else { return };
        peer.given_up.lock().cancel();
        if let Some(link) = &*peer.link.lock() {
            link.outgoing.end.cancel();
        }
    }

    async fn ask(&self, to: &NodeId, ask: &Ask, within: Duration) -> Result<Told, PeerError> {
        let link = self.link(to).await.map_err(PeerError::NotSent)?;
        link.request(ask, limits(&self.inner.config).frame_bytes_max, within).await
    }

    fn copy(&self, doc: &DocId) -> Arc<Copy> {
        let Inner { doc_config, metrics, tasks, copies, .. } = &*self.inner;
        let new = || Copy::new(doc.clone(), doc_config.clone(), metrics.clone(), tasks.clone());
        copies.lock().entry(doc.clone()).or_insert_with(new).clone()
    }

    fn let_go(&self, copy: &Arc<Copy>) {
        let mut copies = self.inner.copies.lock();
        let is_here = copies.get(&copy.doc).is_some_and(|known| Arc::ptr_eq(known, copy));
        if is_here && copy.let_go_if_nothing() {
            copies.remove(&copy.doc);
        }
    }

    fn sweep(&self) {
        self.inner.copies.lock().retain(|_, copy| !copy.sweep());
    }

    /// Returns the link to a node, which is made where there is none.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn link(&self, node: &NodeId) -> Result<Arc<Link>, String> {
        let peer = self.inner.peers.lock().entry(node.clone()).or_default().clone();
        if let Some(link) = peer.up() {
            return Ok(link);
        }
        let mut pause = peer.dialling.lock().await;
        if let Some(link) = peer.up() {
            return Ok(link);
        }
        if pause.until.is_some_and(|until| Instant::now() < until) {
            return Err("the last try failed just now".to_owned());
        }
        // Before the address is looked up: whoever is gone later is given up later.
        let given_up = CancellationToken::new();
        *peer.given_up.lock() = given_up.clone();
        let gone = || Err(HelloError::Lost("the node is gone".to_owned()));
        let dialled = given_up.run_until_cancelled(self.dial(node)).await;
        match dialled.unwrap_or_else(gone) {
            Ok(greeted) => {
                *pause = Pause::default();
                let link = self.up(node, greeted);
                *peer.link.lock() = Some(link.clone());
                if given_up.is_cancelled() {
                    link.outgoing.end.cancel();
                }
                Ok(link)
            }
            Err(error) => {
                pause.failed += 1;
                let wait = jittered(self.inner.me.boot, node, pause.failed);
                pause.until = Some(Instant::now() + wait);
                if pause.told.replace(error.reason()) != Some(error.reason()) {
                    self.inner.metrics.refused.with_label_values(&[error.reason()]).inc();
                    warn!(?node, reason = %error, "no link to a node; trying again");
                }
                Err(error.to_string())
            }
        }
    }

    async fn dial(&self, node: &NodeId) -> Result<Greeted<Box<dyn Stream>>, HelloError> {
        let Some(address) = self.inner.members.address(node) else {
            return Err(HelloError::Lost("its address is not known".to_owned()));
        };
        let limits = limits(&self.inner.config);
        let dialling = async {
            let stream = self.inner.network.dial(node, &address).await?;
            self.inner.me.dial(stream, node, limits).await
        };
        let dialled = timeout(limits.hello_timeout, dialling).await;
        dialled.unwrap_or(Err(HelloError::Silent(limits.hello_timeout)))
    }

    fn up<S: Stream>(&self, node: &NodeId, greeted: Greeted<S>) -> Arc<Link> {
        let Greeted { version, frames, socket, .. } = greeted;
        let Inner { config, tasks, metrics, .. } = &*self.inner;
        let queue_bytes = usize::try_from(config.queue_bytes.as_u64()).unwrap_or(usize::MAX);
        let outgoing = Arc::new(Outgoing::new(queue_bytes, tasks.token().child_token()));
        let link = Arc::new(Link {
            node: node.clone(),
            version,
            outgoing: outgoing.clone(),
            next: self.inner.next.clone(),
            open: Mutex::new(Some(Open::default())),
            metrics: metrics.clone(),
        });
        info!(?node, version, "a link is up");
        let counted = metrics.clone();
        tasks.spawn("link writer", async move { outgoing.write_to(socket, &counted).await });
        let (reading, silence_max) = (link.clone(), config.silence_max);
        tasks.spawn("link", async move { reading.run(frames, silence_max).await });
        link
    }
}

#[async_trait]
impl shard::Peers for Peers {
    async fn warm(&self, to: &NodeId, shard: ShardId) -> Result<(), shard::PeerError> {
        done(self.ask(to, &Ask::Warm { shard }, HAND_OFF_MAX).await)
    }

    async fn released(
        &self,
        to: &NodeId,
        shard: ShardId,
        offset: Offset,
    ) -> Result<(), shard::PeerError> {
        done(self.ask(to, &Ask::Released { shard, offset }, HAND_OFF_MAX).await)
    }
}

fn done(told: Result<Told, PeerError>) -> Result<(), shard::PeerError> {
    match told {
        Ok(Told::Done) => Ok(()),
        Ok(Told::Denied(why)) => Err(shard::PeerError::Refused(why)),
        Ok(other) => Err(shard::PeerError::Refused(unwanted(other).to_string())),
        Err(PeerError::NotSent(_) | PeerError::Lost) => Err(shard::PeerError::Gone),
        Err(error @ (PeerError::Refused(_) | PeerError::Unknown)) => {
            Err(shard::PeerError::Refused(error.to_string()))
        }
    }
}

impl Peer {
    fn up(&self) -> Option<Arc<Link>> {
        self.link.lock().clone().filter(|link| !link.is_over())
    }
}

/// Waits a time that doubles, of which half is chance: the same chance for the same start of this
/// node, so that a run can be repeated.
fn jittered(boot: u64, node: &NodeId, failed: u32) -> Duration {
    let full = PAUSE.0.saturating_mul(1 << failed.min(10)).min(PAUSE.1);
    let mut hasher = SipHasher24::new_with_keys(boot, u64::from(failed));
    hasher.write(node.0.as_str().as_bytes());
    let share = u32::try_from(hasher.finish() % 512).expect("below 512");
    full / 2 + full / 1_024 * share
}

fn unwanted(told: Told) -> PeerError {
    match told {
        Told::Denied(why) => PeerError::Refused(why),
        Told::Unknown => PeerError::Unknown,
        _ => PeerError::Refused("it answered something else".to_owned()),
    }
}

/// Who waits for the answer to a call.
pub(crate) enum Waiting {
    /// A task.
    Task(oneshot::Sender<Told>),
    /// A copy, which takes it between two messages.
    Copy(Arc<Copy>),
}

/// One link to an owner.
pub(crate) struct Link {
    pub(crate) node: NodeId,
    /// Of the messages.
    version: u16,
    pub(crate) outgoing: Arc<Outgoing>,
    next: Arc<AtomicU64>,
    /// Nothing once the link is over.
    open: Mutex<Option<Open>>,
    metrics: Metrics,
}

#[derive(Default)]
struct Open {
    calls: BTreeMap<u64, Call>,
    subs: BTreeMap<u64, Arc<Copy>>,
}

/// A call that was not answered yet, and the subscription that it belongs to.
struct Call {
    waiting: Waiting,
    sub: Option<u64>,
}

impl Open {
    /// Ends a subscription: nobody waits for an answer within it any more.
    fn end(&mut self, sub: u64) -> Option<Arc<Copy>> {
        self.calls.retain(|_, call| call.sub != Some(sub));
        self.subs.remove(&sub)
    }
}

/// A call whose answer somebody waits for, who may give that up at any time.
struct Awaited<'a> {
    link: &'a Link,
    call: u64,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if let Some(open) = &mut *self.link.open.lock() {
            open.calls.remove(&self.call);
        }
    }
}

impl Link {
    /// Tells whether the link is lost.
    pub(crate) fn is_over(&self) -> bool {
        self.outgoing.end.is_cancelled() || self.open.lock().is_none()
    }

    /// Asks for a document for somebody, beginning with what `from` lacks; returns the
    /// subscription's number.
    pub(crate) fn subscribe(
        &self,
        copy: &Arc<Copy>,
        from: Option<Revision>,
        behind: &Behind,
    ) -> Option<u64> {
        let sub = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().as_mut()?.subs.insert(sub, copy.clone());
        let doc = copy.doc.clone();
        let ask = match self.version {
            ..FOLLOWS => Ask::Subscribe { sub, doc, from },
            FOLLOWS.. => {
                Ask::Follow { sub, doc, from, who: behind.who(), mode: behind.mode.into() }
            }
        };
        self.call(sub, &ask, Waiting::Copy(copy.clone())).map(|_| sub)
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&self, sub: u64) {
        if let Some(open) = &mut *self.open.lock() {
            open.end(sub);
        }
        self.outgoing.force(encode(0, &Ask::Unsubscribe { sub }));
    }

    /// Asks something of a subscription that has an answer; returns the call's number, or nothing
    /// where the subscription is over.
    pub(crate) fn call(&self, sub: u64, ask: &Ask, waiting: Waiting) -> Option<u64> {
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let mut open = self.open.lock();
        let open = open.as_mut().filter(|open| open.subs.contains_key(&sub))?;
        open.calls.insert(call, Call { waiting, sub: Some(sub) });
        self.outgoing.force(encode(call, ask));
        Some(call)
    }

    /// Asks something of a subscription and waits for the answer; nothing where it ends meanwhile.
    pub(crate) async fn ask(&self, sub: u64, ask: &Ask) -> Option<Told> {
        let (reply, answer) = oneshot::channel();
        self.call(sub, ask, Waiting::Task(reply))?;
        answer.await.ok()
    }

    /// Asks something of the node, once there is room for it, and waits for the answer.
    async fn request(
        &self,
        ask: &Ask,
        bytes_max: usize,
        within: Duration,
    ) -> Result<Told, PeerError> {
        let not_sent = |why: &str| Err(PeerError::NotSent(why.to_owned()));
        let call = self.next.fetch_add(1, Ordering::Relaxed);
        let frame = Frame::from(encode(call, ask));
        if frame.bytes() > bytes_max {
            return not_sent("the request is too long to be carried between nodes");
        }
        let (reply, answer) = oneshot::channel();
        match &mut *self.open.lock() {
            Some(open) => {
                open.calls.insert(call, Call { waiting: Waiting::Task(reply), sub: None })
            }
            None => return not_sent("the link is lost"),
        };
        let _awaited = Awaited { link: self, call };
        if let Err(Full) = self.outgoing.send(&frame, within).await {
            return not_sent("the link takes no more just now");
        }
        let told = timeout(within, answer).await.ok().and_then(Result::ok);
        told.ok_or(PeerError::Lost)
    }

    /// Reads what the owner tells until the link is lost.
    async fn run<S: Stream>(self: Arc<Self>, mut frames: Frames<S>, silence_max: Duration) {
        self.metrics.links_out.inc();
        let mut pings = interval(silence_max / 3);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = self.outgoing.end.clone();
        let (mut heard, mut begun) = (Instant::now(), 0);
        let why = loop {
            let frame = tokio::select! {
                biased;
                () = end.cancelled() => break "it was given up, or does not take its data",
                frame = frames.next() => frame,
                _ = pings.tick() => {
                    // A long message is no silence.
                    if std::mem::replace(&mut begun, frames.begun()) < frames.begun() {
                        heard = Instant::now();
                    }
                    if heard.elapsed() > silence_max {
                        break "the node is silent";
                    }
                    self.outgoing.force(encode(0, &Ask::Ping));
                    continue;
                }
            };
            (heard, begun) = (Instant::now(), 0);
            let Ok(Some(frame)) = frame else { break "it was lost" };
            self.metrics.received.inc_by(on_wire(&frame));
            match decode::<Told>(&frame) {
                Ok((call, told)) => self.hear(call, told),
                Err(DecodeError::Unknown { .. }) => self.metrics.unknown.inc(),
                Err(reason) => {
                    warn!(node = ?self.node, %reason, "a peer's message is damaged");
                    break "a message is damaged";
                }
            }
        };
        self.lose(why);
    }

    fn hear(&self, call: u64, told: Told) {
        let sub = match &told {
            Told::Changed { sub, .. }
            | Told::Presence { sub, .. }
            | Told::Alone { sub, .. }
            | Told::Closed { sub, .. } => Some(*sub),
            _ => None,
        };
        let Some(sub) = sub else { return self.answered(call, told) };
        let copy = {
            let mut open = self.open.lock();
            let Some(open) = &mut *open else { return };
            match told {
                Told::Closed { .. } => open.end(sub),
                _ => open.subs.get(&sub).cloned(),
            }
        };
        if let Some(copy) = copy {
            copy.hear(told);
        }
    }

    fn answered(&self, call: u64, told: Told) {
        let answered = self.open.lock().as_mut().and_then(|open| open.calls.remove(&call));
        let Some(Call { waiting, sub }) = answered else { return };
        match (waiting, sub) {
            (Waiting::Task(reply), _) => {
                // Whoever asked may have gone.
                let _ = reply.send(told);
            }
            (Waiting::Copy(copy), Some(sub)) => {
                if !copy.answered((sub, call), told)
                    && let Some(open) = &mut *self.open.lock()
                {
                    open.end(sub);
                }
            }
            (Waiting::Copy(_), None) => debug_assert!(false, "a copy asks within a subscription"),
        }
    }

    fn lose(&self, why: &'static str) {
        self.outgoing.end.cancel();
        let open = self.open.lock().take().unwrap_or_default();
        warn!(node = ?self.node, why, copies = open.subs.len(), "the link to a node is lost");
        self.metrics.links_out.dec();
        self.metrics.lost.inc();
        for (sub, copy) in open.subs {
            copy.over(sub, &Refusal::Moved);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_waits_for_any_more_is_forgotten() {
        let link = Link {
            node: NodeId("node".parse().expect("a name")),
            version: crate::relay::SPEAKS.1,
            outgoing: Arc::new(Outgoing::new(1_024, CancellationToken::new())),
            next: Arc::default(),
            open: Mutex::new(Some(Open::default())),
            metrics: Metrics::register(&prometheus::Registry::new()).expect("a new registry"),
        };
        let asking = link.request(&Ask::Ping, 1_024, HAND_OFF_MAX);
        let waiting = || link.open.lock().as_ref().map(|open| open.calls.len());
        let dropped = timeout(HAND_OFF_MAX / 2, async {
            tokio::join!(asking, async {
                assert_eq!(waiting(), Some(1));
            })
        });
        assert!(dropped.await.is_err(), "nobody answers");
        assert_eq!(waiting(), Some(0));
    }
}
