//! A socket that counts what it has taken, so that a slow one is told from one that stands still,
//! and that reads little of a client before it has said who it is, and once it is told to go.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
