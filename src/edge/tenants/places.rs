//! Places for long work: at so many is work done at once, at a part of them for one tenant. Who
//! comes when they are taken waits, and not many do, nor for long.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::edge::Metrics;
use crate::edge::tenants::counted::shrink;
use crate::task::Tasks;

/// How many wait at most, and of one tenant.
const WAITING_MAX: (usize, usize) = (256, 32);

/// How long they wait at most.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Whose work it is: a tenant; nothing stands for all of whom nothing is known.
pub(in crate::edge) type Whose = Option<u64>;

/// Gives places; cheap to clone.
#[derive(Clone)]
pub(in crate::edge) struct Places {
    all: usize,
    /// How many of them one tenant has at most.
    part: usize,
    state: Arc<Mutex<State>>,
    metrics: Metrics,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge) enum NoPlace {
    /// All are taken, and too many wait.
    Full,
    /// The tenant has its part of them, and too much of its work waits.
    OwnFull,
}

#[derive(Default)]
struct State {
    taken: usize,
    /// How many of them each has that has any.
    of: HashMap<Whose, usize>,
    /// Those that wait, in the order in which they came.
    waiting: BTreeMap<u64, Waiting>,
    came: u64,
}

struct Waiting {
    whose: Whose,
    place: oneshot::Sender<Place>,
}

/// A place, until it is dropped.
struct Place {
    whose: Whose,
    places: Places,
}

/// A place that comes. One that is dropped takes none.
struct Coming {
    coming: oneshot::Receiver<Place>,
    came: u64,
    places: Places,
}

impl Places {
    /// Returns places for a node with so many cores: one for each, and two at least; a tenant has
    /// half of them.
    pub(in crate::edge) fn new(cores: usize, metrics: &Metrics) -> Self {
        let all = cores.max(2);
        Self { all, part: all / 2, state: Arc::default(), metrics: metrics.clone() }
    }

    /// Does work at a place, once there is one.
    ///
    /// What runs on a thread goes on when nobody waits for it any more. So the place is kept, and
    /// all of the work done, also where what is returned is dropped.
    ///
    /// # Errors
    /// [`NoPlace`]: nothing was done.
    ///
    /// # Panics
    /// If the work panics, the panic goes on here.
    ///
    /// # Cancel safety
    /// Work that has begun is done.
    pub(in crate::edge) async fn work<T: Send + 'static>(
        &self,
        whose: Whose,
        tasks: &Tasks,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, NoPlace> {
        let place = self.take(whose).await?;
        let working = tasks.spawn_long("long work", async move {
            let _place = place;
            work.await
        });
        Ok(Tasks::joined(working).await)
    }

    async fn take(&self, whose: Whose) -> Result<Place, NoPlace> {
        let coming = match self.ask(whose)? {
            Ok(place) => return Ok(place),
            Err(coming) => coming,
        };
        timeout(WAIT_MAX, coming).await.map_err(|_| self.none(&self.state.lock(), whose))
    }

    /// Asks for a place: there is one, or will be, or too many wait for one.
    fn ask(&self, whose: Whose) -> Result<Result<Place, Coming>, NoPlace> {
        let mut state = self.state.lock();
        // Whoever waits while there are some has its part.
        if state.taken < self.all && state.has(whose) < self.part {
            return Ok(Ok(self.give(&mut state, whose)));
        }
        let own = state.waiting.values().filter(|one| one.whose == whose).count();
        if own >= WAITING_MAX.1 {
            return Err(NoPlace::OwnFull);
        }
        if state.waiting.len() >= WAITING_MAX.0 {
            return Err(self.none(&state, whose));
        }
        let (place, coming) = oneshot::channel();
        state.came += 1;
        let came = state.came;
        state.waiting.insert(came, Waiting { whose, place });
        Ok(Err(Coming { coming, came, places: self.clone() }))
    }

    /// Tells why there is none.
    fn none(&self, state: &State, whose: Whose) -> NoPlace {
        if state.has(whose) < self.part { NoPlace::Full } else { NoPlace::OwnFull }
    }

    fn give(&self, state: &mut State, whose: Whose) -> Place {
        state.taken += 1;
        *state.of.entry(whose).or_default() += 1;
        self.metrics.long_work.inc();
        self.metrics.long_work_begun.inc();
        Place { whose, places: self.clone() }
    }

    /// Gives the places that are free to those that wait, first to who has fewest.
    fn go_on(&self, state: &mut MutexGuard<'_, State>) {
        while state.taken < self.all {
            let may = state.waiting.iter().map(|(came, one)| (state.has(one.whose), *came));
            let next = may.filter(|(has, _)| *has < self.part).min();
            let next = next.and_then(|(_, came)| state.waiting.remove(&came));
            let Some(Waiting { whose, place }) = next else { return };
            let given = self.give(state, whose);
            // Who has gone just now gives it back by dropping it.
            MutexGuard::unlocked(state, || drop(place.send(given)));
        }
    }
}

impl State {
    fn has(&self, whose: Whose) -> usize {
        self.of.get(&whose).copied().unwrap_or_default()
    }
}

