//! Whether a connection is used: when it ends, and when it is cut.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How much of an answer a client takes at least, in the time after which it is looked at again.
const TAKEN_BYTES_MIN: u64 = 64 << 10;

/// Knows what a connection has done.
#[derive(Debug)]
pub(crate) struct Activity {
    began: Instant,
    /// When the last head had come, in microseconds since the beginning.
    asked: AtomicU64,
    /// Bytes that the socket has taken.
    written: AtomicU64,
}

impl Activity {
    /// Begins with a connection that has done nothing yet.
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), asked: AtomicU64::new(0), written: AtomicU64::new(0) }
    }

    /// Notes that the head of a request has come.
    pub(crate) fn ask(&self) {
        let since = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.asked.store(since, Ordering::Relaxed);
    }

    /// Notes that the socket has taken so many bytes.
    pub(crate) fn wrote(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Waits until nothing was asked for so long, or until it is told to stop.
    pub(crate) async fn idle(&self, timeout: Duration, stop: &CancellationToken) {
        loop {
            let asked = Duration::from_micros(self.asked.load(Ordering::Relaxed));
            let due = self.began + asked + timeout;
            if Instant::now() >= due {
                return;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep_until(due) => {}
            }
        }
    }

    /// Waits until hardly anything was taken for so long.
    pub(crate) async fn stalled(&self, timeout: Duration) {
        loop {
            let before = self.written.load(Ordering::Relaxed);
            sleep(timeout).await;
            if self.written.load(Ordering::Relaxed) - before < TAKEN_BYTES_MIN {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;

    const SPAN: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_so_long_after_its_last_request() {
        let (activity, stop) = (Activity::new(), CancellationToken::new());
        advance(SPAN / 2).await;
        activity.ask();
        let asked = Instant::now();
        activity.idle(SPAN, &stop).await;
        // Timers are as fine as a millisecond.
        let idle = asked.elapsed();
        assert!((SPAN..SPAN + Duration::from_millis(2)).contains(&idle), "{idle:?}");
        activity.ask();
        assert_eq!(activity.idle(SPAN, &stop).now_or_never(), None);
        stop.cancel();
        assert_eq!(activity.idle(SPAN, &stop).now_or_never(), Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_enough_does_not_stall() {
        let activity = Activity::new();
        let began = Instant::now();
        let taking = async {
            for _ in 0..3 {
                activity.wrote(usize::try_from(TAKEN_BYTES_MIN).unwrap());
                sleep(SPAN).await;
            }
            activity.wrote(1);
        };
        tokio::join!(biased; activity.stalled(SPAN), taking);
        assert_eq!(began.elapsed(), SPAN * 4);
    }
}
