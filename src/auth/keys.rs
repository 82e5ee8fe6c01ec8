//! Keys: what a token is verified with, and what it is signed with.
//!
//! A key is bound to the one algorithm that its kind is for. A token's header names a key and an
//! algorithm, and both have to fit; the header never chooses how a key is used. So the text of a
//! public RSA key is no secret for HMAC: neither by a header that says HS256, nor by a mistake in a
//! configuration, since [`Key::secret`] refuses what is a key in PEM or DER.

use std::fmt;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, DecodingKeyKind, EncodingKey, crypto};
use ring::digest::{Context, SHA256};

use crate::auth::error::{BadKey, Refusal};
use crate::auth::names::KeyId;
use crate::auth::provider;

/// The most keys of a set.
pub const KEYS_MAX: usize = 64;

/// The least bytes of a shared secret: what SHA-256 can make use of.
pub const SECRET_BYTES_MIN: usize = 32;

/// Is a way of signing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa];

    /// Returns its name in a token's header.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(crate) fn library(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// Tells keys apart by what they are, whatever they are called: the beginning of a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint(pub [u8; 16]);

impl Thumbprint {
    fn of(algorithm: Algorithm, decoding: &DecodingKey) -> Self {
        let mut hashed = Context::new(&SHA256);
        let parts = match decoding.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => [&bytes[..], &[]],
            DecodingKeyKind::RsaModulusExponent { n, e } => [&n[..], &e[..]],
        };
        for part in [b"quire key 1", algorithm.name().as_bytes(), parts[0], parts[1]] {
            hashed.update(&(part.len() as u64).to_le_bytes());
            hashed.update(part);
        }
        let hash = hashed.finish();
        let (print, _) = hash.as_ref().split_first_chunk().expect("a hash is 32 bytes");
        Self(*print)
    }
}

/// Verifies tokens.
#[derive(Clone)]
pub struct Key {
    id: Option<KeyId>,
    algorithm: Algorithm,
    thumbprint: Thumbprint,
    decoding: DecodingKey,
}

impl Key {
    /// Returns a shared secret, for HS256.
    ///
    /// # Errors
    /// [`BadKey::ShortSecret`]; [`BadKey::NoSecret`] for what is a key in PEM or DER.
    pub fn secret(id: Option<KeyId>, secret: &[u8]) -> Result<Self, BadKey> {
        checked_secret(secret)?;
        let decoding = DecodingKey::from_secret(secret).map_err(|_| BadKey::ShortSecret)?;
        Self::bound(id, Algorithm::Hs256, decoding)
    }

    /// Reads what a file or an option holds: a public key in PEM, a private one (of which the
    /// public half is taken), or a shared secret, up to the end of its line.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn read(id: Option<KeyId>, text: &[u8]) -> Result<Self, BadKey> {
        match Armor::of(text)? {
            Armor::None => Self::secret(id, line(text)),
            Armor::Private => SigningKey::read(id, text)?.verifying(),
            Armor::Public => {
                let rsa = DecodingKey::from_rsa_pem(text).map(|key| (Algorithm::Rs256, key));
                let (algorithm, decoding) = rsa
                    .or_else(|_| DecodingKey::from_ec_pem(text).map(|key| (Algorithm::Es256, key)))
                    .or_else(|_| DecodingKey::from_ed_pem(text).map(|key| (Algorithm::EdDsa, key)))
                    .map_err(|_| BadKey::Format)?;
                Self::bound(id, algorithm, decoding)
            }
        }
    }

    /// Binds a key to its algorithm, where it is a key for it.
    pub(crate) fn bound(
        id: Option<KeyId>,
        algorithm: Algorithm,
        decoding: DecodingKey,
    ) -> Result<Self, BadKey> {
        let size = |bytes: &[u8], expected| if bytes.len() == expected { Ok(()) } else { Err(()) };
        let fits = match (algorithm, decoding.kind()) {
            (Algorithm::Hs256, DecodingKeyKind::SecretOrDer(_)) => Ok(()),
            (Algorithm::Es256, DecodingKeyKind::SecretOrDer(point)) => size(point, 65),
            (Algorithm::EdDsa, DecodingKeyKind::SecretOrDer(point)) => size(point, 32),
            (Algorithm::Rs256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
                rsa_bits(n)?;
                Ok(())
            }
            (Algorithm::Rs256, DecodingKeyKind::SecretOrDer(der)) => {
                rsa_bits(modulus(der).ok_or(BadKey::Format)?)?;
                Ok(())
            }
            (Algorithm::Hs256 | Algorithm::Es256 | Algorithm::EdDsa, _) => Err(()),
        };
        provider::install();
        fits.map_err(|()| BadKey::Format)?;
        let thumbprint = Thumbprint::of(algorithm, &decoding);
        Ok(Self { id, algorithm, thumbprint, decoding })
    }

    /// Returns the key's id.
    pub fn id(&self) -> Option<&KeyId> {
        self.id.as_ref()
    }

    /// Returns the one algorithm that the key is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns what tells it from other keys.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }

    /// Tells whether the signature, in base64url, is one of the message.
    pub(crate) fn has_signed(&self, message: &str, signature: &str) -> bool {
        provider::install();
        let algorithm = self.algorithm.library();
        crypto::verify(signature, message.as_bytes(), &self.decoding, algorithm) == Ok(true)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, algorithm) = (&self.id, self.algorithm);
        f.debug_struct("Key").field("id", id).field("algorithm", &algorithm).finish()
    }
}

