//! Work on documents that many ask for at once: done once, for all who ask meanwhile.
//!
//! Nothing is kept when the last of them has its answer, and nobody gets what is older than what
//! they ask for: who asks for a newer revision begins anew.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;

use crate::types::{DocId, Revision};

/// What is being made of documents.
pub(crate) struct Flights<T> {
    open: Mutex<HashMap<DocId, Arc<Flight<T>>>>,
}

struct Flight<T> {
    /// The revision that it was begun for; what comes is no older.
    rev: Revision,
    made: OnceCell<T>,
}

/// Somebody who waits for a flight, and takes it off the list if nobody else does.
struct Seat<'a, T> {
    flights: &'a Flights<T>,
    doc: &'a DocId,
    flight: Arc<Flight<T>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { open: Mutex::default() }
    }
}

impl<T: Clone> Flights<T> {
    /// Returns what `make` makes of a document at `rev` or later, or what it already makes for
    /// somebody else.
    ///
    /// # Cancel safety
    /// May be dropped: the next who waits makes it.
    pub(crate) async fn join<F>(&self, doc: &DocId, rev: Revision, make: impl FnOnce() -> F) -> T
    where
        F: Future<Output = T>,
    {
        let seat = self.seat(doc, rev);
        seat.flight.made.get_or_init(make).await.clone()
    }

    fn seat<'a>(&'a self, doc: &'a DocId, rev: Revision) -> Seat<'a, T> {
        let mut open = self.open.lock();
        let fits = open.get(doc).filter(|flight| flight.rev >= rev).cloned();
        let flight = fits.unwrap_or_else(|| {
            let flight = Arc::new(Flight { rev, made: OnceCell::new() });
            open.insert(doc.clone(), flight.clone());
            flight
        });
        Seat { flights: self, doc, flight }
    }
}

impl<T> Drop for Seat<'_, T> {
    fn drop(&mut self) {
        let mut open = self.flights.open.lock();
        let is_listed = open.get(self.doc).is_some_and(|own| Arc::ptr_eq(own, &self.flight));
        // The list has one, and this is the other: seats are taken under the lock.
        if is_listed && Arc::strong_count(&self.flight) <= 2 {
            open.remove(self.doc);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::task::Poll;

    use futures_util::future::join_all;
    use futures_util::poll;
    use tokio::sync::oneshot;

    use super::*;

    fn doc() -> DocId {
        "a".parse().unwrap()
    }

    #[tokio::test]
    async fn what_many_ask_for_is_made_once_and_not_kept() {
        let (flights, made) = (Flights::default(), Cell::new(0));
        let doc = doc();
        for round in 1..=2 {
            let join = |_| {
                flights.join(&doc, Revision(3), || async {
                    made.set(made.get() + 1);
                    tokio::task::yield_now().await;
                    made.get()
                })
            };
            assert_eq!(join_all((0..50).map(join)).await, [round; 50]);
            assert!(flights.open.lock().is_empty());
        }
    }

    #[tokio::test]
    async fn nobody_gets_what_is_older_than_what_they_ask_for() {
        let flights = Flights::default();
        let doc = doc();
        let (land, landed) = oneshot::channel::<()>();
        let mut old = Box::pin(flights.join(&doc, Revision(5), || async {
            landed.await.expect("it lands");
            5
        }));
        assert!(poll!(&mut old).is_pending());
        let mut same = Box::pin(flights.join(&doc, Revision(4), || async { unreachable!() }));
        assert!(poll!(&mut same).is_pending(), "an older one is asked for: that will do");
        let newer = Box::pin(flights.join(&doc, Revision(6), || async { 6 }));
        assert_eq!(poll!(newer), Poll::Ready(6));
        land.send(()).expect("it waits");
        assert_eq!((old.await, same.await), (5, 5));
        assert!(flights.open.lock().is_empty());
    }

    #[tokio::test]
    async fn where_the_first_goes_the_next_goes_on() {
        let flights = Flights::default();
        let doc = doc();
        let mut first = Box::pin(flights.join(&doc, Revision(1), std::future::pending));
        assert!(poll!(&mut first).is_pending());
        let mut second = Box::pin(flights.join(&doc, Revision(1), || async { 2 }));
        assert!(poll!(&mut second).is_pending());
        drop(first);
        assert_eq!(second.await, 2);
        let mut alone = Box::pin(flights.join(&doc, Revision(1), std::future::pending));
        assert!(poll!(&mut alone).is_pending());
        drop(alone);
        assert!(flights.open.lock().is_empty());
    }
}
