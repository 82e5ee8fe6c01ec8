//! Fair shares of what all of a node's clients use: its cores and its log.
//!
//! ```text
//! batch ─► turn ─► decoded, ordered ─► on its way to the log ─► acknowledged
//!           │      └── Work ────────┘                                 │
//!           └───────── Share ──────────────────────────────────────────┘
//! ```
//! Only so much is worked on at once, and so much on its way; what comes beyond that waits, and
//! its turn comes by how much its tenant has had: who takes little waits for what is worked on just
//! then, and for no backlog of others. Turns go by self-clocked fair queueing (S. J. Golestani,
//! INFOCOM 1994): what a tenant brings is finished, in a virtual time, after what it brought
//! before, by its cost; the one that is finished first has its turn first, and sets the time.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What each piece of work costs beside its bytes, in bytes: a keystroke takes about as much as
/// this many more bytes of text.
const EACH: u64 = 1 << 10;

/// What each piece takes on its way beside its bytes.
const AROUND: u64 = 128;

/// How much is worked on at once for each core, by cost: one is decoded and ordered, some are on
/// their way between tasks.
const WORK_OF_CORE: u64 = 6 * EACH;

/// Gives turns; cheap to clone.
#[derive(Debug, Clone)]
pub struct Shares {
    work_max: u64,
    on_way_max: u64,
    state: Arc<Mutex<State>>,
}

/// What is on its way, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    /// How much it is on its way, in bytes.
    long: u64,
    working: Arc<Working>,
}

/// What is worked on, until it is dropped, or its share is.
#[derive(Debug)]
pub struct Work(Arc<Working>);

#[derive(Debug)]
struct Working {
    shares: Shares,
    work: u64,
    is_over: AtomicBool,
}

/// A turn that comes. One that is dropped takes nothing; its tenant has brought the piece all the
/// same.
#[derive(Debug)]
pub struct Coming {
    coming: oneshot::Receiver<Share>,
    /// Its place among those that wait.
    key: (u64, u64),
    shares: Shares,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.shares.state.lock().waiting.remove(&self.key);
    }
}

impl Future for Coming {
    type Output = Share;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Share> {
        Pin::new(&mut self.coming).poll(cx).map(|share| share.expect("who gives turns is there"))
    }
}

#[derive(Debug, Default)]
struct State {
    working: u64,
    on_way: u64,
    /// The virtual time.
    now: u64,
    /// When what each tenant brought is finished, in virtual time; those of the past are nobody's.
    finished: HashMap<u64, u64>,
    /// What waits, by when it is finished and in which order it came.
    waiting: BTreeMap<(u64, u64), Waiting>,
    came: u64,
}

#[derive(Debug)]
struct Waiting {
    bytes: u64,
    turn: oneshot::Sender<Share>,
}

impl Shares {
    /// Lets so much be worked on as so many cores can do, and so much be on its way at once, in
    /// bytes and 128 for each piece.
    pub fn new(cores: usize, on_way_max: u64) -> Self {
        let work_max = WORK_OF_CORE.saturating_mul(cores.max(1) as u64);
        Self { work_max, on_way_max, state: Arc::default() }
    }

    /// Asks for the turn of a piece of work of so many bytes, which a tenant brings: it is now, or
    /// will come.
    pub fn ask(&self, tenant: u64, bytes: u64) -> Result<Share, Coming> {
        let mut state = self.state.lock();
        let finished = state.bring(tenant, bytes.saturating_add(EACH));
        let is_first = state.waiting.keys().next().is_none_or(|(first, _)| finished < *first);
        if is_first && self.fits(&state, bytes) {
            return Ok(self.grant(&mut state, finished, bytes));
        }
        let (turn, coming) = oneshot::channel();
        state.came += 1;
        let key = (finished, state.came);
        state.waiting.insert(key, Waiting { bytes, turn });
        Err(Coming { coming, key, shares: self.clone() })
    }

    fn fits(&self, state: &State, bytes: u64) -> bool {
        let work = state.working == 0 || state.working + self.work(bytes) <= self.work_max;
        let way = state.on_way == 0 || state.on_way + long(bytes) <= self.on_way_max;
        work && way
    }

    fn grant(&self, state: &mut State, finished: u64, bytes: u64) -> Share {
        let (work, long) = (self.work(bytes), long(bytes));
        state.now = state.now.max(finished);
        state.working += work;
        state.on_way += long;
        let is_over = AtomicBool::new(false);
        let working = Working { shares: self.clone(), work, is_over };
        Share { shares: self.clone(), long, working: Arc::new(working) }
    }

    /// Returns how much work a piece is, and not more than what leaves some for small ones.
    fn work(&self, bytes: u64) -> u64 {
        bytes.saturating_add(EACH).min(3 * self.work_max / 4)
    }

