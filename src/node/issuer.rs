//! Fetches the keys of an issuer over HTTPS.

use std::net::IpAddr;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Uri;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::auth::jwks::JWKS_BYTES_MAX;
use crate::auth::{Fetch, NotFetched};

/// Reaches an issuer: at the address that was configured and at no other, for redirects are not
/// followed.
pub(in crate::node) struct Issuer {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    address: Uri,
}

impl Issuer {
    /// Prepares to reach one.
    ///
    /// # Errors
    /// Where the address is none that keys may come from; the message says what to do next.
    pub(in crate::node) fn new(address: &str) -> anyhow::Result<Self> {
        let address: Uri = address.parse().map_err(|why| {
            anyhow::anyhow!("auth.jwks-url is no address ({why}): write it as https://...")
        })?;
        let host = address.host().unwrap_or_default().trim_matches(['[', ']']);
        let here = host.parse().is_ok_and(|host: IpAddr| host.is_loopback());
        match address.scheme_str() {
            Some("https") => {}
            Some("http") if here => {}
            _ => anyhow::bail!(
                "whoever is between this node and auth.jwks-url could let anybody in: use https"
            ),
        }
        let ring = rustls::crypto::ring::default_provider();
        let tls = HttpsConnectorBuilder::new().with_provider_and_platform_verifier(ring)?;
        let connector = tls.https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), address })
    }
}

#[async_trait]
impl Fetch for Issuer {
    async fn fetch(&self) -> Result<Bytes, NotFetched> {
        let failed = |why: String| NotFetched::Failed(why);
        let answer = self.client.get(self.address.clone()).await;
        let answer = answer.map_err(|error| failed(error.to_string()))?;
        if !answer.status().is_success() {
            return Err(failed(format!("the issuer answers {}", answer.status())));
        }
        let mut chunks = Body::new(answer.into_body()).into_data_stream();
        let mut document = BytesMut::new();
        while let Some(chunk) = chunks.try_next().await.map_err(|e| failed(e.to_string()))? {
            document.extend_from_slice(&chunk);
            if document.len() > JWKS_BYTES_MAX {
                break;
            }
        }
        Ok(document.freeze())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use prometheus::Registry;
    use tokio::net::TcpListener;
    use tokio::sync::{Mutex, mpsc};
    use tokio::time::timeout;

    use super::*;
    use crate::auth::{KeySet, Metrics, Pace, Remote};
    use crate::task::Tasks;

    /// An issuer at a port, which answers with what it is told to, one after the other.
    async fn issuer(tasks: &Tasks) -> (mpsc::Sender<String>, String) {
        let (tell, told) = mpsc::channel(1);
        let told = Arc::new(Mutex::new(told));
        let next = async move || told.lock().await.recv().await.unwrap_or_default();
        let keys = Router::new().route("/keys", get(next));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tasks.spawn("issuer", async { axum::serve(listener, keys).await.expect("it serves") });
        (tell, format!("http://{address}/keys"))
    }

    /// Returns a document of keys, by their ids.
    fn document(ids: &[&str]) -> String {
        let key = |id: &&str| {
            let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
            format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{id}","x":"{x}"}}"#)
        };
        format!(r#"{{"keys":[{}]}}"#, ids.iter().map(key).collect::<Vec<_>>().join(","))
    }

    #[tokio::test]
    async fn a_key_is_gone_when_the_issuer_says_so_twice() {
        let tasks = Tasks::new();
        let (tell, address) = issuer(&tasks).await;
        let patience = Duration::from_secs(30);
        // It is asked again and again, and answers when this test has it answer.
        let (none, fetch_max) = (Duration::ZERO, patience);
        let pace = Pace { age_max: none, confirm_after: none, fetch_max, ..Pace::default() };
        let issuer = Arc::new(Issuer::new(&address).expect("it is on this machine"));
        let metrics = Metrics::register(&Registry::new()).expect("a new registry");
        let mut remote = Remote::start(KeySet::default(), issuer, pace, metrics, &tasks);
        for (answer, expected) in [
            (&["new", "old"][..], &["new", "old"][..]),
            (&["new"], &["new", "old"]),
            (&["new", "old"], &["new", "old"]),
            (&["old"], &["old", "new"]),
            (&["newest", "new"], &["newest", "new", "old"]),
            (&["newest", "new"], &["newest", "new"]),
        ] {
            tell.send(document(answer)).await.expect("it serves");
            timeout(patience, remote.renewed()).await.expect("it comes");
            let keys = remote.keys().expect("they are new");
            let ids = keys.keys().iter().filter_map(|key| key.id().map(|id| id.to_string()));
            assert_eq!(ids.collect::<Vec<_>>(), expected, "after {answer:?}");
        }
        drop(tell);
        tasks.token().cancel();
    }

    #[tokio::test]
    async fn keys_come_over_tls_or_from_this_machine() {
        for good in ["https://issuer.example/keys", "http://127.0.0.1:1/", "http://[::1]/keys"] {
            assert!(Issuer::new(good).is_ok(), "{good}");
        }
        for bad in ["http://issuer.example/keys", "http://10.0.0.1/", "file:///keys", "keys", ""] {
            assert!(Issuer::new(bad).is_err(), "{bad}");
        }
    }
}
