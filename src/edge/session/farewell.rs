//! Why a session ends, and how its client is told.

use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tracing::debug;

use crate::doc;
use crate::edge::doors::Refused;
use crate::edge::refusal;
use crate::edge::session::message;
use crate::types::Seq;
use crate::wire::{Codec, ErrorCode, Millis, Refusal, ServerMessage, encode_server};

/// Why a session ends: what the client is told last.
pub(in crate::edge::session) struct Farewell {
    pub(in crate::edge::session) code: u16,
    pub(in crate::edge::session) message: Option<ServerMessage>,
}

impl Farewell {
    /// Tells whether it is for want of a right, or of somebody who is known.
    pub(in crate::edge::session) fn is_refusal(&self) -> bool {
        let codes = [ErrorCode::Unauthenticated, ErrorCode::Forbidden];
        matches!(&self.message, Some(ServerMessage::Error { code, .. }) if codes.contains(code))
    }

    /// Names why, for the close frame and for what is counted.
    pub(in crate::edge::session) fn reason(&self) -> &'static str {
        match &self.message {
            Some(ServerMessage::Error { code, .. }) => code.name(),
            _ => "other",
        }
    }

    pub(in crate::edge::session) fn of(refusal: &doc::Refusal, seq: Option<Seq>) -> Self {
        let code = refusal::code(refusal).close_code();
        Self { code, message: Some(refusal::message(refusal, seq)) }
    }

    pub(in crate::edge::session) fn refused(code: ErrorCode, why: &str) -> Self {
        let message =
            ServerMessage::Error { code, fatal: true, msg: why.to_owned(), seq: None, retry: None };
        Self { code: code.close_code(), message: Some(message) }
    }
}

impl From<Refused> for Farewell {
    fn from(refused: Refused) -> Self {
        let mut farewell = Self::refused(refused.code(), &refused.to_string());
        if let Some(ServerMessage::Error { retry, .. }) = &mut farewell.message {
            *retry = refused.retry().map(Millis::from);
        }
        farewell
    }
}

impl From<Refusal> for Farewell {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.code, &refusal.message)
    }
}

pub(in crate::edge::session) fn slow() -> Farewell {
    Farewell::refused(ErrorCode::SlowConsumer, "the socket does not take its data: reconnect")
}

/// Tells a client why its data could not be read, where it is still there.
pub(in crate::edge::session) fn unreadable(error: &SocketError) -> Option<Farewell> {
    match error {
        SocketError::Capacity(_) => {
            Some(Farewell::refused(ErrorCode::TooLarge, "the frame is too large"))
        }
        SocketError::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded => {
            let why = "so much comes only after hello: send that first";
            Some(Farewell::refused(ErrorCode::TooLarge, why))
        }
        // It went without a word.
        SocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        SocketError::Utf8(_) | SocketError::Protocol(_) => {
            Some(Farewell::refused(ErrorCode::BadFrame, "the frame breaks the WebSocket protocol"))
        }
        other => {
            debug!(reason = %other, "connection lost");
            None
        }
    }
}

/// Says goodbye, and waits for the client to say it, too.
pub(in crate::edge::session) async fn part<S>(
    socket: &mut WebSocketStream<S>,
    codec: Codec,
    farewell: Farewell,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let reason = farewell.reason();
    if let Some(told) = &farewell.message
        && socket.send(message(codec, encode_server(codec, told))).await.is_err()
    {
        return;
    }
    let frame = CloseFrame { code: farewell.code.into(), reason: reason.into() };
    if socket.close(Some(frame)).await.is_err() {
        return;
    }
    // The client's own close, so that its last frame does not reset the connection.
    while let Some(Ok(_)) = socket.next().await {}
}
