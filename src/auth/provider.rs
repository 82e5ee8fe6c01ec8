//! The cryptography of `jsonwebtoken`, done by `ring`, which TLS uses already. Nothing here decides
//! what is trusted: a key and an algorithm come in, and what does not fit together fails.
//!
//! `jsonwebtoken` finds its cryptography in a slot of the process. It is filled with this table of
//! pure functions and nothing else, so that any number of nodes may share it.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::jwk::EllipticCurve;
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use ring::{hmac, rsa};

/// Fills the slot, once.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // It fails where the slot is full, and nothing else in the program fills it.
        let _ = RING.install_default();
    });
}

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Signing::new(*algorithm, key)?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Verifying::new(*algorithm, key)?)),
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |der| {
            let pair = RsaKeyPair::from_der(der).map_err(|e| rejected(&e))?;
            let public = rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public());
            Ok((public.n, public.e))
        },
        rsa_pub_components_from_public_key: |_| Err(ErrorKind::UnsupportedAlgorithm.into()),
        ec_pub_components_from_private_key: |der, _| {
            let pair = ecdsa(der)?;
            // 4, then both coordinates of 32 bytes.
            let point = pair.public_key().as_ref().get(1..65).ok_or(ErrorKind::InvalidEcdsaKey)?;
            Ok((EllipticCurve::P256, point[..32].to_vec(), point[32..].to_vec()))
        },
        ed_pub_components_from_private_key: |der, _| {
            Ok(ed25519(der)?.public_key().as_ref().to_vec())
        },
        compute_digest: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    },
};

enum Signing {
    Hmac(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signing {
    fn new(algorithm: Algorithm, key: &EncodingKey) -> Result<Self> {
        let bytes = key.as_bytes();
        match (algorithm, key.family()) {
            (Algorithm::HS256, AlgorithmFamily::Hmac) => {
                Ok(Self::Hmac(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
            }
            (Algorithm::RS256, AlgorithmFamily::Rsa) => {
                let pair = RsaKeyPair::from_der(bytes).map_err(|e| rejected(&e))?;
                Ok(Self::Rsa(Box::new(pair)))
            }
            (Algorithm::ES256, AlgorithmFamily::Ec) => Ok(Self::Ecdsa(ecdsa(bytes)?)),
            (Algorithm::EdDSA, AlgorithmFamily::Ed) => Ok(Self::Ed25519(ed25519(bytes)?)),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        }
    }
}

impl Signer<Vec<u8>> for Signing {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, Error> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(|_| Error::new())?;
                Ok(signature)
            }
            Self::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| Error::new())?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

impl JwtSigner for Signing {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hmac(_) => Algorithm::HS256,
            Self::Rsa(_) => Algorithm::RS256,
            Self::Ecdsa(_) => Algorithm::ES256,
            Self::Ed25519(_) => Algorithm::EdDSA,
        }
    }
}

struct Verifying {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl Verifying {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self> {
        match (algorithm, key.family()) {
            (Algorithm::HS256, AlgorithmFamily::Hmac)
            | (Algorithm::RS256, AlgorithmFamily::Rsa)
            | (Algorithm::ES256, AlgorithmFamily::Ec)
            | (Algorithm::EdDSA, AlgorithmFamily::Ed) => Ok(Self { algorithm, key: key.clone() }),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        }
    }
}

impl Verifier<Vec<u8>> for Verifying {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let done = match (self.algorithm, self.key.kind()) {
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
                hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret), message, signature)
            }
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let public = RsaPublicKeyComponents { n, e };
                public.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).verify(message, signature)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => return Err(Error::new()),
        };
        done.map_err(|_| Error::new())
    }
}

impl JwtVerifier for Verifying {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn ecdsa(der: &[u8]) -> Result<EcdsaKeyPair> {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &SystemRandom::new())
        .map_err(|_| ErrorKind::InvalidEcdsaKey.into())
}

/// Reads a key of either version of PKCS#8; OpenSSL writes the one without the public half.
fn ed25519(der: &[u8]) -> Result<Ed25519KeyPair> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| ErrorKind::InvalidEddsaKey.into())
}

fn rejected(error: &ring::error::KeyRejected) -> jsonwebtoken::errors::Error {
    ErrorKind::InvalidRsaKey(error.to_string()).into()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::crypto::{sign, verify};

    use super::*;

    const RSA_PUBLIC: &[u8] =
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/rsa-public.pem"));

    /// Even a caller that mixes them up gets no HMAC under a public key.
    #[test]
    fn a_key_of_one_kind_does_nothing_for_another_algorithm() {
        install();
        let public = DecodingKey::from_rsa_pem(RSA_PUBLIC).expect("a key");
        let der = public.try_get_as_bytes().expect("DER");
        let secret = EncodingKey::from_secret(der).expect("bytes");
        let forged = sign(b"message", &secret, Algorithm::HS256).expect("it signs");
        let right = DecodingKey::from_secret(der).expect("bytes");
        assert_eq!(verify(&forged, b"message", &right, Algorithm::HS256), Ok(true));
        assert!(verify(&forged, b"message", &public, Algorithm::HS256).is_err());
        for other in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::HS384] {
            assert!(verify(&forged, b"message", &right, other).is_err(), "{other:?}");
            assert!(sign(b"message", &secret, other).is_err(), "{other:?}");
        }
    }
}
