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
//! What comes beyond that waits, and its turn comes by how much its tenant has had. Turns go by
//! start-time fair queueing (P. Goyal, H. M. Vin, H. Cheng, SIGCOMM 1996): what a tenant brings
//! begins, in a virtual time, where what it brought before ends, by its cost, and not before now;
//! the one that begins first has its turn first, and sets the time. A tenant whose work has ended
//! before now has had less than its share: for what such bring that is small, there is room beside
//! what the others fill.
//!
//! Beside such tenants, backlogs do not get all of the cores: between two passes is a pause as long
//! as the pass took. What is woken up by the log or by a socket finds a core then, and not threads
//! each of which the system lets go on for some milliseconds. Where nobody is to be spared there
//! are no pauses, nor where the line is empty: a pass through it takes no time.

use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_timer::Delay;
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

/// How many tenants are known; beyond that, what all of them had is forgotten.
const TENANTS_MAX: usize = 1 << 16;

/// For how long a tenant is spared that had less than its share.
const SPARED: Duration = Duration::from_secs(1);

/// The shortest pause, less than a thread needs to be woken up, and the longest: a pass that takes
/// more stood still with the whole machine.
const PAUSE: (Duration, Duration) = (Duration::from_micros(20), Duration::from_millis(5));

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
    /// What it is among those that wait.
    key: (Span, u64),
    shares: Shares,
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut state = self.shares.inner.state.lock();
        if state.waiting.remove(&self.key).is_some() {
            // What comes after it may fit.
            self.shares.go_on(&mut state);
        }
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
    /// When what each tenant brought has ended, in virtual time; those of the past are nobody's.
    ends: HashMap<u64, u64>,
    /// Until when somebody is to be spared.
    spared: Option<Instant>,
    /// What waits, by when it begins and in which order it came.
    waiting: BTreeMap<(Span, u64), Waiting>,
    came: u64,
}

/// When a piece has its turn, in virtual time; of two that begin at once the shorter is the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    begins: u64,
    ends: u64,
}

