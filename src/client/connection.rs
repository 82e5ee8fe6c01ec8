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
use tokio_tungstenite::tungstenite::http::header::{
    AUTHORIZATION, RETRY_AFTER, SEC_WEBSOCKET_PROTOCOL,
};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tokio_util::either::Either;

use crate::client::address::Address;
use crate::client::tls::Stream;
use crate::client::{Credentials, Error};
use crate::types::DocId;
use crate::wire::{
    ClientMessage, Codec, ErrorCode, Hello, ServerMessage, Welcome, decode_server, encode_client,
};

/// How long a connection and its welcome may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long a server may leave a message in the way before it is taken for gone.
const SEND_MAX: Duration = Duration::from_secs(30);

/// How many messages may come in while one is sent.
const EARLY_MAX: usize = 4_096;

/// The largest frame that a server may send: a whole document.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// The longest time that a server may want a client to wait when it does not upgrade.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// Speaks the protocol with one server about one document.
#[derive(Debug)]
pub struct Connection {
    socket: WebSocketStream<Stream>,
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
    /// Connects to a server, `http://host:port`, `https://host` or the same with `ws` and `wss`,
    /// shows the token as it is now, and waits for the welcome.
    ///
    /// # Errors
    /// [`Error::Refused`] where the server does not take the client, [`Error::Lost`] where another
    /// try may succeed, [`Error::Token`], [`Error::Certificate`] and [`Error::Url`] where it did
    /// not come to a question.
    pub async fn open(
        url: &str,
        credentials: &Credentials,
        doc: &DocId,
        codec: Codec,
        hello: Hello,
    ) -> Result<(Self, Welcome), Error> {
        let opening = async {
            let mut connection = Self::connect(url, credentials, doc, codec).await?;
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

    async fn connect(
        url: &str,
        credentials: &Credentials,
        doc: &DocId,
        codec: Codec,
    ) -> Result<Self, Error> {
        let Address { authority, host, port, secure } = Address::read(url)?;
        let scheme = if secure { "wss" } else { "ws" };
        let mut request = format!("{scheme}://{authority}/ws/{doc}")
            .into_client_request()
            .map_err(|error| Error::Url { detail: error.to_string() })?;
        if let Some(shown) = credentials.header().await? {
            request.headers_mut().insert(AUTHORIZATION, shown);
        }
        let subprotocol = HeaderValue::from_static(codec.subprotocol());
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
        let config = WebSocketConfig::default()
            .read_buffer_size(8 << 10)
            .write_buffer_size(8 << 10)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(Error::lost)?;
        tcp.set_nodelay(true).map_err(Error::lost)?;
        let stream = match secure {
            true => credentials.tls.connect(&host, tcp).await?,
            false => Either::Left(tcp),
        };
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

/// Tells what a server means that does not upgrade a connection.
fn refused_upgrade(error: &tungstenite::Error) -> Error {
    match error {
        tungstenite::Error::Http(response) => {
            let status = response.status();
            let reason = format!("the server answered {status} to the upgrade");
            let after = response.headers().get(RETRY_AFTER).and_then(|after| after.to_str().ok());
            let after = after.and_then(|after| after.parse().ok().map(Duration::from_secs));
            let retry = after.map(|after| after.min(RETRY_AFTER_MAX));
            match status {
                StatusCode::UNAUTHORIZED => Error::refused(ErrorCode::Unauthenticated, reason),
                StatusCode::FORBIDDEN => Error::refused(ErrorCode::Forbidden, reason),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                    Error::Lost { reason, retry }
                }
                _ if status.is_client_error() => Error::Url { detail: reason },
                _ => Error::Lost { reason, retry },
            }
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
    use tokio_tungstenite::tungstenite::http::Response;

    use super::*;

    #[test]
    fn an_upgrade_that_is_refused_is_tried_again_only_where_that_helps() {
        let refused = |status: u16, after: &str| {
            let answer = Response::builder().status(status).header(RETRY_AFTER, after);
            let answer = answer.body(None).expect("an answer");
            refused_upgrade(&tungstenite::Error::Http(answer.into()))
        };
        for (status, close_code) in [(401, 4401), (403, 4403)] {
            let error = refused(status, "1");
            let wanted = Error::Refused { close_code, reason: String::new() };
            assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&wanted));
            assert!(error.to_string().contains(&close_code.to_string()), "{error}");
        }
        assert!(matches!(refused(404, ""), Error::Url { .. }));
        for (status, after, retry) in [
            (429, "7", Some(Duration::from_secs(7))),
            (429, "99999999", Some(RETRY_AFTER_MAX)),
            (429, "soon", None),
            (408, "", None),
            (503, "2", Some(Duration::from_secs(2))),
        ] {
            let error = refused(status, after);
            assert!(matches!(error, Error::Lost { retry: told, .. } if told == retry), "{error:?}");
        }
    }
}