/// Signs tokens.
pub struct SigningKey {
    id: Option<KeyId>,
    algorithm: Algorithm,
    encoding: EncodingKey,
}

impl SigningKey {
    /// Reads what a file holds: a private key in PEM, or a shared secret up to the end of its line.
    ///
    /// # Errors
    /// [`BadKey`].
    pub fn read(id: Option<KeyId>, text: &[u8]) -> Result<Self, BadKey> {
        let (algorithm, encoding) = match Armor::of(text)? {
            Armor::Public => return Err(BadKey::NoPrivate),
            Armor::None => {
                checked_secret(line(text))?;
                let secret = EncodingKey::from_secret(line(text));
                (Algorithm::Hs256, secret.map_err(|_| BadKey::ShortSecret)?)
            }
            Armor::Private => EncodingKey::from_rsa_pem(text)
                .map(|key| (Algorithm::Rs256, key))
                .or_else(|_| EncodingKey::from_ec_pem(text).map(|key| (Algorithm::Es256, key)))
                .or_else(|_| EncodingKey::from_ed_pem(text).map(|key| (Algorithm::EdDsa, key)))
                .map_err(|_| BadKey::Format)?,
        };
        let key = Self { id, algorithm, encoding };
        // A key that cannot sign is found here and not at the first token.
        key.verifying().map(|_| key)
    }

    /// Returns the key's id.
    pub fn id(&self) -> Option<&KeyId> {
        self.id.as_ref()
    }

    /// Returns the one algorithm that the key is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the key that verifies what this one signs.
    ///
    /// # Errors
    /// [`BadKey`], where the key is of another kind than its file says.
    pub fn verifying(&self) -> Result<Key, BadKey> {
        provider::install();
        let rejected = |_| match self.algorithm {
            Algorithm::Rs256 => BadKey::RsaBits,
            Algorithm::Hs256 | Algorithm::Es256 | Algorithm::EdDsa => BadKey::Format,
        };
        let library = self.algorithm.library();
        let public = Jwk::from_encoding_key(&self.encoding, library).map_err(rejected)?;
        let decoding = DecodingKey::from_jwk(&public).map_err(rejected)?;
        Key::bound(self.id.clone(), self.algorithm, decoding)
    }

    pub(crate) fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, algorithm) = (&self.id, self.algorithm);
        f.debug_struct("SigningKey").field("id", id).field("algorithm", &algorithm).finish()
    }
}

/// Holds the keys that are trusted.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    /// How many of them, at the end, their issuer does not name any more: they are meant only
    /// where no other one fits.
    doubted: usize,
}

impl KeySet {
    /// Returns a set of keys.
    ///
    /// # Errors
    /// [`BadKey::TooMany`]; [`BadKey::SameId`] for two keys of one algorithm.
    pub fn new(keys: Vec<Key>) -> Result<Self, BadKey> {
        if keys.len() > KEYS_MAX {
            return Err(BadKey::TooMany);
        }
        let twice = |(at, key): (usize, &Key)| key.id.is_some() && holds(&keys[..at], key);
        if keys.iter().enumerate().any(twice) {
            return Err(BadKey::SameId);
        }
        Ok(Self { keys, doubted: 0 })
    }

    /// Returns this set with the keys of another one behind it; one that has the id of a key of
    /// this set is left out.
    #[must_use]
    pub fn with(&self, others: &Self) -> Self {
        Self { keys: self.joined(&others.keys), doubted: 0 }
    }

