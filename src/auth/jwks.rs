//! Key sets as issuers publish them (RFC 7517): reading one. Fetching is `auth::remote`.
//!
//! A document may hold keys for other purposes; those are passed over, so that an issuer can go on
//! adding. Symmetric keys are passed over, too: what is published is no secret. A key whose `alg`
//! is there has to be of that kind; where it is not, the kind decides, so that a key has one
//! algorithm either way.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, KeyOperations, PublicKeyUse,
};

use crate::auth::error::BadJwks;
use crate::auth::keys::{Algorithm, Key, KeySet};

/// The longest document, in bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1_024;

/// Reads a document.
///
/// # Errors
/// [`BadJwks`].
pub fn parse(document: &[u8]) -> Result<KeySet, BadJwks> {
    if document.len() > JWKS_BYTES_MAX {
        return Err(BadJwks::TooLong);
    }
    let set: JwkSet = serde_json::from_slice(document).map_err(|_| BadJwks::Format)?;
    let keys: Vec<Key> = set.keys.iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err(BadJwks::Empty);
    }
    Ok(KeySet::new(keys)?)
}

/// Returns the key, if it is one that verifies tokens.
fn usable(jwk: &Jwk) -> Option<Key> {
    let (algorithm, declared) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::Rs256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(params) if params.curve == EllipticCurve::P256 => {
            (Algorithm::Es256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(params) if params.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDsa, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = &jwk.common;
    let for_signatures = match &common.public_key_use {
        None | Some(PublicKeyUse::Signature) => true,
        Some(PublicKeyUse::Encryption | PublicKeyUse::Other(_)) => false,
    };
    let operations = common.key_operations.as_ref();
    let verifies = operations.is_none_or(|all| all.contains(&KeyOperations::Verify));
    let fits = common.key_algorithm.is_none_or(|named| named == declared);
    if !for_signatures || !verifies || !fits {
        return None;
    }
    let id = match common.key_id.as_deref().map(str::parse) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => return None,
    };
    Key::bound(id, algorithm, DecodingKey::from_jwk(jwk).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::error::BadKey;

    #[test]
    fn a_document_of_no_use_is_refused() {
        let key = |id: usize| {
            let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
            format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"k{id}","x":"{x}"}}"#)
        };
        let set = |ids: &[usize]| {
            let keys: Vec<_> = ids.iter().map(|id| key(*id)).collect();
            format!(r#"{{"keys":[{}]}}"#, keys.join(","))
        };
        let many: Vec<_> = (0..65).collect();
        let check = |document: &str, expected| {
            assert_eq!(parse(document.as_bytes()).map(|set| set.keys().len()), expected);
        };
        check(&set(&[1, 2]), Ok(2));
        check(&set(&[1, 1]), Err(BadJwks::Keys(BadKey::SameId)));
        check(&set(&many), Err(BadJwks::Keys(BadKey::TooMany)));
        check(&set(&[]), Err(BadJwks::Empty));
        check(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, Err(BadJwks::Empty));
        check("<html>", Err(BadJwks::Format));
        check("[]", Err(BadJwks::Format));
        check(r#"{"keys":{}}"#, Err(BadJwks::Format));
        check(&" ".repeat(JWKS_BYTES_MAX + 1), Err(BadJwks::TooLong));
    }
}
