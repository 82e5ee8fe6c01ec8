//! One client: from its `hello` to its close.
//!
//! ```text
//! greeting ──hello──► joined ──op, cursor, ping ◄─► op, ops, ack, presence──► closed
//!     │                 │  ▲ the document moves: joined again, the client notices nothing
//!     │                 └──┘
//!     └─ no hello in time, refused ─────────────────────────────────────────────┘
//! ```
//! The task owns the socket, and blocks on nothing but the socket and room in the document's
//! queue: what the document tells waits in the outbox.

mod farewell;
mod flight;
mod frames;
mod held;
mod hello;
mod leave;
pub(in crate::edge) mod metered;
mod outbox;
mod rejoin;
pub(in crate::edge) mod waiting;

use std::collections::{BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, SinkExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tracing::{debug, error};

use crate::doc::{self, Batch, Closed, Event, Mode, NotTaken, Socket};
use crate::edge::answers::{Room, room};
use crate::edge::doors::{Caller, Refused};
use crate::edge::metrics::Reason;
use crate::edge::routes::Shared;
use crate::edge::session::farewell::{Farewell, Parted, part, slow, unreadable};
use crate::edge::session::flight::Flight;
use crate::edge::session::frames::{Addressee, message};
use crate::edge::session::held::Held;
use crate::edge::session::hello::Early;
use crate::edge::session::metered::Traffic;
use crate::edge::session::outbox::{Bounds, Outbox, Taken};
use crate::edge::session::waiting::Slot;
use crate::edge::tenants::counted::Permit;
use crate::edge::tenants::pace::Rate;
use crate::edge::tenants::{Tenant, opened};
use crate::edge::trail::{Address, sent_away};
use crate::router::Document;
use crate::shares::Share;
use crate::types::{DocId, ParticipantId, Revision};
use crate::wire::{
    ClientMessage, Codec, ErrorCode, Hello, Limits, Millis, ServerMessage, VERSION, decode_client,
    encode_server,
};

pub use waiting::Waiting;

/// How many pings of a client are answered.
const PINGS_PER_SECOND: u64 = 20;

/// How long the document may take to welcome a client.
const WELCOME_MAX: Duration = Duration::from_secs(30);

/// How long a close may take.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Who a client is, and whom what it takes counts for.
pub(crate) struct Guest {
    pub(crate) caller: Caller,
    pub(crate) tenant: Tenant,
    /// Its place among the sockets of the tenant, and among its documents.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) place: (Permit<u64>, opened::Held),
}

/// Serves one client until it goes or is sent away; `traffic` counts what its socket has taken.
pub(crate) async fn run<S>(
    mut socket: WebSocketStream<S>,
    traffic: Arc<Traffic>,
    (doc, address, guest): (DocId, Address, Result<Guest, Refused>),
    codec: Codec,
    shared: Arc<Shared>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    shared.metrics.sessions.inc();
    let was_in = guest.is_ok();
    let caller = guest.as_ref().ok().map(|guest| &guest.caller);
    let subject = caller.and_then(Caller::subject).map(ToString::to_string);
    let farewell = match guest {
        Ok(guest) => attend(&mut socket, &traffic, (&doc, guest), codec, &shared).await,
        // A browser tells its page nothing of a handshake that fails.
        Err(refused) => Some(Farewell::from(refused)),
    };
    if let Some(farewell) = farewell {
        if !was_in || farewell.is_refusal() {
            let lines = (&shared.metrics.lines, was_in);
            sent_away(lines, farewell.reason(), subject.as_deref(), (address, &doc));
        }
        shared.metrics.closes.with_label_values(&[farewell.reason()]).inc();
        // What is on its way still is read, so that it does not cut the farewell off: of whoever
        // has said hello that may be a frame, and of everybody a little.
        let frame = traffic.allows_all().then_some(shared.config.frame_bytes_max.as_u64());
        traffic.allow(frame.unwrap_or(0) + shared.config.hello_bytes_max.as_u64());
        // A client that does not take its farewell is cut off.
        if let Ok(Parted::Cut) = timeout(CLOSE_MAX, part(&mut socket, codec, farewell)).await {
            shared.metrics.refuse(Reason::Farewell);
        }
    }
    shared.metrics.sessions.dec();
}

/// Attends to a client that was let in, for as long as it may stay.
async fn attend<S>(
    socket: &mut WebSocketStream<S>,
    traffic: &Arc<Traffic>,
    (doc, guest): (&DocId, Guest),
    codec: Codec,
    shared: &Arc<Shared>,
) -> Option<Farewell>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stay = shared.doors.stay(Some(&guest.caller));
    let greeted = tokio::select! {
        biased;
        over = stay.ended() => Err(Some(Farewell::from(over))),
        greeted = greet(socket, traffic, (doc, guest), codec, shared) => greeted,
    };
    let mut session = match greeted {
        Ok(session) => session,
        Err(farewell) => return farewell,
    };
    let farewell = tokio::select! {
        biased;
        // Whatever is waited for: what they may not have any more is not sent.
        over = stay.ended() => Some(Farewell::from(over)),
        farewell = session.serve(socket) => farewell,
    };
    session.handle.leave(session.to.conn);
    farewell
}

