//! One connection to a server: messages in and out, no state of the document.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::client::Error;
use crate::types::DocId;
use crate::wire::{
    ClientMessage, Codec, Hello, ServerMessage, Welcome, decode_server, encode_client,
};

/// How long a connection and its welcome may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long a server may leave a message in the way before it is taken for gone.
const SEND_MAX: Duration = Duration::from_secs(30);

/// How many messages may come in while one is sent.
const EARLY_MAX: usize = 4_096;

/// The largest frame that a server may send: a whole document.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// Speaks the protocol with one server about one document.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<TcpStream>,
    codec: Codec,
    traffic: Traffic,
    /// What came in while something was sent.
    early: VecDeque<Message>,
}

/// Is the bytes of messages that went over a connection, without what carries them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// To the server.
    pub sent: u64,
    /// From the server.
    pub received: u64,
}

impl Connection {
    /// Connects to a server, `http://host:port` or `ws://host:port`, and waits for the welcome.
    ///
    /// # Errors
    /// [`Error::Refused`] where the server does not take the client, [`Error::Lost`] where another
    /// try may succeed.
    pub async fn open(
        url: &str,
        doc: &DocId,
        codec: Codec,
        hello: Hello,
    ) -> Result<(Self, Welcome), Error> {
        let opening = async {
            let mut connection = Self::connect(url, doc, codec).await?;
            connection.send(&ClientMessage::Hello(hello)).await?;
            loop {
                match connection.receive().await? {
                    Some(ServerMessage::Welcome(welcome)) => return Ok((connection, welcome)),
                    Some(ServerMessage::Error { code, msg, retry, .. }) => {
                        return Err(Error::told(code, msg, retry.map(Duration::from)));
                    }
                    _ => {}
                }
            }
        };
        let timed = timeout(CONNECT_MAX, opening).await;
        timed.unwrap_or_else(|_| Err(Error::lost("the server did not answer in time")))
    }

    async fn connect(url: &str, doc: &DocId, codec: Codec) -> Result<Self, Error> {
        let authority = authority(url)?;
        let stream = TcpStream::connect(authority).await.map_err(Error::lost)?;
        stream.set_nodelay(true).map_err(Error::lost)?;
        let mut request = format!("ws://{authority}/ws/{doc}")
            .into_client_request()
            .map_err(|error| Error::Url { detail: error.to_string() })?;
        let subprotocol = HeaderValue::from_static(codec.subprotocol());
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
        let config = WebSocketConfig::default()
            .read_buffer_size(8 << 10)
            .write_buffer_size(8 << 10)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let (socket, _) = client_async_with_config(request, stream, Some(config))
            .await
            .map_err(|error| refused_upgrade(&error))?;
        Ok(Self { socket, codec, traffic: Traffic::default(), early: VecDeque::new() })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`Error::Lost`].
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), Error> {
        let bytes = encode_client(self.codec, message);
        self.traffic.sent += bytes.len() as u64;
        let frame = match self.codec {
            Codec::Json => Message::Text(text(bytes)),
            Codec::Binary => Message::Binary(bytes),
        };
        let sent = timeout(SEND_MAX, self.send_and_receive(frame)).await;
        sent.map_err(|_| Error::lost("the server does not read"))?
    }

    /// Sends, and goes on receiving meanwhile: a server that is being written to may be writing,
    /// too, and neither side must wait for the other to read.
    async fn send_and_receive(&mut self, frame: Message) -> Result<(), Error> {
        let mut frame = Some(frame);
        poll_fn(|cx| {
            loop {
                let sent = match &frame {
                    Some(_) => self.socket.poll_ready_unpin(cx),
                    None => self.socket.poll_flush_unpin(cx),
                };
                match sent {
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Error::lost(error))),
                    Poll::Ready(Ok(())) => match frame.take() {
                        Some(frame) => {
                            self.socket.start_send_unpin(frame).map_err(Error::lost)?;
                        }
                        None => return Poll::Ready(Ok(())),
                    },
                    Poll::Pending if self.early.len() >= EARLY_MAX => return Poll::Pending,
                    Poll::Pending => match ready!(self.socket.poll_next_unpin(cx)) {
                        Some(Ok(message)) => self.early.push_back(message),
                        Some(Err(error)) => return Poll::Ready(Err(Error::lost(error))),
                        None => {
                            let reason = "the server closed the connection";
                            return Poll::Ready(Err(Error::lost(reason)));
                        }
                    },
                }
            }
        })
        .await
    }

    /// Waits for the next message; `None` is a sign of life without one.
    ///
    /// # Errors
    /// [`Error::Lost`] where the connection ended, [`Error::Refused`] where the server ended it for
    /// good.
    ///
    /// # Cancel safety
    /// May be dropped and called again; no message is lost.
    pub async fn receive(&mut self) -> Result<Option<ServerMessage>, Error> {
        let frame = match self.early.pop_front() {
            Some(frame) => frame,
            None => match self.socket.next().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(Error::lost(error)),
                None => return Err(Error::lost("the server closed the connection")),
            },
        };
        let bytes = match frame {
            Message::Text(text) => Bytes::from(text),
            Message::Binary(bytes) => bytes,
            Message::Close(close) => {
                let close = close.map(|close| (u16::from(close.code), close.reason.to_string()));
                return Err(Error::closed(close));
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(None),
        };
        self.traffic.received += bytes.len() as u64;
        decode_server(self.codec, &bytes).map_err(Error::lost)
    }

    /// Returns what has gone over the connection.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Ends the connection in order.
    pub async fn close(mut self) {
        // The server notices the end in any case.
        let _ = timeout(Duration::from_secs(1), self.socket.close(None)).await;
    }
}

/// Returns the host and port of a server's address.
fn authority(url: &str) -> Result<&str, Error> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("ws://"));
    let rest = rest.ok_or_else(|| Error::Url {
        detail: format!("{url} does not begin with http:// or ws://"),
    })?;
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains(':') {
        Ok(authority)
    } else {
        Err(Error::Url { detail: format!("{url} has no port: write http://host:port") })
    }
}

fn refused_upgrade(error: &tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Http(response) if response.status().is_client_error() => {
            let detail = format!("the server answered {} to the upgrade", response.status());
            Error::Url { detail }
        }
        tungstenite::Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            Error::Url { detail: "the server does not speak this protocol".to_owned() }
        }
        other => Error::lost(other),
    }
}

fn text(bytes: Bytes) -> Utf8Bytes {
    Utf8Bytes::try_from(bytes).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_http_or_ws_with_a_port() {
        for good in ["http://h:1", "ws://h:1/", "http://h:1/d/doc"] {
            assert_eq!(authority(good).ok(), Some("h:1"), "{good}");
        }
        for bad in ["h:1", "https://h:1", "http://h", "", "http://"] {
            assert!(matches!(authority(bad), Err(Error::Url { .. })), "{bad}");
        }
    }
}
