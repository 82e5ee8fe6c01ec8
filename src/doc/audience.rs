//! Who is told what: the outboxes of a document's connections, and the ticks that gather
//! revisions where many listen.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::doc::change::Encodings;
use crate::doc::{Change, Config, ConnId, Event, Mode, Refusal, Update};
use crate::text::{Operation, compose, compose_all};
use crate::types::{Author, Revision};

/// Takes what a connection is told: never blocks, keeps to its own bound.
pub trait Outbox: Send + Sync {
    /// Puts an event behind those before it. What does not fit is dropped as a whole, and the
    /// connection later asks for what it missed.
    fn push(&self, event: Event);
}

/// Several revisions as one, for viewers; shared by all of them.
#[derive(Debug)]
pub struct Merged {
    /// The first of the revisions.
    pub first: Revision,
    /// The last one.
    pub rev: Revision,
    /// The revisions composed.
    pub op: Operation,
    /// Encodings of the whole.
    pub encoded: Encodings,
}

/// Which of the gathered revisions are to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tick {
    Editors,
    Viewers,
}

/// How much waits for a tick at most, about, in bytes.
const HELD_BYTES_MAX: usize = 512 << 10;

/// What a receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hears {
    /// A client's connection, of everything: an editor of each revision, a viewer of several as
    /// one.
    Client(Mode),
    /// Another node's copy, of everything, and of each revision at once: it keeps its own ticks.
    Copy,
    /// A connection behind that copy, of what is for it alone.
    Behind(ConnId),
}

/// The connections of one document.
#[derive(Default)]
pub(crate) struct Audience {
    receivers: BTreeMap<ConnId, Receiver>,
    editors: usize,
    viewers: usize,
    /// Revisions that wait for the editors' tick.
    held: Vec<Arc<Change>>,
    held_bytes: usize,
    /// Revisions that wait for the viewers' tick, composed.
    merged: Option<Gathered>,
}

struct Gathered {
    first: Revision,
    last: Revision,
    op: Operation,
}

struct Receiver {
    outbox: Arc<dyn Outbox>,
    hears: Hears,
    author: Author,
}

impl Audience {
    /// Adds a connection that was just welcomed at the durable revision.
    pub(crate) fn add(
        &mut self,
        conn: ConnId,
        hears: Hears,
        author: Author,
        outbox: Arc<dyn Outbox>,
    ) {
        self.remove(conn);
        self.editors += usize::from(hears == Hears::Client(Mode::Edit));
        self.viewers += usize::from(hears == Hears::Client(Mode::View));
        self.receivers.insert(conn, Receiver { outbox, hears, author });
    }

    /// Removes a connection.
    pub(crate) fn remove(&mut self, conn: ConnId) {
        if let Some(receiver) = self.receivers.remove(&conn) {
            self.editors -= usize::from(receiver.hears == Hears::Client(Mode::Edit));
            self.viewers -= usize::from(receiver.hears == Hears::Client(Mode::View));
        }
    }

    /// Returns who writes over a connection.
    pub(crate) fn author(&self, conn: ConnId) -> Option<&Author> {
        self.receivers.get(&conn).map(|receiver| &receiver.author)
    }

