//! An issuer's keys, kept up to date by one task. How a document is fetched is behind [`Fetch`];
//! when, is [`crate::auth::rotation`].
//!
//! A fetch that brings a document without a key that there was is repeated before the key is gone
//! ([`crate::auth::published`]). One that fails, or brings what is no document, leaves the keys as
//! they are until they are [`Pace::stale_after`] old. After that they are not trusted: an issuer
//! that has withdrawn a key must not be overruled for ever by whoever can keep this node from
//! asking.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::auth::error::BadJwks;
use crate::auth::jwks;
use crate::auth::keys::KeySet;
use crate::auth::metrics::Metrics;
use crate::auth::own_keys::OwnKeys;
use crate::auth::published::Published;
use crate::auth::rotation::{Pace, Rotation};
use crate::task::Tasks;

/// The most tokens that wait for a fetch at once; the others are judged by the keys there are.
const ASKS_MAX: usize = 256;

/// Fetches an issuer's document.
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Returns the document as it is now, of which [`jwks::JWKS_BYTES_MAX`] bytes and one more are
    /// enough.
    async fn fetch(&self) -> Result<Bytes, NotFetched>;
}

/// Tells why a document could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum NotFetched {
    /// The issuer did not answer, or not with a document.
    #[error("{0}: is the address right, and can this node reach it?")]
    Failed(String),
    /// The issuer did not answer in time.
    #[error("the issuer did not answer in time: can this node reach it?")]
    Late,
    /// What came is of no use.
    #[error(transparent)]
    Document(#[from] BadJwks),
}

/// Holds the newest keys of an issuer.
#[derive(Debug, Clone)]
pub struct Remote {
    own: OwnKeys,
    held: watch::Receiver<Held>,
    asks: mpsc::Sender<oneshot::Sender<()>>,
    pace: Pace,
}

#[derive(Debug, Clone, Default)]
struct Held {
    keys: Arc<KeySet>,
    fetched: Option<Instant>,
}

impl Remote {
    /// Starts to fetch; the keys that are configured stay beside those that come.
    pub fn start(
        own: impl Into<OwnKeys>,
        fetch: Arc<dyn Fetch>,
        pace: Pace,
        metrics: Metrics,
        tasks: &Tasks,
    ) -> Self {
        let own = own.into();
        let (publish, held) = watch::channel(Held::default());
        let (asks, asked) = mpsc::channel(ASKS_MAX);
        let rotation = Rotation::new(pace);
        let (own_too, published) = (own.clone(), Published::default());
        let refresher =
            Refresher { own: own_too, fetch, pace, rotation, published, metrics, publish };
        let token = tasks.token().clone();
        tasks.spawn("issuer-keys", async move {
            token.run_until_cancelled(refresher.run(asked)).await;
        });
        Self { own, held, asks, pace }
    }

    /// Returns the keys that are configured.
    pub fn own(&self) -> Arc<KeySet> {
        self.own.keys()
    }

    /// Returns all keys, or nothing if the fetched ones are not to be trusted.
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        let held = self.held.borrow();
        let age = held.fetched?.elapsed();
        (age < self.pace.stale_after).then(|| held.keys.clone())
    }

    /// Waits until the keys may be others.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn renewed(&mut self) {
        if self.held.changed().await.is_err() {
            // The node stops.
            pending::<()>().await;
        }
    }

    /// Asks for newer keys, and waits until they are there or will not come: no longer than
    /// [`Pace::fetch_max`] behind a fetch that is under way.
    ///
    /// # Cancel safety
    /// May be dropped.
    pub async fn refresh(&self) {
        let (answer, answered) = oneshot::channel();
        if self.asks.try_send(answer).is_ok() {
            // The task has ended where nothing comes: the keys stay as they are.
            let _ = answered.await;
        }
    }
}

struct Refresher {
    own: OwnKeys,
    fetch: Arc<dyn Fetch>,
    pace: Pace,
    rotation: Rotation,
    published: Published,
    metrics: Metrics,
    publish: watch::Sender<Held>,
}

impl Refresher {
    async fn run(mut self, mut asked: mpsc::Receiver<oneshot::Sender<()>>) {
        loop {
            let due = self.rotation.due(Instant::now());
            let ask = tokio::select! {
                biased;
                () = self.own.changed() => {
                    self.renew();
                    continue;
                }
                () = sleep_until(due) => None,
                ask = asked.recv() => match ask {
                    Some(ask) => Some(ask),
                    None => return,
                },
            };
            if ask.is_none() || self.rotation.may_ask(Instant::now()) {
                self.refresh().await;
            }
            // Who asked may have gone.
            let _ = ask.map(|ask| ask.send(()));
        }
    }

    async fn refresh(&mut self) {
        self.rotation.begin(Instant::now());
        let fetch = self.fetch.clone();
        let mut fetching = pin!(timeout(self.pace.fetch_max, fetch.fetch()));
        let document = loop {
            tokio::select! {
                document = &mut fetching => break document,
                () = self.own.changed() => self.renew(),
            }
        };
        let document = document.unwrap_or(Err(NotFetched::Late));
        let answer = document.and_then(|document| Ok(jwks::parse(&document)?));
        self.metrics.fetched(answer.is_ok());
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                warn!(%error, "the issuer's keys were not renewed");
                return;
            }
        };
        let now = Instant::now();
        self.published.take(answer, now, self.pace.confirm_after);
        match self.published.doubted() {
            0 => self.rotation.succeed(now),
            lacked => {
                info!(lacked, "the issuer's answer lacks keys: gone if the next one does, too");
                self.rotation.doubt(now);
            }
        }
        self.tell(Some(now));
    }

    /// Has all know the keys that are configured now, beside those that were fetched.
    fn renew(&self) {
        // It is not to be borrowed while it is replaced.
        let fetched = self.publish.borrow().fetched;
        self.tell(fetched);
    }

    /// Has all know the keys that there are, of which those of the issuer came then.
    fn tell(&self, fetched: Option<Instant>) {
        let keys = Arc::new(self.published.behind(&self.own.keys()));
        let ids = |held: &KeySet| -> Vec<_> {
            held.keys().iter().map(|key| (key.id().cloned(), key.thumbprint())).collect()
        };
        if ids(&self.publish.borrow().keys) == ids(&keys) {
            debug!(keys = keys.keys().len(), "the keys are the same");
        } else {
            info!(keys = keys.keys().len(), "there are other keys");
        }
        self.publish.send_replace(Held { keys, fetched });
    }
}
