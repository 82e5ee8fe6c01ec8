//! What a client has said and whose turn has not come: it sends faster than it may, or others of
//! less traffic are before it. Nothing more is read of it meanwhile, so that it waits where it is.

use std::collections::VecDeque;
use std::future::pending;
use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::edge::routes::Shared;
use crate::edge::session::Session;
use crate::edge::session::farewell::Farewell;
use crate::edge::session::frames::payload;
use crate::edge::tenants::Tenant;
use crate::shares::{Coming, Share};

/// For how long a batch takes a share at most: what takes longer waits for something else than the
/// cores, and nobody waits for it.
pub(in crate::edge::session) const COUNTED_MAX: Duration = Duration::from_secs(1);

/// What a control frame of the WebSocket counts for, in bytes: as much as the longest.
const CONTROL_BYTES: u64 = 128;

/// What a client has said and whose turn has not come.
pub(in crate::edge::session) struct Held {
    /// There is none in a control frame, which is answered already.
    frame: Option<Bytes>,
    /// When its sender may have sent it.
    from: Instant,
    coming: Option<Coming>,
}

impl Session {
    /// Takes what the client says, and hears it at once where it is its turn.
    pub(in crate::edge::session) async fn receive(
        &mut self,
        message: Message,
    ) -> ControlFlow<Option<Farewell>> {
        self.asked = None;
        if matches!(message, Message::Close(_)) {
            return ControlFlow::Break(None);
        }
        self.owes_pong |= message.is_ping();
        let frame = match payload(message, self.to.codec) {
            Ok(frame) => frame,
            Err(farewell) => return ControlFlow::Break(Some(farewell)),
        };
        let (tenants, tenant) = (&self.shared.tenants, self.guest.tenant);
        let bytes = frame.as_ref().map_or(CONTROL_BYTES, |frame| frame.len() as u64);
        let wait = self.bytes.charge(bytes).max(tenants.bytes(tenant, bytes));
        if !wait.is_zero() {
            self.shared.metrics.held.inc();
            let from = Instant::now() + wait;
            self.held = Some(Held { frame, from, coming: None });
            return ControlFlow::Continue(());
        }
        let Some(frame) = frame else { return ControlFlow::Continue(()) };
        match tenants.turn(tenant, bytes) {
            Ok(share) => self.hear(frame, share).await,
            Err(coming) => {
                let from = Instant::now();
                self.held = Some(Held { frame: Some(frame), from, coming: Some(coming) });
                ControlFlow::Continue(())
            }
        }
    }
}

/// Returns what a client says next, beginning with what it said before it was welcomed.
///
/// # Cancel safety
/// May be dropped and called again.
pub(in crate::edge::session) async fn next<S>(
    early: &mut VecDeque<Message>,
    socket: &mut WebSocketStream<S>,
) -> Option<Result<Message, Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match early.pop_front() {
        Some(message) => Some(Ok(message)),
        None => socket.next().await,
    }
}

/// Waits for the turn of what is held, and takes it: a frame, or nothing where it is answered.
///
/// # Cancel safety
/// May be dropped and called again.
pub(in crate::edge::session) async fn due(
    held: &mut Option<Held>,
    shared: &Shared,
    tenant: Tenant,
) -> Option<(Bytes, Share)> {
    let Some(Held { frame, from, coming }) = held else { return pending().await };
    let share = match coming {
        Some(coming) => Some(coming.await),
        None => {
            sleep_until(*from).await;
            match frame.as_ref().map(|said| shared.tenants.turn(tenant, said.len() as u64)) {
                Some(Err(later)) => Some(coming.insert(later).await),
                Some(Ok(share)) => Some(share),
                None => None,
            }
        }
    };
    let frame = frame.take();
    *held = None;
    frame.zip(share)
}

/// Waits until a share is no longer counted.
///
/// # Cancel safety
/// May be dropped and called again.
pub(in crate::edge::session) async fn over(share: &Option<(Share, Instant)>) {
    match share {
        Some((_, until)) => sleep_until(*until).await,
        None => pending().await,
    }
}
