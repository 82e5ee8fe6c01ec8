//! Fair shares of what all of a node's clients use: its cores and its log.
//!
//! ```text
//! batch ─► turn ─► decoded, ordered ─► on its way to the log ─► acknowledged
//!           │ so much in a pass                                    │
//!           └───────── Share: so much at once ─────────────────────┘
//! ```
//! What is ready to run on a core stands in one line, and each step of a batch stands in it anew. A
//! pass is once through that line; only so much work is let into it in one, so that the line is as
//! short beside a thousand busy clients as beside ten. And only so much is on its way to the log.
//!
//! What comes beyond that waits, and its turn comes by how much its tenant has had: who takes
//! little waits for the pass that is under way, and for no backlog of others. Turns go by
//! self-clocked fair queueing (S. J. Golestani, INFOCOM 1994): what a tenant brings is finished, in
//! a virtual time, after what it brought before, by its cost; the one that is finished first has
//! its turn first, and sets the time.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

/// What each piece of work costs beside its bytes, in bytes: a keystroke takes about as much as
/// this many more bytes of text.
const EACH: u64 = 1 << 10;

/// What each piece takes on its way beside its bytes.
const AROUND: u64 = 128;

/// How much work is let in for each core in one pass, by cost.
const WORK_OF_CORE: u64 = 4 * EACH;

/// Gives turns; cheap to clone.
#[derive(Debug, Clone)]
pub struct Shares {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    work_max: u64,
    on_way_max: u64,
    state: Mutex<State>,
    /// Tells that a pass has to be waited for.
    begun: Notify,
}

