//! The cluster's secret, from which the keys of cookies and of CSRF tokens are derived, each under
//! a label of its own (HKDF with SHA-256). All nodes have the same one, so that a cookie from one
//! node opens at every other. It is replaced in two steps: the new one becomes the current one and
//! the old one the previous one on all nodes; when what was made with it has expired, it goes.

use std::fmt;

use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use secrecy::{ExposeSecret, SecretSlice};

use crate::auth::error::BadKey;
use crate::auth::keys::SECRET_BYTES_MIN;

/// Is a secret of at least 32 bytes; `Debug` does not show it.
#[derive(Clone)]
pub struct Secret(SecretSlice<u8>);

impl Secret {
    /// Takes what a file or an option holds, without white space around it.
    ///
    /// # Errors
    /// [`BadKey::ShortSecret`].
    pub fn read(text: &[u8]) -> Result<Self, BadKey> {
        let text = text.trim_ascii();
        if text.len() < SECRET_BYTES_MIN {
            return Err(BadKey::ShortSecret);
        }
        Ok(Self(SecretSlice::from(text.to_vec())))
    }

    /// Derives the key of 32 bytes that has this label.
    pub(crate) fn derive(&self, label: &str) -> [u8; 32] {
        let root: Prk = Salt::new(HKDF_SHA256, b"quire").extract(self.0.expose_secret());
        let mut key = [0; 32];
        let label = [label.as_bytes()];
        let derived = root.expand(&label, Length).and_then(|derived| derived.fill(&mut key));
        derived.expect("HKDF gives 32 bytes");
        key
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

struct Length;

impl KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

/// Is a key while it is being replaced: the current one makes, both are taken.
#[derive(Debug, Clone)]
pub(crate) struct Rotating<K> {
    pub(crate) current: K,
    pub(crate) previous: Option<K>,
}

impl<K> Rotating<K> {
    pub(crate) fn derive(
        current: &Secret,
        previous: Option<&Secret>,
        label: &str,
        make: impl Fn(&[u8; 32]) -> K,
    ) -> Self {
        let key = |secret: &Secret| make(&secret.derive(label));
        Self { current: key(current), previous: previous.map(key) }
    }
}

/// Tells which key something was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// With the current one.
    Current,
    /// With the previous one: it is to be made anew before that goes.
    Previous,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_secrets_give_different_keys() {
        let [a, b] = [b"a".repeat(32), b"b".repeat(32)].map(|text| Secret::read(&text));
        let (a, b) = (a.expect("long enough"), b.expect("long enough"));
        assert_eq!(a.derive("x"), a.derive("x"));
        assert_ne!(a.derive("x"), a.derive("y"));
        assert_ne!(a.derive("x"), b.derive("x"));
        assert_eq!(format!("{a:?}"), "Secret");
        assert_eq!(Secret::read(&b" ".repeat(40)).err(), Some(BadKey::ShortSecret));
    }
}
