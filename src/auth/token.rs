//! Tokens: JWTs that say who somebody is and what they may do.
//!
//! A token is judged in this order; what fails ends it, so that nothing costly is done for what is
//! hopeless, and nothing is believed before the signature is.
//!
//! ```text
//! length -> three parts -> header (typ, alg, crit, own keys, kid) -> claims are strict JSON
//!        -> key (by kid, bound to its algorithm) -> signature -> claims (form, time, aud, iss)
//! ```
//!
//! | claim | |
//! |---|---|
//! | `sub` | who; needed |
//! | `exp` | until when; needed, and not later than [`Policy::lifetime_max`] from now |
//! | `aud` | for whom; needed, one of [`Policy::audiences`] |
//! | `iss` | by whom; needed where [`Policy::issuers`] are named |
//! | `nbf`, `iat` | from when on, since when; a moment to come is refused |
//! | `name` | what others see; without one, the beginning of `sub` |
//! | `jti` | which token, to revoke it alone |
//! | `docs` | `[{"pattern": "acme.*", "rights": ["read"]}]`, see [`crate::auth::Pattern`] |
//!
//! Other claims are passed over; other members of `docs` are not: one of them might narrow a grant.

use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Header;
use secrecy::SecretString;

use crate::access::Subject;
use crate::access::{Right, Rights};
use crate::auth::error::{Claim, Refusal};
use crate::auth::json::{BadJson, Json};
use crate::auth::keys::{Algorithm, KeySet, SigningKey, Thumbprint};
use crate::auth::names::{KeyId, TokenId};
use crate::auth::provider;
use crate::auth::rights::{GRANTS_MAX, Grant, Principal};
use crate::types::{Author, Timestamp};

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1_024;

/// The longest header, in bytes of JSON.
const HEADER_BYTES_MAX: usize = 1_024;

/// The most claims, known or not.
const CLAIMS_MAX: usize = 64;

/// The most audiences of one token.
const AUDIENCES_MAX: usize = 16;

/// The longest audience or issuer, in bytes.
const PARTY_BYTES_MAX: usize = 255;

/// Says which tokens are for this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The names of this server; a token is for one of them.
    pub audiences: Vec<String>,
    /// Who may issue tokens; if empty, whoever has a key.
    pub issuers: Vec<String>,
    /// How far the clocks of issuer and server may be apart.
    pub leeway: Duration,
    /// How far away a token's end may be.
    pub lifetime_max: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            audiences: vec!["quire".to_owned()],
            issuers: Vec::new(),
            leeway: Duration::from_secs(30),
            lifetime_max: Duration::from_hours(31 * 24),
        }
    }
}

impl Policy {
    /// Returns until when a token may be good that is taken at `now`.
    pub fn good_until(&self, now: Timestamp) -> Timestamp {
        let most = millis(self.lifetime_max).saturating_add(millis(self.leeway).saturating_mul(2));
        Timestamp(now.0.saturating_add(most))
    }

    /// Returns what the latest time is that a token which is taken at `now` can have as its own.
    pub fn issued_until(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(millis(self.leeway)))
    }
}

/// Is what a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Who.
    pub subject: Subject,
    /// What others see.
    pub name: Author,
    /// Until when, in whole seconds.
    pub expires: Timestamp,
    /// Since when, in whole seconds.
    pub issued: Option<Timestamp>,
    /// Which token.
    pub id: Option<TokenId>,
    /// What for; at most [`GRANTS_MAX`].
    pub grants: Vec<Grant>,
    /// Which key has signed it; none has signed what is about to be.
    pub key: Option<Thumbprint>,
}

impl Claims {
    /// Returns who asks with this token.
    pub fn principal(&self) -> Principal {
        Principal::Known { subject: self.subject.clone(), grants: self.grants.clone() }
    }
}

/// Is a token whose parts were read and not believed.
#[derive(Debug)]
pub struct Unverified<'a> {
    /// What is signed, and the signature.
    signed: (&'a str, &'a str),
    /// The header, as JSON should be.
    pub header: Vec<u8>,
    /// The claims, as JSON should be.
    pub claims: Vec<u8>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`Refusal::TooLong`] or [`Refusal::Shape`].
    pub fn read(token: &'a str) -> Result<Self, Refusal> {
        let signed @ (message, _) = split(token)?;
        let (header, claims) = message.split_once('.').ok_or(Refusal::Shape)?;
        let decode = |part| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Shape);
        Ok(Self { signed, header: decode(header)?, claims: decode(claims)? })
    }
}