/// What is on its way, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    /// How much it is on its way, in bytes.
    long: u64,
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
        self.shares.inner.state.lock().waiting.remove(&self.key);
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
    /// The work that was let in since the pass began.
    let_in: u64,
    /// Whether the end of a pass is waited for.
    passing: bool,
    /// Whether nothing is held back any more.
    is_over: bool,
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
    /// Lets so much work in at once as so many cores can do in a short time, and lets so much be on
    /// its way, in bytes and 128 for each piece. Nothing more is let in until [`Self::passes`]
    /// runs.
    pub fn new(cores: usize, on_way_max: u64) -> Self {
        let work_max = WORK_OF_CORE.saturating_mul(cores.max(1) as u64);
        let (state, begun) = Default::default();
        Self { inner: Arc::new(Inner { work_max, on_way_max, state, begun }) }
    }

    /// Asks for the turn of a piece of work of so many bytes, which a tenant brings: it is now, or
    /// will come.
    pub fn ask(&self, tenant: u64, bytes: u64) -> Result<Share, Coming> {
        let mut state = self.inner.state.lock();
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

    /// Lets work in, pass by pass; once cancelled, all that waits and whatever comes.
    pub async fn passes(self, token: CancellationToken) {
        while token.run_until_cancelled(self.inner.begun.notified()).await.is_some() {
            loop {
                // It is in line behind all that can run now.
                yield_now().await;
                if !self.pass() {
                    break;
                }
            }
        }
        let mut state = self.inner.state.lock();
        state.is_over = true;
        self.go_on(&mut state);
    }

    /// Ends a pass and begins another. Returns whether anything was let in, so that the end of this
    /// one has to be waited for.
    pub fn pass(&self) -> bool {
        let mut state = self.inner.state.lock();
        state.let_in = 0;
        self.go_on(&mut state);
        state.passing = state.let_in > 0;
        state.passing
    }

    fn fits(&self, state: &State, bytes: u64) -> bool {
        let work = state.let_in == 0 || state.let_in + self.work(bytes) <= self.inner.work_max;
        let way = state.on_way == 0 || state.on_way + long(bytes) <= self.inner.on_way_max;
        work && way || state.is_over
    }

    fn grant(&self, state: &mut State, finished: u64, bytes: u64) -> Share {
        let long = long(bytes);
        state.now = state.now.max(finished);
        state.let_in += self.work(bytes);
        state.on_way += long;
        if !std::mem::replace(&mut state.passing, true) {
            self.inner.begun.notify_one();
        }
        Share { shares: self.clone(), long }
    }

    /// Returns how much work a piece is, and not more than what leaves some for small ones.
    fn work(&self, bytes: u64) -> u64 {
        bytes.saturating_add(EACH).min(3 * self.inner.work_max / 4)
    }

    /// Gives the turns that there is room for.
    fn go_on(&self, state: &mut MutexGuard<'_, State>) {
        loop {
            let Some((first, waiting)) = state.waiting.first_key_value() else {
                return state.rest();
            };
            let ((finished, _), bytes) = (*first, waiting.bytes);
            if !self.fits(state, bytes) {
                return;
            }
            let (_, Waiting { turn, .. }) = state.waiting.pop_first().expect("there is one");
            let share = self.grant(state, finished, bytes);
            // Who has gone just now gives it back by dropping it.
            MutexGuard::unlocked(state, || drop(turn.send(share)));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.shares.inner.state.lock();
        state.on_way -= self.long;
        self.shares.go_on(&mut state);
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
    use tokio::task::JoinSet;

    use super::*;

    fn now(coming: &mut Coming) -> Option<Share> {
        coming.now_or_never()
    }

    #[test]
    fn who_takes_little_waits_for_no_backlog_of_others() {
        let shares = Shares::new(2, 1 << 20);
        // One tenant takes all that a pass lets in, and a hundred times as much waits.
        let first: Vec<_> = (0..8).filter_map(|_| shares.ask(1, 0).ok()).collect();
        assert_eq!(first.len(), 8);
        let mut backlog: Vec<_> = (0..3_200).filter_map(|_| shares.ask(1, 0).err()).collect();
        assert_eq!(backlog.len(), 3_200);
        let mut other = shares.ask(2, 0).expect_err("all is taken");
        drop(first);
        assert!(now(&mut other).is_none(), "what is acknowledged makes no room in the line");
        assert!(shares.pass());
        let theirs: Vec<_> = backlog.iter_mut().map_while(now).collect();
        assert!(now(&mut other).is_some(), "it was in the first pass");
        assert_eq!(theirs.len(), 7, "in order");
    }

    #[test]
    fn small_work_goes_on_beside_large_and_large_is_done_all_the_same() {
        let shares = Shares::new(2, 1 << 20);
        let large = shares.ask(1, 250 << 10).expect("nothing else is there");
        let mut second = shares.ask(2, 250 << 10).expect_err("one large one in a pass");
        let small: Vec<_> = (10..12).filter_map(|tenant| shares.ask(tenant, 0).ok()).collect();
        assert_eq!(small.len(), 2, "they would be finished first");
        assert!(shares.pass() && now(&mut second).is_some());
        drop((small, large));
    }

    #[test]
    fn what_is_on_its_way_has_a_bound() {
        let shares = Shares::new(2, 40 * AROUND);
        let mut all = Vec::new();
        for number in 0..40 {
            all.push(shares.ask(1, 0).expect("there is room"));
            assert!(number % 8 > 0 || !shares.pass(), "nothing waits");
        }
        let mut more = shares.ask(2, 0).expect_err("there is none");
        assert!(!shares.pass() && now(&mut more).is_none(), "the next pass is not waited for");
        drop(all.pop());
        assert!(now(&mut more).is_some(), "what was acknowledged made room");
        all.clear();
        assert!(!shares.pass());
        let over = shares.ask(3, 1 << 20);
        assert!(over.is_ok(), "one that is larger than the bound has its turn by itself");
        drop(over);
        let state = shares.inner.state.lock();
        assert_eq!((state.on_way, state.now), (0, 0));
        assert!(state.finished.is_empty() && state.waiting.is_empty());
    }

    #[test]
    fn who_has_gone_takes_nothing() {
        let shares = Shares::new(2, 1 << 20);
        let first: Vec<_> = (0..8).filter_map(|_| shares.ask(1, 0).ok()).collect();
        let gone = shares.ask(2, 0).expect_err("all is taken");
        let mut last = shares.ask(3, 0).expect_err("all is taken");
        drop(gone);
        assert_eq!(shares.inner.state.lock().waiting.len(), 1);
        drop(first);
        assert!(shares.pass() && now(&mut last).is_some());
        assert_eq!(shares.inner.state.lock().on_way, 0);
    }

    /// A hundred come at once, each with some steps in the line: a few are in it at a time.
    #[tokio::test]
    async fn a_pass_is_once_through_the_line() {
        let (shares, token) = (Shares::new(1, 1 << 20), CancellationToken::new());
        let (mut passes, mut line) = (JoinSet::new(), JoinSet::new());
        passes.spawn(shares.clone().passes(token.clone()));
        // How many are in the line now, and were at most.
        let counted = Arc::new(Mutex::new((0_usize, 0_usize)));
        for tenant in 0..100 {
            let (shares, counted) = (shares.clone(), counted.clone());
            line.spawn(async move {
                let share = match shares.ask(tenant, 0) {
                    Ok(share) => share,
                    Err(coming) => coming.await,
                };
                let (in_line, most) = *counted.lock();
                *counted.lock() = (in_line + 1, most.max(in_line + 1));
                for _ in 0..3 {
                    yield_now().await;
                }
                counted.lock().0 -= 1;
                drop(share);
            });
        }
        line.join_all().await;
        let (_, most) = *counted.lock();
        assert!((4..=20).contains(&most), "{most} were in the line at once");
        // Nobody is held back when the node stops, and the passes end.
        token.cancel();
        passes.join_all().await;
        let all: Vec<_> = (0..100).map_while(|tenant| shares.ask(tenant, 0).ok()).collect();
        assert_eq!(all.len(), 100);
    }
}
