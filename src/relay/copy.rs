//! The copy of a document that another node owns: it follows the owner, and serves those here.
//!
//! ```text
//! apart ──asked──► waiting ──Subscribed──► live ──link lost, closed, another owner──► apart
//!   │ text and window are kept, so that it goes on at its own revision                  │
//!   └──── nobody here for a while ──► gone ◄────────────────────────────────────────────┘
//! ```
//! What the owner tells is taken in the task that reads the link, under a short lock: so a client
//! is welcomed exactly between two messages of the owner.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error};

use crate::doc::{
    self, Audience, Change, Closed, ConnId, Content, Encodings, Event, Hears, Join, Presence,
    PresenceRow, Refusal, Tick, Update, User, Welcome,
};
use crate::relay::carets::Carets;
use crate::relay::client::{Link, Waiting};
use crate::relay::handle::Handle;
use crate::relay::message::{self, Alone, Ask, Caret, Told, encode};
use crate::relay::seat::Seat;
use crate::relay::subscription::client;
use crate::relay::text::Text;
use crate::relay::waiters::{Behind, Waiters, is_for_one};
use crate::relay::{Metrics, Peers};
use crate::task::Tasks;
use crate::types::{DocId, NodeId, ParticipantId, Revision, Seq};

/// A document of another node, as this one has it.
pub(crate) struct Copy {
    pub(crate) doc: DocId,
    config: Arc<doc::Config>,
    metrics: Metrics,
    tasks: Tasks,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    text: Option<Text>,
    audience: Audience,
    people: BTreeMap<ParticipantId, Person>,
    count: usize,
    attaching: BTreeMap<u64, Attaching>,
    carets: Carets,
    /// Whether nobody was here when it was looked at last.
    idle: bool,
}

struct Person {
    user: Option<User>,
    at: Option<(Revision, (u64, u64))>,
}

enum Phase {
    Apart,
    Asked { link: Arc<Link>, sub: u64, waiting: Waiters },
    Live { link: Arc<Link>, sub: u64 },
    Gone,
}

struct Attaching {
    sub: u64,
    join: Join,
    reply: oneshot::Sender<Result<Seat, Refusal>>,
}

/// How far a join has got.
enum Step {
    Ready(Handle),
    Wait(oneshot::Receiver<Result<Handle, Refusal>>),
    NeedsLink,
    Gone,
}

impl Copy {
    pub(crate) fn new(
        doc: DocId,
        config: Arc<doc::Config>,
        metrics: Metrics,
        tasks: Tasks,
    ) -> Arc<Self> {
        metrics.copies.inc();
        let state = State {
            phase: Phase::Apart,
            text: None,
            audience: Audience::default(),
            people: BTreeMap::new(),
            count: 0,
            attaching: BTreeMap::new(),
            carets: Carets::default(),
            idle: false,
        };
        Arc::new(Self { doc, config, metrics, tasks, state: Mutex::new(state) })
    }

    /// Connects a client; nothing where the copy was dropped meanwhile, and another one is there.
    ///
    /// # Errors
    /// [`Refusal`].
    pub(crate) async fn join(
        self: &Arc<Self>,
        peers: &Peers,
        owner: &NodeId,
        join: Join,
    ) -> Option<Result<(Handle, Welcome), Refusal>> {
        let behind = Behind { asker: join.asker.clone(), mode: join.mode };
        let handle = match self.subscribed(peers, owner, &behind).await? {
            Ok(handle) => handle,
            Err(refusal) => return Some(Err(refusal)),
        };
        let ((reply, seat), from) = (oneshot::channel(), join.rev);
        let from = from.filter(|_| join.sees_past(join.asker.granted));
        let join = Join { rev: from, ..join };
        self.attach(&handle, join, reply);
        let mut seat = match seat.await {
            Ok(Ok(seat)) => seat,
            Ok(Err(refusal)) => return Some(Err(refusal)),
            Err(_) => return Some(Err(Refusal::Moved)),
        };
        if let Some(from) = from {
            seat.resume(from).await;
        }
        let welcome = seat.welcome.take().expect("a seat has a welcome until it is taken");
        Some(Ok((seat.handle.clone(), welcome)))
    }

