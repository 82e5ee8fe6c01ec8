//! What waits to be sent over one link: whole messages, bounded in bytes.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::relay::Metrics;

/// How much is gathered before it is written.
const WRITE_BYTES: usize = 256 << 10;

/// One message; its second part may be shared with other links.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) head: Bytes,
    pub(crate) body: Bytes,
}

impl From<Bytes> for Frame {
    fn from(head: Bytes) -> Self {
        Self { head, body: Bytes::new() }
    }
}

impl Frame {
    pub(crate) fn bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

/// There is no room in the queue.
#[derive(Debug)]
pub(crate) struct Full;

/// Holds the messages of one link until its socket takes them.
pub(crate) struct Outgoing {
    bytes_max: usize,
    queue: Mutex<Queue>,
    filled: Notify,
    room: Notify,
    /// Is cancelled when the link ends.
    pub(crate) end: CancellationToken,
}

#[derive(Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
}

impl Outgoing {
    pub(crate) fn new(bytes_max: usize, end: CancellationToken) -> Self {
        let (queue, filled, room) = (Mutex::default(), Notify::new(), Notify::new());
        Self { bytes_max, queue, filled, room, end }
    }

    /// Puts a message behind the others; one that is larger than the bound by itself passes where
    /// nothing else waits.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), Full> {
        let mut queue = self.queue.lock();
        if queue.bytes > 0 && queue.bytes + frame.bytes() > self.bytes_max {
            return Err(Full);
        }
        queue.push(frame);
        drop(queue);
        self.filled.notify_one();
        Ok(())
    }

    /// Puts a small message behind the others, of a kind that the peer's own messages bound.
    pub(crate) fn force(&self, message: Bytes) {
        self.queue.lock().push(message.into());
        self.filled.notify_one();
    }

    /// Puts a message behind the others once there is room.
    ///
    /// # Cancel safety
    /// A call that is dropped has sent nothing.
    pub(crate) async fn send(&self, frame: &Frame, within: Duration) -> Result<(), Full> {
        let sending = self.when_room(|| self.push(frame.clone()));
        timeout(within, sending).await.map_err(|_| Full)
    }

    /// Tries something each time that there is more room, until it succeeds.
    pub(crate) async fn when_room<T>(&self, attempt: impl Fn() -> Result<T, Full>) -> T {
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            if let Ok(done) = attempt() {
                return done;
            }
            room.await;
        }
    }

    /// Writes what comes until the link ends or the socket fails.
    pub(crate) async fn write_to(&self, mut socket: impl AsyncWrite + Unpin, metrics: &Metrics) {
        let mut buffer = BytesMut::new();
        let writing = async {
            loop {
                self.filled.notified().await;
                while self.take(&mut buffer) {
                    let bytes = buffer.len() as u64;
                    socket.write_all_buf(&mut buffer).await?;
                    metrics.sent.inc_by(bytes);
                }
                socket.flush().await?;
            }
        };
        let written: Result<Result<(), std::io::Error>, ()> = tokio::select! {
            biased;
            () = self.end.cancelled() => Err(()),
            written = writing => Ok(written),
        };
        if let Ok(Err(reason)) = written {
            tracing::debug!(%reason, "link does not take its data");
        }
        self.end.cancel();
    }

    fn take(&self, buffer: &mut BytesMut) -> bool {
        let mut queue = self.queue.lock();
        while buffer.len() < WRITE_BYTES
            && let Some(frame) = queue.frames.pop_front()
        {
            queue.bytes -= frame.bytes();
            buffer.put_u32(u32::try_from(frame.bytes()).expect("a message is bounded"));
            buffer.put_slice(&frame.head);
            buffer.put_slice(&frame.body);
        }
        drop(queue);
        self.room.notify_waiters();
        !buffer.is_empty()
    }
}

impl Queue {
    fn push(&mut self, frame: Frame) {
        self.bytes += frame.bytes();
        self.frames.push_back(frame);
    }
}