    /// Gives the turns that there is room for.
    fn go_on(&self) {
        loop {
            let (turn, share) = {
                let mut state = self.state.lock();
                let Some((first, waiting)) = state.waiting.first_key_value() else {
                    return state.rest();
                };
                let ((finished, _), bytes) = (*first, waiting.bytes);
                if !self.fits(&state, bytes) {
                    return;
                }
                let (_, Waiting { turn, .. }) = state.waiting.pop_first().expect("there is one");
                (turn, self.grant(&mut state, finished, bytes))
            };
            // Who has gone just now gives it back by dropping it.
            let _ = turn.send(share);
        }
    }
}

impl Share {
    /// Returns what ends the work on it once it is dropped, before all of it is over.
    pub fn work(&self) -> Work {
        Work(self.working.clone())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.state.lock().on_way -= self.long;
        self.working.end();
        self.shares.go_on();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Working {
    fn end(&self) {
        if !self.is_over.swap(true, Ordering::Relaxed) {
            self.shares.state.lock().working -= self.work;
            self.shares.go_on();
        }
    }
}

/// Returns how much of a piece is on its way.
fn long(bytes: u64) -> u64 {
    bytes.saturating_add(AROUND)
}

impl State {
    /// Notes what a tenant brings, and returns when it is finished.
    fn bring(&mut self, tenant: u64, cost: u64) -> u64 {
        let now = self.now;
        if self.finished.len() == self.finished.capacity() {
            self.finished.retain(|_, finished| *finished > now);
        }
        let finished = self.finished.entry(tenant).or_default();
        *finished = (*finished).max(now).saturating_add(cost);
        *finished
    }

    /// Begins anew where nothing is left: time stands for nothing then.
    fn rest(&mut self) {
        if self.on_way == 0 {
            self.now = 0;
            self.finished.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn now(coming: &mut Coming) -> Option<Share> {
        coming.now_or_never()
    }

    #[test]
    fn who_takes_little_waits_for_no_backlog_of_others() {
        let shares = Shares::new(2, 1 << 20);
        // One tenant takes all that there is, and a hundred times as much waits.
        let mut worked_on: Vec<_> = (0..12).filter_map(|_| shares.ask(1, 0).ok()).collect();
        assert_eq!(worked_on.len(), 12);
        let mut backlog: Vec<_> = (0..3_200).filter_map(|_| shares.ask(1, 0).err()).collect();
        assert_eq!(backlog.len(), 3_200);
        let mut other = shares.ask(2, 0).expect_err("all is taken");
        drop(worked_on.split_off(10));
        let turns = (now(&mut backlog[0]), now(&mut other));
        assert!(turns.0.is_some() && turns.1.is_some(), "one of the backlog goes before it");
        assert!(now(&mut backlog[1]).is_none());
        drop(turns);
        assert!(backlog[1..].iter_mut().take(2).all(|one| now(one).is_some()), "in order");
    }

    #[test]
    fn small_work_goes_on_beside_large_and_large_is_done_all_the_same() {
        let shares = Shares::new(2, 1 << 20);
        let large = shares.ask(1, 250 << 10).expect("nothing else is there");
        let mut second = shares.ask(2, 250 << 10).expect_err("one large one at a time");
        let small: Vec<_> = (10..13).filter_map(|tenant| shares.ask(tenant, 0).ok()).collect();
        assert_eq!(small.len(), 3, "they would be finished first");
        drop(small);
        drop(large);
        assert!(now(&mut second).is_some());
    }

    #[test]
    fn what_is_on_its_way_has_a_bound_and_work_that_is_done_makes_room_for_work() {
        let shares = Shares::new(2, 40 * AROUND);
        let mut all = Vec::new();
        for _ in 0..40 {
            let share = shares.ask(1, 0).expect("there is room");
            drop(share.work());
            all.push(share);
        }
        assert!(shares.ask(2, 0).is_err());
        all.clear();
        let over = shares.ask(3, 1 << 20);
        assert!(over.is_ok(), "one that is larger than the bound has its turn by itself");
        drop(over);
        let state = shares.state.lock();
        assert_eq!((state.on_way, state.working, state.now), (0, 0, 0));
        assert!(state.finished.is_empty() && state.waiting.is_empty());
    }

    #[test]
    fn who_has_gone_takes_nothing() {
        let shares = Shares::new(2, 1 << 20);
        let first: Vec<_> = (0..12).filter_map(|_| shares.ask(1, 0).ok()).collect();
        let gone = shares.ask(2, 0).expect_err("all is taken");
        let mut last = shares.ask(3, 0).expect_err("all is taken");
        drop(gone);
        assert_eq!(shares.state.lock().waiting.len(), 1);
        drop(first);
        assert!(now(&mut last).is_some());
        assert_eq!(shares.state.lock().on_way, 0);
    }
}