    /// Tells whether nobody is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.receivers.is_empty()
    }

    /// Returns how many clients are there, also behind copies.
    pub(crate) fn clients(&self) -> usize {
        self.receivers.values().filter(|receiver| receiver.hears != Hears::Copy).count()
    }

    /// Tells whether a copy hears.
    pub(crate) fn is_copy(&self, conn: ConnId) -> bool {
        self.receivers.get(&conn).is_some_and(|receiver| receiver.hears == Hears::Copy)
    }

    /// Tells whether a connection is there.
    pub(crate) fn holds(&self, conn: ConnId) -> bool {
        self.receivers.contains_key(&conn)
    }

    /// Returns the connections.
    pub(crate) fn conns(&self) -> Vec<ConnId> {
        self.receivers.keys().copied().collect()
    }

    /// Returns the copies.
    pub(crate) fn copies(&self) -> Vec<ConnId> {
        self.receivers.keys().copied().filter(|conn| self.is_copy(*conn)).collect()
    }

    /// Tells one connection.
    pub(crate) fn tell(&self, conn: ConnId, event: Event) {
        if let Some(receiver) = self.receivers.get(&conn) {
            receiver.outbox.push(event);
        }
    }

    /// Tells all who hear everything.
    pub(crate) fn tell_all(&self, event: &Event) {
        self.tell_those(event, |hears| match hears {
            Hears::Client(_) | Hears::Copy => true,
            Hears::Behind(_) => false,
        });
    }

    fn tell_those(&self, event: &Event, of: impl Fn(Hears) -> bool) {
        for receiver in self.receivers.values().filter(|one| of(one.hears)) {
            receiver.outbox.push(event.clone());
        }
    }

    /// Tells a connection that it is over, and removes it.
    pub(crate) fn close(&mut self, conn: ConnId, refusal: Refusal) {
        self.tell(conn, Event::Closed(refusal));
        self.remove(conn);
    }

    /// Tells all connections of revisions, now or at the next tick; returns the ticks that have
    /// to be set for that.
    pub(crate) fn broadcast(
        &mut self,
        update: &Arc<Update>,
        config: &Config,
    ) -> Vec<(Tick, Duration)> {
        let mut ticks = Vec::new();
        self.tell_those(&Event::Changed(update.clone()), |hears| hears == Hears::Copy);
        if self.viewers > 0 {
            if self.merged.is_none() {
                ticks.push((Tick::Viewers, config.viewer_tick));
            }
            self.merge(update);
            let inserted = self.merged.as_ref().map_or(0, |merged| merged.op.inserted_chars());
            if inserted > HELD_BYTES_MAX as u64 {
                self.tick(Tick::Viewers);
            }
        }
        let editors = self.editors;
        if editors <= config.tick_subscribers {
            // Some may have left while revisions waited for a tick: those come first.
            self.tick(Tick::Editors);
            self.tell_editors(update);
            return ticks;
        }
        if self.held.is_empty() {
            let large = editors > config.tick_large_subscribers;
            ticks.push((Tick::Editors, if large { config.tick_large } else { config.tick }));
        }
        self.held.extend(update.changes.iter().cloned());
        self.held_bytes += update.weight();
        if self.held_bytes > HELD_BYTES_MAX {
            self.tick(Tick::Editors);
        }
        ticks
    }

    /// Tells what was gathered.
    pub(crate) fn tick(&mut self, tick: Tick) {
        match tick {
            Tick::Editors => {
                let held = std::mem::take(&mut self.held);
                self.held_bytes = 0;
                if !held.is_empty() {
                    self.tell_editors(&Arc::new(Update::new(held)));
                }
            }
            Tick::Viewers => {
                let Some(Gathered { first, last, op }) = self.merged.take() else { return };
                let encoded = Encodings::default();
                let event = Event::Merged(Arc::new(Merged { first, rev: last, op, encoded }));
                self.tell_those(&event, |hears| hears == Hears::Client(Mode::View));
            }
        }
    }

    /// Tells everything gathered, so that a newcomer starts even with the others.
    pub(crate) fn catch_up(&mut self) {
        self.tick(Tick::Editors);
        self.tick(Tick::Viewers);
    }

    fn tell_editors(&self, update: &Arc<Update>) {
        let event = Event::Changed(update.clone());
        self.tell_those(&event, |hears| hears == Hears::Client(Mode::Edit));
    }

    fn merge(&mut self, update: &Update) {
        let ops: Vec<_> = update.changes.iter().map(|change| &change.op).collect();
        let next = compose_all(&ops);
        let (first, op) = match self.merged.take() {
            Some(Gathered { first, op, .. }) => (first, compose(&op, &next)),
            None => (update.first(), next),
        };
        self.merged = Some(Gathered { first, last: update.last(), op });
    }
}

/// A document whose actor failed tells nobody by itself: those who are left are told here.
impl Drop for Audience {
    fn drop(&mut self) {
        let reason = "the document failed and is rebuilt".to_owned();
        self.tell_all(&Event::Closed(Refusal::Internal { reason }));
    }
}