    /// Makes sure that the copy follows the owner, which begins it for somebody who may read.
    async fn subscribed(
        self: &Arc<Self>,
        peers: &Peers,
        owner: &NodeId,
        behind: &Behind,
    ) -> Option<Result<Handle, Refusal>> {
        let step = match self.step(owner, behind, None) {
            Step::NeedsLink => match peers.link(owner).await {
                Ok(link) => self.step(owner, behind, Some(link)),
                Err(reason) => {
                    debug!(doc = %self.doc, node = ?owner, %reason, "no link to the owner");
                    return Some(Err(Refusal::Moved));
                }
            },
            step => step,
        };
        match step {
            Step::Ready(handle) => Some(Ok(handle)),
            Step::Wait(answer) => Some(answer.await.unwrap_or(Err(Refusal::Moved))),
            // The link that was there a moment ago is lost.
            Step::NeedsLink => Some(Err(Refusal::Moved)),
            Step::Gone => None,
        }
    }

    fn step(self: &Arc<Self>, owner: &NodeId, behind: &Behind, link: Option<Arc<Link>>) -> Step {
        let mut state = self.state.lock();
        state.idle = false;
        let follows = |link: &Link| link.node == *owner && !link.is_over();
        match &mut state.phase {
            Phase::Gone => return Step::Gone,
            Phase::Live { link, sub } if follows(link) => {
                let (copy, link, sub) = (self.clone(), link.clone(), *sub);
                return Step::Ready(Handle { copy, link, sub });
            }
            Phase::Asked { link, waiting, .. } if follows(link) => {
                let (reply, answer) = oneshot::channel();
                waiting.add(behind.clone(), reply);
                return Step::Wait(answer);
            }
            Phase::Apart => {}
            Phase::Live { link, sub } | Phase::Asked { link, sub, .. } => {
                let (link, sub) = (link.clone(), *sub);
                link.unsubscribe(sub);
                state.part(&Refusal::Moved);
            }
        }
        let Some(link) = link else { return Step::NeedsLink };
        let from = state.text.as_ref().map(Text::head);
        let Some(sub) = link.subscribe(self, from, behind) else { return Step::NeedsLink };
        let (reply, answer) = oneshot::channel();
        let waiting = Waiters::first(behind.clone(), reply);
        state.phase = Phase::Asked { link, sub, waiting };
        Step::Wait(answer)
    }

    fn attach(
        self: &Arc<Self>,
        handle: &Handle,
        join: Join,
        reply: oneshot::Sender<Result<Seat, Refusal>>,
    ) {
        let mut state = self.state.lock();
        if state.live() != Some(handle.sub) {
            // Whoever waits hears that it is gone.
            return;
        }
        let ask = Ask::Attach { sub: handle.sub, client: client(&join) };
        if let Some(call) = handle.link.call(handle.sub, &ask, Waiting::Copy(self.clone())) {
            state.attaching.insert(call, Attaching { sub: handle.sub, join, reply });
        }
    }

    /// Takes the answer to a call of the copy's; tells whether its subscription goes on.
    pub(crate) fn answered(self: &Arc<Self>, (sub, call): (u64, u64), told: Told) -> bool {
        match told {
            Told::Subscribed { head, content } => self.begin(sub, head, content),
            Told::Attached { .. } => {
                // A seat that nobody takes leaves, which needs the lock.
                let untaken = self.attached(call, &told);
                drop(untaken);
                true
            }
            Told::Refused(denial) => self.refused((sub, call), denial.into()),
            _ => self.refused((sub, call), Refusal::Moved),
        }
    }

