//! A client that speaks JSON by hand, to say what a good client never says; and a node in this
//! process to say it to.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use quire::clock::Clock;
use quire::config::{Config, Engine};
use quire::node::Node;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

/// A guard against a test that hangs, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a node in memory on a free port.
pub(crate) async fn node(change: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        log: Engine::Memory,
        checkpoints: Engine::Memory,
        shards: 2,
        ..Config::default()
    };
    change(&mut config);
    Node::start(&config, Clock::wall()).await.expect("the node starts")
}

/// A node that listens.
pub(crate) trait Listens {
    fn address(&self) -> SocketAddr;
}

impl Listens for Node {
    fn address(&self) -> SocketAddr {
        self.address
    }
}

/// One connection.
pub(crate) struct Raw {
    socket: WebSocketStream<TcpStream>,
    pub(crate) echoed: Option<String>,
}

/// Returns a session id made of one digit.
pub(crate) fn session(digit: char) -> String {
    digit.to_string().repeat(32)
}

/// Returns the client's first message.
pub(crate) fn hello(digit: char, more: &str) -> String {
    format!(r#"{{"t":"hello","v":1,"session":"{}"{more}}}"#, session(digit))
}

impl Raw {
    /// Upgrades; the status is the error where the server refuses.
    pub(crate) async fn upgrade(node: &impl Listens, path: &str, offer: &str) -> Result<Self, u16> {
        let headers = [("sec-websocket-protocol", offer)];
        Self::upgrade_with(node, path, &headers[usize::from(offer.is_empty())..]).await
    }

    /// Upgrades as a browser does on a page of `origin`.
    pub(crate) async fn upgrade_from(node: &impl Listens, origin: &str) -> Result<Self, u16> {
        Self::upgrade_with(node, "/ws/a", &[("origin", origin)]).await
    }

    pub(crate) async fn upgrade_with(
        node: &impl Listens,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, u16> {
        let stream = TcpStream::connect(node.address()).await.expect("the node listens");
        let request = format!("ws://{}{path}", node.address()).into_client_request();
        let mut request = request.expect("an address");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header value"));
        }
        match client_async(request, stream).await {
            Ok((socket, response)) => {
                let echoed = response.headers().get("sec-websocket-protocol");
                let echoed = echoed.map(|value| value.to_str().expect("text").to_owned());
                Ok(Self { socket, echoed })
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("{other}"),
        }
    }

    /// Connects and says something.
    pub(crate) async fn say(node: &impl Listens, doc: &str, first: &str) -> Self {
        let path = format!("/ws/{doc}");
        let mut raw = Self::upgrade(node, &path, "quire.v1").await.expect("it is taken");
        raw.send(first).await;
        raw
    }

    /// Connects and is welcomed.
    pub(crate) async fn join(
        node: &impl Listens,
        doc: &str,
        digit: char,
        more: &str,
    ) -> (Self, Value) {
        let mut raw = Self::say(node, doc, &hello(digit, more)).await;
        let welcome = raw.hear("welcome").await;
        (raw, welcome)
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("the connection is open");
    }

    /// Sends something, where the connection is open still.
    pub(crate) async fn try_send(&mut self, text: &str) {
        let _ = self.socket.send(Message::text(text)).await;
    }

    /// Sends two messages so that they come together.
    pub(crate) async fn send_both(&mut self, first: &str, second: &str) {
        self.socket.feed(Message::text(first)).await.expect("the connection is open");
        self.send(second).await;
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        self.socket.send(Message::binary(bytes)).await.expect("the connection is open");
    }

    /// Sends bytes that need be no frame, where the connection still takes them.
    pub(crate) async fn push(&mut self, bytes: &[u8]) {
        let _ = self.socket.get_mut().write_all(bytes).await;
    }

    /// Waits until something comes, and answers nothing; tells whether the connection is open.
    pub(crate) async fn overhear(&mut self) -> bool {
        let mut bytes = [0; 1_024];
        let read = timeout(PATIENCE, self.socket.get_mut().read(&mut bytes)).await;
        read.expect("something comes").is_ok_and(|read| read > 0)
    }

    /// Returns the next message, whatever it is.
    pub(crate) async fn next(&mut self) -> Value {
        loop {
            let frame = timeout(PATIENCE, self.socket.next()).await.expect("something comes");
            match frame.expect("the connection is open").expect("it can be read") {
                Message::Text(text) => return serde_json::from_str(&text).expect("JSON"),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until it is asked whether it is there; it answers with whatever is done next.
    pub(crate) async fn asked(&mut self) {
        loop {
            let frame = timeout(PATIENCE, self.socket.next()).await.expect("something comes");
            match frame.expect("the connection is open").expect("it can be read") {
                Message::Ping(_) => return,
                Message::Text(text) if text.contains("presence") => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Returns the next message of a kind; presence may come between.
    pub(crate) async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next().await;
            if message["t"] == kind {
                return message;
            }
            assert_eq!(message["t"], "presence", "{message} instead of {kind}");
        }
    }

    /// Waits for the end: the last message, if it was an error, and the close code.
    pub(crate) async fn end(&mut self) -> (Value, u16) {
        let (last, code, _) = self.close().await;
        (last, code)
    }

    /// Waits for the end, and returns the reason in the close frame, too.
    pub(crate) async fn close(&mut self) -> (Value, u16, String) {
        // Pings come for ever at one that is not closed.
        timeout(PATIENCE, self.closing()).await.expect("it ends")
    }

    async fn closing(&mut self) -> (Value, u16, String) {
        let mut last = Value::Null;
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    last = serde_json::from_str(&text).expect("JSON");
                }
                Some(Ok(Message::Close(Some(close)))) => {
                    return (last, close.code.into(), close.reason.as_str().to_owned());
                }
                Some(Ok(_)) => {}
                other => panic!("no close frame: {other:?}"),
            }
        }
    }
}