impl Future for Coming {
    type Output = Place;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Place> {
        Pin::new(&mut self.coming).poll(cx).map(|place| place.expect("who gives places is there"))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.places.state.lock().waiting.remove(&self.came);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state.lock();
        state.taken -= 1;
        self.places.metrics.long_work.dec();
        if let Some(has) = state.of.get_mut(&self.whose) {
            *has -= 1;
            if *has == 0 {
                state.of.remove(&self.whose);
                shrink(&mut state.of);
            }
        }
        self.places.go_on(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;
    use prometheus::{Histogram, HistogramOpts};
    use tokio::time::Instant;

    use super::*;
    use crate::telemetry;

    const ANNA: Whose = Some(1);
    const EVE: Whose = Some(2);

    fn places(cores: usize) -> Places {
        let acks = Histogram::with_opts(HistogramOpts::new("quire_test", "test")).unwrap();
        Places::new(cores, &Metrics::register(&telemetry::registry(), acks).unwrap())
    }

    fn now(places: &Places, whose: Whose) -> Place {
        places.ask(whose).expect("there is room").ok().expect("there is one")
    }

    fn later(places: &Places, whose: Whose) -> Coming {
        places.ask(whose).expect("there is room").err().expect("there is none now")
    }

    #[test]
    fn a_tenant_has_half_of_the_places_and_one_at_least() {
        for (cores, all, part) in [(1, 2, 1), (2, 2, 1), (3, 3, 1), (8, 8, 4)] {
            let places = places(cores);
            let annas: Vec<_> = (0..part).map(|_| now(&places, ANNA)).collect();
            let mut more = later(&places, ANNA);
            let others: Vec<_> = (part..all).map(|n| now(&places, Some(10 + n as u64))).collect();
            assert_eq!(places.metrics.long_work.get(), all as i64);
            let mut eves = later(&places, EVE);
            drop(others);
            assert!((&mut more).now_or_never().is_none(), "she has her part");
            assert!((&mut eves).now_or_never().is_some(), "there is room for others");
            drop(annas);
            assert!((&mut more).now_or_never().is_some(), "it is her turn");
            drop((more, eves));
            let state = places.state.lock();
            assert!(state.taken == 0 && state.of.is_empty() && state.waiting.is_empty());
        }
    }

    #[test]
    fn who_has_fewest_is_the_next_and_who_has_gone_takes_none() {
        let places = places(4);
        let all = [now(&places, ANNA), now(&places, ANNA), now(&places, EVE), now(&places, None)];
        let gone = later(&places, Some(3));
        let [mut first, mut second] = [ANNA, Some(3)].map(|whose| later(&places, whose));
        let [anna, other, ..] = all;
        drop(gone);
        drop(anna);
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_some(), "she has more");
        drop(other);
        // It was never looked at.
        drop(first);
        assert!(matches!(places.ask(ANNA), Ok(Ok(_))), "it was given back");
    }

    #[test]
    fn so_many_wait_and_so_many_of_one() {
        let places = places(2);
        let _taken = [now(&places, ANNA), now(&places, EVE)];
        let annas: Vec<_> = (0..32).map(|_| later(&places, ANNA)).collect();
        assert_eq!(places.ask(ANNA).err(), Some(NoPlace::OwnFull));
        let others: Vec<_> = (10..234).map(|n| later(&places, Some(n))).collect();
        assert_eq!(places.ask(Some(234)).err(), Some(NoPlace::Full));
        assert_eq!(places.ask(EVE).err(), Some(NoPlace::OwnFull), "it is she who has the place");
        drop((annas, others));
        assert!(places.ask(EVE).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_long() {
        let places = places(2);
        let _taken = [now(&places, ANNA), now(&places, EVE)];
        let began = Instant::now();
        assert_eq!(places.take(ANNA).await.err(), Some(NoPlace::OwnFull));
        assert_eq!(places.take(Some(3)).await.err(), Some(NoPlace::Full));
        assert_eq!(began.elapsed(), 2 * WAIT_MAX);
        assert!(places.state.lock().waiting.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_goes_leaves_the_place_taken_until_the_work_is_done() {
        let (places, tasks) = (places(2), Tasks::new());
        let ((begin, begun), (end, ended)) = (oneshot::channel(), mpsc::channel::<()>());
        let work = Tasks::offload(move || {
            begin.send(()).expect("it is waited for");
            ended.recv().expect("it is told");
        });
        let mut working = Box::pin(places.work(ANNA, &tasks, work));
        tokio::select! {
            _ = &mut working => unreachable!("it is not told to end"),
            begun = begun => begun.expect("it begins"),
        }
        drop(working);
        let mut next = later(&places, ANNA);
        assert_eq!((&mut next).now_or_never().map(drop), None);
        assert_eq!(places.metrics.long_work.get(), 1, "a thread works on");
        end.send(()).expect("it waits");
        drop(next.await);
        assert_eq!(places.work(ANNA, &tasks, async { 7 }).await, Ok(7));
        assert_eq!(places.metrics.long_work.get(), 0);
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_place_back() {
        let (places, tasks) = (places(2), Tasks::new());
        let work = async { panic!("on purpose") };
        let working = places.work::<()>(ANNA, &tasks, work);
        let panicked = std::panic::AssertUnwindSafe(working).catch_unwind().await;
        assert!(panicked.is_err());
        assert_eq!(places.metrics.long_work.get(), 0);
    }
}
