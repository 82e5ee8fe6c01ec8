//! The task that keeps a document connected: opens, resumes, waits and tries again.

use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::document::{Options, Shared, Status};
use crate::client::observer::Seen;
use crate::client::replica::{Batch, Effects, Missed, Replica, Snapshot, StreamError, Welcome};
use crate::client::{Backoff, Connection, Error};
use crate::text::Operation;
use crate::types::{DocId, Revision, SessionId};
use crate::wire::{self, CatchUp, ClientMessage, ErrorCode, Hello, ServerMessage, VERSION};

/// A server is given up that has been silent for so long: it pings every 30 s.
const SILENT_MAX: Duration = Duration::from_secs(75);

/// When a batch is sent again that the server did not take, where it does not say.
const RESEND: Duration = Duration::from_millis(100);

/// When a client that has something to write asks again where it was only allowed to read.
const READ_ONLY_RETRY: Duration = Duration::from_secs(5);

/// How long a client that was welcomed before waits for another token when its own is refused.
const RENEWAL_MAX: Duration = Duration::from_secs(60);

/// Keeps one document connected.
pub(crate) struct Link {
    doc: DocId,
    options: Options,
    session: SessionId,
    shared: Arc<Shared>,
}

/// What a link keeps from one connection to the next.
#[derive(Default)]
struct Past {
    backoff: Backoff,
    /// Whether a server has welcomed it.
    welcomed: bool,
    /// What it has shown last.
    token: Option<SecretString>,
}

/// What follows from a message.
enum Next {
    Send(Option<Batch>),
    /// Send again what is in flight, after a while.
    Resend(Duration),
}

/// What never comes: a link ends by an error only.
enum Never {}

impl Link {
    pub(crate) fn new(
        doc: DocId,
        options: Options,
        session: SessionId,
        shared: Arc<Shared>,
    ) -> Self {
        Self { doc, options, session, shared }
    }

    /// Works until the server does not take the client, whose handle is then told.
    pub(crate) async fn run(self) {
        let mut past = Past::default();
        for url in self.options.urls.iter().cycle() {
            let Err(error) = self.serve(url, &mut past).await;
            self.shared.disconnected();
            self.shared.saw(Seen::End);
            tracing::debug!(doc = %self.doc, reason = %error, "offline");
            self.shared.status.send_replace(Status::Offline);
            if !self.may_try_again(&error, &past).await {
                self.shared.status.send_replace(Status::Failed(error));
                return;
            }
            let named = match error {
                Error::Lost { retry, .. } => retry,
                Error::Refused { .. }
                | Error::Url { .. }
                | Error::Token { .. }
                | Error::Certificate { .. } => None,
            };
            sleep(past.backoff.wait(named)).await;
        }
        let nowhere = Error::Url { detail: "no server is named".to_owned() };
        self.shared.status.send_replace(Status::Failed(nowhere));
    }

    /// Tells whether another try may succeed. Where that takes another token, waits for it: as
    /// long as the client is at work, its edits are worth the wait.
    async fn may_try_again(&self, error: &Error, past: &Past) -> bool {
        let unknown = ErrorCode::Unauthenticated.close_code();
        match error {
            Error::Lost { .. } => true,
            // It was another one before, and will be again.
            Error::Certificate { .. } => past.welcomed,
            Error::Refused { close_code, .. } if *close_code == unknown => {
                self.renewed(past.token.as_ref(), past).await
            }
            // The file may be just being replaced, and the token in it be the same as before.
            Error::Token { .. } => self.renewed(None, past).await,
            Error::Refused { .. } | Error::Url { .. } => false,
        }
    }

    async fn renewed(&self, refused: Option<&SecretString>, past: &Past) -> bool {
        let within = if past.welcomed { RENEWAL_MAX } else { Duration::ZERO };
        match &self.options.credentials.token {
            Some(token) => token.renewed(refused, within).await,
            None => false,
        }
    }

    /// Connects and works until the connection ends.
    async fn serve(&self, url: &str, past: &mut Past) -> Result<Never, Error> {
        let (mut connection, granted) = self.open(url, past).await?;
        past.backoff.reset();
        past.welcomed = true;
        self.shared.status.send_replace(Status::Online);
        let (mut heard, mut resend) = (Instant::now(), None);
        loop {
            let batch = tokio::select! {
                biased;
                message = connection.receive() => {
                    heard = Instant::now();
                    match message?.map(|message| self.hear(message)).transpose()? {
                        Some(Next::Send(batch)) => batch,
                        Some(Next::Resend(after)) => {
                            resend = Some(heard + after);
                            None
                        }
                        None => None,
                    }
                }
                () = self.shared.unsent.notified() => self.shared.take_unsent(),
                () = sleep_until(resend.unwrap_or(heard)), if resend.is_some() => {
                    resend = None;
                    self.apply(|replica| {
                        Ok(Effects { show: Vec::new(), send: replica.resend() })
                    })?
                }
                () = sleep_until(heard + SILENT_MAX) => {
                    return Err(Error::lost("the server is silent"));
                }
            };
            if let Some(batch) = batch {
                self.send(&mut connection, granted, batch).await?;
            }
        }
    }

