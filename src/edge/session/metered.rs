//! A socket that counts what it has taken, so that a slow one is told from one that stands still,
//! and that reads little before its client has said who it is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read before all of it may be: a `hello` is a few hundred bytes.
const READ_FIRST_MAX: u64 = 16 << 10;

/// Counts the bytes of a socket.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    written: AtomicU64,
    /// Whether as much may be read as there is.
    all: AtomicBool,
}

/// A socket whose bytes are counted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    socket: S,
    traffic: Arc<Traffic>,
    read: u64,
}

impl Traffic {
    /// Returns how many bytes were written.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Lets as much be read as there is.
    pub(crate) fn allow_all(&self) {
        self.all.store(true, Ordering::Relaxed);
    }
}

impl<S> Metered<S> {
    /// Wraps a socket; the counts are shared with whoever asks for them.
    pub(crate) fn new(socket: S, traffic: Arc<Traffic>) -> Self {
        Self { socket, traffic, read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read > READ_FIRST_MAX && !self.traffic.all.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.read += (buffer.filled().len() - before) as u64;
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