    fn begin(self: &Arc<Self>, sub: u64, head: Revision, content: message::Content) -> bool {
        let mut state = self.state.lock();
        let link = match &state.phase {
            Phase::Asked { link, sub: asked, .. } if *asked == sub => link.clone(),
            _ => return false,
        };
        let metrics = &self.metrics.subscribed;
        let before = state.text.as_ref().map(Text::head);
        if before.is_some_and(|before| head < before) {
            error!(doc = %self.doc, ?before, %head, "the owner does not have what it has told");
            self.metrics.broken.inc();
        }
        let begun = match content {
            message::Content::Text(text) => {
                metrics.with_label_values(&["text"]).inc();
                state.text = Some(Text::new(head, &text));
                true
            }
            message::Content::Changes(rows) => {
                metrics.with_label_values(&["changes"]).inc();
                let changes: Vec<_> =
                    rows.into_iter().map(|row| Arc::new(Change::from(row))).collect();
                self.apply(&mut state, &changes)
            }
        };
        if !begun {
            state.text = None;
            link.unsubscribe(sub);
            state.part(&Refusal::Moved);
            return false;
        }
        state.people.clear();
        state.count = 0;
        let live = Phase::Live { link: link.clone(), sub };
        let Phase::Asked { waiting, .. } = std::mem::replace(&mut state.phase, live) else {
            return false;
        };
        waiting.tell(|| Ok(Handle { copy: self.clone(), link: link.clone(), sub }));
        true
    }

    /// Applies revisions; tells whether they follow from what is there.
    fn apply(&self, state: &mut State, changes: &[Arc<Change>]) -> bool {
        let Some(text) = &mut state.text else { return false };
        for change in changes {
            if let Err(reason) = text.apply(change, &self.config) {
                error!(doc = %self.doc, %reason, "the owner's stream does not go on");
                self.metrics.broken.inc();
                return false;
            }
        }
        true
    }

    fn attached(self: &Arc<Self>, call: u64, told: &Told) -> Option<Result<Seat, Refusal>> {
        let Told::Attached { conn, head, seq, mode, you } = told else { return None };
        let (conn, mode) = (ConnId(*conn), (*mode).into());
        let mut locked = self.state.lock();
        let state = &mut *locked;
        let Attaching { sub, join, reply } = state.attaching.remove(&call)?;
        let Phase::Live { link, sub: live } = &state.phase else { return None };
        let text = state.text.as_ref()?;
        if sub != *live {
            return None;
        }
        let (copy, link) = (self.clone(), link.clone());
        let handle = Handle { copy, link, sub };
        let Some(since) = text.after(*head) else {
            // The owner told of its head before it told the revisions up to it.
            self.metrics.broken.inc();
            let ask = Ask::Detach { sub, conn: conn.0 };
            handle.link.outgoing.force(encode(0, &ask));
            return reply.send(Err(Refusal::Moved)).err();
        };
        let own = since.iter().filter(|one| one.session == join.session).map(|one| one.seq);
        let seq = own.max().unwrap_or(Seq(0)).max(*seq);
        let (head, you) = (text.head(), *you);
        let (rev, content) = if join.without_content {
            (head, Content::Changes(Vec::new()))
        } else {
            match join.rev.and_then(|rev| Some((rev, text.after(rev)?))) {
                Some((rev, changes)) => (rev, Content::Changes(changes)),
                None => (head, Content::Text(text.text())),
            }
        };
        state.audience.catch_up();
        state.audience.add(conn, Hears::Client(mode), join.author, join.outbox);
        if let Some(all) = state.presence(self.config.participants_listed_max) {
            state.audience.tell(conn, Event::Presence(Arc::new(all)));
        }
        let welcome = Welcome { conn, rev, head, seq, content, mode, you };
        reply.send(Ok(Seat { handle, welcome: Some(welcome) })).err()
    }

    fn refused(self: &Arc<Self>, (sub, call): (u64, u64), refusal: Refusal) -> bool {
        let mut state = self.state.lock();
        if let Some(Attaching { reply, .. }) = state.attaching.remove(&call) {
            // Whoever asked may have gone.
            let _ = reply.send(Err(refusal));
            return true;
        }
        let State { phase, text, .. } = &mut *state;
        match phase {
            Phase::Asked { link, sub: asked, waiting } if *asked == sub => {
                let from = text.as_ref().map(Text::head);
                let next =
                    if is_for_one(&refusal) { waiting.turn_away(refusal.clone()) } else { None };
                match next.and_then(|behind| link.subscribe(self, from, behind)) {
                    Some(next) => *asked = next,
                    None => state.part(&refusal),
                }
            }
            Phase::Asked { .. } | Phase::Apart | Phase::Live { .. } | Phase::Gone => {}
        }
        state.live() == Some(sub)
    }

