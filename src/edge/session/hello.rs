//! Taking a client: its first message, and the document that it asks for.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::doc::{self, Join, Mode, Socket};
use crate::edge::doors::Caller;
use crate::edge::metrics::Reason;
use crate::edge::routes::Shared;
use crate::edge::session::farewell::{Farewell, is_too_much, unreadable};
use crate::edge::session::frames::payload;
use crate::edge::session::outbox::Outbox;
use crate::types::{Author, DocId};
use crate::wire::{ClientMessage, Codec, ErrorCode, Hello, decode_client};

/// How much a client may say before it is welcomed: in messages, and in bytes from the second one.
const EARLY_MAX: usize = 32;
const EARLY_BYTES_MAX: usize = 64 << 10;

/// How many pings of the WebSocket it may send before: each leaves a pong, until it is read.
const EARLY_PINGS_MAX: usize = 256;

/// What a socket yields.
type Next = Option<Result<Message, Error>>;

/// Waits for the client's first message.
pub(in crate::edge::session) async fn hello<S>(
    socket: &mut WebSocketStream<S>,
    codec: Codec,
    shared: &Shared,
) -> Result<Hello, Option<Farewell>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = shared.limits();
    loop {
        let frame = match socket.next().await {
            Some(Ok(message)) => match payload(message, codec).map_err(Some)? {
                Some(frame) => frame,
                None => continue,
            },
            Some(Err(error)) if is_too_much(&error) => {
                shared.metrics.refuse(Reason::Hello);
                let most = shared.config.hello_bytes_max.as_u64();
                let why = format!("hello ends within {most} bytes: more comes only after hello");
                return Err(Some(Farewell::refused(ErrorCode::TooLarge, &why)));
            }
            Some(Err(error)) => return Err(unreadable(&error)),
            None => return Err(None),
        };
        return match decode_client(codec, &frame, &limits) {
            Ok(ClientMessage::Hello(hello)) => Ok(hello),
            Ok(_) => {
                let why = "the first message must be hello";
                Err(Some(Farewell::refused(ErrorCode::BadFrame, why)))
            }
            Err(refusal) => Err(Some(Farewell::from(refusal))),
        };
    }
}

/// Has a document take a client, as long as the client is there: one that has gone may have come to
/// another node, and keeps its session there. What the client says meanwhile is kept in `early`.
///
/// Where the session has another connection, the client is asked to show that it is at this one: a
/// client has one socket after the other, so that what it answers on is newer than what it had.
pub(in crate::edge::session) async fn taken<S, T, F>(
    socket: &mut WebSocketStream<S>,
    early: &mut Early,
    join: impl Fn(Option<u64>) -> F,
) -> Result<Result<T, doc::Refusal>, Option<Farewell>>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Result<T, doc::Refusal>>,
{
    let mut replaces = None;
    loop {
        match while_there(socket, early, join(replaces)).await? {
            Err(doc::Refusal::Occupied { by }) => {
                answers(socket, early, by).await?;
                replaces = Some(by);
            }
            joined => return Ok(joined),
        }
    }
}

async fn while_there<S, T>(
    socket: &mut WebSocketStream<S>,
    early: &mut Early,
    waited: impl Future<Output = T>,
) -> Result<T, Option<Farewell>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut waited = pin!(waited);
    loop {
        tokio::select! {
            biased;
            message = socket.next() => drop(early.keep(message)?),
            done = &mut waited => return Ok(done),
        }
    }
}

/// Waits until the client has answered a ping, which `about` tells from others.
async fn answers<S>(
    socket: &mut WebSocketStream<S>,
    early: &mut Early,
    about: u64,
) -> Result<(), Option<Farewell>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ping = Bytes::copy_from_slice(&about.to_be_bytes());
    socket.send(Message::Ping(ping.clone())).await.map_err(|error| unreadable(&error))?;
    while early.keep(socket.next().await)?.is_none_or(|pong| pong != ping) {}
    Ok(())
}

/// What a client has said before it was welcomed.
#[derive(Default)]
pub(in crate::edge::session) struct Early {
    pub(in crate::edge::session) messages: VecDeque<Message>,
    bytes: usize,
    pings: usize,
}

/// Says that a client is to wait with what it says.
fn too_much() -> Farewell {
    Farewell::refused(ErrorCode::BadFrame, "too much was said before the welcome: wait for it")
}

impl Early {
    /// Keeps a message; returns what a pong carries.
    fn keep(&mut self, next: Next) -> Result<Option<Bytes>, Option<Farewell>> {
        match next {
            Some(Ok(Message::Close(_))) | None => Err(None),
            Some(Ok(Message::Pong(carried))) => Ok(Some(carried)),
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                self.bytes = self.bytes.saturating_add(message.len());
                // One passes whatever its size.
                let bytes_max = if self.messages.is_empty() { usize::MAX } else { EARLY_BYTES_MAX };
                if self.bytes > bytes_max || self.messages.len() == EARLY_MAX {
                    return Err(Some(too_much()));
                }
                self.messages.push_back(message);
                Ok(None)
            }
            Some(Ok(Message::Ping(_) | Message::Frame(_))) => {
                self.pings += 1;
                if self.pings > EARLY_PINGS_MAX { Err(Some(too_much())) } else { Ok(None) }
            }
            Some(Err(error)) => Err(unreadable(&error)),
        }
    }
}