    /// Returns this set, all of whose keys are named, with others behind it, likewise, that are
    /// trusted and not named any more.
    #[must_use]
    pub(crate) fn doubting<'a>(&'a self, others: impl IntoIterator<Item = &'a Key>) -> Self {
        let keys = self.joined(others);
        Self { doubted: keys.len() - self.keys.len(), keys }
    }

    fn joined<'a>(&'a self, others: impl IntoIterator<Item = &'a Key>) -> Vec<Key> {
        let new = |key: &&Key| key.id.is_none() || !holds(&self.keys, key);
        self.keys.iter().chain(others.into_iter().filter(new)).cloned().collect()
    }

    /// Returns the keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Tells whether there is this key.
    pub fn has(&self, thumbprint: Thumbprint) -> bool {
        self.keys.iter().any(|key| key.thumbprint == thumbprint)
    }

    /// Returns the key that a token's header means.
    ///
    /// # Errors
    /// [`Refusal::KeyUnknown`], [`Refusal::KeyAlgorithm`] or [`Refusal::KeyUnnamed`].
    pub fn find(&self, id: Option<&KeyId>, algorithm: Algorithm) -> Result<&Key, Refusal> {
        let is_named = |key: &&Key| id.is_none() || key.id.as_ref() == id;
        if id.is_some() && !self.keys.iter().any(|key| is_named(&key)) {
            return Err(Refusal::KeyUnknown);
        }
        let (named, doubted) = self.keys.split_at(self.keys.len() - self.doubted);
        for keys in [named, doubted] {
            let mut fitting = keys.iter().filter(is_named).filter(|key| key.algorithm == algorithm);
            match (fitting.next(), fitting.next()) {
                (None, _) => {}
                (Some(key), None) => return Ok(key),
                (Some(_), Some(_)) => return Err(Refusal::KeyUnnamed),
            }
        }
        Err(Refusal::KeyAlgorithm)
    }
}

fn holds(keys: &[Key], one: &Key) -> bool {
    keys.iter().any(|key| key.id == one.id && key.algorithm == one.algorithm)
}

/// Says how a key's text is wrapped.
enum Armor {
    Public,
    Private,
    None,
}

impl Armor {
    fn of(text: &[u8]) -> Result<Self, BadKey> {
        let text = text.trim_ascii_start();
        if text.starts_with(b"{") {
            return Err(BadKey::Format);
        }
        let Some(label) = text.strip_prefix(b"-----BEGIN ") else { return Ok(Self::None) };
        // A certificate, or a second block, would leave open which key is meant.
        if find(label, b"-----BEGIN ") {
            return Err(BadKey::Format);
        }
        let starts = |labels: [&[u8]; 2]| labels.into_iter().any(|name| label.starts_with(name));
        if starts([b"PUBLIC KEY-----", b"RSA PUBLIC KEY-----"]) {
            return Ok(Self::Public);
        }
        if starts([b"PRIVATE KEY-----", b"RSA PRIVATE KEY-----"]) {
            return Ok(Self::Private);
        }
        Err(BadKey::Format)
    }
}

fn checked_secret(secret: &[u8]) -> Result<(), BadKey> {
    let is_key = find(secret, b"-----BEGIN ")
        || secret.starts_with(b"ssh-")
        || der(secret, 0x30).is_some_and(|(_, rest)| rest.is_empty());
    if is_key {
        return Err(BadKey::NoSecret);
    }
    if secret.len() < SECRET_BYTES_MIN {
        return Err(BadKey::ShortSecret);
    }
    Ok(())
}

