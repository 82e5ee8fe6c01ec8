//! Asks a node's admin port, and turns refusals into errors.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::admin::model::{Event, Problem};
use crate::cli::http;

/// The longest answer, and the longest line of a stream, that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// A command may wait for the brokers; a stream is never silent for so long.
const READ_TIMEOUT: Duration = Duration::from_secs(40);

/// Asks one node.
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
}

/// Events as they come.
pub(crate) struct Stream {
    response: Response,
    rest: Vec<u8>,
    node: String,
}

impl Client {
    /// Returns a client of the node at `url`.
    pub(crate) fn new(url: Url) -> anyhow::Result<Self> {
        let http = http::client(&url, READ_TIMEOUT)?;
        Ok(Self { http, url })
    }

    /// Reads what is at a path.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> anyhow::Result<T> {
        let request = self.http.get(self.at(path, query));
        self.answered(request).await
    }

    /// Sends something to a path.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let request = self.http.request(Method::POST, self.at(path, &[])).json(body);
        self.answered(request).await
    }

    /// Opens the stream of events after a control offset.
    pub(crate) async fn events(&self, after: Option<u64>, follow: bool) -> anyhow::Result<Stream> {
        let mut query = vec![("follow", follow.to_string())];
        query.extend(after.map(|after| ("after", after.to_string())));
        let response = self.send(self.http.get(self.at(&["events"], &query))).await?;
        Ok(Stream { response, rest: Vec::new(), node: self.node() })
    }

    fn node(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    fn at(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.url.clone();
        let mut segments = url.path_segments_mut().expect("an http address has a path");
        segments.pop_if_empty().push("v1").extend(path);
        drop(segments);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn answered<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let node = self.node();
        let response = self.send(request).await?;
        let body = http::read(response, ANSWER_BYTES_MAX)
            .await
            .with_context(|| format!("the answer of {node} broke off"))?;
        serde_json::from_slice(&body).with_context(|| {
            format!("the answer of {node} is not understood: is it a node of this version?")
        })
    }

    /// Sends a request; an answer that is a refusal is an error.
    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let node = self.node();
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => bail!(
                "no node serves operators at {node}: start one with --admin-listen, or name \
                 another one with --url"
            ),
            Err(error) => {
                return Err(error.without_url()).context(format!(
                    "{node} did not answer: whether a command counts is not known, look at `quire \
                     status` before you repeat it"
                ));
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = http::read(response, ANSWER_BYTES_MAX).await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) if problem.next.is_empty() => bail!("{}", problem.detail),
            Ok(problem) => bail!("{}: {}", problem.detail, problem.next),
            Err(_) => bail!("{node} answered {status}: is it the admin port of a node?"),
        }
    }
}

impl Stream {
    /// Returns the next event, none at the end.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let event = serde_json::from_slice(&line);
                let node = &self.node;
                return event.map(Some).with_context(|| format!("an event of {node} is none"));
            }
            let broke = || format!("the events of {} broke off", self.node);
            let Some(chunk) = self.response.chunk().await.with_context(broke)? else {
                return Ok(None);
            };
            ensure!(self.rest.len() + chunk.len() <= ANSWER_BYTES_MAX, "an event is too long");
            self.rest.extend_from_slice(&chunk);
        }
    }
}