/// Asks for what a client wants of a document. Under which name its edits are kept is not for the
/// client to say where its token does.
pub(in crate::edge::session) fn join(
    hello: &Hello,
    caller: &Caller,
    doc: &DocId,
    socket: Socket,
    outbox: Arc<Outbox>,
) -> Join {
    let user = hello.user.as_ref();
    let name = caller.name().or(user.map(|user| &user.name));
    Join {
        session: hello.session,
        socket,
        asker: caller.asks(doc),
        rev: hello.rev,
        resumes: false,
        mode: match hello.mode {
            crate::wire::Mode::Edit => Mode::Edit,
            crate::wire::Mode::View => Mode::View,
        },
        ordered: hello.ordered,
        through: None,
        without_content: false,
        author: name.cloned().unwrap_or_else(Author::anonymous),
        user: user.zip(name).map(|(user, name)| doc::User {
            name: name.as_str().to_owned(),
            color: user.color.to_css(),
        }),
        outbox,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::io::DuplexStream;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    type Line = WebSocketStream<DuplexStream>;

    async fn line() -> (Line, Line) {
        let (near, far) = tokio::io::duplex(1_024);
        let server = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
        (server, WebSocketStream::from_raw_socket(far, Role::Client, None).await)
    }

    #[tokio::test]
    async fn who_speaks_early_is_heard_and_watched_all_the_same() {
        let (mut server, mut client) = line().await;
        let mut early = Early::default();
        let joined = while_there(&mut server, &mut early, ready(1)).await;
        assert!(matches!(joined, Ok(1)) && early.messages.is_empty(), "nothing was said");
        for said in ["early", "and more"] {
            client.send(Message::text(said)).await.unwrap();
        }
        client.close(None).await.unwrap();
        let gone = while_there(&mut server, &mut early, pending::<()>()).await;
        assert!(matches!(gone, Err(None)), "it is waited for no longer");
        assert_eq!(early.messages, ["early", "and more"].map(Message::text));
    }

    #[tokio::test]
    async fn what_is_said_early_has_a_bound() {
        let (mut server, mut client) = line().await;
        let mut early = Early::default();
        let refused = async {
            let refused = while_there(&mut server, &mut early, pending::<()>()).await;
            refused.unwrap_err().expect("it is told").code
        };
        let (refused, ()) = tokio::join!(refused, async {
            for _ in 0..=EARLY_MAX {
                client.send(Message::text("!")).await.unwrap();
            }
        });
        assert_eq!((refused, early.messages.len()), (4400, EARLY_MAX));
        let mut early = Early::default();
        let long = || Some(Ok(Message::text("!".repeat(EARLY_BYTES_MAX))));
        assert!(matches!(early.keep(long()), Ok(None)), "one passes");
        assert!(matches!(early.keep(long()), Err(Some(_))));
        let mut early = Early::default();
        let mut pings = || early.keep(Some(Ok(Message::Ping(Bytes::new()))));
        assert!((0..EARLY_PINGS_MAX).all(|_| matches!(pings(), Ok(None))));
        assert!(matches!(pings(), Err(Some(_))));
    }

    #[tokio::test]
    async fn a_session_is_taken_from_another_connection_by_a_client_that_answers() {
        let join = |replaces| {
            // It is taken over once more while the client is asked.
            ready(match replaces {
                None => Err(doc::Refusal::Occupied { by: 7 }),
                Some(7) => Err(doc::Refusal::Occupied { by: 8 }),
                Some(by) => Ok(by),
            })
        };
        let (mut server, mut client) = line().await;
        let mut early = Early::default();
        let joining = taken(&mut server, &mut early, join);
        let (joined, heard) = tokio::join!(joining, async {
            // What is no answer to it says nothing.
            client.send(Message::Pong(Bytes::from_static(b"here"))).await.unwrap();
            let mut heard = Vec::new();
            while heard.len() < 2 {
                heard.push(client.next().await.unwrap().unwrap());
                client.flush().await.unwrap();
            }
            heard
        });
        assert!(matches!(joined, Ok(Ok(8))));
        let ping = |by: u64| Message::Ping(Bytes::copy_from_slice(&by.to_be_bytes()));
        assert_eq!(heard, [ping(7), ping(8)]);
        client.close(None).await.unwrap();
        let gone = taken(&mut server, &mut early, join).await;
        assert!(matches!(gone, Err(None)), "who does not answer takes nothing");
    }
}