fn find(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

/// Returns the text without the end of its line, which editors and `echo` put there.
fn line(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn rsa_bits(modulus: &[u8]) -> Result<(), BadKey> {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let bytes = modulus.len() - zeros;
    if (256..=1_024).contains(&bytes) { Ok(()) } else { Err(BadKey::RsaBits) }
}

/// Returns the modulus of a public key as PKCS#1 writes it: a sequence of two integers.
fn modulus(pkcs1: &[u8]) -> Option<&[u8]> {
    let (sequence, _) = der(pkcs1, 0x30)?;
    let (modulus, _) = der(sequence, 0x02)?;
    Some(modulus)
}

/// Splits a DER value of a kind from what is behind it.
fn der(input: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = input else { return None };
    let (length, rest) = match (length, rest) {
        (0..=0x7f, rest) => (usize::from(*length), rest),
        (0x81, [one, rest @ ..]) => (usize::from(*one), rest),
        (0x82, [one, two, rest @ ..]) => (usize::from(*one) << 8 | usize::from(*two), rest),
        _ => return None,
    };
    (*first == kind).then(|| rest.split_at_checked(length)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! fixture {
        ($name:literal) => {
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/", $name))
        };
    }

    const SECRET: &[u8] = fixture!("secret.txt");
    const RSA_PUBLIC: &[u8] = fixture!("rsa-public.pem");

    #[track_caller]
    fn check(text: &[u8], expected: Result<Algorithm, BadKey>) {
        assert_eq!(Key::read(None, text).map(|key| key.algorithm()), expected);
    }

    #[test]
    fn a_key_is_bound_to_the_algorithm_of_its_kind() {
        check(SECRET, Ok(Algorithm::Hs256));
        check(RSA_PUBLIC, Ok(Algorithm::Rs256));
        check(fixture!("rsa-public-pkcs1.pem"), Ok(Algorithm::Rs256));
        check(fixture!("rsa.pem"), Ok(Algorithm::Rs256));
        check(fixture!("rsa-pkcs1.pem"), Ok(Algorithm::Rs256));
        check(fixture!("p256-public.pem"), Ok(Algorithm::Es256));
        check(fixture!("p256.pem"), Ok(Algorithm::Es256));
        check(fixture!("ed25519-public.pem"), Ok(Algorithm::EdDsa));
        check(fixture!("ed25519.pem"), Ok(Algorithm::EdDsa));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        check(fixture!("rsa-1024-public.pem"), Err(BadKey::RsaBits));
        check(fixture!("p384-public.pem"), Err(BadKey::Format));
        check(fixture!("p256-certificate.pem"), Err(BadKey::Format));
        check(fixture!("p256-sec1.pem"), Err(BadKey::Format));
        check(&[RSA_PUBLIC, fixture!("p256-public.pem")].concat(), Err(BadKey::Format));
        check(&RSA_PUBLIC[..200], Err(BadKey::Format));
        check(br#"{"kty":"oct","k":"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}"#, Err(BadKey::Format));
        check(b"", Err(BadKey::ShortSecret));
        check(&[b's'; 31], Err(BadKey::ShortSecret));
        check(&[&[b's'; 31][..], b"\r\n"].concat(), Err(BadKey::ShortSecret));
        check(&[b's'; 32], Ok(Algorithm::Hs256));
    }

    #[test]
    fn a_key_in_pem_or_der_is_no_secret() {
        let public = DecodingKey::from_rsa_pem(RSA_PUBLIC).expect("a key");
        let der = public.try_get_as_bytes().expect("DER");
        let behind = [b"x\n", RSA_PUBLIC].concat();
        let ssh = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ user@host";
        for text in [RSA_PUBLIC, der, &behind, ssh] {
            assert_eq!(Key::secret(None, text).err(), Some(BadKey::NoSecret));
            assert!(
                Key::read(None, text).is_err_and(|e| e == BadKey::NoSecret) || text == RSA_PUBLIC
            );
        }
        // Bytes that only begin like DER are a secret like any other.
        assert!(Key::secret(None, &[b'0'; 40]).is_ok());
    }

    #[test]
    fn a_public_key_signs_nothing() {
        assert_eq!(SigningKey::read(None, RSA_PUBLIC).err(), Some(BadKey::NoPrivate));
    }

    #[test]
    fn a_key_is_not_printed() {
        let key = Key::read("k".parse().ok(), SECRET).expect("a key");
        let signing = SigningKey::read("k".parse().ok(), SECRET).expect("a key");
        let shown = "{ id: Some(k), algorithm: Hs256 }";
        assert_eq!(format!("{key:?} {signing:?}"), format!("Key {shown} SigningKey {shown}"));
    }

    #[test]
    fn a_set_has_one_key_of_an_id_and_the_own_ones_first() {
        let key = |id: Option<&str>, text: &[u8]| {
            Key::read(id.map(|id| id.parse().expect("an id")), text).expect("a key")
        };
        let (one, two) = (key(Some("k"), SECRET), key(Some("k"), &[b'2'; 32]));
        let same = KeySet::new(vec![one.clone(), two.clone()]);
        assert_eq!(same.err(), Some(BadKey::SameId));
        let many = vec![key(None, SECRET); KEYS_MAX + 1];
        assert_eq!(KeySet::new(many).err(), Some(BadKey::TooMany));
        let rsa = key(Some("k"), RSA_PUBLIC);
        let own = KeySet::new(vec![one.clone(), rsa]).expect("of two algorithms");
        let theirs = KeySet::new(vec![two, key(Some("other"), &[b'3'; 32])]).expect("of two ids");
        let both = own.with(&theirs);
        assert_eq!(both.keys().len(), 3, "nobody takes the place of an own key");
        let id = "k".parse().ok();
        let found = both.find(id.as_ref(), Algorithm::Hs256).expect("it is there");
        assert_eq!(found.decoding.try_get_as_bytes(), one.decoding.try_get_as_bytes());
        assert!(both.find(id.as_ref(), Algorithm::Rs256).is_ok());
    }
}
