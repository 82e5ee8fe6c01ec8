//! One document for one link, at its owner: a listener, and the clients behind it.
//!
//! ```text
//! asked ─► opened, heard ─► told of everything; clients come, write and go
//!   └─ refused                └─ unsubscribed, link lost, no room, document closed ─► all leave
//! ```
//! Batches keep their order, and wait for room in the document's queue here, so that other
//! documents of the link do not.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::Asker;
use crate::doc::{
    Batch, Closed, ConnId, Content, Event, Handle, Heard, Join, Listen, NotTaken, Outbox, Refusal,
    Socket, User, Welcome,
};
use crate::relay::carrier::{Carrier, To};
use crate::relay::message::{self, Alone, Ask, Caret, Client, Denial, Told, encode, rows};
use crate::relay::queue::{Frame, Outgoing};
use crate::relay::server::Ports;
use crate::relay::waiters::Behind;
use crate::shard::{Directory, Place};
use crate::types::{AUTHOR_BYTES_MAX, DocId, Revision};

/// How long an answer may wait for room on its link.
const ROOM_MAX: Duration = Duration::from_secs(5);

/// How often a document that closes just now is opened again.
const TRIES: usize = 5;

/// When a client may come back that came with too many others.
const CROWD_RETRY: Duration = Duration::from_millis(200);

/// When a client may come back to a document that no message takes.
const LONG_RETRY: Duration = Duration::from_secs(60);

/// What a message takes in the queue beside its own bytes.
const FIXED: usize = 64;

/// Something asked of a subscription.
pub(crate) struct Item {
    pub(crate) call: u64,
    pub(crate) ask: Ask,
    bytes: usize,
    received: Instant,
}

/// The way to a subscription.
#[derive(Clone)]
pub(crate) struct Entrance {
    queue: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
    bytes_max: usize,
    message_bytes_max: usize,
    /// Ends it.
    pub(crate) ended: CancellationToken,
}

impl Entrance {
    /// Hands something over; it comes back where too much waits already.
    pub(crate) fn give(&self, call: u64, ask: Ask, bytes: usize) -> Result<(), Box<Ask>> {
        let bytes = bytes + FIXED;
        let waits = self.waiting.load(Ordering::Relaxed);
        let always = matches!(ask, Ask::Detach { .. } | Ask::Unsubscribe { .. });
        if waits > 0 && waits + bytes > self.bytes_max && !always {
            return Err(Box::new(ask));
        }
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        // One that is over needs nothing.
        let _ = self.queue.send(Item { call, ask, bytes, received: Instant::now() });
        Ok(())
    }

    /// Tells whether the peer does not keep to any bound.
    pub(crate) fn is_flooded(&self) -> bool {
        // One message passes whatever its size, and people may always go.
        let most = self.bytes_max.saturating_mul(2).saturating_add(self.message_bytes_max);
        self.waiting.load(Ordering::Relaxed) > most
    }
}

pub(crate) struct Subscription {
    doc: DocId,
    carrier: Arc<Carrier>,
    ports: Arc<Ports>,
    queue: mpsc::UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
    clients: BTreeSet<ConnId>,
}

type Joining = BoxFuture<'static, (u64, Arc<Carrier>, Result<Welcome, Refusal>)>;

