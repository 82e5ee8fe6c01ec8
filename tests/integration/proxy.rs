//! A line between a client and its server that a test can cut, close and make deaf.

use std::net::SocketAddr;

use quire::task::Tasks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a line does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Carries both ways.
    Open,
    /// Carries to the server; what the server answers is lost.
    Deaf,
    /// Keeps what goes to the server until it is open again.
    Held,
    /// Ends the connections there are, and each new one at once.
    Cut,
}

/// What has gone over the line so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    /// Connections begun.
    pub(crate) begun: u64,
    /// Connections ended.
    pub(crate) ended: u64,
}

pub(crate) struct Proxy {
    pub(crate) url: String,
    line: watch::Sender<Line>,
    server: watch::Sender<SocketAddr>,
    calls: watch::Receiver<Calls>,
    _tasks: Tasks,
}

impl Proxy {
    pub(crate) async fn to(server: SocketAddr, line: Line) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let (line, server) = (watch::Sender::new(line), watch::Sender::new(server));
        let (count, calls) = watch::channel(Calls::default());
        let tasks = Tasks::new();
        let (lines, servers, calling) = (line.clone(), server.clone(), tasks.clone());
        tasks.spawn("proxy", async move {
            while let Ok((client, _)) = listener.accept().await {
                count.send_modify(|calls| calls.begun += 1);
                let (line, count) = (lines.subscribe(), count.clone());
                let server = *servers.borrow();
                calling.spawn("call", async move {
                    carry(client, server, line).await;
                    count.send_modify(|calls| calls.ended += 1);
                });
            }
        });
        Self { url, line, server, calls, _tasks: tasks }
    }

    /// Returns host and port at which the line begins.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").expect("it is made so")
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }

    /// Leads new connections to another server.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// Ends the connections there are; new ones are carried.
    pub(crate) async fn cut(&self) {
        self.set(Line::Cut);
        self.wait(|calls| calls.begun == calls.ended).await;
        self.set(Line::Open);
    }

    pub(crate) async fn wait(&self, reached: impl Fn(&Calls) -> bool) {
        let mut calls = self.calls.clone();
        calls.wait_for(reached).await.expect("the proxy runs");
    }
}

/// Carries one connection until an end closes it or the line is cut.
async fn carry(mut client: TcpStream, server: SocketAddr, mut line: watch::Receiver<Line>) {
    if *line.borrow() == Line::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    client.set_nodelay(true).expect("it is open");
    server.set_nodelay(true).expect("it is open");
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) =
        (client.split(), server.split());
    let hears = line.clone();
    let down = async {
        let mut bytes = [0; 4096];
        loop {
            let read = from_server.read(&mut bytes).await.unwrap_or_default();
            let deaf = *hears.borrow() == Line::Deaf;
            if read == 0 || (!deaf && to_client.write_all(&bytes[..read]).await.is_err()) {
                return;
            }
        }
    };
    let mut held = line.clone();
    let up = async {
        let mut bytes = [0; 4096];
        loop {
            let read = from_client.read(&mut bytes).await.unwrap_or_default();
            // The line goes on as long as there is somebody to change it.
            let _ = held.wait_for(|line| *line != Line::Held).await;
            if read == 0 || to_server.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
        _ = line.wait_for(|line| *line == Line::Cut) => {}
    }
}
