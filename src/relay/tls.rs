//! Links over TLS 1.3: both sides show a certificate of the cluster's CA that names their node.
//!
//! ```text
//! dial ─► TLS: the certificate names the node that is wanted ─► Hello
//! accept ─► TLS: a certificate of the CA ─► Hello ─► it names the node that the peer says it is
//! ```
//! The files are read at each handshake, so that certificates are renewed without a restart. New
//! ones that do not fit together are not taken: the last good ones stay. Links that are up go on
//! with the certificates that they began with.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls::client::{
    Resumption, WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name,
};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, RootCertStore, ServerConfig,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, sink};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::{info, warn};

use crate::relay::Config;
use crate::relay::error::{HelloError, TlsError};
use crate::relay::network::Stream;
use crate::task::Tasks;
use crate::types::NodeId;

/// How long, and for how many bytes, a peer that was refused may take to hear why.
const DISMISSAL: (Duration, u64) = (Duration::from_secs(1), 64 << 10);

/// Secures the connections of a node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    me: NodeId,
    files: Files<PathBuf>,
    held: Mutex<Held>,
}

/// What TLS is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files<T> {
    certificate: T,
    key: T,
    ca: T,
}

/// What is used until something newer is good.
struct Held {
    /// What was in the files when they were read last.
    last: Result<Files<Vec<u8>>, TlsError>,
    sides: Sides,
    /// Why that is not used, as it was logged.
    told: Option<TlsError>,
}

#[derive(Clone)]
struct Sides {
    dial: TlsConnector,
    answer: TlsAcceptor,
}

/// Who a peer can be.
pub(crate) struct Certificate(CertificateDer<'static>);

impl Tls {
    /// Reads the files that a configuration names; none where links are plain.
    ///
    /// # Errors
    /// [`TlsError`]; a certificate that peers would not take is refused, too.
    pub fn open(config: &Config, me: &NodeId) -> Result<Option<Self>, TlsError> {
        let files = Files {
            certificate: config.tls_certificate_file.clone(),
            key: config.tls_key_file.clone(),
            ca: config.tls_ca_file.clone(),
        };
        if files.certificate.as_os_str().is_empty() {
            return Ok(None);
        }
        let read = files.read()?;
        let sides = files.sides(&read, me)?;
        let held = Mutex::new(Held { last: Ok(read), sides, told: None });
        Ok(Some(Self { inner: Arc::new(Inner { me: me.clone(), files, held }) }))
    }

    /// Makes sure that the node that was dialled answers.
    ///
    /// # Errors
    /// [`HelloError`]. That the peer does not take the own certificate shows in what is read next.
    pub(crate) async fn connect(
        &self,
        stream: Box<dyn Stream>,
        node: &NodeId,
    ) -> Result<Box<dyn Stream>, HelloError> {
        let Some(name) = name(node) else {
            return Err(HelloError::Certificate(TlsError::Name(node.clone()).to_string()));
        };
        let connected = self.sides().await.dial.connect(name, stream).await;
        Ok(Box::new(connected.map_err(handshake)?))
    }

    /// Makes sure that whoever has dialled is of the cluster.
    ///
    /// # Errors
    /// [`HelloError`]; the peer has been told, as TLS does it.
    pub(crate) async fn accept(
        &self,
        stream: Box<dyn Stream>,
        within: Duration,
    ) -> Result<(Box<dyn Stream>, Certificate), HelloError> {
        let end = Instant::now() + within;
        let handshaken = timeout_at(end, async {
            self.sides().await.answer.accept(stream).into_fallible().await
        });
        match handshaken.await {
            Err(_) => Err(HelloError::Silent(within)),
            Ok(Err((error, stream))) => {
                dismiss(stream).await;
                Err(handshake(error))
            }
            Ok(Ok(stream)) => {
                let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
                let shown = shown.expect("TLS asks for one").into_owned();
                Ok((Box::new(stream), Certificate(shown)))
            }
        }
    }

    /// Returns both sides with what is in the files now, or with the last that was good.
    async fn sides(&self) -> Sides {
        let Inner { me, files, held, .. } = &*self.inner;
        let reading = files.clone();
        let read = Tasks::offload(move || reading.read()).await;
        let mut held = held.lock();
        if read != held.last {
            match read.clone().and_then(|read| files.sides(&read, me)) {
                Ok(sides) => {
                    info!("new files of TLS are used from now on");
                    (held.sides, held.told) = (sides, None);
                }
                Err(reason) => {
                    if held.told.as_ref() != Some(&reason) {
                        warn!(%reason, "new files of TLS are not used: the last good ones stay");
                    }
                    held.told = Some(reason);
                }
            }
            held.last = read;
        }
        held.sides.clone()
    }
}

impl Certificate {
    /// Checks that it names a node.
    ///
    /// # Errors
    /// [`HelloError::Certificate`].
    pub(crate) fn names(&self, node: &NodeId) -> Result<(), HelloError> {
        let verified = ParsedCertificate::try_from(&self.0).and_then(|shown| match name(node) {
            Some(name) => verify_server_name(&shown, &name),
            None => Err(CertificateError::NotValidForName.into()),
        });
        verified.map_err(|error| HelloError::Certificate(refused(&error)))
    }
}

impl Files<PathBuf> {
    fn read(&self) -> Result<Files<Vec<u8>>, TlsError> {
        let read = |(option, path): (&'static str, &PathBuf)| {
            std::fs::read(path).map_err(|error| unreadable((option, path), error))
        };
        Ok(Files {
            certificate: read(self.certificate())?,
            key: read(self.key())?,
            ca: read(self.ca())?,
        })
    }

    fn certificate(&self) -> (&'static str, &PathBuf) {
        ("relay.tls-certificate-file", &self.certificate)
    }

    fn key(&self) -> (&'static str, &PathBuf) {
        ("relay.tls-key-file", &self.key)
    }

    fn ca(&self) -> (&'static str, &PathBuf) {
        ("relay.tls-ca-file", &self.ca)
    }

    /// Returns both sides of a node's connections, if peers with the same CA take them.
    fn sides(&self, read: &Files<Vec<u8>>, me: &NodeId) -> Result<Sides, TlsError> {
        let name = name(me).ok_or_else(|| TlsError::Name(me.clone()))?;
        let chain = certificates(self.certificate(), &read.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&read.key).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => {
                let (option, path) = self.key();
                TlsError::Empty { option, path: path.clone(), what: "private key" }
            }
            error => unreadable(self.key(), error),
        })?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(self.ca(), &read.ca)? {
            roots.add(certificate).map_err(|error| unreadable(self.ca(), error))?;
        }
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let unusable = |error: &dyn std::fmt::Display| TlsError::Certificate(error.to_string());
        let of_nodes = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
        let of_nodes = of_nodes.build().map_err(|error| unusable(&error))?;
        let of_diallers = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
        let of_diallers = of_diallers.build().map_err(|error| unusable(&error))?;
        let untaken = |error: Error| match error {
            Error::InconsistentKeys(_) => TlsError::OtherKey,
            error => TlsError::Certificate(refused(&error)),
        };
        let mut dial = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&TLS13])
            .map_err(untaken)?
            .with_webpki_verifier(of_nodes.clone())
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(untaken)?;
        let mut answer = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(untaken)?
            .with_client_cert_verifier(of_diallers.clone())
            .with_single_cert(chain.clone(), key)
            .map_err(untaken)?;
        // Whoever comes again is looked at again.
        dial.resumption = Resumption::disabled();
        answer.session_storage = Arc::new(NoServerSessionStorage {});
        answer.send_tls13_tickets = 0;
        if let [own, between @ ..] = &*chain {
            let now = UnixTime::now();
            of_nodes.verify_server_cert(own, between, &name, &[], now).map_err(untaken)?;
            of_diallers.verify_client_cert(own, between, now).map_err(untaken)?;
        }
        Ok(Sides { dial: Arc::new(dial).into(), answer: Arc::new(answer).into() })
    }
}

