//! What the clients of a node's HTTP interfaces have in common.

use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::{Client, Response, Url};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Returns a client of the node at `url`, which may be silent for so long.
pub(crate) fn client(url: &Url, silence_max: Duration) -> anyhow::Result<Client> {
    ensure!(url.scheme() == "http", "{url} is not served: --url takes an http:// address");
    Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(silence_max)
        .build()
        .context("no HTTP client could be made")
}

/// Reads an answer's body.
pub(crate) async fn read(mut response: Response, bytes_max: usize) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = bytes_max - body.len();
        ensure!(chunk.len() <= room, "it is longer than {bytes_max} bytes");
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
