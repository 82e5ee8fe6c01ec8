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
    use super::*;

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
