//! Proof that a request comes from our own page: the signed double submit.
//!
//! The server gives the page a token, in a cookie that scripts can read and other sites cannot. The
//! page sends it back a second time, where only a script of our origin can put it: in a header, or
//! as the subprotocol `csrf.<token>` of a WebSocket. Both have to be the same token, signed by us
//! for the login that the request's login cookie names, so that a cookie which was put there by
//! a neighbouring site (cookie tossing) is of no use.
//!
//! ```text
//! token = base64url( version (1) | time in ms (8) | nonce (16) | HMAC-SHA256 (32) )
//! the HMAC is over: version, time, nonce, login id
//! ```
//!
//! Many tokens of a login are good at once, for a day: tabs do not disturb each other. All
//! comparisons of what is secret take the same time whatever differs.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::auth::login::LoginId;
use crate::auth::secret::{Age, Rotating, Secret};
use crate::types::Timestamp;

/// How long a token is good.
const AGE_MAX: Duration = Duration::from_hours(24);

/// How far the clocks of two nodes may be apart.
const SKEW_MAX: Duration = Duration::from_secs(60);

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 16;
const SIGNED_BYTES: usize = 1 + 8 + NONCE_BYTES;
const TOKEN_BYTES: usize = SIGNED_BYTES + 32;

/// Makes and checks tokens.
#[derive(Debug, Clone)]
pub struct Csrf {
    keys: Rotating<hmac::Key>,
}

/// Tells why a request is not taken for one of our page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Forged {
    /// One of the two tokens is missing, or is no token.
    #[error("the CSRF token is missing or no token: reload the page")]
    Missing,
    /// The two are not the same.
    #[error("the CSRF tokens of cookie and request differ: reload the page")]
    Differs,
    /// It was not made here for this login.
    #[error("the CSRF token is not one of this login: reload the page")]
    Signature,
    /// It is too old, or from the future.
    #[error("the CSRF token has expired: reload the page")]
    Expired,
}

impl Forged {
    /// Returns the name that it is counted under.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "csrf-missing",
            Self::Differs => "csrf-differs",
            Self::Signature => "csrf-signature",
            Self::Expired => "csrf-expired",
        }
    }
}

impl Csrf {
    /// Derives the keys from the cluster's secrets.
    pub fn new(current: &Secret, previous: Option<&Secret>) -> Self {
        let make = |key: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, key);
        Self { keys: Rotating::derive(current, previous, "csrf 1", make) }
    }

    /// Makes a token for a login; the nonce has to be random.
    pub fn issue(&self, login: LoginId, nonce: [u8; NONCE_BYTES], now: Timestamp) -> String {
        let mut token = vec![VERSION];
        token.extend(now.0.to_be_bytes());
        token.extend(nonce);
        let signature = hmac::sign(&self.keys.current, &signed(&token, login));
        token.extend(signature.as_ref());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Checks the token of the cookie and the one that was sent beside it.
    ///
    /// # Errors
    /// [`Forged`].
    pub fn check(
        &self,
        cookie: &str,
        sent: &str,
        login: LoginId,
        now: Timestamp,
    ) -> Result<Age, Forged> {
        let (cookie, sent) = (decoded(cookie)?, decoded(sent)?);
        if !same(&cookie, &sent) {
            return Err(Forged::Differs);
        }
        self.judge(&sent, login, now)
    }

    /// Tells whether the token of a cookie is good for half of its time yet, so that it need not be
    /// replaced: a page that is about to send it would find that the two differ.
    pub fn lasts(&self, cookie: &str, login: LoginId, now: Timestamp) -> bool {
        let later = Timestamp(now.0 + AGE_MAX.as_millis() as u64 / 2);
        let judged = |at| decoded(cookie).and_then(|token| self.judge(&token, login, at));
        judged(now) == Ok(Age::Current) && judged(later) == Ok(Age::Current)
    }

    fn judge(
        &self,
        token: &[u8; TOKEN_BYTES],
        login: LoginId,
        now: Timestamp,
    ) -> Result<Age, Forged> {
        let (token, signature) = token.split_at(SIGNED_BYTES);
        let signed = signed(token, login);
        let made_by = |key: &hmac::Key| hmac::verify(key, &signed, signature).is_ok();
        let age = match &self.keys.previous {
            _ if made_by(&self.keys.current) => Age::Current,
            Some(previous) if made_by(previous) => Age::Previous,
            Some(_) | None => return Err(Forged::Signature),
        };
        let made = token[1..9].try_into().map(u64::from_be_bytes).expect("these are 8 bytes");
        let millis = |duration: Duration| duration.as_millis();
        let (made, now) = (u128::from(made), u128::from(now.0));
        if made > now + millis(SKEW_MAX) || now > made + millis(AGE_MAX) {
            return Err(Forged::Expired);
        }
        Ok(age)
    }
}

