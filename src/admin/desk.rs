//! What answers operators, whatever way they ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::access::{Asker, Right};
use crate::admin::error::LATE;
use crate::admin::events::Events;
use crate::admin::model::{
    self, Ask, Burden, Chosen, Done, Dry, Explained, Given, Listed, Node, Plan, Shard, Status,
    Where,
};
use crate::admin::order::{self, Now, Target};
use crate::admin::view::Hearing;
use crate::admin::{Config, Refused, hosts, view};
use crate::auth::Policy;
use crate::clock::Clock;
use crate::cluster::{self, Change, Control, Order, Pending, Record, Revoked, Token, Void, member};
use crate::relay::{Blob, Request, Who};
use crate::router::Router;
use crate::shard::Directory;
use crate::task::Tasks;
use crate::types::{DocId, NodeId, ShardId, Timestamp};

/// How long an owner may take to tell of its shards or documents.
const TOLD_MAX: Duration = Duration::from_secs(3);

/// How long a command may take to be read back: longer than an append may.
const WRITTEN_MAX: Duration = Duration::from_secs(20);

/// Where one node asks another how much its shards carry.
pub(crate) const BURDENS: &str = "/v1/admin/burdens";

/// What the desk works with.
pub struct Ports {
    /// What the node is.
    pub part: Part,
    /// Tells the time that commands carry.
    pub clock: Clock,
    /// The limits.
    pub config: Config,
    /// Which tokens are good.
    pub policy: Policy,
    /// Is cancelled when the node stops.
    pub token: CancellationToken,
}

/// Tells what part a node has in a cluster.
pub enum Part {
    /// It is one of its members.
    Member(Member),
    /// None: it is alone.
    Alone(Arc<dyn Keeps>),
}

/// Is a node of a cluster.
pub struct Member {
    /// It as a member.
    pub member: member::Handle,
    /// Where shards are.
    pub directory: Arc<dyn Directory>,
    /// Reaches documents, and other nodes.
    pub router: Router,
}

/// Keeps what is revoked on a node that is alone.
pub trait Keeps: Send + Sync {
    /// Returns what is revoked.
    fn revoked(&self) -> Arc<Revoked>;

    /// Revokes, and returns when that is durable, with what has changed. Blocks, and is called by
    /// one at a time.
    ///
    /// # Errors
    /// Where the list is full, or could not be written: nothing has changed then.
    fn revoke(&self, entry: &Entry) -> Result<Vec<Change>, Refused>;
}

/// Is what is to be revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which tokens.
    pub token: Token,
    /// When the last of them has expired anyway.
    pub until: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// Answers operators.
pub struct Desk {
    ports: Ports,
    events: Arc<Events>,
    /// How many commands a node that is alone has taken; held while it takes one.
    taken: Mutex<u64>,
}

impl Desk {
    /// Opens the desk: from now on it sees what happens.
    pub fn open(ports: Ports) -> Arc<Self> {
        let events = Arc::new(Events::new(ports.config.events_kept, ports.clock.clone()));
        if let Part::Member(Member { member, .. }) = &ports.part {
            member.observe(events.clone());
        }
        Arc::new(Self { ports, events, taken: Mutex::new(0) })
    }

    pub(crate) fn events(&self) -> &Arc<Events> {
        &self.events
    }

    pub(crate) fn token(&self) -> &CancellationToken {
        &self.ports.token
    }

    /// Tells whether the port may be asked by a host of this name.
    pub(crate) fn is_asked_by(&self, host: &str) -> bool {
        hosts::may_ask(host, &self.ports.config.hosts)
    }

    fn part(&self) -> Result<&Member, Refused> {
        match &self.ports.part {
            Part::Member(member) => Ok(member),
            Part::Alone(_) => Err(Refused::Alone),
        }
    }

    fn control(&self) -> Result<Arc<Control>, Refused> {
        Ok(self.part()?.member.control())
    }

    fn now(&self, control: &Control) -> Now {
        let (shards, limits, at) = (control.shards(), control.limits(), self.ports.clock.now());
        let policy = &self.ports.policy;
        let (issued, expired) = (policy.issued_until(at), policy.good_until(at));
        Now { shards, limits, at, issued, expired }
    }

    pub(crate) fn status(&self) -> Result<Status, Refused> {
        let member = &self.part()?.member;
        let (suspended, unreadable) = (member.is_suspended(), member.unread().records);
        Ok(view::status(&member.control(), member.node(), Hearing { suspended, unreadable }))
    }

    pub(crate) fn nodes(&self) -> Result<Vec<Node>, Refused> {
        Ok(view::nodes(&*self.control()?))
    }

    /// Tells what is revoked, a part of it.
    pub(crate) fn revoked(&self, part: &model::Part) -> Result<Listed, Refused> {
        match &self.ports.part {
            Part::Member(Member { member, .. }) => view::revoked(member.control().revoked(), part),
            Part::Alone(keeps) => view::revoked(&keeps.revoked(), part),
        }
    }

