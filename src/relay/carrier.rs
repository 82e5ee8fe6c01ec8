//! From a document to a link: what it tells a copy, or a client behind it, becomes messages.
//!
//! The gate is shut until the answer to the subscription, or to the attachment, is on its way: what
//! is told before waits, so that the copy never hears of what it does not know yet.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::doc::{ConnId, Event, Outbox, Refusal};
use crate::relay::Metrics;
use crate::relay::message::{
    Alone, Denial, People, Told, changed_head, encode, presence_head, rows, shared,
};
use crate::relay::queue::{Frame, Full, Outgoing};

/// How much may wait at a gate that is shut, in events.
const HELD_MAX: usize = 10_000;

/// Which of the encodings is the relay's.
const SLOT: usize = 2;

/// For whom something is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    Copy,
    Client(ConnId),
}

/// Takes what one receiver is told, and never blocks; what the link has no room for ends the whole
/// subscription.
pub(crate) struct Carrier {
    pub(crate) outgoing: Arc<Outgoing>,
    pub(crate) sub: u64,
    pub(crate) metrics: Metrics,
    /// Ends the subscription.
    pub(crate) ended: CancellationToken,
    gate: Mutex<Gate>,
}

enum Gate {
    Shut(Vec<Event>),
    Open(To),
    Over,
}

impl Carrier {
    pub(crate) fn new(
        outgoing: Arc<Outgoing>,
        sub: u64,
        metrics: Metrics,
        ended: CancellationToken,
    ) -> Self {
        Self { outgoing, sub, metrics, ended, gate: Mutex::new(Gate::Shut(Vec::new())) }
    }

    /// Sends the answer once there is room for it, and then what was told meanwhile.
    ///
    /// # Errors
    /// Why it was sent away before the answer was: a right may have been withdrawn, and what is
    /// welcomed is given the text. [`Refusal::Moved`] where there was no room in time.
    pub(crate) async fn open(
        &self,
        to: To,
        answer: Bytes,
        within: Duration,
    ) -> Result<(), Refusal> {
        let frame = Frame::from(answer);
        let opening = self.outgoing.when_room(|| self.try_open(to, &frame));
        timeout(within, opening).await.unwrap_or(Err(Refusal::Moved))
    }

    fn try_open(&self, to: To, answer: &Frame) -> Result<Result<(), Refusal>, Full> {
        let mut gate = self.gate.lock();
        let closed = |event: &Event| {
            if let Event::Closed(refusal) = event { Some(refusal.clone()) } else { None }
        };
        let refusal = match &*gate {
            Gate::Shut(held) => held.iter().find_map(closed),
            Gate::Open(_) | Gate::Over => None,
        };
        if let Some(refusal) = refusal {
            *gate = Gate::Over;
            return Ok(Err(refusal));
        }
        self.outgoing.push(answer.clone())?;
        let Gate::Shut(held) = std::mem::replace(&mut *gate, Gate::Open(to)) else {
            *gate = Gate::Over;
            return Ok(Ok(()));
        };
        for event in held {
            if self.tell(to, event).is_err() {
                self.give_up(&mut gate);
                break;
            }
        }
        Ok(Ok(()))
    }

    fn tell(&self, to: To, event: Event) -> Result<(), Full> {
        let sub = self.sub;
        let alone = |conn: ConnId, what| {
            let told = Told::Alone { sub, conn: conn.0, what };
            self.outgoing.push(encode(0, &told).into())
        };
        match (to, event) {
            (To::Copy, Event::Changed(update)) => {
                let body = update.encoded[SLOT].get_or_init(|| {
                    self.metrics.encoded.inc();
                    shared(&rows(&update.changes))
                });
                self.metrics.updates.inc();
                self.outgoing.push(Frame { head: changed_head(sub), body: body.clone() })
            }
            (To::Copy, Event::Presence(presence)) => {
                let encode = || shared(&People::from(&*presence));
                let body = presence.encoded[SLOT].get_or_init(encode).clone();
                self.outgoing.push(Frame { head: presence_head(sub), body })
            }
            (To::Copy, Event::Closed(refusal)) => {
                self.close(&refusal);
                Ok(())
            }
            (To::Client(conn), Event::Ordered { seq, rev }) => {
                alone(conn, Alone::Ordered { seq, rev })
            }
            (To::Client(conn), Event::Repeated { seq, rev }) => {
                alone(conn, Alone::Repeated { seq, rev })
            }
            (To::Client(conn), Event::Refused { seq, refusal }) => {
                alone(conn, Alone::Refused { seq, denial: Denial::from(&refusal) })
            }
            (To::Client(conn), Event::Closed(refusal)) => {
                alone(conn, Alone::Closed(Denial::from(&refusal)))
            }
            (
                To::Copy,
                Event::Merged(_)
                | Event::Ordered { .. }
                | Event::Repeated { .. }
                | Event::Refused { .. },
            )
            | (To::Client(_), Event::Changed(_) | Event::Merged(_) | Event::Presence(_)) => {
                debug_assert!(false, "the audience tells each what it hears");
                Ok(())
            }
        }
    }

    /// Tells the copy that the subscription is over.
    pub(crate) fn close(&self, refusal: &Refusal) {
        let closed = Told::Closed { sub: self.sub, denial: Denial::from(refusal) };
        if !self.ended.is_cancelled() {
            self.outgoing.force(encode(0, &closed));
        }
        self.ended.cancel();
    }

    fn give_up(&self, gate: &mut Gate) {
        *gate = Gate::Over;
        if !self.ended.is_cancelled() {
            self.metrics.overflows.inc();
        }
        self.close(&Refusal::Moved);
    }
}

impl Outbox for Carrier {
    fn push(&self, event: Event) {
        let mut gate = self.gate.lock();
        match &mut *gate {
            Gate::Shut(held) if held.len() < HELD_MAX => held.push(event),
            Gate::Shut(_) => self.give_up(&mut gate),
            Gate::Open(to) => {
                if self.ended.is_cancelled() {
                    *gate = Gate::Over;
                } else if self.tell(*to, event).is_err() {
                    self.give_up(&mut gate);
                }
            }
            Gate::Over => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Registry;

    use super::*;
    use crate::access::{Denied, Right};

    fn carrier() -> Carrier {
        let (end, ended) = (CancellationToken::new(), CancellationToken::new());
        let metrics = Metrics::register(&Registry::new()).expect("a new registry");
        Carrier::new(Arc::new(Outgoing::new(8, end)), 1, metrics, ended)
    }

    #[tokio::test(start_paused = true)]
    async fn who_was_sent_away_before_there_was_room_is_not_welcomed() {
        let (answer, large) = (Bytes::from_static(b"12345678"), Bytes::from_static(&[0; 99]));
        let (to, within) = (To::Client(ConnId(1)), Duration::from_secs(5));
        let full = carrier();
        full.outgoing.push(answer.clone().into()).expect("there is room");
        let late = full.open(to, answer.clone(), within).await;
        assert_eq!(late, Err(Refusal::Moved), "there was no room");
        let carrier = carrier();
        let denied = Refusal::Denied(Denied::Forbidden(Right::Read));
        carrier.push(Event::Closed(denied.clone()));
        assert_eq!(carrier.open(to, answer, within).await, Err(denied));
        // It passes where nothing else waits.
        carrier.outgoing.push(large.into()).expect("nothing was sent");
    }
}
