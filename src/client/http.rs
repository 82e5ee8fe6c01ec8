//! Questions to a server over HTTP, with the same credentials as over a socket. No redirect is
//! followed: a token goes where it was meant to go, and nowhere else.

use std::error::Error as Cause;
use std::fmt;
use std::io;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use futures_util::TryStreamExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;

use crate::client::address::Address;
use crate::client::tls::distrust;
use crate::client::{AskError, Credentials};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How slowly a server may take what is sent, in bytes a second: it may have a rate for each user.
const TAKEN_PER_SECOND_MIN: u64 = 64 << 10;

/// Asks one server.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    credentials: Credentials,
    bounds: Bounds,
}

/// Is how long a server may be silent, and how much it may say.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The longest pause before an answer or in it.
    pub silence_max: Duration,
    /// The longest answer.
    pub answer_bytes_max: usize,
}

/// Is what a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The status, of a refusal or a redirect, too.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Http {
    /// Prepares to ask the server at `url`, `http://host:port` or `https://host`.
    ///
    /// # Errors
    /// [`AskError::Client`].
    pub async fn open(
        url: &str,
        credentials: &Credentials,
        bounds: Bounds,
    ) -> Result<Self, AskError> {
        let address = Address::read(url)?;
        let config = credentials.tls.config(address.secure).await?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_MAX));
        let tls = HttpsConnectorBuilder::new().with_tls_config((*config).clone());
        let connector = match address.secure {
            true => tls.https_only().enable_http1().wrap_connector(tcp),
            false => tls.https_or_http().enable_http1().wrap_connector(tcp),
        };
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { client, credentials: credentials.clone(), bounds })
    }

    /// Asks for an address of the server, with a body of JSON or with none.
    ///
    /// # Errors
    /// [`AskError`]; a refusal of the server is an answer.
    pub async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Answer, AskError> {
        let Bounds { silence_max, .. } = self.bounds;
        let mut request = Request::builder().method(method).uri(url);
        if let Some(shown) = self.credentials.header().await? {
            request = request.header(AUTHORIZATION, shown);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let bytes = body.as_ref().map_or(0, Vec::len) as u64;
        let sending = Duration::from_secs(bytes / TAKEN_PER_SECOND_MIN);
        let request = request.body(body.map_or_else(Body::empty, Body::from));
        let request = request.map_err(|error| AskError::Unreached(error.to_string()))?;
        let within = silence_max + sending;
        let answered = timeout(within, self.client.request(request)).await;
        let answered = answered.map_err(|_| AskError::Unanswered(silent(within)))?;
        let answer = answered.map_err(|error| match distrust(&error) {
            Some(untrusted) => AskError::Client(untrusted),
            None if error.is_connect() => AskError::Unreached(root(&error)),
            None => AskError::Unanswered(root(&error)),
        })?;
        let (head, body) = answer.into_parts();
        let body = self.read(Body::new(body).into_data_stream()).await?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    async fn read(&self, mut chunks: BodyDataStream) -> Result<Vec<u8>, AskError> {
        let Bounds { silence_max, answer_bytes_max } = self.bounds;
        let mut body = Vec::new();
        loop {
            let chunk = timeout(silence_max, chunks.try_next()).await;
            let chunk = chunk.map_err(|_| AskError::Broken(silent(silence_max)))?;
            let chunk = chunk.map_err(|error| AskError::Broken(root(&error)))?;
            let Some(chunk) = chunk else { return Ok(body) };
            if chunk.len() > answer_bytes_max - body.len() {
                let why = format!("it is longer than {answer_bytes_max} bytes");
                return Err(AskError::Broken(why));
            }
            body.extend_from_slice(&chunk);
        }
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

fn silent(within: Duration) -> String {
    format!("the server was silent for {} s", within.as_secs())
}

/// Returns what is at the bottom of an error: the others only say where it was met.
fn root(error: &(dyn Cause + 'static)) -> String {
    let mut at = error;
    loop {
        let inner = at.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        match inner.map(|inner| inner as &(dyn Cause + 'static)).or_else(|| at.source()) {
            Some(next) => at = next,
            None => return at.to_string(),
        }
    }
}
