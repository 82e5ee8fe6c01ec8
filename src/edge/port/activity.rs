//! Whether a connection is used: when it ends, and when it is cut.
//!
//! While something is to be taken (an answer is under way, the socket takes nothing, or the
//! connection is to end) its client takes it at a rate, whatever it asks meanwhile:
//!
//! ```text
//! rests ──something is to be taken──► due after its patience ──so late──► cut
//!   ▲                                  │  ▲ each byte moves that by its time
//!   └─────all of it was taken──────────┘  └─ at most to its patience from now
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How much a client takes a second at least, in bytes: a phone at the edge of its network does.
pub(in crate::edge) const TAKEN_PER_SECOND: u64 = 4 << 10;

/// How much of an answer, and around it, may be on its way beside its own bytes.
const AROUND_BYTES: u64 = 128 << 10;

/// Knows what a connection has done.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    /// How long it may ask nothing, and take nothing of what it has asked for.
    patience: Duration,
    /// How many answers it has at once at most.
    answers_max: u64,
    /// When the last head had come, in microseconds since the beginning.
    asked: AtomicU64,
    taking: Mutex<Taking>,
    changed: Notify,
}

/// What its client takes.
#[derive(Debug)]
struct Taking {
    /// Bytes that the socket has taken.
    written: u64,
    /// The answers under way, each by how many bytes may be written before all of it has to be
    /// taken, and its number.
    answers: BTreeSet<(u64, u64)>,
    numbers: u64,
    /// Whether the socket takes nothing just now.
    blocked: bool,
    /// Whether the connection is to end.
    ending: bool,
    /// When it is cut, where something is to be taken still.
    due: Instant,
}

/// An answer that is under way until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    activity: Arc<Activity>,
    answer: (u64, u64),
}

impl Activity {
    /// Begins with a connection that has done nothing yet.
    pub(crate) fn new(patience: Duration, answers_max: u32) -> Self {
        let began = Instant::now();
        let taking = Taking {
            written: 0,
            answers: BTreeSet::new(),
            numbers: 0,
            blocked: false,
            ending: false,
            due: began,
        };
        Self {
            began,
            patience,
            answers_max: answers_max.into(),
            asked: AtomicU64::new(0),
            taking: Mutex::new(taking),
            changed: Notify::new(),
        }
    }

    /// Notes that the head of a request has come.
    pub(crate) fn ask(&self) {
        let since = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.asked.store(since, Ordering::Relaxed);
    }

    /// Notes that an answer of so many bytes begins.
    ///
    /// Those of a connection share it alike: before one of them is through, as much as it has may
    /// have been written of each other one. Of whoever has taken more, it is not to be taken.
    pub(crate) fn begin(self: &Arc<Self>, bytes: u64) -> UnderWay {
        let fair = bytes.saturating_add(AROUND_BYTES).saturating_mul(self.answers_max);
        let answer = self.change(|taking| {
            taking.numbers += 1;
            let answer = (taking.written.saturating_add(fair), taking.numbers);
            taking.answers.insert(answer);
            answer
        });
        UnderWay { activity: self.clone(), answer }
    }

    /// Notes that the socket has taken so many bytes.
    pub(crate) fn wrote(&self, bytes: usize) {
        let bytes = bytes as u64;
        let mut taking = self.taking.lock();
        taking.written += bytes;
        taking.blocked = false;
        if !taking.is_owed() {
            return;
        }
        let time = Duration::from_micros(bytes.saturating_mul(1_000_000) / TAKEN_PER_SECOND);
        taking.due = (taking.due + time).min(Instant::now() + self.patience);
        if taking.one_is_left() {
            self.changed.notify_one();
        }
    }

    /// Notes that the socket takes nothing just now.
    pub(crate) fn block(&self) {
        self.change(|taking| taking.blocked = true);
    }

    /// Waits until nothing was asked for so long, or until it is told to stop: the connection is to
    /// end then.
    pub(crate) async fn idle(&self, stop: &CancellationToken) {
        loop {
            let asked = Duration::from_micros(self.asked.load(Ordering::Relaxed));
            let due = self.began + asked + self.patience;
            if Instant::now() >= due {
                break;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(due) => {}
            }
        }
        self.change(|taking| taking.ending = true);
    }

