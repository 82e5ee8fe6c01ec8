//! Whom a node lets in, as its configuration says.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::auth::{
    self, Csrf, Keys, Logins, Pace, Remote, Repeats, Revocations, Secret, Tickets, Verifier, jwks,
    listed,
};
use crate::clock::Clock;
use crate::config::{Config, Engine};
use crate::edge::doors::{Doors, Endings, Guard, Origins};
use crate::folder;
use crate::node::issuer::Issuer;
use crate::node::keys::KeyFiles;
use crate::task::Tasks;
use crate::telemetry;

/// The longest file of a key or a secret, in bytes.
const FILE_BYTES_MAX: u64 = jwks::JWKS_BYTES_MAX as u64;

/// Where a node that is alone keeps the secret that it made.
const SECRET_FILE: &str = "login-secret";

/// Builds the doors of a node, and returns the files of keys that may be read again.
///
/// # Errors
/// Where a key or a secret cannot be had; the message says what to do next.
pub(in crate::node) fn doors(
    config: &Config,
    clock: Clock,
    registry: &telemetry::Registry,
    tasks: &Tasks,
    revoked: watch::Receiver<Arc<Revocations>>,
) -> anyhow::Result<(Doors, Option<KeyFiles>)> {
    let auth = &config.auth;
    let origins = Origins::read(listed(&auth.origins)).context("auth.origins")?;
    if !auth.has_keys() {
        warn!(address = %config.listen, "open: whoever reaches this node may do everything");
        let origins = if auth.open_public { origins } else { origins.only_here() };
        return Ok((Doors::Open(origins), None));
    }
    let metrics = auth::Metrics::register(registry)?;
    let (files, own) = KeyFiles::open(&auth.keys)?;
    let keys = if auth.jwks_url.is_empty() {
        Keys::Own(own)
    } else {
        let issuer = Arc::new(Issuer::new(&auth.jwks_url)?);
        Keys::Fetched(Remote::start(own, issuer, Pace::default(), metrics.clone(), tasks))
    };
    let policy = auth.policy();
    if policy.audiences.is_empty() {
        bail!(
            "auth.audiences is empty, so that no token is for this server: name it, say \"quire\""
        );
    }
    let (current, previous) = secrets(config)?;
    let previous = previous.as_ref();
    let tickets = Tickets::new(config.node.clone(), (&current, previous), auth.tickets_max);
    let guard = Guard {
        verifier: Verifier { keys, policy, clock, metrics },
        logins: Logins::new(&current, previous, auth.idle_max),
        csrf: Csrf::new(&current, previous),
        tickets: Mutex::new(tickets),
        repeats: Repeats::new(&current, previous),
        revoked,
        endings: endings(config)?,
        origins,
    };
    Ok((Doors::Guarded(Box::new(guard)), Some(files)))
}

/// Returns what knows which logins have ended: as the node did before, where it keeps anything. One
/// of a cluster may have no folder of its own, and learns from the others.
fn endings(config: &Config) -> anyhow::Result<Endings> {
    if config.log == Engine::Memory {
        return Ok(Endings::default());
    }
    let folder = config.data.display();
    match folder::make(&config.data).and_then(|()| Endings::open(&config.data, &config.node)) {
        Err(error) if config.peer_listen.is_some() => {
            warn!(%error, %folder, "who has signed out is known to other nodes alone: no folder");
            Ok(Endings::default())
        }
        opened => opened
            .with_context(|| format!("who has signed out is kept in {folder}: is it writable?")),
    }
}

/// Returns the secret that seals cookies, and the one before while it is being replaced.
fn secrets(config: &Config) -> anyhow::Result<(Secret, Option<Secret>)> {
    let auth = &config.auth;
    let named = |file: &str, key: &'static str| -> anyhow::Result<Option<Secret>> {
        if file.is_empty() {
            return Ok(None);
        }
        let text = read(Path::new(file)).context(key)?;
        Secret::read(&text).map(Some).with_context(|| format!("{key}: {file}"))
    };
    let previous = named(&auth.previous_secret_file, "auth.previous-secret-file")?;
    if let Some(current) = named(&auth.secret_file, "auth.secret-file")? {
        return Ok((current, previous));
    }
    if config.peer_listen.is_some() {
        bail!(
            "all nodes of a cluster need the same secret for the logins of browsers: put 32 random \
             bytes or more into a file (openssl rand -hex 32) and name it with auth.secret-file"
        );
    }
    let made = format!("{:032x}{:032x}\n", rand::random::<u128>(), rand::random::<u128>());
    if config.log == Engine::Memory && config.checkpoints == Engine::Memory {
        return Ok((Secret::read(made.as_bytes())?, previous));
    }
    let path = config.data.join(SECRET_FILE);
    if !path.exists() {
        folder::make(&config.data).context("the data folder cannot be made")?;
        // Half a secret would be another one after the next start.
        let written = folder::replace(&config.data, SECRET_FILE, made.as_bytes());
        written.with_context(|| {
            format!("cannot write {}: is the data folder writable?", path.display())
        })?;
        info!(path = %path.display(), "made a secret for the logins of browsers");
    }
    let text = read(&path)?;
    Ok((Secret::read(&text).with_context(|| path.display().to_string())?, previous))
}

/// Reads a file that is as long as a key or a secret at most.
pub(in crate::node) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let whole = || -> std::io::Result<Vec<u8>> {
        use std::io::Read;
        let mut text = Vec::new();
        fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        Ok(text)
    };
    let text = whole().with_context(|| {
        format!("{} cannot be read: is it there, and may this user read it?", path.display())
    })?;
    if text.len() as u64 > FILE_BYTES_MAX {
        bail!("{} is longer than any key: is it the right file?", path.display());
    }
    Ok(text)
}