/// Judges a token, `now` being the wall time.
///
/// # Errors
/// [`Refusal`], which holds nothing of the token.
pub fn verify(
    token: &str,
    keys: &KeySet,
    policy: &Policy,
    now: Timestamp,
) -> Result<Claims, Refusal> {
    let parts = Unverified::read(token)?;
    let header = Named::read(&parts.header)?;
    let claims = object(&parts.claims, Refusal::Claims)?;
    let key = keys.find(header.key.as_ref(), header.algorithm)?;
    let (message, signature) = parts.signed;
    if !key.has_signed(message, signature) {
        return Err(Refusal::Signature);
    }
    let claims = policy.judge(&claims, now)?;
    Ok(Claims { key: Some(key.thumbprint()), ..claims })
}

/// Is what a new token says beyond who and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft<'a> {
    /// Who, until when and what for.
    pub claims: &'a Claims,
    /// For whom.
    pub audience: &'a str,
    /// By whom.
    pub issuer: Option<&'a str>,
    /// From when on.
    pub not_before: Option<Timestamp>,
}

/// Tells that a key did not sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key did not sign: is it whole?")]
pub struct NotSigned;

/// Signs a token.
///
/// # Errors
/// [`NotSigned`].
pub fn issue(draft: &Draft<'_>, key: &SigningKey) -> Result<SecretString, NotSigned> {
    provider::install();
    let claims = draft.claims;
    let mut header = Header::new(key.algorithm().library());
    header.kid = key.id().map(ToString::to_string);
    let doc = |grant: &Grant| {
        let rights = Right::ALL.into_iter().filter(|right| grant.rights.has(*right));
        let rights: Vec<_> = rights.map(Right::name).collect();
        serde_json::json!({ "pattern": grant.pattern.to_string(), "rights": rights })
    };
    let docs: Vec<_> = claims.grants.iter().map(doc).collect();
    let seconds = |at: Timestamp| at.0 / 1_000;
    let mut spelled = serde_json::json!({
        "sub": claims.subject.as_str(),
        "name": claims.name.as_str(),
        "exp": seconds(claims.expires),
        "aud": draft.audience,
        "docs": docs,
    });
    let optional = [
        ("iat", claims.issued.map(|at| seconds(at).into())),
        ("nbf", draft.not_before.map(|at| seconds(at).into())),
        ("jti", claims.id.as_ref().map(|id| id.as_str().into())),
        ("iss", draft.issuer.map(Into::into)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            spelled[name] = value;
        }
    }
    let token = jsonwebtoken::encode(&header, &spelled, key.encoding());
    token.map(SecretString::from).map_err(|_| NotSigned)
}

/// Splits a token into what is signed and the signature, where it has the shape of a token.
fn split(token: &str) -> Result<(&str, &str), Refusal> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Refusal::TooLong);
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !token.bytes().all(allowed) {
        return Err(Refusal::Shape);
    }
    token.rsplit_once('.').ok_or(Refusal::Shape)
}

fn object(json: &[u8], otherwise: Refusal) -> Result<Json, Refusal> {
    match Json::parse(json) {
        Ok(object @ Json::Object(_)) => Ok(object),
        Err(BadJson::Twice) => Err(Refusal::Twice),
        Ok(_) | Err(BadJson::Malformed) => Err(otherwise),
    }
}

/// Is what a header says: how the token is signed, and with which key.
struct Named {
    algorithm: Algorithm,
    key: Option<KeyId>,
}

impl Named {
    fn read(json: &[u8]) -> Result<Self, Refusal> {
        if json.len() > HEADER_BYTES_MAX {
            return Err(Refusal::Header);
        }
        let header = object(json, Refusal::Header)?;
        let algorithm = header.member("alg").and_then(Json::text).ok_or(Refusal::Header)?;
        if algorithm.eq_ignore_ascii_case("none") {
            return Err(Refusal::Unsigned);
        }
        let algorithm = Algorithm::ALL.into_iter().find(|known| known.name() == algorithm);
        let algorithm = algorithm.ok_or(Refusal::Algorithm)?;
        if header.member("crit").is_some() || header.member("b64").is_some() {
            return Err(Refusal::Extension);
        }
        if ["jwk", "jku", "x5u", "x5c"].into_iter().any(|own| header.member(own).is_some()) {
            return Err(Refusal::OwnKey);
        }
        let made_for = header.member("typ").map(|typ| typ.text().ok_or(Refusal::Header));
        let is_access = |typ: &str| ["jwt", "at+jwt"].contains(&typ.to_ascii_lowercase().as_str());
        if made_for.transpose()?.is_some_and(|typ| !is_access(typ)) {
            return Err(Refusal::Type);
        }
        let key = header.member("kid").map(|kid| kid.text().and_then(|id| id.parse().ok()));
        let key = key.map(|id: Option<KeyId>| id.ok_or(Refusal::KeyId)).transpose()?;
        Ok(Self { algorithm, key })
    }
}

