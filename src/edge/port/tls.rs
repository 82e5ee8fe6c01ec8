//! TLS 1.3 and 1.2 of the clients' port, with a certificate that is renewed without a restart.
//!
//! The files are read again at a handshake, once a second at most, and whenever the process is told
//! to (SIGHUP). New ones that cannot be used are not taken: the last good ones stay, and the log
//! says why, once. Connections that are open go on with what they began with.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{Error, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use crate::edge::port::validity::expiry;
use crate::edge::{Config, Metrics};
use crate::task::Tasks;

/// How often the files are looked at, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is spoken over TLS, the most wanted first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Secures connections of clients; cheap to clone.
#[derive(Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

/// Tells why TLS cannot be spoken, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{option}: {} cannot be read: {reason}", path.display())]
    Unreadable {
        /// The option that names the file.
        option: &'static str,
        /// Where it is.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A file does not hold what it must.
    #[error("{option}: there is no {what} in {}", path.display())]
    Empty {
        /// The option that names the file.
        option: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// Clients would not take the certificate, or TLS cannot be made of it.
    #[error("edge.tls-certificate-file: {0}")]
    Certificate(String),
    /// The key is another certificate's.
    #[error("edge.tls-key-file is not the key of the certificate in edge.tls-certificate-file")]
    OtherKey,
}

struct Inner {
    files: Files<PathBuf>,
    held: Mutex<Held>,
    metrics: Metrics,
}

#[derive(Clone, PartialEq, Eq)]
struct Files<T> {
    certificate: T,
    key: T,
}

/// What is used until something newer is good.
struct Held {
    looked: Instant,
    /// What was in the files when they were read last.
    last: Result<Files<Vec<u8>>, TlsError>,
    acceptor: TlsAcceptor,
    /// Why that is not used, as it was logged.
    told: Option<TlsError>,
}

impl Tls {
    /// Reads the files that a configuration names; none where the port is plain.
    ///
    /// # Errors
    /// [`TlsError`]; a certificate that has expired is refused, too.
    pub fn open(config: &Config, metrics: &Metrics) -> Result<Option<Self>, TlsError> {
        let files = Files {
            certificate: config.tls_certificate_file.clone(),
            key: config.tls_key_file.clone(),
        };
        if files.certificate.as_os_str().is_empty() {
            return Ok(None);
        }
        let read = files.read()?;
        let (acceptor, expires) = files.acceptor(&read)?;
        metrics.tls_expires.set(expires);
        let held = Held { looked: Instant::now(), last: Ok(read), acceptor, told: None };
        let inner = Inner { files, held: Mutex::new(held), metrics: metrics.clone() };
        Ok(Some(Self { inner: Arc::new(inner) }))
    }

    /// Agrees with a client on how to speak.
    ///
    /// # Errors
    /// Where they do not agree, or the connection is lost.
    pub(crate) async fn accept<S>(&self, stream: S) -> std::io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let is_due = {
            let mut held = self.inner.held.lock();
            let is_due = held.looked.elapsed() >= LOOK_EVERY;
            if is_due {
                held.looked = Instant::now();
            }
            is_due
        };
        if is_due {
            self.reload().await;
        }
        let acceptor = self.inner.held.lock().acceptor.clone();
        acceptor.accept(stream).await
    }

    /// Uses what is in the files from now on, if it is good.
    pub async fn reload(&self) {
        let reading = self.inner.files.clone();
        let read = Tasks::offload(move || reading.read()).await;
        let Inner { files, held, metrics } = &*self.inner;
        let mut held = held.lock();
        held.looked = Instant::now();
        if read == held.last {
            return;
        }
        match read.clone().and_then(|read| files.acceptor(&read)) {
            Ok((acceptor, expires)) => {
                info!(expires, "a new certificate is used from now on");
                metrics.tls_expires.set(expires);
                (held.acceptor, held.told) = (acceptor, None);
            }
            Err(reason) => {
                if held.told.as_ref() != Some(&reason) {
                    warn!(%reason, "a new certificate is not used: the last good one stays");
                }
                held.told = Some(reason);
            }
        }
        held.last = read;
    }
}

/// Tells whether a client wants HTTP/2.
pub(crate) fn wants_http2<S>(stream: &TlsStream<S>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(PROTOCOLS[0])
}

impl Files<PathBuf> {
    fn read(&self) -> Result<Files<Vec<u8>>, TlsError> {
        let read = |(option, path): (&'static str, &PathBuf)| {
            std::fs::read(path).map_err(|error| unreadable((option, path), error))
        };
        Ok(Files { certificate: read(self.certificate())?, key: read(self.key())? })
    }

    fn certificate(&self) -> (&'static str, &PathBuf) {
        ("edge.tls-certificate-file", &self.certificate)
    }

    fn key(&self) -> (&'static str, &PathBuf) {
        ("edge.tls-key-file", &self.key)
    }

    /// Returns what speaks TLS with these files, and when their certificate expires.
    fn acceptor(&self, read: &Files<Vec<u8>>) -> Result<(TlsAcceptor, i64), TlsError> {
        let (option, path) = self.certificate();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read.certificate).collect();
        let chain = chain.map_err(|error| unreadable((option, path), error))?;
        let Some(own) = chain.first() else {
            return Err(TlsError::Empty { option, path: path.clone(), what: "certificate" });
        };
        let unknown = || TlsError::Certificate("it does not say until when it is good".to_owned());
        let expires = expiry(own).ok_or_else(unknown)?;
        let now = i64::try_from(UnixTime::now().as_secs()).unwrap_or(i64::MAX);
        if expires <= now {
            return Err(TlsError::Certificate("it has expired: renew it".to_owned()));
        }
        let (option, path) = self.key();
        let key = PrivateKeyDer::from_pem_slice(&read.key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                TlsError::Empty { option, path: path.clone(), what: "private key" }
            }
            error => unreadable((option, path), error),
        })?;
        let unusable = |error: Error| match error {
            Error::InconsistentKeys(_) => TlsError::OtherKey,
            error => TlsError::Certificate(error.to_string()),
        };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Ok((Arc::new(config).into(), expires))
    }
}

fn unreadable(
    (option, path): (&'static str, &PathBuf),
    reason: impl std::fmt::Display,
) -> TlsError {
    TlsError::Unreadable { option, path: path.clone(), reason: reason.to_string() }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
