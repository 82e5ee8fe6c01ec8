//! A socket that counts what it has taken, so that a slow one is told from one that stands still,
//! and that reads little of a client before it has said who it is, and once it is told to go.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::timeout;

use crate::edge::port::activity::TAKEN_PER_SECOND;

/// Counts the bytes of a socket.
#[derive(Debug)]
pub(crate) struct Traffic {
    written: AtomicU64,
    read: AtomicU64,
    /// How many may be read.
    readable: AtomicU64,
}

/// A socket whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    socket: S,
    traffic: Arc<Traffic>,
}

impl Traffic {
    /// Lets so many bytes be read at first.
    pub(crate) fn new(first: u64) -> Self {
        Self { written: 0.into(), read: 0.into(), readable: first.into() }
    }

    /// Returns how many bytes were written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lets as much be read as there is.
    pub(crate) fn allow_all(&self) {
        self.readable.store(u64::MAX, Ordering::Relaxed);
    }

    /// Tells whether it does.
    pub(crate) fn allows_all(&self) -> bool {
        self.readable.load(Ordering::Relaxed) == u64::MAX
    }

    /// Lets so many bytes be read from now on, and none after them.
    pub(crate) fn allow(&self, bytes: u64) {
        let readable = self.read.load(Ordering::Relaxed).saturating_add(bytes);
        self.readable.store(readable, Ordering::Relaxed);
    }

    /// Waits until something is written; for nothing more where the socket takes less of it in a
    /// grace than at the rate that a client takes at least.
    pub(crate) async fn in_time<T>(
        &self,
        grace: Duration,
        writing: impl Future<Output = T>,
    ) -> Option<T> {
        let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let least = (millis.saturating_mul(TAKEN_PER_SECOND) / 1_000).max(1);
        tokio::pin!(writing);
        loop {
            let before = self.written();
            match timeout(grace, &mut writing).await {
                Ok(written) => return Some(written),
                Err(_) if self.written() - before < least => return None,
                Err(_) => {}
            }
        }
    }

    /// Returns how many bytes may be read.
    fn left(&self) -> u64 {
        let read = self.read.load(Ordering::Relaxed);
        self.readable.load(Ordering::Relaxed).saturating_sub(read)
    }
}

impl<S> Metered<S> {
    /// Wraps a socket; the counts are shared with whoever asks for them.
    pub(crate) fn new(socket: S, traffic: Arc<Traffic>) -> Self {
        Self { socket, traffic }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = usize::try_from(self.traffic.left()).unwrap_or(usize::MAX);
        if left == 0 {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let most = left.min(buffer.remaining());
        let mut piece = ReadBuf::new(buffer.initialize_unfilled_to(most));
        ready!(Pin::new(&mut self.socket).poll_read(cx, &mut piece))?;
        let read = piece.filled().len();
        buffer.advance(read);
        self.traffic.read.fetch_add(read as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.socket).poll_write(cx, bytes))?;
        self.traffic.written.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    /// Writes for 10 graces, so many bytes a second.
    async fn written(each_second: u64) -> (Option<()>, Duration) {
        let (traffic, began) = (Traffic::new(0), Instant::now());
        let writing = async {
            for _ in 0..10 * GRACE.as_secs() {
                traffic.written.fetch_add(each_second, Ordering::Relaxed);
                sleep(Duration::from_secs(1)).await;
            }
        };
        (traffic.in_time(GRACE, writing).await, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_socket_takes_so_much_in_each_grace() {
        assert_eq!(written(TAKEN_PER_SECOND).await, (Some(()), 10 * GRACE));
        for slow in [0, 1, TAKEN_PER_SECOND - 1] {
            let (done, time) = written(slow).await;
            // What is written in the second that is both in one grace and the next counts once.
            assert!(done.is_none() && time <= 2 * GRACE, "{slow}: {time:?}");
        }
    }
}
