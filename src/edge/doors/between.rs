//! What nodes tell each other of those who come in, over the links between them.
//!
//! A ticket is taken by the node that issued it, and there alone, so that it opens one socket
//! wherever it is presented, also at two nodes at once. A login that ends at one node ends at all
//! that can be reached; a node asks those that are up for what it has missed.
//!
//! ```text
//! ?ticket= ─► read (ours? whose?) ─┬─ own ───────► taken ─────────────► holder ─► revoked here?
//!                                  ├─ a member's ► hash ══ link ══► taken there ═► holder
//!                                  └─ nobody's ──► bad
//! sign-out ─► ended here ─► each member that is up: login ══ link ══► ended there
//!                    (where it does not answer, all that have ended, again until it does)
//! a node comes up ─► each member that is up: which have ended? ══ link ══► learnt here
//!                    (again where it does not answer, until it does)
//! ```

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::access::Rights;
use crate::auth::{BadTicket, Holder, Issued, LoginId, TicketHash};
use crate::edge::doors::{Doors, Guard, Refused};
use crate::edge::routes::Shared;
use crate::relay::{Blob, Request, Response, Who};
use crate::router::Router;
use crate::types::{Author, NodeId};

/// Where one node asks another to take a ticket.
const TAKE: &str = "/auth/ticket/take";

/// Where one node tells another which logins have ended: one, or all that it knows.
const END: &str = "/auth/session/end";

/// Where one node asks another which logins have ended.
const ENDED: &str = "/auth/session/ended";

/// How long another node may take for it, and for the link to be made.
const ASKED_MAX: Duration = Duration::from_secs(2);

/// What is answered where it is done, and where there is nothing that was asked for.
const DONE: u16 = 200;
const NONE: u16 = 404;

impl Guard {
    /// Takes a ticket, whichever node has issued it, and tells who was given it.
    ///
    /// # Errors
    /// [`Refused::Ticket`], or [`Refused::Away`] where the node does not answer: the ticket may be
    /// used up then.
    pub(in crate::edge::doors) async fn taken(
        &self,
        ticket: &str,
        router: &Router,
    ) -> Result<Holder, Refused> {
        let issued = self.tickets.lock().read(ticket);
        let Issued { by, hash } = issued.map_err(Refused::Ticket)?;
        if by == *self.tickets.lock().node() {
            return self.take(&hash).map_err(Refused::Ticket);
        }
        // What a node had issued is forgotten with it.
        if !router.is_up(&by) {
            return Err(Refused::Ticket(BadTicket));
        }
        let asked = timeout(ASKED_MAX, router.carry(&by, request(TAKE, &hash.0))).await;
        match asked {
            Ok(Ok(Response { status: DONE, body, .. })) => {
                Holder::decode(&body.0).ok_or(Refused::Away)
            }
            Ok(Ok(Response { status: NONE, .. })) => Err(Refused::Ticket(BadTicket)),
            Ok(Ok(_) | Err(_)) | Err(_) => Err(Refused::Away),
        }
    }

    /// Takes a ticket of this node. One of a login that is known here to have ended opens nothing,
    /// nor what is known to hold no more: another node may not have heard of it.
    fn take(&self, hash: &TicketHash) -> Result<Holder, BadTicket> {
        let holder = self.tickets.lock().take(hash, Instant::now())?;
        self.check_over(&holder.claims, holder.login).map_err(|_| BadTicket)?;
        Ok(holder)
    }
}

/// Ends a login here, and then at every other node that is up; waits for those that answer soon.
/// The others are [`behind`].
///
/// # Cancel safety
/// It ends everywhere, also where nobody waits for that any more.
pub(in crate::edge::doors) async fn end(shared: &Arc<Shared>, login: LoginId) {
    let Shared { router, doors, .. } = &**shared;
    let (router, doors) = (router.clone(), doors.clone());
    let telling = shared.tasks.spawn("sign-out", async move {
        let others = router.others();
        let (_, missed) =
            tokio::join!(biased; end_here(&doors, &login.0), told(&router, others, &login.0));
        if let Doors::Guarded(guard) = &*doors {
            guard.endings.missed(missed);
        }
    });
    // It is awaited to the end of the process, or was cancelled with it.
    let _ = telling.await;
}