    /// Drops the copy where it has nothing and never had: names that nobody may read would fill the
    /// memory; tells whether.
    pub(crate) fn let_go_if_nothing(&self) -> bool {
        let mut state = self.state.lock();
        let is_nothing = matches!(state.phase, Phase::Apart) && state.text.is_none();
        if is_nothing {
            state.phase = Phase::Gone;
        }
        is_nothing
    }

    /// Takes what the owner tells of the document.
    pub(crate) fn hear(self: &Arc<Self>, told: Told) {
        match told {
            Told::Changed { sub, rows } => self.changed(sub, rows),
            Told::Presence { sub, people } => {
                let mut state = self.state.lock();
                if state.live() == Some(sub) {
                    let presence = Presence::from(people);
                    state.note(&presence, self.config.participants_listed_max);
                    state.audience.catch_up();
                    state.audience.tell_all(&Event::Presence(Arc::new(presence)));
                }
            }
            Told::Alone { sub, conn, what } => self.alone(sub, ConnId(conn), what),
            Told::Closed { sub, denial } => self.over(sub, &denial.into()),
            Told::Pong
            | Told::Unknown
            | Told::Subscribed { .. }
            | Told::Attached { .. }
            | Told::Refused(_)
            | Told::Missed(_)
            | Told::Response(_)
            | Told::Done
            | Told::Denied(_) => {}
        }
    }

    fn changed(self: &Arc<Self>, sub: u64, rows: Vec<message::Row>) {
        let changes: Vec<_> = rows.into_iter().map(|row| Arc::new(Change::from(row))).collect();
        let mut state = self.state.lock();
        if state.live() != Some(sub) || changes.is_empty() {
            return;
        }
        if !self.apply(&mut state, &changes) {
            if let Phase::Live { link, .. } = &state.phase {
                link.unsubscribe(sub);
            }
            state.text = None;
            state.part(&Refusal::Moved);
            return;
        }
        let update = Arc::new(Update::new(changes));
        let ticks = state.audience.broadcast(&update, &self.config);
        drop(state);
        for (tick, after) in ticks {
            let copy = self.clone();
            self.tasks.spawn("tick", async move {
                sleep(after).await;
                copy.tick(tick);
            });
        }
    }

    fn tick(&self, tick: Tick) {
        self.state.lock().audience.tick(tick);
    }

    fn alone(&self, sub: u64, conn: ConnId, what: Alone) {
        let mut state = self.state.lock();
        if state.live() != Some(sub) {
            return;
        }
        match what {
            Alone::Ordered { seq, rev } => {
                state.audience.tell(conn, Event::Ordered { seq, rev });
            }
            Alone::Repeated { seq, rev } => {
                // The acknowledgement itself may wait for a tick: it comes first.
                state.audience.catch_up();
                state.audience.tell(conn, Event::Repeated { seq, rev });
            }
            Alone::Refused { seq, denial } => {
                let refusal = denial.into();
                state.audience.tell(conn, Event::Refused { seq, refusal });
            }
            Alone::Closed(denial) => {
                state.audience.catch_up();
                state.audience.close(conn, denial.into());
            }
        }
    }

    /// Takes note that a subscription is over: everybody here is told, and asks again.
    pub(crate) fn over(&self, sub: u64, refusal: &Refusal) {
        let mut state = self.state.lock();
        let of = match &state.phase {
            Phase::Live { sub, .. } | Phase::Asked { sub, .. } => Some(*sub),
            Phase::Apart | Phase::Gone => None,
        };
        if of == Some(sub) {
            state.part(refusal);
        }
    }

    /// Tells whether a subscription still lasts.
    pub(in crate::relay) fn lasts(&self, sub: u64) -> bool {
        self.state.lock().live() == Some(sub)
    }

    /// Forgets a client; tells whether it was here.
    pub(in crate::relay) fn forget(&self, sub: u64, conn: ConnId) -> bool {
        let mut state = self.state.lock();
        let here = state.live() == Some(sub) && state.audience.holds(conn);
        if here {
            state.audience.remove(conn);
            state.carets.forget(conn.0);
        }
        here
    }