/// How much a tenant has had of late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Had {
    /// Its share at least, or nobody knows: nothing has waited.
    Share,
    /// Less than its share.
    Less,
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
        let (span, had) = state.bring(tenant, bytes.saturating_add(EACH));
        let is_first = state.waiting.keys().next().is_none_or(|(first, _)| span < *first);
        if (is_first || had == Had::Less) && self.fits(&state, bytes, had) {
            return Ok(self.grant(&mut state, span, bytes));
        }
        let (turn, coming) = oneshot::channel();
        state.came += 1;
        let key = (span, state.came);
        state.waiting.insert(key, Waiting { bytes, turn });
        Err(Coming { coming, key, shares: self.clone() })
    }

    /// Lets work in, pass by pass; once cancelled, all that waits and whatever comes.
    pub async fn passes(self, token: CancellationToken) {
        while token.run_until_cancelled(self.inner.begun.notified()).await.is_some() {
            loop {
                let began = Instant::now();
                // It is in line behind all that can run now.
                yield_now().await;
                if let (Some(pause), true) = (pause(began.elapsed()), self.spares()) {
                    Delay::new(pause).await;
                }
                if token.is_cancelled() || !self.pass() {
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

    /// Tells whether somebody waits beside tenants that had less.
    fn spares(&self) -> bool {
        let state = self.inner.state.lock();
        !state.waiting.is_empty() && state.spared.is_some_and(|until| Instant::now() < until)
    }

    fn fits(&self, state: &State, bytes: u64, had: Had) -> bool {
        let work_max = match had {
            Had::Less if bytes <= WORK_OF_CORE => 2 * self.inner.work_max,
            Had::Less | Had::Share => self.inner.work_max,
        };
        let work = state.let_in == 0 || state.let_in + self.work(bytes) <= work_max;
        let way = state.on_way == 0 || state.on_way + long(bytes) <= self.inner.on_way_max;
        work && way || state.is_over
    }

    fn grant(&self, state: &mut State, span: Span, bytes: u64) -> Share {
        let long = long(bytes);
        state.now = state.now.max(span.begins);
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
            let ((span, _), bytes) = (*first, waiting.bytes);
            if !self.fits(state, bytes, Had::Share) {
                return;
            }
            let (_, Waiting { turn, .. }) = state.waiting.pop_first().expect("there is one");
            let share = self.grant(state, span, bytes);
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

/// Returns how long the pause is after a pass.
fn pause(pass: Duration) -> Option<Duration> {
    let pause = pass.min(PAUSE.1);
    (pause >= PAUSE.0).then_some(pause)
}

/// Returns how much of a piece is on its way.
fn long(bytes: u64) -> u64 {
    bytes.saturating_add(AROUND)
}

impl State {
    /// Notes what a tenant brings, and returns when its turn is and what its tenant has had.
    fn bring(&mut self, tenant: u64, cost: u64) -> (Span, Had) {
        let now = self.now;
        if self.ends.len() == self.ends.capacity() {
            self.ends.retain(|_, ends| *ends > now);
            if self.ends.len() > TENANTS_MAX {
                self.ends.clear();
            }
        }
        let ends = self.ends.entry(tenant).or_default();
        let had = if *ends < now { Had::Less } else { Had::Share };
        let begins = (*ends).max(now);
        *ends = begins.saturating_add(cost);
        if had == Had::Less {
            self.spared = Some(Instant::now() + SPARED);
        }
        (Span { begins, ends: *ends }, had)
    }

    /// Begins anew where nothing is left: time stands for nothing then.
    fn rest(&mut self) {
        if self.on_way == 0 {
            self.now = 0;
            self.ends.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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
        drop(first);
        assert!(now(&mut backlog[0]).is_none(), "what is acknowledged makes no room in the line");
        // There is room for those that had less, as much again, and not more.
        let others: Vec<_> = (2..12).map(|tenant| shares.ask(tenant, 0)).collect();
        let (at_once, mut late): (Vec<_>, Vec<_>) = others.into_iter().partition(Result::is_ok);
        assert_eq!((at_once.len(), late.len()), (8, 2));
        assert!(shares.pass());
        let theirs: Vec<_> = backlog.iter_mut().map_while(now).collect();
        let late = late.iter_mut().all(|late| late.as_mut().is_err_and(|late| now(late).is_some()));
        assert!(late, "they were first in the next pass");
        assert_eq!(theirs.len(), 6, "in order");
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
        assert!(state.ends.is_empty() && state.waiting.is_empty());
    }

    #[test]
    fn who_goes_lets_go_on_what_comes_after_it() {
        let shares = Shares::new(2, 40 * AROUND);
        let first = shares.ask(1, 0).expect("nothing else is there");
        let large = shares.ask(1, 1 << 20).expect_err("it has to be alone");
        let mut small = shares.ask(1, 0).expect_err("it comes after it");
        drop(large);
        assert!(now(&mut small).is_some());
        drop(first);
    }

    #[test]
    fn who_has_gone_takes_nothing() {
        let shares = Shares::new(2, 1 << 20);
        let first: Vec<_> = (0..8).filter_map(|_| shares.ask(1, 0).ok()).collect();
        let gone = shares.ask(1, 0).expect_err("all is taken");
        let mut last = shares.ask(1, 0).expect_err("all is taken");
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

    #[test]
    fn tenants_that_come_without_end_have_a_bound() {
        let shares = Shares::new(1, 0);
        let first = shares.ask(0, 0).expect("nothing else is there");
        let known = || shares.inner.state.lock().ends.len();
        let mut most = 0;
        for tenant in 1..4 * TENANTS_MAX as u64 {
            drop(shares.ask(tenant, 0).expect_err("all is taken"));
            most = most.max(known());
        }
        // They are counted where the table would grow.
        assert!((TENANTS_MAX..=2 * TENANTS_MAX).contains(&most), "{most} were known");
        drop(first);
        assert_eq!(known(), 0, "nothing is left");
    }

    #[test]
    fn a_pause_is_as_long_as_the_pass_and_bounded() {
        let [short, some, long] = [10, 300, 1_000_000].map(Duration::from_micros);
        assert_eq!([short, some, long].map(pause), [None, Some(some), Some(PAUSE.1)]);
    }

    /// Has 50 pieces of work with three steps each done, while one who takes little asks now and
    /// then or not at all, and returns how often the only thread had nothing to do before the end.
    fn pauses(with_others: bool) -> usize {
        let idle = Arc::new(AtomicUsize::new(0));
        let counted = idle.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || _ = counted.fetch_add(1, Ordering::Relaxed))
            .build()
            .expect("a thread");
        runtime.block_on(async {
            let (shares, token) = (Shares::new(1, 1 << 20), CancellationToken::new());
            let (mut passes, mut line) = (JoinSet::new(), JoinSet::new());
            passes.spawn(shares.clone().passes(token.clone()));
            for number in 0..50 {
                let shares = shares.clone();
                line.spawn(async move {
                    let share = match shares.ask(1, 0) {
                        Ok(share) => share,
                        Err(coming) => coming.await,
                    };
                    if with_others {
                        drop(shares.ask(100 + number, 0));
                    }
                    for _ in 0..3 {
                        // What a step takes, longer than the shortest pause.
                        let began = Instant::now();
                        while began.elapsed() < 5 * PAUSE.0 {}
                        yield_now().await;
                    }
                    drop(share);
                });
            }
            let before = idle.load(Ordering::Relaxed);
            line.join_all().await;
            let done = idle.load(Ordering::Relaxed) - before;
            token.cancel();
            passes.join_all().await;
            done
        })
    }

    #[test]
    fn backlogs_leave_room_on_the_cores_where_others_take_little() {
        assert_eq!(pauses(false), 0, "there is nobody to be spared");
        assert!(pauses(true) > 0, "there was a pause");
    }
}
