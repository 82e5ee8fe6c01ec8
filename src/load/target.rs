//! Where a run goes.

use crate::wire::Codec;

/// What every run has in common.
#[derive(Debug, Clone)]
pub struct Target {
    /// The servers, `http://host:port`; clients are spread over them.
    pub urls: Vec<String>,
    /// The encoding.
    pub codec: Codec,
    /// What the names of the documents begin with; a fresh one for each run.
    pub prefix: String,
}

impl Target {
    /// Returns the server of the n-th client.
    pub(crate) fn url(&self, n: usize) -> &str {
        &self.urls[n % self.urls.len()]
    }
}
