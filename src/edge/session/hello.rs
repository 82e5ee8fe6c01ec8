//! Taking a client: its first message, and the document that it asks for.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::doc::{self, Join, Mode, Socket};
use crate::edge::outbox::Outbox;
use crate::edge::session::{Farewell, payload, unreadable};
use crate::types::Author;
use crate::wire::{ClientMessage, Codec, ErrorCode, Hello, Limits, decode_client};

/// Waits for the client's first message.
pub(in crate::edge::session) async fn hello<S>(
    socket: &mut WebSocketStream<S>,
    codec: Codec,
    limits: &Limits,
) -> Result<Hello, Option<Farewell>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let frame = match socket.next().await {
            Some(Ok(message)) => match payload(message, codec).map_err(Some)? {
                Some(frame) => frame,
                None => continue,
            },
            Some(Err(error)) => return Err(unreadable(&error)),
            None => return Err(None),
        };
        return match decode_client(codec, &frame, limits) {
            Ok(ClientMessage::Hello(hello)) => Ok(hello),
            Ok(_) => {
                let why = "the first message must be hello";
                Err(Some(Farewell::refused(ErrorCode::BadFrame, why)))
            }
            Err(refusal) => Err(Some(Farewell::from(refusal))),
        };
    }
}

/// Waits for a document to take a client, as long as the client is there: one that has gone may
/// have come to another node, and keeps its session there. Returns what the client has said
/// meanwhile, too.
pub(in crate::edge::session) async fn while_there<S, T>(
    socket: &mut WebSocketStream<S>,
    joining: impl Future<Output = T>,
) -> Result<(T, Option<Message>), Option<Farewell>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut joining = pin!(joining);
    tokio::select! {
        biased;
        message = socket.next() => match message {
            Some(Ok(Message::Close(_))) | None => Err(None),
            Some(Ok(message)) => Ok((joining.await, Some(message))),
            Some(Err(error)) => Err(unreadable(&error)),
        },
        joined = &mut joining => Ok((joined, None)),
    }
}

pub(in crate::edge::session) fn join(hello: &Hello, socket: Socket, outbox: Arc<Outbox>) -> Join {
    let user = hello.user.as_ref();
    Join {
        session: hello.session,
        socket,
        rev: hello.rev,
        mode: match hello.mode {
            crate::wire::Mode::Edit => Mode::Edit,
            crate::wire::Mode::View => Mode::View,
        },
        ordered: hello.ordered,
        through: None,
        author: user.map_or_else(Author::anonymous, |user| user.name.clone()),
        user: user.map(|user| doc::User {
            name: user.name.as_str().to_owned(),
            color: user.color.to_css(),
        }),
        outbox,
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::SinkExt;
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn who_has_gone_is_not_joined_and_who_speaks_early_is_heard() {
        let (near, far) = tokio::io::duplex(1_024);
        let mut server = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
        let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        let joined = while_there(&mut server, ready(1)).await;
        assert!(matches!(joined, Ok((1, None))), "nothing was said");
        client.send(Message::text("early")).await.unwrap();
        let (answer, answered) = tokio::sync::oneshot::channel();
        let joining = while_there(&mut server, async { answered.await.unwrap() });
        let (joined, ()) = tokio::join!(joining, async { answer.send(2).unwrap() });
        assert!(matches!(joined, Ok((2, Some(early))) if early == Message::text("early")));
        client.close(None).await.unwrap();
        let gone = while_there(&mut server, pending::<()>()).await;
        assert!(matches!(gone, Err(None)), "it is waited for no longer");
    }
}
