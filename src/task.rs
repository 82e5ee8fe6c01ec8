//! Named tasks with an owner: spawned here, cancelled by a token, awaited at shutdown.

use std::future::Future;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, LazyLock, OnceLock};
#[cfg(any(test, feature = "testing"))]
use std::task::{Context, Poll, Waker};
use std::thread::{self, available_parallelism};

use futures_util::FutureExt;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Returns how many cores this process may use, one at least.
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// How much may be at length at once, for each core.
const AT_LENGTH_MAX: usize = 4;

/// What is left of that: what a process has of threads is all one, whoever asks.
static AT_LENGTH: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(AT_LENGTH_MAX * cores()));

/// Work on fewer bytes is done in a moment.
const AT_LENGTH_BYTES: usize = 64 << 10;

/// Runs work while another thread takes over the other tasks of this one, if any of what may be at
/// length is left.
fn at_length_of<T>(left: &Semaphore, work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => match left.try_acquire() {
            Ok(_permit) => handed_over(|work| tokio::task::block_in_place(work), work),
            Err(_) => work(),
        },
        // There are no other threads, as in a simulation, or no other tasks.
        _ => work(),
    }
}

/// Runs work where another thread takes over, as `hand_over` has it; where that panics, because the
/// system gives no thread, without.
fn handed_over<T, W: FnOnce() -> T>(
    hand_over: impl FnOnce(&mut dyn FnMut() -> T) -> T,
    work: W,
) -> T {
    let mut work = Some(work);
    let mut begin = || work.take().expect("it runs once")();
    let done = catch_unwind(AssertUnwindSafe(|| hand_over(&mut begin)));
    match (done, work) {
        (Ok(value), _) => value,
        (Err(_), Some(work)) => work(),
        (Err(panic), None) => resume_unwind(panic),
    }
}

/// Ends the process where it cannot go on without risking what it has promised.
#[derive(Clone, Debug, Default)]
pub struct Fatal {
    token: CancellationToken,
    reason: Arc<OnceLock<String>>,
}

impl Fatal {
    /// Tells that the process has to end, and why; the first reason is kept.
    pub fn stop_with(&self, reason: &str) {
        self.reason.get_or_init(|| reason.to_owned());
        self.token.cancel();
    }

    /// Waits until the process has to end, and tells why.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn wait(&self) -> &str {
        self.token.cancelled().await;
        self.reason.get().map_or("no reason was given", String::as_str)
    }
}

/// The work broke an invariant of ours and panicked; what it had in hand is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{work} failed ({reason}): report it with the log")]
pub struct Panicked {
    work: &'static str,
    reason: String,
}

/// Does work whose panic becomes an answer, so that whoever waits for it is told.
///
/// # Errors
/// [`Panicked`].
pub async fn caught<T>(work: &'static str, future: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let panicked = Panicked { work, reason: text.unwrap_or("no reason given").to_owned() };
        tracing::error!(error = %panicked, "a panic was caught");
        panicked
    })
}

/// Keeps tasks from making progress while their timers run on, as SIGSTOP does to a process.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone, Debug, Default)]
pub struct Ice {
    inner: Arc<parking_lot::Mutex<(bool, Vec<Waker>)>>,
}

#[cfg(any(test, feature = "testing"))]
impl Ice {
    /// Stops everything.
    pub fn freeze(&self) {
        self.inner.lock().0 = true;
    }