struct Session {
    shared: Arc<Shared>,
    handle: Document,
    outbox: Arc<Outbox>,
    to: Addressee,
    mode: Mode,
    limits: Limits,
    /// The revision that the client has once it has read everything sent.
    stands_at: Revision,
    /// Whether revisions after that were dropped which a document that has closed cannot tell.
    is_behind: bool,
    batches: Rate,
    cursors: Rate,
    pings: Rate,
    lagged: Option<Instant>,
    traffic: Arc<Traffic>,
    bytes: Rate,
    /// What the client has said, until it is its turn.
    held: Option<Held>,
    /// A ping of the WebSocket is not answered yet.
    owes_pong: bool,
    /// What the batch in flight takes of what all use, and when it is no longer counted.
    share: Option<(Share, Instant)>,
    in_flight: Option<Flight>,
    /// Tells the node since when its batch waits.
    waits: Slot,
    /// What the client said first: it is said again for it where the document moves.
    hello: Hello,
    guest: Guest,
    /// What it said before it was welcomed.
    early: VecDeque<Message>,
    /// Tells its socket from others of the session.
    socket: u64,
    doc: DocId,
    /// Whether the document goes on somewhere else.
    moved: bool,
    /// Where the client has its caret.
    placed: Option<(Revision, Option<(u64, u64)>)>,
    /// Whom it has been told of.
    others: BTreeSet<ParticipantId>,
    /// Since when it has left it unanswered whether it is there.
    asked: Option<Instant>,
    frames: Vec<Bytes>,
    /// What they take of the room of all answers, where they welcome the client.
    room: Room,
}

async fn greet<S>(
    socket: &mut WebSocketStream<S>,
    traffic: &Arc<Traffic>,
    (doc, guest): (&DocId, Guest),
    codec: Codec,
    shared: &Arc<Shared>,
) -> Result<Session, Option<Farewell>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = shared.limits();
    let hello = match timeout(shared.config.hello_timeout, hello::hello(socket, codec, shared))
        .await
    {
        Ok(hello) => hello?,
        Err(_) => return Err(Some(Farewell::refused(ErrorCode::HelloTimeout, "no hello came"))),
    };
    traffic.allow_all();
    if hello.v != VERSION {
        let message = format!("this server speaks version {VERSION}");
        return Err(Some(Farewell::refused(ErrorCode::Version, &message)));
    }
    let config = &shared.config;
    let (outbox, id) = (outbox(shared), rand::random());
    let join = |replaces| {
        let (hello, caller, outbox) = (&hello, &guest.caller, &outbox);
        let socket = Socket { id, replaces };
        let join = move || hello::join(hello, caller, doc, socket, outbox.clone());
        rejoin::join_wherever(shared, doc, join)
    };
    let mut early = Early::default();
    let joining = shared.tenants.in_turn(guest.tenant, hello::taken(socket, &mut early, join));
    let joined = match timeout(WELCOME_MAX, joining).await {
        Ok(joined) => joined?,
        Err(_) => {
            let reason = "it could not be opened in time".to_owned();
            Err(doc::Refusal::Unavailable { reason, retry: Duration::from_secs(2) })
        }
    };
    let (handle, welcome) = joined.map_err(|refusal| Some(Farewell::of(&refusal, None)))?;
    let (conn, stands_at, mode) = (welcome.conn, welcome.head, welcome.mode);
    let to = Addressee { session: hello.session, conn, codec, welcomed: stands_at };
    let frame = to.welcome(welcome, shared.allowance());
    let room = room_for(&frame, guest.tenant, shared).inspect_err(|_| handle.leave(conn))?;
    let session = Session {
        shared: shared.clone(),
        handle,
        outbox,
        to,
        mode,
        limits,
        stands_at,
        is_behind: false,
        batches: Rate::new(config.ops_per_second.into()),
        cursors: Rate::new(config.cursors_per_second.into()),
        pings: Rate::new(PINGS_PER_SECOND),
        lagged: None,
        traffic: traffic.clone(),
        bytes: Rate::new(config.bytes_per_second.as_u64()),
        held: None,
        owes_pong: false,
        share: None,
        in_flight: None,
        waits: shared.metrics.waiting.slot(),
        hello,
        guest,
        early: early.messages,
        socket: id,
        doc: doc.clone(),
        moved: false,
        placed: None,
        others: BTreeSet::new(),
        asked: None,
        frames: vec![frame],
        room,
    };
    Ok(session)
}

