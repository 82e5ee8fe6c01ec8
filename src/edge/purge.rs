//! Tells caches in front of the cluster that the page of a public document has changed.
//!
//! ```text
//! document ─► Purger (a set behind a lock) ─► queue of each cache ─► PURGE http://cache/pub/{doc}
//! ```
//! The owner of a document tells, and each cache is told by itself: one that is down keeps no other
//! waiting. A cache that cannot be told shows a page until its time is over.

mod config;
mod queue;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, Uri};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::doc::Herald;
use crate::edge::Metrics;
use crate::edge::pages::{SURROGATE_KEY, surrogate_key};
use crate::edge::purge::queue::{Failed, Noted, Queue};
use crate::task::Tasks;
use crate::types::DocId;

pub use config::Config;

/// How many documents one cache is told of at once.
const AT_ONCE: usize = 16;

/// How much of a cache's answer is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// How long caches are told what waits when the node stops.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// Tells that caches cannot be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPurge {
    /// One of the addresses is none; it may hold a secret.
    #[error("purge.caches: the address number {0} is none: write http://cache/pub/{{doc}}")]
    Url(usize),
    /// The certificates of this machine cannot be used.
    #[error("no TLS client could be made to tell caches of changes")]
    Tls,
}

/// Tells caches of changes.
pub struct Purger {
    caches: Vec<Arc<Cache>>,
    debounce: Duration,
}

/// One cache, or what stands for it.
struct Cache {
    /// The address, with `{doc}` where the document belongs.
    template: String,
    /// Where it is, for log lines: the address may hold a secret.
    name: String,
    method: Method,
    client: Client<HttpsConnector<HttpConnector>, Body>,
    timeout: Duration,
    debounce: Duration,
    metrics: Metrics,
    queue: Mutex<Queue>,
    /// Is told when the first document waits.
    wake: Notify,
}

impl Purger {
    /// Returns what tells the caches that are configured, or nothing if there is none.
    ///
    /// # Errors
    /// [`BadPurge`].
    pub fn open(
        config: &Config,
        metrics: &Metrics,
        tasks: &Tasks,
    ) -> Result<Option<Arc<dyn Herald>>, BadPurge> {
        if config.caches.trim().is_empty() {
            return Ok(None);
        }
        let ring = rustls::crypto::ring::default_provider();
        let tls = HttpsConnectorBuilder::new().with_provider_and_platform_verifier(ring);
        let connector = tls.map_err(|_| BadPurge::Tls)?.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let mut caches = Vec::new();
        for (number, template) in config.caches.split_whitespace().enumerate() {
            let url = address(template, "doc").ok_or(BadPurge::Url(number + 1))?;
            let port = url.port_u16().map_or(String::new(), |port| format!(":{port}"));
            let name = format!("{}{port}", url.host().unwrap_or_default());
            caches.push(Arc::new(Cache {
                template: template.to_owned(),
                name,
                method: Method::from_bytes(config.method.as_bytes()).unwrap_or(Method::POST),
                client: client.clone(),
                timeout: config.timeout,
                debounce: config.debounce,
                metrics: metrics.clone(),
                queue: Mutex::new(Queue::new(config.documents_max)),
                wake: Notify::new(),
            }));
        }
        for cache in &caches {
            tasks.spawn("purge", cache.clone().run(tasks.token().clone()));
        }
        Ok(Some(Arc::new(Self { caches, debounce: config.debounce })))
    }
}

impl Herald for Purger {
    fn changed(&self, doc: &DocId) {
        let due = Instant::now() + self.debounce;
        for cache in &self.caches {
            let noted = cache.queue.lock().note(doc, due);
            match noted {
                Noted::First => cache.wake.notify_one(),
                Noted::Waits => {}
                Noted::Dropped => cache.metrics.purges_dropped.inc(),
            }
        }
    }
}