    pub(crate) fn shards(&self, chosen: &Chosen) -> Result<Vec<Shard>, Refused> {
        let control = self.control()?;
        let node = chosen.node.as_deref().map(order::node).transpose()?;
        if let Some(node) = node.as_ref().filter(|node| control.member(node).is_none()) {
            return Err(unknown(node));
        }
        Ok(view::shards_of(&control, node.as_ref()))
    }

    /// Tells where a document is.
    pub(crate) async fn find(&self, doc: &str) -> Result<Where, Refused> {
        let control = self.control()?;
        let text = if doc.starts_with("doc:") { doc.to_owned() } else { format!("doc:{doc}") };
        let Target { shard, doc: Some(doc) } = order::target(&text, control.shards())? else {
            return Err(Refused::BadTarget { text });
        };
        let rev = self.known(&doc, shard).await?;
        let owner = control.owner(shard).map(|owner| owner.node);
        let client = owner.as_ref().and_then(|owner| control.member(owner));
        Ok(Where {
            doc: doc.to_string(),
            shard: shard.0,
            owner: owner.map(|node| node.0.to_string()),
            placed: control.placement(shard).map(|node| node.0.to_string()),
            client: client.map(|member| member.addresses.client.to_string()),
            rev,
        })
    }

    /// Tells why a shard is where it is, and what would move it.
    pub(crate) async fn explain(&self, what: &str) -> Result<Explained, Refused> {
        let control = self.control()?;
        let Target { shard, doc } = order::target(what, control.shards())?;
        if shard.0 >= control.shards() {
            let shards = control.shards();
            return Err(cluster::Refusal::from(Void::UnknownShard { shard, shards }).into());
        }
        let rev = match &doc {
            Some(doc) => self.known(doc, shard).await?,
            None => None,
        };
        Ok(Explained {
            doc: doc.map(|doc| doc.to_string()),
            rev,
            shard: view::shard(&control, shard),
            because: view::because(&control, shard),
            moved_by: view::moved_by(&control, shard),
        })
    }

    /// Tells what is to move, or what else would if a command were given.
    pub(crate) async fn plan(&self, dry: &Dry) -> Result<Plan, Refused> {
        let control = self.control()?;
        let (of, plan) = match &dry.ask {
            None => (None, cluster::Plan::of(&control)),
            Some(ask) => {
                self.check_document(ask, &control).await?;
                let command = order::tried(ask, self.now(&control))?;
                let plan = cluster::Plan::after(&control, &command)?;
                (Some(order::spelled(&command.order)), plan)
            }
        };
        let mut moves = view::moves(&plan.pending);
        let owners: BTreeSet<_> = plan.pending.iter().map(|one| one.from.clone()).collect();
        let told = join_all(owners.iter().map(|owner| self.burdens_of(owner))).await;
        let untold = told.iter().filter(|told| told.is_none()).count();
        let burdens: BTreeMap<_, _> =
            told.into_iter().flatten().flatten().map(|one| (one.shard, one)).collect();
        view::burden(&mut moves, &burdens);
        Ok(Plan {
            id: control.at().map_or(0, |at| at.0),
            of,
            bytes: moves.iter().filter_map(|one| one.bytes).sum(),
            sessions: moves.iter().filter_map(|one| one.sessions).map(u64::from).sum(),
            untold: u32::try_from(untold).unwrap_or(u32::MAX),
            expected_pause_ms: self.events.move_took().map(order::millis),
            limits: view::limits(control.limits()),
            notes: view::notes(&control),
            moves,
        })
    }

    /// Writes a command into the control topic and tells what follows once it is read back.
    pub(crate) async fn give(self: &Arc<Self>, given: &Given) -> Result<Done, Refused> {
        let member = match &self.ports.part {
            Part::Member(Member { member, .. }) => member,
            Part::Alone(keeps) => return self.give_alone(given, keeps).await,
        };
        if member.is_suspended() {
            return Err(Refused::Suspended);
        }
        let control = self.control()?;
        self.check_document(&given.ask, &control).await?;
        let command = order::command(given, self.now(&control))?;
        // What is refused here would be void: it need not be written.
        let plan = cluster::Plan::after(&control, &command)?;
        let order = command.order.clone();
        let record = Record::Command(command);
        let writing = member.write(&record);
        let late = |_| Refused::NotKnown(LATE.to_owned());
        timeout(WRITTEN_MAX, writing).await.map_err(late)??;
        let now = self.control()?;
        let pending = cluster::Plan::of(&now).pending;
        // What has arrived already is among them: the events after `before` tell of it.
        let planned = plan.pending.iter().filter(|one| {
            now.placement(one.shard) == Some(&one.to)
                || pending.iter().any(|also| also.shard == one.shard)
        });
        let more = pending.iter().filter(|one| {
            concerns(&order, one) && plan.pending.iter().all(|also| also.shard != one.shard)
        });
        let follow: Vec<_> = planned.chain(more).collect();
        Ok(Done {
            before: control.at().map_or(0, |at| at.0),
            done: order::spelled(&order),
            moves: view::moves(follow),
            notes: view::notes(&now),
        })
    }