/// Returns what is signed: the token's beginning, whose length is fixed, and the login.
fn signed(token: &[u8], login: LoginId) -> Vec<u8> {
    [token, &login.0].concat()
}

fn decoded(text: &str) -> Result<[u8; TOKEN_BYTES], Forged> {
    let mut token = [0; TOKEN_BYTES];
    match URL_SAFE_NO_PAD.decode_slice(text, &mut token) {
        Ok(TOKEN_BYTES) if token[0] == VERSION => Ok(token),
        Ok(_) | Err(_) => Err(Forged::Missing),
    }
}

/// Compares every byte, wherever the first difference is.
fn same(one: &[u8; TOKEN_BYTES], other: &[u8; TOKEN_BYTES]) -> bool {
    let differing = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const LOGIN: LoginId = LoginId([7; 16]);

    fn secret(byte: u8) -> Secret {
        Secret::read(&[byte; 32]).expect("it is long enough")
    }

    #[track_caller]
    fn check(csrf: &Csrf, token: &str, later: i64, expected: Result<Age, Forged>) {
        let now = Timestamp(NOW.0.saturating_add_signed(later));
        assert_eq!(csrf.check(token, token, LOGIN, now), expected, "{later} ms later");
    }

    #[test]
    fn a_token_is_good_for_its_login_and_its_time() {
        let csrf = Csrf::new(&secret(b'a'), None);
        let token = csrf.issue(LOGIN, [1; 16], NOW);
        let day = 24 * 3_600_000;
        check(&csrf, &token, 0, Ok(Age::Current));
        check(&csrf, &token, day, Ok(Age::Current));
        check(&csrf, &token, day + 1, Err(Forged::Expired));
        check(&csrf, &token, -60_000, Ok(Age::Current));
        check(&csrf, &token, -60_001, Err(Forged::Expired));
        let other = csrf.check(&token, &token, LoginId([8; 16]), NOW);
        assert_eq!(other, Err(Forged::Signature), "a token of another login");
        let second = csrf.issue(LOGIN, [2; 16], NOW);
        assert_eq!(csrf.check(&token, &second, LOGIN, NOW), Err(Forged::Differs));
    }

    #[test]
    fn a_token_is_kept_for_half_of_its_time() {
        let (csrf, next) = (Csrf::new(&secret(b'a'), None), Csrf::new(&secret(b'b'), None));
        let token = csrf.issue(LOGIN, [1; 16], NOW);
        let lasts = |csrf: &Csrf, id, hours: u64| {
            csrf.lasts(&token, LoginId([id; 16]), Timestamp(NOW.0 + hours * 3_600_000))
        };
        assert!(lasts(&csrf, 7, 0) && lasts(&csrf, 7, 12));
        assert!(!lasts(&csrf, 7, 13), "it is old");
        assert!(!lasts(&csrf, 8, 0), "it is one of another login");
        assert!(!lasts(&next, 7, 0), "it was not made here");
        assert!(!csrf.lasts("", LOGIN, NOW), "it is none");
        let soon = Csrf::new(&secret(b'b'), Some(&secret(b'a')));
        assert!(!lasts(&soon, 7, 0), "its key is about to go");
    }

    /// Pages keep a token over an update of the server.
    #[test]
    fn the_first_format_is_still_read() {
        let golden =
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/auth/csrf-v1.txt"));
        let csrf = Csrf::new(&secret(b'a'), None);
        assert_eq!(csrf.issue(LOGIN, [1; 16], NOW), golden.trim_end(), "it is still written, too");
        check(&csrf, golden.trim_end(), 0, Ok(Age::Current));
    }

    #[test]
    fn the_key_is_replaced_in_two_steps() {
        let (old, new) = (secret(b'a'), secret(b'b'));
        let token = Csrf::new(&old, None).issue(LOGIN, [1; 16], NOW);
        check(&Csrf::new(&new, Some(&old)), &token, 0, Ok(Age::Previous));
        check(&Csrf::new(&new, None), &token, 0, Err(Forged::Signature));
        check(&Csrf::new(&old, Some(&new)), &token, 0, Ok(Age::Current));
    }

    #[test]
    fn every_bit_of_a_token_counts() {
        let csrf = Csrf::new(&secret(b'a'), None);
        let token = URL_SAFE_NO_PAD.decode(csrf.issue(LOGIN, [1; 16], NOW)).expect("base64url");
        for bit in 0..token.len() * 8 {
            let mut forged = token.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let expected = if bit < 8 { Forged::Missing } else { Forged::Signature };
            check(&csrf, &URL_SAFE_NO_PAD.encode(forged), 0, Err(expected));
        }
        let text = URL_SAFE_NO_PAD.encode(&token);
        for bad in ["", "x", &text[1..], &format!("{text}A"), &format!("{text}="), &"A".repeat(76)]
        {
            check(&csrf, bad, 0, Err(Forged::Missing));
        }
        assert_eq!(csrf.check(&text, "", LOGIN, NOW), Err(Forged::Missing));
    }
}