/// Waits until there are nodes that were not told of a login, and returns them: whoever has them
/// sees to it that they are.
///
/// # Cancel safety
/// May be dropped and called again.
pub async fn behind(shared: &Shared) -> Vec<NodeId> {
    match &*shared.doors {
        Doors::Guarded(guard) => guard.endings.behind().await,
        Doors::Open(_) => pending().await,
    }
}

/// Tells other nodes of all logins that have ended, as far as they are known here. It takes no
/// longer than a node may take for it; returns those that did not answer.
pub async fn tell_all(shared: &Shared, nodes: Vec<NodeId>) -> Vec<NodeId> {
    let Doors::Guarded(guard) = &*shared.doors else { return Vec::new() };
    let ended = guard.endings.spelled();
    told(&shared.router, nodes, &ended).await
}

/// Tells nodes of logins that have ended; returns those that did not answer.
async fn told(router: &Router, nodes: Vec<NodeId>, ended: &[u8]) -> Vec<NodeId> {
    let tell = async |node: NodeId| {
        if answered(router, &node, request(END, ended)).await.is_some() {
            return None;
        }
        warn!(node = %node.0, "not told that somebody has signed out: it is told again");
        Some(node)
    };
    join_all(nodes.into_iter().map(tell)).await.into_iter().flatten().collect()
}

/// Asks other nodes which logins have ended: whoever was not up was not told. It takes no longer
/// than a node may take for it; returns those that did not answer.
pub async fn catch_up(shared: &Shared, nodes: Vec<NodeId>) -> Vec<NodeId> {
    let Doors::Guarded(guard) = &*shared.doors else { return Vec::new() };
    let ask = async |node: NodeId| {
        if let Some(ended) = answered(&shared.router, &node, request(ENDED, &[])).await {
            guard.endings.learn(&ended).await;
            return None;
        }
        warn!(node = %node.0, "does not say who has signed out: they may be let in");
        Some(node)
    };
    join_all(nodes.into_iter().map(ask)).await.into_iter().flatten().collect()
}

/// Returns what a node answers that has done in time what it was asked.
async fn answered(router: &Router, node: &NodeId, request: Request) -> Option<Bytes> {
    match timeout(ASKED_MAX, router.carry(node, request)).await {
        Ok(Ok(Response { status: DONE, body, .. })) => Some(body.0),
        Ok(Ok(_) | Err(_)) | Err(_) => None,
    }
}

fn request(target: &str, body: &[u8]) -> Request {
    Request {
        method: "POST".to_owned(),
        target: target.to_owned(),
        content_type: None,
        headers: Vec::new(),
        // It is about no document.
        who: Who { subject: None, granted: Rights::NONE, name: Author::anonymous() },
        body: Blob(body.to_vec().into()),
    }
}

/// Tells whether a request is one of what nodes ask each other here.
pub(in crate::edge) fn is_of_nodes(request: &Request) -> bool {
    matches!(&*request.target, TAKE | END | ENDED)
}

/// Does what another node asks: takes a ticket of this one, ends logins, or says which have ended;
/// nothing where it asks for something else.
pub(in crate::edge) async fn answer_carried(doors: &Doors, request: &Request) -> Option<Response> {
    let done = match &*request.target {
        TAKE => take(doors, &request.body.0).map(|holder| holder.encode()),
        END => end_here(doors, &request.body.0).await.map(|()| Vec::new()),
        ENDED => ended(doors),
        _ => return None,
    };
    let status = if done.is_some() { DONE } else { NONE };
    let body = Blob(done.unwrap_or_default().into());
    Some(Response { status, content_type: None, headers: Vec::new(), body })
}

fn take(doors: &Doors, hash: &[u8]) -> Option<Holder> {
    let Doors::Guarded(guard) = doors else { return None };
    let hash = hash.try_into().ok().map(TicketHash)?;
    guard.take(&hash).ok()
}

async fn end_here(doors: &Doors, ended: &[u8]) -> Option<()> {
    let Doors::Guarded(guard) = doors else { return None };
    guard.endings.learn(ended).await;
    Some(())
}

fn ended(doors: &Doors) -> Option<Vec<u8>> {
    let Doors::Guarded(guard) = doors else { return None };
    Some(guard.endings.spelled())
}
