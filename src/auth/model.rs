//! What a login cookie says once it is opened: postcard behind a version byte. A field is never
//! moved or given another meaning; a change is a new version.

use serde::{Deserialize, Serialize};

use crate::access::Rights;
use crate::auth::login::{Login, LoginId};
use crate::auth::rights::Grant;
use crate::auth::token::Claims;
use crate::types::{Author, Timestamp};

/// The one version so far.
pub(crate) const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Sealed {
    id: [u8; 16],
    sealed: Timestamp,
    subject: String,
    name: Author,
    expires: Timestamp,
    issued: Option<Timestamp>,
    token: Option<String>,
    grants: Vec<(String, u8)>,
}

/// Spells a login.
pub(crate) fn encode(login: &Login, sealed: Timestamp) -> Vec<u8> {
    let claims = &login.claims;
    let grant = |grant: &Grant| (grant.pattern.to_string(), grant.rights.bits());
    let said = Sealed {
        id: login.id.0,
        sealed,
        subject: claims.subject.to_string(),
        name: claims.name.clone(),
        expires: claims.expires,
        issued: claims.issued,
        token: claims.id.as_ref().map(ToString::to_string),
        grants: claims.grants.iter().map(grant).collect(),
    };
    postcard::to_stdvec(&said).expect("memory takes every login")
}

/// Reads a login, and when it was sealed.
pub(crate) fn decode(bytes: &[u8]) -> Option<(Login, Timestamp)> {
    let said: Sealed = postcard::from_bytes(bytes).ok()?;
    let grant = |(pattern, rights): (String, u8)| {
        Some(Grant { pattern: pattern.parse().ok()?, rights: Rights::from_bits(rights)? })
    };
    let claims = Claims {
        subject: said.subject.parse().ok()?,
        name: said.name,
        expires: said.expires,
        issued: said.issued,
        id: said.token.map(|id| id.parse().ok()).map_or(Some(None), |id| id.map(Some))?,
        grants: said.grants.into_iter().map(grant).collect::<Option<_>>()?,
    };
    Some((Login { id: LoginId(said.id), claims }, said.sealed))
}
