//! What has its place in the order but is not yet durable: frames in the log, and a queue behind
//! them.
//!
//! At most so many records of a document are on their way at once; what comes meanwhile joins the
//! next one (group commit).

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use crate::access::Subject;
use crate::doc::write::Done;
use crate::doc::{Change, Room};
use crate::log::{ENTRIES_MAX, Entry, Event, EventKind, Frame, Record};
use crate::types::{Author, DocId, Epoch, Revision, Timestamp};

/// One thing in its place.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) what: What,
    /// When it came in, for the stages of an acknowledgement.
    pub(crate) received: Instant,
    /// Gives the room in the queue back when the item is settled.
    #[expect(dead_code, reason = "held, not read")]
    pub(crate) permit: Option<Room>,
    /// Who waits for the outcome, where it is no connection.
    pub(crate) done: Option<Done>,
}

impl Item {
    /// Returns about how many bytes of memory it takes.
    fn weight(&self) -> usize {
        match &self.what {
            What::Change(change) => change.weight(),
            What::Event { .. } => 0,
        }
    }
}

/// What a record can carry.
#[derive(Debug)]
pub(crate) enum What {
    Change(Arc<Change>),
    Event { author: Author, by: Option<Subject>, kind: EventKind },
}

/// A record in the log whose fate is open.
#[derive(Debug)]
pub(crate) struct Flight {
    /// The revision before its first one.
    pub(crate) base: Revision,
    /// The ownership it was made under.
    pub(crate) epoch: Epoch,
    /// The owner's clock when it was made.
    pub(crate) at: Timestamp,
    /// Several changes, or one event.
    pub(crate) items: Vec<Item>,
    /// About how many bytes of memory they take.
    pub(crate) weight: usize,
    /// Its size in the log, in bytes.
    pub(crate) bytes: u64,
}

impl Flight {
    /// Returns the revision after its last one.
    pub(crate) fn head(&self) -> Revision {
        let changes = self.items.iter().filter(|item| matches!(item.what, What::Change(_)));
        Revision(self.base.0 + changes.count() as u64)
    }
}

/// All that is open of one document.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    flights: VecDeque<Flight>,
    queue: VecDeque<Item>,
}

impl Pending {
    /// Tells whether nothing is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.flights.is_empty() && self.queue.is_empty()
    }

    /// Returns how many records are on their way.
    pub(crate) fn flights(&self) -> usize {
        self.flights.len()
    }

    /// Puts something behind everything else.
    pub(crate) fn push(&mut self, item: Item) {
        self.queue.push_back(item);
    }

    /// Returns the record that is settled next.
    pub(crate) fn first(&self) -> Option<&Flight> {
        self.flights.front()
    }

    /// Takes the record that is settled next.
    pub(crate) fn land(&mut self) -> Option<Flight> {
        self.flights.pop_front()
    }

    /// Returns everything on its way to the queue: it will be handed over again.
    pub(crate) fn recall(&mut self) {
        while let Some(flight) = self.flights.pop_back() {
            for item in flight.items.into_iter().rev() {
                self.queue.push_front(item);
            }
        }
    }

    /// Returns who waits for the outcome of what is open.
    pub(crate) fn into_waiting(mut self) -> impl Iterator<Item = Done> {
        self.recall();
        self.queue.into_iter().filter_map(|item| item.done)
    }

    /// Makes the next record of what is queued: one event, or as many changes as fit.
    pub(crate) fn take_off(&mut self, made: &Making<'_>) -> Option<Record> {
        let first = self.queue.pop_front()?;
        let base = self.flights.back().map_or(made.durable, Flight::head);
        let mut items = vec![first];
        let mut weight = items[0].weight();
        if matches!(items[0].what, What::Change(_)) {
            while items.len() < ENTRIES_MAX
                && let Some(next) = self.queue.front()
            {
                let with = weight + next.weight();
                let joins = matches!(next.what, What::Change(_)) && with <= made.bytes_max;
                if !joins {
                    break;
                }
                weight = with;
                items.extend(self.queue.pop_front());
            }
        }
        let record = made.record(base, &items);
        let (epoch, at) = (made.epoch, made.at);
        self.flights.push_back(Flight { base, epoch, at, items, weight, bytes: 0 });
        Some(record)
    }

    /// Notes the encoded size of the record that took off last.
    pub(crate) fn note_bytes(&mut self, bytes: usize) {
        if let Some(flight) = self.flights.back_mut() {
            flight.bytes = bytes as u64;
        }
    }
}

/// What a record is made with.
pub(crate) struct Making<'a> {
    pub(crate) doc: &'a DocId,
    pub(crate) epoch: Epoch,
    pub(crate) at: Timestamp,
    /// The document's durable revision.
    pub(crate) durable: Revision,
    pub(crate) bytes_max: usize,
}

impl Making<'_> {
    fn record(&self, base_rev: Revision, items: &[Item]) -> Record {
        let (doc, epoch, at) = (self.doc.clone(), self.epoch, self.at);
        if let [Item { what: What::Event { author, by, kind }, .. }] = items {
            let (author, by, kind) = (author.clone(), by.clone(), kind.clone());
            return Record::Event(Event { epoch, doc, base_rev, at, author, by, kind });
        }
        let entry = |item: &Item| match &item.what {
            What::Change(change) => Some(Entry {
                session: change.session,
                seq: change.seq,
                author: change.author.clone(),
                base: change.base,
                op: change.op.clone(),
            }),
            What::Event { .. } => None,
        };
        let entries = items.iter().filter_map(entry).collect();
        Record::Frame(Frame { epoch, doc, base_rev, at, entries })
    }
}
