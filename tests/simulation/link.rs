//! A connection to a document without a socket: what the edge does for one client.

use std::sync::Arc;

use quire::client::replica::{Missed, Snapshot, Welcome};
use quire::doc::{self, Change, ConnId, Content, Event, Join, Mode, Refusal, Socket};
use quire::router::Document;
use quire::types::{DocId, Revision, SessionId};
use tokio::sync::mpsc;

use crate::life::Life;

/// What a client says first.
pub(crate) struct Hello {
    pub(crate) doc: DocId,
    pub(crate) session: SessionId,
    pub(crate) socket: u64,
    pub(crate) rev: Option<Revision>,
    pub(crate) mode: Mode,
    pub(crate) ordered: bool,
}

/// A connection, as long as it lasts.
pub(crate) struct Link {
    pub(crate) handle: Document,
    pub(crate) conn: ConnId,
    pub(crate) welcomed: Revision,
    pub(crate) events: mpsc::UnboundedReceiver<Event>,
    pub(crate) life: Life,
}

struct Outbox(mpsc::UnboundedSender<Event>);

impl doc::Outbox for Outbox {
    fn push(&self, event: Event) {
        // A client that has gone is told nothing.
        let _ = self.0.send(event);
    }
}

/// Connects a client to its document in one life of the node; it is there as long as it waits.
pub(crate) async fn connect(life: &Life, hello: &Hello) -> Result<(Link, doc::Welcome), Refusal> {
    let (outbox, events) = mpsc::unbounded_channel();
    let outbox = Arc::new(Outbox(outbox));
    let mut replaces = None;
    let (handle, welcome) = loop {
        let join = || Join {
            socket: Socket { id: hello.socket, replaces },
            rev: hello.rev,
            mode: hello.mode,
            ordered: hello.ordered,
            ..Join::new(hello.session, outbox.clone())
        };
        life.moves().await;
        match life.router.join(&hello.doc, join).await {
            Err(Refusal::Occupied { by }) => replaces = Some(by),
            joined => break joined?,
        }
    };
    let link =
        Link { handle, conn: welcome.conn, welcomed: welcome.head, events, life: life.clone() };
    Ok((link, welcome))
}

/// Puts a welcome into the client's words.
pub(crate) fn welcome(session: SessionId, welcome: &doc::Welcome) -> Welcome {
    let missed = |change: &Arc<Change>| Missed {
        base: change.base,
        own: (change.session == session).then_some(change.seq),
        op: change.op.clone(),
    };
    let snapshot = match &welcome.content {
        Content::Text(text) => Snapshot::Text(text.clone()),
        Content::Changes(changes) => {
            Snapshot::Missed { after: welcome.rev, list: changes.iter().map(missed).collect() }
        }
    };
    Welcome { head: welcome.head, seq: welcome.seq, op_bytes: 1 << 16, snapshot }
}
