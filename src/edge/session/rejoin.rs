//! Following a document that moves: the session joins again for its client, which notices a pause
//! at most.
//!
//! The client's stream goes on at the revision where it stands, and the batch that was in flight is
//! handed over once more: the document knows by its number whether it was taken already.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::doc::{Batch, Change, Content, Mode, NotTaken, Refusal, Welcome};
use crate::edge::refusal;
use crate::edge::session::{Farewell, Flight, Session, join, outbox};

/// How long a document is looked for, and how long is waited between two tries, at first and at
/// most.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

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
            let joined = tokio::select! {
                biased;
                () = token.cancelled() => return ControlFlow::Break(Some(self.going_away())),
                joined = router.join(&self.doc, || join(&hello, outbox.clone())) => joined,
            };
            match joined {
                Ok((handle, welcome)) => {
                    self.handle = handle;
                    self.moved = false;
                    return self.go_on(welcome).await;
                }
                Err(Refusal::Moved | Refusal::Unavailable { .. }) if Instant::now() < until => {
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
                Err(refusal) => return ControlFlow::Break(Some(Farewell::of(&refusal, None))),
            }
        }
    }

    /// Tells the client what it has missed, and hands its batch over again.
    async fn go_on(&mut self, welcome: Welcome) -> ControlFlow<Option<Farewell>> {
        // The client predicts on what it has seen, which is less than the document has.
        (self.to.conn, self.to.welcomed, self.mode) = (welcome.conn, welcome.head, welcome.mode);
        let Content::Changes(changes) = welcome.content else {
            // The revisions in between are not at hand: the client has to ask for the text.
            return ControlFlow::Break(Some(Farewell::of(&Refusal::Moved, None)));
        };
        match self.mode {
            Mode::Edit => self.to.changes(&changes, &mut self.frames),
            Mode::View => self.frames.extend(self.to.composed(&changes)),
        }
        self.stands_at = welcome.head;
        let session = self.to.session;
        let Some(flight) = &mut self.in_flight else { return ControlFlow::Continue(()) };
        let own = |one: &Arc<Change>| one.session == session && one.seq == flight.seq;
        flight.acknowledged |= changes.iter().any(own);
        if flight.acknowledged || flight.seq <= welcome.seq {
            return ControlFlow::Continue(());
        }
        let Flight { seq, base, bytes, received, .. } = *flight;
        let batch = Batch { seq, base, op: flight.op.clone(), received, permit: None };
        match self.handle.submit(self.to.conn, batch, bytes).await {
            // It is closed again: the outbox tells why.
            Ok(()) | Err(NotTaken::Closed) => ControlFlow::Continue(()),
            Err(NotTaken::Full(refusal)) => {
                self.tell(&refusal::message(&refusal, Some(seq)));
                ControlFlow::Continue(())
            }
        }
    }
}
