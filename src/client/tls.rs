//! Connections to servers over TLS 1.2 or 1.3. A server is believed by the certificates of the
//! system's CAs, or by those of one file alone; there is no way not to look.

use std::error::Error as Cause;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hyper_rustls::ConfigBuilderExt;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::client::Error;
use crate::task::Tasks;

/// A connection to a server, plain or secure.
pub(crate) type Stream = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Is by what a client believes that servers are the ones it means; cheap to clone. By default
/// that is the system's CAs, which are read when the first server over TLS is connected to.
#[derive(Clone, Default)]
pub struct Tls {
    made: Arc<OnceLock<Made>>,
}

type Made = Result<Arc<ClientConfig>, Error>;

impl Tls {
    /// Believes what the CAs in a PEM file have signed, and nobody else.
    ///
    /// # Errors
    /// [`Error::Certificate`] where the file cannot be read or holds no certificate of a CA.
    pub fn trusting(ca_file: &Path) -> Result<Self, Error> {
        let bad = |why: &dyn fmt::Display| {
            let detail = format!("{} holds no usable CA: {why}", ca_file.display());
            Error::Certificate { detail }
        };
        let pem = std::fs::read(ca_file).map_err(|error| bad(&error))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = roots.add(certificate.map_err(|error| bad(&error))?);
            added.map_err(|error| bad(&error))?;
        }
        if roots.is_empty() {
            return Err(bad(&"a certificate in PEM is wanted"));
        }
        let config = builder()?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { made: Arc::new(OnceLock::from(Ok(Arc::new(config)))) })
    }

    /// Returns the settings of connections to servers whose addresses are `secure`, or of those
    /// where nobody is believed because TLS is not wanted.
    ///
    /// # Errors
    /// [`Error::Certificate`] where the system has no CAs.
    pub(crate) async fn config(&self, secure: bool) -> Result<Arc<ClientConfig>, Error> {
        if !secure {
            let nobody = builder()?.with_root_certificates(RootCertStore::empty());
            return Ok(Arc::new(nobody.with_no_client_auth()));
        }
        let made = self.made.clone();
        // Where the system has many, they take a while.
        Tasks::offload(move || made.get_or_init(by_the_system).clone()).await
    }

    /// Makes a connection to a host secure.
    ///
    /// # Errors
    /// [`Error::Certificate`] where the host is not the one that is meant, [`Error::Lost`] where
    /// it does not come to that.
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> Result<Stream, Error> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| Error::Url { detail: format!("{host} is no host") })?;
        let connector = TlsConnector::from(self.config(true).await?);
        let connected = connector.connect(name, stream).await;
        let stream = connected.map_err(|error| {
            distrust(&error).unwrap_or_else(|| Error::lost(format!("no TLS: {error}")))
        })?;
        Ok(Either::Right(Box::new(stream)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

fn by_the_system() -> Made {
    let believed = builder()?.try_with_platform_verifier();
    let believed = believed.map_err(|error| Error::Certificate {
        detail: format!("the system has no CAs to believe ({error}): name a file of them"),
    })?;
    Ok(Arc::new(believed.with_no_client_auth()))
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, Error> {
    let provider = Arc::new(ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    builder.map_err(|error| Error::Certificate { detail: error.to_string() })
}

/// Tells what is wrong with a server's certificate, if that is what ended a connection.
pub(crate) fn distrust(error: &(dyn Cause + 'static)) -> Option<Error> {
    let mut at = Some(error);
    while let Some(error) = at {
        if let Some(rustls::Error::InvalidCertificate(why)) = error.downcast_ref() {
            return Some(untrusted(why));
        }
        at = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn untrusted(why: &CertificateError) -> Error {
    let next = match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => "have it renewed, or set the clocks right",
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "name the CA that has signed it, if it is one of your own"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "use a name that it is made out to"
        }
        _ => "ask whoever runs the server",
    };
    Error::Certificate { detail: format!("the server's certificate is not taken ({why}): {next}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_cas_has_one_at_least_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let bad = || Tls::trusting(&path).expect_err("it has no CA").to_string();
        assert!(bad().contains("ca.pem holds no usable CA"), "{}", bad());
        for text in ["", "nothing", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
        {
            std::fs::write(&path, text).unwrap();
            assert!(bad().contains("holds no usable CA"), "{text}");
        }
    }

    #[test]
    fn a_certificate_that_is_not_taken_is_found_below_other_errors() {
        let why = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let error = io::Error::other(io::Error::other(why));
        let told = distrust(&error).expect("it is found").to_string();
        assert!(told.contains("UnknownIssuer") && told.contains("name the CA"), "{told}");
        assert!(distrust(&io::Error::other("else")).is_none());
    }
}
