//! Certificates made for a test.

use std::path::{Path, PathBuf};

use quire::relay;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key, in PEM.
pub(crate) struct Shown {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Where the files of a node are.
pub(crate) struct Folder(tempfile::TempDir);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let (params, key) = authority(name);
        let pem = params.self_signed(&key).expect("it signs itself").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns one that this one stands behind; its certificate is in `pem`.
    pub(crate) fn between(&self, name: &str) -> Self {
        let (params, key) = authority(name);
        let pem = params.signed_by(&key, &self.issuer).expect("it is signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn issue(&self, names: &[&str]) -> Shown {
        self.issue_with(names, |_| {})
    }

    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Shown {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("they are names");
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed").pem();
        Shown { certificate, key: key.serialize_pem() }
    }
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    (params, KeyPair::generate().expect("a key"))
}

impl Folder {
    pub(crate) fn new(shown: &Shown, ca: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("node.pem", &shown.certificate);
        folder.write("node.key", &shown.key);
        folder.write("ca.pem", ca);
        folder
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("it can be written");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        Path::join(self.0.path(), name)
    }

    /// Returns settings of links over TLS.
    pub(crate) fn config(&self) -> relay::Config {
        relay::Config {
            tls_certificate_file: self.path("node.pem"),
            tls_key_file: self.path("node.key"),
            tls_ca_file: self.path("ca.pem"),
            ..relay::Config::default()
        }
    }
}
