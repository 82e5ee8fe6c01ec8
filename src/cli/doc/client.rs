//! One node's HTTP interface: a request, its bounded answer, and its refusal as an error.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Method, RequestBuilder, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::doc::model::Problem;
use crate::cli::http;
use crate::types::DocId;

const ANSWER_BYTES_MAX: usize = 1 << 29;
/// A pause of the server, not a whole answer: large documents take their time.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks one node about one document.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    document: Url,
}

impl Client {
    /// Returns a client of the node at `url`.
    pub(crate) fn new(url: Url, doc: &DocId) -> anyhow::Result<Self> {
        let http = http::client(&url, READ_TIMEOUT)?;
        let mut document = url;
        document.path_segments_mut().expect("an http address has a path").pop_if_empty().extend([
            "v1",
            "docs",
            doc.as_str(),
        ]);
        Ok(Self { http, document })
    }

    /// Reads what is at a path below the document; numbers that are missing are not sent.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, Option<u64>)],
    ) -> anyhow::Result<T> {
        let mut url = self.url(path);
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value.to_string());
            }
        }
        self.send(self.http.get(url)).await
    }

    /// Changes what is at a path below the document.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let mut request = self.http.request(method, self.url(path));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request).await
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.document.clone();
        if !path.is_empty() {
            url.path_segments_mut().expect("an http address has a path").push(path);
        }
        url
    }

    async fn send<T: DeserializeOwned>(&self, request: RequestBuilder) -> anyhow::Result<T> {
        let node = self.document.origin().ascii_serialization();
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                bail!(
                    "no node answers at {node}: start one with `quire serve`, or name it with --url"
                )
            }
            Err(error) => {
                return Err(error.without_url()).context(format!(
                    "{node} did not answer: whether a change was made is not known, look before \
                     you repeat it"
                ));
            }
        };
        let status = response.status();
        let body = http::read(response, ANSWER_BYTES_MAX)
            .await
            .with_context(|| format!("the answer of {node} broke off"))?;
        if !status.is_success() {
            match serde_json::from_slice::<Problem>(&body) {
                Ok(problem) if problem.detail.is_empty() => bail!("{}", problem.title),
                Ok(problem) => bail!("{}", problem.detail),
                Err(_) => bail!("{node} answered {status}: is it a quire node of this version?"),
            }
        }
        serde_json::from_slice(&body).with_context(|| {
            format!("the answer of {node} is not understood: is it a quire node of this version?")
        })
    }
}
