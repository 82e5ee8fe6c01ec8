//! What a login cookie says once it is opened, and what one node tells another of who has a ticket:
//! postcard behind a version byte. A field is never moved or given another meaning; a change is a
//! new version.

use serde::{Deserialize, Serialize};

use crate::access::Rights;
use crate::auth::keys::Thumbprint;
use crate::auth::login::{Login, LoginId};
use crate::auth::rights::Grant;
use crate::auth::ticket::Holder;
use crate::auth::token::Claims;
use crate::types::{Author, Timestamp};

/// The version that is written, and the one that is read. The first one did not say which key had
/// signed the token: who had such a login signs in again.
pub(crate) const VERSION: u8 = 2;

#[derive(Serialize, Deserialize)]
struct Sealed {
    id: [u8; 16],
    sealed: Timestamp,
    claims: Said,
}

#[derive(Serialize, Deserialize)]
struct Handed {
    claims: Said,
    login: Option<[u8; 16]>,
}

#[derive(Serialize, Deserialize)]
struct Said {
    subject: String,
    name: Author,
    expires: Timestamp,
    issued: Option<Timestamp>,
    token: Option<String>,
    grants: Vec<(String, u8)>,
    key: Option<[u8; 16]>,
}

/// Spells a login.
pub(crate) fn encode(login: &Login, sealed: Timestamp) -> Vec<u8> {
    let said = Sealed { id: login.id.0, sealed, claims: Said::from(&login.claims) };
    postcard::to_stdvec(&said).expect("memory takes every login")
}

/// Reads a login, and when it was sealed.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Login, Timestamp)> {
    let Sealed { id, sealed, claims } = postcard::from_bytes(bytes).ok()?;
    Some((Login { id: LoginId(id), claims: claims.meant()? }, sealed))
}

impl Holder {
    /// Spells them for another node, which trusts this one.
    pub fn encode(&self) -> Vec<u8> {
        let login = self.login.map(|LoginId(id)| id);
        let handed = Handed { claims: Said::from(&self.claims), login };
        postcard::to_extend(&handed, vec![VERSION]).expect("memory takes all claims")
    }

    /// Reads what another node has spelled; nothing where that is of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let handed: Handed = postcard::from_bytes(bytes.strip_prefix(&[VERSION])?).ok()?;
        Some(Self { claims: handed.claims.meant()?, login: handed.login.map(LoginId) })
    }
}

impl From<&Claims> for Said {
    fn from(claims: &Claims) -> Self {
        let grant = |grant: &Grant| (grant.pattern.to_string(), grant.rights.bits());
        Self {
            subject: claims.subject.to_string(),
            name: claims.name.clone(),
            expires: claims.expires,
            issued: claims.issued,
            token: claims.id.as_ref().map(ToString::to_string),
            grants: claims.grants.iter().map(grant).collect(),
            key: claims.key.map(|Thumbprint(key)| key),
        }
    }
}

impl Said {
    fn meant(self) -> Option<Claims> {
        let grant = |(pattern, rights): (String, u8)| {
            Some(Grant { pattern: pattern.parse().ok()?, rights: Rights::from_bits(rights)? })
        };
        Some(Claims {
            subject: self.subject.parse().ok()?,
            name: self.name,
            expires: self.expires,
            issued: self.issued,
            id: self.token.map(|id| id.parse().ok()).map_or(Some(None), |id| id.map(Some))?,
            grants: self.grants.into_iter().map(grant).collect::<Option<_>>()?,
            key: self.key.map(Thumbprint),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes of two versions are in one cluster while it is upgraded.
    #[test]
    fn a_holder_comes_out_as_it_went_in_in_this_format() {
        let grant = Grant { pattern: "acme.*".parse().expect("a pattern"), rights: Rights::ALL };
        let claims = Claims {
            subject: "anna".parse().expect("a subject"),
            name: "Anna".parse().expect("a name"),
            expires: Timestamp(300),
            issued: Some(Timestamp(1)),
            id: "t-1".parse().ok(),
            grants: vec![grant],
            key: Some(Thumbprint(*b"a key's hash, 16")),
        };
        let golden = b"\x02\x04anna\x04Anna\xac\x02\x01\x01\x01\x03t-1\x01\x06acme.*\x0f\x01\
            a key's hash, 16";
        for (login, spelled) in [
            (None, b"\x00".to_vec()),
            (Some(LoginId(*b"0123456789abcdef")), b"\x010123456789abcdef".to_vec()),
        ] {
            let holder = Holder { claims: claims.clone(), login };
            let golden = [&golden[..], &spelled].concat();
            assert_eq!(holder.encode(), golden);
            assert_eq!(Holder::decode(&golden), Some(holder));
            for length in 0..golden.len() {
                assert_eq!(Holder::decode(&golden[..length]), None, "{length} bytes");
            }
            assert_eq!(Holder::decode(&[&[VERSION + 1], &golden[1..]].concat()), None);
        }
    }
}
