//! One node's HTTP interface: a request, its bounded answer, and its refusal as an error.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use reqwest::header::ETAG;
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::credentials;
use crate::cli::doc::model::Problem;
use crate::client::{Answer, AskError, Bounds, Credentials, Http};
use crate::types::{DocId, Revision};

/// Large documents take their time.
const BOUNDS: Bounds = Bounds { silence_max: Duration::from_secs(60), answer_bytes_max: 1 << 29 };

/// Asks one node about one document.
#[derive(Debug)]
pub(crate) struct Client {
    http: Http,
    document: Url,
}

impl Client {
    /// Returns a client of the node at `url`.
    pub(crate) async fn open(
        url: Url,
        credentials: &Credentials,
        doc: &DocId,
    ) -> anyhow::Result<Self> {
        let served = matches!(url.scheme(), "http" | "https");
        ensure!(served, "{url} is not served: --url takes an http:// or https:// address");
        // With the port, which the address of a plain server must have.
        let base = format!(
            "{}://{}:{}",
            url.scheme(),
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default()
        );
        ensure!(
            url.username().is_empty() && url.password().is_none(),
            "--url takes no user or password: name the file of a token with --token-file"
        );
        let http = Http::open(&base, credentials, BOUNDS).await?;
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
        self.send(Method::GET, &self.asked(path, query), None).await
    }

    /// Reads the text that is at a path below the document, and of which revision it is.
    pub(crate) async fn text(
        &self,
        path: &str,
        query: &[(&str, Option<u64>)],
    ) -> anyhow::Result<(Revision, String)> {
        let answer = self.answer(Method::GET, &self.asked(path, query), None).await?;
        let rev = answer.headers.get(ETAG).and_then(|tag| revision(tag.to_str().ok()?));
        let read = String::from_utf8(answer.body).ok().and_then(|text| Some((rev?, text)));
        read.with_context(|| self.odd())
    }

    /// Changes what is at a path below the document.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> anyhow::Result<T> {
        let body = body.map(serde_json::to_vec).transpose()?;
        self.send(method, &self.url(path), body).await
    }

    fn asked(&self, path: &str, query: &[(&str, Option<u64>)]) -> Url {
        let mut url = self.url(path);
        for (name, value) in query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, &value.to_string());
            }
        }
        url
    }

    fn url(&self, path: &str) -> Url {
        let mut url = self.document.clone();
        if !path.is_empty() {
            url.path_segments_mut().expect("an http address has a path").push(path);
        }
        url
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &Url,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<T> {
        let answer = self.answer(method, url, body).await?;
        serde_json::from_slice(&answer.body).with_context(|| self.odd())
    }

    fn odd(&self) -> String {
        let node = self.document.origin().ascii_serialization();
        format!("the answer of {node} is not understood: is it a quire node of this version?")
    }

    /// Asks, and returns what is no refusal.
    async fn answer(
        &self,
        method: Method,
        url: &Url,
        body: Option<Vec<u8>>,
    ) -> anyhow::Result<Answer> {
        let node = self.document.origin().ascii_serialization();
        let answer = match self.http.ask(method, url.as_str(), body).await {
            Ok(answer) => answer,
            Err(AskError::Client(error)) => return Err(error.into()),
            Err(AskError::Unreached(_)) if self.document.scheme() == "http" => {
                bail!(
                    "no node answers at {node}: start one with `quire serve`, or name it with --url"
                )
            }
            Err(AskError::Unreached(why)) => {
                bail!("no node answers at {node} over TLS ({why}): name one with --url")
            }
            Err(error @ AskError::Unanswered(_)) => {
                return Err(error).context(format!(
                    "{node} did not answer: whether a change was made is not known, look before \
                     you repeat it"
                ));
            }
            Err(error @ AskError::Broken(_)) => {
                return Err(error).context(format!("{node} did not answer to the end"));
            }
        };
        let (status, body) = (answer.status, &answer.body);
        if !status.is_success() {
            let next = match status {
                StatusCode::UNAUTHORIZED => format!("\n{}", credentials::HINT),
                _ => String::new(),
            };
            match serde_json::from_slice::<Problem>(body) {
                Ok(problem) if problem.detail.is_empty() => bail!("{}{next}", problem.title),
                Ok(problem) => bail!("{}{next}", problem.detail),
                Err(_) if status.is_redirection() => bail!(
                    "{node} answered {status}, which is not followed: name the address where it \
                     leads to with --url"
                ),
                Err(_) => bail!("{node} answered {status}: is it a quire node of this version?"),
            }
        }
        Ok(answer)
    }
}

/// Returns which revision an entity tag names.
fn revision(tag: &str) -> Option<Revision> {
    let rest = tag.strip_prefix("\"rev-")?;
    rest.split(['.', '"']).next()?.parse().ok().map(Revision)
}