impl Policy {
    /// Returns until when a token is taken that was verified.
    pub fn ends(&self, claims: &Claims) -> Timestamp {
        Timestamp(claims.expires.0.saturating_add(millis(self.leeway)))
    }

    fn judge(&self, claims: &Json, now: Timestamp) -> Result<Claims, Refusal> {
        if matches!(claims, Json::Object(members) if members.len() > CLAIMS_MAX) {
            return Err(Refusal::Claims);
        }
        let text = |claim: Claim| -> Result<Option<&str>, Refusal> {
            let member = claims.member(claim.name());
            member.map(|value| value.text().ok_or(Refusal::Form(claim))).transpose()
        };
        let moment = |claim: Claim| -> Result<Option<Timestamp>, Refusal> {
            let member = claims.member(claim.name());
            let seconds = member.map(|value| value.seconds().ok_or(Refusal::Form(claim)));
            Ok(seconds.transpose()?.map(|seconds| Timestamp(seconds * 1_000)))
        };
        let subject = text(Claim::Sub)?.ok_or(Refusal::Missing(Claim::Sub))?;
        let subject: Subject = subject.parse().map_err(|_| Refusal::Form(Claim::Sub))?;
        let expires = moment(Claim::Exp)?.ok_or(Refusal::Missing(Claim::Exp))?;
        let issued = moment(Claim::Iat)?;
        let name = match text(Claim::Name)? {
            Some("") => subject.beginning(),
            Some(name) => shown(name).ok_or(Refusal::Form(Claim::Name))?,
            None => subject.beginning(),
        };
        let id = text(Claim::Jti)?.map(str::parse).transpose();
        let id = id.map_err(|_| Refusal::Form(Claim::Jti))?;
        self.judge_time(expires, [moment(Claim::Nbf)?, issued], now)?;
        self.judge_parties(claims.member(Claim::Aud.name()), text(Claim::Iss)?)?;
        let grants = grants(claims.member(Claim::Docs.name()))?;
        Ok(Claims { subject, name, expires, issued, id, grants, key: None })
    }

    fn judge_time(
        &self,
        expires: Timestamp,
        begins: [Option<Timestamp>; 2],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let leeway = millis(self.leeway);
        if now.0 >= expires.0.saturating_add(leeway) {
            return Err(Refusal::Expired);
        }
        let latest = now.0.saturating_add(leeway);
        // A token from the future would outlast the revocation of what was issued until now.
        if begins.into_iter().flatten().any(|begin| begin.0 > latest) {
            return Err(Refusal::NotYet);
        }
        if expires.0 > latest.saturating_add(millis(self.lifetime_max)) {
            return Err(Refusal::TooLasting);
        }
        Ok(())
    }

    fn judge_parties(&self, audience: Option<&Json>, issuer: Option<&str>) -> Result<(), Refusal> {
        let form = Refusal::Form(Claim::Aud);
        let audiences = match audience.ok_or(Refusal::Missing(Claim::Aud))? {
            Json::List(all) if (1..=AUDIENCES_MAX).contains(&all.len()) => all.as_slice(),
            one @ Json::Text(_) => std::slice::from_ref(one),
            Json::List(_) | Json::Object(_) | Json::Null => return Err(form),
            Json::Bool | Json::Whole(_) | Json::Number(_) => return Err(form),
        };
        let party = |text: &&str| text.len() <= PARTY_BYTES_MAX;
        let audiences = audiences.iter().map(|one| one.text().filter(party).ok_or(form));
        let audiences: Vec<&str> = audiences.collect::<Result<_, _>>()?;
        if !self.audiences.iter().any(|own| audiences.contains(&own.as_str())) {
            return Err(Refusal::Audience);
        }
        if issuer.is_some_and(|issuer| !party(&issuer)) {
            return Err(Refusal::Form(Claim::Iss));
        }
        if self.issuers.is_empty() {
            return Ok(());
        }
        let issuer = issuer.ok_or(Refusal::Missing(Claim::Iss))?;
        let trusted = self.issuers.iter().any(|own| own == issuer);
        if trusted { Ok(()) } else { Err(Refusal::Issuer) }
    }
}