    /// Takes a command on a node that is alone. It is done, and noted, also where whoever gave it
    /// has gone.
    async fn give_alone(
        self: &Arc<Self>,
        given: &Given,
        keeps: &Arc<dyn Keeps>,
    ) -> Result<Done, Refused> {
        let command = order::command(given, self.now(&Control::default()))?;
        let Order::Revoke { token, until } = command.order.clone() else {
            return Err(Refused::Alone);
        };
        let entry = Entry { token, until, now: command.by.at };
        let done = order::spelled(&command.order);
        let (desk, keeps) = (Arc::clone(self), Arc::clone(keeps));
        let at = Tasks::offload(move || {
            let mut taken = desk.taken.lock();
            let changes = keeps.revoke(&entry)?;
            *taken += 1;
            desk.events.alone(*taken, command, changes);
            Ok::<_, Refused>(*taken)
        });
        Ok(Done { before: at.await? - 1, done, moves: Vec::new(), notes: Vec::new() })
    }

    /// Tells how much the shards of this node carry.
    pub(crate) async fn burdens(&self) -> Vec<Burden> {
        let Ok(part) = self.part() else { return Vec::new() };
        let shards = part.directory.here();
        let told = join_all(shards.iter().map(|shard| async {
            let burden = shard.burden().await;
            Burden {
                shard: shard.shard().0,
                bytes: burden.tail_bytes,
                documents: burden.documents,
                sessions: burden.sessions,
            }
        }));
        told.await
    }

    async fn burdens_of(&self, owner: &NodeId) -> Option<Vec<Burden>> {
        if owner == self.part().ok()?.member.node() {
            return timeout(TOLD_MAX, self.burdens()).await.ok();
        }
        let (status, body) = self.ask(owner, BURDENS.to_owned()).await?;
        (status == StatusCode::OK).then(|| serde_json::from_slice(&body).ok()).flatten()
    }

    /// Asks another node; none where it does not answer.
    async fn ask(&self, owner: &NodeId, target: String) -> Option<(StatusCode, Bytes)> {
        let (method, body) = ("GET".to_owned(), Blob(Bytes::new()));
        let request = Request {
            method,
            target,
            content_type: None,
            headers: Vec::new(),
            who: Who::anything(),
            body,
        };
        let asked = timeout(TOLD_MAX, self.part().ok()?.router.carry(owner, request)).await.ok()?;
        let response = asked.ok()?;
        Some((StatusCode::from_u16(response.status).ok()?, response.body.0))
    }

    async fn check_document(&self, ask: &Ask, control: &Control) -> Result<(), Refused> {
        if let Some(Target { shard, doc: Some(doc) }) = order::about(ask, control.shards())? {
            let known = self.known(&doc, shard).await?;
            known.ok_or(Refused::UncheckedDocument { doc, shard })?;
        }
        Ok(())
    }

    /// Returns the last revision of a document, none where its owner does not tell; refuses one
    /// that nobody has written, or that is deleted.
    async fn known(&self, doc: &DocId, shard: ShardId) -> Result<Option<u64>, Refused> {
        match timeout(TOLD_MAX, self.head(doc)).await.ok().flatten() {
            Some(0) => Err(Refused::UnknownDocument { doc: doc.clone(), shard }),
            other => Ok(other),
        }
    }

    /// Returns the last revision of a document, 0 where there is none.
    async fn head(&self, doc: &DocId) -> Option<u64> {
        let router = &self.part().ok()?.router;
        if let Some(owner) = router.elsewhere(doc) {
            let target = format!("/v1/docs/{doc}/history?limit=1");
            let (status, body) = self.ask(&owner, target).await?;
            if status == StatusCode::NOT_FOUND {
                return Some(0);
            }
            let answer: serde_json::Value = serde_json::from_slice(&body).ok()?;
            return answer.get("head")?.as_u64();
        }
        let handle = router.open(doc).await.ok()?;
        let past = handle.past(&Asker::anything(), Right::Read).await.ok()?;
        Some(past.check_exists().map_or(0, |()| past.head().0))
    }
}

/// Tells whether a pending move is what an order is about, though it was pending before.
fn concerns(order: &Order, pending: &Pending) -> bool {
    match order {
        Order::Move { shard, .. } | Order::Pin { shard, .. } | Order::Unpin { shard } => {
            *shard == pending.shard
        }
        Order::Drain { node, .. } => *node == pending.from,
        Order::Resume => true,
        Order::Weight { .. }
        | Order::Undrain { .. }
        | Order::Limits(_)
        | Order::Pause
        | Order::Guard { .. }
        | Order::Revoke { .. } => false,
    }
}

fn unknown(node: &NodeId) -> Refused {
    cluster::Refusal::from(Void::UnknownNode { node: node.clone() }).into()
}