fn certificates(
    (option, path): (&'static str, &PathBuf),
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| unreadable((option, path), error))?;
    if found.is_empty() {
        return Err(TlsError::Empty { option, path: path.clone(), what: "certificate" });
    }
    Ok(found)
}

fn unreadable(
    (option, path): (&'static str, &PathBuf),
    reason: impl std::fmt::Display,
) -> TlsError {
    TlsError::Unreadable { option, path: path.clone(), reason: reason.to_string() }
}

/// Returns a node's name as certificates have it.
fn name(node: &NodeId) -> Option<ServerName<'static>> {
    let name = DnsName::try_from(node.0.as_str().to_owned());
    name.ok().map(ServerName::DnsName)
}

/// Lets a peer that was refused hear why: what it has sent meanwhile would reset the connection.
async fn dismiss(mut stream: Box<dyn Stream>) {
    let (within, bytes) = DISMISSAL;
    let hearing = async {
        stream.shutdown().await?;
        copy(&mut stream.take(bytes), &mut sink()).await
    };
    // It is gone either way.
    let _ = timeout(within, hearing).await;
}

/// Tells whether bytes are the beginning of TLS: a handshake or an alert of any version.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15 | 0x16, 3, ..])
}

/// Tells what TLS has against a connection, if it is TLS that ends it.
pub(crate) fn why(error: &io::Error) -> Option<HelloError> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
            HelloError::Certificate(refused(error))
        }
        Error::InvalidMessage(_) => HelloError::Plain(error.to_string()),
        Error::AlertReceived(alert) => match next(*alert) {
            Some(next) => HelloError::OwnCertificate(format!("{alert:?}: {next}")),
            None => HelloError::Tls(format!("it says {alert:?}: look at its log")),
        },
        error => HelloError::Tls(error.to_string()),
    })
}

fn handshake(error: io::Error) -> HelloError {
    why(&error).unwrap_or_else(|| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            let detail = "it closed during the TLS handshake: is relay.tls-* set there, too?";
            HelloError::Lost(detail.to_owned())
        }
        _ => HelloError::Lost(error.to_string()),
    })
}

/// Says what is wrong with a certificate, and what to do.
fn refused(error: &Error) -> String {
    let Error::InvalidCertificate(why) = error else {
        return match error {
            Error::NoCertificatesPresented => "it has none: set relay.tls-* there".to_owned(),
            error => error.to_string(),
        };
    };
    let next = match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "renew it, or set the clocks right",
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "have it signed by a CA of relay.tls-ca-file"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the node's name must be among its DNS names"
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it must be for servers and for clients"
        }
        _ => "have a new one made",
    };
    format!("{why}: {next}")
}

/// Says what to do where a peer has refused the own certificate.
fn next(alert: AlertDescription) -> Option<&'static str> {
    match alert {
        AlertDescription::CertificateExpired => Some("renew it, or set the clocks right"),
        AlertDescription::UnknownCA => Some("have it signed by a CA of its relay.tls-ca-file"),
        AlertDescription::CertificateRequired
        | AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked => Some("its log tells why"),
        _ => None,
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("told", &self.told).finish_non_exhaustive()
    }
}