    /// Waits until what is to be taken is taken too slowly, or one answer of them not at all.
    pub(crate) async fn stalled(&self) {
        loop {
            let due = {
                let taking = self.taking.lock();
                if taking.one_is_left() {
                    return;
                }
                taking.is_owed().then_some(taking.due)
            };
            match due {
                None => self.changed.notified().await,
                Some(due) if Instant::now() >= due => return,
                Some(due) => tokio::select! {
                    () = sleep_until(due) => {}
                    () = self.changed.notified() => {}
                },
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Taking) -> T) -> T {
        let mut taking = self.taking.lock();
        let rested = !taking.is_owed();
        let changed = change(&mut taking);
        if rested && taking.is_owed() {
            taking.due = Instant::now() + self.patience;
            self.changed.notify_one();
        }
        changed
    }
}

impl Taking {
    fn is_owed(&self) -> bool {
        self.ending || self.blocked || !self.answers.is_empty()
    }

    /// Tells whether so much was written that an answer is left on purpose.
    fn one_is_left(&self) -> bool {
        self.answers.first().is_some_and(|(most, _)| self.written > *most)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.activity.taking.lock().answers.remove(&self.answer);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::{advance, sleep, timeout};

    use super::*;

    const SPAN: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);
    const PACE: usize = TAKEN_PER_SECOND as usize;
    const MIB: u64 = 1 << 20;

    fn activity(answers_max: u32) -> Arc<Activity> {
        Arc::new(Activity::new(SPAN, answers_max))
    }

    /// Waits until it is cut, and returns how long that took.
    async fn cut(activity: &Activity) -> Duration {
        let began = Instant::now();
        timeout(100 * SPAN, activity.stalled()).await.expect("it is cut");
        began.elapsed()
    }

    /// Timers are as fine as a millisecond.
    fn is_about(time: Duration, expected: Duration) {
        assert!((expected..expected + Duration::from_millis(2)).contains(&time), "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_so_long_after_its_last_request() {
        let (activity, stop) = (activity(1), CancellationToken::new());
        advance(SPAN / 2).await;
        activity.ask();
        let asked = Instant::now();
        activity.idle(&stop).await;
        is_about(asked.elapsed(), SPAN);
        activity.ask();
        assert_eq!(activity.idle(&stop).now_or_never(), None);
        stop.cancel();
        assert_eq!(activity.idle(&stop).now_or_never(), Some(()));
        // It has to end then.
        let time = cut(&activity).await;
        assert!(time <= SPAN, "{time:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_whatever_it_asks() {
        let activity = activity(100);
        assert_eq!(activity.stalled().now_or_never(), None);
        advance(5 * SPAN).await;
        assert_eq!(activity.stalled().now_or_never(), None, "it rests");
        let began = Instant::now();
        let _answer = activity.begin(MIB);
        let asking = async {
            for _ in 0..10 * SPAN.as_secs() {
                activity.ask();
                drop(activity.begin(1));
                // What is said around answers is not enough.
                activity.wrote(100);
                sleep(SECOND).await;
            }
        };
        tokio::select! {
            () = activity.stalled() => {}
            () = asking => {}
        }
        assert!((SPAN..SPAN + SECOND).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_that_takes_nothing_is_cut_without_an_answer_under_way() {
        let activity = activity(1);
        activity.block();
        advance(SPAN / 2).await;
        activity.wrote(1);
        assert_eq!(timeout(5 * SPAN, activity.stalled()).await.ok(), None);
        activity.block();
        is_about(cut(&activity).await, SPAN);
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_at_the_rate_is_never_cut() {
        let activity = activity(1);
        let began = Instant::now();
        let answer = activity.begin(MIB);
        let taking = async {
            // In lumps, each as late as it may be.
            for _ in 0..MIB / TAKEN_PER_SECOND / 8 {
                sleep(8 * SECOND).await;
                activity.wrote(8 * PACE);
            }
            drop(answer);
            sleep(5 * SPAN).await;
        };
        tokio::select! {
            () = activity.stalled() => panic!("cut after {:?}", began.elapsed()),
            () = taking => {}
        }
        // Nor does it help to have been quick.
        let _answer = activity.begin(100 * MIB);
        activity.wrote(1 << 20);
        is_about(cut(&activity).await, SPAN);
    }

    #[tokio::test(start_paused = true)]
    async fn one_answer_that_is_left_while_others_are_taken_is_noticed() {
        let activity = activity(3);
        let fair = async |count: u64| {
            for _ in 0..count {
                drop(activity.begin(MIB));
                activity.wrote(usize::try_from(MIB).unwrap());
                sleep(SECOND).await;
            }
        };
        let one = activity.begin(MIB);
        tokio::select! {
            biased;
            () = activity.stalled() => panic!("others may be quicker"),
            () = fair(3) => drop(one),
        }
        let _left = activity.begin(MIB);
        tokio::select! {
            biased;
            () = activity.stalled() => {}
            () = fair(9) => panic!("it is left"),
        }
    }
}
