//! Following a document that moves: the session joins again for its client, which notices a pause
//! at most.
//!
//! The client's stream goes on at the revision where it stands, and the batch that was in flight is
//! handed over once more: the document knows by its number whether it was taken already.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::doc::{Batch, Content, Join, NotTaken, Presence, Refusal, Socket, Welcome};
use crate::edge::routes::Shared;
use crate::edge::session::farewell::Farewell;
use crate::edge::session::flight::Flight;
use crate::edge::session::hello::join;
use crate::edge::session::{Session, outbox};
use crate::router::Document;
use crate::types::DocId;
use crate::wire::{Participant, ServerMessage};

/// How long a document is looked for, and how long is waited for news of it between two tries, at
/// first and at most.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// Joins a document that may be on its way to another owner just now.
pub(in crate::edge::session) async fn join_wherever(
    shared: &Shared,
    doc: &DocId,
    join: impl Fn() -> Join,
) -> Result<(Document, Welcome), Refusal> {
    let (until, mut pause) = (Instant::now() + PATIENCE, PAUSE.0);
    loop {
        let tried = shared.router.whereabouts(doc);
        match shared.router.join(doc, &join).await {
            Err(Refusal::Moved) if Instant::now() < until => {
                shared.router.moved(doc, &tried, pause).await;
                pause = (pause * 2).min(PAUSE.1);
            }
            joined => return joined,
        }
    }
}

impl Session {
    /// Joins the document again, wherever it is now.
    pub(in crate::edge::session) async fn rejoin(&mut self) -> ControlFlow<Option<Farewell>> {
        self.shared.metrics.moves.inc();
        let (until, mut pause) = (Instant::now() + PATIENCE, PAUSE.0);
        let token = self.shared.token.clone();
        loop {
            self.outbox = outbox(&self.shared);
            let mut hello = self.hello.clone();
            hello.rev = Some(self.stands_at);
            let (router, outbox) = (&self.shared.router, &self.outbox);
            let tried = router.whereabouts(&self.doc);
            let socket = Socket { id: self.socket, replaces: None };
            let (doc, caller) = (&self.doc, &self.guest.caller);
            let join =
                || Join { resumes: true, ..join(&hello, caller, doc, socket, outbox.clone()) };
            let joining = router.join(doc, join);
            let joined = tokio::select! {
                biased;
                () = token.cancelled() => return ControlFlow::Break(Some(self.going_away())),
                joined = timeout_at(until, joining) => joined.unwrap_or(Err(Refusal::Moved)),
            };
            match joined {
                Ok((handle, welcome)) => {
                    self.handle = handle;
                    self.moved = false;
                    return self.go_on(welcome).await;
                }
                Err(Refusal::Moved | Refusal::Unavailable { .. }) if Instant::now() < until => {
                    self.shared.router.moved(&self.doc, &tried, pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
                // The client has gone to another node, or one that had lost it was quicker to join:
                // it comes again, if it is still there.
                Err(Refusal::Occupied { .. }) => {
                    return ControlFlow::Break(Some(self.going_away()));
                }
                Err(refusal) => {
                    warn!(doc = %self.doc, %refusal, "cannot follow");
                    return ControlFlow::Break(Some(Farewell::of(&refusal, None)));
                }
            }
        }
    }

    /// Notes whom the client is told of.
    pub(in crate::edge::session) fn note(&mut self, presence: &Presence) {
        for row in &presence.rows {
            if row.gone {
                self.others.remove(&row.id);
            } else {
                self.others.insert(row.id);
            }
        }
    }

    /// Puts the client's caret where it was, and takes away those whom the next owner may not
    /// know: it tells of everybody who is there.
    fn tell_presence(&mut self) {
        if let Some((rev, sel)) = self.placed {
            // A document that is closed again is followed once more.
            let _ = self.handle.place(self.to.conn, rev, sel);
        }
        let gone = |id| Participant { id, user: None, sel: None, gone: true };
        let list: Vec<_> = std::mem::take(&mut self.others).into_iter().map(gone).collect();
        if !list.is_empty() {
            self.tell(&ServerMessage::Presence { rev: self.stands_at, n: 1, list });
        }
    }

    /// Tells the client what it has missed, and hands its batch over again.
    async fn go_on(&mut self, welcome: Welcome) -> ControlFlow<Option<Farewell>> {
        // The client predicts on what it has seen, which is less than the document has.
        (self.to.conn, self.to.welcomed) = (welcome.conn, welcome.head);
        let same = welcome.mode == self.mode;
        let (true, Content::Changes(changes)) = (same, welcome.content) else {
            // The client has to be told that it may only read, or to ask for the text because the
            // revisions in between are not at hand.
            let (doc, rev, head) = (&self.doc, self.stands_at, welcome.head);
            warn!(%doc, %rev, %head, same, "cannot follow");
            return ControlFlow::Break(Some(Farewell::of(&Refusal::Moved, None)));
        };
        self.tell_changes(&changes);
        (self.stands_at, self.is_behind) = (welcome.head, false);
        self.tell_presence();
        let Some(flight) = &self.in_flight else { return ControlFlow::Continue(()) };
        if flight.acknowledged || flight.seq <= welcome.seq {
            self.settled();
            return ControlFlow::Continue(());
        }
        let Flight { seq, base, bytes, received, .. } = *flight;
        let batch = Batch { seq, base, op: flight.op.clone(), received, permit: None };
        match self.handle.submit(self.to.conn, batch, bytes).await {
            // It is closed again: the outbox tells why.
            Ok(()) | Err(NotTaken::Closed) => ControlFlow::Continue(()),
            Err(NotTaken::Full(refusal)) => {
                self.put_off(&refusal, seq);
                ControlFlow::Continue(())
            }
        }
    }
}