    /// Tells the owner where a client is, together with others.
    ///
    /// # Errors
    /// [`Closed`].
    pub(in crate::relay) fn place(self: &Arc<Self>, sub: u64, caret: Caret) -> Result<(), Closed> {
        let mut state = self.state.lock();
        if state.live() != Some(sub) {
            return Err(Closed);
        }
        match state.carets.note(caret, self.config.presence_interval / 2) {
            None => {}
            Some(due) if due <= Instant::now() => state.tell_carets(),
            Some(due) => {
                let copy = self.clone();
                self.tasks.spawn("carets", async move {
                    sleep_until(due).await;
                    copy.state.lock().tell_carets();
                });
            }
        }
        Ok(())
    }

    /// Returns the revisions after `from` for a client that is here, if all of them are kept.
    pub(in crate::relay) fn missed(
        &self,
        sub: u64,
        conn: ConnId,
        from: Revision,
    ) -> Result<Option<Vec<Arc<Change>>>, Closed> {
        let mut state = self.state.lock();
        if state.live() != Some(sub) || !state.audience.holds(conn) {
            return Err(Closed);
        }
        // What is gathered reaches the outbox first: it is part of what was missed.
        state.audience.catch_up();
        Ok(state.text.as_ref().and_then(|text| text.after(from)))
    }

    /// Drops the copy where nobody was here the last time, and nobody is now; tells whether.
    pub(crate) fn sweep(&self) -> bool {
        let mut state = self.state.lock();
        let unused = state.audience.is_empty() && state.attaching.is_empty();
        match &state.phase {
            Phase::Gone => return true,
            Phase::Asked { .. } => return false,
            Phase::Apart | Phase::Live { .. } if !unused => {
                state.idle = false;
                return false;
            }
            Phase::Apart | Phase::Live { .. } if !state.idle => {
                state.idle = true;
                return false;
            }
            Phase::Live { link, sub } => link.unsubscribe(*sub),
            Phase::Apart => {}
        }
        state.phase = Phase::Gone;
        true
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        self.metrics.copies.dec();
    }
}

impl State {
    fn live(&self) -> Option<u64> {
        match &self.phase {
            Phase::Live { sub, .. } => Some(*sub),
            Phase::Apart | Phase::Asked { .. } | Phase::Gone => None,
        }
    }

    fn tell_carets(&mut self) {
        let carets = self.carets.take();
        if let (Phase::Live { link, sub }, false) = (&self.phase, carets.is_empty()) {
            // Where the link is full, the next ones tell more.
            let _ = link.outgoing.push(encode(0, &Ask::Place { sub: *sub, carets }).into());
        }
    }

    /// Leaves the owner; text and window stay.
    fn part(&mut self, refusal: &Refusal) {
        self.carets.clear();
        self.audience.catch_up();
        for conn in self.audience.conns() {
            self.audience.close(conn, refusal.clone());
        }
        for (_, Attaching { reply, .. }) in std::mem::take(&mut self.attaching) {
            // Whoever asked may have gone.
            let _ = reply.send(Err(refusal.clone()));
        }
        if let Phase::Asked { waiting, .. } = std::mem::replace(&mut self.phase, Phase::Apart) {
            waiting.tell(|| Err(refusal.clone()));
        }
    }

    fn note(&mut self, presence: &Presence, listed_max: usize) {
        self.count = presence.participants;
        for row in &presence.rows {
            if row.gone {
                self.people.remove(&row.id);
            } else if self.people.len() < listed_max || self.people.contains_key(&row.id) {
                let at = row.sel.map(|sel| (presence.rev, sel));
                self.people.insert(row.id, Person { user: row.user.clone(), at });
            }
        }
    }

    /// Returns who is there, for a newcomer.
    fn presence(&self, listed_max: usize) -> Option<Presence> {
        let text = self.text.as_ref().filter(|_| !self.people.is_empty())?;
        let row = |(id, person): (&ParticipantId, &Person)| PresenceRow {
            id: *id,
            user: person.user.clone(),
            sel: person.at.and_then(|(rev, sel)| text.mapped(rev, sel)),
            gone: false,
        };
        let rows = self.people.iter().take(listed_max).map(row).collect();
        let (rev, encoded) = (text.head(), Encodings::default());
        Some(Presence { rev, participants: self.count, rows, encoded })
    }
}