    /// Connects, and brings the replica and the server to the same revision.
    async fn open(&self, url: &str, past: &mut Past) -> Result<(Connection, wire::Mode), Error> {
        let (credentials, token) = self.options.credentials.now().await?;
        past.token = token;
        let mut rev = None;
        self.apply(|replica| {
            rev = replica.resume_from();
            Ok(Effects::default())
        })?;
        let hello = Hello {
            v: VERSION,
            session: self.session,
            rev,
            mode: self.options.mode,
            ordered: false,
            user: self.options.user.clone(),
        };
        let opened =
            Connection::open(url, &credentials, &self.doc, self.options.codec, hello).await?;
        let (mut connection, welcome) = opened;
        let granted = welcome.mode;
        let seen = Seen::Welcome { rev: welcome.rev, head: welcome.head, seq: welcome.seq };
        let batch = self.apply(|replica| replica.welcome(welcomed(welcome)))?;
        self.shared.saw(seen);
        if let Some(batch) = batch {
            self.send(&mut connection, granted, batch).await?;
        }
        Ok((connection, granted))
    }

    /// Sends a batch. Where the server takes none for the time being, the client asks again later.
    async fn send(
        &self,
        connection: &mut Connection,
        granted: wire::Mode,
        batch: Batch,
    ) -> Result<(), Error> {
        if granted == wire::Mode::View {
            let reason = "the document can only be read for the time being".to_owned();
            return Err(Error::Lost { reason, retry: Some(READ_ONLY_RETRY) });
        }
        let Batch { seq, base, op } = batch;
        // Before it is on its way: it may arrive though the sending fails.
        self.shared.saw(Seen::Sent { seq, base });
        connection.send(&ClientMessage::Op { seq, base, op }).await
    }

    fn hear(&self, message: ServerMessage) -> Result<Next, Error> {
        let batch = match message {
            ServerMessage::Op { rev, base, op, .. } => {
                let batch = self.apply(|replica| replica.remote(rev, base, op).map(shown))?;
                self.shared.saw(Seen::Op { first: rev, rev });
                batch
            }
            ServerMessage::Ops { rev, list } => {
                // One by one: what was shown before one that does not fit has been shown.
                for (rev, edit) in (rev.0..).zip(list) {
                    let (rev, wire::Edit { base, op, .. }) = (Revision(rev), edit);
                    self.apply(|replica| replica.remote(rev, base, op).map(shown))?;
                    self.shared.saw(Seen::Op { first: rev, rev });
                }
                None
            }
            ServerMessage::Merged { rev, op } => {
                let first = self.shared.revision().next();
                let batch = self.apply(|replica| replica.merged(rev, op).map(shown))?;
                self.shared.saw(Seen::Op { first, rev });
                batch
            }
            ServerMessage::Ack { seq, rev, op } => {
                let batch = self.apply(|replica| replica.ack(seq, rev, op))?;
                self.shared.saw(Seen::Ack { seq, rev });
                batch
            }
            ServerMessage::Error { fatal: false, retry, .. } => {
                return Ok(Next::Resend(retry.map_or(RESEND, Duration::from)));
            }
            ServerMessage::Error { code, msg, retry, .. } => {
                return Err(Error::told(code, msg, retry.map(Duration::from)));
            }
            ServerMessage::Moved { retry, .. } => {
                let reason = "the document changes its node".to_owned();
                return Err(Error::Lost { reason, retry: Some(retry.into()) });
            }
            ServerMessage::Welcome(_)
            | ServerMessage::Ordered { .. }
            | ServerMessage::Presence { .. }
            | ServerMessage::Pong { .. } => None,
        };
        Ok(Next::Send(batch))
    }

    fn apply(
        &self,
        message: impl FnOnce(&mut Replica) -> Result<Effects, StreamError>,
    ) -> Result<Option<Batch>, Error> {
        self.shared.apply(message).map_err(Error::lost)
    }
}

fn shown(op: Operation) -> Effects {
    Effects { show: vec![op], send: None }
}

/// Turns a welcome off the wire into the replica's.
pub(crate) fn welcomed(welcome: wire::Welcome) -> Welcome {
    let missed = |edit: wire::PastEdit| Missed { base: edit.base, op: edit.op, own: edit.own };
    let snapshot = match welcome.catch_up {
        CatchUp::Text(text) => Snapshot::Text(text),
        CatchUp::Ops(list) => {
            Snapshot::Missed { after: welcome.rev, list: list.into_iter().map(missed).collect() }
        }
    };
    let op_bytes = usize::try_from(welcome.limits.op_bytes).unwrap_or(usize::MAX);
    Welcome { head: welcome.head, seq: welcome.seq, op_bytes, snapshot }
}