impl Cache {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut sending = FuturesUnordered::new();
        let (mut is_down, mut counted) = (false, 0);
        loop {
            let next = {
                let mut queue = self.queue.lock();
                while sending.len() < AT_ONCE
                    && let Some(doc) = queue.take(Instant::now())
                {
                    sending.push(self.tell(doc));
                }
                let waiting = i64::try_from(queue.len()).unwrap_or(i64::MAX);
                // The caches count together.
                self.metrics.purges_waiting.add(waiting - std::mem::replace(&mut counted, waiting));
                queue.next().filter(|_| sending.len() < AT_ONCE)
            };
            let due = async {
                match next {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((doc, told)) = sending.next() => self.settle(doc, told, &mut is_down),
                () = due => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => break,
            }
        }
        let farewell = async {
            loop {
                while sending.len() < AT_ONCE
                    && let Some(doc) = self.queue.lock().take_any()
                {
                    sending.push(self.tell(doc));
                }
                // Each is tried once.
                let Some((_, told)) = sending.next().await else { return };
                if told.is_ok() {
                    self.metrics.purges_sent.inc();
                }
            }
        };
        // What is left, the caches show until its time is over.
        let _ = timeout(FAREWELL_MAX, farewell).await;
    }

    /// Tells the cache of one document.
    async fn tell(&self, doc: DocId) -> (DocId, Result<(), String>) {
        let told = match timeout(self.timeout, self.ask(&doc)).await {
            Ok(told) => told,
            Err(_) => Err("it does not answer in time".to_owned()),
        };
        (doc, told)
    }

    async fn ask(&self, doc: &DocId) -> Result<(), String> {
        let address = address(&self.template, doc.as_str()).ok_or("its address is none")?;
        let request = Request::builder().method(self.method.clone()).uri(address);
        let request = request.header(SURROGATE_KEY, surrogate_key(doc)).body(Body::empty());
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        })?;
        let status = answer.status();
        // What it says more is of no use, but that its connection can be used again.
        let _ = to_bytes(Body::new(answer.into_body()), ANSWER_BYTES_MAX).await;
        match status {
            status if status.is_success() => Ok(()),
            status => Err(format!("it answers {status}")),
        }
    }

    fn settle(&self, doc: DocId, told: Result<(), String>, is_down: &mut bool) {
        let now = Instant::now();
        match told {
            Ok(()) => {
                self.metrics.purges_sent.inc();
                self.queue.lock().done(doc, now + self.debounce);
                if std::mem::take(is_down) {
                    info!(cache = self.name, "a cache is told of changes again");
                }
            }
            Err(reason) => {
                self.metrics.purges_failed.inc();
                let failed = self.queue.lock().failed(doc, now, rand::random());
                if failed == Failed::GivenUp {
                    self.metrics.purges_given_up.inc();
                }
                if !std::mem::replace(is_down, true) {
                    let cache = &self.name;
                    warn!(cache, reason, "a cache cannot be told of changes: it shows old pages");
                }
            }
        }
    }
}

/// Returns the address for a document; its id needs no spelling of its own in one.
fn address(template: &str, doc: &str) -> Option<Uri> {
    let address: Uri = template.replace("{doc}", doc).parse().ok()?;
    let is_one = matches!(address.scheme_str(), Some("http" | "https"));
    (is_one && address.host().is_some_and(|host| !host.is_empty())).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_for_every_document() {
        let of = |template: &str| address(template, "a.b~c").map(|address| address.to_string());
        for (template, address) in [
            ("http://cache/pub/{doc}", Some("http://cache/pub/a.b~c")),
            ("https://[::1]:80/x?k=doc-{doc}", Some("https://[::1]:80/x?k=doc-a.b~c")),
            ("http://cache/all", Some("http://cache/all")),
            ("ftp://cache/{doc}", None),
            ("cache:80/{doc}", None),
            ("/pub/{doc}", None),
            ("http://", None),
            ("{doc}", None),
        ] {
            assert_eq!(of(template).as_deref(), address, "{template}");
        }
    }
}
