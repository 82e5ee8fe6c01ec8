//! A ticket that is presented: taken here, or by the node that issued it, which is asked over the
//! link to it. It is taken there alone, so that it opens one socket wherever it is presented, also
//! at two nodes at once.
//!
//! ```text
//! ?ticket= ─► read (ours? whose?) ─┬─ own ───────► taken ─────────────► claims ─► revoked here?
//!                                  ├─ a member's ► hash ══ link ══► taken there ═► claims
//!                                  └─ nobody's ──► bad
//! ```

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::access::Rights;
use crate::auth::{BadTicket, Claims, Issued, TicketHash};
use crate::edge::doors::{Doors, Guard, Refused};
use crate::relay::{Blob, Request, Response, Who};
use crate::router::Router;
use crate::types::Author;

/// Where one node asks another to take a ticket.
const TAKE: &str = "/auth/ticket/take";

/// How long another node may take for it, and for the link to be made.
const ASKED_MAX: Duration = Duration::from_secs(2);

/// What is answered where there is a ticket, and where there is none.
const TAKEN: u16 = 200;
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
    ) -> Result<Claims, Refused> {
        let issued = self.tickets.lock().read(ticket);
        let Issued { by, hash } = issued.map_err(Refused::Ticket)?;
        if by == *self.tickets.lock().node() {
            return self.tickets.lock().take(&hash, Instant::now()).map_err(Refused::Ticket);
        }
        // What a node had issued is forgotten with it.
        if !router.is_up(&by) {
            return Err(Refused::Ticket(BadTicket));
        }
        let asked = timeout(ASKED_MAX, router.carry(&by, request(hash))).await;
        match asked {
            Ok(Ok(Response { status: TAKEN, body, .. })) => {
                Claims::decode(&body.0).ok_or(Refused::Away)
            }
            Ok(Ok(Response { status: NONE, .. })) => Err(Refused::Ticket(BadTicket)),
            Ok(Ok(_) | Err(_)) | Err(_) => Err(Refused::Away),
        }
    }
}

fn request(TicketHash(hash): TicketHash) -> Request {
    Request {
        method: "POST".to_owned(),
        target: TAKE.to_owned(),
        content_type: None,
        headers: Vec::new(),
        // It is about no document.
        who: Who { subject: None, granted: Rights::NONE, name: Author::anonymous() },
        body: Blob(hash.to_vec().into()),
    }
}

/// Takes a ticket of this node that was presented at another one, if that is what it asks.
pub(in crate::edge) fn answer_carried(doors: &Doors, request: &Request) -> Option<Response> {
    if request.target != TAKE {
        return None;
    }
    let hash = <[u8; 32]>::try_from(&*request.body.0).ok().map(TicketHash);
    let taken = match doors {
        Doors::Guarded(guard) => {
            hash.and_then(|hash| guard.tickets.lock().take(&hash, Instant::now()).ok())
        }
        Doors::Open(_) => None,
    };
    let (status, body) = match taken {
        Some(claims) => (TAKEN, claims.encode().into()),
        None => (NONE, Default::default()),
    };
    Some(Response { status, content_type: None, headers: Vec::new(), body: Blob(body) })
}