    /// Lets everything go on.
    pub fn thaw(&self) {
        let mut inner = self.inner.lock();
        inner.0 = false;
        let waiting = std::mem::take(&mut inner.1);
        drop(inner);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until it is thawed.
    pub async fn thawed(&self) {
        std::future::poll_fn(|context| self.poll(context)).await;
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        let (frozen, waiting) = &mut *self.inner.lock();
        if *frozen {
            waiting.push(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn around<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let ice = self.clone();
        async move {
            let mut future = std::pin::pin!(future);
            std::future::poll_fn(|context| match ice.poll(context) {
                Poll::Ready(()) => future.as_mut().poll(context),
                Poll::Pending => Poll::Pending,
            })
            .await
        }
    }
}

/// Owns a group of tasks: they see one shutdown token and are awaited together.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    token: CancellationToken,
    #[cfg(any(test, feature = "testing"))]
    ice: Ice,
}

impl Tasks {
    /// Returns an empty group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a group that is told to stop when this one is, and can be stopped before it.
    pub fn child(&self) -> Self {
        Self {
            tracker: TaskTracker::new(),
            token: self.token.child_token(),
            #[cfg(any(test, feature = "testing"))]
            ice: self.ice.clone(),
        }
    }

    /// Returns the token that is cancelled when the group is to stop.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Returns what stops and thaws all tasks of the group, as SIGSTOP and SIGCONT do.
    #[cfg(any(test, feature = "testing"))]
    pub fn ice(&self) -> &Ice {
        &self.ice
    }

    /// Starts a task of the group under a name that its log lines carry.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let span = tracing::debug_span!("task", name);
        #[cfg(any(test, feature = "testing"))]
        let future = self.ice.around(future);
        tokio::spawn(self.tracker.track_future(future.instrument(span)))
    }

    /// Starts a task without which the process cannot keep its promises: its panic ends it.
    pub fn spawn_vital<F>(&self, name: &'static str, fatal: Fatal, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawn(name, async move {
            if let Err(panicked) = caught(name, future).await {
                fatal.stop_with(&panicked.to_string());
            }
        });
    }

    /// Runs blocking or long work off the async threads and returns what it gives. On a runtime of
    /// one thread it runs right here, so that a simulation is the same every time.
    ///
    /// # Panics
    /// If the work panics, the panic goes on here.
    pub async fn offload<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return work();
        }
        Self::joined(tokio::task::spawn_blocking(work)).await
    }

    /// Runs work that only computes, and for long, right here, while another thread takes over the
    /// other tasks of this one; not where so many are at length already that one more would only
    /// take their time.
    ///
    /// # Panics
    /// If the work panics.
    pub fn at_length<T>(work: impl FnOnce() -> T) -> T {
        at_length_of(&AT_LENGTH, work)
    }

    /// Runs work on about so many bytes right here, [at length](Self::at_length) if they are many.
    ///
    /// # Panics
    /// If the work panics.
    pub fn on_bytes<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes > AT_LENGTH_BYTES { Self::at_length(work) } else { work() }
    }

    /// Starts a task of the group that may compute for long between two waits.
    pub fn spawn_long<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.spawn(name, async move {
            let mut future = std::pin::pin!(future);
            std::future::poll_fn(|context| Self::at_length(|| future.as_mut().poll(context))).await
        })
    }

    /// Waits until a task has ended, and returns what it gives; for ever where it was cancelled,
    /// as it is at the end of the process.
    ///
    /// # Panics
    /// If the task panicked, the panic goes on here.
    pub async fn joined<T>(task: JoinHandle<T>) -> T {
        match task.await {
            Ok(value) => value,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Runs work on a thread of its own, where it waits for no other work, as what ends a right
    /// must not; it is for the caller to have little of it at once. On a runtime of one thread it
    /// runs right here.
    ///
    /// # Panics
    /// If the work panics, the panic goes on here; also where the system gives no thread.
    pub async fn apart<T: Send + 'static>(
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return work();
        }
        let (tell, told) = oneshot::channel();
        // Where nobody waits any more, nobody is told.
        let work = move || drop(tell.send(catch_unwind(AssertUnwindSafe(work))));
        let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
        thread.expect("the system gives a thread");
        match told.await.expect("it tells whatever happens") {
            Ok(value) => value,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Tells the group to stop and waits until every task has ended.
    pub async fn stop(&self) {
        self.token.cancel();
        self.tracker.close();
        self.tracker.wait().await;
    }
}

/// Runs a future while all threads for blocking work are taken.
///
/// # Panics
/// If it does not end.
#[cfg(test)]
pub(crate) fn without_free_threads<T>(future: impl Future<Output = T>) -> T {
    use std::time::Duration;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(1).enable_all().build().unwrap();
    let (end, ended) = std::sync::mpsc::channel::<()>();
    // It ends when its other half is dropped.
    runtime.spawn_blocking(move || ended.recv().is_ok());
    let within = async { tokio::time::timeout(Duration::from_secs(30), future).await };
    let done = runtime.block_on(within);
    drop(end);
    done.expect("it waits for no thread")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    #[test]
    fn work_apart_waits_for_no_other_and_its_panic_goes_on() {
        assert_eq!(without_free_threads(Tasks::apart("seven", || 7)), 7);
        let fails = || without_free_threads(Tasks::apart("fails", || panic!("on purpose")));
        let panic = catch_unwind(fails).expect_err("it goes on");
        assert_eq!(panic.downcast_ref(), Some(&"on purpose"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_at_length_holds_up_no_other_task() {
        let tasks = Tasks::new();
        // Each ends once the other tasks have had their turn: there is one thread for all.
        let pairs = (0..3).map(|_| {
            let (tell, told) = channel();
            let waits = async move { Tasks::at_length(|| told.recv_timeout(WITHIN)) };
            let long = tasks.spawn("long", waits);
            (long, tasks.spawn("short", async move { tell.send(7) }))
        });
        for (long, short) in pairs.collect::<Vec<_>>() {
            assert_eq!((Tasks::joined(long).await, Tasks::joined(short).await), (Ok(7), Ok(())));
        }
        let (tell, told) = channel();
        let long = tasks.spawn_long("long", async move { told.recv_timeout(WITHIN) });
        tasks.spawn("short", async move { tell.send(8) });
        assert_eq!(Tasks::joined(long).await, Ok(8));
        let fails = tasks.spawn_long("fails", async { panic!("on purpose") });
        assert!(fails.await.expect_err("it fails").is_panic());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_is_too_much_at_length_keeps_its_thread() {
        let left = Arc::new(Semaphore::new(1));
        let tasks = Tasks::new();
        // Tells whether another task had its turn meanwhile.
        let others_go_on = async |within| {
            let ((tell, told), (begin, begun)) = (channel(), channel());
            let left = Arc::clone(&left);
            let waits = move || {
                begin.send(()).expect("it is waited for");
                told.recv_timeout(within).is_ok()
            };
            let long = tasks.spawn("long", async move { at_length_of(&left, waits) });
            begun.recv_timeout(WITHIN).expect("it begins");
            drop(tasks.spawn("short", async move { tell.send(()) }));
            Tasks::joined(long).await
        };
        assert!(others_go_on(WITHIN).await);
        let one = left.try_acquire().expect("it was given back");
        assert!(!others_go_on(Duration::from_millis(50)).await);
        drop(one);
        assert!(others_go_on(WITHIN).await);
        assert_eq!(left.available_permits(), 1);
    }

    #[test]
    fn what_no_thread_takes_over_for_is_done_once_all_the_same() {
        assert_eq!(handed_over(|_| panic!("no thread"), || 7), 7);
        let mut begun = 0;
        let fails = AssertUnwindSafe(|| {
            handed_over(
                |work| work(),
                || {
                    begun += 1;
                    panic!("on purpose")
                },
            )
        });
        let panic = catch_unwind(fails).expect_err("it goes on");
        assert_eq!((panic.downcast_ref(), begun), (Some(&"on purpose"), 1));
    }
}