impl Subscription {
    pub(crate) fn new(
        (sub, doc): (u64, DocId),
        outgoing: &Arc<Outgoing>,
        ports: Arc<Ports>,
    ) -> (Self, Entrance) {
        let ended = outgoing.end.child_token();
        let (sender, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let bytes_max = ports.config.document_queue_bytes.as_u64();
        let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let metrics = ports.metrics.clone();
        let message_bytes_max = ports.limits().frame_bytes_max;
        let entrance = Entrance {
            queue: sender,
            waiting: waiting.clone(),
            bytes_max,
            message_bytes_max,
            ended: ended.clone(),
        };
        let carrier = Arc::new(Carrier::new(outgoing.clone(), sub, metrics, ended));
        let clients = BTreeSet::new();
        (Self { doc, carrier, ports, queue, waiting, clients }, entrance)
    }

    /// Serves it until it is over.
    pub(crate) async fn run(mut self, call: u64, from: Option<Revision>, behind: Behind) {
        let (handle, heard) = match self.listen(from, behind).await {
            Ok(heard) => heard,
            Err(refusal) => {
                let refused = Told::Refused(Denial::from(&refusal));
                self.carrier.outgoing.force(encode(call, &refused));
                self.carrier.ended.cancel();
                return;
            }
        };
        self.ports.metrics.subscriptions.inc();
        let content = match heard.content {
            Content::Text(text) => message::Content::Text(text),
            Content::Changes(changes) => message::Content::Changes(rows(&changes)),
        };
        let answer = encode(call, &Told::Subscribed { head: heard.head, content });
        if answer.len() > self.ports.limits().frame_bytes_max {
            let reason = "the document is too long to be sent between nodes: raise \
                          relay.frame-bytes-max, or use its owner";
            let (reason, retry) = (reason.to_owned(), LONG_RETRY);
            let refused = Told::Refused(Denial::from(&Refusal::Unavailable { reason, retry }));
            self.carrier.outgoing.force(encode(call, &refused));
        } else {
            match self.carrier.open(To::Copy, answer, ROOM_MAX).await {
                Ok(()) => self.serve(&handle, heard.conn).await,
                Err(refusal) => self.refuse(call, &refusal),
            }
        }
        for conn in &self.clients {
            handle.leave(*conn);
        }
        handle.leave(heard.conn);
        self.carrier.close(&Refusal::Moved);
        self.ports.metrics.subscriptions.dec();
    }

    async fn listen(
        &self,
        from: Option<Revision>,
        behind: Behind,
    ) -> Result<(Handle, Heard), Refusal> {
        let Behind { asker, mode } = behind;
        for _ in 0..TRIES {
            let handle = open(&*self.ports.directory, &self.doc).await?;
            let (asker, outbox) = (asker.clone(), self.carrier.clone());
            let listen = Listen { asker, mode, from, outbox };
            if let Ok(heard) = handle.listen(listen).await {
                return heard.map(|heard| (handle, heard));
            }
            tokio::task::yield_now().await;
        }
        Err(Refusal::Moved)
    }

    async fn serve(&mut self, handle: &Handle, copy: ConnId) {
        let mut joining = FuturesUnordered::<Joining>::new();
        let ended = self.carrier.ended.clone();
        loop {
            tokio::select! {
                biased;
                () = ended.cancelled() => break,
                Some(joined) = joining.next() => self.joined(joined, handle).await,
                item = self.queue.recv() => {
                    let Some(Item { call, ask, bytes, received }) = item else { break };
                    match ask {
                        Ask::Unsubscribe { .. } => break,
                        Ask::Attach { client, .. } => {
                            let (handle, carrier) = (handle.clone(), self.client());
                            joining.push(Box::pin(async move {
                                let join = join(client, copy, carrier.clone());
                                let joined = handle.join(join).await;
                                (call, carrier, joined.unwrap_or(Err(Refusal::Moved)))
                            }));
                        }
                        other => self.take((handle, copy), call, other, (bytes, received)).await,
                    }
                    self.waiting.fetch_sub(bytes, Ordering::Relaxed);
                }
            }
        }
        // Whoever is taken meanwhile leaves with the others.
        while let Some((_, _, joined)) = joining.next().await {
            self.clients.extend(joined.ok().map(|welcome| welcome.conn));
        }
    }

    fn client(&self) -> Arc<Carrier> {
        let Carrier { outgoing, sub, metrics, ended, .. } = &*self.carrier;
        Arc::new(Carrier::new(outgoing.clone(), *sub, metrics.clone(), ended.clone()))
    }

    async fn joined(
        &mut self,
        (call, carrier, joined): (u64, Arc<Carrier>, Result<Welcome, Refusal>),
        handle: &Handle,
    ) {
        match joined {
            Ok(Welcome { conn, head, seq, mode, you, .. }) => {
                self.clients.insert(conn);
                let mode = mode.into();
                let attached = Told::Attached { conn: conn.0, head, seq, mode, you };
                let answer = encode(call, &attached);
                if let Err(refusal) = carrier.open(To::Client(conn), answer, ROOM_MAX).await {
                    self.clients.remove(&conn);
                    handle.leave(conn);
                    self.refuse(call, &refusal);
                }
            }
            Err(refusal) => self.refuse(call, &refusal),
        }
    }

    fn refuse(&self, call: u64, refusal: &Refusal) {
        self.carrier.outgoing.force(encode(call, &Told::Refused(Denial::from(refusal))));
    }

    async fn take(
        &mut self,
        (handle, copy): (&Handle, ConnId),
        call: u64,
        ask: Ask,
        came: (usize, Instant),
    ) {
        match ask {
            Ask::Detach { conn, .. } => {
                if self.clients.remove(&ConnId(conn)) {
                    handle.leave(ConnId(conn));
                }
            }
            Ask::Submit { conn, seq, base, op, .. } if self.clients.contains(&ConnId(conn)) => {
                if let Err(refusal) = self.ports.check(&op.0) {
                    self.alone(ConnId(conn), Event::Refused { seq, refusal });
                    return;
                }
                let (bytes, received) = came;
                let batch = Batch { seq, base, op: op.0, received, permit: None };
                match handle.submit(ConnId(conn), batch, bytes).await {
                    Err(NotTaken::Full(refusal)) => {
                        self.alone(ConnId(conn), Event::Refused { seq, refusal });
                    }
                    // What the document said last tells why it is closed.
                    Ok(()) | Err(NotTaken::Closed) => {}
                }
            }
            Ask::Place { carets, .. } => {
                for Caret { conn, rev, sel } in carets {
                    if self.clients.contains(&ConnId(conn)) {
                        // A document that is closed has told so.
                        let _ = handle.place(ConnId(conn), rev, sel);
                    }
                }
            }
            Ask::Missed { from, .. } => {
                let missed = handle.missed(copy, from).await.unwrap_or_else(|Closed| None);
                let told = Told::Missed(missed.map(|changes| rows(&changes)));
                let mut frame = Frame::from(encode(call, &told));
                if frame.bytes() > self.ports.limits().frame_bytes_max {
                    frame = encode(call, &Told::Missed(None)).into();
                }
                // A copy that gets no answer asks again from where it stands.
                if self.carrier.outgoing.send(&frame, ROOM_MAX).await.is_err() {
                    self.carrier.close(&Refusal::Moved);
                }
            }
            Ask::Submit { .. }
            | Ask::Attach { .. }
            | Ask::Unsubscribe { .. }
            | Ask::Ping
            | Ask::Subscribe { .. }
            | Ask::Follow { .. }
            | Ask::Request(_)
            | Ask::Warm { .. }
            | Ask::Released { .. } => {}
        }
    }

    /// Tells one client something that its document has not.
    fn alone(&self, conn: ConnId, event: Event) {
        let Event::Refused { seq, refusal } = event else { return };
        let what = Alone::Refused { seq, denial: Denial::from(&refusal) };
        let told = Told::Alone { sub: self.carrier.sub, conn: conn.0, what };
        self.carrier.outgoing.force(encode(0, &told));
    }
}

/// Returns what is answered where a subscription's queue is full; nothing for what may be lost.
pub(crate) fn full(call: u64, ask: &Ask) -> Option<bytes::Bytes> {
    match ask {
        Ask::Submit { sub, conn, seq, .. } => {
            let denial = Denial::from(&Refusal::Full { retry: CROWD_RETRY });
            let what = Alone::Refused { seq: *seq, denial };
            Some(encode(0, &Told::Alone { sub: *sub, conn: *conn, what }))
        }
        Ask::Attach { .. } => {
            let reason = "too many come to the document at once".to_owned();
            let refusal = Refusal::Unavailable { reason, retry: CROWD_RETRY };
            Some(encode(call, &Told::Refused(Denial::from(&refusal))))
        }
        Ask::Missed { .. } => Some(encode(call, &Told::Missed(None))),
        _ => None,
    }
}

/// Returns what the owner is told of a client.
pub(crate) fn client(join: &Join) -> Client {
    Client {
        session: join.session,
        socket: join.socket.id,
        replaces: join.socket.replaces,
        subject: join.asker.subject.clone(),
        granted: join.asker.granted,
        rev: join.rev,
        mode: join.mode.into(),
        ordered: join.ordered,
        user: join.user.clone().map(|user| (user.name, user.color)),
        author: join.author.clone(),
    }
}

fn join(client: Client, copy: ConnId, outbox: Arc<dyn Outbox>) -> Join {
    let Client { session, socket, replaces, subject, granted, rev, mode, ordered, user, author } =
        client;
    let fits = |(name, color): &(String, String)| {
        name.len() <= AUTHOR_BYTES_MAX && color.len() <= "#rrggbb".len()
    };
    let user = user.filter(fits).map(|(name, color)| User { name, color });
    let (mode, through) = (mode.into(), Some(copy));
    let (socket, asker) = (Socket { id: socket, replaces }, Asker { subject, granted });
    Join {
        session,
        socket,
        asker,
        rev,
        resumes: false,
        mode,
        ordered,
        user,
        author,
        through,
        // The copy has it.
        without_content: true,
        outbox,
    }
}

/// Opens a document that this node owns.
async fn open(directory: &dyn Directory, doc: &DocId) -> Result<Handle, Refusal> {
    match directory.place(doc.shard(directory.count())) {
        Place::Here(shard) => shard.open(doc.clone()).await,
        Place::There(_) | Place::Nowhere => Err(Refusal::Moved),
    }
}