fn grants(docs: Option<&Json>) -> Result<Vec<Grant>, Refusal> {
    let form = Refusal::Form(Claim::Docs);
    let Some(docs) = docs else { return Ok(Vec::new()) };
    let Json::List(docs) = docs else { return Err(form) };
    if docs.len() > GRANTS_MAX {
        return Err(Refusal::TooManyPatterns);
    }
    let right = |name: &Json| name.text().ok_or(form)?.parse().map_err(|_| Refusal::Right);
    let grant = |doc: &Json| {
        let known = matches!(doc, Json::Object(members) if members.len() == 2);
        let (Some(pattern), Some(Json::List(names)), true) =
            (doc.member("pattern").and_then(Json::text), doc.member("rights"), known)
        else {
            return Err(form);
        };
        let pattern = pattern.parse().map_err(|_| Refusal::Pattern)?;
        let rights: Rights = names.iter().map(right).collect::<Result<_, _>>()?;
        if rights.is_none() { Err(form) } else { Ok(Grant { pattern, rights }) }
    };
    docs.iter().map(grant).collect()
}

/// Returns the name as others may see it: one that does not turn the text around it.
fn shown(name: &str) -> Option<Author> {
    const TURNING: [RangeInclusive<char>; 3] =
        ['\u{200e}'..='\u{200f}', '\u{2028}'..='\u{202e}', '\u{2066}'..='\u{2069}'];
    let turns = |c: char| TURNING.iter().any(|range| range.contains(&c));
    name.parse().ok().filter(|_| !name.chars().any(turns))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn key() -> SigningKey {
        SigningKey::read("k".parse().ok(), &[b's'; 32]).expect("a secret")
    }

    fn keys() -> KeySet {
        KeySet::new(vec![key().verifying().expect("a key")]).expect("one key")
    }

    fn grants() -> impl Strategy<Value = Vec<Grant>> {
        let grant =
            ("[a-z.-]{0,8}\\.\\*{1,2}|[a-z]{1,9}", 1_u8..16).prop_map(|(text, bits)| Grant {
                pattern: text.parse().expect("a pattern"),
                rights: Rights::from_bits(bits).expect("four bits"),
            });
        proptest::collection::vec(grant, 0..5)
    }

    proptest! {
        /// Whatever may be said in a token comes out as it went in.
        #[test]
        fn a_token_round_trips(
            subject in "[!-~]{1,255}",
            name in "\\PC{0,16}",
            expires in 1_u64..86_400,
            issued in proptest::option::of(0_u64..86_400),
            id in proptest::option::of("[!-~]{1,128}"),
            grants in grants(),
        ) {
            let name = shown(&name);
            // Who has none is called by the subject.
            prop_assume!(name.as_ref().is_some_and(|name| !name.as_str().is_empty()));
            let claims = Claims {
                subject: subject.parse().expect("a subject"),
                name: name.expect("it was asked"),
                expires: Timestamp(NOW.0 + expires * 1_000),
                issued: issued.map(|ago| Timestamp(NOW.0 - ago * 1_000)),
                id: id.map(|id| id.parse().expect("an id")),
                grants,
                key: None,
            };
            let draft = Draft {
                claims: &claims,
                audience: "quire",
                issuer: Some("here"),
                not_before: Some(NOW),
            };
            let token = issue(&draft, &key()).expect("it signs");
            let policy = Policy { issuers: vec!["here".to_owned()], ..Policy::default() };
            let signed = Claims { key: Some(keys().keys()[0].thumbprint()), ..claims };
            prop_assert_eq!(verify(token.expose_secret(), &keys(), &policy, NOW), Ok(signed));
        }

        /// No text is a token by chance, and none ends in a panic.
        #[test]
        fn no_text_is_taken(
            text in "\\PC{0,60}|[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}",
        ) {
            prop_assert!(verify(&text, &keys(), &Policy::default(), NOW).is_err());
        }

        /// One character that is another one, anywhere, and nothing is believed.
        #[test]
        fn every_character_counts(at: prop::sample::Index, to in "[A-Za-z0-9_.-]") {
            let claims = Claims {
                subject: "anna".parse().expect("a subject"),
                name: Author::anonymous(),
                expires: Timestamp(NOW.0 + 1_000),
                issued: None,
                id: None,
                grants: Vec::new(),
                key: None,
            };
            let draft =
                Draft { claims: &claims, audience: "quire", issuer: None, not_before: None };
            let token = issue(&draft, &key()).expect("it signs");
            let token = token.expose_secret();
            let at = at.index(token.len());
            let changed = format!("{}{to}{}", &token[..at], &token[at + 1..]);
            let judged = verify(&changed, &keys(), &Policy::default(), NOW);
            prop_assert_eq!(judged.is_ok(), changed == token);
        }
    }
}
