//! The files of the keys that tokens are verified with: read at the start, and again when the
//! process is hung up on.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::auth::{Key, KeyId, KeySet, OwnKeys, jwks, listed};
use crate::node::doors::read;
use crate::task::Tasks;

/// The files, and where what is in them is told.
#[derive(Debug)]
pub(in crate::node) struct KeyFiles {
    list: String,
    publish: watch::Sender<Arc<KeySet>>,
}

impl KeyFiles {
    /// Reads the files of a list, `FILE` or `KID=FILE` each.
    ///
    /// # Errors
    /// Where a file cannot be read or is no key; the message says what to do next.
    pub(in crate::node) fn open(list: &str) -> anyhow::Result<(Self, OwnKeys)> {
        let (publish, own) = OwnKeys::new(keys(list)?);
        Ok((Self { list: list.to_owned(), publish }, own))
    }

    /// Uses what is in the files from now on, if all of it is good: whoever was let in by a key
    /// that is gone is sent away.
    pub(in crate::node) async fn reload(&self) {
        let list = self.list.clone();
        match Tasks::offload(move || keys(&list)).await {
            Ok(keys) => {
                info!(keys = keys.keys().len(), "the files of keys were read again");
                self.publish.send_replace(Arc::new(keys));
            }
            Err(error) => {
                let reason = format!("{error:#}");
                warn!(reason, "new keys are not used: the last good ones stay");
            }
        }
    }
}

fn keys(list: &str) -> anyhow::Result<KeySet> {
    let mut keys = Vec::new();
    for entry in listed(list) {
        let (id, file) = match entry.split_once('=') {
            Some((id, file)) => {
                let id: KeyId = id.parse().with_context(|| format!("auth.keys: {id:?}"))?;
                (Some(id), file)
            }
            None => (None, entry),
        };
        let text = read(Path::new(file)).context("auth.keys")?;
        if text.trim_ascii_start().starts_with(b"{") {
            let named = jwks::parse(&text).with_context(|| format!("auth.keys: {file}"))?;
            keys.extend(named.keys().iter().cloned());
        } else {
            keys.push(Key::read(id, &text).with_context(|| format!("auth.keys: {file}"))?);
        }
    }
    KeySet::new(keys).context("auth.keys")
}
