//! Where a run goes.

use anyhow::Context;
use futures_util::future::try_join_all;
use tokio::task::{AbortHandle, JoinHandle};

use crate::audit::Recorder;
use crate::client::{Connection, Credentials, Error, Options};
use crate::load::history::Joined;
use crate::types::{DocId, SessionId};
use crate::wire::{Codec, Hello, Mode, VERSION, Welcome};

/// What every run has in common.
#[derive(Debug, Clone)]
pub struct Target {
    /// The servers, `http://host:port` or `https://host`; clients are spread over them.
    pub urls: Vec<String>,
    /// What is shown to them, and by what they are believed.
    pub credentials: Credentials,
    /// The encoding.
    pub codec: Codec,
    /// What the names of the documents begin with; a fresh one for each run.
    pub prefix: String,
    /// Where what the clients see is written down.
    pub history: Option<Recorder>,
}

impl Target {
    /// Returns the server of the n-th client.
    pub(crate) fn url(&self, n: usize) -> &str {
        &self.urls[n % self.urls.len()]
    }

    /// Returns the name of the n-th document.
    pub(crate) fn doc(&self, n: usize) -> anyhow::Result<DocId> {
        Ok(format!("{}-{n}", self.prefix).parse()?)
    }

    /// Returns how the n-th document is looked at.
    pub(crate) fn options(&self, n: usize) -> Options {
        Options {
            credentials: self.credentials.clone(),
            codec: self.codec,
            ..Options::new(self.url(n))
        }
    }

    /// Connects the n-th client, for editing.
    pub(crate) async fn join(
        &self,
        n: usize,
        doc: &DocId,
        session: SessionId,
    ) -> Result<(Joined, Welcome), Error> {
        let hello =
            Hello { v: VERSION, session, rev: None, mode: Mode::Edit, ordered: false, user: None };
        let opened =
            Connection::open(self.url(n), &self.credentials, doc, self.codec, hello).await?;
        let (connection, welcome) = opened;
        let client = format!("{doc}/{n}");
        let tape = |recorder: &Recorder| recorder.tape(&client, doc, session.participant());
        let joined = Joined::new(connection, &welcome, self.history.as_ref().map(tape));
        Ok((joined, welcome))
    }
}

/// Waits for all clients. The first that fails ends the others: they may be waiting for it.
pub(crate) async fn all<T>(clients: Vec<JoinHandle<anyhow::Result<T>>>) -> anyhow::Result<Vec<T>> {
    let others: Vec<_> = clients.iter().map(JoinHandle::abort_handle).collect();
    let one = async |client: JoinHandle<_>| client.await.context("a client failed")?;
    let done = try_join_all(clients.into_iter().map(one)).await;
    if done.is_err() {
        others.iter().for_each(AbortHandle::abort);
    }
    done
}
