//! Why a session ends, and how its client is told.

use std::io;

use futures_util::stream::FusedStream;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy, sink};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Error as SocketError;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tracing::debug;

use crate::doc;
use crate::edge::answers::NoRoom;
use crate::edge::doors::Refused;
use crate::edge::refusal;
use crate::edge::room;
use crate::edge::session::frames::message;
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

impl From<NoRoom> for Farewell {
    fn from(none: NoRoom) -> Self {
        match none {
            NoRoom::Own(spent) => Refused::from(spent).into(),
            NoRoom::All => {
                let (reason, retry) = (none.to_string(), room::RETRY);
                Self::of(&doc::Refusal::Unavailable { reason, retry }, None)
            }
        }
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

/// Tells whether more has come than may be read.
pub(in crate::edge::session) fn is_too_much(error: &SocketError) -> bool {
    matches!(error, SocketError::Io(error) if error.kind() == io::ErrorKind::QuotaExceeded)
}

/// How a client goes that is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::edge::session) enum Parted {
    /// It has said goodbye, too, or was gone.
    Gone,
    /// It went on sending, more than may be read.
    Cut,
}

/// Says goodbye, and waits for the client to say it, too.
pub(in crate::edge::session) async fn part<S>(
    socket: &mut WebSocketStream<S>,
    codec: Codec,
    farewell: Farewell,
) -> Parted
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let reason = farewell.reason();
    if let Some(told) = &farewell.message
        && socket.send(message(codec, encode_server(codec, told))).await.is_err()
    {
        return Parted::Gone;
    }
    let frame = CloseFrame { code: farewell.code.into(), reason: reason.into() };
    if socket.close(Some(frame)).await.is_err() {
        return Parted::Gone;
    }
    // The client's own close, so that its last frame does not reset the connection.
    while !socket.is_terminated() {
        match socket.next().await {
            None => return Parted::Gone,
            Some(Err(error)) if is_too_much(&error) => return Parted::Cut,
            Some(Err(SocketError::Io(_))) => return Parted::Gone,
            Some(Ok(_) | Err(_)) => {}
        }
    }
    thrown_away(socket.get_mut()).await
}

/// Ends a connection whose frames cannot be told apart any more, and throws away what still comes
/// over it.
async fn thrown_away<S>(stream: &mut S) -> Parted
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    if stream.shutdown().await.is_err() {
        return Parted::Gone;
    }
    match copy(stream, &mut sink()).await {
        Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => Parted::Cut,
        Ok(_) | Err(_) => Parted::Gone,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
    use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

    use super::*;
    use crate::edge::session::metered::{Metered, Traffic};

    /// How much is on its way between the two, in each direction.
    const ON_WAY: usize = 256;
    const FRAME_BYTES_MAX: usize = 1_000;

    type Server = WebSocketStream<Metered<DuplexStream>>;

    async fn line() -> (Server, Arc<Traffic>, DuplexStream) {
        let (near, far) = duplex(ON_WAY);
        let traffic = Arc::new(Traffic::new(u64::MAX));
        let near = Metered::new(near, Arc::clone(&traffic));
        let config = WebSocketConfig::default().max_frame_size(Some(FRAME_BYTES_MAX));
        let server = WebSocketStream::from_raw_socket(near, Role::Server, Some(config)).await;
        (server, traffic, far)
    }

    async fn say_goodbye(mut server: Server) -> Parted {
        let goodbye = Farewell::refused(ErrorCode::BadFrame, "a reason");
        part(&mut server, Codec::Json, goodbye).await
    }

    /// Returns a frame of a client with so many bytes in it.
    fn frame(bytes: usize) -> Vec<u8> {
        let length = u16::try_from(bytes).unwrap().to_be_bytes();
        let head = [0x82, 0x80 | 126, length[0], length[1], 0, 0, 0, 0];
        [&head[..], &vec![0; bytes]].concat()
    }

    /// Sends the same again and again, until the other side takes nothing more; returns how many
    /// bytes it took.
    async fn flood(mut client: DuplexStream, bytes: &[u8]) -> usize {
        let mut sent = 0;
        for byte in bytes.iter().cycle() {
            if client.write_all(&[*byte]).await.is_err() {
                break;
            }
            sent += 1;
        }
        sent
    }

    #[tokio::test]
    async fn who_goes_on_sending_is_cut_off_after_so_many_bytes() {
        for (allowed, said) in [(0, frame(200)), (5_000, frame(200)), (5_000, vec![0xff])] {
            let (server, traffic, client) = line().await;
            traffic.allow(allowed);
            // The other way there is room for the farewell.
            let (parted, sent) = tokio::join!(say_goodbye(server), flood(client, &said));
            assert_eq!(parted, Parted::Cut, "{allowed}");
            let most = usize::try_from(allowed).unwrap() + ON_WAY;
            assert!((most - ON_WAY..=most).contains(&sent), "{sent} of {allowed}");
        }
    }

    #[tokio::test]
    async fn who_was_about_to_send_much_reads_why_it_has_to_go() {
        let (mut server, traffic, mut client) = line().await;
        traffic.allow(3_000);
        let serve = async {
            let error = server.next().await.unwrap().unwrap_err();
            assert!(matches!(error, SocketError::Capacity(_)), "{error}");
            say_goodbye(server).await
        };
        let (parted, ()) = tokio::join!(serve, async {
            client.write_all(&frame(2 * FRAME_BYTES_MAX)).await.unwrap();
            let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
            let told = client.next().await.unwrap().unwrap();
            assert!(matches!(&told, Message::Text(told) if told.contains("a reason")), "{told}");
            let closed = client.next().await.unwrap().unwrap();
            let reason = Utf8Bytes::from_static("bad-frame");
            assert_eq!(closed, Message::Close(Some(CloseFrame { code: 4400.into(), reason })));
            // It has nothing to wait for.
            while let Some(Ok(_)) = client.next().await {}
        });
        assert_eq!(parted, Parted::Gone);
    }
}