/// Takes room for what welcomes a client, until it was sent.
fn room_for(frame: &Bytes, tenant: Tenant, shared: &Shared) -> Result<Room, Option<Farewell>> {
    room(frame.len() as u64, tenant, shared).map_err(|none| {
        shared.metrics.refuse(none.reason());
        Some(Farewell::from(none))
    })
}

fn outbox(shared: &Shared) -> Arc<Outbox> {
    let bytes_max = shared.config.outbox_bytes_max.as_u64() as usize;
    Arc::new(Outbox::new(Bounds { bytes_max, age_max: shared.config.outbox_age_max }))
}

impl Session {
    async fn serve<S>(&mut self, socket: &mut WebSocketStream<S>) -> Option<Farewell>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shared = self.shared.clone();
        let clients = || shared.metrics.sessions.get();
        let most = shared.config.shutdown_grace / 4;
        let mut turn = pin!(leave::turn(&shared.token, self.to.session, clients, most));
        let every = shared.config.ping_every;
        let mut ping = tokio::time::interval_at(Instant::now() + every, every);
        loop {
            if let Err(farewell) = self.send(socket).await {
                return farewell;
            }
            if self.moved {
                match self.rejoin().await {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(farewell) => return farewell,
                }
            }
            let next = tokio::select! {
                biased;
                message = held::next(&mut self.early, socket), if self.held.is_none() => {
                    match message {
                        Some(Ok(message)) => self.receive(message).await,
                        Some(Err(error)) => ControlFlow::Break(unreadable(&error)),
                        None => ControlFlow::Break(None),
                    }
                }
                due = held::due(&mut self.held, &self.shared, self.guest.tenant) => match due {
                    Some((frame, share)) => self.hear(frame, share).await,
                    None => ControlFlow::Continue(()),
                },
                () = held::over(&self.share), if self.share.is_some() => {
                    self.share = None;
                    ControlFlow::Continue(())
                }
                () = self.outbox.ready() => self.take().await,
                _ = ping.tick() => self.check_alive(socket).await,
                () = &mut turn => ControlFlow::Break(Some(self.going_away())),
            };
            if let ControlFlow::Break(farewell) = next {
                // What was decided before the end is still told, where the socket takes it.
                let _ = timeout(CLOSE_MAX, self.send(socket)).await;
                return farewell;
            }
        }
    }

    async fn hear(&mut self, frame: Bytes, share: Share) -> ControlFlow<Option<Farewell>> {
        match decode_client(self.to.codec, &frame, &self.limits) {
            Ok(ClientMessage::Op { seq, base, op }) => {
                let received = Instant::now();
                let batch = Batch { seq, base, op, received, permit: None };
                self.submit(batch, frame.len(), share).await
            }
            Ok(ClientMessage::Cursor { rev, sel }) => {
                let sel = sel.map(|sel| (sel.anchor, sel.head));
                if self.cursors.take().is_err() {
                    self.shared.metrics.carets_dropped.inc();
                    return ControlFlow::Continue(());
                }
                self.placed = Some((rev, sel));
                self.or_closed(self.handle.place(self.to.conn, rev, sel))
            }
            Ok(ClientMessage::Ping { n }) => {
                if self.pings.take().is_err() {
                    self.shared.metrics.pings_dropped.inc();
                    return ControlFlow::Continue(());
                }
                self.tell(&ServerMessage::Pong { n });
                ControlFlow::Continue(())
            }
            Ok(ClientMessage::Hello(_)) => {
                let why = "hello is only the first message";
                ControlFlow::Break(Some(Farewell::refused(ErrorCode::BadFrame, why)))
            }
            Err(refusal) => ControlFlow::Break(Some(Farewell::from(refusal))),
        }
    }

    async fn submit(
        &mut self,
        batch: Batch,
        bytes: usize,
        share: Share,
    ) -> ControlFlow<Option<Farewell>> {
        if let Err(wait) = self.batches.take() {
            self.shared.metrics.rate_limited.inc();
            self.tell(&ServerMessage::Error {
                code: ErrorCode::Rate,
                fatal: false,
                msg: "too many batches: send this one again later".to_owned(),
                seq: Some(batch.seq),
                retry: Some(Millis::from(wait + Duration::from_millis(1))),
            });
            return ControlFlow::Continue(());
        }
        let Batch { seq, base, op, received, .. } = &batch;
        let (seq, base, op, received) = (*seq, *base, op.clone(), *received);
        self.in_flight = Some(Flight { seq, base, op, bytes, received, acknowledged: false });
        self.waits.begin(received);
        let submitted = {
            let mut submitting = pin!(self.handle.submit(self.to.conn, batch, bytes));
            match submitting.as_mut().now_or_never() {
                Some(submitted) => {
                    self.share = Some((share, received + held::COUNTED_MAX));
                    submitted
                }
                None => {
                    // Nobody else is to wait because its document has no room for it.
                    drop(share);
                    submitting.await
                }
            }
        };
        match submitted {
            Ok(()) => ControlFlow::Continue(()),
            Err(NotTaken::Closed) => self.or_closed(Err(Closed)),
            Err(NotTaken::Full(refusal)) => {
                self.put_off(&refusal, seq);
                ControlFlow::Continue(())
            }
        }
    }

    /// Turns what the document told into frames.
    async fn take(&mut self) -> ControlFlow<Option<Farewell>> {
        let Taken { events, lagging } = self.outbox.take();
        if lagging && matches!(events.back(), Some(Event::Closed(_))) {
            // Whoever was sent away is told nothing more here.
            self.is_behind = true;
        } else if lagging {
            self.catch_up().await?;
        }
        self.encode(events)
    }

    fn encode(&mut self, events: VecDeque<Event>) -> ControlFlow<Option<Farewell>> {
        for event in events {
            match event {
                Event::Closed(doc::Refusal::Moved) => self.moved = true,
                Event::Closed(refusal) => {
                    return ControlFlow::Break(Some(Farewell::of(&refusal, None)));
                }
                // The next owner tells it, after what is missing before it.
                _ if self.is_behind => {}
                Event::Changed(update) if update.last() <= self.stands_at => {}
                Event::Changed(update) if update.first() == self.stands_at.next() => {
                    self.acknowledge(&update.changes);
                    self.to.update(&update, &mut self.frames);
                    self.stands_at = update.last();
                }
                Event::Changed(update) if update.first() > self.stands_at.next() => {
                    return self.gap(update.first());
                }
                Event::Changed(update) => {
                    let new = update.changes.partition_point(|one| one.rev <= self.stands_at);
                    self.tell_changes(&update.changes[new..]);
                }
                Event::Merged(merged) if merged.rev <= self.stands_at => {}
                Event::Merged(merged) if merged.first != self.stands_at.next() => {
                    return self.gap(merged.first);
                }
                Event::Merged(merged) => {
                    self.frames.push(self.to.merged(&merged));
                    self.stands_at = merged.rev;
                }
                Event::Ordered { seq, rev } => self.tell(&ServerMessage::Ordered { seq, rev }),
                Event::Repeated { seq, rev } => {
                    self.settled();
                    self.tell(&ServerMessage::Ack { seq, rev, op: None });
                }
                Event::Presence(presence) => {
                    self.note(&presence);
                    self.frames.push(self.to.presence(&presence));
                }
                Event::Refused { seq, refusal: full @ doc::Refusal::Full { .. } } => {
                    self.put_off(&full, seq);
                }
                Event::Refused { seq, refusal } => {
                    return ControlFlow::Break(Some(Farewell::of(&refusal, Some(seq))));
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Sends what was dropped because the socket did not take its data; the second time within
    /// the grace the client is sent away.
    async fn catch_up(&mut self) -> ControlFlow<Option<Farewell>> {
        self.shared.metrics.lagged.inc();
        let now = Instant::now();
        let again = self.lagged.replace(now);
        if again.is_some_and(|before| now - before < self.shared.config.outbox_grace) {
            return ControlFlow::Break(Some(slow()));
        }
        match self.handle.missed(self.to.conn, self.stands_at).await {
            Ok(Some(changes)) => {
                self.tell_changes(&changes);
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Break(Some(slow())),
            Err(Closed) => {
                self.is_behind = true;
                self.or_closed(Err(Closed))
            }
        }
    }

    /// Writes every frame, and the pong that is owed: nothing is read before it is written, so that
    /// they are never many. A socket that takes too little in a whole grace is given up.
    async fn send<S>(&mut self, socket: &mut WebSocketStream<S>) -> Result<(), Option<Farewell>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let owes_pong = std::mem::take(&mut self.owes_pong);
        if self.frames.is_empty() && !owes_pong {
            return Ok(());
        }
        let codec = self.to.codec;
        let frames = std::mem::take(&mut self.frames);
        let write = async {
            for frame in frames {
                socket.feed(message(codec, frame)).await?;
            }
            socket.flush().await
        };
        match self.traffic.in_time(self.shared.config.outbox_grace, write).await {
            Some(Ok(())) => self.room = Room::default(),
            Some(Err(_)) => return Err(None),
            None => return Err(Some(slow())),
        }
        if let Some(flight) = self.in_flight.take_if(|flight| flight.acknowledged) {
            self.shared.metrics.ack_sent.observe(flight.received.elapsed().as_secs_f64());
        }
        Ok(())
    }

    async fn check_alive<S>(
        &mut self,
        socket: &mut WebSocketStream<S>,
    ) -> ControlFlow<Option<Farewell>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = &self.shared.config;
        if self.held.is_some() {
            // Nothing more is read of it: what it has answered may wait behind that.
            self.asked = None;
        }
        // Of a frame that has only begun nothing is heard.
        let is_silent = self.asked.is_some_and(|since| since.elapsed() >= config.silence_max);
        if is_silent {
            return self.give_up();
        }
        self.asked.get_or_insert_with(Instant::now);
        match timeout(config.silence_max, socket.send(Message::Ping(Bytes::new()))).await {
            Ok(Ok(())) => ControlFlow::Continue(()),
            Ok(Err(_)) => ControlFlow::Break(None),
            Err(_) => self.give_up(),
        }
    }

    fn give_up(&self) -> ControlFlow<Option<Farewell>> {
        debug!(doc = %self.doc, "a client that does not answer is given up");
        self.shared.metrics.closes.with_label_values(&["silent"]).inc();
        ControlFlow::Break(None)
    }

    fn or_closed(&self, result: Result<(), Closed>) -> ControlFlow<Option<Farewell>> {
        match result {
            Ok(()) => ControlFlow::Continue(()),
            // What it said last tells why.
            Err(Closed) if self.outbox.is_filled() => ControlFlow::Continue(()),
            Err(Closed) => ControlFlow::Break(Some(self.going_away())),
        }
    }

    /// Sends the client away rather than skip revisions.
    fn gap(&self, next: Revision) -> ControlFlow<Option<Farewell>> {
        error!(doc = %self.doc, stands_at = %self.stands_at, %next, "revisions are missing");
        let reason = "revisions are missing: it is a fault of the server".to_owned();
        ControlFlow::Break(Some(Farewell::of(&doc::Refusal::Internal { reason }, None)))
    }

    fn going_away(&self) -> Farewell {
        let refusal = doc::Refusal::Unavailable {
            reason: "the document is being moved or the server stops".to_owned(),
            retry: Duration::from_millis(100),
        };
        Farewell::of(&refusal, None)
    }

    fn tell(&mut self, message: &ServerMessage) {
        self.frames.push(encode_server(self.to.codec, message));
    }
}
